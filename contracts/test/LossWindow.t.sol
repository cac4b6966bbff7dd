// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Accounting, IVault, Params} from "../src/interfaces/IVault.sol";
import {Settlement} from "../src/interfaces/Types.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title The day in which a fallen price may be left
contract LossWindowTest is ChangedParams {
    address private carol = makeAddr("carol");
    uint256 private constant HELD = 800 * UNIT;

    /// @dev NAV is 10^9 - 1 units, so that with the virtual unit tenths and hundredths of the price are exact.
    function setUp() public override {
        super.setUp();
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT - 1);
        supply(A, HELD);
        settle();
        assertEq(settledPps(), PPS_START);
    }

    // WHEN ONE OPENS

    function test_a_fall_of_exactly_ten_per_cent_is_settled_at_once() public {
        requestRedeem(alice, 100e12);
        connector.setHeld(A, HELD - 100 * UNIT);
        settle();
        assertEq(vault.accounting().windowEndsAt, 0);
        assertEq(vault.maxWithdraw(alice), 90 * UNIT);
    }

    function test_a_fall_of_one_unit_more_opens_a_window() public {
        requestRedeem(alice, 100e12);
        connector.setHeld(A, HELD - 100 * UNIT - 1);
        closeEpoch();
        Settlement memory terms = settlement();
        uint256 pps = uint256(900 * UNIT - 1) * 1e27 / 1e15;
        vm.expectEmit(address(vault));
        emit IVault.LossWindowOpened(terms.epoch, pps, block.timestamp + 1 days);
        vault.settle(terms);
        assertEq(vault.accounting().windowPps, pps);
        assertEq(vault.accounting().windowEndsAt, block.timestamp + 1 days);
        assertEq(vault.maxWithdraw(alice), 0);
    }

    function test_while_a_position_is_unreadable_one_per_cent_is_tolerated_and_not_more() public {
        requestRedeem(alice, 100e12);
        supply(B, 10 * UNIT);
        connector.setMode(B, Holdings.Mode.REVERT);
        uint256 state = vm.snapshotState();
        settle();
        assertEq(vault.accounting().windowEndsAt, 0);
        assertEq(vault.maxWithdraw(alice), 99 * UNIT);
        vm.revertToState(state);
        connector.setMode(B, Holdings.Mode.HONEST);
        supply(B, 1);
        connector.setMode(B, Holdings.Mode.REVERT);
        settle();
        assertEq(vault.accounting().windowEndsAt, block.timestamp + 1 days);
        assertEq(vault.maxWithdraw(alice), 0);
    }

    /// @dev What is doubtful, too: it is read, but not believed.
    function test_a_doubtful_position_counts_as_unreadable() public {
        requestRedeem(alice, 100e12);
        connector.setMode(Holdings.Mode.DEGRADED);
        connector.setHeld(A, HELD - 10 * UNIT - 1);
        settle();
        assertEq(vault.accounting().windowEndsAt, block.timestamp + 1 days);
    }

    function test_without_a_queue_there_is_no_window() public {
        requestDeposit(carol, 100 * UNIT);
        connector.setHeld(A, HELD / 2);
        settle();
        assertEq(vault.accounting().windowEndsAt, 0);
        assertEq(vault.totalAssets(), 700 * UNIT - 1);
        assertEq(vault.maxDeposit(carol), 100 * UNIT);
    }

    // WHAT MOVES AT THE OPENING

    function test_class_N_nothing_moves_at_the_opening() public {
        Params memory p = defaultParams();
        (p.managementFee, p.performanceFee, p.exitFee) = (0.05e18, 0.3e18, 0.01e18);
        changeParams(p);
        settle();
        requestRedeem(alice, 100e12);
        requestDeposit(carol, 100 * UNIT);
        closeEpoch();
        requestRedeem(bob, 50e12);
        requestDeposit(carol, 30 * UNIT);
        connector.setHeld(A, HELD / 2);
        Accounting memory before = vault.accounting();
        bytes32 holdings = balances();
        vault.settle(settlement());
        Accounting memory opened = vault.accounting();
        assertNotEq(opened.windowEndsAt, 0);
        (opened.windowPps, opened.windowEndsAt) = (0, 0);
        assertEq(keccak256(abi.encode(opened)), keccak256(abi.encode(before)), "accounting");
        assertEq(balances(), holdings, "balances");
        assertEq(vault.pendingRedeemRequest(0, alice), 100e12);
        assertEq(vault.pendingDepositRequest(0, carol), 130 * UNIT);
    }

    // INSIDE

    function test_nothing_is_settled_inside_by_anyone() public {
        requestRedeem(alice, 100e12);
        closeEpoch();
        skip(3 days);
        connector.setHeld(A, HELD / 2);
        vault.settle(settlement());
        uint256 endsAt = block.timestamp + 1 days;
        portfolio.announce();
        vm.warp(endsAt - 1);
        bytes memory reason = abi.encodeWithSelector(IVault.LossWindowOpen.selector, endsAt);
        Settlement memory terms = settlement();
        vm.expectRevert(reason);
        vault.settle(terms);
        vm.expectRevert(reason);
        vault.settleUnattended();
        vm.expectPartialRevert(IVault.EpochNotSettled.selector);
        vault.closeEpoch();
        vm.warp(endsAt);
        vault.settle(terms);
        assertEq(vault.accounting().settledEpoch, terms.epoch);
    }

    function test_class_Q_whoever_is_in_the_queue_may_leave_inside() public {
        requestRedeem(alice, 100e12);
        openWindow(HELD / 2);
        skip(1 days - 1);
        cancelRedeem(alice, alice);
        vm.prank(alice);
        vault.claimCancelRedeemRequest(0, alice, alice);
        assertEq(vault.balanceOf(alice), 500e12);
        assertEq(vault.accounting().queuedShares, 0);
        skip(1);
        vault.settle(settlement());
        assertEq(vault.maxRedeem(alice), 0);
        assertEq(vault.totalSupply(), 1e15 - 1e6, "nothing was burned");
    }

    function test_class_Q_also_who_was_filled_in_part_and_by_an_operator() public {
        requestRedeem(alice, 300e12);
        requestRedeem(bob, 100e12);
        settle();
        uint256 filled = vault.maxRedeem(bob);
        uint256 pending = vault.pendingRedeemRequest(0, bob);
        assertApproxEqAbs(filled, 50e12, 1e6);
        vm.prank(bob);
        vault.setOperator(carol, true);
        requestRedeem(bob, 10e12);
        openWindow(HELD / 2);
        requestRedeem(bob, 7e12);
        cancelRedeem(carol, bob);
        assertEq(vault.claimableCancelRedeemRequest(0, bob), pending + 17e12);
        assertEq(vault.pendingRedeemRequest(0, bob), 0);
        assertEq(vault.maxRedeem(bob), filled, "what was filled stays filled");
        cancelRedeem(alice, alice);
        assertLe(vault.accounting().queuedShares, 2, "rounding");
        skip(1 days);
        vault.settle(settlement());
        settle();
    }

    function test_class_Q_committed_deposits_may_leave_inside() public {
        requestRedeem(alice, 100e12);
        requestDeposit(carol, 100 * UNIT);
        openWindow(HELD / 2);
        vm.prank(carol);
        vault.cancelDepositRequest(0, carol);
        vm.prank(carol);
        assertEq(vault.claimCancelDepositRequest(0, carol, carol), 100 * UNIT);
        assertEq(vault.accounting().closedDeposits, 0);
        skip(1 days);
        vault.settle(settlement());
        assertEq(vault.maxDeposit(carol), 0);
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
    }

    function test_nobody_leaves_after_the_window() public {
        requestRedeem(alice, 100e12);
        requestDeposit(carol, 100 * UNIT);
        openWindow(HELD / 2);
        skip(1 days);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToCancel.selector, alice));
        vault.cancelRedeemRequest(0, alice);
        vm.prank(carol);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToCancel.selector, carol));
        vault.cancelDepositRequest(0, carol);
    }

    // WHAT IS PAID AFTERWARDS

    function test_who_stays_bears_a_further_fall() public {
        requestRedeem(alice, 100e12);
        openWindow(HELD - 200 * UNIT);
        connector.setHeld(A, HELD - 300 * UNIT);
        skip(1 days);
        vault.settle(settlement());
        assertEq(vault.maxWithdraw(alice), 70 * UNIT);
    }

    /// @dev Waiting must be no free option on a recovery, at the cost of those who stay in the vault.
    function test_class_N_who_stays_has_no_part_in_a_recovery_from_a_real_loss() public {
        requestRedeem(alice, 100e12);
        openWindow(HELD - 200 * UNIT);
        connector.setHeld(A, HELD);
        skip(1 days);
        vault.settle(settlement());
        assertEq(vault.maxWithdraw(alice), 80 * UNIT);
        assertEq(vault.totalAssets(), 920 * UNIT - 1);
    }

    /// @dev Being first gains nothing: a full queue leaves at 0.80 together, paused or not.
    function test_R_11_after_a_loss_of_a_fifth_everybody_leaves_at_the_same_price() public {
        requestRedeem(alice, 500e12);
        requestRedeem(bob, vault.balanceOf(bob));
        openWindow(HELD - 200 * UNIT);
        skip(1 days);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, HELD - 200 * UNIT)))));
        registry.pauseRisk(address(vault));
        vault.settle(settlement());
        assertApproxEqAbs(vault.maxWithdraw(alice), 400 * UNIT, 1);
        assertApproxEqAbs(vault.maxWithdraw(bob), 400 * UNIT - 1, 1);
    }

    function testFuzz_who_stays_is_paid_the_lower_price(uint256 atOpening, uint256 atEnd) public {
        requestRedeem(alice, 100e12);
        atOpening = bound(atOpening, 0, HELD - 100 * UNIT - 1);
        atEnd = bound(atEnd, 0, 2 * HELD);
        openWindow(atOpening);
        connector.setHeld(A, atEnd);
        skip(1 days);
        vault.settle(settlement());
        uint256 held = atOpening < atEnd ? atOpening : atEnd;
        uint256 pps = (held + 200 * UNIT) * 1e27 / 1e15;
        assertEq(vault.maxWithdraw(alice), 100e12 * pps / 1e27);
        assertEq(vault.maxRedeem(alice), 100e12);
    }

    function test_class_O_an_unreadable_opening_does_not_bind_the_price_later() public {
        requestRedeem(alice, 100e12);
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        assertEq(vault.accounting().windowPps, type(uint192).max);
        skip(1 days);
        connector.setMode(Holdings.Mode.HONEST);
        vault.settle(settlement());
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    /// @dev A stolen quorum calls a position unreadable to fill exits low: afterwards it is worth what it was,
    /// so that no measured loss would stop it. The exits are warned, and may go home whole.
    function test_class_O_nobody_is_filled_low_by_surprise() public {
        requestRedeem(alice, 100e12);
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        connector.setMode(Holdings.Mode.HONEST);
        assertEq(vault.maxRedeem(alice), 0);
        cancelRedeem(alice, alice);
        skip(1 days);
        connector.setMode(Holdings.Mode.REVERT);
        vault.settle(settlement());
        connector.setMode(Holdings.Mode.HONEST);
        vm.prank(alice);
        vault.claimCancelRedeemRequest(0, alice, alice);
        requestRedeem(alice, 100e12);
        settle();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT, "her shares are worth what they were");
    }

    function test_there_are_never_two_windows_in_one_epoch_but_one_in_the_next() public {
        requestRedeem(alice, 400e12);
        openWindow(HELD / 2);
        connector.setHeld(A, HELD / 4);
        skip(1 days);
        vault.settle(settlement());
        assertEq(vault.accounting().windowEndsAt, 0);
        assertEq(vault.accounting().windowPps, 0);
        assertEq(vault.maxWithdraw(alice), 160 * UNIT, "at the second price");
        requestRedeem(bob, 100e12);
        openWindow(0);
    }

    function test_what_was_paid_for_a_window_is_over_with_the_next_epoch() public {
        requestRedeem(alice, 300e12);
        openWindow(HELD - 200 * UNIT);
        connector.setHeld(A, HELD);
        skip(1 days);
        vault.settle(settlement());
        uint256 shares = vault.maxRedeem(alice);
        uint256 assets = vault.maxWithdraw(alice);
        assertApproxEqAbs(assets, shares * 8 / 1e7, 1, "idle ran out at the price of the opening");
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 200 * UNIT)))));
        settle();
        uint256 later = vault.maxWithdraw(alice) - assets;
        assertGt(later * 1e6, vault.maxRedeem(alice) - shares, "the rest at the price of now");
    }

    function test_late_joiners_are_not_in_the_capped_fill() public {
        requestRedeem(alice, 100e12);
        openWindow(HELD - 200 * UNIT);
        requestRedeem(bob, 100e12);
        connector.setHeld(A, HELD);
        skip(1 days);
        vault.settle(settlement());
        assertEq(vault.maxWithdraw(alice), 80 * UNIT);
        assertEq(vault.maxRedeem(bob), 0);
        settle();
        assertGt(vault.maxWithdraw(bob), 100 * UNIT);
        assertEq(vault.maxWithdraw(alice), 80 * UNIT);
    }

    // THE LIMIT ON GAINS

    function test_class_N_a_price_marked_down_by_an_unreadable_position_does_not_stick() public {
        Params memory p = defaultParams();
        p.maxRate = 4e9; // 12.6 % a year
        changeParams(p);
        settle();
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        connector.setMode(Holdings.Mode.HONEST);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, HELD)))));
        requestRedeem(alice, 100e12);
        settle();
        assertEq(vault.maxWithdraw(alice), 100 * UNIT, "nothing was lost");
    }

    // PRO RATA

    function testFuzz_who_leaves_takes_nothing_from_those_who_stay(uint256 a, uint256 b, uint256 held)
        public
    {
        a = bound(a, 1e12, 500e12);
        b = bound(b, 1e12, 400e12);
        vm.prank(bob);
        vault.transfer(carol, 90e12);
        requestRedeem(alice, a);
        requestRedeem(bob, b);
        requestRedeem(carol, 90e12);
        settle();
        (uint256 ofAlice, uint256 ofCarol) = (vault.maxWithdraw(alice), vault.maxWithdraw(carol));
        uint256 pendingBob = vault.pendingRedeemRequest(0, bob);
        vm.assume(pendingBob != 0);
        (uint256 restAlice, uint256 restCarol) =
            (vault.pendingRedeemRequest(0, alice), vault.pendingRedeemRequest(0, carol));
        openWindow(bound(held, 0, HELD / 2));
        cancelRedeem(bob, bob);
        assertEq(vault.claimableCancelRedeemRequest(0, bob), pendingBob);
        assertEq(vault.pendingRedeemRequest(0, alice), restAlice);
        assertEq(vault.pendingRedeemRequest(0, carol), restCarol);
        requestDeposit(carol, 100 * UNIT);
        skip(1 days);
        vault.settle(settlement());
        settle();
        (ofAlice, ofCarol) = (vault.maxWithdraw(alice) - ofAlice, vault.maxWithdraw(carol) - ofCarol);
        assertApproxEqAbs(ofAlice * restCarol, ofCarol * restAlice, 3 * (restAlice + restCarol), "pro rata");
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
    }

    function openWindow(uint256 held) private {
        connector.setHeld(A, held);
        settle();
        assertEq(vault.accounting().windowEndsAt, block.timestamp + 1 days, "no loss window");
    }

    function cancelRedeem(address sender, address controller) private {
        vm.prank(sender);
        vault.cancelRedeemRequest(0, controller);
    }

    function balances() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                token.balanceOf(address(escrow)),
                token.balanceOf(address(portfolio)),
                portfolio.idle(),
                vault.escrowed(),
                vault.balanceOf(address(vault)),
                vault.balanceOf(feeRecipient),
                vault.balanceOf(alice),
                vault.balanceOf(bob)
            )
        );
    }
}
