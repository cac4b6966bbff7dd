// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Params} from "../src/interfaces/IVault.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title A vault of which next to nothing is left: no share is held back while all are worth less than a deposit
contract FewSharesTest is ChangedParams {
    function setUp() public override {
        super.setUp();
        Params memory p = defaultParams();
        p.maxRate = 4e9; // 12.6 % a year
        changeParams(p);
    }

    function test_class_A_one_share_and_a_speck_keep_no_deposit_away() public {
        depositFor(alice, 2 * UNIT);
        requestRedeem(alice, 2e12 - 1);
        settle();
        assertEq(vault.totalSupply(), 1);
        gain(1000);
        requestDeposit(bob, 1_000_000 * UNIT);
        settle();
        assertEq(vault.maxDeposit(bob), 1_000_000 * UNIT);
    }

    /// @dev Nobody means it: the last one to leave keeps a share, and a gain above `maxRate` stays behind.
    function test_class_A_what_the_last_one_leaves_behind_keeps_no_deposit_away() public {
        depositFor(alice, 10_000 * UNIT);
        supply(A, 5000 * UNIT);
        requestRedeem(alice, vault.balanceOf(alice) - 1);
        gain(20 * UNIT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        settle();
        assertEq(vault.totalSupply(), 1);
        assertGt(vault.totalAssets(), 19 * UNIT);
        requestDeposit(bob, 1000 * UNIT);
        settle();
        assertEq(vault.maxDeposit(bob), 1000 * UNIT);
    }

    /// @dev Half a unit of shares, all at work in a market whose rate soars for the moment of a settlement: by their
    /// worth at any older price the shares are few, and would be paid out of the deposit that is accepted with them.
    function test_class_A_a_rate_that_soars_pays_few_shares_nothing_of_a_deposit() public {
        depositFor(alice, 2 * UNIT);
        requestRedeem(alice, 1.5e12);
        settle();
        supply(A, UNIT / 2);
        requestRedeem(alice, 0.5e12);
        requestDeposit(bob, 1000 * UNIT);
        connector.setHeld(A, 500 * UNIT);
        settle();
        connector.setHeld(A, UNIT / 2);
        assertEq(vault.maxDeposit(bob), 0, "the two prices are apart");
        assertEq(vault.maxWithdraw(alice), 1.5e6);
    }

    function test_shares_are_held_back_from_the_unit_on_in_which_they_are_worth_a_deposit() public {
        Params memory p = vault.params();
        p.minDeposit = 2 * uint128(UNIT);
        depositFor(alice, UNIT);
        changeParams(p);
        uint256 state = vm.snapshotState();
        // The virtual shares have a millionth of NAV: two of its smallest units.
        gain(UNIT);
        settle();
        assertEq(vault.accounting().lastPpsLow, settledPps(), "one unit less");
        vm.revertToState(state);
        gain(UNIT + 1);
        settle();
        assertLt(vault.accounting().lastPpsLow, settledPps());
    }

    /// @dev Comes to the position from elsewhere.
    function gain(uint256 assets) private {
        token.mint(address(connector), assets);
        connector.setHeld(A, connector.held(A) + assets);
    }
}
