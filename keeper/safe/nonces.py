"""Which nonce a Safe transaction may have: the chain's word comes first, then the queue's.

A service that missed an execution still counts from the old nonce, and accepts a transaction that can never
be executed (safe-client-gateway, issue 755). So nothing a service says lowers the chain's nonce.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keeper.errors import DecodeError, RefusedError
from keeper.planning.plan import Kind, Plan
from keeper.quorum.typed_data import EXECUTE_BATCH, SETTLE
from keeper.safe.transaction import InnerCall, SafeTransaction, calls_of
from keeper.units import Address


@dataclass(frozen=True)
class Queued:
    """A transaction that a service holds and that is not executed; its hash is of its own data."""

    nonce: int
    hash: bytes
    transaction: SafeTransaction | None
    """None for one that is not of the kind we make: with value, a refund or a gas limit."""


def pending(queue: Iterable[Queued], chain_nonce: int) -> tuple[Queued, ...]:
    """The transactions that may still be executed, by nonce."""
    return tuple(
        sorted(
            (each for each in queue if each.nonce >= chain_nonce), key=lambda each: (each.nonce, each.hash)
        )
    )


def next_nonce(chain_nonce: int, queue: Iterable[Queued]) -> int:
    """The lowest nonce from the chain's on that nothing queued has."""
    taken = {each.nonce for each in queue}
    nonce = chain_nonce
    while nonce in taken:
        nonce += 1
    return nonce


def check_nonce(
    transaction: SafeTransaction, chain_nonce: int, queue: Sequence[Queued], *, replace: bool = False
) -> None:
    """Raises RefusedError for a nonce that is spent, that another transaction in the queue has (unless it is
    to `replace` that one), or that leaves a gap before it."""
    nonce = transaction.nonce
    if nonce < chain_nonce:
        raise RefusedError(
            "The Safe has spent this nonce",
            expected=f"{chain_nonce} or later, by the chain",
            seen=nonce,
            hint="Propose the plan again; this transaction can never be executed.",
        )
    same = [each for each in pending(queue, chain_nonce) if each.nonce == nonce]
    others = [each.hash for each in same if each.hash != transaction.hash]
    if others and not replace:
        raise RefusedError(
            "Another transaction is queued under this nonce, and only one of them can be executed",
            expected=others[0],
            seen=transaction.hash,
            where=f"nonce {nonce}",
            hint="Execute the queued one first, or say that this one replaces it.",
        )
    lowest = next_nonce(chain_nonce, queue)
    if nonce > lowest:
        raise RefusedError(
            "The nonce leaves a gap: the transaction would wait for others that nobody has proposed",
            expected=f"at most {lowest}",
            seen=nonce,
        )


def check_slots(
    transaction: SafeTransaction,
    plans: Sequence[Plan],
    portfolio: Address,
    multi_send: Address | None,
    queue: Sequence[Queued],
) -> None:
    """Raises RefusedError where a queued transaction with another nonce is for the same slot as a plan: the
    slot is used up by whichever comes first, and the other one blocks the queue."""
    slots = {(plan.kind, plan.slot) for plan in plans}
    for each in queue:
        if each.transaction is None or each.nonce == transaction.nonce:
            continue
        for call in _calls(each.transaction, multi_send):
            slot = slot_of(call, plans[0], portfolio)
            if slot in slots:
                raise RefusedError(
                    "A transaction for the same slot is queued: only one of them can be executed",
                    expected=f"nonce {each.nonce}, 0x{each.hash.hex()}",
                    seen=f"nonce {transaction.nonce}, 0x{transaction.hash.hex()}",
                    where=f"{slot[0].value} {slot[1]}",
                    hint="Replace the queued one under its own nonce, or let it be executed.",
                )


def slot_of(call: InnerCall, like: Plan, portfolio: Address) -> tuple[Kind, tuple[int, int]] | None:
    """The slot that a call uses up, if it carries out a plan for the vault of the plan `like`."""
    kind = {
        (portfolio, EXECUTE_BATCH.selector): Kind.BATCH,
        (like.vault, SETTLE.selector): Kind.SETTLEMENT,
    }.get((call.to, call.data[:4]))
    if kind is None:
        return None
    try:
        if kind is Kind.SETTLEMENT:
            (settlement,) = SETTLE.decode_input(call.data)
            return kind, (0, settlement[1])
        (batch,) = EXECUTE_BATCH.decode_input(call.data)
    except DecodeError:
        return None
    return kind, (batch[1], batch[2])


def _calls(transaction: SafeTransaction, multi_send: Address | None) -> tuple[InnerCall, ...]:
    try:
        return calls_of(transaction, multi_send)
    except DecodeError:
        return ()
