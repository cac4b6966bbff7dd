"""Products of prices that saturate instead of overflowing, and prices of ticks (`PriceMath`, `TickMath`)."""

from functools import lru_cache
from typing import Final

from keeper.units import MAX_UINT256

MAX_DECIMALS: Final = 36
"""More makes a token's decimals unknown (`PriceMath.readDecimals`)."""
MAX_TICK: Final = 887_272
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
"""sqrt(1.0001)^-(2^k) in Q128.128 for k = 0 … 19 (Uniswap v3 core, `TickMath.getSqrtRatioAtTick`)."""


def mul_div_down(a: int, b: int, d: int) -> int:
    """floor(a * b / d), or the greatest word when that is larger. `d` must not be 0."""
    return min(a * b // d, MAX_UINT256)


def mul_div_up(a: int, b: int, d: int) -> int:
    """ceil(a * b / d), or the greatest word when that is larger. `d` must not be 0."""
    return min(-(-a * b // d), MAX_UINT256)


@lru_cache(maxsize=4096)
def sqrt_price_x96(tick: int) -> int:
    """Square root of 1.0001^tick as Q64.96, rounded up as a pool rounds it.

    Raises ValueError outside of ±MAX_TICK.
    """
    magnitude = abs(tick)
    if magnitude > MAX_TICK:
        raise ValueError(f"tick {tick} is out of range")
    ratio = 1 << 128
    for place, factor in enumerate(_FACTORS):
        if magnitude >> place & 1:
            ratio = ratio * factor >> 128
    # The factors are those of negative ticks, which keep the product below one.
    if tick > 0:
        ratio = MAX_UINT256 // ratio
    return (ratio + 0xFFFFFFFF) >> 32


def signed(word: int, bits: int) -> int:
    """The lowest `bits` of a word as two's complement, as Solidity truncates."""
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> bits - 1 else word
