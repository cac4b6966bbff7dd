// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {PriceFeedProxy} from "../devnet/PriceFeedProxy.sol";
import {SequencerUptimeFeed} from "../devnet/SequencerUptimeFeed.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";

contract ChainlinkSourceTest is Test {
    address private constant ETHER = address(1);
    address private constant USD = address(840);

    PriceAggregator private aggregator;
    PriceFeedProxy private proxy;
    SequencerUptimeFeed private sequencer;

    function setUp() public {
        vm.warp(1_000_000);
        aggregator = _aggregator(8);
        proxy = new PriceFeedProxy(aggregator, address(this));
        aggregator.push(3000e8);
        sequencer = new SequencerUptimeFeed(address(this));
        vm.warp(1_010_000);
        aggregator.push(3000e8);
    }

    function test_a_fresh_round_is_a_range_of_its_deviation() public {
        _expect(new ChainlinkSource(_config()), 2985e18, 3015e18, Status.OK);
    }

    // CLASS O: EVERY FAULT OF A FEED

    function test_M_07_a_round_older_than_its_own_heartbeat_is_stale() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        vm.warp(block.timestamp + 3600);
        _expect(source, 2985e18, 3015e18, Status.OK);
        vm.warp(block.timestamp + 1);
        _expect(source, 2985e18, 3015e18, Status.STALE);
    }

    function test_M_42_every_feed_has_its_own_heartbeat() public {
        ChainlinkSource.Config memory config = _config();
        config.heartbeat = 1 days;
        ChainlinkSource slow = new ChainlinkSource(config);
        ChainlinkSource fast = new ChainlinkSource(_config());
        vm.warp(block.timestamp + 2 hours);
        _expect(slow, 2985e18, 3015e18, Status.OK);
        _expect(fast, 2985e18, 3015e18, Status.STALE);
    }

    function test_M_12_an_answer_out_of_bounds_is_no_price() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        aggregator.push(100_000e8 + 1);
        _expectNone(source);
        aggregator.push(100_000e8);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
        aggregator.push(10e8 - 1);
        _expectNone(source);
    }

    function test_class_O_an_answer_that_is_not_positive_is_no_price() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        aggregator.push(0);
        _expectNone(source);
        aggregator.push(-3000e8);
        _expectNone(source);
        aggregator.push(type(int256).max);
        _expectNone(source);
        aggregator.push(type(int256).min);
        _expectNone(source);
    }

    function test_class_O_a_round_without_a_time_or_from_the_future_is_no_price() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        aggregator.pushRound(3000e8, 0, 0);
        _expectNone(source);
        uint64 next = uint64(block.timestamp) + 1;
        aggregator.pushRound(3000e8, next, next);
        _expectNone(source);
    }

    function test_class_O_a_feed_that_reverts_is_no_price() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        proxy.setAggregator(_aggregator(8));
        _expectNone(source);
    }

    function test_class_O_a_feed_without_code_is_no_price() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        vm.etch(address(proxy), "");
        _expectNone(source);
    }

    function test_class_O_a_sequencer_that_is_down_or_just_back_degrades() public {
        ChainlinkSource.Config memory config = _config();
        config.sequencer = address(sequencer);
        config.gracePeriod = 1 hours;
        ChainlinkSource source = new ChainlinkSource(config);
        _expect(source, 2985e18, 3015e18, Status.OK);
        sequencer.report(true);
        _expect(source, 2985e18, 3015e18, Status.SEQUENCER_DOWN);
        sequencer.report(false);
        vm.warp(block.timestamp + 1 hours);
        aggregator.push(3000e8);
        _expect(source, 2985e18, 3015e18, Status.SEQUENCER_DOWN);
        vm.warp(block.timestamp + 1);
        _expect(source, 2985e18, 3015e18, Status.OK);
    }

    // THE SECOND SOURCE

    function test_class_O_the_range_covers_both_sources() public {
        (ChainlinkSource source, PriceAggregator other) = _withSecond();
        other.push(3040e8);
        _expect(source, 2985e18, 3040e18, Status.OK);
        other.push(2960e8);
        _expect(source, 2960e18, 3015e18, Status.OK);
    }

    function test_class_O_sources_too_far_apart_diverge() public {
        (ChainlinkSource source, PriceAggregator other) = _withSecond();
        other.push(3060e8);
        _expect(source, 2985e18, 3060e18, Status.OK);
        other.push(3060e8 + 1);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.DIVERGED));
        other.push(1800e8);
        _expect(source, 1800e18, 3015e18, Status.DIVERGED);
    }

    function test_class_O_a_second_source_without_a_price_confirms_nothing() public {
        (ChainlinkSource source, PriceAggregator other) = _withSecond();
        other.push(0);
        _expect(source, 2985e18, 3015e18, Status.DIVERGED);
    }

    function test_class_O_a_second_source_that_is_gone_confirms_nothing() public {
        (ChainlinkSource source,) = _withSecond();
        vm.etch(address(source.crossCheck()), "");
        _expect(source, 2985e18, 3015e18, Status.DIVERGED);
        vm.etch(address(source.crossCheck()), hex"fe");
        _expect(source, 2985e18, 3015e18, Status.DIVERGED);
    }

    // CLASS U: DECIMALS OF THE FEED

    function testFuzz_class_U_the_price_does_not_depend_on_the_feeds_decimals(uint8 decimals) public {
        decimals = uint8(bound(decimals, 0, 27));
        PriceAggregator other = _aggregator(decimals);
        other.push(int256(3000 * 10 ** uint256(decimals)));
        ChainlinkSource.Config memory config = _config();
        config.aggregator = address(other);
        _expect(new ChainlinkSource(config), 2985e18, 3015e18, Status.OK);
    }

    function test_class_U_digits_beyond_wad_are_rounded_outwards() public {
        PriceAggregator other = _aggregator(27);
        other.push(int256(3000e27 + 1));
        ChainlinkSource.Config memory config = _config();
        (config.aggregator, config.deviationBps) = (address(other), 0);
        _expect(new ChainlinkSource(config), 3000e18, 3000e18 + 1, Status.OK);
    }

    // CONFIGURATION ERRORS

    function test_class_O_a_wrong_configuration_is_refused() public {
        ChainlinkSource.Config memory config = _config();
        config.aggregator = address(0xdead);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.UnknownDecimals.selector, address(0xdead)));
        new ChainlinkSource(config);

        config = _config();
        config.quote = ETHER;
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidPair.selector, ETHER, ETHER));
        new ChainlinkSource(config);

        config = _config();
        config.heartbeat = 0;
        vm.expectRevert(ChainlinkSource.InvalidHeartbeat.selector);
        new ChainlinkSource(config);

        config = _config();
        config.minimum = 0;
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidBounds.selector, 0, config.maximum));
        new ChainlinkSource(config);

        config = _config();
        config.deviationBps = 10_000;
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidDeviation.selector, 10_000));
        new ChainlinkSource(config);

        config = _config();
        config.sequencer = address(0xdead);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidSequencer.selector, address(0xdead)));
        new ChainlinkSource(config);
    }

    function test_class_O_a_second_source_of_another_pair_is_refused() public {
        ChainlinkSource.Config memory config = _config();
        config.base = address(2);
        ChainlinkSource other = new ChainlinkSource(config);
        config = _config();
        (config.crossCheck, config.toleranceBps) = (other, 200);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.PairMismatch.selector, address(other)));
        new ChainlinkSource(config);
    }

    function test_class_O_a_tolerance_of_nothing_or_everything_is_refused() public {
        ChainlinkSource.Config memory config = _config();
        config.crossCheck = new ChainlinkSource(config);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidDeviation.selector, 0));
        new ChainlinkSource(config);
        config.toleranceBps = 10_000;
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidDeviation.selector, 10_000));
        new ChainlinkSource(config);
    }

    // STEPS

    function _aggregator(uint8 decimals) private returns (PriceAggregator) {
        return new PriceAggregator(decimals, "ETH / USD", address(this));
    }

    function _config() private view returns (ChainlinkSource.Config memory config) {
        config.base = ETHER;
        config.quote = USD;
        config.aggregator = address(proxy);
        config.heartbeat = 1 hours;
        config.minimum = 10e18;
        config.maximum = 100_000e18;
        config.deviationBps = 50;
    }

    /// @dev The second source is another feed of the same pair, without a deviation of its own.
    function _withSecond() private returns (ChainlinkSource source, PriceAggregator other) {
        other = _aggregator(8);
        ChainlinkSource.Config memory config = _config();
        (config.aggregator, config.deviationBps) = (address(other), 0);
        IPriceSource second = new ChainlinkSource(config);
        config = _config();
        (config.crossCheck, config.toleranceBps) = (second, 200);
        source = new ChainlinkSource(config);
    }

    function _expect(ChainlinkSource source, uint256 low, uint256 high, Status status) private view {
        (uint256 seenLow, uint256 seenHigh, Status seen) = source.price();
        assertEq(seenLow, low, "low");
        assertEq(seenHigh, high, "high");
        assertEq(uint256(seen), uint256(status), "status");
    }

    function _expectNone(ChainlinkSource source) private view {
        _expect(source, 0, type(uint256).max, Status.UNAVAILABLE);
    }
}
