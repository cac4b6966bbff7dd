"""Ticks and saturating products at their edges; vectors are Uniswap's own (v3-core's test snapshots)."""

import json
from pathlib import Path

import pytest

from keeper.oracle.price_math import MAX_TICK, mul_div_down, mul_div_up, signed, sqrt_price_x96
from keeper.oracle.twap import tick_prices
from keeper.units import MAX_UINT256

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "vectors" / "tickmath.json"


@pytest.mark.parametrize(
    ("tick", "root"),
    [
        (-MAX_TICK, 4_295_128_739),
        (MAX_TICK, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342),
        (0, 2**96),
        (50, 79_426_470_787_362_580_746_886_972_461),
        (-50, 79_030_349_367_926_598_376_800_521_322),
    ],
)
def test_roots_of_ticks_are_the_pools(tick: int, root: int) -> None:
    assert sqrt_price_x96(tick) == root


def test_a_tick_out_of_range_has_no_root_and_any_price() -> None:
    with pytest.raises(ValueError, match="out of range"):
        sqrt_price_x96(MAX_TICK + 1)
    assert tick_prices(-MAX_TICK - 1, 10**18, True) == (0, MAX_UINT256)


def test_products_saturate_at_the_greatest_word() -> None:
    assert mul_div_down(MAX_UINT256, 3, 3) == mul_div_up(MAX_UINT256, 3, 3) == MAX_UINT256
    assert mul_div_down(MAX_UINT256, 4, 3) == mul_div_up(MAX_UINT256, 4, 3) == MAX_UINT256
    assert (mul_div_down(7, 1, 2), mul_div_up(7, 1, 2)) == (3, 4)


def test_words_are_cut_as_solidity_cuts_them() -> None:
    assert (signed(2**24 - 1, 24), signed(2**23, 24), signed(2**23 - 1, 24)) == (-1, -(2**23), 2**23 - 1)
    assert signed(2**256 - 5, 56) == -5


def test_roots_equal_every_published_vector() -> None:
    if not VECTORS.is_file():
        pytest.skip(f"{VECTORS.name} is not here; the cases above are from it")
    cases = json.loads(VECTORS.read_text())["getSqrtRatioAtTick"]
    assert len(cases) > 20
    assert {case["tick"]: sqrt_price_x96(case["tick"]) for case in cases} == {
        case["tick"]: int(case["sqrtPriceX96"]) for case in cases
    }
