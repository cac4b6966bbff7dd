"""What `Portfolio.execute` reads for a batch, and low NAV as it counts it, to the unit."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from keeper.connectors.base import Position
from keeper.units import Address

ARGUMENT = slice(4, 36)
"""Where a call's first argument lies, behind the selector."""


def touched(
    calls: Iterable[tuple[Address, bytes]], positions: Sequence[Position], isolated: Collection[Address]
) -> frozenset[str]:
    """Venues that a batch of `calls`, as (target, data), reads: `Registry.positionsTouched`.

    Of a connector that is in `isolated` those whose key is a call's first argument, of any other all; and
    all, too, when no position has that key.
    """
    venues: set[str] = set()
    for target, data in calls:
        own = [position.ref for position in positions if position.ref.address == target]
        named = [ref for ref in own if ref.key == data[ARGUMENT] and target in isolated]
        venues.update(ref.venue for ref in named or own)
    return frozenset(venues)


def nav_for_batch(
    idle: int, positions: Sequence[Position], marks: Mapping[str, int], read: Collection[str], at: int
) -> int:
    """Low NAV at `at` for a batch that reads the venues `read` (see `touched`), in the vault's asset.

    These count what they are worth at `at`, all others what the portfolio marked them at (`marks`, low value
    by venue) when they were last settled or touched.
    """
    return idle + sum(
        position.value(at).low if position.ref.venue in read else marks[position.ref.venue]
        for position in positions
    )
