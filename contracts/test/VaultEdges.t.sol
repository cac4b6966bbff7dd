// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC7887Redeem} from "../src/interfaces/IERC7887.sol";
import {ICompliance} from "../src/interfaces/ICompliance.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {Settlement} from "../src/interfaces/Types.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";

/// @dev Lets one account give to one other.
contract OneWay is ICompliance {
    address private immutable GIVER;
    address private immutable TAKER;

    constructor(address giver, address taker) {
        (GIVER, TAKER) = (giver, taker);
    }

    function allows(address from, address to, uint256) external view override returns (bool) {
        return from == GIVER && to == TAKER;
    }
}

/// @title Figures, events and moments of the vault, to the unit and the second
contract VaultEdgesTest is ChangedParams {
    function test_a_cancelled_redemption_is_logged_under_request_id_zero() public {
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 40e12);
        vm.expectEmit(address(vault));
        emit IERC7887Redeem.CancelRedeemRequest(alice, 0, alice);
        vm.prank(alice);
        vault.cancelRedeemRequest(0, alice);
    }

    function test_a_settlement_that_nobody_signs_logs_the_deposits_it_leaves() public {
        depositFor(alice, 100 * UNIT);
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        skip(3 days);
        portfolio.announce();
        skip(30 minutes);
        vm.expectEmit(address(vault));
        emit IVault.DepositsRolled(2, 50 * UNIT);
        vault.settleUnattended();
    }

    function test_deposits_are_welcome_from_the_second_a_pause_ends() public {
        depositFor(alice, 100 * UNIT);
        requestDeposit(bob, 50 * UNIT);
        registry.pauseRisk(address(vault));
        skip(1 hours);
        vault.closeEpoch();
        vm.warp(registry.riskPausedUntil(address(vault)) - 1);
        uint256 snapshot = vm.snapshotState();
        vault.settle(settlement());
        assertEq(vault.maxDeposit(bob), 0, "a second too early");
        vm.revertToState(snapshot);
        skip(1);
        vault.settle(settlement());
        assertEq(vault.maxDeposit(bob), 50 * UNIT);
    }

    function test_deposits_are_accepted_at_the_highest_signed_price_and_roll_above_it() public {
        Params memory p = defaultParams();
        p.managementFee = 0.01e18;
        changeParams(p);
        depositFor(alice, 100 * UNIT);
        requestDeposit(bob, 50 * UNIT);
        skip(1 days);
        closeEpoch();
        uint256 snapshot = vm.snapshotState();
        registry.pauseRisk(address(vault));
        vault.settle(settlement());
        uint256 redeemPps = settledPps();
        assertEq(vault.maxDeposit(bob), 0);
        vm.revertToState(snapshot);
        Settlement memory s = settlement();
        s.maxPps = redeemPps;
        vault.settle(s);
        assertEq(vault.maxDeposit(bob), 0, "deposits round their price up");
        vm.revertToState(snapshot);
        s.maxPps = redeemPps + 1;
        vault.settle(s);
        assertEq(vault.maxDeposit(bob), 50 * UNIT);
    }

    function test_class_Q_a_request_of_one_unit_keeps_its_place() public {
        Params memory p = defaultParams();
        p.minDeposit = 1;
        changeParams(p);
        requestDeposit(alice, 1);
        closeEpoch();
        requestDeposit(alice, 5);
        vault.settle(settlement());
        assertEq(vault.maxDeposit(alice), 1);
        assertEq(vault.pendingDepositRequest(0, alice), 5);
    }

    /// @dev Claims are counted in 128 bits: shares beyond could be neither claimed nor given back.
    function test_class_A_a_deposit_that_makes_more_shares_than_can_be_claimed_rolls() public {
        Params memory p = defaultParams();
        p.depositCap = type(uint128).max;
        changeParams(p);
        uint256 most = type(uint128).max / 1e6;
        requestDeposit(alice, most + 1);
        settle();
        assertEq(vault.maxDeposit(alice), 0);
        vm.prank(alice);
        vault.cancelDepositRequest(0, alice);
        requestDeposit(alice, most);
        settle();
        vm.prank(alice);
        assertEq(vault.deposit(most, alice), most * 1e6);
        requestDeposit(bob, UNIT);
        settle();
        assertEq(vault.maxDeposit(bob), 0);
        assertEq(vault.pendingDepositRequest(0, bob), UNIT);
    }

    function test_exits_owed_are_counted_at_the_price_of_the_last_settlement_rounded_down() public {
        depositFor(alice, 3 * UNIT);
        supply(A, 3 * UNIT);
        requestRedeem(alice, 3e12);
        settle();
        skip(2 days + 1);
        assertEq(vault.overdueExits(), uint256(3e12) * (3 * UNIT + 1) / (3e12 + 1e6));
    }

    function test_nav_as_priced_is_the_price_times_all_shares() public {
        Params memory p = defaultParams();
        p.maxRate = 0.1e18 / uint64(365 days) + 1;
        changeParams(p);
        depositFor(alice, 100 * UNIT);
        supply(A, 50 * UNIT);
        connector.setHeld(A, 100 * UNIT);
        settle();
        uint256 pps = vault.accounting().lastPpsLow;
        assertLt(pps, PPS_START * 2, "held back");
        assertEq(vault.totalAssets(), 150 * UNIT);
        assertEq(vault.pricedNav(), (vault.totalSupply() + 1e6) * pps / 1e27);
    }

    /// @dev Idle assets that are just what the queue is worth fill all of it, whatever rounding leaves of a share.
    function test_class_Q_assets_that_just_suffice_fill_the_whole_queue() public {
        depositFor(alice, 100 * UNIT);
        requestRedeem(alice, 1e12 + 5e5);
        supply(A, 99 * UNIT);
        settle();
        assertEq(vault.escrowed(), UNIT);
        assertEq(vault.pendingRedeemRequest(0, alice), 0, "a rest that nothing is left for");
    }

    function test_the_compliance_hook_learns_who_gives_and_who_takes() public {
        depositFor(alice, 100 * UNIT);
        depositFor(bob, 100 * UNIT);
        Params memory p = defaultParams();
        p.complianceHook = new OneWay(alice, bob);
        changeParams(p);
        vm.prank(alice);
        vault.transfer(bob, 1e12);
        assertEq(vault.balanceOf(bob), 101e12);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotAllowed.selector, bob, alice));
        vm.prank(bob);
        vault.transfer(alice, 1e12);
    }
}
