// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVault, Params} from "../src/interfaces/IVault.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

contract CancelTest is ChangedParams {
    function test_a_deposit_of_the_open_epoch_is_cancelled_and_claimed_back() public {
        requestDeposit(alice, 100 * UNIT);
        cancelDeposit(alice);
        assertEq(vault.pendingDepositRequest(0, alice), 0);
        assertEq(vault.claimableCancelDepositRequest(0, alice), 100 * UNIT);
        assertEq(token.balanceOf(alice), 0);
        assertEq(vault.escrowed(), 100 * UNIT);
        vm.prank(alice);
        assertEq(vault.claimCancelDepositRequest(0, bob, alice), 100 * UNIT);
        assertEq(token.balanceOf(bob), 100 * UNIT);
        assertEq(vault.escrowed(), 0);
        settle();
        assertEq(vault.totalAssets(), 0);
    }

    function test_a_committed_deposit_stays_until_three_days_without_settlement() public {
        requestDeposit(alice, 100 * UNIT);
        closeEpoch();
        cancelDepositReverts(alice);
        skip(3 days);
        cancelDeposit(alice);
        assertEq(vault.claimableCancelDepositRequest(0, alice), 100 * UNIT);
        vault.settle(settlement());
        assertEq(vault.totalAssets(), 0);
    }

    function test_a_rolled_deposit_may_leave_before_the_next_close() public {
        depositFor(bob, 100 * UNIT);
        supply(A, 50 * UNIT);
        requestDeposit(alice, 100 * UNIT);
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        requestDeposit(alice, 7 * UNIT);
        cancelDeposit(alice);
        assertEq(vault.claimableCancelDepositRequest(0, alice), 107 * UNIT);
        assertEq(vault.accounting().closedDeposits, 0);
        assertEq(vault.accounting().openDeposits, 0);
    }

    function test_class_Q_a_rolled_deposit_may_leave_for_as_long_as_an_epoch_lasts() public {
        rollLate();
        mayLeaveFor(1 hours);
    }

    function test_class_Q_a_rolled_deposit_may_leave_for_ten_minutes_where_epochs_have_no_length() public {
        Params memory p = defaultParams();
        p.minEpochLength = 0;
        changeParams(p);
        rollLate();
        mayLeaveFor(10 minutes);
    }

    function test_a_priced_deposit_is_no_longer_cancelled_only_the_new_one_is() public {
        requestDeposit(alice, 100 * UNIT);
        settle();
        requestDeposit(alice, 7 * UNIT);
        cancelDeposit(alice);
        assertEq(vault.claimableCancelDepositRequest(0, alice), 7 * UNIT);
        assertEq(vault.maxDeposit(alice), 100 * UNIT);
        cancelDepositReverts(alice);
    }

    function test_a_redemption_of_the_open_epoch_is_cancelled_and_its_shares_claimed_back() public {
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 40e12);
        vm.startPrank(alice);
        vault.cancelRedeemRequest(0, alice);
        assertEq(vault.pendingRedeemRequest(0, alice), 0);
        assertEq(vault.claimableCancelRedeemRequest(0, alice), 40e12);
        assertEq(vault.claimCancelRedeemRequest(0, alice, alice), 40e12);
        assertEq(vault.balanceOf(alice), 100e12);
        vm.stopPrank();
        settle();
        assertEq(vault.totalSupply(), 100e12);
    }

    function test_queued_shares_are_committed() public {
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 40e12);
        closeEpoch();
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToCancel.selector, alice));
        vault.cancelRedeemRequest(0, alice);
    }

    function test_a_queue_that_all_leave_in_a_loss_window_owes_them_what_was_filled_before() public {
        depositFor(alice, 100 * UNIT);
        depositFor(bob, 100 * UNIT);
        supply(A, 180 * UNIT);
        requestRedeem(alice, 100e12);
        settle();
        connector.setHeld(A, 90 * UNIT);
        settle();
        vm.prank(alice);
        vault.cancelRedeemRequest(0, alice);
        assertEq(vault.claimableCancelRedeemRequest(0, alice), 80e12);
        assertEq(vault.accounting().queuedShares, 0);
        skip(1 days);
        vault.settle(settlement());
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        requestRedeem(bob, 40e12);
        settle();
        assertEq(vault.maxWithdraw(bob), 20 * UNIT);
        assertEq(vault.maxRedeem(bob), 40e12);
        assertEq(vault.pendingRedeemRequest(0, alice), 0);
        assertEq(vault.maxWithdraw(alice), 20 * UNIT);
        assertEq(vault.maxRedeem(alice), 20e12);
    }

    function test_only_the_controller_and_its_operators_cancel_and_claim() public {
        requestDeposit(alice, 100 * UNIT);
        bytes memory reason = abi.encodeWithSelector(IVault.NotController.selector, alice, bob);
        vm.startPrank(bob);
        vm.expectRevert(reason);
        vault.cancelDepositRequest(0, alice);
        vm.expectRevert(reason);
        vault.cancelRedeemRequest(0, alice);
        vm.expectRevert(reason);
        vault.claimCancelDepositRequest(0, bob, alice);
        vm.expectRevert(reason);
        vault.claimCancelRedeemRequest(0, bob, alice);
        vm.stopPrank();
        vm.startPrank(alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.claimCancelDepositRequest(0, alice, alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.claimCancelRedeemRequest(0, alice, alice);
        vault.setOperator(bob, true);
        vm.stopPrank();
        vm.prank(bob);
        vault.cancelDepositRequest(0, alice);
        vm.prank(bob);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vault.claimCancelDepositRequest(0, address(0), alice);
    }

    function test_cancelling_is_never_pending_and_declared_by_its_interface_ids() public view {
        assertFalse(vault.pendingCancelDepositRequest(0, alice));
        assertFalse(vault.pendingCancelRedeemRequest(0, alice));
        assertTrue(vault.supportsInterface(0x8bf840e3)); // ERC-7887 deposit cancellation
        assertTrue(vault.supportsInterface(0xe76cffc7)); // ERC-7887 redeem cancellation
    }

    /// @dev Whatever the order of requests, closes, settlements and cancellations, nobody gets back more or less
    /// than was paid in.
    function testFuzz_requests_and_cancellations_conserve_assets(uint256 seed) public {
        uint256 paidIn;
        for (uint256 i; i < 24; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            address user = seed & 1 == 0 ? alice : bob;
            uint256 act = (seed >> 8) % 4;
            if (act == 0) {
                uint256 assets = UNIT + (seed >> 16) % (1_000 * UNIT);
                requestDeposit(user, assets);
                paidIn += assets;
            } else if (act == 1 && vault.pendingDepositRequest(0, user) != 0) {
                vm.prank(user);
                try vault.cancelDepositRequest(0, user) {} catch {}
            } else if (act == 2) {
                settleIfClosed();
                settle();
            } else if (vault.accounting().currentEpoch == vault.accounting().settledEpoch + 1) {
                closeEpoch();
            }
        }
        settleIfClosed();
        settle();
        uint256 owed = claimable(alice) + claimable(bob);
        assertApproxEqAbs(owed + vault.totalAssets(), paidIn, 2);
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
    }

    /// @dev Alice's deposit rolls in a settlement two days after its close.
    function rollLate() private {
        depositFor(bob, 100 * UNIT);
        supply(A, 50 * UNIT);
        requestDeposit(alice, 100 * UNIT);
        closeEpoch();
        connector.setMode(Holdings.Mode.REVERT);
        skip(2 days);
        vault.settle(settlement());
    }

    /// @dev Until the second in which anyone may close the epoch.
    function mayLeaveFor(uint256 time) private {
        uint256 until = block.timestamp + time;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.EpochNotOver.selector, until));
        vault.closeEpoch();
        uint256 state = vm.snapshotState();
        cancelDeposit(alice);
        vm.revertToState(state);
        skip(1);
        vault.closeEpoch();
        cancelDepositReverts(alice);
    }

    function claimable(address user) private view returns (uint256) {
        return vault.claimableCancelDepositRequest(0, user);
    }

    function settleIfClosed() private {
        if (vault.accounting().currentEpoch != vault.accounting().settledEpoch + 1) {
            vault.settle(settlement());
        }
    }

    function cancelDeposit(address user) private {
        vm.prank(user);
        vault.cancelDepositRequest(0, user);
    }

    function cancelDepositReverts(address user) private {
        vm.prank(user);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToCancel.selector, user));
        vault.cancelDepositRequest(0, user);
    }
}
