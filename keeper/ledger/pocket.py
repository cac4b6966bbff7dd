"""Side pockets, as `PocketLib` keeps them, to the unit.

A pocket is a position that was split off. NAV leaves it out, so redemptions are paid without it; whoever is
paid by a settlement while it is open takes along the part of it that the burned shares had, in units of 1e-27
of all that comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keeper.errors import ValuationError
from keeper.ledger.queue import RESCALE, Queue, QueuePoint
from keeper.ledger.vault import VIRTUAL_SHARES
from keeper.units import Address, mul_div_down

WHOLE: Final = 10**27
"""All of a pocket, in units."""


@dataclass(frozen=True, slots=True)
class Pocket:
    """`Pocket` of the contract; every act returns a new one.

    `owed` is the units of all who left, `total` the assets that the whole of it turned into. `until` is the
    first epoch whose requests have no part in it; 0 while it is open. `sums` has, by (generation, scale) of
    the queue, units per queued share times the product of the time; `points` has the sum that requests of an
    epoch found; `booked` has units by controller.
    """

    owed: int = 0
    total: int = 0
    until: int = 0
    sums: Mapping[tuple[int, int], int] = field(default_factory=dict)
    points: Mapping[int, int] = field(default_factory=dict)
    booked: Mapping[Address, int] = field(default_factory=dict)

    @property
    def pot(self) -> int:
        """What of `total` belongs to those who left, in assets."""
        return mul_div_down(self.total, self.owed, WHOLE)

    def issue(self, queue: Queue, burned: int, supply: int) -> Pocket:
        """After a settlement that burns `burned` of `supply` shares; `queue` is as it was before its fill
        (`PocketLib.issue`). A closed pocket stays as it is."""
        if self.until or burned == 0:
            return self
        units = mul_div_down(WHOLE - self.owed, burned, supply + VIRTUAL_SHARES)
        key = (queue.generation, queue.scale)
        grown = self.sums.get(key, 0) + mul_div_down(units, queue.product, queue.shares)
        return replace(self, owed=self.owed + units, sums={**self.sums, key: grown})

    def record(self, queue: Queue, epoch: int) -> Pocket:
        """As the requests of `epoch` find it; `queue` is as it was recorded for them (`PocketLib.record`)."""
        if self.until or not queue.shares:
            return self
        sums = self.sums.get((queue.generation, queue.scale), 0)
        return replace(self, points={**self.points, epoch: sums})

    def units(self, shares: int, epoch: int, joined: QueuePoint) -> int:
        """What `shares` that joined the queue at the point of `epoch` were issued since, rounded down
        (`PocketLib._issued`)."""
        if self.until and epoch >= self.until:
            return 0
        generation, scale = joined.generation, joined.scale
        per_share = (
            self.sums.get((generation, scale), 0)
            - self.points.get(epoch, 0)
            + self.sums.get((generation, scale + 1), 0) // RESCALE
            + self.sums.get((generation, scale + 2), 0) // RESCALE**2
        )
        return mul_div_down(shares, per_share, joined.product)

    def book(self, controller: Address, units: int) -> Pocket:
        """With so many more units booked to a controller."""
        return replace(self, booked={**self.booked, controller: self.booked.get(controller, 0) + units})

    def claim(self, controller: Address) -> int:
        """Assets that what is booked to a controller is paid."""
        return self.worth(self.booked.get(controller, 0))

    def forget(self, controller: Address) -> Pocket:
        """Without what was booked to a controller: it has been paid."""
        return replace(self, booked={**self.booked, controller: 0})

    def close(self, total: int, until: int) -> Pocket:
        """When all of it turned out to be worth `total`, before the requests of epoch `until` join
        (`PocketLib.close`). Raises ValuationError when it is closed already."""
        if self.until:
            raise ValuationError("The pocket is closed", expected="an open one", seen=f"until {self.until}")
        return replace(self, total=total, until=until)

    def worth(self, units: int) -> int:
        """What so many units are paid, in assets; nothing while it is open."""
        return mul_div_down(units, self.total, WHOLE)
