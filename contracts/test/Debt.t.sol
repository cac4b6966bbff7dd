// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Batch, Call, Status, Value} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Margin} from "./fixtures/Margin.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev A vault with a position that can be indebted, in accounts per key and in one account for all of them.
abstract contract MarginFixture is VaultFixture {
    bytes32 internal constant LENT = "protocol:isolated";
    bytes32 internal constant POOLED = "protocol:shared";

    Margin internal own;
    Margin internal shared;

    /// @dev 1,000 in the vault, 700 of it idle.
    function setUp() public virtual override {
        super.setUp();
        own = addMargin(LENT, true);
        shared = addMargin(POOLED, false);
        depositFor(alice, 1000 * UNIT);
        supply(connector, A, 300 * UNIT);
    }

    function addMargin(bytes32 riskId, bool isolated) internal returns (Margin added) {
        added = new Margin(address(portfolio), token, [A, B], isolated);
        for (uint256 i; i < 2; ++i) {
            bytes32 key = i == 0 ? A : B;
            govern(abi.encodeCall(registry.listPosition, (address(vault), address(added), key, only(riskId))));
        }
        govern(abi.encodeCall(registry.setCap, (address(vault), riskId, 1_000_000 * UNIT)));
        bytes4[8] memory selectors = [
            Margin.supply.selector,
            Margin.lend.selector,
            Margin.withdraw.selector,
            Margin.borrow.selector,
            Margin.repay.selector,
            Margin.withdrawAndBorrow.selector,
            Margin.repayAtLoss.selector,
            Margin.repayAndRecover.selector
        ];
        for (uint256 i; i < selectors.length; ++i) {
            allow(address(added), selectors[i]);
        }
    }

    /// @dev Collateral of 100 and a debt such that health is `health`; what was borrowed is idle.
    function lever(Margin at, bytes32 key, uint256 health) internal {
        uint256 debt = 80 * UNIT * 1e18 / health;
        run(both(supplying(at, key, 100 * UNIT), borrowing(at, key, debt)));
    }

    function supplying(Margin at, bytes32 key, uint256 assets) internal view returns (Call memory) {
        return action(at, assets, abi.encodeCall(Margin.supply, (key, assets)));
    }

    function lending(Margin at, bytes32 key, uint256 assets) internal view returns (Call memory) {
        return action(at, assets, abi.encodeCall(Margin.lend, (key, assets)));
    }

    function borrowing(Margin at, bytes32 key, uint256 assets) internal view returns (Call memory) {
        return action(at, 0, abi.encodeCall(Margin.borrow, (key, assets)));
    }

    function repaying(Margin at, bytes32 key, uint256 assets) internal view returns (Call memory) {
        return action(at, assets, abi.encodeCall(Margin.repay, (key, assets)));
    }

    function withdrawing(Margin at, bytes32 key, uint256 assets) internal view returns (Call memory) {
        return action(at, 0, abi.encodeCall(Margin.withdraw, (key, assets)));
    }

    function action(Margin at, uint256 push, bytes memory data) internal view returns (Call memory) {
        return Call({target: address(at), token: address(token), amount: push, data: data});
    }

    function one(Call memory only_) internal pure returns (Call[] memory calls) {
        calls = new Call[](1);
        calls[0] = only_;
    }

    function run(Call[] memory calls) internal {
        portfolio.execute(batch(calls));
    }

    function refused(Call[] memory calls, bytes memory reason) internal {
        Batch memory b = batch(calls);
        b.maxLoss = 1000 * UNIT;
        vm.expectRevert(reason);
        portfolio.execute(b);
    }

    function refusedAsRisk(Call[] memory calls) internal {
        refused(
            calls,
            abi.encodeWithSelector(IPortfolio.RiskIsPaused.selector, registry.riskPausedUntil(address(vault)))
        );
    }

    function impaired(Margin at, bytes32 key) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(at), key);
    }

    function budgets() internal view returns (uint256 raising, uint256 reducing) {
        return portfolio.lossBudgets();
    }
}

