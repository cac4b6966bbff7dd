"""Receipt tokens: the mirrors of `RateSource`, of its two kinds, and of `ATokenSource`."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from keeper.chain.call import Call, CallFailure
from keeper.oracle.price_math import mul_div_down
from keeper.oracle.quote import Status
from keeper.oracle.source import Fact, Names, Price, Sight, SourcePolicy, no_price
from keeper.units import WAD

_DAY: Final = 86_400
_UINT96_MAX: Final = 2**96 - 1
_GROWTH_LIMIT: Final = WAD // 10


class RatePolicy(SourcePolicy):
    """A token's own rate, which grows by at most `max_growth` a day, in wad, from its anchor."""

    max_growth: Annotated[int, Field(strict=True, gt=0, le=_GROWTH_LIMIT)]

    def facts(self, names: Names) -> Iterator[Fact]:
        yield from super().facts(names)
        yield Fact("base", self.call("target"), names.token(self.base))
        yield Fact("max_growth", self.call("maxGrowth"), self.max_growth)

    def state(self) -> tuple[Call[Any], ...]:
        return (self.call("answer"), self.call("anchor"))

    @abstractmethod
    def divisor(self, names: Names) -> int:
        """What the target's answer is divided by to be in wad."""

    def price(self, sight: Sight) -> Price:
        rate = self._rate(sight)
        if rate is None:
            return no_price("the token's rate cannot be read")
        if not 0 < rate <= _UINT96_MAX:
            return no_price(f"the rate {rate} (wad) is not believable")
        high, _, since = sight.read(self.call("anchor"))
        return rate_price(rate, high, sight.at - since, self.max_growth)

    def details(self, sight: Sight) -> dict[str, Any]:
        high, seen, since = sight.read(self.call("anchor"))
        return {
            "rate": self._rate(sight),
            "anchor": high,
            "last_seen": seen,
            "anchored_at": since,
            "age": sight.at - since,
            "max_growth": self.max_growth,
        }

    def _rate(self, sight: Sight) -> int | None:
        raw = sight.read(self.call("answer"))
        if isinstance(raw, CallFailure) or not raw[0]:
            return None
        return int(raw[1]) // self.divisor(sight.names)


class ERC4626Policy(RatePolicy):
    """`ERC4626Source`: what a vault's shares, the base, stand for in its asset, the quote."""

    artifact: ClassVar[str] = "ERC4626Source"

    kind: Literal["erc4626"]

    def divisor(self, names: Names) -> int:
        # So many shares are asked for that their assets have eighteen digits more than whole ones.
        return int(10 ** max(0, names.decimals(self.quote) - 18))


class StakedEtherPolicy(RatePolicy):
    """`StakedEtherSource`: what a wrapped staked Ether, the base, stands for in staked Ether."""

    artifact: ClassVar[str] = "StakedEtherSource"

    kind: Literal["staked_ether"]

    def divisor(self, names: Names) -> int:
        return 1


class ATokenPolicy(SourcePolicy):
    """`ATokenSource`: one for one, with nothing to read."""

    artifact: ClassVar[str] = "ATokenSource"

    kind: Literal["a_token"]

    def state(self) -> tuple[Call[Any], ...]:
        return ()

    def price(self, sight: Sight) -> Price:
        return Price(WAD, WAD, Status.OK)

    def details(self, sight: Sight) -> dict[str, Any]:
        return {}


def rate_price(rate: int, anchor: int, elapsed: int, max_growth: int) -> Price:
    """`RateSource.price()` of a believable rate, `elapsed` seconds after the anchor. All in wad."""
    # A day in hand: rates that are written once a day step.
    most = mul_div_down(anchor, WAD + max_growth * (elapsed + _DAY) // _DAY, WAD)
    if rate > most:
        return Price(most, most, Status.DIVERGED, (f"the rate {rate} (wad) grew faster than to {most}",))
    least = mul_div_down(anchor, WAD - max_growth, WAD)
    # The protocol has rounded down.
    high = max(rate + 1, anchor)
    if rate < least:
        return Price(rate, high, Status.DIVERGED, (f"the rate {rate} (wad) fell below {least}",))
    return Price(rate, high, Status.OK)
