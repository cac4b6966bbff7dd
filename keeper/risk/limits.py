"""Which limits a book is beyond, or would be after a plan: pure, so that every signer finds the same.

A breach refuses a plan that raises risk, never one that only takes assets out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from keeper.book import Book
from keeper.connectors.base import Position, after_move, is_movable
from keeper.errors import PolicyError
from keeper.exposures import gross
from keeper.oracle.quote import Status
from keeper.planning.actions import REDUCING, SUPPLY
from keeper.planning.bounds import DAY
from keeper.planning.calls import PlannedCall
from keeper.planning.outcome import after_calls
from keeper.planning.plan import BatchTerms, Plan
from keeper.planning.policy import Policy
from keeper.risk.slots import RiskPolicy
from keeper.units import BPS

_STALE: Final = frozenset({Status.STALE})
_CONSTANT: Final = frozenset({Status.CONSTANT})
_DIVERGED: Final = frozenset(Status) - _STALE - _CONSTANT - {Status.OK}


@dataclass(frozen=True)
class Breach:
    """A limit and what is beyond it, for people; `requirement` is R01 to R29, `where` a venue, a risk id, a
    chain, or the vault."""

    requirement: str
    limit: str
    seen: str
    where: str

    def __str__(self) -> str:
        return f"{self.requirement} [{self.where}]: expected {self.limit}, saw {self.seen}"


@dataclass(frozen=True)
class Outcome:
    """What is judged: the book as it is, or as a plan leaves it. Amounts in the vault's asset."""

    book: Book
    policy: Policy
    plan: Plan | None
    idle: int
    positions: tuple[Position, ...]

    @classmethod
    def of(cls, book: Book, policy: Policy, plan: Plan | None) -> "Outcome":
        """Does with the positions what the plan's calls do. Raises PolicyError for an action whose effect on
        the limits is not known."""
        if plan is None or not isinstance(plan.terms, BatchTerms):
            return cls(book, policy, plan, book.idle, book.positions)
        for call in plan.terms.calls:
            _require_known(call)
        positions, idle = after_calls(book, plan.terms.calls, book.at)
        return cls(book, policy, plan, idle, positions)

    @property
    def risk(self) -> RiskPolicy:
        return self.policy.risk or RiskPolicy()

    @cached_property
    def gross(self) -> dict[str, int]:
        """What positions own, debts not taken off, by venue."""
        return {each.ref.venue: gross(each.report(self.book.at)) for each in self.positions}

    @cached_property
    def equity(self) -> int:
        """Assets less debts, at the low end."""
        return self.idle + sum(each.report(self.book.at).low for each in self.positions)

    @property
    def grown(self) -> frozenset[str]:
        """Venues that the plan puts something into."""
        if self.plan is None or not isinstance(self.plan.terms, BatchTerms):
            return frozenset()
        return frozenset(call.venue for call in self.plan.terms.calls if call.function not in REDUCING)


def _require_known(call: PlannedCall) -> None:
    if call.function != SUPPLY.name and call.function not in REDUCING:
        raise PolicyError(
            "The limits do not know what this action does to them",
            expected=" or ".join(sorted({SUPPLY.name, *REDUCING})),
            seen=call.function,
            where=call.venue,
        )


def check(book: Book, policy: Policy, plan: Plan | None = None) -> tuple[Breach, ...]:
    """Every limit of the policy that the book is beyond, or, with a plan, that it ends beyond."""
    outcome = Outcome.of(book, policy, plan)
    return tuple(breach for rule in _RULES for breach in rule(outcome))


def raises_risk(plan: Plan) -> bool:
    """Whether a plan does anything but take assets out. A settlement pays who leaves and raises none."""
    return isinstance(plan.terms, BatchTerms) and any(
        call.function not in REDUCING for call in plan.terms.calls
    )


def allowed(book: Book, policy: Policy, plan: Plan) -> Plan:
    """The plan, unless it raises risk and ends beyond a limit: then PolicyError with every breach."""
    if raises_risk(plan) and (breaches := check(book, policy, plan)):
        raise PolicyError(
            "The plan raises risk and would end beyond the policy's limits: " + "; ".join(map(str, breaches)),
            where=", ".join(sorted({each.requirement for each in breaches})),
            hint="A plan that only takes assets out is not held to them.",
        )
    return plan


# RULES


def _leverage(outcome: Outcome) -> Iterator[Breach]:
    """R01: gross assets over equity, of the whole vault, which runs one strategy."""
    total, limit = outcome.idle + sum(outcome.gross.values()), outcome.policy.leverage_bps
    if total * BPS > outcome.equity * limit:
        yield Breach("R01", f"at most {_times(limit)}", _over(total, outcome.equity), "vault")


