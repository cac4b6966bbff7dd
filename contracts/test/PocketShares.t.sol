// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Params} from "../src/interfaces/IVault.sol";
import {Call} from "../src/interfaces/Types.sol";
import {PocketTest} from "./PocketTest.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title Who leaves while a position is split off keeps a part of it
contract PocketSharesTest is PocketTest {
    // WHO LEAVES AND WHO STAYS

    function test_a_leaver_and_a_stayer_get_the_same() public {
        split();
        uint256 paid = leave(alice, vault.balanceOf(alice));
        // 60 % of what can be read.
        assertApproxEqAbs(paid, 420 * UNIT, 1);
        (uint256 units, uint256 assets) = vault.residualOf(1, alice);
        assertApproxEqAbs(units, 0.6e27, 1e18);
        assertEq(assets, 0);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        assertApproxEqAbs(claim(alice), 180 * UNIT, 1);
        bring(100 * UNIT);
        withdrawPocketed(300 * UNIT);
        assertEq(cashOf(), 0);
        assertApproxEqAbs(leave(bob, vault.balanceOf(bob)), 400 * UNIT, 2);
        assertLe(token.balanceOf(alice) + token.balanceOf(bob), 1000 * UNIT);
    }

    function testFuzz_leavers_and_stayers_get_the_same_per_share(
        uint256 part,
        uint256 left,
        uint256 out,
        uint256 first
    ) public {
        part = bound(part, 1e12, vault.balanceOf(alice));
        split();
        requestRedeem(alice, part);
        first = bound(first, 0, 500 * UNIT);
        // What is not idle cannot be paid, so the first fill is a partial one.
        if (first != 0) supply(other, A, first);
        settleInTheEnd();
        bring(first);
        settleInTheEnd();
        out = bound(out, 0, 300 * UNIT);
        if (out != 0) withdrawPocketed(out);
        left = bound(left, 0, 600 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        setHeld(left);
        close();
        uint256 total = out + left;
        (, uint256 assets) = vault.residualOf(1, alice);
        uint256 fair = total * part / (1000 * UNIT * 1e6);
        assertLe(assets, fair);
        assertGe(assets + 3, fair);
        uint256 liquid = vault.maxWithdraw(alice);
        settle();
        uint256 stayers = settledPps() * (1000 * UNIT * 1e6 - part) / WHOLE;
        assertLe(liquid + assets + stayers, 700 * UNIT + total + 1);
        assertGe(liquid + assets + stayers + 5, 700 * UNIT + total);
        // Per share, to a unit of assets.
        assertApproxEqAbs(
            (liquid + assets) * (1000 * UNIT * 1e6 - part) / 1e18, stayers * part / 1e18, UNIT / 100
        );
    }

    function test_the_exit_fee_keeps_its_part_for_the_receiver() public {
        Params memory p = defaultParams();
        p.exitFee = 0.01e18;
        changeParams(p);
        split();
        uint256 shares = vault.balanceOf(alice);
        leave(alice, shares);
        (uint256 units,) = vault.residualOf(1, alice);
        // One hundredth of the shares went on to the receiver, and with them their part.
        assertApproxEqAbs(units, 0.594e27, 1e18);
        assertEq(vault.balanceOf(feeRecipient), shares / 100);
    }

    function test_requests_after_the_split_have_their_part_and_those_paid_before_have_none() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        uint256 tenth = vault.balanceOf(alice) / 6;
        requestRedeem(alice, tenth);
        settleAfterWindow();
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(connector), A);
        (uint256 units,) = vault.residualOf(1, alice);
        assertEq(units, 0);
        leave(bob, vault.balanceOf(bob));
        (units,) = vault.residualOf(1, alice);
        assertEq(units, 0);
        (units,) = vault.residualOf(1, bob);
        // 400 of the 900 that were left.
        assertApproxEqAbs(units, WHOLE * 4 / 9, 1e18);
    }

    function test_what_was_queued_before_the_split_and_filled_after_has_its_part() public {
        requestRedeem(alice, vault.balanceOf(alice));
        closeEpoch();
        split();
        vault.settle(settlement());
        skip(1 days);
        vault.settle(settlement());
        (uint256 units,) = vault.residualOf(1, alice);
        assertApproxEqAbs(units, 0.6e27, 1e18);
    }

    function test_who_cancels_in_a_window_keeps_shares_and_no_units() public {
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        settle();
        vm.startPrank(alice);
        vault.cancelRedeemRequest(0, alice);
        vault.claimCancelRedeemRequest(0, alice, alice);
        vm.stopPrank();
        skip(1 days);
        vault.settle(settlement());
        (uint256 units,) = vault.residualOf(1, alice);
        assertEq(units, 0);
        assertEq(vault.balanceOf(alice), 600 * UNIT * 1e6);
    }

    /// @dev Cancelled in a window after a part was filled: the part's units are theirs.
    function test_who_cancels_after_a_partial_fill_keeps_the_units_of_what_was_filled() public {
        supply(other, A, 390 * UNIT);
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        settleAfterWindow();
        settle();
        vm.prank(alice);
        vault.cancelRedeemRequest(0, alice);
        (uint256 units,) = vault.residualOf(1, alice);
        (uint256 owed,,) = vault.pocket(1);
        assertGt(owed, 0.25e27);
        assertApproxEqAbs(units, owed, 1e3);
        assertLe(units, owed);
    }

    function test_fees_are_not_charged_on_the_recovery() public {
        Params memory p = defaultParams();
        p.performanceFee = 0.3e18;
        p.maxRate = 4e9;
        changeParams(p);
        settle();
        uint256 mark = vault.highWaterMark();
        split();
        leave(alice, vault.balanceOf(alice) / 2);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        settle();
        // But for a unit that rounding left to the others.
        assertApproxEqRel(vault.highWaterMark(), mark, 0.00000001e18);
        assertLt(vault.balanceOf(feeRecipient), UNIT);
        // Nor is it held back: the limit on gains starts from the last sound price.
        withdrawPocketed(300 * UNIT);
        assertApproxEqAbs(leave(bob, vault.balanceOf(bob)), 400 * UNIT, 2);
    }

    /// @dev While most leave, the high of the few who stay counts all of the pocket.
    function test_class_V_an_open_pocket_is_no_base_for_the_price_of_deposits() public {
        Params memory p = defaultParams();
        p.maxStep = 0.01e18;
        changeParams(p);
        settle();
        uint256 high = vault.accounting().lastPpsHigh;
        split();
        leave(alice, vault.balanceOf(alice));
        leave(bob, vault.balanceOf(bob) - 4e12);
        assertEq(vault.accounting().lastPpsHigh, high);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        requestDeposit(stranger, 1_000 * UNIT);
        settle();
        assertEq(vault.maxDeposit(stranger), 1_000 * UNIT);
    }

    function test_a_settlement_without_the_quorum_issues_units_too() public {
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        closeEpoch();
        skip(3 days);
        portfolio.announce();
        skip(30 minutes);
        vm.startPrank(stranger);
        vault.settleUnattended();
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        vault.settleUnattended();
        vm.stopPrank();
        (uint256 units,) = vault.residualOf(1, alice);
        assertApproxEqAbs(units, 0.6e27, 1e18);
        assertApproxEqAbs(vault.maxWithdraw(alice), 420 * UNIT, 1);
    }

    // TWO POCKETS

    /// @dev Alice queues all, and touches nothing while two pockets open and close around her fills.
    function test_who_touches_nothing_gets_a_part_of_two_pockets() public {
        supply(other, A, 300 * UNIT);
        requestRedeem(alice, vault.balanceOf(alice));
        split();
        settleAfterWindow();
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        (uint256 first, uint256 firstAssets) = vault.residualOf(1, alice);
        assertGt(firstAssets, 0);
        other.setMode(A, Holdings.Mode.REVERT);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(other), A);
        connector.setHeld(A, connector.held(A));
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        settleAfterWindow();
        (uint256 same,) = vault.residualOf(1, alice);
        assertEq(same, first, "a later fill changed a closed pocket");
        other.setMode(A, Holdings.Mode.HONEST);
        close();
        (uint256 second, uint256 secondAssets) = vault.residualOf(2, alice);
        assertGt(second, 0);
        assertGt(secondAssets, 0);
        uint256 snapshot = vm.snapshotState();
        vm.startPrank(alice);
        assertEq(vault.claimResidual(1, alice, alice), firstAssets);
        assertEq(vault.claimResidual(2, alice, alice), secondAssets);
        vm.revertToState(snapshot);
        assertEq(vault.claimResidual(2, alice, alice), secondAssets);
        assertEq(vault.claimResidual(1, alice, alice), firstAssets);
        vm.stopPrank();
    }

    /// @dev Requests of after a pocket's end, in the same generation of the queue, have no part in it.
    function test_a_pocket_that_is_closed_gives_later_requests_nothing() public {
        supply(other, A, 500 * UNIT);
        requestRedeem(alice, vault.balanceOf(alice));
        split();
        settleAfterWindow();
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        (uint256 hers,) = vault.residualOf(1, alice);
        requestRedeem(bob, vault.balanceOf(bob));
        closeEpoch();
        vault.settle(settlement());
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        settle();
        (uint256 units,) = vault.residualOf(1, bob);
        assertEq(units, 0);
        redeemAll(bob);
        (units,) = vault.residualOf(1, bob);
        assertEq(units, 0);
        (units,) = vault.residualOf(1, alice);
        assertEq(units, hers);
    }

    /// @dev Three leave over many partial fills, with rescales, one of them touching every time.
    function testFuzz_units_never_exceed_what_is_owed(uint256 seed, uint256 fills) public {
        fills = bound(fills, 1, 12);
        address[3] memory users = [alice, bob, makeAddr("carol")];
        depositFor(users[2], 1000 * UNIT);
        split();
        // The price is tiny beside the queue: what a settlement pays is up to the idle assets.
        supply(other, A, portfolio.idle());
        requestRedeem(alice, vault.balanceOf(alice));
        requestRedeem(bob, vault.balanceOf(bob) / 2);
        for (uint256 i; i < fills; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            // All but a sliver now and then: the product falls by far, and is scaled up again.
            uint256 queued = vault.accounting().queuedShares + vault.accounting().openRedeems;
            uint256 price = settledPps() * queued / WHOLE;
            uint256 home = word % 3 == 0 ? price - price / 1e6 : price * (word % 100) / 100;
            bring(home > other.held(A) ? other.held(A) : home);
            settleInTheEnd();
            if (i == fills / 2) requestRedeem(users[2], vault.balanceOf(users[2]) / 3);
            if (vault.maxRedeem(alice) != 0) redeemAll(alice);
        }
        (uint256 owed,,) = vault.pocket(1);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        uint256 pot = potOf();
        assertEq(pot, 300 * UNIT * owed / WHOLE);
        uint256 sum;
        uint256 paid;
        for (uint256 i; i < 3; ++i) {
            (uint256 units, uint256 assets) = vault.residualOf(1, users[i]);
            sum += units;
            if (assets != 0) {
                paid += assets;
                vm.prank(users[i]);
                assertEq(vault.claimResidual(1, users[i], users[i]), assets);
            }
        }
        assertLe(sum, owed);
        assertLe(paid, pot);
        assertGe(paid + 3, pot, "a residual that nobody can claim");
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
    }

    // STEPS

    /// @dev From the other connector into idle.
    function bring(uint256 assets) private {
        if (assets == 0) return;
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, assets)));
        portfolio.execute(batch(calls));
    }
}
