"""Mean prices of Uniswap v3 pools: the mirror of `UniswapV3TwapSource`."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from keeper.chain.call import Call, CallFailure
from keeper.config import CheckedAddress
from keeper.errors import PolicyError
from keeper.oracle.price_math import mul_div_down, mul_div_up, signed
from keeper.oracle.quote import Status
from keeper.oracle.source import Fact, Names, Price, Read, Sight, SourcePolicy, no_price
from keeper.uniswap_math import MAX_TICK, harmonic_mean_liquidity, mean_tick, sqrt_price_at_tick
from keeper.units import MAX_UINT256

_MIN_WINDOW: Final = 600
_UINT128_MAX: Final = 2**128 - 1
_NO_TICK: Final = -(2**255)


class Answer(NamedTuple):
    """What the pool said to one question, and whether it did; later words are zero."""

    success: bool
    words: tuple[int, ...]


class Observations(NamedTuple):
    """`UniswapV3TwapSource.observations()`: `observe`, `slot0`, the newest observation and the one before."""

    mean: Answer
    slot: Answer
    last: Answer
    older: Answer


class Mean(NamedTuple):
    """Over the window: the mean tick, rounded toward negative infinity, and the harmonic mean of in-range
    liquidity."""

    tick: int
    liquidity: int


class Market(NamedTuple):
    """`market()`: prices in wad, all 0 when there is no mean."""

    low: int
    high: int
    standing: int
    spot: int


class TwapPolicy(SourcePolicy):
    """`UniswapV3TwapSource`: `window` in seconds, `min_cardinality` in observations that the pool keeps."""

    artifact: ClassVar[str] = "UniswapV3TwapSource"

    kind: Literal["uniswap_v3_twap"]
    pool: CheckedAddress
    window: Annotated[int, Field(strict=True, ge=_MIN_WINDOW, lt=2**32)]
    min_cardinality: Annotated[int, Field(strict=True, gt=0, lt=2**16)]
    min_liquidity: Annotated[int, Field(strict=True, gt=0, le=_UINT128_MAX)]

    def facts(self, names: Names) -> Iterator[Fact]:
        yield from super().facts(names)
        yield Fact("pool", self.call("pool"), self.pool)
        yield Fact("window", self.call("window"), self.window)
        yield Fact("min_liquidity", self.call("minLiquidity"), self.min_liquidity)

    def state(self) -> tuple[Call[Any], ...]:
        return (self.call("observations"),)

    def check(self, names: Names, read: Read, where: str) -> None:
        super().check(names, read, where)
        seen = self.observations(read)
        # A pool never keeps fewer than it once did; one that is gone has no price, and that is all.
        if seen and seen.slot.success and seen.slot.words[3] < self.min_cardinality:
            raise PolicyError(
                "The pool keeps too few observations",
                expected=f"at least {self.min_cardinality}",
                seen=seen.slot.words[3],
                where=f"{where}.min_cardinality",
                hint="Anyone may call increaseObservationCardinalityNext on the pool.",
            )

    def observations(self, read: Read) -> Observations | None:
        raw = read(self.call("observations"))
        if isinstance(raw, CallFailure):
            return None
        return Observations(*(Answer(success, words) for success, words in raw))

    def price(self, sight: Sight) -> Price:
        seen = self.observations(sight.read)
        if seen is None:
            return no_price("the pool's observations cannot be read")
        mean = mean_of(seen, self.window)
        if mean is None:
            return no_price(f"the pool cannot give a mean over {self.window} s")
        if mean.liquidity < self.min_liquidity:
            return no_price(f"too little liquidity: {mean.liquidity} is below {self.min_liquidity}")
        low, high = self._range(sight, mean.tick)
        if low == 0 or high == MAX_UINT256:
            return no_price(f"tick {mean.tick} has no price in wad")
        return Price(low, high, Status.OK)

    def market(self, sight: Sight) -> Market | None:
        """`market()`, or None where it reverts."""
        price = self.price(sight)
        seen = self.observations(sight.read)
        if seen is None or price.status is Status.UNAVAILABLE:
            return Market(0, 0, 0, 0)
        if not seen.slot.success:
            return Market(price.low, price.high, 0, 0)
        tick = signed(seen.slot.words[1], 24)
        standing = _standing(seen, tick, sight.at)
        if standing is None:
            return None
        return Market(price.low, price.high, self._range(sight, standing)[0], self._range(sight, tick)[0])

    def _range(self, sight: Sight, tick: int) -> tuple[int, int]:
        names = sight.names
        base, quote = names.decimals(self.base), names.decimals(self.quote)
        # The base is one of the two, as its constructor has seen to; which one, addresses tell.
        is_token0 = int(names.token(self.base), 16) < int(names.token(self.quote), 16)
        return tick_prices(tick, 10 ** (18 + base - quote), is_token0)

    def details(self, sight: Sight) -> dict[str, Any]:
        seen = self.observations(sight.read)
        mean = mean_of(seen, self.window) if seen else None
        market = self.market(sight)
        return {
            "pool": self.pool,
            "window": self.window,
            "mean_tick": mean.tick if mean else None,
            "liquidity": mean.liquidity if mean else None,
            "min_liquidity": self.min_liquidity,
            "cardinality": seen.slot.words[3] if seen and seen.slot.success else None,
            "min_cardinality": self.min_cardinality,
            "standing": market.standing if market else None,
            "spot": market.spot if market else None,
        }


def mean_of(seen: Observations, window: int) -> Mean | None:
    """The mean over the window, or None when the pool does not remember all of it."""
    success, words = seen.mean
    # Two arrays of two.
    if not success or (words[0], words[1], words[2], words[5]) != (64, 160, 2, 2):
        return None
    ticks, liquidity = (words[3], words[4]), (words[6], words[7])
    # Without liquidity at any second the accumulator has not moved.
    if liquidity[0] == liquidity[1]:
        return None
    return Mean(mean_tick(ticks, window), harmonic_mean_liquidity(liquidity, window))


def _standing(seen: Observations, tick: int, at: int) -> int | None:
    """Tick at which the last block left the pool, out of range when nothing tells; None where the contract
    divides by a cardinality of zero."""
    if not _known(seen.last):
        return _NO_TICK
    if seen.last.words[0] != at % 2**32:
        return tick
    if seen.slot.words[3] == 0:
        return None
    elapsed = (seen.last.words[0] - seen.older.words[0]) % 2**32
    if not _known(seen.older) or elapsed == 0:
        return _NO_TICK
    rise = signed(signed(seen.last.words[1], 56) - signed(seen.older.words[1], 56), 56)
    # Solidity truncates.
    return rise // elapsed if rise >= 0 else -(-rise // elapsed)


def _known(observation: Answer) -> bool:
    return observation.success and observation.words[3] == 1


def tick_prices(tick: int, scale: int, is_token0: bool) -> tuple[int, int]:
    """Low and high price in wad of a tick, whose true price lies between it and the next; (0, max) out of
    range. `scale` is 10^(18 + base decimals - quote decimals)."""
    if not -MAX_TICK <= tick <= MAX_TICK:
        return 0, MAX_UINT256
    # The pool rounds the root up; a unit less is below the true price.
    below, above = sqrt_price_at_tick(tick) - 1, sqrt_price_at_tick(min(tick + 1, MAX_TICK))
    if is_token0:
        return _ratio_down(below, scale), _ratio_up(above, scale)
    return _inverse_down(above, scale), _inverse_up(below, scale)


# The square of a root is Q192, or Q128 after losing 64 bits when it would not fit otherwise.


def _ratio_down(root: int, scale: int) -> int:
    if root <= _UINT128_MAX:
        return mul_div_down(root * root, scale, 1 << 192)
    return mul_div_down(mul_div_down(root, root, 1 << 64), scale, 1 << 128)


def _ratio_up(root: int, scale: int) -> int:
    if root <= _UINT128_MAX:
        return mul_div_up(root * root, scale, 1 << 192)
    return mul_div_up(mul_div_up(root, root, 1 << 64), scale, 1 << 128)


def _inverse_down(root: int, scale: int) -> int:
    if root <= _UINT128_MAX:
        return mul_div_down(1 << 192, scale, root * root)
    return mul_div_down(1 << 128, scale, mul_div_up(root, root, 1 << 64))


def _inverse_up(root: int, scale: int) -> int:
    if root <= _UINT128_MAX:
        return mul_div_up(1 << 192, scale, root * root)
    return mul_div_up(1 << 128, scale, mul_div_down(root, root, 1 << 64))
