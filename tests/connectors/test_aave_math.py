"""Roundings of the Aave mirror at points known by hand."""

from keeper.connectors.aave_math import (
    compounded_interest,
    percent_div_up,
    percent_mul,
    percent_mul_down,
    percent_mul_up,
    ray_div,
    ray_mul,
    wad_div,
)
from keeper.units import RAY, WAD, YEAR


def test_products_and_ratios_round_half_up() -> None:
    assert [ray_mul(each, 1) for each in (RAY // 2 - 1, RAY // 2, RAY)] == [0, 1, 1]
    assert [ray_div(each, 3 * RAY) for each in (1, 2, 3)] == [0, 1, 1]
    assert [wad_div(each, 3 * WAD) for each in (1, 2, 3)] == [0, 1, 1]
    assert [percent_mul(each, 1) for each in (4_999, 5_000, 10_000)] == [0, 1, 1]


def test_percentages_round_down_or_up_where_the_pool_says_so() -> None:
    assert [percent_mul_down(each, 1) for each in (0, 1, 9_999, 10_000)] == [0, 0, 0, 1]
    assert [percent_mul_up(each, 1) for each in (0, 1, 10_000, 10_001)] == [0, 1, 1, 2]
    assert [percent_div_up(each, 7_500) for each in (0, 1, 3, 4)] == [0, 2, 4, 6]


def test_compounding_is_three_terms_of_the_exponential() -> None:
    assert compounded_interest(RAY, 0) == RAY
    # x = 1: 1 + 1 + 1/2 + 1/6, each product rounded half up.
    assert compounded_interest(RAY, YEAR) == 2_666_666_666_666_666_666_666_666_666
