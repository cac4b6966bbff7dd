// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {PriceAggregator} from "../devnet/PriceAggregator.sol";
import {PriceFeedProxy} from "../devnet/PriceFeedProxy.sol";
import {SequencerUptimeFeed} from "../devnet/SequencerUptimeFeed.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";

/// @dev Takes about so much gas for every answer.
contract SlowFeed {
    uint8 public constant decimals = 8;
    uint256 private immutable spent;

    constructor(uint256 spent_) {
        spent = spent_;
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(7);
    }

    function getRoundData(uint80 id) public view returns (uint80, int256, uint256, uint256, uint80) {
        uint256 until = gasleft() - spent;
        while (gasleft() > until) {}
        return (id, 3000e8, 1, block.timestamp, id);
    }
}

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
        aggregator.push(2990e8);
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

    function testFuzz_class_U_D_14_the_price_does_not_depend_on_the_feeds_decimals(uint8 decimals) public {
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
        config.description = "BTC / USD";
        vm.expectRevert(
            abi.encodeWithSelector(ChainlinkSource.DescriptionMismatch.selector, "BTC / USD", "ETH / USD")
        );
        new ChainlinkSource(config);
        config.description = "ETH / USD";
        new ChainlinkSource(config);
    }

    /// @dev Bounds in another unit, or of another pair, show at once.
    function test_M_12_bounds_that_the_feed_is_not_inside_are_refused() public {
        ChainlinkSource.Config memory config = _config();
        (config.minimum, config.maximum) = (10e8, 100_000e8);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.NoAnswer.selector, address(proxy)));
        new ChainlinkSource(config);
        (config.minimum, config.maximum) = (3001e18, 100_000e18);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.NoAnswer.selector, address(proxy)));
        new ChainlinkSource(config);
        config = _config();
        config.aggregator = address(_aggregator(8));
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.NoAnswer.selector, config.aggregator));
        new ChainlinkSource(config);
    }

    function test_class_O_a_sequencer_comes_with_a_grace_period_and_must_be_one() public {
        ChainlinkSource.Config memory config = _config();
        config.gracePeriod = 1 hours;
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidGracePeriod.selector, 1 hours));
        new ChainlinkSource(config);
        (config.sequencer, config.gracePeriod) = (address(sequencer), 0);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidGracePeriod.selector, 0));
        new ChainlinkSource(config);
        (config.sequencer, config.gracePeriod) = (address(0xdead), 1 hours);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidSequencer.selector, address(0xdead)));
        new ChainlinkSource(config);
        // A price feed is no sequencer's.
        config.sequencer = address(proxy);
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.InvalidSequencer.selector, address(proxy)));
        new ChainlinkSource(config);
    }

    // A FROZEN FEED

    function test_class_O_rounds_that_all_give_one_answer_are_a_frozen_feed() public {
        ChainlinkSource source = _watched();
        _rounds(6, 3000e8);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK), "six hours are no more than allowed");
        _rounds(6, 3000e8);
        _expect(source, 2985e18, 3015e18, Status.CONSTANT);
        _rounds(40, 3000e8);
        _expect(source, 2985e18, 3015e18, Status.CONSTANT);
        _rounds(1, 3000e8 + 1);
        (,, status) = source.price();
        assertEq(uint256(status), uint256(Status.OK), "any other answer shows life");
    }

    /// @dev 16 rounds in each heartbeat are seen through, and no more are read.
    function test_class_O_a_frozen_feed_is_seen_as_far_back_as_the_samples_reach() public {
        ChainlinkSource source = _watched();
        _rounds(113, 3000e8, 225);
        _expect(source, 2985e18, 3015e18, Status.CONSTANT);
        _rounds(225, 3000e8, 112);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_an_answer_that_moved_and_came_back_is_not_frozen() public {
        ChainlinkSource source = _watched();
        _rounds(8, 3000e8);
        _rounds(1, 3001e8);
        _rounds(1, 3000e8);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
    }

    /// @dev A feed without rounds is late, which is another fault than frozen.
    function test_class_O_a_feed_without_new_rounds_is_stale_and_not_constant() public {
        ChainlinkSource source = _watched();
        aggregator.push(3001e8);
        vm.warp(block.timestamp + 2 hours);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.STALE));
    }

    function test_class_O_constancy_is_off_for_a_stablecoin() public {
        ChainlinkSource source = new ChainlinkSource(_config());
        _rounds(48, 3000e8);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_the_rounds_of_another_aggregator_say_nothing() public {
        ChainlinkSource source = _watched();
        _rounds(7, 3000e8);
        PriceAggregator next = _aggregator(8);
        next.push(3000e8);
        proxy.setAggregator(next);
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_a_history_that_is_gone_shows_no_life() public {
        ChainlinkSource source = _watched();
        uint80 round = uint80(proxy.latestRound());
        vm.mockCallRevert(address(proxy), abi.encodeCall(proxy.getRoundData, (round - 1)), "");
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.CONSTANT));
    }

    function test_class_T_a_history_from_the_future_reverts_nothing() public {
        ChainlinkSource source = _watched();
        uint80 round = uint80(proxy.latestRound());
        vm.mockCall(
            address(proxy),
            abi.encodeCall(proxy.getRoundData, (round - 1)),
            abi.encode(round - 1, 3000e8, 1, type(uint256).max, round - 1)
        );
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.OK));
    }

    function test_class_O_a_frozen_feed_is_found_however_many_rounds_it_writes() public {
        ChainlinkSource source = _watched();
        for (uint256 i; i < 72; ++i) {
            vm.warp(block.timestamp + 10 minutes);
            aggregator.push(3000e8);
        }
        (,, Status status) = source.price();
        assertEq(uint256(status), uint256(Status.CONSTANT));
    }

    function test_class_O_constancy_within_a_heartbeat_or_beyond_the_history_is_refused() public {
        ChainlinkSource.Config memory config = _config();
        uint256[2] memory wrong = [uint256(1 hours), 32 hours + 1];
        for (uint256 i; i < 2; ++i) {
            config.constantAfter = wrong[i];
            vm.expectRevert(
                abi.encodeWithSelector(
                    ChainlinkSource.InvalidConstancy.selector, wrong[i], 1 hours + 1, 32 hours
                )
            );
            new ChainlinkSource(config);
        }
    }

    function test_class_O_constancy_of_a_feed_without_history_is_refused() public {
        vm.mockCallRevert(address(proxy), abi.encodeWithSelector(proxy.getRoundData.selector), "");
        vm.expectRevert(abi.encodeWithSelector(ChainlinkSource.NoHistory.selector, address(proxy)));
        _watched();
    }

    /// @dev By chance of what the transaction that makes the source has read, it may fit.
    function test_class_T_a_slow_feed_is_taken_within_its_gas() public {
        ChainlinkSource.Config memory config = _config();
        config.aggregator = address(new SlowFeed(18_000));
        new ChainlinkSource(config);
    }

    function test_class_T_a_feed_that_needs_nearly_all_its_gas_is_refused() public {
        ChainlinkSource.Config memory config = _config();
        config.aggregator = address(new SlowFeed(22_000));
        vm.expectPartialRevert(ChainlinkSource.FeedTooDear.selector);
        new ChainlinkSource(config);
        config = _config();
        (config.sequencer, config.gracePeriod) = (address(new SlowFeed(22_000)), 1 hours);
        vm.expectPartialRevert(ChainlinkSource.FeedTooDear.selector);
        new ChainlinkSource(config);
        config = _config();
        (config.aggregator, config.constantAfter) = (address(new SlowFeed(12_000)), 6 hours);
        vm.expectPartialRevert(ChainlinkSource.FeedTooDear.selector);
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

    function _watched() private returns (ChainlinkSource) {
        ChainlinkSource.Config memory config = _config();
        config.constantAfter = 6 hours;
        return new ChainlinkSource(config);
    }

    /// @dev One round an hour.
    function _rounds(uint256 count, int256 answer) private {
        _rounds(count, answer, 1 hours);
    }

    function _rounds(uint256 count, int256 answer, uint256 apart) private {
        for (uint256 i; i < count; ++i) {
            vm.warp(block.timestamp + apart);
            aggregator.push(answer);
        }
    }

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
        other.push(3000e8);
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
