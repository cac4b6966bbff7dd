"""Fixed-point arithmetic of Morpho Blue and its adaptive-curve rate model, in Python integers.

Sources: morpho-blue `MathLib`, `SharesMathLib`; morpho-blue-irm `AdaptiveCurveIrm`, `ExpLib`. A wad is 1e18.
Rates are per second unless a name says otherwise.
"""

from __future__ import annotations

from keeper.errors import PlanError
from keeper.units import MAX_UINT256, WAD, YEAR, mul_div_down

VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1

CURVE_STEEPNESS = 4 * WAD
TARGET_UTILIZATION = 9 * WAD // 10
ADJUSTMENT_SPEED = 50 * WAD // YEAR
INITIAL_RATE_AT_TARGET = 4 * WAD // 100 // YEAR
MIN_RATE_AT_TARGET = WAD // 1000 // YEAR
MAX_RATE_AT_TARGET = 2 * WAD // YEAR

_SLOPE_BELOW = WAD - WAD * WAD // CURVE_STEEPNESS
_SLOPE_ABOVE = CURVE_STEEPNESS - WAD

LN_2 = 693_147_180_559_945_309
_HALF_LN_2 = LN_2 // 2
LN_WEI = -41_446_531_673_892_822_312
WEXP_UPPER_BOUND = 93_859_467_695_000_404_319
WEXP_UPPER_VALUE = 57_716_089_161_558_943_949_701_069_502_944_508_345_128_422_502_756_744_429_568


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    """Shares minted for a supply of `assets` (`SharesMathLib.toSharesDown`)."""
    return mul_div_down(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_shares_up(assets: int, total_assets: int, total_shares: int) -> int:
    """Shares burnt for a withdrawal of `assets` (`SharesMathLib.toSharesUp`). PlanError if it overflows."""
    return _mul_div_up(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """What `shares` are worth (`SharesMathLib.toAssetsDown`)."""
    return mul_div_down(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """What `shares` are worth, rounded up (`SharesMathLib.toAssetsUp`). PlanError if it overflows."""
    return _mul_div_up(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def _mul_div_up(a: int, b: int, d: int) -> int:
    """`MathLib.mulDivUp`, whose sum must fit a word: totals of nearly 128 bits exceed it.

    What is rounded down never does before the totals themselves outgrow their 128 bits.
    """
    total = a * b + d - 1
    if total > MAX_UINT256:
        raise PlanError(
            "The Morpho market is too large for its own arithmetic, so that this move reverts",
            expected=f"at most {MAX_UINT256:,}",
            seen=f"{total:,}",
            where="Morpho Blue market",
        )
    return total // d


def taylor_compounded(rate: int, elapsed: int) -> int:
    """e^(rate * elapsed) - 1 in wad, to three terms (`MathLib.wTaylorCompounded`)."""
    first = rate * elapsed
    second = first * first // (2 * WAD)
    return first + second + second * first // (3 * WAD)


def wad_exp(x: int) -> int:
    """Approximate e^x in wad: 2^q * (1 + r + r²/2) (`ExpLib.wExp`)."""
    if x < LN_WEI:
        return 0
    if x >= WEXP_UPPER_BOUND:
        return WEXP_UPPER_VALUE
    q = -((_HALF_LN_2 - x) // LN_2) if x < 0 else (x + _HALF_LN_2) // LN_2
    r = x - q * LN_2
    exp_r = WAD + r + r * r // WAD // 2
    return exp_r << q if q >= 0 else exp_r >> -q


def utilization_error(supply_assets: int, borrow_assets: int) -> int:
    """Signed distance from target utilisation in wad: -1 at none, 0 on target, 1 at full."""
    utilization = borrow_assets * WAD // supply_assets if supply_assets else 0
    if utilization > TARGET_UTILIZATION:
        return (utilization - TARGET_UTILIZATION) * WAD // (WAD - TARGET_UTILIZATION)
    return -((TARGET_UTILIZATION - utilization) * WAD // TARGET_UTILIZATION)


def curve(rate_at_target: int, error: int) -> int:
    """Borrow rate at utilisation error `error` (`AdaptiveCurveIrm._curve`)."""
    if error < 0:
        return (WAD - _SLOPE_BELOW * -error // WAD) * rate_at_target // WAD
    return (WAD + _SLOPE_ABOVE * error // WAD) * rate_at_target // WAD


def new_rate_at_target(start: int, adaptation: int) -> int:
    """Rate at target after a linear `adaptation` in wad, within its bounds (`_newRateAtTarget`)."""
    moved = start * wad_exp(adaptation) // WAD
    return min(max(moved, MIN_RATE_AT_TARGET), MAX_RATE_AT_TARGET)


def adaptive_borrow_rate(
    supply_assets: int, borrow_assets: int, rate_at_target: int, elapsed: int
) -> tuple[int, int]:
    """(average borrow rate over `elapsed` seconds, rate at target at its end), wad per second.

    Mirrors `AdaptiveCurveIrm._borrowRate`; a stored `rate_at_target` of 0 means a market never touched. All
    divisions truncate toward zero: negative factors are divided by their magnitude, as Python's own floors.
    """
    error = utilization_error(supply_assets, borrow_assets)
    if rate_at_target == 0:
        return curve(INITIAL_RATE_AT_TARGET, error), INITIAL_RATE_AT_TARGET
    speed = ADJUSTMENT_SPEED * abs(error) // WAD
    if speed * elapsed == 0:
        return curve(rate_at_target, error), rate_at_target
    sign = 1 if error > 0 else -1
    end = new_rate_at_target(rate_at_target, sign * speed * elapsed)
    middle = new_rate_at_target(rate_at_target, sign * (speed * elapsed // 2))
    return curve((rate_at_target + end + 2 * middle) // 4, error), end
