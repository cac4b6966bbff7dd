"""Explains the state after plans to the wei: what time earned, what others and we did, and what nothing
explains.

A prediction is a function of the inclusion time: the mirror lets the state of the parent block earn until the
inclusion block's timestamp, and applies our calls to the state that others had left by then. What the other
transactions did is the difference between two states of the replayed block (`keeper.chain.replay`), so only
where the chain and the mirror part is there a remainder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from keeper.book import Book
from keeper.errors import PlanError, ReconciliationError
from keeper.ledger.vault import Accounting, settle
from keeper.planning.outcome import IDLE, Fill, after_calls
from keeper.planning.plan import BatchTerms, Kind, Plan


@dataclass(frozen=True)
class Step:
    """Plans carried out one after the other, what their swaps did in order, and the books just before and
    just after."""

    plans: tuple[Plan, ...]
    fills: tuple[Fill, ...]
    before: Book
    after: Book


@dataclass(frozen=True)
class Line:
    """One venue, or idle assets, over the inclusion block. Amounts in the vault's asset: `after = before +
    elapsed + earlier + ours + later + remainder`. `earlier` and `later` are what others did before our first
    transaction, and after it."""

    name: str
    before: int
    elapsed: int
    earlier: int
    ours: int
    later: int
    after: int

    @property
    def remainder(self) -> int:
        """What nothing explains."""
        return self.after - self.before - self.elapsed - self.earlier - self.ours - self.later


@dataclass(frozen=True)
class Reconciliation:
    """Outcome of plans in one block. `others` counts the block's other transactions; `not_replayed` says why
    it could not be told what these did, and then nothing is put down to them."""

    lines: tuple[Line, ...]
    differing: tuple[str, ...]
    others: int = 0
    not_replayed: str = ""

    @property
    def elapsed_yield(self) -> int:
        return sum(line.elapsed for line in self.lines)

    @property
    def third_party(self) -> int:
        """Sum of what others did to the lines before and after us, each counted with its size."""
        return sum(abs(line.earlier) + abs(line.later) for line in self.lines)

    @property
    def unexplained(self) -> int:
        """Sum of the lines' remainders, each counted with its size."""
        return sum(abs(line.remainder) for line in self.lines)

    def require_explained(self) -> None:
        """Raises ReconciliationError for a remainder, or a differing number of the accounting."""
        if not (self.unexplained or self.differing):
            return
        seen = [f"{line.name} {line.remainder:+,}" for line in self.lines if line.remainder]
        raise ReconciliationError(
            "The chain differs from the prediction, and what others did in the block is unknown"
            if self.not_replayed
            else "The chain differs from the prediction, and nothing explains it",
            expected="0",
            seen=", ".join([*seen, *self.differing]),
            where=self.not_replayed or None,
            hint="New risk halts until the cause is known.",
        )


def reconcile(
    parent: Book, start: Book, steps: Sequence[Step], end: Book, *, others: int = 0, not_replayed: str = ""
) -> Reconciliation:
    """`parent` is the book of the block before, `end` that of the block of the `steps`; `start` has the state
    of `parent` in the time of `end`. Without what lies between, one step from `parent` to `end` holds all.

    Raises ReconciliationError where no mirror can follow what the chain carried out.
    """
    at = end.at
    before, grown, begun = _values(parent, parent.at), _values(parent, at), _values(start, at)
    befores = [_values(step.before, at) for step in steps]
    expected = [_carried_out(step, at) for step in steps]
    ours = [_values(book, at) for book in expected]
    afters = [_values(step.after, at) for step in steps]
    ends = _values(end, at)
    lines = tuple(
        Line(
            name=name,
            before=before[name],
            elapsed=grown[name] - before[name],
            earlier=befores[0][name] - begun[name],
            ours=sum(done[name] - old[name] for old, done in zip(befores, ours, strict=True)),
            later=sum(new[name] - old[name] for old, new in zip(afters, [*befores[1:], ends], strict=True)),
            after=ends[name],
        )
        for name in sorted(before)
    )
    differing = tuple(
        difference
        for step, book in zip(steps, expected, strict=True)
        if any(plan.kind is Kind.SETTLEMENT for plan in step.plans)
        for difference in _differences(book.accounting, step.after.accounting)
    )
    return Reconciliation(lines, differing, others, not_replayed)


def _values(book: Book, at: int) -> dict[str, int]:
    return {each.ref.venue: each.report(at).low for each in book.positions} | {IDLE: book.idle}


def _carried_out(step: Step, at: int) -> Book:
    """What the mirror says of the book after the step."""
    book, fills = step.before, iter(step.fills)
    for plan in step.plans:
        try:
            if isinstance(plan.terms, BatchTerms):
                book = _after_batch(plan, book, at, fills)
            else:
                book = _after_settlement(plan, book, at)
        except PlanError as error:
            raise ReconciliationError(
                "No mirror follows what the chain carried out",
                seen=error,
                where=f"plan 0x{plan.plan_hash.hex()}",
                hint="New risk halts until the cause is known.",
            ) from error
    return book


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
