"""Lends where it earns most: the split over lending venues that counts our own effect on every rate."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from keeper.connectors.base import after_move, is_movable
from keeper.errors import PlanError, PolicyError
from keeper.planning.optimiser import Split, Venue, best_split, exchanged, income
from keeper.planning.strategy import Allocation
from keeper.units import BPS, WAD

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.connectors.base import Position, StateKey

BpsField = Annotated[int, Field(ge=0, le=BPS)]


class Params(BaseModel):
    """Parameters of the strategy.

    `min_gain_bps`: yearly gain, in hundredths of a percent of the vault's total, that a move must exceed.
    `grid`: number of steps of the optimiser's first grid. `quantum`: smallest unit of a target, in assets.
    `venue_caps_bps`: most of the total in a venue; the policy's own caps hold besides.
    `idle_bps`: share of the total kept idle beyond what the redemption queue needs.
    `tolerance_bps`: how far, of the cap or of the idle share, a venue may drift above its cap or idle below
    its share before a move is forced; interest alone should not force one.
    `asset`, `decimals`: how amounts are shown to people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_gain_bps: BpsField = 10
    grid: int = Field(default=64, ge=1, le=1_000)
    quantum: int = Field(default=1, ge=1)
    venue_caps_bps: Mapping[str, BpsField] = Field(default_factory=dict)
    idle_bps: BpsField = 0
    tolerance_bps: BpsField = 100
    asset: str = "units"
    decimals: int = Field(default=0, ge=0, le=36)


