// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {PocketTest} from "./PocketTest.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title A split-off position is closed, and those who left are paid
contract PocketClosingTest is PocketTest {
    /// @dev The least that agrees with a reading of 200: a hundredth of that below it, and ten units for rounding.
    uint256 private constant NEAR = 198 * UNIT - 10;

    // CLOSING

    function test_a_pocket_is_closed_by_two_sound_readings_after_the_split() public {
        vm.expectRevert(IPortfolio.NoPocket.selector);
        portfolio.closePocket();
        split();
        (, uint64 since,,) = portfolio.pocket();
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ReadingTooOld.selector, since - 30 minutes, since));
        portfolio.closePocket();
        skip(1 days);
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        skip(30 minutes);
        bytes memory impaired =
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A);
        vm.expectRevert(impaired);
        portfolio.closePocket();
        skip(1 days);
        portfolio.announce();
        uint256 at = block.timestamp;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        portfolio.closePocket();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.DEGRADED);
        vm.expectRevert(impaired);
        portfolio.closePocket();
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectEmit();
        emit IPortfolio.PocketClosed(address(connector), A, 300 * UNIT, 0);
        vm.prank(stranger);
        portfolio.closePocket();
        assertNav(1000 * UNIT, 1000 * UNIT);
    }

    function test_the_lesser_of_both_readings_counts() public {
        split();
        leave(alice, vault.balanceOf(alice));
        connector.setMode(A, Holdings.Mode.HONEST);
        uint256 snapshot = vm.snapshotState();
        for (uint256 i; i < 2; ++i) {
            readAs(i == 0 ? NEAR : 200 * UNIT, i == 0 ? 200 * UNIT : NEAR);
            portfolio.closePocket();
            assertApproxEqAbs(claim(alice), NEAR * 3 / 5, 1);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Who can make a market read low, or high, for the moment of one call, closes nothing at that value.
    function test_class_O_one_reading_does_not_decide_what_those_who_left_are_paid() public {
        split();
        leave(alice, vault.balanceOf(alice));
        connector.setMode(A, Holdings.Mode.HONEST);
        uint256 snapshot = vm.snapshotState();
        for (uint256 i; i < 2; ++i) {
            readAs(i == 0 ? NEAR - 1 : 200 * UNIT, i == 0 ? 200 * UNIT : NEAR - 1);
            vm.expectRevert(abi.encodeWithSelector(IPortfolio.ReadingsApart.selector, NEAR - 1, 200 * UNIT));
            portfolio.closePocket();
            vm.revertToState(snapshot);
        }
    }

    function test_the_keeper_cannot_hold_up_the_closing_by_calling_the_connector() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        skip(1 days);
        portfolio.announce();
        withdrawPocketed(100 * UNIT);
        skip(30 minutes);
        vm.expectEmit();
        emit IPortfolio.PocketClosed(address(connector), A, 300 * UNIT, 0);
        portfolio.closePocket();
        assertEq(portfolio.idle(), 700 * UNIT);
    }

    function test_the_pot_comes_from_the_pocket_first_then_from_idle_then_from_the_position() public {
        split();
        leave(alice, vault.balanceOf(alice));
        withdrawPocketed(40 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        uint256 idle = portfolio.idle();
        supply(other, A, idle - 30 * UNIT);
        close();
        uint256 pot = potOf();
        assertApproxEqAbs(pot, 180 * UNIT, 1);
        assertEq(portfolio.idle(), 0);
        assertEq(connector.held(A), 260 * UNIT - (pot - 70 * UNIT));
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
        assertEq(claim(alice), pot);
    }

    function test_what_is_left_of_the_pocket_becomes_idle() public {
        split();
        leave(alice, vault.balanceOf(alice));
        withdrawPocketed(300 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        uint256 idle = portfolio.idle();
        close();
        uint256 pot = potOf();
        assertEq(portfolio.idle(), idle + 300 * UNIT - pot);
        assertEq(token.balanceOf(address(portfolio)), portfolio.idle());
    }

    /// @dev Nobody need wait for a keeper, and nobody can make the others pay for not waiting.
    function test_a_position_that_gives_less_than_it_was_worth_closes_nothing() public {
        split();
        leave(alice, vault.balanceOf(alice));
        connector.setMode(A, Holdings.Mode.HONEST);
        supply(other, A, portfolio.idle());
        connector.setFee(0.001e18);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        // A thousandth of the 180 that are lacking, which are rounded down.
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 180 * UNIT / 1000 - 1, 10));
        portfolio.closePocket();
        connector.setFee(0);
        bytes memory forbid = abi.encodeCall(
            registry.setSelector, (address(vault), address(connector), Holdings.withdraw.selector, false)
        );
        registry.submit(address(vault), address(registry), forbid);
        skip(3 days);
        (bool success,) = address(registry).call(forbid);
        assertTrue(success);
        portfolio.announce();
        skip(30 minutes);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPortfolio.CallNotAllowed.selector, address(connector), Holdings.withdraw.selector
            )
        );
        portfolio.closePocket();
    }

    function test_closing_when_nobody_left_owes_nothing() public {
        split();
        withdrawPocketed(100 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        (uint256 owed, uint256 total, uint256 until) = vault.pocket(1);
        assertEq(owed, 0);
        assertEq(total, 300 * UNIT);
        assertGt(until, 0);
        assertEq(portfolio.idle(), 700 * UNIT);
        assertNav(1000 * UNIT, 1000 * UNIT);
    }

    function test_only_the_portfolio_opens_and_closes_at_the_vault() public {
        vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, address(this)));
        vault.openPocket();
        vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, address(this)));
        vault.closePocket(UNIT);
    }

    // CLAIMING

    function test_a_residual_is_claimed_once_by_controller_or_operator_whatever_is_paused() public {
        split();
        leave(alice, vault.balanceOf(alice));
        vm.expectRevert(IVault.ZeroAmount.selector);
        vm.prank(alice);
        vault.claimResidual(1, alice, alice);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        registry.pauseRisk(address(vault));
        vm.expectRevert(abi.encodeWithSelector(IVault.NotController.selector, alice, stranger));
        vm.prank(stranger);
        vault.claimResidual(1, stranger, alice);
        vm.prank(alice);
        vault.setOperator(stranger, true);
        (uint256 units, uint256 assets) = vault.residualOf(1, alice);
        vm.expectRevert(IVault.ZeroAddress.selector);
        vm.prank(stranger);
        vault.claimResidual(1, address(0), alice);
        uint256 escrowed = vault.escrowed();
        vm.expectEmit();
        emit IVault.ResidualClaimed(1, alice, bob, units, assets);
        vm.prank(stranger);
        assertEq(vault.claimResidual(1, bob, alice), assets);
        assertEq(token.balanceOf(bob), assets);
        assertEq(vault.escrowed(), escrowed - assets);
        vm.expectRevert(IVault.ZeroAmount.selector);
        vm.prank(alice);
        vault.claimResidual(1, alice, alice);
        (units, assets) = vault.residualOf(1, alice);
        assertEq(units, 0);
        assertEq(assets, 0);
    }

    /// @dev A claim of the one must not spoil the other, in either order.
    function test_residual_and_redemption_are_claimed_in_any_order() public {
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        settleAfterWindow();
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        uint256 owed = vault.maxWithdraw(alice);
        (, uint256 residual) = vault.residualOf(1, alice);
        uint256 snapshot = vm.snapshotState();
        assertEq(claim(alice), residual);
        assertEq(redeemAll(alice), owed);
        vm.revertToState(snapshot);
        assertEq(redeemAll(alice), owed);
        assertEq(claim(alice), residual);
    }

    function test_a_terminated_vault_pays_residuals() public {
        split();
        leave(alice, vault.balanceOf(alice));
        govern(abi.encodeCall(registry.terminate, (address(vault))));
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        assertApproxEqAbs(claim(alice), 180 * UNIT, 1);
    }

    // STEPS

    /// @dev At the announcement, and half an hour later.
    function readAs(uint256 first, uint256 second) private {
        skip(1 days);
        setHeld(first);
        portfolio.announce();
        skip(30 minutes);
        setHeld(second);
    }
}
