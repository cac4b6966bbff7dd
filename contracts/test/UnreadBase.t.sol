// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Params} from "../src/interfaces/IVault.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @dev Bases that a settlement with an unreadable
/// position sets, or fails to set.
contract UnreadBaseTest is ChangedParams {
    /// @dev A stolen quorum settles an epoch whose queue is empty while a position is unreadable: no window, but
    /// if the marked-down price became the base, the next epoch would see no fall, and alice be filled low without
    /// a warning.
    function test_class_O_an_unreadable_settlement_of_an_empty_queue_is_no_way_around_the_window() public {
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 500 * UNIT);
        settle();
        closeEpoch();
        requestRedeem(alice, 100e12);
        // From here one actor, two settlements, each with its own moment in which the position cannot be read.
        connector.setMode(Holdings.Mode.REVERT);
        vault.settle(settlement());
        connector.setMode(Holdings.Mode.HONEST);
        closeEpoch();
        connector.setMode(Holdings.Mode.REVERT);
        vault.settle(settlement());
        connector.setMode(Holdings.Mode.HONEST);
        assertEq(vault.maxRedeem(alice), 0, "filled at half of what it is worth, with no window");
    }

    /// @dev Who requests during a window is in the next epoch: its base is the marked-down price.
    function test_class_O_late_joiners_have_a_window_of_their_own() public {
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 500 * UNIT);
        requestRedeem(bob, 1e12); // the attacker's
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        connector.setMode(Holdings.Mode.HONEST);
        skip(1 days);
        requestRedeem(alice, 100e12);
        connector.setMode(Holdings.Mode.REVERT);
        vault.settle(settlement());
        closeEpoch();
        vault.settle(settlement());
        connector.setMode(Holdings.Mode.HONEST);
        assertEq(vault.maxRedeem(alice), 0, "filled at half of what it is worth, with no window");
    }

    /// @dev A high in doubt for one settlement: a deposit would wait for it to come down by hundreds of steps.
    function test_class_O_a_high_in_doubt_is_no_base_for_the_price_of_deposits() public {
        small(0.01e18);
        uint256 high = vault.accounting().lastPpsHigh;
        connector.setMode(A, Holdings.Mode.DEGRADED);
        connector.setHeld(A, 100_000 * UNIT);
        settle();
        assertEq(vault.accounting().lastPpsHigh, high);
        connector.setMode(A, Holdings.Mode.HONEST);
        connector.setHeld(A, 100 * UNIT);
        requestDeposit(bob, 1_000 * UNIT);
        settle();
        assertEq(vault.maxDeposit(bob), 1_000 * UNIT);
    }

    /// @dev It steps down all the same: nobody waits the longer for a loss because something was in doubt then.
    function test_class_O_a_loss_lowers_the_price_of_deposits_while_something_is_in_doubt() public {
        small(0.01e18);
        uint256 high = vault.accounting().lastPpsHigh;
        connector.setMode(A, Holdings.Mode.DEGRADED);
        connector.setHeld(A, 50 * UNIT);
        settle();
        assertEq(vault.accounting().lastPpsHigh, high * 99 / 100);
    }

    /// @dev A tenth of it at work, and a price of deposits that falls by so much at a time.
    function small(uint64 step) private {
        Params memory p = defaultParams();
        p.maxStep = step;
        changeParams(p);
        depositFor(alice, 1_000 * UNIT);
        supply(A, 100 * UNIT);
        settle();
    }

    /// @dev The same, across the window that opens without a loss: what is paid in the end.
    function test_class_N_a_speck_that_stays_unreadable_does_not_hold_redemptions_at_an_old_price() public {
        speck();
        settle();
        skip(1 days);
        if (vault.accounting().windowEndsAt != 0) vault.settle(settlement());
        assertApproxEqAbs(vault.maxWithdraw(alice), 107.2e6, 0.5e6, "the gain of a year is held back");
    }

    /// @dev One unit in a market that can never be read again: no settlement is healthy any more, the base of the
    /// limit on gains stays where it was while its clock starts anew with every settlement, and redemptions are
    /// paid the price of long ago for ever. An unreadable position cannot be unlisted either.
    function test_class_N_the_limit_on_gains_grows_while_a_speck_stays_unreadable() public {
        speck();
        settle();
        // The limited price lies 7 % below the settled one: that alone opens a loss window, too.
        assertEq(vault.accounting().windowEndsAt, 0, "a window without a loss");
    }

    function speck() private {
        Params memory p = defaultParams();
        p.maxRate = 4e9; // 12.6 % a year
        changeParams(p);
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 800 * UNIT);
        supply(B, 1);
        settle();
        connector.setMode(B, Holdings.Mode.REVERT);
        uint256 held = 800 * UNIT;
        for (uint256 month; month < 12; ++month) {
            skip(30 days);
            held += 6 * UNIT; // 7.2 % a year of NAV, below the limit
            token.mint(address(connector), 6 * UNIT);
            connector.setHeld(A, held);
            settle();
        }
        requestRedeem(alice, 100e12);
    }

    /// @dev All readable: a gain above the limit is held back, as it should be, but measured against the price
    /// that was settled with it the next epoch seems to have lost it.
    function test_class_N_a_gain_that_is_held_back_is_no_loss() public {
        Params memory p = defaultParams();
        p.maxRate = 4e9;
        changeParams(p);
        depositFor(alice, 500 * UNIT);
        depositFor(bob, 500 * UNIT);
        supply(A, 800 * UNIT);
        settle();
        token.mint(address(connector), 150 * UNIT);
        connector.setHeld(A, 950 * UNIT);
        settle();
        requestRedeem(alice, 100e12);
        settle();
        assertEq(vault.accounting().windowEndsAt, 0, "a window without a loss");
    }
}
