"""What a price says of itself, and what amounts of tokens are worth at one block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from keeper.errors import ValuationError
from keeper.units import MAX_UINT256, Address, mul_div_down, mul_div_up

ROUTE_SCALE: Final = 10**40
"""Fixed point of a folded route (`OracleRouter.SCALE`)."""


class Status(IntEnum):
    """Verdict of a price or of a position, in the order of `Types.Status`: only OK allows new risk."""

    OK = 0
    STALE = 1
    DIVERGED = 2
    CONSTANT = 3
    SEQUENCER_DOWN = 4
    MARKET_CLOSED = 5
    UNAVAILABLE = 6


@dataclass(frozen=True, slots=True)
class Quote:
    """Worth of an amount, in the smallest unit of what it is quoted in. UNAVAILABLE: anything is possible,
    from 0 to the greatest word."""

    low: int
    high: int
    status: Status


UNAVAILABLE: Final = Quote(0, MAX_UINT256, Status.UNAVAILABLE)


class Rate(Protocol):
    """The price of one token in another at one block."""

    def worth(self, amount: int) -> Quote:
        """What `amount`, in the token's smallest unit, is worth: `OracleRouter.value`."""
        ...


@dataclass(frozen=True, slots=True)
class RouteRate:
    """A route folded: what one smallest unit is worth, times 10^40, low rounded down and high up."""

    low: int
    high: int
    status: Status

    def worth(self, amount: int) -> Quote:
        if self.status is Status.UNAVAILABLE:
            return UNAVAILABLE
        low = mul_div_down(amount, self.low, ROUTE_SCALE)
        high = min(mul_div_up(amount, self.high, ROUTE_SCALE), MAX_UINT256)
        return UNAVAILABLE if high == MAX_UINT256 else Quote(low, high, self.status)


@dataclass(frozen=True)
class Prices:
    """What tokens are worth in `asset`, the vault's own, by the routes of its router at one block."""

    asset: Address
    rates: Mapping[Address, Rate]

    def worth(self, token: Address, amount: int) -> Quote:
        """`Connector._worth`: nothing is worth nothing, whatever the market says.

        Raises ValuationError when there is no route, where the router reverts.
        """
        if token == self.asset or amount == 0:
            return Quote(amount, amount, Status.OK)
        rate = self.rates.get(token)
        if rate is None:
            raise ValuationError(
                "There is no price route for this token",
                expected=" or ".join(sorted(self.rates)) or "a route in the policy's oracle section",
                seen=f"{token} in {self.asset}",
                hint="List the route in the policy, and in the router if it has none.",
            )
        return rate.worth(amount)
