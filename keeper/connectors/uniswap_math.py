"""Arithmetic of Uniswap v3 in Python integers, with its roundings.

A "root" is the square root of token1 per token0 in smallest units as Q64.96. Sources: Uniswap v3 core
`TickMath`, `SqrtPriceMath`, `Tick`; v3 periphery `LiquidityAmounts`, `OracleLibrary`. Where the two differ
in who rounds, our contracts' `LiquidityMath` says so.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from math import isqrt
from typing import Final

from keeper.errors import ValuationError
from keeper.units import MAX_UINT256

MIN_TICK: Final = -887_272
MAX_TICK: Final = 887_272
MIN_ROOT: Final = 4_295_128_739
MAX_ROOT: Final = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
"""First root that no pool can be at."""

Q96: Final = 1 << 96
Q128: Final = 1 << 128
MAX_UINT128: Final = Q128 - 1
MAX_UINT160: Final = (1 << 160) - 1

_FACTORS: Final = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x09AA508B5B7A84E1C677DE54F3E99BC9,
    0x005D6AF8DEDB81196699C329225EE604,
    0x00002216E584F5FA1EA926041BEDFE98,
    0x00000000048A170391F7DC42444E8FA2,
)
"""sqrt(1.0001)^-(2^k) in Q128.128 for k = 0 … 19."""


# TICKS


@lru_cache(maxsize=4_096)
def sqrt_price_at_tick(tick: int) -> int:
    """Root of 1.0001^tick, rounded up (`TickMath.getSqrtRatioAtTick`).

    Raises ValuationError for a tick that no pool can be at.
    """
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValuationError(
            "A tick is out of range", expected=f"{MIN_TICK} to {MAX_TICK}", seen=tick, where="Uniswap v3"
        )
    magnitude, ratio = abs(tick), Q128
    for factor in _FACTORS:
        if magnitude & 1:
            ratio = ratio * factor >> 128
        magnitude >>= 1
    if tick > 0:
        ratio = MAX_UINT256 // ratio
    return -(-ratio >> 32)


def tick_at_sqrt_price(root: int) -> int:
    """Greatest tick whose root is not above `root` (`TickMath.getTickAtSqrtRatio`).

    Raises ValuationError for a root that no pool can be at.
    """
    if not MIN_ROOT <= root < MAX_ROOT:
        raise ValuationError(
            "A root is out of range", expected=f"{MIN_ROOT} to {MAX_ROOT - 1}", seen=root, where="Uniswap v3"
        )
    return MIN_TICK + bisect_right(range(MIN_TICK, MAX_TICK + 1), root, key=sqrt_price_at_tick) - 1


# TIME-WEIGHTED AVERAGES


def mean_tick(cumulatives: tuple[int, int], window: int) -> int:
    """Arithmetic mean of the tick over `window` seconds, rounded toward negative infinity.

    `cumulatives` are the sums of tick times seconds (int56, which wrap) at its beginning and its end
    (`OracleLibrary.consult`).
    """
    risen = (cumulatives[1] - cumulatives[0] + (1 << 55)) % (1 << 56) - (1 << 55)
    return risen // window


def harmonic_mean_liquidity(cumulatives: tuple[int, int], window: int) -> int:
    """Harmonic mean of the liquidity in range over `window` seconds, rounded down; 0 when there is none.

    `cumulatives` are the sums of seconds per liquidity (Q32.128 in 160 bits, which wrap) at its beginning
    and its end. Unlike `OracleLibrary.consult` it is not cut to 128 bits: `UniswapV3TwapSource._observe`.
    """
    risen = (cumulatives[1] - cumulatives[0]) & MAX_UINT160
    return (window << 128) // risen if risen else 0


# AMOUNTS


def amount0_delta(root: int, other: int, liquidity: int, *, up: bool) -> int:
    """token0 in `liquidity` between two roots (`SqrtPriceMath.getAmount0Delta`)."""
    lower, upper = (root, other) if root < other else (other, root)
    scaled = (liquidity << 96) * (upper - lower)
    # Rounding twice the same way is rounding once.
    return -(-scaled // (upper * lower)) if up else scaled // (upper * lower)


def amount1_delta(root: int, other: int, liquidity: int, *, up: bool) -> int:
    """token1 in `liquidity` between two roots (`SqrtPriceMath.getAmount1Delta`)."""
    scaled = liquidity * abs(root - other)
    return -(-scaled >> 96) if up else scaled >> 96


def next_root_from_input(root: int, liquidity: int, amount: int, *, zero_for_one: bool) -> int:
    """Root after `amount` of token0 (or, unless `zero_for_one`, token1) came in, fee not included
    (`SqrtPriceMath.getNextSqrtPriceFromInput`). `liquidity` is not 0.
    """
    if not zero_for_one:
        return _within(root + (amount << 96) // liquidity)
    scaled = liquidity << 96
    if scaled + amount * root <= MAX_UINT256:
        return -(-scaled * root // (scaled + amount * root))
    # Where the product overflows the pool loses digits, and we with it.
    return -(-scaled // (scaled // root + amount))


def next_root_from_output(root: int, liquidity: int, amount: int, *, zero_for_one: bool) -> int:
    """Root after `amount` of token1 (or, unless `zero_for_one`, token0) went out
    (`SqrtPriceMath.getNextSqrtPriceFromOutput`). `liquidity` is not 0.

    Raises ValuationError when the liquidity does not hold so much.
    """
    if zero_for_one:
        return _within(root - -(-(amount << 96) // liquidity))
    scaled, product = liquidity << 96, amount * root
    if product >= scaled:
        return _within(0)
    return _within(-(-scaled * root // (scaled - product)))


def _within(root: int) -> int:
    if not 0 < root <= MAX_UINT160:
        raise ValuationError(
            "The liquidity does not hold such an amount", expected="a root of 160 bits", seen=root
        )
    return root


def amounts_for_liquidity(
    root: int, lower: int, upper: int, liquidity: int, *, up: bool = False
) -> tuple[int, int]:
    """(token0, token1) in `liquidity` between two roots when the pool is at `root`.

    Down is what a burn pays, up what a mint asks for (`UniswapV3Pool._modifyPosition`).
    """
    here = min(max(root, lower), upper)
    return (
        amount0_delta(here, upper, liquidity, up=up),
        amount1_delta(lower, here, liquidity, up=up),
    )


def liquidity_for_amounts(root: int, lower: int, upper: int, amount0: int, amount1: int) -> int:
    """Most liquidity between two roots that amounts pay for (`LiquidityAmounts.getLiquidityForAmounts`)."""
    if root <= lower:
        return _liquidity_for_amount0(lower, upper, amount0)
    if root >= upper:
        return _liquidity_for_amount1(lower, upper, amount1)
    return min(_liquidity_for_amount0(root, upper, amount0), _liquidity_for_amount1(lower, root, amount1))


def _liquidity_for_amount0(lower: int, upper: int, amount: int) -> int:
    return amount * (lower * upper >> 96) // (upper - lower)


def _liquidity_for_amount1(lower: int, upper: int, amount: int) -> int:
    return (amount << 96) // (upper - lower)


# FEES


def growth_inside(
    tick: int, tick_lower: int, tick_upper: int, growth: int, outside_lower: int, outside_upper: int
) -> int:
    """Fees per unit of liquidity earned between two ticks, Q128 (`Tick.getFeeGrowthInside`).

    It wraps, and only differences of it mean anything. `outside_*` is what the pool keeps at either tick.
    """
    below = outside_lower if tick >= tick_lower else growth - outside_lower
    above = outside_upper if tick < tick_upper else growth - outside_upper
    return (growth - below - above) & MAX_UINT256


def owed_fees(growth: int, last: int, liquidity: int, owed: int) -> int:
    """What is owed when growth has gone from `last` to `growth` and `owed` was owed already.

    Cut to 128 bits twice, as the position manager does it (`NonfungiblePositionManager.collect`).
    """
    earned = ((growth - last) & MAX_UINT256) * liquidity >> 128
    return (owed + earned) & MAX_UINT128


# WORTH


def root_of_worth(worth0: int, worth1: int) -> int:
    """Root at which a unit of token0 is worth `worth0` and one of token1 `worth1`: `LiquidityMath.rootOf`.

    Rounded down, with fewer digits where the square would not fit a word, and held within what a pool can be
    at.
    """
    if worth1 == 0 or worth0 // worth1 >= 1 << 126:
        return MAX_ROOT - 1
    if worth0 // worth1 < 1 << 62:
        root = isqrt((worth0 << 192) // worth1)
    else:
        root = isqrt((worth0 << 128) // worth1) << 32
    # Below 2^159 here, so that there is nothing to cut at the upper end.
    return max(root, MIN_ROOT)


def liquidity_for_part(liquidity: int, amount: int, wanted: int) -> int:
    """Least part of `liquidity`, holding `amount`, that pays `wanted` of it (`LiquidityMath.partFor`)."""
    return liquidity if wanted >= amount else -(-liquidity * wanted // amount)
