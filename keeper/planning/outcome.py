"""What a batch leaves behind, as a function of the time it is included at.

The state of a snapshot, brought up to that time by the mirrors, then the calls. Whoever has the snapshot
evaluates it for any time at which the plan is valid; the plan pins its values at both ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from keeper.connectors.base import Position, after_move
from keeper.errors import PlanError
from keeper.ledger.portfolio import nav_for_batch
from keeper.planning.actions import SUPPLY, WITHDRAW

if TYPE_CHECKING:
    from keeper.planning.calls import PlannedCall

IDLE: Final = "idle"
"""Name of the assets at hand among the predicted values."""


class Held(Protocol):
    """What calls change; `keeper.book.Book` is one. Amounts in the vault's asset."""

    @property
    def idle(self) -> int:
        """Assets at hand."""
        ...

    @property
    def positions(self) -> tuple[Position, ...]:
        """Every allow-listed position, sorted by venue."""
        ...


def after_calls(held: Held, calls: Iterable[PlannedCall], at: int) -> tuple[tuple[Position, ...], int]:
    """(positions, idle assets) once the calls were made in a block of time `at`.

    Raises PlanError for an action that no mirror follows, and where the protocol would refuse.
    """
    positions, idle = held.positions, held.idle
    for call in calls:
        if call.function == SUPPLY.name:
            positions, _ = after_move(positions, call.venue, call.assets, at)
            idle -= call.assets
        elif call.function == WITHDRAW.name:
            positions, received = after_move(positions, call.venue, -call.assets, at)
            idle += received
        else:
            raise PlanError(
                "No mirror follows this action, and what it leaves behind is unknown",
                expected=f"{SUPPLY.name} or {WITHDRAW.name}",
                seen=call.explain(),
            )
    return positions, idle


def predict(held: Held, calls: Iterable[PlannedCall], at: int) -> dict[str, int]:
    """What each venue, and "idle", is worth (low) right after the calls in a block of time `at`, when nothing
    but interest has happened since the snapshot. Raises as `after_calls`."""
    positions, idle = after_calls(held, calls, at)
    return {IDLE: idle} | {position.ref.venue: position.report(at).low for position in positions}


def least_nav(held: Held, marks: Mapping[str, int], read: Collection[str], first: int, last: int) -> int:
    """A bound that the low NAV for a batch (`nav_for_batch`) keeps at every time from `first` to `last`.

    What only earns never falls. What also owes is the difference of interest that grows linearly, or not at
    all (Aave's liquidity index, Morpho's collateral), and of debt that compounds: concave in time, so least
    at one of the ends. The bound takes each position's own worse end.
    """
    worst = 0
    for position in held.positions:
        one = (position,)
        worst += min(nav_for_batch(0, one, marks, read, at) for at in (first, last))
    return held.idle + worst
