// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {Vault} from "../src/Vault.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title What a queue that has waited too long allows, and forbids
contract OverdueExitsTest is VaultFixture {
    address private stranger = makeAddr("stranger");

    /// @dev 1,000 in the vault: 100 idle, 900 at work; 400 want to leave and get 100.
    function setUp() public override {
        super.setUp();
        depositFor(alice, 600 * UNIT);
        depositFor(bob, 400 * UNIT);
        supply(A, 500 * UNIT);
        supply(B, 400 * UNIT);
        requestRedeem(bob, 400e12);
        settle();
        assertEq(portfolio.idle(), 0);
    }

    // ONLY REDUCTIONS

    function test_only_batches_that_bring_something_home_pass_while_exits_are_overdue() public {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT)))));
        supply(B, 10 * UNIT);
        skip(2 days + 1);
        uint256 owed = vault.overdueExits();
        assertEq(owed, 300 * UNIT);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT)))));
        refused(oneCall(10 * UNIT, abi.encodeCall(Holdings.supply, (B, 10 * UNIT))), owed);
        refused(new Call[](0), owed);
        Call[] memory calls = both(
            callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 50 * UNIT))),
            callTo(connector, 11, abi.encodeCall(Holdings.supply, (B, 11)))
        );
        refused(calls, owed);
        // What is ten units or less is rounding.
        calls[1] = callTo(connector, 10, abi.encodeCall(Holdings.supply, (B, 10)));
        portfolio.execute(batch(calls));
    }

    // FORCED WITHDRAWALS

    function test_anyone_frees_what_overdue_exits_lack_and_not_more() public {
        skip(2 days + 1);
        vm.expectEmit(address(portfolio));
        emit IPortfolio.Deallocated(address(connector), A, 120 * UNIT, stranger);
        force(A, 120 * UNIT);
        vm.expectEmit(address(portfolio));
        emit IPortfolio.Deallocated(address(connector), B, 180 * UNIT, stranger);
        force(B, type(uint256).max);
        assertEq(portfolio.idle(), 300 * UNIT);
        assertEq(connector.held(B), 220 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ExitsNotOverdue.selector, 300 * UNIT, 300 * UNIT));
        force(A, 1);
        settle();
        assertEq(vault.maxWithdraw(bob), 400 * UNIT);
    }

    function test_nobody_frees_anything_before_exits_are_overdue() public {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT)))));
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ExitsNotOverdue.selector, 0, 10 * UNIT));
        force(A, UNIT);
    }

    function test_pause_exit_only_and_caps_never_stop_a_forced_withdrawal() public {
        registry.lowerCap(address(vault), RISK, 0);
        registry.setExitOnly(address(vault), address(connector));
        skip(2 days + 1);
        registry.pauseRisk(address(vault));
        force(A, UNIT);
        assertEq(portfolio.idle(), UNIT);
    }

    function test_a_withdrawal_is_forced_from_listed_positions_of_liquid_connectors_alone() public {
        skip(2 days + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.PositionNotListed.selector, address(connector), bytes32("c"))
        );
        force("c", UNIT);
        vm.prank(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPortfolio.CallNotAllowed.selector, address(token), Holdings.withdraw.selector
            )
        );
        portfolio.forceDeallocate(address(token), A, UNIT);
        bytes4 selector = Holdings.withdraw.selector;
        registry.submit(
            address(vault),
            address(registry),
            abi.encodeCall(registry.setSelector, (address(vault), address(connector), selector, false))
        );
        skip(3 days);
        registry.setSelector(address(vault), address(connector), selector, false);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, address(connector), selector)
        );
        force(A, UNIT);
    }

    /// @dev Of what nobody can value nobody could tell the loss.
    function test_nothing_is_forced_out_of_an_impaired_position() public {
        skip(2 days + 1);
        connector.setMode(A, Holdings.Mode.REVERT);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, address(connector), A));
        force(A, UNIT);
        force(B, UNIT);
    }

    function test_a_forced_withdrawal_that_brings_nothing_home_is_refused() public {
        skip(2 days + 1);
        vm.expectRevert(IPortfolio.NotReducing.selector);
        force(A, 0);
    }

    function test_a_neighbour_that_rises_by_itself_stops_no_forced_withdrawal() public {
        skip(2 days + 1);
        connector.setRoundsUp(B, 11);
        force(A, UNIT);
    }

    /// @dev A stranger who can make withdrawals lose gets no further than the keeper could.
    function test_class_G_forced_withdrawals_lose_no_more_than_the_budget_of_reductions() public {
        connector.setFee(0.1e18);
        skip(2 days + 1);
        // 900 are left: 2 % of them are 18.
        force(A, 100 * UNIT);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        force(A, 100 * UNIT);
        (, uint256 reducing) = portfolio.lossBudgets();
        assertApproxEqAbs(reducing, uint256(0.02e18) - uint256(10e18) / 900, 1e12);
        force(A, 70 * UNIT);
    }

    function test_class_G_a_forced_withdrawal_is_not_a_way_around_the_lock() public {
        skip(2 days + 1);
        vm.startPrank(address(portfolio));
        vault.lock();
        vm.expectRevert(IVault.Reentered.selector);
        portfolio.forceDeallocate(address(connector), A, UNIT);
        vm.expectRevert(IVault.Reentered.selector);
        portfolio.announce();
        vm.expectRevert(IPortfolio.Locked.selector);
        portfolio.twoReadings();
        vault.unlock();
        vm.stopPrank();
    }

    // COSIGNED REDUCTIONS

    function test_the_guardian_lets_a_reduction_lose_more_once() public {
        Batch memory b = lossy(A, 100 * UNIT, 30 * UNIT);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        bytes32 batchHash = keccak256(abi.encode(b));
        vm.expectEmit(address(portfolio));
        emit IPortfolio.Cosigned(batchHash, address(this));
        portfolio.cosign(batchHash);
        Batch memory another = lossy(A, 100 * UNIT, 31 * UNIT);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(another);
        portfolio.execute(b);
        (, uint256 reducing) = portfolio.lossBudgets();
        assertEq(reducing, 0);
        another = lossy(A, 10 * UNIT, 1);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(another);
        vm.expectPartialRevert(IPortfolio.NonceUsed.selector);
        portfolio.execute(b);
    }

    function test_a_cosigned_batch_keeps_to_its_signed_loss() public {
        Batch memory b = lossy(A, 100 * UNIT, 30 * UNIT);
        b.maxLoss = 30 * UNIT - 1;
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(b);
    }

    function test_a_cosignature_lets_no_new_risk_lose_more() public {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 100 * UNIT)))));
        bytes memory data = abi.encodeCall(Holdings.supplyAtLoss, (A, 100 * UNIT, 30 * UNIT));
        Batch memory b = batch(oneCall(100 * UNIT, data));
        b.maxLoss = 30 * UNIT;
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    function test_class_G_only_the_guardian_of_now_cosigns() public {
        Batch memory b = lossy(A, 100 * UNIT, 30 * UNIT);
        bytes32 batchHash = keccak256(abi.encode(b));
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotGuardian.selector, stranger));
        portfolio.cosign(batchHash);
        portfolio.cosign(batchHash);
        bytes memory replace = abi.encodeCall(registry.setGuardian, (address(vault), stranger));
        registry.submit(address(vault), address(registry), replace);
        skip(14 days);
        registry.setGuardian(address(vault), stranger);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        vm.prank(stranger);
        portfolio.cosign(batchHash);
        portfolio.execute(b);
    }

    function lossy(bytes32 key, uint256 assets, uint256 loss) private view returns (Batch memory b) {
        b = batch(oneCall(0, abi.encodeCall(Holdings.withdrawAtLoss, (key, assets, loss))));
        b.maxLoss = loss;
    }

    function force(bytes32 key, uint256 assets) private {
        vm.prank(stranger);
        portfolio.forceDeallocate(address(connector), key, assets);
    }

    function refused(Call[] memory calls, uint256 owed) private {
        Batch memory b = batch(calls);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ExitsOverdue.selector, owed));
        portfolio.execute(b);
    }
}
