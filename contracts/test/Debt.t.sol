// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Batch, Call, Status, Value} from "../src/interfaces/Types.sol";
import {Margin} from "./fixtures/Margin.sol";
import {MarginFixture} from "./fixtures/MarginFixture.sol";

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

    /// @dev By what is read, and by its mark as well; an account per key is a debt of its own.
    function test_class_N_no_key_of_an_account_that_owes_is_unlisted() public {
        lever(own, A, 1.6e18);
        registry.unlistPosition(address(vault), address(own), B);
        run(one(supplying(shared, A, 100 * UNIT)));
        shared.set(A, 100 * UNIT, UNIT);
        bytes memory owes = abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(shared), A);
        vm.expectRevert(owes);
        registry.unlistPosition(address(vault), address(shared), B);
        run(one(withdrawing(shared, A, UNIT)));
        shared.set(A, 99 * UNIT, 0);
        vm.expectRevert(owes);
        registry.unlistPosition(address(vault), address(shared), B);
        run(one(withdrawing(shared, A, UNIT)));
        registry.unlistPosition(address(vault), address(shared), B);
    }

    function test_the_last_key_of_an_account_leaves_the_list_with_dust_that_it_owes() public {
        registry.unlistPosition(address(vault), address(shared), B);
        shared.set(A, 0, 1);
        registry.unlistPosition(address(vault), address(shared), A);
    }

    /// @dev Unlike a mark, which stays for ever where nothing can be read again.
    function test_class_N_a_dead_key_is_not_abandoned_while_its_account_is_seen_to_owe() public {
        lever(shared, A, 1.6e18);
        shared.setStatus(Status.STALE);
        bytes memory abandon = abi.encodeCall(registry.abandonPosition, (address(vault), address(shared), B));
        registry.submit(address(vault), address(registry), abandon);
        skip(3 days);
        portfolio.announce();
        skip(30 minutes);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(shared), A));
        registry.abandonPosition(address(vault), address(shared), B);
        shared.setBroken(true);
        registry.abandonPosition(address(vault), address(shared), B);
    }

    // A DEBT THAT GROWS

    /// @dev Idle rises and so does nothing that the position is worth: before debts counted, a reduction.
    /// @dev By its mark, where nothing can be read; an account per key is a debt of its own.
    function test_class_N_what_owes_is_split_off_from_an_isolated_connector_alone() public {
        lever(shared, A, 1.6e18);
        lever(own, A, 1.6e18);
        shared.setBroken(true);
        own.setBroken(true);
        portfolio.announce();
        skip(30 minutes);
        bytes memory owes = abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(shared), A);
        vm.expectRevert(owes);
        portfolio.splitOff(address(shared), A);
        vm.expectRevert(owes);
        portfolio.splitOff(address(shared), B);
        portfolio.splitOff(address(own), A);
    }

    /// @dev By what is read, where the mark says nothing yet.
    function test_class_N_a_debt_that_nobody_has_marked_is_not_split_off() public {
        run(one(supplying(shared, A, 100 * UNIT)));
        shared.set(A, 100 * UNIT, 100 * UNIT);
        shared.setStatus(Status.STALE);
        portfolio.announce();
        skip(30 minutes);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.AccountOwes.selector, address(shared), A));
        portfolio.splitOff(address(shared), A);
        shared.set(A, 0, 0);
        portfolio.splitOff(address(shared), A);
    }

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
        exitsAreOverdue();
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

    /// @dev 1.2 % is gone: within the budget of reductions, above that of new risk.
    function test_a_debt_that_a_batch_makes_unreadable_has_not_been_repaid() public {
        run(both(supplying(own, A, 22 * UNIT), borrowing(own, A, 10 * UNIT)));
        own.willBreak();
        Batch memory b = batch(one(withdrawing(own, A, 0)));
        b.maxLoss = 12 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        b = batch(one(withdrawing(own, A, UNIT)));
        b.maxLoss = 12 * UNIT;
        portfolio.execute(b);
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
        exitsAreOverdue();
        uint256 idle = portfolio.idle();
        portfolio.forceDeallocate(address(own), A, type(uint256).max);
        assertEq(portfolio.idle() - idle, worth);
    }

    /// @dev Anyone may force what frees assets, and nothing that merely eases a debt at the cost of all.
    function test_a_forced_withdrawal_brings_something_home() public {
        lever(own, A, 1.5e18);
        exitsAreOverdue();
        own.willMoveDebt(A, B, UNIT);
        vm.expectRevert(IPortfolio.NotReducing.selector);
        portfolio.forceDeallocate(address(own), A, 0);
    }

    // STEPS

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
