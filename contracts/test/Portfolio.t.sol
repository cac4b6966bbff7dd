// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Value} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

contract PortfolioTest is VaultFixture {
    function setUp() public override {
        super.setUp();
        depositFor(alice, 100 * UNIT);
    }

    function test_supply_and_withdraw_move_between_idle_and_position_and_keep_nav() public {
        supply(A, 60 * UNIT);
        assertEq(portfolio.idle(), 40 * UNIT);
        assertNav(100 * UNIT, 100 * UNIT, true);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 20 * UNIT)))));
        assertEq(portfolio.idle(), 60 * UNIT);
        assertNav(100 * UNIT, 100 * UNIT, true);
    }

    function test_a_batch_may_use_in_a_later_call_what_an_earlier_one_withdrew() public {
        supply(A, 100 * UNIT);
        Call[] memory calls = new Call[](2);
        calls[0] = oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 70 * UNIT)))[0];
        calls[1] = oneCall(70 * UNIT, abi.encodeCall(Holdings.supply, (B, 70 * UNIT)))[0];
        portfolio.execute(batch(calls));
        assertEq(connector.held(B), 70 * UNIT);
        assertEq(portfolio.idle(), 0);
    }

    function test_only_the_keeper_executes() public {
        Batch memory b = batch(new Call[](0));
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotKeeper.selector, alice));
        portfolio.execute(b);
    }

    function test_batches_for_another_vault_time_or_nonce_are_refused() public {
        Batch memory b = batch(new Call[](0));
        b.vault = alice;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.WrongVault.selector, address(vault), alice));
        portfolio.execute(b);
        b = batch(new Call[](0));
        b.validAfter = block.timestamp + 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.TooEarly.selector, b.validAfter));
        portfolio.execute(b);
        b = batch(new Call[](0));
        b.validUntil = block.timestamp - 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.Expired.selector, b.validUntil));
        portfolio.execute(b);
        b = batch(new Call[](0));
        portfolio.execute(b);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NonceUsed.selector, 0, b.nonce + 1, b.nonce));
        portfolio.execute(b);
    }

    function test_nonce_keys_are_independent_and_can_be_cancelled() public {
        Batch memory b = batch(new Call[](0));
        b.nonceKey = 7;
        b.nonce = 0;
        portfolio.execute(b);
        assertEq(portfolio.nextNonce(7), 1);
        b.nonce = 1;
        portfolio.cancelNonce(7);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NonceUsed.selector, 7, 2, 1));
        portfolio.execute(b);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotAuthorised.selector, alice));
        portfolio.cancelNonce(7);
    }

    function test_unknown_targets_and_selectors_are_refused() public {
        bytes memory data = abi.encodeWithSignature("transfer(address,uint256)", alice, 1);
        Call[] memory calls = oneCall(0, data);
        calls[0].target = address(token);
        executeReverts(
            calls, abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, address(token), bytes4(data))
        );
        executeReverts(
            oneCall(0, abi.encodeCall(Holdings.setHeld, (A, 1))),
            abi.encodeWithSelector(
                IPortfolio.CallNotAllowed.selector, address(connector), Holdings.setHeld.selector
            )
        );
        executeReverts(oneCall(0, "abc"), abi.encodeWithSelector(IPortfolio.CallWithoutSelector.selector, 0));
    }

    function test_a_batch_cannot_push_more_than_idle_nor_another_token() public {
        bytes memory data = abi.encodeCall(Holdings.supply, (A, 101 * UNIT));
        executeReverts(
            oneCall(101 * UNIT, data),
            abi.encodeWithSelector(
                IPortfolio.InsufficientIdle.selector, address(token), 100 * UNIT, 101 * UNIT
            )
        );
        Call[] memory calls = oneCall(1, data);
        calls[0].token = alice;
        executeReverts(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, alice, 0, 1));
    }

    function test_a_loss_beyond_the_signed_limit_reverts() public {
        Batch memory b = batch(oneCall(50 * UNIT, abi.encodeCall(Holdings.supplyAtLoss, (A, 50 * UNIT, 3))));
        b.maxLoss = 2;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 3, 2));
        portfolio.execute(b);
        b.maxLoss = 3;
        portfolio.execute(b);
    }

    function test_losses_of_batches_that_raise_exposure_share_one_percent_a_day() public {
        lossy(0.6e6, true);
        (uint256 raising, uint256 reducing) = portfolio.lossBudgets();
        assertApproxEqAbs(raising, 0.004e18, 1e12);
        assertEq(reducing, 0.02e18);
        Batch memory b = lossyBatch(0.6e6, true);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        // Two thirds of a day later two thirds of the bucket have leaked out.
        skip(16 hours);
        lossy(0.6e6, true);
    }

    function test_losses_of_reducing_batches_share_two_percent_a_day() public {
        supply(A, 50 * UNIT);
        lossy(1.9e6, false);
        Batch memory b = lossyBatch(0.2e6, false);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        skip(1 days);
        lossy(1.9e6, false);
    }

    function test_gains_never_offset_losses() public {
        supply(A, 50 * UNIT);
        lossy(0.9e6, true);
        connector.setHeld(A, connector.held(A) + 10 * UNIT);
        Batch memory b = lossyBatch(0.3e6, true);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    function test_a_market_loss_stops_new_risk_and_never_an_exit() public {
        supply(A, 50 * UNIT);
        connector.setHeld(A, 45 * UNIT);
        Batch memory b = lossyBatch(0.001e6, true);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 20 * UNIT)))));
        (uint256 raising,) = portfolio.lossBudgets();
        assertEq(raising, 0);
        b = lossyBatch(0.001e6, true);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    function test_a_settlement_counts_the_market_loss_before_it_and_starts_anew() public {
        supply(A, 50 * UNIT);
        connector.setHeld(A, 49.5e6);
        settle();
        (uint256 raising,) = portfolio.lossBudgets();
        assertApproxEqAbs(raising, 0.005e18, 1e12);
        supply(B, UNIT);
        (raising,) = portfolio.lossBudgets();
        assertApproxEqAbs(raising, 0.005e18, 1e12);
    }

    function test_a_neighbour_rounded_up_does_not_stop_an_exit() public {
        supply(A, 50 * UNIT);
        supply(B, 10 * UNIT);
        registry.setExitOnly(address(vault), address(connector));
        registry.pauseRisk(address(vault));
        connector.setRoundsUp(B, 10);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 50 * UNIT)))));
        supplyReverts(A, 11);
    }

    function test_nav_below_the_signed_floor_reverts() public {
        Batch memory b = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))));
        b.minNavAfter = 100 * UNIT + 1;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NavBelowFloor.selector, 100 * UNIT, 100 * UNIT + 1));
        portfolio.execute(b);
    }

    function test_R14_caps_stop_more_exposure_and_let_less_through() public {
        supply(A, 80 * UNIT);
        registry.lowerCap(address(vault), RISK, 50 * UNIT);
        Call[] memory more = oneCall(UNIT, abi.encodeCall(Holdings.supply, (B, UNIT)));
        executeReverts(
            more, abi.encodeWithSelector(IPortfolio.CapExceeded.selector, RISK, 81 * UNIT, 50 * UNIT)
        );
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT)))));
        assertEq(connector.held(A), 70 * UNIT);
    }

    function test_R21_exit_only_and_pause_stop_supply_and_never_withdrawal() public {
        supply(A, 50 * UNIT);
        Call[] memory more = oneCall(UNIT, abi.encodeCall(Holdings.supply, (B, UNIT)));
        registry.setExitOnly(address(vault), address(connector));
        executeReverts(
            more, abi.encodeWithSelector(IPortfolio.ConnectorIsExitOnly.selector, address(connector))
        );
        registry.pauseRisk(address(vault));
        executeReverts(
            more, abi.encodeWithSelector(IPortfolio.RiskIsPaused.selector, block.timestamp + 7 days)
        );
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        assertEq(portfolio.idle(), 100 * UNIT);
    }

    function test_M26_a_broken_connector_is_impaired_and_reverts_nothing() public {
        supply(A, 30 * UNIT);
        settle();
        for (uint256 mode = 1; mode <= 3; ++mode) {
            connector.setMode(Holdings.Mode(mode));
            assertNav(70 * UNIT, 100 * UNIT, false);
        }
        connector.setMode(Holdings.Mode.DEGRADED);
        assertNav(100 * UNIT, 100 * UNIT, false);
        connector.setMode(Holdings.Mode.REVERT);
        settle();
    }

    function test_too_little_gas_fails_the_call_and_impairs_nothing() public {
        supply(A, 30 * UNIT);
        uint256 gasLimit = portfolio.REPORT_GAS();
        (bool success, bytes memory reason) =
            address(portfolio).staticcall{gas: gasLimit}(abi.encodeCall(IPortfolio.nav, ()));
        assertFalse(success);
        assertEq(bytes4(reason), IPortfolio.NotEnoughGas.selector);
    }

    function test_class_I_only_the_vault_moves_idle_and_checkpoints() public {
        bytes memory reason = abi.encodeWithSelector(IPortfolio.NotVault.selector, address(this));
        vm.expectRevert(reason);
        portfolio.release(1);
        vm.expectRevert(reason);
        portfolio.receiveIdle(1);
        vm.expectRevert(reason);
        portfolio.checkpoint(false);
        vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, address(this)));
        vault.lock();
        vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, address(this)));
        vault.unlock();
    }

    function test_skim_takes_donations_only() public {
        token.mint(address(portfolio), 5 * UNIT);
        bytes memory data = abi.encodeCall(portfolio.skim, (token, bob));
        registry.submit(address(vault), address(portfolio), data);
        skip(3 days);
        portfolio.skim(token, bob);
        assertEq(token.balanceOf(bob), 5 * UNIT);
        assertEq(token.balanceOf(address(portfolio)), portfolio.idle());
    }

    /// Catches: a permission that is spent on nothing, and later on what has come meanwhile.
    function test_skim_takes_nothing_where_nothing_was_donated() public {
        Token stray = new Token("STRAY", 18);
        Token[2] memory tokens = [token, stray];
        for (uint256 i; i < 2; ++i) {
            bytes memory data = abi.encodeCall(portfolio.skim, (tokens[i], bob));
            registry.submit(address(vault), address(portfolio), data);
            skip(3 days);
            vm.expectRevert(abi.encodeWithSelector(IPortfolio.NothingToSkim.selector, address(tokens[i])));
            portfolio.skim(tokens[i], bob);
            tokens[i].mint(address(portfolio), 1);
            portfolio.skim(tokens[i], bob);
            assertEq(tokens[i].balanceOf(bob), 1);
        }
    }

    /// @dev In the middle of something there is no true value, and nothing to be taken.
    function test_class_G_nothing_is_read_taken_or_forgotten_under_the_lock() public {
        registry.submit(address(vault), address(portfolio), abi.encodeCall(portfolio.skim, (token, bob)));
        skip(3 days);
        vm.prank(address(portfolio));
        vault.lock();
        vm.expectRevert(IPortfolio.Locked.selector);
        portfolio.nav();
        vm.expectRevert(IPortfolio.Locked.selector);
        portfolio.twoReadings();
        vm.expectRevert(IPortfolio.Locked.selector);
        portfolio.positionValue(address(connector), A);
        vm.expectRevert(IPortfolio.Locked.selector);
        portfolio.skim(token, bob);
        vm.expectRevert(IVault.Reentered.selector);
        vm.prank(address(registry));
        portfolio.forget(address(connector), A, only(RISK), false);
    }

    /// @dev A batch that loses `loss`: by supplying to position A, or by withdrawing from it.
    function lossyBatch(uint256 loss, bool raising) private view returns (Batch memory b) {
        bytes memory data = raising
            ? abi.encodeCall(Holdings.supplyAtLoss, (A, 5 * UNIT, loss))
            : abi.encodeCall(Holdings.withdrawAtLoss, (A, 5 * UNIT, loss));
        b = batch(oneCall(raising ? 5 * UNIT : 0, data));
        b.maxLoss = loss;
    }

    function lossy(uint256 loss, bool raising) private {
        portfolio.execute(lossyBatch(loss, raising));
    }

    function supplyReverts(bytes32 key, uint256 assets) private {
        executeReverts(
            oneCall(assets, abi.encodeCall(Holdings.supply, (key, assets))),
            abi.encodeWithSelector(IPortfolio.RiskIsPaused.selector, block.timestamp + 7 days)
        );
    }

    function executeReverts(Call[] memory calls, bytes memory reason) private {
        Batch memory b = batch(calls);
        vm.expectRevert(reason);
        portfolio.execute(b);
    }

    function assertNav(uint256 low, uint256 high, bool healthy) private view {
        (Value memory nav, bool seen) = portfolio.nav();
        assertEq(nav.low, low, "low");
        assertEq(nav.high, high, "high");
        assertEq(seen, healthy, "healthy");
    }
}
