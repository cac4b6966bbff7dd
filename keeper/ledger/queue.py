"""The redemption queue, as `contracts/src/libraries/QueueLib.sol` keeps it, to the unit.

A fill pays everyone queued in proportion to the shares they have there. A request stores the queue's point at
which it joined, and from that point and the queue of today follow its assets and what of it is still queued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keeper.errors import ValuationError
from keeper.units import mul_div_down

ONE: Final = 10**36
RESCALE_BELOW: Final = 10**27
RESCALE: Final = 10**9
MAX_UINT128: Final = 2**128 - 1


@dataclass(frozen=True, slots=True)
class QueuePoint:
    """The state of the queue when a request joined: `QueuePoint` of the contract, in its order.

    `sum` is the queue's entry of `sums` for this generation and scale.
    """

    product: int
    scale: int
    generation: int
    sum: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of a request: `assets` it may fetch, and the `pending` shares that are still queued."""

    assets: int
    pending: int


@dataclass(frozen=True, slots=True)
class Queue:
    """`Queue` of the contract; every act returns a new one.

    `product` is the part of a share that is unfilled since the generation began, times 1e36 and, for each of
    `scale` falls below 1e27, times a further 1e9. `shares` is what is queued. `sums` has, by (generation,
    scale), the assets paid per queued share, times the product of the time.

    An empty queue starts a new generation, named after the epoch that begins then; the first one is 1.
    `points` has, by epoch, what was recorded for its requests while the queue was not empty.

    Callers keep a remainder of a fill above 1e-9 of the queue or fill all (`SettlementLib`); with this the
    product never is below 1e27. The contract does not check it, and neither does this.
    """

    product: int = ONE
    scale: int = 0
    generation: int = 1
    shares: int = 0
    sums: Mapping[tuple[int, int], int] = field(default_factory=dict)
    points: Mapping[int, QueuePoint] = field(default_factory=dict)

    def record(self, epoch: int) -> Queue:
        """As the requests of `epoch` find it (`QueueLib.record`): its point is theirs."""
        if self.shares:
            return replace(self, points={**self.points, epoch: self.point})
        return Queue(generation=epoch, sums=self.sums, points=self.points)

    def point_of(self, epoch: int) -> QueuePoint:
        """What was recorded for `epoch` (`QueueLib.pointOf`); a generation's name says all of its first."""
        return self.points.get(epoch) or QueuePoint(ONE, 0, epoch, 0)

    @property
    def point(self) -> QueuePoint:
        """What a request that joins now stores (`QueueLib.point`)."""
        return QueuePoint(self.product, self.scale, self.generation, self._sum(self.generation, self.scale))

    def join(self, shares: int) -> Queue:
        """With `shares` more in it. Raises ValuationError when they are negative or exceed 128 bits."""
        if not 0 <= shares <= MAX_UINT128 - self.shares:
            raise ValuationError(
                "Shares do not fit the queue", expected=f"0 to {MAX_UINT128 - self.shares}", seen=shares
            )
        return replace(self, shares=self.shares + shares)

    def fill(self, shares: int, assets: int) -> Queue:
        """After a payment of `assets` for `shares` of it (`QueueLib.fill`).

        Sum and product round down, so that claims never add up to more than was paid, nor pending shares to
        more than are queued. What follows a complete fill is left to `record`. Raises ValuationError when the
        queue is empty or has fewer shares.
        """
        if not 0 <= shares <= self.shares:
            raise ValuationError("More than is queued", expected=f"0 to {self.shares} shares", seen=shares)
        key = (self.generation, self.scale)
        sums = {**self.sums, key: self._sum(*key) + mul_div_down(assets, self.product, self.shares)}
        rest = self.shares - shares
        if rest == 0:
            return replace(self, shares=0, sums=sums)
        product, scale = mul_div_down(self.product, rest, self.shares), self.scale
        if product < RESCALE_BELOW:
            product, scale = product * RESCALE, scale + 1
        return replace(self, product=product, scale=scale, shares=rest, sums=sums)

    def claim(self, shares: int, joined: QueuePoint) -> Claim:
        """What became of `shares` that joined at a point of this queue (`QueueLib.claim`).

        Both amounts round down. What happened three scales after the point or later is left out: by then
        less than 1e-18 of the request is queued. Raises ValuationError when the point's product is 0.
        """
        generation, scale = joined.generation, joined.scale
        per_share = (
            self._sum(generation, scale)
            - joined.sum
            + self._sum(generation, scale + 1) // RESCALE
            + self._sum(generation, scale + 2) // RESCALE**2
        )
        assets = mul_div_down(shares, per_share, joined.product)
        scales = self.scale - scale
        if generation != self.generation or scales > 2:
            return Claim(assets, 0)
        return Claim(assets, mul_div_down(shares, self.product, joined.product) // RESCALE**scales)

    def _sum(self, generation: int, scale: int) -> int:
        return self.sums.get((generation, scale), 0)
