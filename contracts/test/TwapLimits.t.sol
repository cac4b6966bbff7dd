// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Status} from "../src/interfaces/Types.sol";
import {TickMath} from "../src/oracle/TickMath.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {Devnet} from "./Devnet.sol";
import {Token} from "./fixtures/Tokens.sol";

interface IUniswapV3Factory {
    function createPool(address a, address b, uint24 fee) external returns (address);
}

interface IUniswapV3PoolStart {
    function initialize(uint160 sqrtPriceX96) external;
}

/// @dev Accumulators as no pool of the factory has them.
contract OddPool {
    address public immutable token0;
    address public immutable token1;
    int56 private immutable TICKS;
    uint160 private immutable LIQUIDITY;

    constructor(address token0_, address token1_, int56 ticks, uint160 liquidity) {
        (token0, token1, TICKS, LIQUIDITY) = (token0_, token1_, ticks, liquidity);
    }

    function slot0() external pure returns (uint160, int24, uint16, uint16, uint16, uint8, bool) {
        return (0, 0, 0, 1, 1, 0, true);
    }

    function observe(uint32[] calldata) external view returns (int56[] memory ticks, uint160[] memory spans) {
        (ticks, spans) = (new int56[](2), new uint160[](2));
        (ticks[1], spans[1]) = (TICKS, LIQUIDITY);
    }

    function observations(uint256) external view returns (uint32, int56, uint160, bool) {
        return (uint32(block.timestamp), TICKS, 0, true);
    }
}

/// @title Average prices at the ends of what a pool can have, and pairs without a price
contract TwapLimitsTest is Devnet {
    uint32 private constant WINDOW = 30 minutes;
    int256 private constant HIGH_TICK = 500_000;

    IUniswapV3Factory private factory;

    function setUp() public {
        _load();
        factory = IUniswapV3Factory(_address(".uniswap.factory"));
    }

    /// @dev The square of such a root takes more than 256 bits.
    function test_M_60_a_price_whose_square_fits_no_word_is_still_enclosed() public {
        (address token0, address token1) = _tokens(18, 18);
        UniswapV3TwapSource source = _source(token0, token1, HIGH_TICK, token0);
        uint256 root = TickMath.sqrtPriceX96(HIGH_TICK);
        assertGt(root, type(uint128).max);
        _expectAround(source, Math.mulDiv(Math.mulDiv(root, root, 1 << 64), 1e18, 1 << 128));
    }

    function test_M_60_its_inverse_is_enclosed_too() public {
        (address token0, address token1) = _tokens(6, 27);
        UniswapV3TwapSource source = _source(token0, token1, HIGH_TICK, token1);
        uint256 root = TickMath.sqrtPriceX96(HIGH_TICK);
        _expectAround(source, Math.mulDiv(1 << 128, 1e39, Math.mulDiv(root, root, 1 << 64)));
    }

    function test_M_60_a_price_below_one_in_wad_is_no_price() public {
        (address token0, address token1) = _tokens(18, 18);
        _expectNone(_source(token0, token1, -HIGH_TICK, token0));
    }

    function test_M_60_a_price_beyond_any_word_is_no_price() public {
        (address token0, address token1) = _tokens(36, 0);
        _expectNone(_source(token0, token1, 700_000, token0));
    }

    /// @dev Half a tick below zero lies between -1 and 0.
    function test_M_60_a_mean_tick_is_rounded_down_below_zero_too() public {
        (address token0, address token1) = _tokens(18, 18);
        (uint256 low, uint256 high, Status status) =
            _odd(token0, token1, -int56(uint56(WINDOW)) / 2, 1).price();
        assertEq(uint256(status), uint256(Status.OK));
        assertApproxEqRel(low, uint256(1e18) * 10_000 / 10_001, 1e6);
        assertApproxEqAbs(high, 1e18, 1);
    }

    function test_class_O_accumulators_that_stand_still_are_no_price() public {
        (address token0, address token1) = _tokens(18, 18);
        IUniswapV3Pool pool = IUniswapV3Pool(address(new OddPool(token0, token1, 0, 0)));
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.WindowNotCovered.selector, WINDOW));
        new UniswapV3TwapSource(pool, token0, token1, WINDOW, 1, 1);
    }

    /// @dev With one observation, of this block, nobody knows what the last block left.
    function test_M_60_a_tick_out_of_range_is_no_price_and_no_revert() public {
        (address token0, address token1) = _tokens(18, 18);
        (uint256 low,, uint256 standing, uint256 spot) =
            _odd(token0, token1, -int56(uint56(WINDOW)) * 1000, 1).market();
        assertGt(low, 0);
        assertEq(standing, 0);
        assertGt(spot, 0);
        (,, Status status) = _odd(token0, token1, -int56(uint56(WINDOW)) * 900_000, 1).price();
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }

    function test_class_U_decimals_too_far_apart_or_unknown_are_refused() public {
        (address token0, address token1) = _tokens(0, 19);
        IUniswapV3Pool pool = _pool(token0, token1, 0);
        vm.warp(block.timestamp + WINDOW);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.UnsupportedDecimals.selector, 0, 19));
        new UniswapV3TwapSource(pool, token0, token1, WINDOW, 1, 1);

        pool = IUniswapV3Pool(factory.createPool(address(this), token0, 3000));
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.UnknownDecimals.selector, address(this)));
        new UniswapV3TwapSource(pool, address(this), token0, WINDOW, 1, 1);
    }

    // STEPS

    /// @dev Two tokens in the order of their addresses, the first with the decimals named first.
    function _tokens(uint8 first, uint8 second) private returns (address token0, address token1) {
        token0 = address(new Token("FIRST", first));
        do {
            token1 = address(new Token("SECOND", second));
        } while (token1 < token0);
    }

    /// @dev A pool that has stood at one tick for a whole window.
    function _source(address token0, address token1, int256 tick, address base)
        private
        returns (UniswapV3TwapSource)
    {
        IUniswapV3Pool pool = _pool(token0, token1, tick);
        vm.warp(block.timestamp + WINDOW);
        return new UniswapV3TwapSource(pool, base, base == token0 ? token1 : token0, WINDOW, 1, 1);
    }

    function _pool(address token0, address token1, int256 tick) private returns (IUniswapV3Pool) {
        address pool = factory.createPool(token0, token1, 3000);
        IUniswapV3PoolStart(pool).initialize(uint160(TickMath.sqrtPriceX96(tick)));
        return IUniswapV3Pool(pool);
    }

    function _odd(address token0, address token1, int56 ticks, uint160 liquidity)
        private
        returns (UniswapV3TwapSource)
    {
        OddPool pool = new OddPool(token0, token1, ticks, liquidity);
        return new UniswapV3TwapSource(IUniswapV3Pool(address(pool)), token0, token1, WINDOW, 1, 1);
    }

    /// @dev Low and high are a tick apart, and the price at the tick is at one end.
    function _expectAround(UniswapV3TwapSource source, uint256 price) private view {
        (uint256 low, uint256 high, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
        assertLe(low, price);
        assertGe(high, price);
        assertApproxEqRel(high, low * 10_001 / 10_000, 1e6);
    }

    function _expectNone(UniswapV3TwapSource source) private view {
        (uint256 low, uint256 high, Status status) = source.price();
        assertEq(low, 0);
        assertEq(high, type(uint256).max);
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }
}
