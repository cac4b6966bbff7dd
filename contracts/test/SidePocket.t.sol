// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {PocketTest} from "./PocketTest.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {SharedHoldings} from "./fixtures/SharedHoldings.sol";

/// @title An impaired position, split off: what NAV sees, and what comes out of it
contract SidePocketTest is PocketTest {
    // SPLITTING OFF

    function test_guardian_and_governor_alone_split_off() public {
        impairTwice();
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotAuthorised.selector, stranger));
        vm.prank(stranger);
        portfolio.splitOff(address(connector), A);
        uint256 snapshot = vm.snapshotState();
        vm.prank(guardian);
        portfolio.splitOff(address(connector), A);
        vm.revertToState(snapshot);
        vm.expectEmit();
        emit IPortfolio.SplitOff(1, address(connector), A);
        portfolio.splitOff(address(connector), A);
        (address connector_, uint64 since, bytes32 key, uint128 cash) = portfolio.pocket();
        assertEq(connector_, address(connector));
        assertEq(since, block.timestamp);
        assertEq(key, A);
        assertEq(cash, 0);
        assertEq(vault.pockets(), 1);
    }

    function test_class_O_one_reading_splits_nothing_off() public {
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.REVERT);
        refusedAsSound();
        skip(1 days);
        portfolio.announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        skip(30 minutes);
        refusedAsSound();
    }

    function test_the_readings_lie_half_an_hour_to_a_day_apart() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        uint256 at = block.timestamp;
        skip(30 minutes - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        portfolio.splitOff(address(connector), A);
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, at + 1 days));
        portfolio.splitOff(address(connector), A);
    }

    /// @dev A batch inside a flash loan finds what it likes; only what the announcement itself read counts.
    function test_class_O_an_impairment_that_a_batch_saw_is_no_reading() public {
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        refusedAsSound();
    }

    function test_a_batch_does_not_keep_an_impaired_position_from_being_split_off() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        connector.setMode(A, Holdings.Mode.REVERT);
        skip(30 minutes);
        portfolio.splitOff(address(connector), A);
    }

    function test_a_doubtful_position_that_counts_is_not_split_off() public {
        connector.setMode(A, Holdings.Mode.DEGRADED);
        portfolio.announce();
        skip(30 minutes);
        refusedAsSound();
    }

    function test_unlisted_positions_and_changed_lists_are_refused() public {
        impairTwice();
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotListed.selector, address(connector), bytes32("c"))
        );
        portfolio.splitOff(address(connector), "c");
        registry.unlistPosition(address(vault), address(other), B);
        vm.expectRevert(IPortfolio.PositionsChanged.selector);
        portfolio.splitOff(address(connector), A);
    }

    function test_one_position_at_a_time() public {
        connector.setMode(Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(connector), A);
        bytes memory reason = abi.encodeWithSelector(IPortfolio.PocketIsOpen.selector, address(connector), A);
        vm.expectRevert(reason);
        portfolio.splitOff(address(connector), B);
        vm.expectRevert(reason);
        portfolio.splitOff(address(connector), A);
    }

    // WHAT NAV SEES

    function test_nav_leaves_it_out_whatever_it_reports() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        connector.setHeld(A, 1_000_000 * UNIT);
        assertNav(700 * UNIT, 1000 * UNIT);
        (Value memory value, bool healthy) = portfolio.positionValue(address(connector), A);
        assertEq(value.low, 0);
        assertEq(value.high, 300 * UNIT);
        assertFalse(healthy);
        assertEq(portfolio.exposures(RISK), 300 * UNIT);
    }

    /// @dev The announcement that a settlement without the quorum rests on reads it; NAV must not.
    function test_two_readings_leave_it_out_in_all_orders() public {
        split();
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        assertTwo(700 * UNIT);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.REVERT);
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        portfolio.closePocket();
        // The first reading of it is a sound one: nothing counts twice, nothing is missing.
        assertTwo(1000 * UNIT);
    }

    function test_deposits_wait_and_then_pay_for_what_came_back() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        requestDeposit(stranger, 100 * UNIT);
        settle();
        assertEq(vault.maxMint(stranger), 0);
        close();
        settle();
        assertEq(vault.maxMint(stranger), 100 * UNIT * 1e6);
    }

    function test_a_split_marks_down_and_never_up() public {
        split();
        vault.markDown();
        assertEq(vault.totalAssets(), 700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        assertEq(vault.totalAssets(), 700 * UNIT);
        skip(30 minutes);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToMarkDown.selector, 700 * UNIT, 1000 * UNIT));
        vault.markDown();
    }

    // WHAT COMES OUT

    function test_what_comes_out_is_beside_nav_and_nobody_takes_it() public {
        split();
        uint256 idle = portfolio.idle();
        vm.expectEmit();
        emit IPortfolio.PocketFilled(30 * UNIT);
        withdrawPocketed(30 * UNIT);
        assertEq(portfolio.idle(), idle);
        assertEq(cashOf(), 30 * UNIT);
        assertNav(700 * UNIT, 1000 * UNIT);
        bytes memory data = abi.encodeCall(portfolio.skim, (token, stranger));
        registry.submit(address(vault), address(portfolio), data);
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NothingToSkim.selector, address(token)));
        portfolio.skim(token, stranger);
    }

    function test_what_a_neighbour_gives_is_idle() public {
        supply(connector, B, 50 * UNIT);
        split();
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (B, 50 * UNIT)))));
        assertEq(portfolio.idle(), 600 * UNIT);
        assertEq(cashOf(), 0);
    }

    /// @dev What comes out must not make up for what a neighbour loses in the same call.
    function test_what_comes_out_hides_no_loss() public {
        SharedHoldings leaking = _leaking();
        leaking.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(leaking), A);
        leaking.willTake(B, 20 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(leaking, 0, abi.encodeCall(Holdings.withdraw, (A, 50 * UNIT)));
        Batch memory b = batch(calls);
        b.maxLoss = 20 * UNIT - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 20 * UNIT, 20 * UNIT - 1));
        portfolio.execute(b);
    }

    function test_nothing_goes_in_and_nothing_else_comes_out() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        bytes memory impaired =
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A);
        Batch memory b = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))));
        vm.expectRevert(impaired);
        portfolio.execute(b);
        b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 2 * UNIT, UNIT))));
        vm.expectRevert(impaired);
        portfolio.execute(b);
        b = batch(
            both(
                callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT))),
                callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))
            )
        );
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, address(connector), A));
        portfolio.execute(b);
    }

    function test_overdue_exits_force_nothing_out_of_it() public {
        supply(other, A, 600 * UNIT);
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        closeEpoch();
        skip(2 days + 1);
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A));
        portfolio.forceDeallocate(address(connector), A, UNIT);
        // Emptying it passes although exits are overdue: it takes on no risk.
        withdrawPocketed(UNIT);
        assertEq(cashOf(), UNIT);
    }

    // STEPS

    function refusedAsSound() private {
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A)
        );
        portfolio.splitOff(address(connector), A);
    }

    function assertTwo(uint256 low) private view {
        (Value memory nav, bool healthy,) = portfolio.twoReadings();
        assertEq(nav.low, low);
        assertEq(healthy, low == 1000 * UNIT);
    }

    function _leaking() private returns (SharedHoldings leaking) {
        leaking = new SharedHoldings(address(portfolio), token);
        for (uint256 i; i < 2; ++i) {
            govern(
                abi.encodeCall(
                    registry.listPosition,
                    (address(vault), address(leaking), i == 0 ? A : B, only("protocol:leaking"))
                )
            );
        }
        govern(abi.encodeCall(registry.setCap, (address(vault), "protocol:leaking", 1000 * UNIT)));
        allowAll(leaking);
        supply(leaking, A, 100 * UNIT);
        supply(leaking, B, 100 * UNIT);
    }
}
