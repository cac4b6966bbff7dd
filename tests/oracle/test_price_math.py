"""Saturating products, cut words and prices of ticks at their edges."""

from keeper.oracle.price_math import mul_div_down, mul_div_up, signed
from keeper.oracle.twap import tick_prices
from keeper.uniswap_math import MAX_TICK
from keeper.units import MAX_UINT256


def test_a_tick_out_of_range_has_any_price() -> None:
    assert tick_prices(-MAX_TICK - 1, 10**18, True) == (0, MAX_UINT256)


def test_products_saturate_at_the_greatest_word() -> None:
    assert mul_div_down(MAX_UINT256, 3, 3) == mul_div_up(MAX_UINT256, 3, 3) == MAX_UINT256
    assert mul_div_down(MAX_UINT256, 4, 3) == mul_div_up(MAX_UINT256, 4, 3) == MAX_UINT256
    assert (mul_div_down(7, 1, 2), mul_div_up(7, 1, 2)) == (3, 4)


def test_words_are_cut_as_solidity_cuts_them() -> None:
    assert (signed(2**24 - 1, 24), signed(2**23, 24), signed(2**23 - 1, 24)) == (-1, -(2**23), 2**23 - 1)
    assert signed(2**256 - 5, 56) == -5