def _claims(outcome: Outcome) -> Iterator[Breach]:
    """R04: what holders are told (`totalAssets`) beside what is there now, net."""
    slot, claimed, net = outcome.risk.R04, outcome.book.accounting.stored_nav, outcome.book.total
    if slot is not None and claimed * BPS > net * (BPS + slot.tolerance_bps):
        yield Breach(
            "R04", f"a claim of {net:,} net", f"{claimed:,} claimed, gross {outcome.book.gross:,}", "vault"
        )


def _markets(outcome: Outcome) -> Iterator[Breach]:
    """R07: what a plan puts in goes to a position of the policy, whose markets are checked with the file."""
    known = {(each.venue, each.address, each.key) for each in outcome.policy.positions}
    if outcome.risk.R07 is None or outcome.plan is None or not isinstance(outcome.plan.terms, BatchTerms):
        return
    for call in outcome.plan.terms.calls:
        if call.action.key is not None and (call.venue, call.target, call.key) not in known:
            yield Breach("R07", "a listed market", f"0x{call.key.hex()} of {call.target}", call.venue)


def _constants(outcome: Outcome) -> Iterator[Breach]:
    """R08: an oracle that stands still halts risk; one known to be constant halts what rests on it."""
    slot = outcome.risk.R08
    if slot is None:
        return
    yield from _in_doubt(outcome, "R08", _CONSTANT)
    for venue in sorted(outcome.grown):
        # However an address is written.
        named = {text.lower() for text in _texts(outcome.policy.position(venue).params)}
        for oracle in sorted(each for each in slot.quarantined if each.lower() in named):
            yield Breach("R08", "no quarantined oracle", oracle, venue)


def _divergence(outcome: Outcome) -> Iterator[Breach]:
    """R09: where sources diverge, or a price cannot be had, risk halts in the whole vault."""
    if outcome.risk.R09 is not None:
        yield from _in_doubt(outcome, "R09", _DIVERGED)


def _concentration(outcome: Outcome) -> Iterator[Breach]:
    """R14: what counts under a risk id, gross, over equity."""
    slot = outcome.risk.R14
    for name, limit in sorted(slot.max_bps.items()) if slot is not None else ():
        held = sum(outcome.gross[venue] for venue in outcome.policy.members(name))
        if held * BPS > outcome.equity * limit:
            yield Breach("R14", f"at most {_percent(limit)}", f"{held:,} of {outcome.equity:,}", name)


def _staleness(outcome: Outcome) -> Iterator[Breach]:
    """R23: stale prices, and blocks that were old already at the reference time."""
    slot, plan = outcome.risk.R23, outcome.plan
    if slot is None:
        return
    yield from _in_doubt(outcome, "R23", _STALE)
    if plan is None:
        return
    for block in plan.blocks:
        age, limit = plan.reference_time - block.timestamp, slot.max_block_age[block.chain_id]
        if age > limit:
            yield Breach("R23", f"at most {limit} s", f"{age} s", f"chain {block.chain_id}")


def _ladder(outcome: Outcome) -> Iterator[Breach]:
    """R26: what comes free within a day against the promise of a day and what the queue asks for."""
    slot = outcome.risk.R26
    if slot is None:
        return
    promised = max(-(-outcome.equity * slot.daily_bps // BPS), outcome.book.reserve)
    free = free_within(outcome, DAY, slot.notice)
    if free < promised:
        yield Breach("R26", f"{promised:,} within a day", f"{free:,}", "vault")


def free_within(outcome: Outcome, seconds: int, notice: Mapping[str, int]) -> int:
    """Assets at hand, and what venues let go without more than `seconds` of notice. Venues that lend in the
    same market share its cash, so each is emptied in turn."""
    at, positions, free = outcome.book.at, outcome.positions, outcome.idle
    for venue in [each.ref.venue for each in positions]:
        chosen = next(each for each in positions if each.ref.venue == venue)
        most = chosen.max_withdraw(at)
        if most > 0 and is_movable(chosen) and notice.get(venue, 0) <= seconds:
            positions, received = after_move(positions, venue, -most, at)
            free += received
    return free


_RULES: Final[tuple[Callable[[Outcome], Iterator[Breach]], ...]] = (
    _leverage,
    _claims,
    _markets,
    _constants,
    _divergence,
    _concentration,
    _staleness,
    _ladder,
)


def _in_doubt(outcome: Outcome, requirement: str, verdicts: frozenset[Status]) -> Iterator[Breach]:
    for venue, report in outcome.book.reports.items():
        if report.status in verdicts:
            yield Breach(requirement, Status.OK.name, report.status.name, venue)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a position's parameters, at any depth: addresses are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _times(bps: int) -> str:
    return f"{bps // BPS}.{bps % BPS:04d}"


def _over(total: int, equity: int) -> str:
    return (
        f"{_times(total * BPS // equity)} ({total:,} over {equity:,})"
        if equity > 0
        else f"{total:,} over nothing"
    )


def _percent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02d} %"
