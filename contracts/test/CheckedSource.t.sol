// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {CheckedSource} from "../src/oracle/CheckedSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {UniswapV3TwapSource} from "../src/oracle/UniswapV3TwapSource.sol";
import {Prices} from "./fixtures/Prices.sol";

/// @title Feeds against the devnet's real pool
contract CheckedSourceTest is Prices {
    function setUp() public {
        _loadPrices();
    }

    // THE RANGE

    function test_class_O_the_range_covers_the_feeds_and_the_mean() public {
        (uint256 low, uint256 high, Status status) = checked.price();
        (uint256 feedLow, uint256 feedHigh,) = feeds.value(weth, usdc, 1e18);
        (uint256 meanLow, uint256 meanHigh,) = market.price();
        assertEq(uint256(status), uint256(Status.OK));
        assertEq(low, _least(_floor(feeds), meanLow));
        assertApproxEqAbs(low / 1e12, feedLow, 1);
        assertApproxEqAbs(high / 1e12, feedHigh, 1);
        assertGe(high, meanHigh);
        // A mean below the feeds' range widens it downwards, one above upwards.
        uint256 state = vm.snapshotState();
        _swap(weth, 900e18);
        _later(40 minutes);
        (meanLow,,) = market.price();
        (low, high, status) = checked.price();
        assertEq(low, meanLow, "the mean is the lower");
        assertLt(low, _floor(feeds));
        assertEq(high, _ceiling(feeds));
        assertEq(uint256(status), uint256(Status.OK), "within tolerance");
        vm.revertToState(state);

        _swap(usdc, 2_700_000e6);
        _later(40 minutes);
        (, meanHigh,) = market.price();
        (low, high, status) = checked.price();
        assertEq(high, meanHigh, "the mean is the higher");
        assertGt(high, _ceiling(feeds));
        assertEq(low, _floor(feeds));
        assertEq(uint256(status), uint256(Status.OK), "within tolerance");
    }

    /// @dev The pool is back where the feeds are, and only its mean is not yet.
    function test_class_O_a_mean_beyond_tolerance_diverges_though_the_pool_is_back() public {
        uint256 state = vm.snapshotState();
        _leaveFor(weth, 3000e18, 1 hours);
        (uint256 low, uint256 high,) = checked.price();
        (uint256 meanLow, uint256 meanHigh,) = market.price();
        assertLt(meanHigh, _floor(feeds) * 98 / 100);
        assertEq(low, meanLow);
        assertEq(high, _ceiling(feeds));
        vm.revertToState(state);

        _leaveFor(usdc, 9_000_000e6, 1 hours);
        (low, high,) = checked.price();
        (meanLow, meanHigh,) = market.price();
        assertGt(meanLow, _ceiling(feeds) * 102 / 100);
        assertEq(low, _floor(feeds));
        assertEq(high, meanHigh);
    }

    /// @dev Moves the pool, holds it there and brings it back: by the block after that only the mean is away.
    function _leaveFor(address token, uint256 amount, uint256 elapsed) private {
        uint256 received = _swap(token, amount);
        _later(elapsed);
        _swap(token == weth ? usdc : weth, received);
        _later(12);
        (,, uint256 standing, uint256 spot) = market.market();
        assertEq(standing, spot);
        assertApproxEqRel(spot, 3000e18, 0.003e18, "brought back");
        assertEq(uint256(_status()), uint256(Status.DIVERGED), "by the mean alone");
    }

    function test_class_O_a_route_through_it_is_its_price() public view {
        (uint256 low, uint256 high,) = checked.price();
        (uint256 worthLow, uint256 worthHigh, Status status) = router.value(weth, usdc, 7e18);
        assertApproxEqAbs(worthLow, low * 7 / 1e12, 1);
        assertApproxEqAbs(worthHigh, high * 7 / 1e12, 1);
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_no_feeds_are_no_price_whatever_the_pool_says() public {
        _push("ETH/USD", 0);
        (uint256 low, uint256 high, Status status) = checked.price();
        assertEq(low, 0);
        assertEq(high, type(uint256).max);
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }

    function test_class_O_no_pool_leaves_feeds_that_nothing_confirms() public {
        vm.etch(address(pool), hex"5f5ffd");
        (uint256 low, uint256 high, Status status) = checked.price();
        assertEq(low, _floor(feeds));
        assertGt(high, low);
        assertEq(uint256(status), uint256(Status.DIVERGED));
    }

    function test_class_O_the_feeds_own_fault_remains() public {
        vm.warp(block.timestamp + 2 hours);
        assertEq(uint256(_status()), uint256(Status.STALE));
        vm.etch(address(pool), hex"5f5ffd");
        assertEq(uint256(_status()), uint256(Status.DIVERGED), "the worse of two");
    }

    // SPOT

    function test_class_O_a_spot_price_beyond_tolerance_diverges_while_it_lasts() public {
        _checkWhileItLasts(weth, 3000e18);
        _checkWhileItLasts(usdc, 9_000_000e6);
    }

    function _checkWhileItLasts(address token, uint256 amount) private {
        (uint256 low, uint256 high,) = checked.price();
        uint256 received = _swap(token, amount);
        assertEq(uint256(_status()), uint256(Status.DIVERGED));
        (uint256 lowNow, uint256 highNow,) = checked.price();
        assertEq(lowNow, low, "and moves nothing");
        assertEq(highNow, high);
        _swap(token == weth ? usdc : weth, received);
        assertEq(uint256(_status()), uint256(Status.OK));
    }

    /// @dev What the block before left counts by itself: whoever brings the pool back first hides nothing.
    function test_class_O_a_pool_left_away_diverges_though_it_is_brought_back() public {
        (address[2] memory sold, uint256[2] memory amounts) =
            ([weth, usdc], [uint256(3000e18), uint256(9_000_000e6)]);
        for (uint256 i; i < 2; ++i) {
            uint256 received = _swap(sold[i], amounts[i]);
            vm.warp(block.timestamp + 12);
            _swap(sold[1 - i], received);
            (,,, uint256 spot) = market.market();
            assertApproxEqRel(spot, 3000e18, 0.003e18, "brought back");
            assertEq(uint256(_status()), uint256(Status.DIVERGED), "by what the last block left");
            (uint256 low, uint256 high,) = checked.price();
            assertEq(low, _floor(feeds));
            assertEq(high, _ceiling(feeds));
            _later(12);
            assertEq(uint256(_status()), uint256(Status.OK));
        }
    }

    function test_class_O_one_reading_does_not_count() public {
        uint256 honest = _floor(feeds);
        // An attacker holds the pool down over the end of a block and has it read.
        uint256 dollars = _swap(weth, 6000e18);
        vm.warp(block.timestamp + 12);
        checked.observe();
        assertEq(checked.persisted(), type(uint256).max);
        _swap(usdc, dollars);
        _later(65 minutes);
        (uint256 low,,) = checked.price();
        assertApproxEqRel(low, honest, 0.001e18);
        assertGt(checked.persisted(), honest, "the higher of two readings is the honest one");
    }

    function test_class_O_spot_that_persists_in_two_readings_enters_low() public {
        _swap(weth, 900e18);
        vm.warp(block.timestamp + 12);
        checked.observe();
        (,, uint256 standing,) = market.market();
        (uint256 low,,) = checked.price();
        assertGt(low, standing, "not yet");
        _later(29 minutes);
        (low,,) = checked.price();
        assertGt(low, standing, "not before half an hour");
        _later(1 minutes);
        (low,,) = checked.price();
        assertEq(low, standing);
        assertEq(checked.persisted(), standing);
        (uint256 mean,,) = market.price();
        assertGt(mean, standing, "the mean of an hour is not there yet");
    }

    /// @dev Spot lowers what exits are paid, and never raises what anybody pays or is paid.
    function test_class_O_a_rise_that_persists_enters_neither_end() public {
        _swap(usdc, 2_700_000e6);
        vm.warp(block.timestamp + 12);
        checked.observe();
        _later(30 minutes);
        (, uint256 meanHigh, uint256 standing,) = market.market();
        assertEq(checked.persisted(), standing);
        (uint256 low, uint256 high, Status status) = checked.price();
        assertEq(low, _floor(feeds));
        assertEq(high, meanHigh);
        assertGt(high, _ceiling(feeds));
        assertLt(high, standing);
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_readings_end_after_a_day() public {
        checked.observe();
        _later(24 hours);
        assertLt(checked.persisted(), type(uint256).max);
        _later(1);
        assertEq(checked.persisted(), type(uint256).max);
    }

    /// @dev Otherwise anybody could start the wait anew for ever.
    function test_class_O_nobody_can_keep_a_reading_from_growing_old() public {
        checked.observe();
        uint256 until = block.timestamp + 30 minutes;
        _later(29 minutes);
        vm.expectRevert(abi.encodeWithSelector(CheckedSource.TooEarly.selector, until));
        checked.observe();
        _later(1 minutes);
        checked.observe();
        // The new one is too young, but the one before is old enough.
        assertLt(checked.persisted(), type(uint256).max);
    }

    function test_class_O_a_reading_is_not_what_a_transaction_makes_of_the_pool() public {
        (,, uint256 standing,) = market.market();
        _swap(weth, 6000e18);
        checked.observe();
        (uint256 price,) = checked.latest();
        assertEq(price, standing);
    }

    function test_class_O_a_pool_without_a_price_gives_no_reading() public {
        vm.etch(address(pool), hex"5f5ffd");
        vm.expectRevert(abi.encodeWithSelector(CheckedSource.NoMarket.selector, address(market)));
        checked.observe();
    }

    // CONFIGURATION

    function test_class_O_a_wrong_configuration_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(CheckedSource.InvalidTolerance.selector, 0));
        new CheckedSource(feeds, market, 0);
        vm.expectRevert(abi.encodeWithSelector(CheckedSource.InvalidTolerance.selector, 10_000));
        new CheckedSource(feeds, market, 10_000);
        UniswapV3TwapSource back = new UniswapV3TwapSource(pool, usdc, weth, WINDOW, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownRoute.selector, usdc, weth));
        new CheckedSource(feeds, back, TOLERANCE);
    }

    // GAS

    function test_class_T_a_pool_that_burns_its_gas_leaves_the_feeds() public {
        vm.etch(address(pool), hex"5b600056");
        (bool success, bytes memory answer) =
            address(router).call{gas: 300_000}(abi.encodeCall(IOracleRouter.value, (weth, usdc, 1e18)));
        assertTrue(success);
        (uint256 low,, uint256 status) = abi.decode(answer, (uint256, uint256, uint256));
        assertEq(status, uint256(Status.DIVERGED));
        assertApproxEqRel(low, 3000e6, 0.01e18);
    }

    function test_class_T_a_feed_that_burns_its_gas_is_no_price() public {
        vm.etch(_feed("ETH/USD", "proxy"), hex"5b600056");
        (bool success, bytes memory answer) =
            address(router).call{gas: 300_000}(abi.encodeCall(IOracleRouter.value, (weth, usdc, 1e18)));
        assertTrue(success);
        (uint256 low,, uint256 status) = abi.decode(answer, (uint256, uint256, uint256));
        assertEq(low, 0);
        assertEq(status, uint256(Status.UNAVAILABLE));
    }

    /// @dev With too little gas the answer is a refusal, and never another price.
    function testFuzz_class_T_starving_it_changes_no_price(uint256 gas_) public {
        bytes memory data = abi.encodeCall(IOracleRouter.value, (weth, usdc, 1e18));
        (bool success, bytes memory full) = address(router).call(data);
        assertTrue(success);
        (success, data) = address(router).call{gas: bound(gas_, 5_000, 400_000)}(data);
        if (success) assertEq(data, full);
    }

    function test_gas_of_the_sources() public {
        checked.observe();
        _later(30 minutes);
        (ChainlinkSource feed, UniswapV3TwapSource twap, CheckedSource both) =
            (ChainlinkSource(address(feeds.hops(weth, usdc)[0].source)), market, checked);
        uint256 before = gasleft();
        feed.price();
        emit log_named_uint("Chainlink feed with constancy", before - gasleft());
        before = gasleft();
        twap.price();
        emit log_named_uint("TWAP of an hour", before - gasleft());
        _swap(weth, 1e18);
        before = gasleft();
        twap.market();
        emit log_named_uint("pool after a swap in its block", before - gasleft());
        before = gasleft();
        feeds.value(weth, usdc, 1e18);
        emit log_named_uint("route of two feeds (warm)", before - gasleft());
        before = gasleft();
        both.price();
        emit log_named_uint("two feeds and a pool (warm)", before - gasleft());
    }

    // STEPS

    function _floor(OracleRouter of_) private view returns (uint256 low) {
        (low,,) = of_.value(weth, usdc, 1e36);
        return low / 1e6;
    }

    function _ceiling(OracleRouter of_) private view returns (uint256 high) {
        (, high,) = of_.value(weth, usdc, 1e36);
        return (high + 1e6 - 1) / 1e6;
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function test_class_U_a_token_without_decimals_is_refused() public {
        address[2] memory ends = [weth, usdc];
        for (uint256 i; i < 2; ++i) {
            vm.mockCallRevert(ends[i], abi.encodeWithSignature("decimals()"), "");
            vm.expectRevert(abi.encodeWithSelector(CheckedSource.UnknownDecimals.selector, ends[i]));
            new CheckedSource(feeds, market, TOLERANCE);
            vm.clearMockedCalls();
        }
    }
}
