"""Reading positions, marking them, and the two readings of settlements that nobody signs (`ReadingLib`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from keeper.ledger.bucket import fall as fall_of
from keeper.ledger.checks import excess, require
from keeper.ledger.state import (
    Announcement,
    FirstReading,
    Ledger,
    Mark,
    Message,
    Portfolio,
    PositionId,
)
from keeper.oracle.quote import Status
from keeper.units import WAD, Value

MIN_READING_GAP: Final = 1_800
MAX_READING_GAP: Final = 86_400
ROUNDING: Final = 10
"""Units that a report may move without anything having been added or lost."""
RAISING_BUDGET: Final = WAD // 100
REDUCING_BUDGET: Final = 2 * WAD // 100
_MAX_REPORT: Final = 2**112 - 1


@dataclass(frozen=True, slots=True)
class Seen:
    """A position as its connector reports it (`PositionReport`)."""

    low: int = 0
    high: int = 0
    debt: int = 0
    health: int = 0
    readable: bool = False
    healthy: bool = False

    @property
    def gross(self) -> int:
        """What is owned, debts not taken off."""
        return self.high + self.debt

    @property
    def worthless(self) -> bool:
        """In doubt, and nothing at the low end."""
        return not self.healthy and self.low == 0


@dataclass(frozen=True, slots=True)
class Term:
    """What a position adds to NAV."""

    position: PositionId
    low: int
    high: int
    debt: int
    healthy: bool


# ONE POSITION


def see(portfolio: Portfolio, m: Message, position: PositionId, *, asks: bool = False) -> Seen:
    """What a position counts: nothing to its last good value where it cannot be read, and where it is split
    off unless `asks` (`ReadingLib.report`)."""
    report = None
    if asks or not portfolio.is_pocketed(position):
        report = m.world.report(position, m.at)
    if report is None or report.low > report.high or report.high > _MAX_REPORT:
        return Seen(high=portfolio.mark(position).high)
    healthy = report.status is Status.OK
    return Seen(report.low, report.high, report.debt, report.health, True, healthy)


def put_mark(portfolio: Portfolio, position: PositionId, mark: Mark) -> Portfolio:
    return replace(portfolio, marks={**portfolio.marks, position: mark})


def count_exposure(portfolio: Portfolio, risk_ids: Iterable[bytes], before: int, after: int) -> Portfolio:
    """`ReadingLib.countExposure`."""
    exposures = dict(portfolio.exposures)
    for risk_id in risk_ids:
        exposures[risk_id] = exposures.get(risk_id, 0) + after - before
    return replace(portfolio, exposures=exposures)


# ALL POSITIONS


def read(ledger: Ledger, m: Message) -> tuple[Term, ...]:
    """Every listed position, in the order of the registry."""
    seen = ((each, see(ledger.portfolio, m, each)) for each in ledger.registry.positions)
    return tuple(Term(each, s.low, s.high, s.debt, s.healthy) for each, s in seen)


def total(portfolio: Portfolio, terms: Iterable[Term]) -> tuple[Value, bool]:
    """Net asset value with idle assets, and whether every term of it is healthy."""
    value, healthy = Value(portfolio.idle, portfolio.idle), True
    for term in terms:
        value += Value(term.low, term.high)
        healthy = healthy and term.healthy
    return value, healthy


def nav(ledger: Ledger, m: Message) -> tuple[Value, bool]:
    """`Portfolio.nav`."""
    return total(ledger.portfolio, read(ledger, m))


def two_readings(ledger: Ledger, m: Message) -> tuple[Value, bool, int]:
    """`Portfolio.twoReadings`. Raises RevertError."""
    terms, at = _combine(ledger, read(ledger, m), m.at)
    return *total(ledger.portfolio, terms), at


def checkpoint(ledger: Ledger, m: Message, twice: bool) -> tuple[Ledger, Value, bool]:
    """The ledger with every position marked, and net asset value with its health (`Portfolio.checkpoint`).
    Raises RevertError."""
    terms = read(ledger, m)
    if twice:
        terms, _ = _combine(ledger, terms, m.at)
    portfolio = ledger.portfolio
    value, healthy = total(portfolio, terms)
    low_marked = portfolio.idle + portfolio.total_low
    fall = sum(excess(portfolio.mark(term.position).low, term.low) for term in terms)
    for term in terms:
        portfolio = _marked(ledger, portfolio, term)
    level = raising_level(portfolio, low_marked, fall, m.at)
    portfolio = replace(
        portfolio, total_low=sum(term.low for term in terms), raising=portfolio.raising.set(level, m.at)
    )
    return replace(ledger, portfolio=portfolio), value, healthy


def _marked(ledger: Ledger, portfolio: Portfolio, term: Term) -> Portfolio:
    """Settlements leave high value and debt alone, but for value that is first seen."""
    mark, gross = portfolio.mark(term.position), term.high + term.debt
    if term.healthy and mark.high == mark.debt == 0 and gross:
        risk_ids = ledger.registry.risk_ids[term.position]
        portfolio = count_exposure(portfolio, risk_ids, 0, gross)
        return put_mark(portfolio, term.position, Mark(term.low, term.high, term.debt))
    return put_mark(portfolio, term.position, replace(mark, low=term.low))


def raising_level(portfolio: Portfolio, low_marked: int, fall: int, at: int) -> int:
    """The bucket of new risk with the fall since the last checkpoint in it, full at most."""
    level = portfolio.raising.current(RAISING_BUDGET, at)
    return min(level + fall_of(low_marked + 1, low_marked + 1 - fall), RAISING_BUDGET)


# TWO READINGS


def announce(ledger: Ledger, m: Message) -> Ledger:
    """`announce`."""
    portfolio, positions = ledger.portfolio, ledger.registry.positions
    made = portfolio.announcement
    until = made.at + MAX_READING_GAP
    require(m.at > until or positions != made.positions, "AnnouncementStands", until)
    made = Announcement(m.at, positions, made.first)
    for each in positions:
        seen = see(portfolio, m, each, asks=True)
        made = made.put(each, _first(seen.low, seen.high, seen.healthy, seen.worthless))
    return replace(ledger, portfolio=replace(portfolio, announcement=made))


def reading_time(made: Announcement, at: int) -> int:
    """When the first reading was made, which must be neither too recent nor too old."""
    require(at >= made.at + MIN_READING_GAP, "TooEarly", made.at + MIN_READING_GAP)
    require(at <= made.at + MAX_READING_GAP, "Expired", made.at + MAX_READING_GAP)
    return made.at


def move_first(portfolio: Portfolio, position: PositionId, before: Seen, after: Seen, at: int) -> Portfolio:
    """What a batch does to a position happens to its first reading, too, while that stands."""
    made = portfolio.announcement
    if at > made.at + MAX_READING_GAP or portfolio.is_pocketed(position):
        return portfolio
    first, healthy = made.of(position), before.healthy and after.healthy
    low, high = after.low, after.high
    if healthy:
        low = excess(first.low + low, before.low)
        high = max(low, excess(first.high + high, before.high))
    reading = _first(low, high, healthy and first.healthy, first.worthless)
    return replace(portfolio, announcement=made.put(position, reading))


def _first(low: int, high: int, healthy: bool, worthless: bool) -> FirstReading:
    return FirstReading(min(low, _MAX_REPORT), min(high, _MAX_REPORT), healthy, worthless)


def _combine(ledger: Ledger, terms: tuple[Term, ...], at: int) -> tuple[tuple[Term, ...], int]:
    """The announced reading and that of now as one: the least low and the greatest high; where a position was
    sound once, that time alone counts."""
    portfolio, made = ledger.portfolio, ledger.portfolio.announcement
    since = reading_time(made, at)
    require(made.positions == ledger.registry.positions, "PositionsChanged")
    combined = []
    for term in terms:
        first = made.of(term.position)
        if portfolio.is_pocketed(term.position):
            pass
        elif first.healthy == term.healthy:
            term = replace(term, low=min(term.low, first.low), high=max(term.high, first.high))
        elif first.healthy:
            term = replace(term, low=first.low, high=first.high, healthy=True)
        combined.append(term)
    return tuple(combined), since
