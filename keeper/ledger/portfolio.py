"""Low NAV as `Portfolio.execute` counts it, to the unit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.connectors.base import Position, PositionRef, StateKey
from keeper.errors import PlanError
from keeper.units import Address, Value


@dataclass(frozen=True)
class SplitOff:
    """A position in the side pocket: nothing at the low end and its last good value at the high end, whatever
    it reports. No plan moves anything into it or out of it."""

    ref: PositionRef
    last_good: int

    def value(self, at: int) -> Value:
        return Value(0, self.last_good)

    def supply_rate(self, delta: int, at: int) -> int:
        return 0

    def after_supply(self, assets: int, at: int) -> SplitOff:
        raise self._refused()

    def after_withdraw(self, assets: int, at: int) -> tuple[SplitOff, int]:
        raise self._refused()

    def max_withdraw(self, at: int) -> int:
        return 0

    def max_supply(self, at: int) -> int:
        return 0

    def shared(self) -> Mapping[StateKey, Any]:
        return {}

    def with_shared(self, states: Mapping[StateKey, Any]) -> SplitOff:
        return self

    def accrued(self, at: int) -> SplitOff:
        return self

    def _refused(self) -> PlanError:
        return PlanError("A position that is split off is in no plan", seen=self.ref.venue)


def nav_for_batch(
    idle: int, positions: Sequence[Position], marks: Mapping[str, int], called: Collection[Address], at: int
) -> int:
    """Low NAV at `at` for a batch that calls the connectors `called`, in the vault's asset.

    Positions of these connectors count what they are worth at `at`, all others what the portfolio marked them
    at (`marks`, low value by venue) when they were last settled or called.
    """
    return idle + sum(
        position.value(at).low if position.ref.address in called else marks[position.ref.venue]
        for position in positions
    )
