// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Accounting, IVault, Params} from "../src/interfaces/IVault.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title Settlements and mark-downs without a keeper
contract UnattendedTest is ChangedParams {
    address private stranger = makeAddr("stranger");
    address private carol = makeAddr("carol");

    /// @dev 1,000 in the vault: 200 idle, 800 at work.
    function setUp() public override {
        super.setUp();
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 600 * UNIT);
        supply(B, 200 * UNIT);
        settle();
    }

    // WHEN IT IS REFUSED

    function test_an_open_epoch_is_not_settled() public {
        skip(4 days);
        announceAndWait();
        uint256 epoch = vault.accounting().settledEpoch + 1;
        vm.expectRevert(abi.encodeWithSelector(IVault.EpochNotClosed.selector, epoch, epoch));
        settleUnattended();
    }

    function test_the_keeper_has_three_days() public {
        requestRedeem(alice, 100e12);
        uint256 closedAt = closeAnEpoch();
        vm.warp(closedAt + 3 days - 1 hours);
        portfolio.announce();
        vm.warp(closedAt + 3 days - 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.StillAttended.selector, closedAt + 3 days));
        settleUnattended();
        vm.warp(closedAt + 3 days);
        settleUnattended();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    function test_without_an_announcement_it_is_refused() public {
        closeAnEpoch();
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, 24 hours));
        settleUnattended();
    }

    function test_class_O_the_readings_lie_half_an_hour_to_a_day_apart() public {
        uint256 at = closeAnEpoch() + 3 days;
        vm.warp(at);
        portfolio.announce();
        vm.warp(at + 30 minutes - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        settleUnattended();
        vm.warp(at + 24 hours + 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, at + 24 hours));
        settleUnattended();
        vm.warp(at + 24 hours);
        settleUnattended();
    }

    /// @dev The wait is longer than an announcement stands.
    function test_a_reading_from_before_the_close_is_refused() public {
        portfolio.announce();
        uint256 at = block.timestamp;
        closeAnEpoch();
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, at + 24 hours));
        settleUnattended();
    }

    // WHAT IT DOES

    function test_deposits_roll_and_may_be_cancelled() public {
        requestDeposit(carol, 100 * UNIT);
        requestRedeem(alice, 100e12);
        unattended();
        assertEq(vault.maxDeposit(carol), 0);
        assertEq(vault.pendingDepositRequest(0, carol), 100 * UNIT);
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
        vm.startPrank(carol);
        vault.cancelDepositRequest(0, carol);
        assertEq(vault.claimCancelDepositRequest(0, carol, carol), 100 * UNIT);
        vm.stopPrank();
    }

    function test_a_rolled_deposit_is_priced_by_the_next_settlement_of_the_keeper() public {
        requestDeposit(carol, 100 * UNIT);
        unattended();
        settle();
        assertEq(vault.maxMint(carol), 100e12);
    }

    function test_there_is_a_management_fee_and_no_performance_fee() public {
        Params memory p = defaultParams();
        (p.managementFee, p.performanceFee) = (0.05e18, 0.3e18);
        changeParams(p);
        settle();
        uint256 had = vault.balanceOf(feeRecipient);
        Accounting memory before = vault.accounting();
        connector.setHeld(A, 700 * UNIT);
        unattended();
        uint256 fraction = 0.05e18 * (block.timestamp - before.accruedAt) / 365 days;
        uint256 shares = before.totalSupply * fraction / (1e18 - fraction);
        assertGt(settledPps(), before.highWaterMark);
        assertEq(vault.balanceOf(feeRecipient) - had, shares);
        assertGt(shares, 0);
        assertEq(vault.highWaterMark(), settledPps(), "nor is it charged later");
    }

    function test_the_lower_of_two_lows_is_paid() public {
        requestRedeem(alice, 100e12);
        uint256 state = vm.snapshotState();
        unattended(550 * UNIT, 650 * UNIT);
        assertApproxEqAbs(vault.maxWithdraw(alice), 95 * UNIT, 1);
        vm.revertToState(state);
        unattended(650 * UNIT, 550 * UNIT);
        assertApproxEqAbs(vault.maxWithdraw(alice), 95 * UNIT, 1);
    }

    function test_class_O_an_impairment_in_one_reading_alone_does_not_count() public {
        requestRedeem(alice, 100e12);
        closeAnEpoch();
        skip(3 days);
        uint256 state = vm.snapshotState();
        connector.setMode(Holdings.Mode.REVERT);
        announceAndWait();
        connector.setMode(Holdings.Mode.HONEST);
        settleUnattended();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
        vm.revertToState(state);
        announceAndWait();
        connector.setMode(Holdings.Mode.REVERT);
        settleUnattended();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    function test_an_impairment_in_both_opens_a_loss_window_and_a_later_pair_settles() public {
        requestRedeem(alice, 100e12);
        connector.setMode(Holdings.Mode.REVERT);
        unattended();
        uint256 endsAt = vault.accounting().windowEndsAt;
        assertEq(endsAt, block.timestamp + 1 days);
        assertEq(vault.maxRedeem(alice), 0);
        connector.setMode(Holdings.Mode.HONEST);
        skip(1 days);
        vm.expectPartialRevert(IPortfolio.Expired.selector);
        settleUnattended();
        announceAndWait();
        settleUnattended();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    function test_class_Q_a_keeper_who_only_runs_batches_cannot_stop_it() public {
        requestRedeem(alice, 100e12);
        closeAnEpoch();
        portfolio.announce();
        skip(3 days);
        portfolio.announce();
        // It has changed its own positions, taken back nonces, and tries to leave nothing to pay with.
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 50 * UNIT)))));
        portfolio.cancelNonce(0);
        Batch memory starving = batch(oneCall(200 * UNIT, abi.encodeCall(Holdings.supply, (B, 200 * UNIT))));
        vm.expectPartialRevert(IPortfolio.ExitsOverdue.selector);
        portfolio.execute(starving);
        skip(30 minutes);
        vm.expectPartialRevert(IPortfolio.AnnouncementStands.selector);
        portfolio.announce();
        settleUnattended();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
        assertEq(vault.totalAssets(), 900 * UNIT);
    }

    // EVERYBODY OUT

    function test_D_15_everybody_gets_out_of_a_vault_whose_keeper_is_dead() public {
        bury();
        requestDeposit(carol, 100 * UNIT);
        requestRedeem(alice, 500e12);
        requestRedeem(bob, 500e12);
        skip(1 hours);
        vm.startPrank(stranger);
        vault.closeEpoch();
        skip(2 days + 1);
        free(A);
        free(B);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        vault.settleUnattended();
        vm.stopPrank();
        leave(alice);
        leave(bob);
        vm.startPrank(carol);
        vault.cancelDepositRequest(0, carol);
        vault.claimCancelDepositRequest(0, carol, carol);
        vm.stopPrank();
        assertEq(token.balanceOf(alice), 500 * UNIT);
        assertEq(token.balanceOf(bob), 500 * UNIT);
        assertEq(token.balanceOf(carol), 100 * UNIT);
        assertEq(vault.totalSupply(), 0);
        assertEq(token.balanceOf(address(escrow)), 0);
    }

    /// @dev What is owed at the last settled price falls short of a gain since: the next round brings the rest.
    function test_D_15_a_gain_that_nobody_settled_takes_one_more_round() public {
        bury();
        token.mint(address(connector), 100 * UNIT);
        connector.setHeld(A, 700 * UNIT);
        requestRedeem(alice, 500e12);
        requestRedeem(bob, 500e12);
        for (uint256 round; round < 2; ++round) {
            skip(1 hours);
            vm.startPrank(stranger);
            vault.closeEpoch();
            skip(3 days);
            free(A);
            free(B);
            portfolio.announce();
            skip(30 minutes);
            vault.settleUnattended();
            vm.stopPrank();
        }
        leave(alice);
        leave(bob);
        assertApproxEqAbs(token.balanceOf(alice), 550 * UNIT, 2);
        assertApproxEqAbs(token.balanceOf(bob), 550 * UNIT, 2);
    }

    // MARKING DOWN

    function test_anyone_marks_down_to_the_lower_of_two_readings() public {
        connector.setHeld(A, 550 * UNIT);
        portfolio.announce();
        connector.setHeld(A, 580 * UNIT);
        skip(30 minutes);
        vm.expectEmit(address(vault));
        emit IVault.MarkedDown(950 * UNIT);
        markDown();
        assertEq(vault.totalAssets(), 950 * UNIT);
        connector.setHeld(A, 540 * UNIT);
        markDown();
        assertEq(vault.totalAssets(), 940 * UNIT);
    }

    function test_marking_down_never_raises() public {
        announceAndWait();
        bytes memory reason =
            abi.encodeWithSelector(IVault.NothingToMarkDown.selector, 1000 * UNIT, 1000 * UNIT);
        vm.expectRevert(reason);
        markDown();
        connector.setHeld(A, 900 * UNIT);
        vm.expectRevert(reason);
        markDown();
        connector.setHeld(A, 590 * UNIT);
        markDown();
        connector.setHeld(A, 595 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToMarkDown.selector, 990 * UNIT, 995 * UNIT));
        markDown();
    }

    function test_class_O_one_unreadable_moment_marks_nothing_down() public {
        connector.setMode(Holdings.Mode.REVERT);
        announceAndWait();
        connector.setMode(Holdings.Mode.HONEST);
        vm.expectPartialRevert(IVault.NothingToMarkDown.selector);
        markDown();
        skip(1 days);
        announceAndWait();
        connector.setMode(Holdings.Mode.REVERT);
        vm.expectPartialRevert(IVault.NothingToMarkDown.selector);
        markDown();
    }

    function test_marking_down_moves_no_price() public {
        requestRedeem(alice, 100e12);
        closeEpoch();
        announceAndWait();
        Accounting memory before = vault.accounting();
        connector.setHeld(A, 300 * UNIT);
        markDown();
        connector.setHeld(A, 600 * UNIT);
        Accounting memory marked = vault.accounting();
        assertEq(marked.storedNav, 700 * UNIT);
        marked.storedNav = before.storedNav;
        assertEq(keccak256(abi.encode(marked)), keccak256(abi.encode(before)));
        vault.settle(settlement());
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
        assertEq(vault.totalAssets(), 900 * UNIT);
    }

    function test_marking_down_needs_two_readings() public {
        vm.expectPartialRevert(IPortfolio.Expired.selector);
        markDown();
        portfolio.announce();
        vm.expectPartialRevert(IPortfolio.TooEarly.selector);
        markDown();
    }

    function test_class_G_neither_is_done_in_the_middle_of_something() public {
        closeAnEpoch();
        skip(3 days);
        announceAndWait();
        connector.setHeld(A, 590 * UNIT);
        vm.startPrank(address(portfolio));
        vault.lock();
        vm.expectRevert(IPortfolio.Locked.selector);
        vault.markDown();
        vm.expectRevert(IVault.Reentered.selector);
        vault.settleUnattended();
        vault.unlock();
        vm.stopPrank();
        markDown();
        settleUnattended();
    }

    function closeAnEpoch() private returns (uint256) {
        skip(1 hours);
        vault.closeEpoch();
        return block.timestamp;
    }

    function announceAndWait() private {
        portfolio.announce();
        skip(30 minutes);
    }

    function settleUnattended() private {
        vm.prank(stranger);
        vault.settleUnattended();
    }

    function unattended() private {
        unattended(connector.held(A), connector.held(A));
    }

    /// @dev With `first` in position A at the announcement, and `second` at the settlement.
    function unattended(uint256 first, uint256 second) private {
        closeAnEpoch();
        skip(3 days);
        connector.setHeld(A, first);
        announceAndWait();
        connector.setHeld(A, second);
        settleUnattended();
    }

    function markDown() private {
        vm.prank(stranger);
        vault.markDown();
    }

    /// @dev No key is known for the new keeper.
    function bury() private {
        govern(abi.encodeCall(registry.setKeeper, (address(vault), address(0xdead))));
    }

    /// @dev As much as there is, and not more than is owed.
    function free(bytes32 key) private {
        uint256 held = connector.held(key);
        if (held != 0) portfolio.forceDeallocate(address(connector), key, held);
    }

    function leave(address user) private {
        uint256 shares = vault.maxRedeem(user);
        vm.prank(user);
        vault.redeem(shares, user, user);
    }
}
