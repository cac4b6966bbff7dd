// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What liquidity between two prices holds and has earned
/// @notice Equal unit for unit to what a Uniswap v3 pool pays (rounded down) and asks for (rounded up), and to the
/// fees its position manager accounts (Uniswap v3 core, `SqrtPriceMath` and `Tick.getFeeGrowthInside`). Prices
/// are square roots of token1 per token0 in smallest units, as Q64.96.
library LiquidityMath {
    uint256 internal constant Q96 = 1 << 96;
    uint256 internal constant Q128 = 1 << 128;

    /// @dev Least and greatest root a pool can be at.
    uint256 internal constant MIN_ROOT = 4_295_128_739;
    uint256 internal constant MAX_ROOT = 1461446703485210103287273052203988822378723970341;

    /// @notice Tokens in `liquidity` between `lower` and `upper` when the pool is at `root`.
    function amounts(uint256 root, uint256 lower, uint256 upper, uint128 liquidity, Math.Rounding rounding)
        internal
        pure
        returns (uint256 amount0, uint256 amount1)
    {
        if (root < lower) root = lower;
        else if (root > upper) root = upper;
        amount0 = _amount0(root, upper, liquidity, rounding);
        amount1 = Math.mulDiv(liquidity, root - lower, Q96, rounding);
    }

    /// @notice Least part of `liquidity`, which holds `amount` of a token, that pays `wanted` of it.
    /// @dev Enough, because `amount` was rounded down: a unit of liquidity holds at least its part of it.
    function partFor(uint128 liquidity, uint256 amount, uint256 wanted) internal pure returns (uint128) {
        if (wanted >= amount) return liquidity;
        return uint128(Math.mulDiv(liquidity, wanted, amount, Math.Rounding.Ceil));
    }

    /// @notice Root of the price at which `value0` of worth per unit of token0 meets `value1` per unit of token1,
    /// rounded down and held within what a pool can be at.
    function rootOf(uint256 value0, uint256 value1) internal pure returns (uint256 root) {
        if (value1 == 0 || value0 / value1 >= 1 << 126) return MAX_ROOT;
        root = value0 / value1 < 1 << 62
            ? Math.sqrt(Math.mulDiv(value0, 1 << 192, value1))
            : Math.sqrt(Math.mulDiv(value0, 1 << 128, value1)) << 32;
        if (root < MIN_ROOT) return MIN_ROOT;
        if (root > MAX_ROOT) return MAX_ROOT;
    }

    /// @notice Fees per unit of liquidity earned between two ticks, as Q128. Only differences of it mean anything.
    /// @param lowerOutside,upperOutside what the pool keeps at either tick
    function growthInside(
        int24 tick,
        int24 tickLower,
        int24 tickUpper,
        uint256 growthGlobal,
        uint256 lowerOutside,
        uint256 upperOutside
    ) internal pure returns (uint256) {
        unchecked {
            // Each counter is meant to wrap.
            uint256 below = tick >= tickLower ? lowerOutside : growthGlobal - lowerOutside;
            uint256 above = tick < tickUpper ? upperOutside : growthGlobal - upperOutside;
            return growthGlobal - below - above;
        }
    }

    /// @notice What is owed when growth has gone from `last` to `growth` and `owedBefore` was owed already.
    function owed(uint256 growth, uint256 last, uint128 liquidity, uint128 owedBefore)
        internal
        pure
        returns (uint128)
    {
        unchecked {
            // Growth wraps, and the sum does: the position manager's own would, too.
            return owedBefore + uint128(Math.mulDiv(growth - last, liquidity, Q128));
        }
    }

    /// @dev Both divisions round the same way, so that together they round once.
    function _amount0(uint256 from, uint256 to, uint128 liquidity, Math.Rounding rounding)
        private
        pure
        returns (uint256)
    {
        uint256 scaled = Math.mulDiv(uint256(liquidity) << 96, to - from, to, rounding);
        return rounding == Math.Rounding.Ceil ? Math.ceilDiv(scaled, from) : scaled / from;
    }
}
