// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChangedParams} from "./fixtures/ChangedParams.sol";

/// @dev Invariant 8 for the price of a loss window: what those who
/// stayed in the queue forgo in a recovery must not go to deposits of the same settlement.
contract WindowGainTest is ChangedParams {
    function test_class_A_a_new_deposit_does_not_capture_what_a_window_takes_from_redemptions() public {
        depositFor(alice, 100 * UNIT);
        supply(A, 40 * UNIT);
        requestRedeem(alice, 50e12);
        requestDeposit(bob, 1000 * UNIT);
        connector.setHeld(A, 20 * UNIT);
        settle();
        connector.setHeld(A, 40 * UNIT);
        skip(1 days);
        vault.settle(settlement());
        uint256 claimable = vault.maxDeposit(bob);
        if (claimable == 0) return; // rolled
        vm.prank(bob);
        uint256 shares = vault.deposit(claimable, bob);
        assertLe(vault.convertToAssets(shares), 1000 * UNIT, "bob gains at once");
    }
}
