// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Status} from "../src/interfaces/Types.sol";
import {Margin} from "./fixtures/Margin.sol";
import {MarginFixture} from "./fixtures/MarginFixture.sol";

/// @title What may be done for an indebted position while risk is stopped, or its value in doubt
contract DebtDefenceTest is MarginFixture {
    // DEFENCE

    function test_class_S_a_position_close_to_liquidation_is_defended_while_risk_is_stopped() public {
        lever(own, A, 1.1e18);
        registry.setExitOnly(address(vault), address(own));
        registry.pauseRisk(address(vault));
        run(one(supplying(own, A, 5 * UNIT)));
        exitsAreOverdue();
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

    /// @dev What others make dear to read is cheaper the second time.
    function test_class_S_a_health_that_can_be_read_again_relieves_nobody() public {
        lever(own, A, 1.1e18);
        exitsAreOverdue();
        Call[] memory nothing = one(supplying(own, A, 0));
        own.setHealthUnknown();
        own.willTellHealth();
        refused(nothing, abi.encodeWithSelector(IPortfolio.ExitsOverdue.selector, vault.overdueExits()));
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
}
