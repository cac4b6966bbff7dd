"""Hops folded into a route: the mirror of `OracleRouter`."""

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import Field

from keeper.config import StrictModel
from keeper.oracle.price_math import mul_div_down, mul_div_up
from keeper.oracle.quote import RouteRate, Status
from keeper.oracle.source import Names, Price, Sight, no_price
from keeper.units import MAX_UINT256, WAD, Address

MAX_HOPS: Final = 5
_SCALE_DECIMALS: Final = 40


class HopPolicy(StrictModel):
    """A source by its name, read backwards when `inverse`."""

    source: str
    inverse: bool = False


Hops = Annotated[tuple[HopPolicy, ...], Field(min_length=1, max_length=MAX_HOPS)]


def addresses(hops: Iterable[HopPolicy], names: Names) -> list[tuple[Address, bool]]:
    """The hops as the router tells them."""
    return [(names.source(hop.source).address, hop.inverse) for hop in hops]


def check_ends(base: str, quote: str, hops: Iterable[HopPolicy], names: Names) -> None:
    """Raises ValueError unless every hop starts where the one before it ended."""
    at = base
    for hop in hops:
        source = names.source(hop.source)
        start, end = (source.quote, source.base) if hop.inverse else (source.base, source.quote)
        if start != at:
            raise ValueError(f"route {base}/{quote}: {hop.source} starts at {start}, not at {at}")
        at = end
    if at != quote:
        raise ValueError(f"route {base}/{quote} ends at {at}")


def hop_price(hop: HopPolicy, sight: Sight) -> Price:
    """The price of a hop in the direction of its route; UNAVAILABLE when it names no floor."""
    price = sight.price(hop.source)
    if price.low == 0 or price.low > price.high or price.status is Status.UNAVAILABLE:
        return no_price(*(price.why or (f"{hop.source} names no floor",)))
    if not hop.inverse:
        return price
    return Price(mul_div_down(WAD, WAD, price.high), mul_div_up(WAD, WAD, price.low), price.status, price.why)


def fold(base: str, quote: str, hops: Iterable[HopPolicy], sight: Sight) -> RouteRate:
    """What the smallest unit of `base` is worth in that of `quote`, with the worst status of the hops."""
    low = high = int(10 ** (_SCALE_DECIMALS + sight.names.decimals(quote) - sight.names.decimals(base)))
    status = Status.OK
    for hop in hops:
        price = hop_price(hop, sight)
        if price.status is Status.UNAVAILABLE:
            return RouteRate(0, MAX_UINT256, Status.UNAVAILABLE)
        low = mul_div_down(low, price.low, WAD)
        high = mul_div_up(high, price.high, WAD)
        status = max(status, price.status)
    # A saturated product is not a ceiling any more.
    if high == MAX_UINT256:
        return RouteRate(0, MAX_UINT256, Status.UNAVAILABLE)
    return RouteRate(low, high, status)
