"""Fixed-point arithmetic of Aave v3.6, with its roundings, in Python integers.

Sources, all in aave-v3-origin: `WadRayMath`, `PercentageMath`, `MathUtils`, `TokenMath`. A ray is 1e27.
Overflow checks of the originals are left out: no reachable state of a reserve comes near them.
"""

from __future__ import annotations

from keeper.units import RAY, WAD, YEAR, mul_div_down, mul_div_up

BPS_TO_RAY = 10**23
PERCENTAGE_FACTOR = 10_000


def ray_mul(a: int, b: int) -> int:
    """a * b in ray, rounded half up (`WadRayMath.rayMul`)."""
    return (a * b + RAY // 2) // RAY


def ray_div(a: int, b: int) -> int:
    """a ÷ b in ray, rounded half up (`WadRayMath.rayDiv`)."""
    return (a * RAY + b // 2) // b


def percent_mul(value: int, bps: int) -> int:
    """`bps` of `value`, rounded half up (`PercentageMath.percentMul`)."""
    return (value * bps + PERCENTAGE_FACTOR // 2) // PERCENTAGE_FACTOR


def percent_mul_down(value: int, bps: int) -> int:
    """`bps` of `value`, rounded down (`PercentageMath.percentMulFloor`)."""
    return value * bps // PERCENTAGE_FACTOR


def percent_mul_up(value: int, bps: int) -> int:
    """`bps` of `value`, rounded up (`PercentageMath.percentMulCeil`)."""
    return -(-value * bps // PERCENTAGE_FACTOR)


def percent_div_up(value: int, bps: int) -> int:
    """What `value` is `bps` of, rounded up (`PercentageMath.percentDivCeil`). `bps` is not 0."""
    return -(-value * PERCENTAGE_FACTOR // bps)


def wad_div(a: int, b: int) -> int:
    """a ÷ b in wad, rounded half up (`WadRayMath.wadDiv`)."""
    return (a * WAD + b // 2) // b


def scaled_down(assets: int, index: int) -> int:
    """Scaled aTokens that a supply of `assets` mints, and scaled debt that a repayment burns
    (`TokenMath.getATokenMintScaledAmount`, `getVTokenBurnScaledAmount`)."""
    return mul_div_down(assets, RAY, index)


def scaled_up(assets: int, index: int) -> int:
    """Scaled aTokens that a withdrawal of `assets` burns, and scaled debt that a loan mints
    (`TokenMath.getATokenBurnScaledAmount`, `getVTokenMintScaledAmount`)."""
    return mul_div_up(assets, RAY, index)


def supply_balance_down(scaled: int, index: int) -> int:
    """Assets behind scaled aTokens (`TokenMath.getATokenBalance`)."""
    return mul_div_down(scaled, index, RAY)


def debt_balance_up(scaled: int, index: int) -> int:
    """Assets owed by scaled variable debt (`TokenMath.getVTokenBalance`)."""
    return mul_div_up(scaled, index, RAY)


def linear_interest(rate: int, elapsed: int) -> int:
    """Growth factor in ray of a yearly ray `rate` over `elapsed` seconds (`calculateLinearInterest`)."""
    return RAY + rate * elapsed // YEAR


def compounded_interest(rate: int, elapsed: int) -> int:
    """Growth factor in ray, three terms of e^x (`MathUtils.calculateCompoundedInterest`)."""
    if elapsed == 0:
        return RAY
    x = rate * elapsed // YEAR
    return RAY + x + ray_mul(x, x // 2 + ray_mul(x, x // 6))
