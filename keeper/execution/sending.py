"""A call as a transaction: simulated, sent once, and found again."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from eth_account.signers.local import LocalAccount

from keeper.chain.block import BlockRef, hex_bytes, quantity
from keeper.chain.call import Call
from keeper.chain.rpc import Source
from keeper.chain.simulate import OUT_OF_GAS, Scene, first_revert
from keeper.chain.transaction import Signed, sign
from keeper.errors import DecodeError, EndpointError, KeeperError, RefusedError
from keeper.events import EventStream, TransactionMined, TransactionSent
from keeper.execution.fees import fees
from keeper.planning.policy import Policy
from keeper.units import Address

REVERTING: Final = ("KeeperQuorum", "Portfolio", "Vault", "Registry")
RECEIPT_POLL_SECONDS: Final = 0.1
RECEIPT_PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Receipt:
    """A mined transaction. `index` is its place in `block`; `logs` are as JSON-RPC gives them."""

    transaction: bytes
    block: BlockRef
    index: int
    gas_used: int
    logs: tuple[dict[str, Any], ...]


async def rehearse(source: Source, sender: Address, call: Call[Any], gas: int, not_before: int = 0) -> None:
    """The call from `sender` in the block after the head, at `not_before` or later.

    Raises RevertError in the contract's own words; RefusedError when it needs more than `gas`; EndpointError.
    """
    head = await source.latest()
    scene = Scene(head, max(head.timestamp + 1, not_before), sender, (call,), gas=gas)
    revert = await first_revert(source, scene, *REVERTING)
    if revert is None:
        return
    if revert.name == OUT_OF_GAS:
        raise RefusedError(
            "The call would cost more gas than is allowed", expected=f"at most {gas:,}", where=call.label
        )
    raise revert.as_error()


@dataclass(frozen=True)
class Sender:
    """An account that sends calls through one endpoint."""

    endpoint: Source
    account: LocalAccount
    events: EventStream

    async def send(
        self, call: Call[Any], gas: int, not_before: int = 0, *, policy: Policy | None = None
    ) -> Receipt:
        """Simulates and sends the call, under the policy's fee ceilings, and waits until it is mined.
        `not_before` is the first second at which it may succeed.

        Raises as `rehearse` and `fees`, and EndpointError when the transaction cannot be found again.
        """
        sender = Address(self.account.address)
        await rehearse(self.endpoint, sender, call, gas, not_before)
        max_fee, tip = fees(policy, (await self.endpoint.latest()).base_fee)
        signed = await sign(self.endpoint, self.account, call, gas=gas, max_fee=max_fee, tip=tip)
        self.events.emit(
            TransactionSent(chain_id=self.endpoint.chain_id, transaction=signed.hash, purpose=call.label)
        )
        await self._broadcast(signed)
        receipt, succeeded = await self.mined(signed.hash)
        if not succeeded:
            raise await self._reason(call, receipt.block, gas)
        return receipt

    async def _broadcast(self, signed: Signed) -> None:
        try:
            await self.endpoint.send_raw(signed.raw)
        except EndpointError:
            # It may have arrived all the same; a second send could only make things worse.
            known = await self.endpoint.rpc("eth_getTransactionByHash", ["0x" + signed.hash.hex()])
            if known is None:
                raise

    async def mined(self, name: bytes) -> tuple[Receipt, bool]:
        """The receipt, and whether the transaction succeeded. Raises EndpointError when it cannot be had."""
        for _ in range(int(RECEIPT_PATIENCE_SECONDS / RECEIPT_POLL_SECONDS)):
            raw = await self.endpoint.rpc("eth_getTransactionReceipt", ["0x" + name.hex()])
            if raw is not None:
                break
            await asyncio.sleep(RECEIPT_POLL_SECONDS)
        else:
            raise EndpointError(
                "The transaction is sent and not mined",
                expected=f"a receipt within {RECEIPT_PATIENCE_SECONDS:.0f} s",
                where="0x" + name.hex(),
                hint="Do not send it again: look for this hash first.",
            )
        receipt, succeeded = await self._receipt(name, raw)
        self.events.emit(
            TransactionMined(
                chain_id=self.endpoint.chain_id,
                transaction=name,
                block=receipt.block.number,
                gas_used=receipt.gas_used,
                succeeded=succeeded,
            )
        )
        return receipt, succeeded

    async def _receipt(self, name: bytes, raw: Any) -> tuple[Receipt, bool]:
        try:
            mined_in, logs = hex_bytes(raw["blockHash"]), tuple(raw["logs"])
            index, used, status = (quantity(raw[key]) for key in ("transactionIndex", "gasUsed", "status"))
        except (KeyError, TypeError) as error:
            raise DecodeError("Not a receipt", seen=repr(error), where="0x" + name.hex()) from error
        return Receipt(name, await self.endpoint.get_block(mined_in), index, used, logs), status == 1

    async def _reason(self, call: Call[Any], block: BlockRef, gas: int) -> KeeperError:
        parent = await self.endpoint.get_block(block.parent_hash)
        scene = Scene(parent, block.timestamp, Address(self.account.address), (call,), gas=gas)
        revert = await first_revert(self.endpoint, scene, *REVERTING)
        if revert is not None:
            return revert.as_error()
        return EndpointError(
            "The transaction reverted, and does not when it is repeated on the parent block",
            where=f"block {block.number}",
        )
