"""Signed transactions and deployments on a local chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from keeper.contracts import Function, abi, artifact, encode_call, parse_revert
from keeper.errors import KeeperError, RpcError
from keeper.simulation.accounts import address_of, sign_transaction
from keeper.simulation.jsonrpc import JsonRpc
from keeper.units import Address

BLOCK_SECONDS: Final = 12
MAX_FEE_PER_GAS: Final = 100 * 10**9
CALL_GAS: Final = 8_000_000
DEPLOY_GAS: Final = 16_000_000
_REVERTED: Final = 3
"""Code of the JSON-RPC error for a revert (execution-apis)."""


def created_address(sender: Address, nonce: int) -> Address:
    """Address of the contract a transaction creates: keccak(rlp([sender, nonce])), yellow paper (7)."""
    digits = b"" if nonce == 0 else nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    plain = len(digits) == 1 and digits[0] < 0x80
    encoded = digits if plain else bytes([0x80 + len(digits)]) + digits
    payload = b"\x94" + bytes.fromhex(sender[2:]) + encoded
    return Address(to_checksum_address(keccak(bytes([0xC0 + len(payload)]) + payload)[12:]))


def signed(key: str, *, chain_id: int, nonce: int, to: str | None, data: bytes, value: int, gas: int) -> str:
    """A raw type-2 transaction without a tip, as 0x-hex: it pays the base fee, whatever that is."""
    fields: dict[str, Any] = {
        "chainId": chain_id,
        "nonce": nonce,
        "data": data,
        "value": value,
        "gas": gas,
        "maxFeePerGas": MAX_FEE_PER_GAS,
        "maxPriorityFeePerGas": 0,
        "type": 2,
    }
    if to is not None:
        fields["to"] = to
    return sign_transaction(fields, key)


def explain(error: RpcError, *abi_names: str) -> KeeperError:
    """The revert behind a JSON-RPC error, in the words of those contracts' ABIs, or the error itself."""
    if error.code != _REVERTED:
        return error
    data = error.data if isinstance(error.data, str) else "0x"
    return parse_revert(bytes.fromhex(data[2:]), *abi_names).as_error(where=error.message)


def view(rpc: JsonRpc, to: str, signature: str, args: tuple[Any, ...], outputs: str) -> Any:
    """Decoded answer of a call at the head. Raises RevertError when it reverts."""
    function = Function(signature, outputs)
    try:
        answer = rpc("eth_call", {"to": to, "data": "0x" + function.encode(*args).hex()}, "latest")
    except RpcError as error:
        raise explain(error) from error
    return function.decode(bytes.fromhex(answer[2:]))


@dataclass(frozen=True)
class _Sent:
    hash: str
    label: str
    request: Mapping[str, Any]


class Builder:
    """Queues signed transactions and mines them in few, large blocks.

    Mining checks each receipt, so that a chain is either built as described or not at all.
    """

    def __init__(self, rpc: JsonRpc, chain_id: int, keys: Mapping[str, str]) -> None:
        self.rpc = rpc
        self.chain_id = chain_id
        self._keys = {address_of(key): key for key in keys.values()}
        self._nonces: dict[str, int] = {}
        self._queue: list[_Sent] = []

    def send(self, sender: Address, to: Address, signature: str, *args: Any, value: int = 0) -> None:
        """Queues a call."""
        label = f"{signature.partition('(')[0]}{args}"
        self._submit(sender, to, encode_call(signature, *args), value, CALL_GAS, label)

    def create(
        self, sender: Address, name: str, *args: Any, libraries: Mapping[str, Address] | None = None
    ) -> Address:
        """Queues a deployment and returns the address it will have."""
        code = artifact(name).creation_code(*args, libraries=libraries)
        nonce = self._submit(sender, None, code, 0, DEPLOY_GAS, f"create {name}")
        return created_address(sender, nonce)

    def view(self, to: Address, signature: str, outputs: str, *args: Any) -> Any:
        """Answer of a call at the head, which does not include what is queued."""
        return view(self.rpc, to, signature, args, outputs)

    def mine(self, seconds: int = BLOCK_SECONDS) -> int:
        """Mines the queue as one block that many seconds after the head; returns its timestamp.

        Raises RevertError or KeeperError naming the first transaction that failed or was left out.
        """
        head = self.rpc("eth_getBlockByNumber", "latest", False)
        timestamp = int(head["timestamp"], 16) + seconds
        self.rpc("evm_setNextBlockTimestamp", timestamp)
        self.rpc("evm_mine")
        number = hex(int(head["number"], 16) + 1)
        receipts = {entry["transactionHash"]: entry for entry in self.rpc("eth_getBlockReceipts", number)}
        for sent in self._queue:
            if sent.hash not in receipts:
                raise KeeperError("Transaction was left out of its block", where=sent.label)
            if receipts[sent.hash]["status"] != "0x1":
                self._raise_revert(sent)
        self._queue.clear()
        return timestamp

    def _submit(
        self, sender: Address, to: Address | None, data: bytes, value: int, gas: int, label: str
    ) -> int:
        nonce = self._nonces.get(sender, 0)
        raw = signed(
            self._keys[sender], chain_id=self.chain_id, nonce=nonce, to=to, data=data, value=value, gas=gas
        )
        request = {"from": sender, "to": to, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(gas)}
        self._queue.append(_Sent(self.rpc("eth_sendRawTransaction", raw), label, request))
        self._nonces[sender] = nonce + 1
        return nonce

    def _raise_revert(self, sent: _Sent) -> None:
        try:
            self.rpc("eth_call", sent.request, "latest")
        except RpcError as error:
            raise KeeperError("Transaction failed", where=sent.label, seen=explain(error)) from error
        raise KeeperError("Transaction failed, and passes when repeated", where=sent.label)


def encoded(types: str, *values: Any) -> bytes:
    """ABI encoding by a comma-separated list of types."""
    return abi.encode(types.split(","), values)
