"""What `Portfolio.execute` reads for a batch, and low NAV as it counts it, to the unit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.connectors.base import Leg, Position, PositionRef, Report, StateKey
from keeper.errors import PlanError
from keeper.oracle.quote import Status
from keeper.units import Address


@dataclass(frozen=True)
class Impaired:
    """A position that the portfolio cannot read (`ReadingLib.report`), and why: nothing at the low end, its
    last good value, as it was marked, at the high end. No plan moves anything into it or out of it."""

    ref: PositionRef
    last_good: int
    reason: str

    def report(self, at: int) -> Report:
        return Report(0, self.last_good, Status.UNAVAILABLE)

    def legs(self, at: int) -> tuple[Leg, ...]:
        return ()

    def supply_rate(self, delta: int, at: int) -> int:
        return 0

    def after_supply(self, assets: int, at: int) -> Impaired:
        raise self._refused()

    def after_withdraw(self, assets: int, at: int) -> tuple[Impaired, int]:
        raise self._refused()

    def max_withdraw(self, at: int) -> int:
        return 0

    def max_supply(self, at: int) -> int:
        return 0

    def shared(self) -> Mapping[StateKey, Any]:
        return {}

    def with_shared(self, states: Mapping[StateKey, Any]) -> Impaired:
        return self

    def accrued(self, at: int) -> Impaired:
        return self

    def _refused(self) -> PlanError:
        return PlanError("An impaired position is in no plan", seen=self.reason, where=self.ref.venue)


@dataclass(frozen=True)
class SplitOff(Impaired):
    """A position in the side pocket: counted so whatever it reports."""

    reason: str = "it is split off"


ARGUMENT = slice(4, 36)
"""Where a call's first argument lies, behind the selector."""


def positions_touched(
    actions: Iterable[tuple[Address, bytes]],
    keys: Mapping[Address, Sequence[bytes]],
    isolated: Collection[Address],
) -> tuple[tuple[Address, bytes], ...]:
    """Positions that a batch reads, of the listed `keys` by connector: `Registry.positionsTouched`.

    An action is (target, first argument). Of a connector that is in `isolated` it touches the position of
    that key, of any other all; and all, too, when no position has that key.
    """
    found: dict[tuple[Address, bytes], None] = {}
    for target, named in actions:
        own = keys.get(target, ())
        alone = target in isolated and named in own
        found |= dict.fromkeys((target, key) for key in ((named,) if alone else own))
    return tuple(found)


def touched(
    calls: Iterable[tuple[Address, bytes]], positions: Sequence[Position], isolated: Collection[Address]
) -> frozenset[str]:
    """The venues of `positions_touched` by calls, as (target, data)."""
    keys: dict[Address, list[bytes]] = {}
    for each in positions:
        keys.setdefault(each.ref.address, []).append(each.ref.key)
    actions = ((target, data[ARGUMENT]) for target, data in calls)
    places = positions_touched(actions, keys, isolated)
    return frozenset(each.ref.venue for each in positions if (each.ref.address, each.ref.key) in places)


def nav_for_batch(
    idle: int, positions: Sequence[Position], marks: Mapping[str, int], read: Collection[str], at: int
) -> int:
    """Low NAV at `at` for a batch that reads the venues `read` (see `touched`), in the vault's asset.

    These count what they are worth at `at`, all others what the portfolio marked them at (`marks`, low value
    by venue) when they were last settled or touched.
    """
    return idle + sum(
        position.report(at).low if position.ref.venue in read else marks[position.ref.venue]
        for position in positions
    )
