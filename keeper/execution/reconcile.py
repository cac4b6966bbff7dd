"""Explains the state after a plan to the wei: what time earned, what we did, and what nothing explains.

The prediction is a function of the inclusion time: the mirror starts from the state of the parent block, lets
interest accrue to the inclusion block's timestamp, applies our calls, and is compared with the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from keeper.book import Book
from keeper.errors import ReconciliationError
from keeper.ledger.vault import Accounting, settle
from keeper.planning.outcome import IDLE, predict
from keeper.planning.plan import BatchTerms, Plan


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
    """Outcome for one plan; `others` counts the block's other transactions, which alone may explain a
    remainder as third-party activity."""

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


def reconcile(plan: Plan, parent: Book, after: Book, *, others: int) -> Reconciliation:
    """Compares `after`, the book at the inclusion block, with what the plan does to `parent`, the book at
    the block before it."""
    if isinstance(plan.terms, BatchTerms):
        predicted: Mapping[str, int] = predict(parent, plan.terms.calls, after.at)
        differing: tuple[str, ...] = ()
    else:
        predicted, accounting = _after_settlement(plan, parent, after.at)
        differing = _differences(accounting, after.accounting)
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


def _after_settlement(plan: Plan, parent: Book, at: int) -> tuple[Mapping[str, int], Accounting]:
    nav = parent.nav_at(at)
    settled = settle(
        parent.accounting,
        parent.params,
        idle=parent.idle,
        nav=nav,
        healthy=parent.healthy,
        at=at,
        risk_paused_until=parent.risk_paused_until,
        max_pps=plan.settlement.max_pps,
    )
    values = {position.ref.venue: position.report(at).low for position in parent.positions}
    return values | {IDLE: parent.idle + settled.idle_change}, settled.accounting


def _differences(expected: Accounting, seen: Accounting) -> tuple[str, ...]:
    pairs = ((field.name, getattr(expected, field.name), getattr(seen, field.name)) for field in fields(seen))
    return tuple(
        f"{name}: expected {ours:,}, saw {theirs:,}" for name, ours, theirs in pairs if ours != theirs
    )
