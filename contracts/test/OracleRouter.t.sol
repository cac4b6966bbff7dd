// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Test} from "forge-std/Test.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {TestToken} from "../devnet/TestToken.sol";
import {Status} from "../src/interfaces/Types.sol";
import {BoundedRead} from "../src/oracle/BoundedRead.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";

contract OracleRouterTest is Test {
    address private constant USD = address(840);

    address private weth;
    address private usdc;
    PriceAggregator private etherFeed;
    PriceAggregator private dollarFeed;
    ChainlinkSource private etherUsd;
    ChainlinkSource private dollarUsd;

    function setUp() public {
        vm.warp(1_000_000);
        weth = _token(18);
        usdc = _token(6);
        (etherUsd, etherFeed) = _source(weth, USD, 8, 3000e8, 0);
        (dollarUsd, dollarFeed) = _source(usdc, USD, 8, 1e8, 0);
    }

    // VALUES

    function test_H_01_a_route_is_the_product_of_its_hops() public {
        OracleRouter router = _etherToDollar();
        (uint256 low, uint256 high, Status status) = router.value(weth, usdc, 2e18);
        assertEq(low, 6000e6);
        assertEq(high, 6000e6);
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_the_same_asset_is_worth_itself() public {
        (uint256 low, uint256 high, Status status) = _etherToDollar().value(address(9), address(9), 7);
        assertEq(low, 7);
        assertEq(high, 7);
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_a_route_that_is_not_listed_reverts() public {
        OracleRouter router = _etherToDollar();
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownRoute.selector, usdc, weth));
        router.value(usdc, weth, 1);
    }

    /// @dev base → X → Y → quote with the middle hop inverse, against exact fractions.
    function testFuzz_H_03_low_and_high_enclose_the_exact_product(
        uint256 a,
        uint256 b,
        uint256 c,
        uint256 amount
    ) public {
        a = bound(a, 1e4, 1e12);
        b = bound(b, 1e4, 1e12);
        c = bound(c, 1e4, 1e12);
        amount = bound(amount, 0, 1e30);
        OracleRouter router = _threeHops(a, b, c);
        (uint256 low, uint256 high,) = router.value(weth, usdc, amount);
        // amount × a/1e8 × 1e8/b × c/1e8 × 1e6/1e18
        uint256 exactDown = Math.mulDiv(amount, a * c, b * 1e20);
        uint256 exactUp = Math.mulDiv(amount, a * c, b * 1e20, Math.Rounding.Ceil);
        assertLe(low, exactDown);
        assertGe(high, exactUp);
        // 1e8/b keeps at least fourteen digits in WAD.
        assertLe(high - low, exactUp / 1e13 + 2);
    }

    function testFuzz_class_O_a_wider_hop_gives_a_wider_value(uint256 deviation) public {
        deviation = bound(deviation, 1, 5000);
        (ChainlinkSource wide,) = _source(usdc, USD, 8, 1e8, deviation);
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](2);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        hops[1] = OracleRouter.Hop(wide, true);
        (uint256 low, uint256 high,) = _router(weth, usdc, hops).value(weth, usdc, 1e18);
        // The divisor's ceiling makes the floor, and its floor the ceiling.
        assertApproxEqAbs(low, uint256(3000e6) * 10_000 / (10_000 + deviation), 1);
        assertApproxEqAbs(high, uint256(3000e6) * 10_000 / (10_000 - deviation), 1);
    }

    function test_class_U_M_58_decimals_sweep() public {
        uint8[4] memory decimals = [6, 8, 18, 27];
        for (uint256 i = 0; i < 4; i++) {
            for (uint256 j = 0; j < 4; j++) {
                for (uint256 k = 0; k < 4; k++) {
                    _sweep(decimals[i], decimals[j], decimals[k]);
                }
            }
        }
    }

    function _sweep(uint8 baseDecimals, uint8 quoteDecimals, uint8 feedDecimals) private {
        address base = _token(baseDecimals);
        address quote = _token(quoteDecimals);
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](1);
        (hops[0].source,) = _source(base, quote, feedDecimals, 5 * 10 ** uint256(feedDecimals), 0);
        (uint256 low, uint256 high,) =
            _router(base, quote, hops).value(base, quote, 3 * 10 ** uint256(baseDecimals));
        assertEq(low, 15 * 10 ** uint256(quoteDecimals), "low");
        assertEq(high, low, "high");
    }

    // STATUS

    function test_class_O_the_worst_hop_decides() public {
        OracleRouter router = _etherToDollar();
        vm.warp(block.timestamp + 1 hours + 1);
        etherFeed.push(3000e8);
        (uint256 low,, Status status) = router.value(weth, usdc, 1e18);
        assertEq(uint256(status), uint256(Status.STALE));
        assertEq(low, 3000e6, "with its range");
    }

    function test_class_O_a_hop_without_a_price_makes_anything_possible() public {
        OracleRouter router = _etherToDollar();
        dollarFeed.push(0);
        _expectNone(router);
        dollarFeed.push(1e8);
        vm.etch(address(dollarUsd), hex"fe");
        _expectNone(router);
        vm.etch(address(dollarUsd), hex"00");
        _expectNone(router);
    }

    /// @dev A source that says OK to a range from nothing to one.
    function test_class_O_a_price_of_nothing_is_no_price() public {
        OracleRouter router = _etherToDollar();
        vm.etch(address(etherUsd), hex"600160205260605ff3");
        _expectNone(router);
    }

    /// @dev Burning all gas, answering at length, too briefly, with no such status, or with the ends swapped.
    function test_class_T_a_hostile_source_costs_its_stipend_and_gives_no_price() public {
        OracleRouter router = _etherToDollar();
        bytes[5] memory codes = [
            bytes(hex"5b600056"),
            hex"620186a05ff3",
            hex"604060005260206000f3",
            hex"60015f526001602052600760405260605ff3",
            hex"60025f526001602052600060405260605ff3"
        ];
        for (uint256 i; i < 5; ++i) {
            vm.etch(address(dollarUsd), codes[i]);
            (bool success, bytes memory answer) =
                address(router).call{gas: 270_000}(abi.encodeCall(router.value, (weth, usdc, 1e18)));
            assertTrue(success);
            (uint256 low,, uint256 status) = abi.decode(answer, (uint256, uint256, uint256));
            assertEq(low, 0);
            assertEq(status, uint256(Status.UNAVAILABLE));
        }
    }

    /// @dev The caller's gas decides nothing: it is enough, or the call fails as a whole.
    function testFuzz_class_T_starving_a_route_changes_no_value(uint256 gas_) public {
        bytes memory data = abi.encodeCall(OracleRouter.value, (weth, usdc, 1e18));
        OracleRouter router = _etherToDollar();
        (, bytes memory full) = address(router).call(data);
        (bool success, bytes memory answer) = address(router).call{gas: bound(gas_, 3_000, 300_000)}(data);
        if (success) assertEq(answer, full);
        else assertEq(answer.length == 0 || bytes4(answer) == BoundedRead.NotEnoughGas.selector, true);
    }

    function testFuzz_class_T_no_amount_makes_it_revert(uint256 amount) public {
        (uint256 low, uint256 high, Status status) = _etherToDollar().value(weth, usdc, amount);
        assertLe(low, high);
        assertTrue(status == Status.OK || status == Status.UNAVAILABLE);
    }

    function test_class_T_a_value_no_word_holds_is_no_value() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](2);
        hops[0] = OracleRouter.Hop(dollarUsd, false);
        hops[1] = OracleRouter.Hop(etherUsd, true);
        (uint256 low, uint256 high, Status status) =
            _router(usdc, weth, hops).value(usdc, weth, type(uint256).max);
        assertEq(low, 0);
        assertEq(high, type(uint256).max);
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }

    // CONFIGURATION

    function test_a_route_is_shown_as_it_was_given() public {
        OracleRouter router = _etherToDollar();
        OracleRouter.Hop[] memory hops = router.hops(weth, usdc);
        assertEq(hops.length, 2);
        assertEq(address(hops[0].source), address(etherUsd));
        assertFalse(hops[0].inverse);
        assertEq(address(hops[1].source), address(dollarUsd));
        assertTrue(hops[1].inverse);
        assertEq(router.hops(usdc, weth).length, 0);
    }

    function test_H_03_hops_must_be_adjacent() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](2);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        hops[1] = OracleRouter.Hop(dollarUsd, false);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.GapInRoute.selector, 1, USD, usdc));
        _router(weth, usdc, hops);
    }

    function test_H_03_a_route_must_arrive() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](1);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.GapInRoute.selector, 1, usdc, USD));
        _router(weth, usdc, hops);
    }

    function test_class_O_a_cycle_is_refused() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](2);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        hops[1] = OracleRouter.Hop(etherUsd, true);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.CycleInRoute.selector, 1, weth));
        _router(weth, weth, hops);
    }

    function test_class_O_a_source_must_exist() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](1);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.InvalidSource.selector, address(0)));
        _router(weth, usdc, hops);
    }

    function test_class_O_a_route_needs_a_hop() public {
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.EmptyRoute.selector, weth, usdc));
        _router(weth, usdc, new OracleRouter.Hop[](0));
    }

    /// @dev Two hops of half a million each, one of a million and one, and one that fits no number.
    function test_class_T_a_route_that_asks_for_too_much_gas_is_refused() public {
        bytes memory asked = abi.encodeWithSignature("stipend()");
        uint256[3] memory stipends = [uint256(490_000), 1_000_001, type(uint256).max];
        uint256[3] memory needed = [uint256(1_027_554), 1_000_001, type(uint256).max];
        for (uint256 i; i < 3; ++i) {
            vm.mockCall(address(etherUsd), asked, abi.encode(stipends[i]));
            vm.mockCall(address(dollarUsd), asked, abi.encode(490_000));
            vm.expectRevert(
                abi.encodeWithSelector(OracleRouter.RouteTooDear.selector, weth, usdc, needed[i], 1_000_000)
            );
            _etherToDollar();
        }
        vm.mockCall(address(etherUsd), asked, abi.encode(450_000));
        assertLe(_etherToDollar().stipend(weth, usdc), 1_000_000);
    }

    function test_class_T_a_route_asks_for_what_its_hops_may_take() public {
        OracleRouter router = _etherToDollar();
        uint256 hops = etherUsd.stipend() * 64 / 63 + dollarUsd.stipend() * 64 / 63;
        assertGt(router.stipend(weth, usdc), hops);
        assertLt(router.stipend(weth, usdc), hops + 40_000);
        assertGt(router.stipend(weth, weth), 0, "nothing to read");
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownRoute.selector, usdc, weth));
        router.stipend(usdc, weth);
    }

    function test_class_U_unknown_decimals_are_refused() public {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](1);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownDecimals.selector, USD));
        _router(weth, USD, hops);
    }

    function test_class_O_a_route_has_an_end() public {
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.RouteTooLong.selector, 6, 5));
        _router(weth, usdc, new OracleRouter.Hop[](6));
    }

    function test_class_R_a_route_is_given_once() public {
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](2);
        routes[0] = OracleRouter.Route(weth, usdc, _hops());
        routes[1] = routes[0];
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.DuplicateRoute.selector, weth, usdc));
        new OracleRouter(routes);
    }

    // STEPS

    function _hops() private view returns (OracleRouter.Hop[] memory hops) {
        hops = new OracleRouter.Hop[](2);
        hops[0] = OracleRouter.Hop(etherUsd, false);
        hops[1] = OracleRouter.Hop(dollarUsd, true);
    }

    function _threeHops(uint256 a, uint256 b, uint256 c) private returns (OracleRouter) {
        OracleRouter.Hop[] memory hops = new OracleRouter.Hop[](3);
        (hops[0].source,) = _source(weth, address(11), 8, a, 0);
        (hops[1].source,) = _source(address(12), address(11), 8, b, 0);
        (hops[2].source,) = _source(address(12), usdc, 8, c, 0);
        hops[1].inverse = true;
        return _router(weth, usdc, hops);
    }

    function _etherToDollar() private returns (OracleRouter) {
        return _router(weth, usdc, _hops());
    }

    function _router(address base, address quote, OracleRouter.Hop[] memory hops)
        private
        returns (OracleRouter)
    {
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        routes[0] = OracleRouter.Route(base, quote, hops);
        return new OracleRouter(routes);
    }

    function _token(uint8 decimals) private returns (address) {
        return address(new TestToken("Token", "T", decimals, address(this)));
    }

    function _source(address base, address quote, uint8 decimals, uint256 answer, uint256 deviation)
        private
        returns (ChainlinkSource source, PriceAggregator feed)
    {
        feed = new PriceAggregator(decimals, "feed", address(this));
        feed.push(int256(answer));
        ChainlinkSource.Config memory config;
        config.base = base;
        config.quote = quote;
        config.aggregator = address(feed);
        config.heartbeat = 1 hours;
        config.minimum = 1;
        config.maximum = type(uint128).max;
        config.deviationBps = deviation;
        source = new ChainlinkSource(config);
    }

    function _expectNone(OracleRouter router) private view {
        (uint256 low, uint256 high, Status status) = router.value(weth, usdc, 1e18);
        assertEq(low, 0);
        assertEq(high, type(uint256).max);
        assertEq(uint256(status), uint256(Status.UNAVAILABLE));
    }
}
