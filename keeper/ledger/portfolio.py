"""Low NAV as `Portfolio.execute` counts it, to the unit."""

from collections.abc import Collection, Mapping, Sequence

from keeper.connectors.base import Position
from keeper.units import Address


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