class YieldAllocation:
    """Keeps the current split unless another earns more by over `min_gain_bps`, or one is forced.

    Forced by: idle short of what the redemption queue needs or well short of its share, or a venue well over
    its cap; a cap of zero forces nothing, it only keeps a venue from growing. Hysteresis rests on the book
    alone, so every signer sees the same one.
    """

    name: Final = "yield_allocation"
    version: Final = "1"

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or Params()

    def decide(self, book: Book) -> Allocation:
        """Targets for every position of the book.

        Redemptions come first: targets leave `book.reserve` idle as far as liquidity allows. Raises
        PolicyError when a position has no cap in the book.
        """
        book = replace(book, positions=tuple(position.accrued(book.at) for position in book.positions))
        venues = [self._venue(book, position) for position in book.positions]
        current = {position.ref.venue: position.report(book.at).low for position in book.positions}
        if not venues or book.total == 0:
            return Allocation.of(current, "Nothing to allocate.")
        stuck = sum(venue.low for venue in venues)
        deployable = max(0, book.total - book.reserve - self._idle_share(book))
        best = self._best(book, venues, current, max(deployable, stuck))
        earned = income(venues, current)
        figures = self._figures(book, earned, best.income)
        forced = self._forced(book, current)
        if forced:
            return Allocation.of(best.assets, f"{forced} {figures}{self._shortfall(book, best)}")
        if (best.income - earned) * BPS <= self.params.min_gain_bps * book.total * WAD:
            return Allocation.of(
                current, f"Kept: no split gains over {self.params.min_gain_bps:,} bps. {figures}"
            )
        return Allocation.of(best.assets, f"Moved: gains over {self.params.min_gain_bps:,} bps. {figures}")

    def _best(self, book: Book, venues: list[Venue], current: Mapping[str, int], budget: int) -> Split:
        """The best split; where venues rest on the same market, one that no exchange between two improves."""
        grid, quantum = self.params.grid, self.params.quantum
        for members, most in _shared_caps(book):
            venues = self._within(venues, members, most)
        separate = best_split(venues, budget, grid=grid, quantum=quantum)
        groups = _sharing(book.positions)
        sharing = sorted(position.ref.venue for group in groups if len(group) > 1 for position in group)
        if not sharing:
            return separate

        @cache
        def earned(group: int, targets: tuple[int, ...]) -> int:
            return _income_together(groups[group], current, targets, book.at)

        def together(targets: Mapping[str, int]) -> int:
            parts = [
                earned(number, tuple(targets[position.ref.venue] for position in group))
                for number, group in enumerate(groups)
            ]
            return -1 if min(parts) < 0 else sum(parts)

        # Where one of the sharing venues alone may be used, incomes add again and the split is exact: with
        # the separate answer, these are good places to start from.
        starts = [separate]
        for chosen in sharing:
            emptied = [
                replace(venue, high=venue.low) if venue.id in sharing and venue.id != chosen else venue
                for venue in venues
            ]
            starts.append(best_split(emptied, budget, grid=grid, quantum=quantum))
        found = [exchanged(venues, start.assets, budget, together, quantum=quantum) for start in starts]
        return max(found, key=lambda split: split.income)

    def _within(self, venues: list[Venue], members: Collection[str], most: int) -> list[Venue]:
        """The venues, bounded so that `members` hold no more than `most` together, or what cannot leave: each
        by its part in the best split of that. Of less, none would have more."""
        inside = [venue for venue in venues if venue.id in members]
        most = max(most, sum(venue.low for venue in inside))
        split = best_split(inside, most, grid=self.params.grid, quantum=self.params.quantum)
        return [replace(venue, high=split.assets.get(venue.id, venue.high)) for venue in venues]

    def _venue(self, book: Book, position: Position) -> Venue:
        value = position.report(book.at).low
        if not is_movable(position):
            return Venue(position.ref.venue, value, value, lambda assets: 0)
        low = value - position.max_withdraw(book.at)
        # A cap of zero says that nothing may be added, not that all must leave.
        cap = self._cap(book, position.ref.venue) or value
        high = min(cap, value + position.max_supply(book.at))

        def rate(assets: int) -> int:
            return position.supply_rate(assets - value, book.at)

        # A venue that is over its cap and illiquid can only stay as it is.
        return Venue(position.ref.venue, low, max(low, high), rate)

    def _cap(self, book: Book, venue: str) -> int:
        if venue not in book.caps:
            raise PolicyError(
                "A venue has no cap, so it may hold nothing",
                expected="a cap in the policy",
                where=venue,
                hint="Give every allow-listed venue a cap.",
            )
        return min(book.caps[venue], book.total * self.params.venue_caps_bps.get(venue, BPS) // BPS)

    def _idle_share(self, book: Book) -> int:
        return book.total * self.params.idle_bps // BPS

    def _forced(self, book: Book, current: Mapping[str, int]) -> str:
        """Why the current split may not stay, or nothing."""
        if book.idle < book.reserve:
            return (
                f"Forced: redemptions need {self._amount(book.reserve)} idle and "
                f"{self._amount(book.idle)} is."
            )
        share = self._idle_share(book)
        if book.idle < book.reserve + share * (BPS - self.params.tolerance_bps) // BPS:
            return f"Forced: {self._amount(book.idle)} is idle, the share is {self._amount(share)}."
        for venue, assets in sorted(current.items()):
            cap = self._cap(book, venue)
            if cap and assets * BPS > cap * (BPS + self.params.tolerance_bps):
                return f"Forced: {venue} holds {self._amount(assets)}, its cap is {self._amount(cap)}."
        for members, most in _shared_caps(book):
            assets = sum(current[venue] for venue in members)
            if assets * BPS > most * (BPS + self.params.tolerance_bps):
                together = " and ".join(members)
                return f"Forced: {together} hold {self._amount(assets)}, their cap is {self._amount(most)}."
        return ""

    def _shortfall(self, book: Book, best: Split) -> str:
        missing = book.reserve - (book.total - sum(best.assets.values()))
        return f" Still short of redemptions by {self._amount(missing)}." if missing > 0 else ""

    def _figures(self, book: Book, earned: int, possible: int) -> str:
        """Both incomes, and their difference in bps of the total."""
        gain = (possible - earned) // WAD
        hundredths = gain * BPS * 100 // book.total
        sign = "-" if hundredths < 0 else "+"
        points = f"{sign}{abs(hundredths) // 100:,}.{abs(hundredths) % 100:02d} bps"
        return (
            f"The split in place earns {self._amount(earned // WAD)} a year, "
            f"the best {self._amount(possible // WAD)} ({points} of {self._amount(book.total)})."
        )

    def _amount(self, assets: int) -> str:
        """An amount for people, to two decimals at most, rounded down."""
        unit: int = 10**self.params.decimals
        whole, rest = divmod(assets, unit)
        shown = f"{whole:,}"
        if self.params.decimals >= 2:
            shown += f".{rest * 100 // unit:02d}"
        return f"{shown} {self.params.asset}"


def _shared_caps(book: Book) -> Iterator[tuple[tuple[str, ...], int]]:
    """The risk ids that several venues count under: which, and the most they may hold together at the low
    end. With no room left, that is what they hold: nothing may be added."""
    reports = book.reports
    for exposure in book.exposures:
        if len(exposure.venues) > 1:
            held = sum(reports[venue].low for venue in exposure.venues)
            yield exposure.venues, max(0, exposure.cap - (exposure.later - held)) or held


def _sharing(positions: Sequence[Position]) -> list[tuple[Position, ...]]:
    """The positions in groups that rest on no market of one another's."""
    groups: list[tuple[set[StateKey], tuple[Position, ...]]] = []
    for position in positions:
        keys = set(position.shared())
        members: tuple[Position, ...] = (position,)
        apart = []
        for theirs, others in groups:
            if keys & theirs:
                keys, members = keys | theirs, (*others, *members)
            else:
                apart.append((theirs, others))
        groups = [*apart, (keys, members)]
    return [members for _, members in groups]


def _income_together(
    positions: tuple[Position, ...], current: Mapping[str, int], targets: tuple[int, ...], at: int
) -> int:
    """What positions earn per year, times 1e18, at these targets, where a move in one venue changes the
    market of another.

    Negative when the moves, withdrawals first, cannot all be made.
    """
    venues = [position.ref.venue for position in positions]
    changes = {venue: assets - current[venue] for venue, assets in zip(venues, targets, strict=True)}
    try:
        for venue in sorted(changes, key=lambda venue: (changes[venue] > 0, venue)):
            if changes[venue]:
                positions, _ = after_move(positions, venue, changes[venue], at)
    except PlanError:
        return -1
    rates = (position.supply_rate(0, at) for position in positions)
    return sum(assets * rate for assets, rate in zip(targets, rates, strict=True))
