"""Loss buckets, as `BucketLib` keeps them, in wad fractions; each empties evenly over a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keeper.units import WAD, mul_div_up

PERIOD: Final = 86_400


@dataclass(frozen=True, slots=True)
class Bucket:
    """A leaky bucket as it was last written."""

    level: int = 0
    updated_at: int = 0

    def current(self, capacity: int, at: int) -> int:
        """What is in it at `at`."""
        return max(0, self.level - capacity * (at - self.updated_at) // PERIOD)

    def set(self, level: int, at: int) -> Bucket:
        """Filled to `level`; an empty one is left as it is."""
        return Bucket(level, at) if level else self


def fall(before: int, after: int) -> int:
    """Fall from one price to another as a fraction of the first, rounded up; 0 for a gain."""
    return mul_div_up(before - after, WAD, before) if after < before else 0