/// @title Debts: what they count, what they are held against, and what they never stop
contract DebtTest is MarginFixture {
    // EXPOSURE IS GROSS

    function test_class_V_borrowing_and_repaying_leave_nav_as_it_is() public {
        run(one(supplying(own, A, 100 * UNIT)));
        run(one(borrowing(own, A, 60 * UNIT)));
        assertEq(portfolio.idle(), 660 * UNIT);
        (Value memory nav, bool healthy) = portfolio.nav();
        assertEq(nav.low, 1000 * UNIT);
        assertTrue(healthy);
        run(one(repaying(own, A, 60 * UNIT)));
        (nav,) = portfolio.nav();
        assertEq(nav.low, 1000 * UNIT);
        assertEq(portfolio.idle(), 600 * UNIT);
    }

    function test_what_a_position_owns_counts_as_exposure_and_not_what_it_owns_net() public {
        run(both(supplying(own, A, 100 * UNIT), borrowing(own, A, 60 * UNIT)));
        run(one(supplying(own, A, 60 * UNIT)));
        assertExposure(own, LENT, 100 * UNIT, 60 * UNIT);
        assertEq(portfolio.exposures(LENT), 160 * UNIT);
        run(both(withdrawing(own, A, 60 * UNIT), repaying(own, A, 60 * UNIT)));
        assertExposure(own, LENT, 100 * UNIT, 0);
        run(one(withdrawing(own, A, 100 * UNIT)));
        assertExposure(own, LENT, 0, 0);
    }

    function test_R14_leverage_does_not_hide_exposure_from_its_cap() public {
        registry.lowerCap(address(vault), LENT, 120 * UNIT);
        Call[] memory loop = new Call[](3);
        (loop[0], loop[1], loop[2]) =
        (supplying(own, A, 100 * UNIT), borrowing(own, A, 30 * UNIT), supplying(own, A, 30 * UNIT));
        refused(loop, abi.encodeWithSelector(IPortfolio.CapExceeded.selector, LENT, 130 * UNIT, 120 * UNIT));
        (loop[1], loop[2]) = (borrowing(own, A, 20 * UNIT), supplying(own, A, 20 * UNIT));
        run(loop);
        assertExposure(own, LENT, 100 * UNIT, 20 * UNIT);
    }

    function test_above_the_cap_less_exposure_passes_whatever_is_owed() public {
        lever(own, A, 1.5e18);
        registry.lowerCap(address(vault), LENT, 0);
        uint256 debt = own.debt(A);
        run(both(withdrawing(own, A, 10 * UNIT), repaying(own, A, 10 * UNIT)));
        assertEq(portfolio.exposures(LENT), 90 * UNIT);
        assertEq(portfolio.markedDebt(address(own), A), debt - 10 * UNIT);
    }

    function test_a_position_that_cannot_be_read_keeps_the_exposure_it_had() public {
        lever(own, A, 1.5e18);
        uint256 debt = own.debt(A);
        own.setBroken(true);
        run(one(withdrawing(own, A, UNIT)));
        assertExposure(own, LENT, 100 * UNIT - debt, debt);
        (Value memory value, bool healthy) = portfolio.positionValue(address(own), A);
        assertFalse(healthy);
        assertEq(value.low, 0);
        assertEq(value.high, 100 * UNIT - debt, "its last good value is what it owned less what it owed");
        (debt,) = portfolio.positionDebt(address(own), A);
        assertEq(debt, 0, "unknown");
    }

    function test_a_settlement_counts_debt_that_no_batch_ever_brought() public {
        own.set(A, 40 * UNIT, 40 * UNIT);
        settle();
        assertExposure(own, LENT, 0, 40 * UNIT);
        settle();
        own.set(A, 90 * UNIT, 50 * UNIT);
        settle();
        // As with what it owns: settlements leave exposures alone once there are any.
        assertExposure(own, LENT, 0, 40 * UNIT);
        token.mint(address(own), UNIT);
        run(one(withdrawing(own, A, UNIT)));
        assertExposure(own, LENT, 39 * UNIT, 50 * UNIT);
    }

    // LISTS

    /// @dev Nothing is left of it net: that is when it owes most of what it owns.
    function test_class_R_an_indebted_position_stays_on_the_list() public {
        own.set(A, 40 * UNIT, 40 * UNIT);
        settle();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(own), A));
        registry.unlistPosition(address(vault), address(own), A);
        own.set(A, 0, 0);
        registry.unlistPosition(address(vault), address(own), A);
        assertEq(portfolio.exposures(LENT), 0);
        assertEq(portfolio.markedDebt(address(own), A), 0);
    }

    // A DEBT THAT GROWS

    /// @dev Idle rises and so does nothing that the position is worth: before debts counted, a reduction.
    function test_class_S_borrowing_is_new_risk() public {
        run(one(supplying(own, A, 100 * UNIT)));
        registry.pauseRisk(address(vault));
        refusedAsRisk(one(borrowing(own, A, 11)));
        // Interest of the moment is none.
        run(one(borrowing(own, A, 10)));
    }

    function test_class_S_a_debt_that_rises_behind_falling_exposure_is_new_risk() public {
        run(one(supplying(own, A, 100 * UNIT)));
        bytes memory data = abi.encodeCall(Margin.withdrawAndBorrow, (A, 50 * UNIT, 20 * UNIT));
        Call[] memory calls = one(action(own, 0, data));
        registry.pauseRisk(address(vault));
        refusedAsRisk(calls);
        skip(7 days);
        registry.setExitOnly(address(vault), address(own));
        refused(calls, abi.encodeWithSelector(IPortfolio.ConnectorIsExitOnly.selector, address(own)));
    }

    /// @dev What one key owes less is no room for another: they are accounts of their own.
    function test_class_S_a_debt_that_moves_between_accounts_is_new_risk() public {
        lever(own, A, 1.5e18);
        own.set(B, 100 * UNIT, 0);
        registry.pauseRisk(address(vault));
        refusedAsRisk(both(borrowing(own, B, 20 * UNIT), repaying(own, A, 20 * UNIT)));
        run(one(repaying(own, A, 20 * UNIT)));
    }

    /// @dev A key that is left bears less of a debt, and another one more of it: nobody has borrowed. That holds
    /// where there is one account, and nowhere else.
    function test_a_debt_that_moves_between_keys_of_one_account_stops_no_exit() public {
        Margin[2] memory margins = [shared, own];
        for (uint256 i; i < 2; ++i) {
            lever(margins[i], A, 1.5e18);
            run(one(supplying(margins[i], B, 100 * UNIT)));
            margins[i].willMoveDebt(A, B, 40 * UNIT);
        }
        registry.pauseRisk(address(vault));
        run(one(withdrawing(shared, A, 60 * UNIT)));
        // Both keys are named, so that both are read.
        refusedAsRisk(both(withdrawing(own, A, 60 * UNIT), withdrawing(own, B, UNIT)));
    }

    function test_losses_on_new_debt_are_charged_as_those_of_new_risk() public {
        run(one(supplying(own, A, 100 * UNIT)));
        bytes memory data = abi.encodeCall(Margin.withdrawAndBorrow, (A, 20 * UNIT, 10 * UNIT));
        Call[] memory calls =
            both(action(own, 0, data), action(own, 15 * UNIT, abi.encodeCall(Margin.repayAtLoss, (A, 1, 1))));
        Batch memory b = batch(calls);
        b.maxLoss = 15 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    // A DEBT THAT FALLS

    /// @dev Net value grows, idle assets fall: what was once all that a reduction could not be.
    function test_M_52_repaying_passes_whatever_stands_in_the_way_of_risk() public {
        lever(own, A, 1.1e18);
        registry.setExitOnly(address(vault), address(own));
        registry.lowerCap(address(vault), LENT, 0);
        registry.pauseRisk(address(vault));
        run(one(repaying(own, A, 20 * UNIT)));
        _exitsAreOverdue();
        run(one(repaying(own, A, 20 * UNIT)));
        (, uint256 reducing) = budgets();
        assertEq(reducing, 0.02e18);
    }

    function test_a_loss_while_repaying_is_one_of_a_reduction() public {
        lever(own, A, 1.1e18);
        Batch memory b =
            batch(one(action(own, 40 * UNIT, abi.encodeCall(Margin.repayAtLoss, (A, 40 * UNIT, 15 * UNIT)))));
        b.maxLoss = 15 * UNIT;
        portfolio.execute(b);
        (uint256 raising, uint256 reducing) = budgets();
        assertEq(raising, 0.01e18);
        assertApproxEqAbs(reducing, 0.005e18, 1e13);
    }

    /// @dev A debt that falls excuses no position that grows beside it.
    function test_repaying_makes_no_reduction_of_a_batch_that_invests_as_well() public {
        lever(own, A, 1.5e18);
        registry.pauseRisk(address(vault));
        refusedAsRisk(both(repaying(own, A, 20 * UNIT), supplying(own, B, 20 * UNIT)));
    }

    // DEFENCE

    function test_class_S_a_position_close_to_liquidation_is_defended_while_risk_is_stopped() public {
        lever(own, A, 1.1e18);
        registry.setExitOnly(address(vault), address(own));
        registry.pauseRisk(address(vault));
        run(one(supplying(own, A, 5 * UNIT)));
        _exitsAreOverdue();
        run(one(supplying(own, A, 5 * UNIT)));
        assertEq(own.collateral(A), 110 * UNIT);
        assertGt(own.health(A), 1.2e18);
    }

    function test_class_S_defence_ends_where_health_is_sound() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        // 100 * 1.25 / 1.1 is 113.6.
        refusedAsRisk(one(supplying(own, A, 14 * UNIT)));
        run(one(supplying(own, A, 13 * UNIT)));
        run(one(supplying(own, A, 0.6e6)));
        refusedAsRisk(one(supplying(own, A, 0.1e6)));
        assertLe(own.health(A), portfolio.DEFENDED_HEALTH());
    }

    /// @dev At the limit already: a little more collateral is an investment.
    function test_class_S_a_sound_position_is_not_defended() public {
        lever(own, A, 1.25e18);
        assertGe(own.health(A), portfolio.DEFENDED_HEALTH());
        registry.pauseRisk(address(vault));
        refusedAsRisk(one(supplying(own, A, 11)));
        own.set(A, 100 * UNIT, 0);
        refusedAsRisk(one(supplying(own, A, 11)));
    }

    /// @dev In the same position, and even beside some collateral: what is merely lent out defends nothing.
    function test_class_S_what_adds_nothing_to_health_is_no_defence() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        refusedAsRisk(one(lending(own, A, 11)));
        refusedAsRisk(both(supplying(own, A, UNIT), lending(own, A, UNIT)));
        // A unit that counts eight tenths makes up for six tenths that count nothing.
        run(both(supplying(own, A, UNIT), lending(own, A, 0.5e6)));
    }

    /// @dev Otherwise a protocol's oracle that fails would let any amount through.
    function test_class_S_a_health_that_nobody_can_read_is_none_to_defend() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        own.setHealthUnknown();
        refusedAsRisk(one(supplying(own, A, 5 * UNIT)));
        run(one(repaying(own, A, 5 * UNIT)));
    }

    function test_class_S_defence_stays_within_the_cap() public {
        lever(own, A, 1.1e18);
        registry.lowerCap(address(vault), LENT, 104 * UNIT);
        registry.pauseRisk(address(vault));
        refused(
            one(supplying(own, A, 5 * UNIT)),
            abi.encodeWithSelector(IPortfolio.CapExceeded.selector, LENT, 105 * UNIT, 104 * UNIT)
        );
        run(one(supplying(own, A, 4 * UNIT)));
    }

    function test_class_S_whoever_borrows_defends_nothing() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        refusedAsRisk(both(supplying(own, A, 10 * UNIT), borrowing(own, A, 11)));
    }

    /// @dev An account in need is no excuse for another, be it of the same connector.
    function test_class_S_only_the_account_in_need_is_defended() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        refusedAsRisk(one(supplying(own, B, 5 * UNIT)));
        refusedAsRisk(both(supplying(own, A, 5 * UNIT), supplying(own, B, 5 * UNIT)));
        refusedAsRisk(both(supplying(own, A, 5 * UNIT), supplying(shared, A, 5 * UNIT)));
    }

    function test_a_shared_account_is_defended_with_any_of_its_keys() public {
        lever(shared, A, 1.1e18);
        registry.pauseRisk(address(vault));
        run(one(supplying(shared, B, 5 * UNIT)));
        refusedAsRisk(one(supplying(shared, B, 9 * UNIT)));
    }

    /// @dev Out to where it is in need, in again: no more in it than there was, and nothing is lost by it.
    function test_class_S_leaving_and_defending_by_turns_wins_nothing() public {
        lever(own, A, 1.25e18);
        registry.pauseRisk(address(vault));
        for (uint256 i; i < 3; ++i) {
            run(one(withdrawing(own, A, 10 * UNIT)));
            run(one(supplying(own, A, 10 * UNIT)));
        }
        refusedAsRisk(one(supplying(own, A, UNIT)));
        assertEq(own.collateral(A), 100 * UNIT);
    }

    function test_losses_of_a_defence_are_those_of_a_reduction() public {
        lever(own, A, 1.1e18);
        registry.pauseRisk(address(vault));
        Batch memory b = batch(
            both(
                supplying(own, A, 5 * UNIT),
                action(own, 15 * UNIT, abi.encodeCall(Margin.repayAtLoss, (A, 15 * UNIT, 15 * UNIT)))
            )
        );
        b.maxLoss = 15 * UNIT;
        portfolio.execute(b);
        (uint256 raising, uint256 reducing) = budgets();
        assertEq(raising, 0.01e18);
        assertApproxEqAbs(reducing, 0.005e18, 1e13);
    }

    // DOUBT

    /// @dev The feed of what is owned is stale, say; what is owed in the vault's own asset can be paid all the same.
    function test_M_52_a_position_of_doubtful_value_is_repaid() public {
        lever(own, A, 1.1e18);
        own.setStatus(Status.STALE);
        registry.setExitOnly(address(vault), address(own));
        registry.pauseRisk(address(vault));
        run(one(repaying(own, A, 30 * UNIT)));
        (, uint256 reducing) = budgets();
        assertEq(reducing, 0.02e18, "no loss");
    }

    function test_in_doubt_only_what_a_debt_fell_by_counts() public {
        lever(own, A, 1.1e18);
        own.setStatus(Status.STALE);
        bytes memory data = abi.encodeCall(Margin.repayAtLoss, (A, 40 * UNIT, 15 * UNIT));
        Batch memory b = batch(one(action(own, 40 * UNIT, data)));
        b.maxLoss = 15 * UNIT - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 15 * UNIT, b.maxLoss));
        portfolio.execute(b);
        b.maxLoss = 15 * UNIT;
        portfolio.execute(b);
    }

    /// @dev What was pushed is the most that can have been repaid: whatever else a debt falls by hides no loss.
    function test_in_doubt_a_debt_that_falls_by_itself_hides_no_loss() public {
        lever(shared, A, 1.1e18);
        run(one(supplying(shared, B, 100 * UNIT)));
        shared.setStatus(Status.STALE);
        bytes memory data = abi.encodeCall(Margin.repayAndRecover, (A, 60 * UNIT, B, 50 * UNIT));
        Batch memory b = batch(one(action(shared, 10 * UNIT, data)));
        b.maxLoss = 50 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        b.maxLoss = 50 * UNIT - 1;
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(b);
    }

    function test_in_doubt_nothing_is_borrowed_and_no_collateral_is_added() public {
        lever(own, A, 1.1e18);
        own.setStatus(Status.DIVERGED);
        refused(one(borrowing(own, A, 11)), impaired(own, A));
        refused(one(supplying(own, A, UNIT)), impaired(own, A));
        bytes memory nothing = abi.encodeCall(Margin.repayAtLoss, (A, UNIT, UNIT));
        refused(one(action(own, UNIT, nothing)), impaired(own, A));
        bytes memory both_ = abi.encodeCall(Margin.withdrawAndBorrow, (A, 20 * UNIT, 11));
        refused(one(action(own, 0, both_)), impaired(own, A));
        run(one(withdrawing(own, A, UNIT)));
    }

    function test_without_a_value_the_plain_way_out_alone_is_open() public {
        lever(own, A, 1.5e18);
        own.setBroken(true);
        refused(one(borrowing(own, A, 1)), impaired(own, A));
        refused(one(repaying(own, A, UNIT)), impaired(own, A));
        // A way out that brings nothing home would take something out of NAV unseen.
        refused(one(withdrawing(own, A, 0)), impaired(own, A));
        run(one(withdrawing(own, A, UNIT)));
    }

    // REPORTS

    function test_a_status_that_nobody_knows_is_no_value() public {
        lever(own, A, 1.5e18);
        (Value memory good,) = portfolio.positionValue(address(own), A);
        uint256[3] memory words = [uint256(7), uint256(1) << 248, uint256(1) << 255];
        for (uint256 i; i < 3; ++i) {
            own.setAbove(words[i]);
            (Value memory value, bool healthy) = portfolio.positionValue(address(own), A);
            assertFalse(healthy);
            assertEq(value.low, 0);
            assertEq(value.high, good.high);
        }
        own.setAbove(0);
        own.setStatus(Status.UNAVAILABLE);
        (Value memory doubtful, bool sound) = portfolio.positionValue(address(own), A);
        assertFalse(sound);
        assertEq(doubtful.low, good.low, "the last status that exists");
    }

    /// @dev The greatest debt that a word can say, with the greatest value: sums stay sums.
    function test_class_V_the_greatest_debt_overflows_nothing() public {
        own.set(A, type(uint112).max, type(uint112).max);
        own.set(B, type(uint128).max, type(uint128).max);
        settle();
        assertEq(portfolio.exposures(LENT), 2 * uint256(type(uint112).max));
        run(both(supplying(own, A, 0), supplying(own, B, 0)));
        own.set(A, 0, 0);
        own.set(B, 0, 0);
        settle();
    }

    // FORCED EXITS

    function test_anyone_frees_what_an_indebted_position_is_worth_and_no_more() public {
        lever(own, A, 1.5e18);
        uint256 worth = own.collateral(A) - own.debt(A);
        _exitsAreOverdue();
        uint256 idle = portfolio.idle();
        portfolio.forceDeallocate(address(own), A, type(uint256).max);
        assertEq(portfolio.idle() - idle, worth);
    }

    /// @dev Anyone may force what frees assets, and nothing that merely eases a debt at the cost of all.
    function test_a_forced_withdrawal_brings_something_home() public {
        lever(own, A, 1.5e18);
        _exitsAreOverdue();
        own.willMoveDebt(A, B, UNIT);
        vm.expectRevert(IPortfolio.NotReducing.selector);
        portfolio.forceDeallocate(address(own), A, 0);
    }

    // STEPS

    /// @dev Everybody leaves and too little is idle for too long; what is idle in the end is 40.
    function _exitsAreOverdue() private {
        requestRedeem(alice, vault.balanceOf(alice));
        settle();
        skip(2 days + 1);
        run(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 40 * UNIT))));
        assertGt(vault.overdueExits(), 40 * UNIT);
    }

    function assertExposure(Margin at, bytes32 riskId, uint256 high, uint256 debt) private view {
        uint256 sum;
        uint256 sumOfDebts;
        for (uint256 i; i < 2; ++i) {
            (, uint128 marked) = portfolio.marks(address(at), i == 0 ? A : B);
            sum += marked;
            sumOfDebts += portfolio.markedDebt(address(at), i == 0 ? A : B);
        }
        assertEq(sumOfDebts, debt, "debt");
        assertEq(portfolio.exposures(riskId), sum + sumOfDebts, "the sum");
        assertEq(sum, high, "good value");
    }
}
