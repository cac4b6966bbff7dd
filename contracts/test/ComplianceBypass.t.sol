// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ICompliance} from "../src/interfaces/ICompliance.sol";
import {Params} from "../src/interfaces/IVault.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";

contract Nobody is ICompliance {
    function allows(address, address, uint256) external pure override returns (bool) {
        return false;
    }
}

/// @dev Shares must not go from user to user past the hook: by a redemption request for another
/// controller, who cancels it, or by the receiver of a cancellation.
contract ComplianceBypassTest is ChangedParams {
    function setUp() public override {
        super.setUp();
        depositFor(alice, 500 * UNIT);
        Params memory p = defaultParams();
        p.complianceHook = new Nobody();
        changeParams(p);
    }

    function test_class_G_shares_do_not_change_hands_by_a_request_for_another_controller() public {
        vm.prank(alice);
        try vault.requestRedeem(100e12, bob, alice) returns (uint256) {} catch {}
        vm.startPrank(bob);
        try vault.cancelRedeemRequest(0, bob) {} catch {}
        try vault.claimCancelRedeemRequest(0, bob, bob) returns (uint256) {} catch {}
        vm.stopPrank();
        assertEq(vault.balanceOf(bob), 0, "bob holds shares that the hook refuses him");
    }

    function test_class_G_shares_do_not_change_hands_by_the_receiver_of_a_cancellation() public {
        requestRedeem(alice, 100e12);
        vm.startPrank(alice);
        vault.cancelRedeemRequest(0, alice);
        try vault.claimCancelRedeemRequest(0, bob, alice) returns (uint256) {} catch {}
        vm.stopPrank();
        assertEq(vault.balanceOf(bob), 0, "bob holds shares that the hook refuses him");
    }
}
