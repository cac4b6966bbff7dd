// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Status} from "../src/interfaces/Types.sol";
import {TickMath} from "../src/oracle/TickMath.sol";
import {IUniswapV3Pool, UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {Devnet} from "./Devnet.sol";
import {ISwapRouter} from "./fixtures/Prices.sol";

interface IPoolState {
    function liquidity() external view returns (uint128);
}

/// @dev Puts the library at an address of its own, so that a revert can be expected of it.
contract Ticks {
    function root(int256 tick) external pure returns (uint256) {
        return TickMath.sqrtPriceX96(tick);
    }
}

contract TwapSourceTest is Devnet {
    uint32 private constant WINDOW = 30 minutes;

    IUniswapV3Pool private pool;
    address private weth;
    address private usdc;

    function setUp() public {
        _load();
        pool = IUniswapV3Pool(_address(".uniswap.pools['USDC/WETH'].address"));
        weth = _token("WETH");
        usdc = _token("USDC");
        // The devnet's last observation then reaches back over the window, at the price of its last swap.
        vm.warp(block.timestamp + WINDOW);
    }

    function test_class_O_the_price_lies_in_the_mean_tick() public {
        (uint256 low, uint256 high, Status status) = _source(weth, usdc).price();
        assertEq(uint256(status), uint256(Status.OK));
        (, int24 tick,,,,,) = pool.slot0();
        uint256 root = TickMath.sqrtPriceX96(tick);
        // Smallest units of USDC per WETH in whole tokens: 10^(18 - 6).
        uint256 price = (root * root >> 64) * 1e30 >> 128;
        assertLe(low, price);
        assertGe(high, price);
        assertApproxEqRel(high, low * 10_001 / 10_000, 1e10, "one tick wide");
    }

    function test_class_U_both_directions_agree() public {
        (uint256 low, uint256 high,) = _source(weth, usdc).price();
        (uint256 inverseLow, uint256 inverseHigh, Status status) = _source(usdc, weth).price();
        assertEq(uint256(status), uint256(Status.OK));
        assertApproxEqRel(inverseLow, 1e36 / high, 1e6);
        assertApproxEqRel(inverseHigh, 1e36 / low, 1e6);
        assertGt(low, 100e18);
        assertLt(high, 100_000e18);
    }

    /// @dev What the block before left is `standing`; what this one has done so far is `spot`.
    function test_class_O_a_block_cannot_change_what_the_one_before_left() public {
        UniswapV3TwapSource source = _source(weth, usdc);
        (uint256 low, uint256 high, uint256 standing, uint256 spot) = source.market();
        assertEq(standing, spot);
        assertLe(low, standing);
        _swap(weth, 500e18);
        (uint256 lowNow, uint256 highNow, uint256 standingNow, uint256 spotNow) = source.market();
        assertEq(lowNow, low, "no second has passed");
        assertEq(highNow, high);
        assertEq(standingNow, standing);
        assertLt(spotNow, spot);
        vm.warp(block.timestamp + 12);
        (lowNow,, standingNow, spotNow) = source.market();
        assertEq(standingNow, spotNow, "the next block sees what was left");
        assertLt(lowNow, low, "and the mean begins to move");
    }

    function test_class_O_a_pool_too_small_or_too_young_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.WindowNotCovered.selector, 365 days));
        new UniswapV3TwapSource(pool, weth, usdc, 365 days, 1, 1);
        (,,, uint16 cardinality,,,) = pool.slot0();
        vm.expectRevert(
            abi.encodeWithSelector(
                UniswapV3TwapSource.TooFewObservations.selector, cardinality, cardinality + 1
            )
        );
        new UniswapV3TwapSource(pool, weth, usdc, WINDOW, cardinality + 1, 1);
        vm.expectPartialRevert(UniswapV3TwapSource.TooLittleLiquidity.selector);
        new UniswapV3TwapSource(pool, weth, usdc, WINDOW, 1, type(uint128).max);
        vm.expectPartialRevert(UniswapV3TwapSource.TooLittleLiquidity.selector);
        new UniswapV3TwapSource(pool, weth, usdc, WINDOW, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.WindowTooShort.selector, 599, 10 minutes));
        new UniswapV3TwapSource(pool, weth, usdc, 599, 1, 1);
    }

    /// @dev Liquidity that leaves after the source was made counts at once, as the harmonic mean does.
    function test_class_O_liquidity_that_left_is_no_price() public {
        uint256 liquidity = uint256(uint128(IPoolState(address(pool)).liquidity()));
        UniswapV3TwapSource source =
            new UniswapV3TwapSource(pool, weth, usdc, WINDOW, 1, uint128(liquidity * 9 / 10));
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
        // Pushed through all its positions, the pool has nearly nothing in range.
        _swap(weth, 1_000_000e18);
        vm.warp(block.timestamp + 1 minutes);
        _expectNone(source);
    }

    function test_class_O_what_a_block_left_is_known_after_any_number_of_swaps() public {
        UniswapV3TwapSource source = _source(weth, usdc);
        for (uint256 i; i < 5; ++i) {
            (,, uint256 before,) = source.market();
            uint256 dollars = _swap(weth, 300e18);
            _swap(weth, 100e18);
            _swap(usdc, dollars / 2);
            (,, uint256 standing, uint256 spot) = source.market();
            assertEq(standing, before);
            assertLt(spot, before);
            vm.warp(block.timestamp + 12 * i + 1);
            (,, standing,) = source.market();
            assertEq(standing, spot);
        }
    }

    function test_class_O_an_answer_of_another_shape_is_no_price() public {
        UniswapV3TwapSource source = _source(weth, usdc);
        vm.mockCall(
            address(pool),
            abi.encodeWithSelector(pool.observe.selector),
            abi.encode(new int56[](4), new uint160[](4))
        );
        _expectNone(source);
        vm.mockCallRevert(address(pool), abi.encodeWithSelector(pool.observe.selector), "");
        _expectNone(source);
        (uint256 low, uint256 high, uint256 standing, uint256 spot) = source.market();
        assertEq(low + high + standing + spot, 0);
    }

    function test_class_O_a_pool_of_another_pair_is_refused() public {
        address dai = _token("DAI");
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.InvalidPair.selector, weth, dai));
        _source(weth, dai);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.InvalidPair.selector, weth, weth));
        _source(weth, weth);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3TwapSource.InvalidPool.selector, address(9)));
        new UniswapV3TwapSource(IUniswapV3Pool(address(9)), weth, usdc, WINDOW, 1, 1);
    }

    // TICKS

    function test_M_60_roots_equal_uniswaps_own() public view {
        string memory data = vm.readFile("contracts/test/data/tickmath.json");
        int256[] memory ticks = vm.parseJsonIntArray(data, ".ticks");
        uint256[] memory roots = vm.parseJsonUintArray(data, ".roots");
        assertGt(ticks.length, 20);
        for (uint256 i = 0; i < ticks.length; i++) {
            assertEq(TickMath.sqrtPriceX96(ticks[i]), roots[i]);
        }
        assertEq(TickMath.sqrtPriceX96(-887_272), 4_295_128_739);
        assertEq(TickMath.sqrtPriceX96(887_272), 1461446703485210103287273052203988822378723970342);
        assertEq(TickMath.sqrtPriceX96(0), 1 << 96);
    }

    function testFuzz_M_60_roots_rise_with_the_tick(int256 tick) public pure {
        tick = bound(tick, -887_272, 887_271);
        assertLt(TickMath.sqrtPriceX96(tick), TickMath.sqrtPriceX96(tick + 1));
    }

    function testFuzz_M_60_ticks_out_of_range_are_refused(int256 tick) public {
        tick = bound(tick, 887_273, type(int128).max);
        Ticks ticks = new Ticks();
        vm.expectRevert(abi.encodeWithSelector(TickMath.TickOutOfRange.selector, tick));
        ticks.root(tick);
        vm.expectRevert(abi.encodeWithSelector(TickMath.TickOutOfRange.selector, -tick));
        ticks.root(-tick);
    }

    // STEPS

    function _swap(address token, uint256 amount) private returns (uint256) {
        deal(token, address(this), _balance(token, address(this)) + amount);
        address router = _address(".uniswap.swap_router");
        IERC20(token).approve(router, amount);
        address other = token == weth ? usdc : weth;
        return ISwapRouter(router)
            .exactInputSingle(
                ISwapRouter.Swap(token, other, 500, address(this), block.timestamp, amount, 0, 0)
            );
    }

    function _source(address base, address quote) private returns (UniswapV3TwapSource) {
        return new UniswapV3TwapSource(pool, base, quote, WINDOW, 2, 1);
    }

    function _expectNone(UniswapV3TwapSource source) private view {
        (uint256 low, uint256 high, Status status) = source.price();
        assertEq(low, 0);
        assertEq(high, type(uint256).max);
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }
}
