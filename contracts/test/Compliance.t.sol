// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ICompliance} from "../src/interfaces/ICompliance.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";

/// @dev Lets listed accounts give to listed accounts; it may be broken, and then reverts.
contract AllowList is ICompliance {
    error Broken();

    mapping(address => bool) private listed;
    bool private broken;

    function set(address account, bool allowed) external {
        listed[account] = allowed;
    }

    function destroy() external {
        broken = true;
    }

    function allows(address from, address to, uint256) external view override returns (bool) {
        require(!broken, Broken());
        return listed[from] && listed[to];
    }
}

/// @title What a compliance hook gates, and what it never does; bounds that governance keeps to
contract ComplianceTest is ChangedParams {
    address private carol = makeAddr("carol");
    AllowList private list;

    /// @dev Alice and bob hold shares; then the hook comes, which knows alice alone.
    function setUp() public override {
        super.setUp();
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 100 * UNIT);
        list = new AllowList();
        list.set(alice, true);
        Params memory p = defaultParams();
        (p.managementFee, p.performanceFee, p.exitFee) = (0.05e18, 0.3e18, 0.01e18);
        p.complianceHook = list;
        changeParams(p);
        settle();
    }

    // WHAT IT GATES

    function test_deposit_requests_need_an_allowed_owner_and_controller() public {
        requestDeposit(alice, 10 * UNIT);
        fund(bob);
        fund(alice);
        requestReverts(bob, bob, bob);
        requestReverts(bob, alice, bob);
        requestReverts(alice, bob, alice);
        list.set(bob, true);
        vm.prank(alice);
        vault.requestDeposit(10 * UNIT, bob, alice);
        assertEq(vault.pendingDepositRequest(0, bob), 10 * UNIT);
        assertEq(vault.pendingDepositRequest(0, alice), 10 * UNIT);
    }

    /// @dev An operator acts for the owner, and is not asked about.
    function test_a_deposit_request_by_an_operator_is_the_owners() public {
        fund(alice);
        fund(bob);
        vm.prank(alice);
        vault.setOperator(carol, true);
        vm.prank(bob);
        vault.setOperator(alice, true);
        vm.prank(carol);
        vault.requestDeposit(10 * UNIT, alice, alice);
        requestReverts(alice, alice, bob);
    }

    function test_transfers_between_users_need_both_allowed() public {
        bytes memory reason = abi.encodeWithSelector(IVault.NotAllowed.selector, alice, bob);
        vm.startPrank(alice);
        vm.expectRevert(reason);
        vault.transfer(bob, 1e12);
        vault.approve(carol, type(uint256).max);
        vm.stopPrank();
        vm.startPrank(carol);
        vm.expectRevert(reason);
        vault.transferFrom(alice, bob, 1e12);
        list.set(bob, true);
        vault.transferFrom(alice, bob, 1e12);
        vm.stopPrank();
        vm.prank(bob);
        vault.transfer(alice, 2e12);
        assertEq(vault.balanceOf(alice), 501e12);
    }

    function test_nothing_can_be_requested_where_it_refuses() public view {
        assertGt(vault.maxRequestDeposit(alice), 0);
        assertEq(vault.maxRequestDeposit(bob), 0);
        assertEq(vault.maxRequestRedeem(bob), vault.balanceOf(bob));
    }

    // WHAT IT NEVER GATES

    function test_R_10_a_refused_holder_leaves_all_the_way() public {
        leaves();
    }

    function test_R_10_a_broken_hook_stops_nobody_from_leaving() public {
        list.destroy();
        assertEq(vault.maxRequestDeposit(alice), 0);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotAllowed.selector, alice, bob));
        vm.prank(alice);
        vault.transfer(bob, 1);
        fund(alice);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotAllowed.selector, alice, alice));
        vault.requestDeposit(10 * UNIT, alice, alice);
        leaves();
    }

    function test_cancelled_redemptions_and_deposits_go_back_to_a_refused_holder() public {
        list.set(bob, true);
        requestDeposit(bob, 10 * UNIT);
        list.set(bob, false);
        requestRedeem(bob, 100e12);
        vm.startPrank(bob);
        vault.cancelDepositRequest(0, bob);
        vault.cancelRedeemRequest(0, bob);
        assertEq(vault.claimCancelDepositRequest(0, bob, bob), 10 * UNIT);
        assertEq(vault.claimCancelRedeemRequest(0, bob, bob), 100e12);
        vm.stopPrank();
        assertEq(vault.balanceOf(bob), 500e12);
    }

    function test_shares_of_a_deposit_are_claimed_whatever_it_says_later() public {
        requestDeposit(alice, 10 * UNIT);
        settle();
        list.destroy();
        vm.prank(alice);
        assertGt(vault.deposit(10 * UNIT, alice), 0);
    }

    function test_settlements_and_fees_do_not_ask() public {
        requestDeposit(alice, 10 * UNIT);
        requestRedeem(bob, 100e12);
        list.destroy();
        uint256 fees = vault.balanceOf(feeRecipient);
        connector.setHeld(A, 150 * UNIT);
        skip(30 days);
        settle();
        // Management and performance fee, and one per cent of what left.
        assertGt(vault.balanceOf(feeRecipient), fees + 1e12);
        assertGt(vault.maxRedeem(bob), 0);
        assertGt(vault.maxMint(alice), 0);
    }

    function test_the_fee_receiver_is_a_user_like_any_other_when_it_transfers() public {
        skip(30 days);
        settle();
        assertGt(vault.balanceOf(feeRecipient), 0);
        vm.prank(feeRecipient);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotAllowed.selector, feeRecipient, alice));
        vault.transfer(alice, 1);
        uint256 shares = vault.balanceOf(feeRecipient);
        requestRedeem(feeRecipient, shares);
        settle();
        assertEq(vault.maxRedeem(feeRecipient), shares);
    }

    // BOUNDS

    /// @dev Whoever dislikes a change asks in one epoch, is paid in the next or frees the assets when the queue
    /// is too old, and is gone before it is made.
    function test_class_Q_no_parameters_make_leaving_take_longer_than_the_delay() public {
        Params memory p = defaultParams();
        p.maxAge = 3 days;
        announceParams(p);
        bytes memory reason = abi.encodeWithSelector(IVault.ParamOutOfBounds.selector, bytes32("maxAge"));
        vm.expectRevert(reason);
        vault.setParams(p);
        (p.maxAge, p.minEpochLength) = (2 days, 12 hours + 1);
        announceParams(p);
        vm.expectRevert(reason);
        vault.setParams(p);
        p.minEpochLength = 12 hours;
        changeParams(p);
        (p.maxAge, p.minEpochLength) = (3 days, 0);
        changeParams(p);
        assertEq(vault.params().maxAge, 3 days);
    }

    function test_a_longer_delay_makes_room_for_a_longer_age() public {
        govern(abi.encodeCall(registry.setDelay, (address(vault), 44 days)));
        Params memory p = defaultParams();
        (p.maxAge, p.minEpochLength) = (30 days, 7 days);
        changeParams(p);
        (p.maxAge, p.minEpochLength) = (30 days + 1, 0);
        announceParams(p);
        vm.expectRevert(abi.encodeWithSelector(IVault.ParamOutOfBounds.selector, bytes32("maxAge")));
        vault.setParams(p);
    }

    function leaves() private {
        requestRedeem(bob, 300e12);
        vm.prank(bob);
        vault.setOperator(carol, true);
        vm.prank(carol);
        vault.requestRedeem(200e12, bob, bob);
        settle();
        uint256 assets = vault.maxWithdraw(bob);
        vm.startPrank(bob);
        assertEq(vault.redeem(500e12, bob, bob), assets);
        vm.stopPrank();
        assertApproxEqRel(token.balanceOf(bob), 495 * UNIT, 0.01e18);
    }

    function fund(address user) private {
        token.mint(user, 10 * UNIT);
        vm.prank(user);
        token.approve(address(vault), type(uint256).max);
    }

    function requestReverts(address sender, address controller, address owner) private {
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotAllowed.selector, owner, controller));
        vault.requestDeposit(10 * UNIT, controller, owner);
    }
}
