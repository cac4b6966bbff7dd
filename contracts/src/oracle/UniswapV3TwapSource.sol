// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {PriceMath} from "./PriceMath.sol";
import {TickMath} from "./TickMath.sol";

/// @dev What is read of a pool (Uniswap v3 core).
interface IUniswapV3Pool {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function slot0() external view returns (uint160, int24, uint16, uint16, uint16, uint8, bool);
    function observe(uint32[] calldata secondsAgos)
        external
        view
        returns (int56[] memory tickCumulatives, uint160[] memory secondsPerLiquidityCumulativeX128s);
}

/// @title Time-weighted average price of a Uniswap v3 pool
/// @notice All or nothing: a pool that cannot give the whole window, or whose observations or liquidity are
/// too few to make the window costly to move, has no price. The window is never shortened.
contract UniswapV3TwapSource is IPriceSource {
    error InvalidPair(address base, address quote);
    error InvalidPool(address pool);
    error InvalidWindow();
    error UnknownDecimals(address token);
    error UnsupportedDecimals(uint256 base, uint256 quote);

    IUniswapV3Pool public immutable pool;
    address public immutable base;
    address public immutable quote;

    /// @notice Seconds averaged over.
    uint32 public immutable window;

    /// @notice Fewest observations the pool must be able to store.
    uint16 public immutable minCardinality;

    /// @notice Least harmonic mean of in-range liquidity over the window.
    uint128 public immutable minLiquidity;

    /// @dev 10^(18 + base decimals - quote decimals): turns a ratio of smallest units into a WAD price.
    uint256 private immutable _scale;
    bool private immutable _baseIsToken0;

    constructor(
        IUniswapV3Pool pool_,
        address base_,
        address quote_,
        uint32 window_,
        uint16 minCardinality_,
        uint128 minLiquidity_
    ) {
        if (address(pool_).code.length == 0) revert InvalidPool(address(pool_));
        if (window_ == 0) revert InvalidWindow();
        (address token0, address token1) = (pool_.token0(), pool_.token1());
        _baseIsToken0 = base_ == token0;
        if (!(base_ == token0 && quote_ == token1) && !(base_ == token1 && quote_ == token0)) {
            revert InvalidPair(base_, quote_);
        }
        uint256 baseDecimals = _decimals(base_);
        uint256 quoteDecimals = _decimals(quote_);
        if (quoteDecimals > baseDecimals + 18) revert UnsupportedDecimals(baseDecimals, quoteDecimals);
        _scale = 10 ** (18 + baseDecimals - quoteDecimals);
        pool = pool_;
        base = base_;
        quote = quote_;
        window = window_;
        minCardinality = minCardinality_;
        minLiquidity = minLiquidity_;
    }

    /// @inheritdoc IPriceSource
    /// @dev The mean tick is rounded toward negative infinity and every tick was itself rounded down, so the
    /// geometric mean price lies between that tick and the next: these are low and high.
    function price() external view returns (uint256 low, uint256 high, Status status) {
        (int256 tick, bool usable) = _meanTick();
        if (!usable) return (0, type(uint256).max, Status.UNAVAILABLE);
        uint256 atTick = TickMath.sqrtPriceX96(tick);
        uint256 above = TickMath.sqrtPriceX96(tick < TickMath.MAX_TICK ? tick + 1 : tick);
        // The pool rounds the root up; a unit less is below the true price.
        (low, high) = _baseIsToken0
            ? (_ratioDown(atTick - 1), _ratioUp(above))
            : (_inverseDown(above), _inverseUp(atTick - 1));
        if (low == 0 || high == type(uint256).max) return (0, type(uint256).max, Status.UNAVAILABLE);
    }

    /// @dev Mean tick over the window, and whether the pool passed every check.
    function _meanTick() private view returns (int256 tick, bool usable) {
        (,,, uint16 cardinality,,,) = pool.slot0();
        if (cardinality < minCardinality) return (0, false);

        uint32[] memory secondsAgos = new uint32[](2);
        secondsAgos[0] = window;
        try pool.observe(secondsAgos) returns (int56[] memory ticks, uint160[] memory liquidities) {
            uint256 elapsed = uint256(window);
            unchecked {
                // Both accumulators are meant to wrap.
                int256 tickDelta = ticks[1] - ticks[0];
                uint256 liquidityDelta = uint160(liquidities[1] - liquidities[0]);
                if (liquidityDelta == 0) return (0, false);
                tick = tickDelta / int256(elapsed);
                if (tickDelta < 0 && tickDelta % int256(elapsed) != 0) tick--;
                // Seconds per liquidity are Q128: their inverse is the harmonic mean.
                usable = (elapsed << 128) / liquidityDelta >= minLiquidity;
            }
        } catch {
            // The pool is younger than the window, or its observations do not reach back that far.
        }
    }

    function _decimals(address token) private view returns (uint256) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(token);
        if (!known) revert UnknownDecimals(token);
        return decimals;
    }

    // The square of a root is Q192, or Q128 after losing 64 bits when it would not fit otherwise.

    function _ratioDown(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivDown(root * root, _scale, 1 << 192);
        return PriceMath.mulDivDown(PriceMath.mulDivDown(root, root, 1 << 64), _scale, 1 << 128);
    }

    function _ratioUp(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivUp(root * root, _scale, 1 << 192);
        return PriceMath.mulDivUp(PriceMath.mulDivUp(root, root, 1 << 64), _scale, 1 << 128);
    }

    function _inverseDown(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivDown(1 << 192, _scale, root * root);
        return PriceMath.mulDivDown(1 << 128, _scale, PriceMath.mulDivUp(root, root, 1 << 64));
    }

    function _inverseUp(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivUp(1 << 192, _scale, root * root);
        return PriceMath.mulDivUp(1 << 128, _scale, PriceMath.mulDivDown(root, root, 1 << 64));
    }
}
