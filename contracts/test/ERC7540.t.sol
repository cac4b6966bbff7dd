// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {UnevenPrice} from "./fixtures/UnevenPrice.sol";

/// @title What ERC-7540 asks of requests, operators and claims
contract ERC7540Test is UnevenPrice {
    address private carol = makeAddr("carol");

    // REQUESTS

    function testFuzz_every_request_id_is_zero(uint256 assets, uint256 shares) public {
        assets = bound(assets, UNIT, 1e15);
        token.mint(alice, assets);
        vm.startPrank(alice);
        token.approve(address(vault), assets);
        assertEq(vault.requestDeposit(assets, alice, alice), 0);
        vm.stopPrank();
        settle();
        vm.startPrank(alice);
        uint256 minted = vault.deposit(assets, alice);
        shares = bound(shares, 1e12, minted);
        assertEq(vault.requestRedeem(shares, alice, alice), 0);
    }

    function test_requests_are_told_apart_by_their_controller_alone() public {
        requestDeposit(alice, 3 * UNIT);
        token.mint(bob, 4 * UNIT);
        vm.startPrank(bob);
        token.approve(address(vault), 4 * UNIT);
        vault.requestDeposit(4 * UNIT, alice, bob);
        vm.stopPrank();
        assertEq(vault.pendingDepositRequest(0, alice), 7 * UNIT);
        assertEq(vault.pendingDepositRequest(0, bob), 0);
    }

    function test_a_deposit_request_names_controller_owner_and_sender() public {
        token.mint(alice, UNIT);
        vm.startPrank(alice);
        token.approve(address(vault), UNIT);
        vault.setOperator(bob, true);
        vm.stopPrank();
        vm.expectEmit(address(vault));
        emit IVault.DepositRequest(carol, alice, 0, bob, UNIT);
        vm.prank(bob);
        vault.requestDeposit(UNIT, carol, alice);
        assertEq(token.balanceOf(address(escrow)), UNIT, "assets are taken from the owner");
    }

    function test_a_redeem_request_names_controller_owner_and_sender() public {
        depositFor(alice, 10 * UNIT);
        vm.prank(alice);
        vault.setOperator(bob, true);
        vm.expectEmit(address(vault));
        emit IVault.RedeemRequest(carol, alice, 0, bob, 4e12);
        vm.prank(bob);
        vault.requestRedeem(4e12, carol, alice);
        assertEq(vault.balanceOf(alice), 6e12, "shares leave the owner at once");
        assertEq(vault.pendingRedeemRequest(0, carol), 4e12);
    }

    function test_claim_events_name_controller_and_receiver() public {
        requestDeposit(alice, 10 * UNIT);
        settle();
        vm.prank(alice);
        vault.setOperator(bob, true);
        vm.expectEmit(address(vault));
        emit IVault.Deposit(alice, carol, 4 * UNIT, 4e12);
        vm.prank(bob);
        vault.deposit(4 * UNIT, carol, alice);
        vm.expectEmit(address(vault));
        emit IVault.Deposit(alice, alice, 6 * UNIT, 6e12);
        vm.prank(bob);
        vault.mint(6e12, alice, alice);
        requestRedeem(alice, 6e12);
        settle();
        vm.expectEmit(address(vault));
        emit IVault.Withdraw(bob, carol, alice, 2 * UNIT, 2e12);
        vm.prank(bob);
        vault.withdraw(2 * UNIT, carol, alice);
        vm.expectEmit(address(vault));
        emit IVault.Withdraw(bob, carol, alice, 4 * UNIT, 4e12);
        vm.prank(bob);
        vault.redeem(4e12, carol, alice);
    }

    // OPERATORS

    function test_an_operator_is_set_logged_and_removed() public {
        vm.startPrank(alice);
        for (uint256 i; i < 2; ++i) {
            bool approved = i == 0;
            vm.expectEmit(address(vault));
            emit IVault.OperatorSet(alice, bob, approved);
            assertTrue(vault.setOperator(bob, approved), "returns true, also when it takes away");
            assertEq(vault.isOperator(alice, bob), approved);
        }
        assertFalse(vault.isOperator(bob, alice), "one way only");
    }

    function test_an_operator_of_the_owner_redeems_without_touching_allowances() public {
        depositFor(alice, 10 * UNIT);
        vm.startPrank(alice);
        vault.setOperator(bob, true);
        vault.approve(bob, 1e12);
        vm.stopPrank();
        vm.prank(bob);
        vault.requestRedeem(10e12, bob, alice);
        assertEq(vault.allowance(alice, bob), 1e12);
    }

    function test_a_removed_operator_can_do_nothing() public {
        depositFor(alice, 10 * UNIT);
        requestDeposit(alice, 5 * UNIT);
        vm.startPrank(alice);
        vault.requestRedeem(4e12, alice, alice);
        vault.setOperator(bob, true);
        vault.setOperator(bob, false);
        vm.stopPrank();
        settle();
        bytes memory notController = abi.encodeWithSelector(IVault.NotController.selector, alice, bob);
        vm.startPrank(bob);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotOwner.selector, alice, bob));
        vault.requestDeposit(UNIT, bob, alice);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, 0, 1e12)
        );
        vault.requestRedeem(1e12, bob, alice);
        vm.expectRevert(notController);
        vault.deposit(1, bob, alice);
        vm.expectRevert(notController);
        vault.mint(1, bob, alice);
        vm.expectRevert(notController);
        vault.withdraw(1, bob, alice);
        vm.expectRevert(notController);
        vault.redeem(1, bob, alice);
    }

    function test_an_allowance_over_shares_does_not_open_claims() public {
        depositFor(alice, 10 * UNIT);
        requestRedeem(alice, 4e12);
        settle();
        vm.prank(alice);
        vault.approve(bob, type(uint256).max);
        vm.prank(bob);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotController.selector, alice, bob));
        vault.redeem(4e12, bob, alice);
    }

    function testFuzz_a_spender_redeems_within_its_allowance(uint256 allowed, uint256 shares) public {
        depositFor(alice, 100 * UNIT);
        allowed = bound(allowed, 1e12, 100e12);
        shares = bound(shares, 1e12, 100e12);
        vm.prank(alice);
        vault.approve(bob, allowed);
        vm.startPrank(bob);
        if (shares > allowed) {
            vm.expectRevert(
                abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, allowed, shares)
            );
            vault.requestRedeem(shares, bob, alice);
            return;
        }
        vault.requestRedeem(shares, bob, alice);
        assertEq(vault.allowance(alice, bob), allowed - shares);
        assertEq(vault.pendingRedeemRequest(0, bob), shares);
    }

    function test_an_infinite_allowance_is_not_spent() public {
        depositFor(alice, 10 * UNIT);
        vm.prank(alice);
        vault.approve(bob, type(uint256).max);
        vm.prank(bob);
        vault.requestRedeem(4e12, bob, alice);
        assertEq(vault.allowance(alice, bob), type(uint256).max);
    }

    // PENDING, CLAIMABLE, CLAIMED

    function testFuzz_a_deposit_is_pending_then_claimable_then_claimed(
        uint256[4] memory requests,
        uint256 part
    ) public {
        uint256 requested;
        uint256 claimed;
        for (uint256 i; i < requests.length; ++i) {
            uint256 assets = bound(requests[i], UNIT, 1e13);
            requestDeposit(alice, assets);
            requested += assets;
            assertEq(_depositsOf(alice) + claimed, requested, "requested");
            closeEpoch();
            assertEq(vault.maxDeposit(alice), requested - claimed - assets, "closed is not claimable");
            vault.settle(settlement());
            assertEq(vault.pendingDepositRequest(0, alice), 0);
            assertEq(vault.claimableDepositRequest(0, alice), vault.maxDeposit(alice));
            uint256 claim = bound(part, 1, vault.maxDeposit(alice));
            vm.prank(alice);
            vault.deposit(claim, alice);
            claimed += claim;
            assertEq(_depositsOf(alice) + claimed, requested, "claimed");
        }
    }

    function testFuzz_a_redemption_is_pending_then_claimable_then_claimed(
        uint256 shares,
        uint256[4] memory idle,
        uint256 part
    ) public {
        depositFor(alice, 100 * UNIT);
        supply(A, 100 * UNIT);
        shares = bound(shares, 1e12, 100e12);
        requestRedeem(alice, shares);
        uint256 claimed;
        for (uint256 i; i < idle.length; ++i) {
            uint256 held = connector.held(A);
            if (held == 0) break;
            uint256 back = bound(idle[i], 1, held);
            portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, back)))));
            settle();
            assertEq(_redemptionsOf(alice) + claimed, shares, "partial fills lose no share");
            assertEq(vault.claimableRedeemRequest(0, alice), vault.maxRedeem(alice));
            if (vault.maxRedeem(alice) == 0) continue;
            uint256 claim = bound(part, 1, vault.maxRedeem(alice));
            vm.prank(alice);
            vault.redeem(claim, alice, alice);
            claimed += claim;
            assertEq(_redemptionsOf(alice) + claimed, shares, "claimed");
        }
    }

    function test_requests_push_no_tokens() public {
        depositFor(alice, 10 * UNIT);
        requestRedeem(alice, 5e12);
        requestDeposit(alice, 7 * UNIT);
        settle();
        (uint256 assets, uint256 shares) = (token.balanceOf(alice), vault.balanceOf(alice));
        requestRedeem(alice, 1e12);
        requestDeposit(alice, UNIT);
        settle();
        assertEq(token.balanceOf(alice), assets);
        assertEq(vault.balanceOf(alice), shares - 1e12);
    }

    // MAXIMA

    function testFuzz_maxima_are_exactly_what_can_be_claimed(uint256 assets, uint256 value, bool byAmount)
        public
    {
        settleAt(value);
        assets = bound(assets, UNIT, 1e13);
        requestDeposit(bob, assets);
        requestRedeem(alice, 30e12);
        settle();
        vm.startPrank(bob);
        (uint256 deposit, uint256 mint) = (vault.maxDeposit(bob), vault.maxMint(bob));
        assertEq(deposit, assets);
        vm.expectRevert(abi.encodeWithSelector(IVault.ExceedsClaimable.selector, deposit + 1, deposit));
        vault.deposit(deposit + 1, bob);
        vm.expectRevert(abi.encodeWithSelector(IVault.ExceedsClaimable.selector, mint + 1, mint));
        vault.mint(mint + 1, bob);
        if (byAmount) assertEq(vault.deposit(deposit, bob), mint);
        else assertEq(vault.mint(mint, bob), deposit);
        assertEq(vault.balanceOf(bob), mint);
        vm.stopPrank();

        vm.startPrank(alice);
        (uint256 withdraw, uint256 redeem) = (vault.maxWithdraw(alice), vault.maxRedeem(alice));
        vm.expectRevert(abi.encodeWithSelector(IVault.ExceedsClaimable.selector, withdraw + 1, withdraw));
        vault.withdraw(withdraw + 1, alice, alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.ExceedsClaimable.selector, redeem + 1, redeem));
        vault.redeem(redeem + 1, alice, alice);
        if (byAmount) assertEq(vault.withdraw(withdraw, alice, alice), redeem);
        else assertEq(vault.redeem(redeem, alice, alice), withdraw);
        assertEq(token.balanceOf(alice), withdraw);
        _assertNothingClaimable(alice);
        _assertNothingClaimable(bob);
    }

    function testFuzz_claims_in_pieces_never_exceed_the_whole(uint256 value, uint256[6] memory pieces)
        public
    {
        settleAt(value);
        requestDeposit(bob, 1_000_003);
        requestRedeem(alice, 30e12 + 7);
        settle();
        uint256 shares = vault.maxMint(bob);
        uint256 assets = vault.maxWithdraw(alice);
        for (uint256 i; i < pieces.length; ++i) {
            _claimPiece(pieces[i], i % 2 == 0);
        }
        assertLe(vault.balanceOf(bob) + vault.maxMint(bob), shares);
        assertLe(token.balanceOf(alice) + vault.maxWithdraw(alice), assets);
        assertGe(token.balanceOf(address(escrow)), vault.escrowed());
    }

    function testFuzz_views_never_revert_for_anyone(address account, uint256 id, uint256 value, uint8 mode)
        public
    {
        settleAt(value);
        requestDeposit(bob, 50 * UNIT);
        requestRedeem(alice, 30e12);
        connector.setMode(Holdings.Mode(mode % 5));
        settle();
        address[4] memory accounts = [account, address(0), address(vault), alice];
        for (uint256 i; i < accounts.length; ++i) {
            address a = accounts[i];
            uint256 claims =
                vault.maxDeposit(a) + vault.maxMint(a) + vault.maxWithdraw(a) + vault.maxRedeem(a);
            claims += vault.pendingDepositRequest(id, a) + vault.pendingRedeemRequest(id, a);
            claims += vault.claimableDepositRequest(id, a) + vault.claimableRedeemRequest(id, a);
            if (a != alice && a != bob) assertEq(claims, 0);
            vault.maxRequestDeposit(a);
            vault.maxRequestRedeem(a);
            vault.isOperator(a, account);
        }
        vault.totalAssets();
        vault.asset();
        vault.share();
    }

    function testFuzz_views_do_not_depend_on_the_caller(address caller) public {
        depositFor(alice, 100 * UNIT);
        requestDeposit(alice, 7 * UNIT);
        requestRedeem(alice, 9e12);
        settle();
        requestDeposit(alice, 2 * UNIT);
        bytes memory seen = _views(alice);
        vm.startPrank(caller);
        assertEq(_views(alice), seen);
    }

    function test_M_06_a_request_larger_than_the_maximum_is_refused() public {
        uint256 max = vault.maxRequestDeposit(alice);
        token.mint(alice, max + 1);
        vm.startPrank(alice);
        token.approve(address(vault), max + 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.AboveCap.selector, max + 1, max));
        vault.requestDeposit(max + 1, alice, alice);
        vault.requestDeposit(max, alice, alice);
        assertEq(vault.maxRequestDeposit(alice), 0);
    }

    // INTERNAL

    function _claimPiece(uint256 piece, bool byAmount) private {
        uint256 max = byAmount ? vault.maxDeposit(bob) : vault.maxMint(bob);
        if (max != 0) {
            vm.prank(bob);
            byAmount ? vault.deposit(bound(piece, 1, max), bob) : vault.mint(bound(piece, 1, max), bob);
        }
        max = byAmount ? vault.maxWithdraw(alice) : vault.maxRedeem(alice);
        if (max == 0) return;
        vm.prank(alice);
        byAmount
            ? vault.withdraw(bound(piece, 1, max), alice, alice)
            : vault.redeem(bound(piece, 1, max), alice, alice);
    }

    function _depositsOf(address account) private view returns (uint256) {
        return vault.pendingDepositRequest(0, account) + vault.maxDeposit(account);
    }

    function _redemptionsOf(address account) private view returns (uint256) {
        return vault.pendingRedeemRequest(0, account) + vault.maxRedeem(account);
    }

    function _assertNothingClaimable(address account) private view {
        assertEq(vault.maxDeposit(account), 0);
        assertEq(vault.maxMint(account), 0);
        assertEq(vault.maxWithdraw(account), 0);
        assertEq(vault.maxRedeem(account), 0);
    }

    function _views(address account) private view returns (bytes memory) {
        return abi.encode(
            vault.maxDeposit(account),
            vault.maxMint(account),
            vault.maxWithdraw(account),
            vault.maxRedeem(account),
            vault.pendingDepositRequest(0, account),
            vault.pendingRedeemRequest(0, account),
            vault.maxRequestDeposit(account),
            vault.maxRequestRedeem(account),
            vault.totalAssets(),
            vault.convertToShares(UNIT),
            vault.convertToAssets(1e12)
        );
    }
}
