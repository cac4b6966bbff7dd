"""Feeds held against the market they price: the mirror of `CheckedSource`."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from keeper.chain.call import Call
from keeper.config import CheckedAddress
from keeper.oracle.folding import Hops, addresses, fold
from keeper.oracle.price_math import mul_div_down, mul_div_up
from keeper.oracle.quote import Quote, Status
from keeper.oracle.source import Fact, Names, Price, Sight, SourcePolicy, contract_call, no_price
from keeper.oracle.twap import Market, TwapPolicy
from keeper.units import BPS, MAX_UINT256, WAD

_READING_GAP: Final = 1_800
_MAX_READING_AGE: Final = 86_400


class CheckedPolicy(SourcePolicy):
    """`CheckedSource`: `feeds` is the router of the feeds, whose route between the ends is `hops`; `market`
    names the pool's source."""

    artifact: ClassVar[str] = "CheckedSource"

    kind: Literal["checked"]
    feeds: CheckedAddress
    hops: Hops
    market: str
    tolerance_bps: Annotated[int, Field(strict=True, gt=0, lt=BPS)]

    def needs(self) -> tuple[str, ...]:
        return (*(hop.source for hop in self.hops), self.market)

    def facts(self, names: Names) -> Iterator[Fact]:
        yield from super().facts(names)
        yield Fact("feeds", self.call("feeds"), self.feeds)
        yield Fact("market", self.call("market"), names.address(self.market))
        yield Fact("tolerance_bps", self.call("toleranceBps"), self.tolerance_bps)
        ends = names.token(self.base), names.token(self.quote)
        route = contract_call(self.feeds, "OracleRouter", "hops", *ends)
        yield Fact("hops", route, tuple(addresses(self.hops, names)))

    def state(self) -> tuple[Call[Any], ...]:
        return (self.call("latest"), self.call("previous"))

    def price(self, sight: Sight) -> Price:
        feeds = self._feeds(sight)
        if feeds.status is Status.UNAVAILABLE:
            return feeds
        market = self._market(sight)
        if market is None or market.low == 0 or market.low > market.high:
            return _doubted(feeds, f"unconfirmed: {self.market} has no price")
        least = mul_div_up(feeds.low, BPS - self.tolerance_bps, BPS)
        most = mul_div_down(feeds.high, BPS + self.tolerance_bps, BPS)
        if apart := _apart(market, least, most):
            off = f"more than {self.tolerance_bps} bps off the feeds"
            feeds = _doubted(feeds, f"diverged: {apart} of {self.market} is {off}")
        low = min(feeds.low, market.low, self.persisted(sight, market.standing))
        return Price(low, max(feeds.high, market.high), feeds.status, feeds.why)

    def persisted(self, sight: Sight, standing: int) -> int:
        """Spot as it has persisted until now, in wad; the greatest word when no reading tells."""
        price, at = sight.read(self.call("latest"))
        if sight.at < at + _READING_GAP:
            price, at = sight.read(self.call("previous"))
        return MAX_UINT256 if sight.at > at + _MAX_READING_AGE else max(int(price), standing)

    def _feeds(self, sight: Sight) -> Price:
        names = sight.names
        amount = WAD * 10 ** names.decimals(self.base)
        quote: Quote = fold(self.base, self.quote, self.hops, sight).worth(amount)
        why = tuple(reason for hop in self.hops for reason in sight.price(hop.source).why)
        if quote.status is Status.UNAVAILABLE:
            return no_price(*(why or ("the feeds name no price",)))
        unit = 10 ** names.decimals(self.quote)
        return Price(quote.low // unit, -(-quote.high // unit), quote.status, why)

    def _market(self, sight: Sight) -> Market | None:
        source = sight.names.source(self.market)
        return source.market(sight) if isinstance(source, TwapPolicy) else None

    def details(self, sight: Sight) -> dict[str, Any]:
        market = self._market(sight)
        latest, previous = sight.read(self.call("latest")), sight.read(self.call("previous"))
        persisted = self.persisted(sight, market.standing) if market and market.low else MAX_UINT256
        feeds = self._feeds(sight)
        return {
            "feeds": [feeds.low, feeds.high],
            "mean": [market.low, market.high] if market else None,
            "standing": market.standing if market else None,
            "spot": market.spot if market else None,
            "persisted": None if persisted == MAX_UINT256 else persisted,
            "readings": [{"price": price, "at": at} for price, at in (latest, previous) if at],
            "tolerance_bps": self.tolerance_bps,
        }


def _apart(market: Market, least: int, most: int) -> str:
    if market.high < least or market.low > most:
        return "mean"
    if not least <= market.standing <= most:
        return "standing price"
    return "" if least <= market.spot <= most else "spot price"


def _doubted(feeds: Price, why: str) -> Price:
    """The same range, DIVERGED at the least."""
    return Price(feeds.low, feeds.high, max(feeds.status, Status.DIVERGED), (*feeds.why, why))
