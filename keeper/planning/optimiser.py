"""The split of an amount over venues that earns most per year, counting our own effect on every rate.

Maximise the sum over venues of x * rate(x), with low <= x <= high in each and no more than `budget` in all;
what is not placed earns nothing and stays idle. Rates are the mirrors' exact integers, so the answer is the
same on every machine (keeper-spec 9).

1. Dynamic programming over multiples of a first step of about budget / grid: exact on that grid for curves of
   any shape. No float seeds it, and no closed form is needed, because a rate is a few integer operations.
2. The step shrinks eightfold, and the same programme runs on the window of eight new steps either side of the
   last optimum, until the step is one `quantum`. Every level again is exact on its own grid and window.
3. A curve may have several peaks, as above the kink of a lending market, and a higher one may lie between
   grid points. So the first window is also laid around the best splits near other peaks that the first grid
   shows, one venue moved at a time, and the best of these answers is refined.

Equal yields are settled by venue id: the first venue in order gets the most, then the second, and so on.
Rates are floored per second or per year: a `quantum` far below a token may stop on a plateau of that floor.
A peak narrower than the first step, or a pair of lesser peaks that only together earn more, can be missed; a
larger grid narrows that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add
from typing import Final

from keeper.errors import PlanError

SHRINK: Final = 8
ALTERNATIVES: Final = 2
"""How many splits near other peaks are looked at more closely."""


@dataclass(frozen=True)
class Venue:
    """One choice: its id, the bounds of what it may hold, and its yearly wad rate as a function of that."""

    id: str
    low: int
    high: int
    rate: Callable[[int], int]

    def income(self, assets: int) -> int:
        """Assets earned per year by `assets`, times 1e18: undivided, so that no rounding blurs a choice."""
        return assets * self.rate(assets) if assets else 0


@dataclass(frozen=True)
class Split:
    """Assets by venue id, and what they earn per year in assets times 1e18."""

    assets: Mapping[str, int]
    income: int


def income(venues: Sequence[Venue], assets: Mapping[str, int]) -> int:
    """What a given split earns per year, in assets times 1e18."""
    return sum(venue.income(assets[venue.id]) for venue in venues)


def best_split(venues: Sequence[Venue], budget: int, *, grid: int, quantum: int = 1) -> Split:
    """The best split of `budget` on the grids described above.

    Targets are each venue's `low` plus whole multiples of `quantum`. Raises PlanError on an empty range, a
    repeated venue, or a budget that the lower bounds exceed.
    """
    ordered = tuple(sorted(venues, key=lambda venue: venue.id))
    _check(ordered, budget, grid, quantum)
    if not ordered:
        return Split({}, 0)
    spare = budget - sum(venue.low for venue in ordered)
    step = max(1, -(-spare // (grid * quantum)))
    ranges = [_units(venue, quantum) for venue in ordered]
    programme = _Programme(ordered, spare // quantum, quantum)
    grids = [range(0, most + 1, step) for most in ranges]
    first = programme.solve(grids, step)
    others = sorted(_other_peaks(programme, grids, step, first), key=programme.merit, reverse=True)
    starts = [first, *others[:ALTERNATIVES]]
    # Of equals the one that gives most to the first venue, as within a programme.
    finer = -(-step // SHRINK)
    units = max((_finer(programme, ranges, start, finer) for start in starts), key=programme.merit)
    while finer > 1:
        finer = -(-finer // SHRINK)
        units = _finer(programme, ranges, units, finer)
    assets = {venue.id: venue.low + unit * quantum for venue, unit in zip(ordered, units, strict=True)}
    return Split(assets, income(ordered, assets))


def _finer(
    programme: _Programme, ranges: Sequence[int], units: tuple[int, ...], step: int
) -> tuple[int, ...]:
    """The best split on a window of smaller steps around another. It is anchored there: that split's own
    multiples need not be the finer grid's."""
    windows = [
        range(
            max(unit - unit // step * step, unit - SHRINK * step),
            min(most, unit + SHRINK * step) + 1,
            step,
        )
        for unit, most in zip(units, ranges, strict=True)
    ]
    return programme.solve(windows, step)


def _other_peaks(
    programme: _Programme, grids: Sequence[range], step: int, found: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """The best split near each peak of a venue's own income that `found` is not near."""
    for index, options in enumerate(grids):
        for peak in programme.peaks(index, options):
            if abs(peak - found[index]) <= step:
                continue
            near = options[max(0, peak // step - 1) : peak // step + 2]
            around = [*grids[:index], near, *grids[index + 1 :]]
            if programme.affords(around):
                yield programme.solve(around, step)


def exchanged(
    venues: Sequence[Venue],
    start: Mapping[str, int],
    budget: int,
    total_income: Callable[[Mapping[str, int]], int],
    *,
    quantum: int = 1,
) -> Split:
    """A split that no exchange improves, for venues that rest on the same market, so that incomes do not add.

    From `start`, moves the amount that earns most between two venues, or between one and idle; the amount
    begins near `budget` and halves down to one quantum whenever nothing improves. `total_income` judges a
    whole split and is negative where one is not possible.
    """
    ordered = sorted(venues, key=lambda venue: venue.id)
    best = Split(dict(start), total_income(start))
    step = quantum << max(0, (budget // quantum).bit_length() - 1)
    moves = 0
    while step >= quantum:
        found = best
        for assets in _neighbours(ordered, best.assets, budget, step):
            earned = total_income(assets)
            if earned > found.income:
                found = Split(assets, earned)
        moves += 1
        # Plateaus of rounding could be climbed for long by amounts nobody cares about.
        if found is best or moves == SHRINK:
            step, moves = step // 2, 0
        best = found
    return best


def _neighbours(
    venues: Sequence[Venue], assets: Mapping[str, int], budget: int, step: int
) -> Iterator[Mapping[str, int]]:
    """Splits one exchange of `step` away, within bounds and budget; idle takes part as no venue."""
    idle = budget - sum(assets.values())
    givers = [None, *(venue for venue in venues if assets[venue.id] - step >= venue.low)]
    takers = [None, *(venue for venue in venues if assets[venue.id] + step <= venue.high)]
    for giver in givers:
        for taker in takers:
            if giver is taker or (giver is None and idle < step):
                continue
            changed = dict(assets)
            if giver is not None:
                changed[giver.id] -= step
            if taker is not None:
                changed[taker.id] += step
            yield changed


class _Programme:
    """Chooses one candidate per venue, in quanta above its lower bound, within a budget of quanta."""

    def __init__(self, venues: Sequence[Venue], budget: int, quantum: int) -> None:
        self._venues = venues
        self._budget = budget
        self._quantum = quantum
        self._income = cache(self._compute_income)

    def _compute_income(self, index: int, unit: int) -> int:
        venue = self._venues[index]
        return venue.income(venue.low + unit * self._quantum)

    def merit(self, units: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """By what splits are compared: their income, then what the first venue gets, then the second."""
        return sum(self._income(index, unit) for index, unit in enumerate(units)), units

    def peaks(self, index: int, options: range) -> Iterator[int]:
        """The options of a venue next to which it earns no more, as far as the budget reaches; of a plateau
        the last."""
        for place, unit in enumerate(options[: self._budget // options.step + 2]):
            earned = self._income(index, unit)
            rises = place == 0 or self._income(index, options[place - 1]) <= earned
            falls = place + 1 == len(options) or self._income(index, options[place + 1]) < earned
            if rises and falls:
                yield unit

    def affords(self, candidates: Sequence[range]) -> bool:
        """Whether the least of every venue's candidates is within the budget."""
        return sum(options.start for options in candidates) <= self._budget

    def solve(self, candidates: Sequence[range], step: int) -> tuple[int, ...]:
        """The best candidates; all of one venue's are congruent modulo `step`."""
        floor = sum(options.start for options in candidates)
        spendable = sum(len(options) - 1 for options in candidates)
        slots = min((self._budget - floor) // step, spendable)
        earned = [
            [self._income(index, unit) for unit in options[: slots + 1]]
            for index, options in enumerate(candidates)
        ]
        # tables[i][s]: the income of the last i venues when s steps above their starts may be spent.
        tables = [[0] * (slots + 1)]
        before = spendable
        for incomes in reversed(earned):
            # The venues before spend no more than this: budgets below what then remains are never asked for.
            before -= len(incomes) - 1
            tables.append(_with_venue(incomes, tables[-1], max(0, slots - before)))
        units = []
        for incomes, options in zip(earned, candidates, strict=True):
            most, rest = tables.pop()[slots], tables[-1]
            # From the most downward: ties go to the first venue.
            taken = next(
                taken
                for taken in range(min(slots, len(incomes) - 1), -1, -1)
                if incomes[taken] + rest[slots - taken] == most
            )
            units.append(options[taken])
            slots -= taken
        return tuple(units)


def _with_venue(incomes: Sequence[int], rest: Sequence[int], least: int) -> list[int]:
    """What one venue and the rest earn at best, by the steps that both may spend; only from `least` on."""
    downward, last = incomes[::-1], len(incomes) - 1
    return [0] * least + [
        max(map(add, downward[max(0, last - budget) :], rest[max(0, budget - last) : budget + 1]))
        for budget in range(least, len(rest))
    ]


def _units(venue: Venue, quantum: int) -> int:
    return (venue.high - venue.low) // quantum


def _check(venues: Sequence[Venue], budget: int, grid: int, quantum: int) -> None:
    if grid < 1 or quantum < 1:
        raise PlanError("grid and quantum start at 1", seen=f"grid {grid}, quantum {quantum}")
    if len({venue.id for venue in venues}) != len(venues):
        raise PlanError("A venue is listed twice", seen=", ".join(venue.id for venue in venues))
    for venue in venues:
        if not 0 <= venue.low <= venue.high:
            raise PlanError(
                "A venue's bounds leave no room",
                expected="0 <= low <= high",
                seen=f"{venue.low:,} to {venue.high:,}",
                where=venue.id,
            )
    floor = sum(venue.low for venue in venues)
    if floor > budget:
        raise PlanError(
            "What cannot leave the venues is more than the budget",
            expected=f"at most {budget:,}",
            seen=f"{floor:,}",
            hint="Lower the reserve, or wait for liquidity.",
        )
