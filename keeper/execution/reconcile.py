"""Explains the state after a plan to the wei: what time earned, what we did, and what nothing explains.

The prediction is a function of the inclusion time: the mirror starts from the state of the parent block, lets
interest accrue to the inclusion block's timestamp, applies our calls, and is compared with the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from keeper.book import Book
from keeper.errors import ReconciliationError
from keeper.ledger.vault import Accounting, settle
from keeper.planning.outcome import IDLE, Fill, after_calls
from keeper.planning.plan import BatchTerms, Kind, Plan


@dataclass(frozen=True)
class Line:
    """One venue, or idle assets, over the inclusion block. Amounts in the vault's asset:
    `after = before + elapsed + ours + remainder`."""

    name: str
    before: int
    elapsed: int
    ours: int
    after: int

    @property
    def remainder(self) -> int:
        """What neither time nor our calls explain."""
        return self.after - self.before - self.elapsed - self.ours


@dataclass(frozen=True)
class Reconciliation:
    """Outcome of plans in one block; `others` counts the block's other transactions, which alone may explain
    a remainder as third-party activity."""

    lines: tuple[Line, ...]
    differing: tuple[str, ...]
    others: int

    @property
    def elapsed_yield(self) -> int:
        return sum(line.elapsed for line in self.lines)

    @property
    def remainder(self) -> int:
        """Sum of the lines' remainders, each counted with its size."""
        return sum(abs(line.remainder) for line in self.lines)

    @property
    def third_party(self) -> int:
        return self.remainder if self.others else 0

    @property
    def unexplained(self) -> int:
        return 0 if self.others else self.remainder

    def require_explained(self) -> None:
        """Raises ReconciliationError for a remainder, or a differing number of the accounting, in a block
        that holds no transaction but ours."""
        if self.others or not (self.remainder or self.differing):
            return
        seen = [f"{line.name} {line.remainder:+,}" for line in self.lines if line.remainder]
        raise ReconciliationError(
            "The chain differs from the prediction, and nothing explains it",
            expected="0",
            seen=", ".join([*seen, *self.differing]),
            hint="New risk halts until the cause is known.",
        )


def reconcile(
    plans: Sequence[Plan], parent: Book, after: Book, *, others: int, fills: Iterable[Fill] = ()
) -> Reconciliation:
    """Compares `after`, the book at the inclusion block, with what the plans, one after the other, do to
    `parent`, the book at the block before it; `fills` are what their swaps did, in order."""
    book, done = parent, iter(fills)
    for plan in plans:
        if isinstance(plan.terms, BatchTerms):
            book = _after_batch(plan, book, after.at, done)
        else:
            book = _after_settlement(plan, book, after.at)
    settled = any(plan.kind is Kind.SETTLEMENT for plan in plans)
    differing = _differences(book.accounting, after.accounting) if settled else ()
    predicted = {each.ref.venue: each.report(after.at).low for each in book.positions} | {IDLE: book.idle}
    before = parent.allocation | {IDLE: parent.idle}
    grown = {p.ref.venue: p.report(after.at).low for p in parent.positions} | {IDLE: parent.idle}
    actual = after.allocation | {IDLE: after.idle}
    lines = tuple(
        Line(
            name=name,
            before=before[name],
            elapsed=grown[name] - before[name],
            ours=predicted[name] - grown[name],
            after=actual[name],
        )
        for name in sorted(before)
    )
    return Reconciliation(lines, differing, others)


def _after_batch(plan: Plan, book: Book, at: int, fills: Iterator[Fill]) -> Book:
    positions, idle = after_calls(book, plan.batch.calls, at, fills)
    return replace(book, positions=positions, idle=idle)


def _after_settlement(plan: Plan, book: Book, at: int) -> Book:
    settled = settle(
        book.accounting,
        book.params,
        idle=book.idle,
        nav=book.nav_at(at),
        healthy=book.healthy,
        at=at,
        risk_paused_until=book.risk_paused_until,
        max_pps=plan.settlement.max_pps,
    )
    return replace(book, idle=book.idle + settled.idle_change, accounting=settled.accounting)


def _differences(expected: Accounting, seen: Accounting) -> tuple[str, ...]:
    pairs = ((field.name, getattr(expected, field.name), getattr(seen, field.name)) for field in fields(seen))
    return tuple(
        f"{name}: expected {ours:,}, saw {theirs:,}" for name, ours, theirs in pairs if ours != theirs
    )
