// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title NAV by an announced reading and one of now
contract TwoReadingsTest is VaultFixture {
    address private stranger = makeAddr("stranger");
    Holdings private other;

    function setUp() public override {
        super.setUp();
        other = addConnector("protocol:other");
        depositFor(alice, 1000 * UNIT);
        supply(connector, A, 300 * UNIT);
        supply(connector, B, 100 * UNIT);
        supply(other, A, 100 * UNIT);
        settle();
    }

    // HOW TWO BECOME ONE

    function test_the_least_low_and_the_greatest_high_count() public {
        announce();
        connector.setHeld(A, 280 * UNIT);
        other.setHeld(A, 130 * UNIT);
        assertTwo(980 * UNIT, 1030 * UNIT, true);
    }

    /// @dev A flash loan can make a market's view revert; it does not span two readings.
    function test_class_O_an_impairment_counts_only_when_both_readings_saw_it() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        connector.setHeld(A, 290 * UNIT);
        assertTwo(990 * UNIT, 990 * UNIT, true);
        connector.setMode(A, Holdings.Mode.REVERT);
        assertTwo(700 * UNIT, 1000 * UNIT, false);
    }

    function test_class_O_an_impairment_of_now_alone_leaves_the_first_reading() public {
        announce();
        connector.setHeld(A, 290 * UNIT);
        connector.setMode(A, Holdings.Mode.REVERT);
        assertTwo(1000 * UNIT, 1000 * UNIT, true);
    }

    function test_doubtful_values_in_both_readings_are_the_widest_range() public {
        connector.setMode(A, Holdings.Mode.DEGRADED);
        announce();
        connector.setHeld(A, 310 * UNIT);
        assertTwo(1000 * UNIT, 1010 * UNIT, false);
    }

    function test_idle_assets_are_those_of_now() public {
        announce();
        depositFor(bob, 50 * UNIT);
        assertTwo(1050 * UNIT, 1050 * UNIT, true);
    }

    function test_a_settlement_by_two_readings_marks_positions_at_them() public {
        announce();
        skip(1 hours);
        connector.setHeld(A, 280 * UNIT);
        other.setMode(Holdings.Mode.REVERT);
        vm.prank(address(vault));
        (Value memory nav, bool healthy) = portfolio.checkpoint(true);
        assertEq(nav.low, 980 * UNIT);
        assertEq(nav.high, 1000 * UNIT);
        assertTrue(healthy);
        assertEq(portfolio.totalLow(), 480 * UNIT);
        (uint128 low,) = portfolio.marks(address(other), A);
        assertEq(low, 100 * UNIT, "what was impaired once is marked by the other reading");
    }

    // WHEN

    function test_thirty_minutes_to_a_day_lie_between_the_readings() public {
        vm.expectPartialRevert(IPortfolio.Expired.selector);
        portfolio.twoReadings();
        uint256 at = block.timestamp;
        announce();
        vm.warp(at + 30 minutes - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        portfolio.twoReadings();
        vm.prank(address(vault));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        portfolio.checkpoint(true);
        vm.warp(at + 30 minutes);
        portfolio.twoReadings();
        vm.warp(at + 24 hours);
        portfolio.twoReadings();
        vm.warp(at + 24 hours + 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, at + 24 hours));
        portfolio.twoReadings();
    }

    /// @dev Else anyone could start the wait anew for ever, or choose the reading that suits him.
    function test_class_Q_an_announcement_stands_for_a_day() public {
        uint256 at = block.timestamp;
        announce();
        vm.warp(at + 24 hours);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.AnnouncementStands.selector, at + 24 hours));
        announce();
        vm.warp(at + 24 hours + 1);
        announce();
    }

    function test_a_changed_list_voids_an_announcement_and_makes_room_for_another() public {
        announce();
        registry.unlistPosition(address(vault), address(other), B);
        skip(1 hours);
        vm.expectRevert(IPortfolio.PositionsChanged.selector);
        portfolio.twoReadings();
        announce();
        assertTwo(1000 * UNIT, 1000 * UNIT, true);
    }

    // BATCHES IN BETWEEN

    function test_funds_that_a_batch_moves_between_the_readings_are_not_missing() public {
        announce();
        portfolio.execute(
            batch(
                both(
                    callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 300 * UNIT))),
                    callTo(other, 250 * UNIT, abi.encodeCall(Holdings.supply, (B, 250 * UNIT)))
                )
            )
        );
        assertTwo(1000 * UNIT, 1000 * UNIT, true);
    }

    function testFuzz_class_N_whatever_batches_move_between_the_readings_both_are_nav(uint256 seed) public {
        announce();
        for (uint256 i; i < 8; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            (Holdings target, bytes32 key) = (word % 2 == 0 ? connector : other, word % 3 == 0 ? A : B);
            if (word % 5 < 3) {
                supply(target, key, bound(word >> 8, 0, portfolio.idle()));
            } else {
                uint256 assets = bound(word >> 8, 0, target.held(key));
                Call memory back = callTo(target, 0, abi.encodeCall(Holdings.withdraw, (key, assets)));
                Call memory none = callTo(target, 0, abi.encodeCall(Holdings.withdraw, (key, 0)));
                portfolio.execute(batch(both(back, none)));
            }
        }
        assertTwo(1000 * UNIT, 1000 * UNIT, true);
    }

    /// @dev Neither by moving funds nor by a loss can a keeper make the range wider than what happened.
    function test_a_batch_carries_its_own_loss_into_the_first_reading() public {
        announce();
        connector.setHeld(A, 290 * UNIT);
        Batch memory b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 100 * UNIT, 3 * UNIT))));
        b.maxLoss = 3 * UNIT;
        portfolio.execute(b);
        // Ten are the market's, three the batch's.
        assertTwo(987 * UNIT, 997 * UNIT, true);
    }

    function test_a_first_reading_never_falls_below_nothing() public {
        announce();
        connector.setHeld(A, 350 * UNIT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 350 * UNIT)))));
        assertTwo(1050 * UNIT, 1050 * UNIT, true);
    }

    function test_a_batch_on_an_impaired_position_leaves_the_reading_of_now() public {
        announce();
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 100 * UNIT)))));
        assertTwo(800 * UNIT, 1100 * UNIT, false);
        connector.setMode(A, Holdings.Mode.HONEST);
        assertTwo(1000 * UNIT, 1000 * UNIT, true);
    }

    function announce() private {
        vm.prank(stranger);
        portfolio.announce();
    }

    function assertTwo(uint256 low, uint256 high, bool healthy) private {
        uint256 state = vm.snapshotState();
        skip(1 hours);
        (Value memory nav, bool seen, uint256 at) = portfolio.twoReadings();
        assertEq(nav.low, low, "low");
        assertEq(nav.high, high, "high");
        assertEq(seen, healthy, "healthy");
        assertGt(at, 0);
        vm.revertToState(state);
    }
}
