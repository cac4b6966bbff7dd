// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {SharedHoldings} from "./fixtures/SharedHoldings.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @title An impaired position, split off: exits go on, and who leaves keeps a part of it
contract SidePocketTest is ChangedParams {
    uint256 private constant WHOLE = 1e27;

    Holdings private other;
    address private guardian = makeAddr("guardian");
    address private stranger = makeAddr("stranger");

    /// @dev 1,000: 600 idle, 300 in the position that breaks, 100 beside it. Alice has 600 of it, bob 400.
    function setUp() public override {
        super.setUp();
        other = addConnector("protocol:other");
        depositFor(alice, 600 * UNIT);
        depositFor(bob, 400 * UNIT);
        supply(connector, A, 300 * UNIT);
        supply(other, A, 100 * UNIT);
        settle();
        bytes memory data = abi.encodeCall(registry.setGuardian, (address(vault), guardian));
        registry.submit(address(vault), address(registry), data);
        skip(14 days);
        registry.setGuardian(address(vault), guardian);
    }

    // SPLITTING OFF

    function test_guardian_and_governor_alone_split_off() public {
        impairTwice();
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotAuthorised.selector, stranger));
        vm.prank(stranger);
        portfolio.splitOff(address(connector), A);
        uint256 snapshot = vm.snapshotState();
        vm.prank(guardian);
        portfolio.splitOff(address(connector), A);
        vm.revertToState(snapshot);
        vm.expectEmit();
        emit IPortfolio.SplitOff(1, address(connector), A);
        portfolio.splitOff(address(connector), A);
        (address connector_, uint64 since, bytes32 key, uint128 cash) = portfolio.pocket();
        assertEq(connector_, address(connector));
        assertEq(since, block.timestamp);
        assertEq(key, A);
        assertEq(cash, 0);
        assertEq(vault.pockets(), 1);
    }

    function test_class_O_one_reading_splits_nothing_off() public {
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.REVERT);
        refusedAsSound();
        skip(1 days);
        portfolio.announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        skip(30 minutes);
        refusedAsSound();
    }

    function test_the_readings_lie_half_an_hour_to_a_day_apart() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        uint256 at = block.timestamp;
        skip(30 minutes - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, at + 30 minutes));
        portfolio.splitOff(address(connector), A);
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, at + 1 days));
        portfolio.splitOff(address(connector), A);
    }

    /// @dev A batch inside a flash loan finds what it likes; only what the announcement itself read counts.
    function test_class_O_an_impairment_that_a_batch_saw_is_no_reading() public {
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        refusedAsSound();
    }

    function test_a_batch_does_not_keep_an_impaired_position_from_being_split_off() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        connector.setMode(A, Holdings.Mode.HONEST);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
        connector.setMode(A, Holdings.Mode.REVERT);
        skip(30 minutes);
        portfolio.splitOff(address(connector), A);
    }

    function test_a_doubtful_position_that_counts_is_not_split_off() public {
        connector.setMode(A, Holdings.Mode.DEGRADED);
        portfolio.announce();
        skip(30 minutes);
        refusedAsSound();
    }

    function test_unlisted_positions_and_changed_lists_are_refused() public {
        impairTwice();
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotListed.selector, address(connector), bytes32("c"))
        );
        portfolio.splitOff(address(connector), "c");
        registry.unlistPosition(address(vault), address(other), B);
        vm.expectRevert(IPortfolio.PositionsChanged.selector);
        portfolio.splitOff(address(connector), A);
    }

    function test_one_position_at_a_time() public {
        connector.setMode(Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(connector), A);
        bytes memory reason = abi.encodeWithSelector(IPortfolio.PocketIsOpen.selector, address(connector), A);
        vm.expectRevert(reason);
        portfolio.splitOff(address(connector), B);
        vm.expectRevert(reason);
        portfolio.splitOff(address(connector), A);
    }

    // WHAT NAV SEES

    function test_nav_leaves_it_out_whatever_it_reports() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        connector.setHeld(A, 1_000_000 * UNIT);
        assertNav(700 * UNIT, 1000 * UNIT);
        (Value memory value, bool healthy) = portfolio.positionValue(address(connector), A);
        assertEq(value.low, 0);
        assertEq(value.high, 300 * UNIT);
        assertFalse(healthy);
        assertEq(portfolio.exposures(RISK), 300 * UNIT);
    }

    /// @dev The announcement that a settlement without the quorum rests on reads it; NAV must not.
    function test_two_readings_leave_it_out_in_all_orders() public {
        split();
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        assertTwo(700 * UNIT);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.REVERT);
        assertTwo(700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        portfolio.closePocket();
        // The first reading of it is a sound one: nothing counts twice, nothing is missing.
        assertTwo(1000 * UNIT);
    }

    function test_deposits_wait_and_then_pay_for_what_came_back() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        requestDeposit(stranger, 100 * UNIT);
        settle();
        assertEq(vault.maxMint(stranger), 0);
        close();
        settle();
        assertEq(vault.maxMint(stranger), 100 * UNIT * 1e6);
    }

    function test_a_split_marks_down_and_never_up() public {
        split();
        vault.markDown();
        assertEq(vault.totalAssets(), 700 * UNIT);
        connector.setMode(A, Holdings.Mode.HONEST);
        close();
        assertEq(vault.totalAssets(), 700 * UNIT);
        skip(30 minutes);
        vm.expectRevert(abi.encodeWithSelector(IVault.NothingToMarkDown.selector, 700 * UNIT, 1000 * UNIT));
        vault.markDown();
    }

    // WHAT COMES OUT

    function test_what_comes_out_is_beside_nav_and_nobody_takes_it() public {
        split();
        uint256 idle = portfolio.idle();
        vm.expectEmit();
        emit IPortfolio.PocketFilled(30 * UNIT);
        withdrawPocketed(30 * UNIT);
        assertEq(portfolio.idle(), idle);
        assertEq(cashOf(), 30 * UNIT);
        assertNav(700 * UNIT, 1000 * UNIT);
        bytes memory data = abi.encodeCall(portfolio.skim, (token, stranger));
        registry.submit(address(vault), address(portfolio), data);
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NothingToSkim.selector, address(token)));
        portfolio.skim(token, stranger);
    }

    function test_what_a_neighbour_gives_is_idle() public {
        supply(connector, B, 50 * UNIT);
        split();
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (B, 50 * UNIT)))));
        assertEq(portfolio.idle(), 600 * UNIT);
        assertEq(cashOf(), 0);
    }

    /// @dev What comes out must not make up for what a neighbour loses in the same call.
    function test_what_comes_out_hides_no_loss() public {
        SharedHoldings leaking = _leaking();
        leaking.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(leaking), A);
        leaking.willTake(B, 20 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(leaking, 0, abi.encodeCall(Holdings.withdraw, (A, 50 * UNIT)));
        Batch memory b = batch(calls);
        b.maxLoss = 20 * UNIT - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 20 * UNIT, 20 * UNIT - 1));
        portfolio.execute(b);
    }

    function test_nothing_goes_in_and_nothing_else_comes_out() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        bytes memory impaired =
            abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A);
        Batch memory b = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))));
        vm.expectRevert(impaired);
        portfolio.execute(b);
        b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (A, 2 * UNIT, UNIT))));
        vm.expectRevert(impaired);
        portfolio.execute(b);
        b = batch(
            both(
                callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT))),
                callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))
            )
        );
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, address(connector), A));
        portfolio.execute(b);
    }

    function test_overdue_exits_force_nothing_out_of_it() public {
        supply(other, A, 600 * UNIT);
        split();
        requestRedeem(alice, vault.balanceOf(alice));
        closeEpoch();
        skip(2 days + 1);
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A));
        portfolio.forceDeallocate(address(connector), A, UNIT);
        // Emptying it passes although exits are overdue: it takes on no risk.
        withdrawPocketed(UNIT);
        assertEq(cashOf(), UNIT);
    }

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
            readAs(i == 0 ? 200 * UNIT : 202 * UNIT, i == 0 ? 202 * UNIT : 200 * UNIT);
            portfolio.closePocket();
            assertApproxEqAbs(claim(alice), 120 * UNIT, 1);
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
            readAs(i == 0 ? 200 * UNIT : 203 * UNIT, i == 0 ? 203 * UNIT : 200 * UNIT);
            vm.expectRevert(abi.encodeWithSelector(IPortfolio.ReadingsApart.selector, 200 * UNIT, 203 * UNIT));
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
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
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

    // ABANDONING

    function test_a_dead_position_leaves_the_list() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        abandoning(A);
        portfolio.announce();
        skip(30 minutes);
        registry.abandonPosition(address(vault), address(connector), A);
        assertNav(700 * UNIT, 700 * UNIT);
        assertEq(portfolio.exposures(RISK), 0);
        assertEq(registry.riskIdsOf(address(vault), address(connector), A).length, 0);
    }

    function test_a_live_position_is_not_abandoned_nor_one_that_is_dead_for_a_moment() public {
        abandoning(A);
        portfolio.announce();
        skip(30 minutes);
        bytes memory refusal =
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A);
        vm.expectRevert(refusal);
        registry.abandonPosition(address(vault), address(connector), A);
        connector.setMode(A, Holdings.Mode.REVERT);
        vm.expectRevert(refusal);
        registry.abandonPosition(address(vault), address(connector), A);
        abandoning("c");
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.PositionUnknown.selector, address(connector), bytes32("c"))
        );
        registry.abandonPosition(address(vault), address(connector), "c");
    }

    function test_a_pocketed_position_that_can_be_read_again_is_not_abandoned() public {
        split();
        abandoning(A);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        connector.setMode(A, Holdings.Mode.HONEST);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A)
        );
        registry.abandonPosition(address(vault), address(connector), A);
    }

    function test_abandoning_waits_and_may_be_vetoed() public {
        impairTwice();
        bytes memory data = abi.encodeCall(registry.abandonPosition, (address(vault), address(connector), A));
        bytes32 id = registry.changeId(address(registry), data);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.abandonPosition(address(vault), address(connector), A);
        registry.submit(address(vault), address(registry), data);
        vm.prank(guardian);
        registry.veto(address(vault), id);
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.abandonPosition(address(vault), address(connector), A);
    }

    function test_an_abandoned_pocket_pays_what_came_out_of_it() public {
        split();
        leave(alice, vault.balanceOf(alice));
        withdrawPocketed(50 * UNIT);
        abandoning(A);
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        uint256 idle = portfolio.idle();
        registry.abandonPosition(address(vault), address(connector), A);
        (address connector_,,, uint128 cash) = portfolio.pocket();
        assertEq(connector_, address(0));
        assertEq(cash, 0);
        uint256 residual = claim(alice);
        assertApproxEqAbs(residual, 30 * UNIT, 1);
        assertEq(portfolio.idle(), idle + 50 * UNIT - residual);
        // The next one may be split off.
        connector.setMode(B, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
        portfolio.splitOff(address(connector), B);
        assertEq(vault.pockets(), 2);
    }

    function test_what_is_pocketed_is_not_unlisted() public {
        split();
        connector.setMode(A, Holdings.Mode.HONEST);
        setHeld(0);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), A));
        registry.unlistPosition(address(vault), address(connector), A);
    }

    // STEPS

    function impairTwice() private {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
    }

    function split() private {
        impairTwice();
        portfolio.splitOff(address(connector), A);
    }

    function close() private {
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        vm.prank(stranger);
        portfolio.closePocket();
    }

    /// @dev Asks for all of it, is filled after the window, fetches it.
    function leave(address user, uint256 shares) private returns (uint256 paid) {
        requestRedeem(user, shares);
        settleInTheEnd();
        return redeemAll(user);
    }

    function settleInTheEnd() private {
        settle();
        if (vault.accounting().windowEndsAt == 0) return;
        skip(1 days);
        vault.settle(settlement());
    }

    function redeemAll(address user) private returns (uint256 paid) {
        uint256 shares = vault.maxRedeem(user);
        vm.prank(user);
        return vault.redeem(shares, user, user);
    }

    function claim(address user) private returns (uint256 assets) {
        uint256 balance = token.balanceOf(user);
        vm.prank(user);
        assets = vault.claimResidual(1, user, user);
        assertEq(token.balanceOf(user), balance + assets);
    }

    function withdrawPocketed(uint256 assets) private {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, assets)))));
    }

    /// @dev From the other connector into idle.
    function bring(uint256 assets) private {
        if (assets == 0) return;
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, assets)));
        portfolio.execute(batch(calls));
    }

    /// @dev What the position holds, and has.
    function setHeld(uint256 assets) private {
        connector.setHeld(A, assets);
        uint256 balance = token.balanceOf(address(connector));
        if (balance < assets) token.mint(address(connector), assets - balance);
    }

    /// @dev At the announcement, and half an hour later.
    function readAs(uint256 first, uint256 second) private {
        skip(1 days);
        setHeld(first);
        portfolio.announce();
        skip(30 minutes);
        setHeld(second);
    }

    function abandoning(bytes32 key) private {
        bytes memory data =
            abi.encodeCall(registry.abandonPosition, (address(vault), address(connector), key));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
    }

    function cashOf() private view returns (uint256 cash) {
        (,,, cash) = portfolio.pocket();
    }

    function potOf() private view returns (uint256) {
        (uint256 owed, uint256 total,) = vault.pocket(1);
        return owed * total / WHOLE;
    }

    function refusedAsSound() private {
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotImpaired.selector, address(connector), A)
        );
        portfolio.splitOff(address(connector), A);
    }

    function assertNav(uint256 low, uint256 high) private view {
        (Value memory nav, bool healthy) = portfolio.nav();
        assertEq(nav.low, low);
        assertEq(nav.high, high);
        assertEq(healthy, low == high);
    }

    function assertTwo(uint256 low) private view {
        (Value memory nav, bool healthy,) = portfolio.twoReadings();
        assertEq(nav.low, low);
        assertEq(healthy, low == 1000 * UNIT);
    }

    function _leaking() private returns (SharedHoldings leaking) {
        leaking = new SharedHoldings(address(portfolio), token);
        for (uint256 i; i < 2; ++i) {
            govern(
                abi.encodeCall(
                    registry.listPosition,
                    (address(vault), address(leaking), i == 0 ? A : B, only("protocol:leaking"))
                )
            );
        }
        govern(abi.encodeCall(registry.setCap, (address(vault), "protocol:leaking", 1000 * UNIT)));
        allowAll(leaking);
        supply(leaking, A, 100 * UNIT);
        supply(leaking, B, 100 * UNIT);
    }
}
