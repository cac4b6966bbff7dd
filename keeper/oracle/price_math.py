"""Products of prices that saturate instead of overflowing (`PriceMath`), and words cut to fewer bits."""

from typing import Final

from keeper.units import MAX_UINT256

MAX_DECIMALS: Final = 36
"""More makes a token's decimals unknown (`PriceMath.readDecimals`)."""


def mul_div_down(a: int, b: int, d: int) -> int:
    """floor(a * b / d), or the greatest word when that is larger. `d` must not be 0."""
    return min(a * b // d, MAX_UINT256)


def mul_div_up(a: int, b: int, d: int) -> int:
    """ceil(a * b / d), or the greatest word when that is larger. `d` must not be 0."""
    return min(-(-a * b // d), MAX_UINT256)


def signed(word: int, bits: int) -> int:
    """The lowest `bits` of a word as two's complement, as Solidity truncates."""
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> bits - 1 else word
