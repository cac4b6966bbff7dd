"""What is to be done once, done: simulated, written down, sent, and followed until it is mined."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.chain.pool import Replacement
from keeper.chain.rpc import Source
from keeper.chain.simulate import OUT_OF_GAS, Scene, first_revert
from keeper.errors import DecodeError, EndpointError, KeeperError, RefusedError
from keeper.events import EventStream
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.states import ENDED, State
from keeper.execution.journal.tables import Transaction
from keeper.execution.look import Receipt, find
from keeper.execution.transactions import Transactions
from keeper.planning.policy import Policy
from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

REVERTING: Final = ("KeeperQuorum", "Portfolio", "Vault", "Registry")
POLL_SECONDS: Final = (0.1, 2.0)
"""Between two looks at first, and at most."""
PATIENCE_SECONDS: Final = 120.0
"""How long a chain may stand still."""


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
class Order:
    """A call to be carried out once. What has the same `key` is the same thing, however often it is ordered.
    `gas` is the limit; `not_before` and `valid_until` are seconds of the chain's time within which it may
    succeed, and after which it is cancelled."""

    key: str
    call: Call[Any]
    gas: int
    not_before: int = 0
    valid_until: int | None = None


@dataclass(frozen=True)
class Sender:
    """An account that sends calls to one chain, through a journal. `finality` is how many blocks lie on one
    that stays; `policy` has the ceilings of the fees, and `policies` those of the account's other vaults."""

    source: Source
    account: "LocalAccount"
    journal: Journal
    events: EventStream
    finality: int
    policy: Policy | None = None
    replacement: Replacement = field(default_factory=Replacement)
    patience: float = PATIENCE_SECONDS
    policies: Sequence[Policy] = ()

    async def settle(self) -> None:
        """Carries on what the account has left undone, as far as it goes now. Raises EndpointError."""
        await self._desk().advance()

    async def send(self, order: Order) -> Receipt:
        """Carries an order out, unless it has been or is being: then it follows that.

        What the account has left undone goes first. Raises as `rehearse`; RefusedError when fees or balance
        forbid it, or it had to be given up; RevertError when it was mined and reverted; EndpointError when it
        is not mined yet, in which case the same order later finds it.
        """
        desk = self._desk()
        await desk.advance()
        rows = self.journal.transactions(order.key)
        # Earlier transactions for it may have ended without effect; it is the rest that counts.
        past = next((place for place, row in enumerate(rows) if row.at not in ENDED), len(rows))
        if past == len(rows) and not any(executed(row) for row in rows):
            await rehearse(self.source, desk.address, order.call, order.gas, order.not_before)
        receipt = await self._follow(desk, order, past)
        if not receipt.succeeded:
            raise await self._reason(order, receipt.block)
        return receipt

    def _desk(self) -> Transactions:
        return Transactions(
            self.source,
            self.account,
            self.journal,
            self.events,
            self.finality,
            self.policy,
            self.replacement,
            self.policies,
        )

    async def _follow(self, desk: Transactions, order: Order, past: int) -> Receipt:
        """The receipt of the order's transaction, once it is in a block."""
        call = order.call
        wanted = desk.intent(order.key, call.label, call.target, call.data, order.gas, order.valid_until)
        loop, pause = asyncio.get_running_loop(), POLL_SECONDS[0]
        relay = self.source.private
        heads = 2 * self.replacement.blocks + (0 if relay is None else relay.blocks)
        moved, idle, head = loop.time(), 0, -1
        trouble: KeeperError | None = None
        while True:
            rows = self.journal.transactions(order.key)
            done = _included(rows, past) or _given_up(rows[past:], order)
            receipt = None if done is None or done.hash is None else await self._receipt(done.hash)
            if receipt is not None:
                return receipt
            if idle > heads or loop.time() - moved > self.patience:
                raise self._unmined(rows[past:], desk, trouble)
            try:
                seen = (await desk.advance(None if rows[past:] else wanted)).head.number
            except (EndpointError, DecodeError) as error:
                seen, trouble = head, error
            if seen != head:
                # Heads that were looked at, without a step: a fast chain makes many between two looks.
                still = self.journal.transactions(order.key) == rows
                head, moved, idle = seen, loop.time(), idle + 1 if still else 0
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_SECONDS[1])

    async def _receipt(self, name: bytes) -> Receipt | None:
        try:
            return await find(self.source, name)
        except (EndpointError, DecodeError):
            # It is in the journal that it was mined; another endpoint, or a later moment, has the receipt.
            return None

    def _unmined(
        self, rows: list[Transaction], desk: Transactions, trouble: KeeperError | None
    ) -> EndpointError:
        last = rows[-1] if rows else None
        said = trouble if last is None else desk.troubles.get(last.nonce, trouble)
        return EndpointError(
            "The transaction is not mined yet",
            expected="a receipt",
            seen=said or "none",
            where=None if last is None else last.hash,
            hint="Nothing is lost: the same order, given again, finds it and goes on.",
        )

    async def _reason(self, order: Order, block: BlockRef) -> KeeperError:
        parent = await self.source.get_block(block.parent_hash)
        call, sender = order.call, Address(self.account.address)
        revert = await first_revert(
            self.source, Scene(parent, block.timestamp, sender, (call,), gas=order.gas), *REVERTING
        )
        if revert is not None:
            return revert.as_error()
        return EndpointError(
            "The transaction reverted, and does not when it is repeated on the parent block",
            where=f"block {block.number}",
        )


def _included(rows: list[Transaction], past: int) -> Transaction | None:
    reverted = (row for row in rows[past:] if row.at is State.REVERTED and not row.cancels)
    return next((row for row in rows if executed(row)), None) or next(reverted, None)


def _given_up(rows: list[Transaction], order: Order) -> Transaction | None:
    """The transaction that has reverted for good, if that is how it ended. Raises RefusedError when the nonce
    was spent by another."""
    if not rows or any(row.at not in ENDED for row in rows):
        return None
    for row in rows:
        if row.at is State.FINAL and not row.cancels:
            return row
    cancelled = any(row.cancels and row.at is State.FINAL for row in rows)
    raise RefusedError(
        "The order was cancelled: it was not mined in time"
        if cancelled
        else "The order's nonce was spent by a transaction that is not in the journal",
        where=order.call.label,
        hint=None if cancelled else "Another program sends from this account: give each its own.",
    )
