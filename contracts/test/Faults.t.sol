// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVault, Params} from "../src/interfaces/IVault.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev Known faults of comparable vaults: the queue, the price, fees, and what the token standards promise.
/// "Catches" names the wrong variant that the test fails for.
contract FaultsTest is VaultFixture {
    address private carol = makeAddr("carol");

    // QUEUE

    /// Catches: a running total of what is owed, kept at the first price when the rest is priced anew.
    function test_H_10_what_is_owed_is_what_each_fill_paid_at_its_own_price() public {
        depositFor(alice, 300 * UNIT);
        depositFor(bob, 100 * UNIT);
        supply(A, 300 * UNIT);
        requestRedeem(alice, 300e12);
        requestRedeem(bob, 100e12);
        settle();
        assertEq(vault.escrowed(), 100 * UNIT);
        connector.setHeld(A, 150 * UNIT);
        withdraw(A, 150 * UNIT);
        settleAfterWindow();
        assertApproxEqAbs(vault.maxWithdraw(alice), 187.5e6, 2);
        assertApproxEqAbs(vault.maxWithdraw(bob), 62.5e6, 2);
        assertLe(vault.maxWithdraw(alice) + vault.maxWithdraw(bob), vault.escrowed());
        assertEq(vault.escrowed(), token.balanceOf(address(escrow)));
    }

    /// Catches: a settlement that wipes what an earlier, unclaimed one set aside.
    function test_D_01_settlements_over_unclaimed_fills_neither_brick_nor_overpay() public {
        depositFor(alice, 200 * UNIT);
        depositFor(bob, 100 * UNIT);
        supply(A, 150 * UNIT);
        requestRedeem(alice, 200e12);
        settle();
        requestRedeem(bob, 100e12);
        settle();
        withdraw(A, 150 * UNIT);
        settle();
        settle();
        claimAll(bob);
        claimAll(alice);
        assertApproxEqAbs(token.balanceOf(alice), 200 * UNIT, 2);
        assertApproxEqAbs(token.balanceOf(bob), 100 * UNIT, 2);
        assertEq(vault.escrowed(), token.balanceOf(address(escrow)));
        assertLe(vault.escrowed(), 4);
    }

    /// Catches: counting what was asked of a protocol as if it had been delivered.
    function test_M_08_a_shortfall_is_a_partial_fill_and_leaves_the_rest_queued() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        requestRedeem(alice, 100e12);
        Batch memory b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 50 * UNIT, 0.5e6))));
        b.maxLoss = 0.5e6 - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 0.5e6, 0.5e6 - 1));
        portfolio.execute(b);
        b.maxLoss = 0.5e6;
        portfolio.execute(b);
        settle();
        assertApproxEqAbs(vault.maxWithdraw(alice), 49.5e6, 1);
        // 49.5 at a price of 0.995 each
        assertApproxEqRel(vault.pendingRedeemRequest(0, alice), 50.2512562814e12, 1e9);
        assertEq(vault.totalSupply(), vault.balanceOf(address(vault)));
        assertApproxEqAbs(vault.totalSupply(), vault.pendingRedeemRequest(0, alice), 1e6);
    }

    /// Catches: requests of any size.
    function test_M_19_M_44_requests_below_the_minimum_are_refused() public {
        depositFor(alice, 10 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IVault.BelowMinimum.selector, 1, UNIT));
        vault.requestDeposit(1, alice, address(this));
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.BelowMinimum.selector, 1e12 - 1, 1e12));
        vault.requestRedeem(1e12 - 1, alice, alice);
        vm.prank(alice);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vault.requestRedeem(0, alice, alice);
    }

    /// Catches: any work per request in a settlement.
    function test_M_19_M_44_a_settlement_costs_the_same_for_one_and_for_a_hundred() public {
        settlementGas(100);
        uint256 one = settlementGas(1);
        uint256 hundred = settlementGas(100);
        assertLe(hundred, one * 101 / 100);
    }

    /// Catches: a cap on assets under management that leaves out what has not been settled yet.
    function test_M_24_the_cap_counts_deposits_that_wait() public {
        uint256 cap = defaultParams().depositCap;
        requestDeposit(alice, 600_000_000 * UNIT);
        assertEq(vault.maxRequestDeposit(bob), 400_000_000 * UNIT);
        requestDepositAboveCap(500_000_000 * UNIT, 1_100_000_000 * UNIT, cap);
        closeEpoch();
        requestDepositAboveCap(500_000_000 * UNIT, 1_100_000_000 * UNIT, cap);
        vault.settle(settlement());
        requestDepositAboveCap(400_000_001 * UNIT, 1_000_000_001 * UNIT, cap);
        requestDeposit(bob, 400_000_000 * UNIT);
        assertEq(vault.maxRequestDeposit(bob), 0);
    }

    /// Catches: comparing what was retrieved with what is needed, or reserves read off a balance.
    function test_M_27_neither_donations_nor_too_much_retrieved_stop_a_withdrawal() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        requestRedeem(alice, 50e12);
        token.mint(address(escrow), 1);
        token.mint(address(portfolio), 70 * UNIT);
        token.mint(address(connector), 1);
        withdraw(A, 80 * UNIT);
        settle();
        assertEq(vault.maxWithdraw(alice), 50 * UNIT);
        assertEq(portfolio.idle(), 30 * UNIT);
        claimAll(alice);
        assertEq(token.balanceOf(alice), 50 * UNIT);
    }

    // PRICE

    /// Catches: a price fixed when the request is made, or when its epoch closes.
    function test_D_06_requests_are_priced_at_settlement_and_share_a_later_loss() public {
        depositFor(alice, 100 * UNIT);
        depositFor(bob, 100 * UNIT);
        supply(A, 100 * UNIT);
        requestRedeem(alice, 100e12);
        requestDeposit(carol, 75 * UNIT);
        closeEpoch();
        connector.setHeld(A, 50 * UNIT);
        vault.settle(settlement());
        skip(1 days);
        vault.settle(settlement());
        assertApproxEqAbs(vault.maxWithdraw(alice), 75 * UNIT, 1);
        assertApproxEqAbs(vault.convertToAssets(vault.balanceOf(bob)), 75 * UNIT, 1);
        assertApproxEqRel(vault.maxMint(carol), 100e12, 1e12);
    }

    /// Catches: assets set aside and shares paid for that still count in the price of others.
    function test_D_07_what_is_set_aside_is_outside_assets_and_supply() public {
        depositFor(alice, 100 * UNIT);
        depositFor(bob, 100 * UNIT);
        requestRedeem(alice, 100e12);
        settle();
        assertEq(vault.totalAssets(), 100 * UNIT);
        assertEq(vault.totalSupply(), 100e12);
        supply(A, 100 * UNIT);
        connector.setHeld(A, 110 * UNIT);
        requestDeposit(carol, 110 * UNIT);
        settle();
        assertApproxEqRel(vault.maxMint(carol), 100e12, 1e11);
        assertEq(vault.maxWithdraw(alice), 100 * UNIT);
    }

    /// Catches: taking a deposit for no shares at all.
    function test_D_08_a_deposit_that_would_mint_nothing_rolls() public {
        depositFor(alice, UNIT);
        supply(A, UNIT);
        requestDeposit(bob, UNIT);
        connector.setHeld(A, 1e20);
        settle();
        assertEq(vault.pendingDepositRequest(0, bob), UNIT);
        assertEq(vault.maxDeposit(bob), 0);
        assertEq(vault.escrowed(), UNIT);
        connector.setHeld(A, UNIT);
        settle();
        assertEq(vault.maxDeposit(bob), UNIT);
        assertApproxEqRel(vault.maxMint(bob), 1e12, 1e13);
    }

    // FEES

    /// Catches: profit that waits for its fee and that any fall in value cancels.
    function test_M_04_a_tiny_fall_does_not_forgive_the_fee_on_a_gain() public {
        setPerformanceFee();
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        connector.setHeld(A, 110 * UNIT);
        connector.setHeld(A, 110 * UNIT - 1000);
        settle();
        assertApproxEqAbs(vault.convertToAssets(vault.balanceOf(feeRecipient)), UNIT - 100, 2);
    }

    /// Catches: a fee on a profit that is gone, and a mark that follows the price down.
    function test_D_02_a_profit_that_was_lost_pays_no_fee_and_the_mark_stays() public {
        setPerformanceFee();
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        settle();
        uint256 mark = vault.highWaterMark();
        connector.setHeld(A, 120 * UNIT);
        skip(12 hours);
        connector.setHeld(A, 80 * UNIT);
        settle();
        skip(30 days);
        connector.setHeld(A, 100 * UNIT);
        settle();
        assertEq(vault.balanceOf(feeRecipient), 0);
        assertEq(vault.highWaterMark(), mark);
    }

    /// Catches: a mark on total profit, to which new money adds, instead of one per share.
    function test_D_16_who_joins_after_a_gain_pays_for_later_gains_only() public {
        setPerformanceFee();
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        connector.setHeld(A, 110 * UNIT);
        settle();
        uint256 fees = vault.balanceOf(feeRecipient);
        uint256 shares = depositFor(bob, 1000 * UNIT);
        settle();
        assertApproxEqAbs(vault.balanceOf(feeRecipient), fees, 1e6);
        assertApproxEqAbs(vault.convertToAssets(shares), 1000 * UNIT, 2);
        // 111 on 1110, of which every share pays a tenth: bob's 1000 have grown by 9 %.
        connector.setHeld(A, 221 * UNIT);
        settle();
        assertApproxEqRel(vault.convertToAssets(shares), 1090 * UNIT, 1e12);
    }

    /// Catches: fees paid in assets, or to where they cannot be turned into assets.
    function test_M_25_fees_are_shares_that_their_receiver_can_redeem() public {
        Params memory p = defaultParams();
        p.exitFee = 0.01e18;
        change(p);
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 100e12);
        settle();
        assertEq(token.balanceOf(feeRecipient), 0);
        assertEq(vault.balanceOf(feeRecipient), 1e12);
        requestRedeem(feeRecipient, 1e12);
        settle();
        claimAll(feeRecipient);
        assertEq(token.balanceOf(feeRecipient), 0.99e6);
    }

    /// Catches: profit reckoned from deposits and withdrawals, above all from those that are still owed.
    function test_M_35_flows_are_no_profit() public {
        setPerformanceFee();
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        requestRedeem(alice, 100e12);
        settle();
        depositFor(bob, 40 * UNIT);
        depositFor(carol, 30 * UNIT);
        requestRedeem(carol, 30e12);
        settle();
        // A unit of rounding stays with the vault at every fill; a fee on that is worth nothing.
        assertEq(vault.convertToAssets(vault.balanceOf(feeRecipient)), 0);
    }

    /// Catches: a change of rate or receiver that reaches back to the last accrual.
    function test_M_53_what_has_accrued_is_charged_at_the_old_rate_to_the_old_receiver() public {
        Params memory p = defaultParams();
        p.managementFee = 0.02e18;
        change(p);
        depositFor(alice, 100 * UNIT);
        uint256 start = vault.balanceOf(feeRecipient);
        skip(362 days);
        p.managementFee = 0.05e18;
        p.feeRecipient = carol;
        change(p);
        assertEq(vault.balanceOf(carol), 0);
        assertApproxEqRel(vault.convertToAssets(vault.balanceOf(feeRecipient) - start), 2 * UNIT, 0.001e18);
    }

    // WHAT THE STANDARDS PROMISE

    /// Catches: previews that answer for an asynchronous side, and conversions with a fee in them.
    function test_M_05_previews_revert_and_conversions_know_no_fee() public {
        Params memory p = defaultParams();
        p.exitFee = 0.01e18;
        p.managementFee = 0.05e18;
        change(p);
        depositFor(alice, 100 * UNIT);
        assertEq(vault.convertToAssets(vault.convertToShares(100 * UNIT)), 100 * UNIT);
        bytes4[4] memory previews = [
            vault.previewDeposit.selector,
            vault.previewMint.selector,
            vault.previewWithdraw.selector,
            vault.previewRedeem.selector
        ];
        for (uint256 i; i < 4; ++i) {
            (bool success, bytes memory reason) =
                address(vault).staticcall(abi.encodeWithSelector(previews[i], UNIT));
            assertFalse(success);
            assertEq(bytes4(reason), IVault.PreviewNotSupported.selector);
        }
    }

    /// Catches: limits that promise what a pause or the cap refuses, or other than what can be claimed.
    function test_M_06_limits_say_what_would_be_accepted_now() public {
        requestDeposit(alice, 100 * UNIT);
        assertEq(vault.maxDeposit(alice) + vault.maxMint(alice), 0);
        settle();
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.ExceedsClaimable.selector, 100 * UNIT + 1, 100 * UNIT));
        vault.deposit(100 * UNIT + 1, alice);
        vault.deposit(vault.maxDeposit(alice), alice);
        vm.stopPrank();
        assertEq(vault.maxDeposit(alice) + vault.maxMint(alice), 0);
        requestRedeem(alice, 40e12);
        assertEq(vault.maxRedeem(alice) + vault.maxWithdraw(alice), 0);
        settle();
        registry.pauseRisk(address(vault));
        assertEq(vault.maxRequestDeposit(bob), 0);
        assertEq(vault.maxRequestRedeem(alice), 60e12);
        requestRedeem(alice, vault.maxRequestRedeem(alice));
        claimAll(alice);
        assertEq(token.balanceOf(alice), 40 * UNIT);
        assertEq(vault.maxRedeem(alice) + vault.maxWithdraw(alice), 0);
    }

    /// Catches: functions of the standard that are there and always revert.
    function test_M_18_all_four_functions_claim() public {
        requestDeposit(alice, 100 * UNIT);
        settle();
        vm.startPrank(alice);
        assertEq(vault.deposit(40 * UNIT, alice), 40e12);
        assertEq(vault.mint(60e12, alice), 60 * UNIT);
        vault.requestRedeem(100e12, alice, alice);
        vm.stopPrank();
        settle();
        vm.startPrank(alice);
        assertEq(vault.withdraw(30 * UNIT, alice, alice), 30e12);
        assertEq(vault.redeem(70e12, alice, alice), 70 * UNIT);
        vm.stopPrank();
        assertEq(token.balanceOf(alice), 100 * UNIT);
    }

    /// Catches: total assets read live from protocols, any of which may revert.
    function test_M_15_M_20_total_assets_answers_while_every_position_is_broken() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 60 * UNIT);
        settle();
        for (uint256 mode = 1; mode <= 3; ++mode) {
            connector.setMode(Holdings.Mode(mode));
            assertEq(vault.totalAssets(), 100 * UNIT);
            assertEq(vault.convertToAssets(100e12), 100 * UNIT);
            (, bool healthy) = portfolio.nav();
            assertFalse(healthy);
        }
        settle();
        assertEq(vault.totalAssets(), 40 * UNIT);
    }

    function withdraw(bytes32 key, uint256 assets) private {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (key, assets)))));
    }

    function claimAll(address user) private {
        vm.startPrank(user);
        vault.redeem(vault.maxRedeem(user), user, user);
        vm.stopPrank();
    }

    function requestDepositAboveCap(uint256 assets, uint256 wanted, uint256 cap) private {
        vm.expectRevert(abi.encodeWithSelector(IVault.AboveCap.selector, wanted, cap));
        vault.requestDeposit(assets, bob, address(this));
    }

    /// @dev Gas of a settlement that has so many controllers on each side.
    function settlementGas(uint256 controllers) private returns (uint256 used) {
        for (uint256 i; i < controllers; ++i) {
            address user = address(uint160(0x1000 + i));
            if (vault.maxDeposit(user) != 0) {
                vm.startPrank(user);
                vault.requestRedeem(vault.deposit(vault.maxDeposit(user), user), user, user);
                vm.stopPrank();
            }
            requestDeposit(user, 2 * UNIT);
        }
        closeEpoch();
        used = gasleft();
        vault.settle(settlement());
        used -= gasleft();
    }

    function setPerformanceFee() private {
        Params memory p = defaultParams();
        p.performanceFee = 0.1e18;
        change(p);
    }

    function change(Params memory p) private {
        registry.submit(address(vault), address(vault), abi.encodeCall(vault.setParams, (p)));
        skip(3 days);
        vault.setParams(p);
    }
}
