"""What a fork fetched from its origin, as items of state and not as a transcript of requests.

An item is a block, an account's balance, nonce and code, or a storage slot, all at the block of the fork;
and answers of the origin about older blocks (logs, receipts, calls). Items answer every form in which the
same thing can be asked. Nothing is made up: what is not there is named and refused.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from keeper import canonical
from keeper.chain import archive
from keeper.chain.block import BlockRef, header, hex_bytes, quantity
from keeper.errors import DecodeError, KeeperError
from keeper.json_input import parse_json

DOMAIN: Final = "omnikeeper/fork-bundle"
VERSION: Final = 1
WORD: Final = 32
"""Bytes of a storage slot."""

_ACCOUNT: Final = {
    "eth_getBalance": "balance",
    "eth_getTransactionCount": "nonce",
    "eth_getCode": "code",
}
_SLOT: Final = "eth_getStorageAt"
_STATE: Final = {**dict.fromkeys(_ACCOUNT, 1), _SLOT: 2}
"""What reads state, and at which place the block is named."""

_BY_NUMBER: Final = "eth_getBlockByNumber"
_BY_HASH: Final = "eth_getBlockByHash"
TRANSACTIONS: Final = frozenset(
    {"eth_getTransactionByHash", "eth_getRawTransactionByHash", "eth_getTransactionReceipt"}
)
"""Anvil asks its origin about a fork's own transaction until it has mined it. So one that the origin does not
know is no item, and offline one that is not recorded is not there."""

_LASTING: Final = frozenset(
    {
        "eth_call",
        "eth_gasPrice",
        "eth_feeHistory",
        "eth_maxPriorityFeePerGas",
        "eth_getLogs",
        "eth_getTransactionByHash",
        "eth_getTransactionByBlockHashAndIndex",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getRawTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getBlockReceipts",
        "eth_getBlockTransactionCountByNumber",
        "eth_getBlockTransactionCountByHash",
        "debug_traceTransaction",
        "trace_transaction",
    }
)
"""Asked about the past or once at the start: the answer is kept as it is."""

_TAGS: Final = frozenset({"latest", "pending", "safe", "finalized"})


class MissingItemError(KeeperError):
    """The bundle lacks an item."""


class BundleRefusedError(KeeperError):
    """A method that cannot be recorded by item."""


class Bundle:
    """The items of a fork at `block`. Not safe to share between threads."""

    def __init__(self, block: BlockRef) -> None:
        self.block: Final = block
        self._accounts: dict[str, dict[str, str]] = {}
        self._codes: dict[str, bytes] = {}
        self._slots: dict[tuple[str, int], bytes] = {}
        self._blocks: dict[str, dict[str, Any]] = {}
        self._hashes: dict[int, str] = {}
        self._answers: dict[str, Any] = {}

    @property
    def hash(self) -> bytes:
        """keccak256 of the canonical bytes."""
        return keccak(self.to_bytes())

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        """The result of a request. Raises MissingItemError naming the item, BundleRefusedError for a method
        that reads no item."""
        match method:
            case "eth_chainId":
                return hex(self.block.chain_id)
            case "net_version":
                return str(self.block.chain_id)
            case "eth_blockNumber":
                return hex(self.block.number)
            case "eth_getBlockByNumber" | "eth_getBlockByHash":
                return self._block(method, *params)
        if self.is_state(method, params):
            return self._slot(*params) if method == _SLOT else self._account(method, *params)
        key = self._key(method, params)
        if key not in self._answers:
            raise MissingItemError("The bundle lacks an answer", where=f"{method} {key[:200]}")
        return self._answers[key]

    def request(
        self, method: str, params: Sequence[Any], *, by_number: bool = False
    ) -> tuple[str, list[Any]]:
        """What to ask the origin for the missing item: state at the fork's block, which is named by hash."""
        if method in (_BY_NUMBER, _BY_HASH):
            # Whole, so that either form can be answered from it.
            at = params[0]
            return method, [hex(self.block.number) if at in _TAGS else at, True]
        if self.is_state(method, params):
            block = hex(self.block.number) if by_number else {"blockHash": "0x" + self.block.hash.hex()}
            return method, [*params[: _STATE[method]], block]
        return method, list(params)

    def record(self, method: str, params: Sequence[Any], result: Any) -> None:
        """Adds the item that the origin answered with.

        Raises HeaderError for a block that does not hash to its hash and DecodeError for what is no answer.
        """
        if method in (_BY_NUMBER, _BY_HASH):
            if result is None:
                raise MissingItemError("The origin has no such block", where=f"{method} {params[0]}")
            self._add_block(result)
        elif self.is_state(method, params):
            self._add_state(method, params, result)
        else:
            self._answers[self._key(method, params)] = result

    def _add_block(self, raw: dict[str, Any]) -> None:
        seen = header(raw, self.block.chain_id, "origin")
        listed = raw.get("transactions")
        if not isinstance(listed, list) or not all(
            isinstance(each, str) or (isinstance(each, dict) and "hash" in each) for each in listed
        ):
            raise DecodeError("A block lists its transactions", where=f"block {seen.number}")
        self._blocks[raw["hash"]] = raw
        self._hashes[seen.number] = raw["hash"]

    def _add_state(self, method: str, params: Sequence[Any], result: str) -> None:
        who = params[0].lower()
        if method == _SLOT:
            self._slots[who, quantity(params[1])] = hex_bytes(result).rjust(WORD, b"\0")
        elif method == "eth_getCode":
            code = hex_bytes(result)
            name = keccak(code).hex()
            self._codes[name] = code
            self._accounts.setdefault(who, {})["code"] = name
        else:
            self._accounts.setdefault(who, {})[_ACCOUNT[method]] = hex(quantity(result))

    def _block(self, method: str, at: str, full: bool = False) -> dict[str, Any] | None:
        if method == _BY_HASH:
            name: str | None = at
        else:
            number = self.block.number if at in _TAGS else quantity("0x0" if at == "earliest" else at)
            if number > self.block.number:
                return None
            name = self._hashes.get(number)
        found = self._blocks.get(name or "")
        if found is None:
            raise MissingItemError("The bundle lacks a block", where=f"block {at}")
        if full:
            return found
        hashes = [each if isinstance(each, str) else each["hash"] for each in found["transactions"]]
        return found | {"transactions": hashes}

    def _account(self, method: str, who: str, *at: Any) -> str:
        kind = _ACCOUNT[method]
        found = self._accounts.get(who.lower(), {}).get(kind)
        if found is None:
            raise MissingItemError(f"The bundle lacks the {kind} of an account", where=who)
        return "0x" + self._codes[found].hex() if kind == "code" else found

    def _slot(self, who: str, slot: str, *at: Any) -> str:
        found = self._slots.get((who.lower(), quantity(slot)))
        if found is None:
            raise MissingItemError("The bundle lacks a storage slot", where=f"slot {slot} of {who}")
        return "0x" + found.hex()

    def is_state(self, method: str, params: Sequence[Any]) -> bool:
        """Whether this reads the state at the fork's block."""
        if method not in _STATE:
            return False
        at = params[_STATE[method]] if len(params) > _STATE[method] else "latest"
        if isinstance(at, dict):
            named = at.get("blockHash")
            if named is not None:
                return bool(hex_bytes(named) == self.block.hash)
            at = at.get("blockNumber")
        return at in _TAGS or quantity(str(at)) == self.block.number

    def _key(self, method: str, params: Sequence[Any]) -> str:
        if method not in _LASTING and method not in _STATE:
            raise BundleRefusedError("Not recorded by item", where=method)
        return json.dumps([method, *params], sort_keys=True, separators=(",", ":"))

    def to_bytes(self) -> bytes:
        """Canonical encoding. Numbers stay as the origin wrote them."""
        body = {
            "block": astuple(self.block),
            "blocks": self._blocks,
            "accounts": self._accounts,
            "codes": [self._codes[name] for name in sorted(self._codes)],
            "slots": [[who, slot, word] for (who, slot), word in sorted(self._slots.items())],
            "answers": {key: json.dumps(value, sort_keys=True) for key, value in self._answers.items()},
        }
        return canonical.encode(body, domain=DOMAIN, version=VERSION)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bundle":
        """Raises DecodeError when the bytes are no bundle, HeaderError for a block that was tampered with."""
        body: Any = canonical.decode(data, domain=DOMAIN, version=VERSION)
        try:
            if [type(each) for each in body["block"]] != [int, int, bytes, bytes, int, int]:
                raise TypeError("a block is chain id, number, hash, parent hash, timestamp and base fee")
            bundle = cls(BlockRef(*body["block"]))
            # What a node can have said, and Anvil can be told.
            json.dumps(body["blocks"])
            for raw in body["blocks"].values():
                bundle._add_block(raw)
            bundle._codes = {keccak(code).hex(): code for code in body["codes"]}
            bundle._accounts = {who: bundle._checked(found) for who, found in body["accounts"].items()}
            bundle._slots = {(who, slot): word for who, slot, word in body["slots"]}
            bundle._answers = {key: parse_json(value) for key, value in body["answers"].items()}
            same = bundle.to_bytes() == data and all(
                isinstance(slot, int) and isinstance(word, bytes) and len(word) == WORD
                for (_, slot), word in bundle._slots.items()
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DecodeError("Not a fork bundle", seen=error) from error
        if not same:
            raise DecodeError("Not the canonical bytes of a fork bundle")
        return bundle

    def _checked(self, found: dict[str, str]) -> dict[str, str]:
        """An account whose values are what they say. Raises DecodeError, KeyError or AttributeError."""
        for kind, value in found.items():
            if kind == "code":
                self._codes[value]
            elif kind in _ACCOUNT.values():
                quantity(value)
            else:
                raise DecodeError("An account has no such value", seen=kind)
        return dict(found)

    def save(self, path: Path) -> bytes:
        """Writes the bundle to a file and returns its hash."""
        return archive.write(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path, expected: bytes | None = None) -> "Bundle":
        """Raises DecodeError when the file's hash does not match its content, or is not `expected`."""
        return cls.from_bytes(archive.read(path, "fork bundle", expected))
