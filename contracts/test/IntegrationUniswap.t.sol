// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {UniswapV3Holdings} from "../src/connectors/UniswapV3Holdings.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {Batch, Status, Value} from "../src/interfaces/Types.sol";
import {LiquidityFixture} from "./fixtures/LiquidityFixture.sol";

/// @title Liquidity at Uniswap v3 inside the batches of a real vault, with its swaps
contract IntegrationUniswapTest is LiquidityFixture {
    // THERE AND BACK

    function test_class_N_buying_and_minting_cost_the_range_and_the_fee() public view {
        (uint256 low, uint256 high) = _nav();
        // Half of 120,000 is Ether, and a per cent of that is the range at either side.
        assertApproxEqAbs(low, DEPOSIT - 600e6 - 40e6, 30e6);
        assertApproxEqAbs(high, DEPOSIT + 600e6 - 40e6, 30e6);
        assertEq(portfolio.idle(), DEPOSIT - 120_000e6);
        _assertNothingLoose();
    }

    function test_class_E_fees_are_collected_and_sold() public {
        _tradeBothWays(400_000e6);
        uint256 idle = portfolio.idle();
        _then(address(liquidity), abi.encodeCall(liquidity.collectFees, (_tokenId())));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, weth, EVERYTHING)));
        _thenSell(1);
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, usdc, EVERYTHING)));
        _run(10e6);
        assertGt(portfolio.idle(), idle + 1e6);
        (uint256 held0, uint256 held1,) = liquidity.holdings(key);
        assertEq(held0 + held1, 0);
        _assertNothingLoose();
    }

    function test_class_E_a_full_exit_in_one_batch_leaves_nothing_but_idle_assets() public {
        _tradeBothWays(400_000e6);
        (uint256 low,) = _nav();
        _thenLeave();
        _run(100e6);
        (uint256 lowNow, uint256 highNow) = _nav();
        assertEq(lowNow, highNow, "nothing but dollars");
        assertEq(lowNow, portfolio.idle());
        assertGt(lowNow, low, "Ether was sold above its low price");
        (,, uint64[] memory tokenIds) = liquidity.holdings(key);
        assertEq(tokenIds.length, 0);
        _assertNothingLoose();
    }

    /// @dev Liquidity is worth least where the oracle says the pool is.
    function test_class_O_an_exit_from_a_pool_that_was_moved_loses_nothing() public {
        (uint256 low,) = _nav();
        _trade(usdc, 3_000_000e6);
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _run(0);
        (uint256 lowNow,) = _nav();
        assertGe(lowNow, low);
    }

    function test_class_O_nothing_is_minted_into_a_pool_that_was_moved() public {
        _trade(usdc, 3_000_000e6);
        _thenMint();
        Batch memory b = _queued(1_000e6);
        vm.expectPartialRevert(UniswapV3Holdings.SpotAwayFromOracle.selector);
        portfolio.execute(b);
    }

    // WITHOUT A SOUND PRICE

    function test_M_07_without_a_fresh_price_only_minting_and_new_risk_stop() public {
        _goStale();
        (Value memory nav,) = portfolio.nav();

        _thenMint();
        Batch memory b = _queued(1_000e6);
        vm.expectRevert(abi.encodeWithSelector(UniswapV3Holdings.UnusablePrice.selector, Status.STALE));
        portfolio.execute(b);
        _then(address(liquidity), usdc, 1_000e6, abi.encodeCall(IConnector.supply, (key, 1_000e6)));
        b = _queued(1_000e6);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, liquidity, key));
        portfolio.execute(b);
        _thenBuy(1_000e6, 0.33e18);
        _thenKeep(weth);
        b = _queued(1_000e6);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.PriceDegraded.selector, usdc, weth, Status.STALE));
        portfolio.execute(b);

        uint256 idle = portfolio.idle();
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _run(0);
        assertApproxEqRel(portfolio.idle() - idle, 60_000e6, 0.02e18, "the dollars are out");
        (Value memory navNow,) = portfolio.nav();
        assertGe(navNow.low, nav.low, "and Ether still counts at its low price");
        (,, uint64[] memory tokenIds) = liquidity.holdings(key);
        assertEq(tokenIds.length, 0);
    }

    function test_class_O_users_leave_at_the_low_bound_without_a_fresh_price() public {
        requestRedeem(alice, vault.balanceOf(alice) / 2);
        closeEpoch();
        _goStale();
        (Value memory nav, bool healthy) = portfolio.nav();
        assertFalse(healthy);
        vault.settle(settlement());
        assertEq(vault.pendingRedeemRequest(0, alice), 0);
        assertApproxEqAbs(vault.maxWithdraw(alice), nav.low / 2, 2);
    }

    /// @dev What comes out of a doubtful position could make up for a loss, so nothing happens beside it: what is
    /// no dollar stays counted where it is until there is a price again.
    function test_class_N_ether_waits_for_a_price_and_is_then_sold() public {
        _goStale();
        _thenLeave();
        Batch memory b = _queued(100e6);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, liquidity, key));
        portfolio.execute(b);
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _run(0);
        _refresh();
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, weth, EVERYTHING)));
        _thenSell(59_000e6);
        _run(100e6);
        (uint256 low, uint256 high) = _nav();
        assertEq(low, high);
        assertApproxEqRel(low, DEPOSIT, 0.0005e18);
        _assertNothingLoose();
    }

    /// @dev Dollars and Ether at once, sold at no less than the oracle's last low price.
    function test_class_N_R_10_what_is_no_dollar_leaves_with_the_guardians_word() public {
        _goStale();
        _thenLeave();
        Batch memory b = _queued(0);
        portfolio.cosign(keccak256(abi.encode(b)));
        portfolio.execute(b);
        (uint256 low, uint256 high) = _nav();
        assertEq(low, high, "nothing but dollars");
        assertEq(low, portfolio.idle());
        assertApproxEqRel(low, DEPOSIT, 0.0005e18);
        _assertNothingLoose();
    }

    function test_class_N_R_10_a_token_that_is_held_leaves_with_the_guardians_word() public {
        _thenBuy(3_000e6, 0.99e18);
        _thenKeep(weth);
        _run(100e6);
        _goStale();
        uint256 idle = portfolio.idle();
        _thenSellHeld();
        Batch memory b = _queued(0);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, tokens, _keyOf(weth)));
        portfolio.execute(b);
        portfolio.cosign(keccak256(abi.encode(b)));
        portfolio.execute(b);
        assertApproxEqRel(portfolio.idle() - idle, 3_000e6, 0.005e18);
        _assertNothingLoose();
    }

    /// @dev The thief moves the pool before the batch, so that there is more Ether to sell than the guardian saw,
    /// at a price far below the market's: the last price of the oracle holds, whatever was signed.
    function test_class_G_a_stolen_quorum_gains_nothing_by_the_guardians_word() public {
        _goStale();
        _thenLeave();
        Batch memory b = _queued(100_000e6);
        portfolio.cosign(keccak256(abi.encode(b)));
        _trade(weth, 2_000e18);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        portfolio.execute(b);
    }

    /// @dev The market has left the last price behind, so that nobody pays it any more. Both words are needed, and
    /// the batch keeps to the loss it was signed with.
    function test_class_G_below_the_last_price_the_guardian_answers_for_the_swap_as_well() public {
        _goStale();
        _trade(weth, 1_000e18);
        _thenLeave();
        Batch memory b = _queued(40_000e6);
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        portfolio.execute(b);
        handler.consent(weth, usdc, 100e18, 2_000 * 100e6);
        uint256 state = vm.snapshotState();
        portfolio.execute(b);
        (uint256 low, uint256 high) = _nav();
        assertEq(low, high);
        assertLt(low, DEPOSIT);
        _assertNothingLoose();

        vm.revertToState(state);
        b.maxLoss = DEPOSIT - low - 1_000e6;
        portfolio.cosign(keccak256(abi.encode(b)));
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(b);
    }

    function _thenSellHeld() private {
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(weth), EVERYTHING)));
        _thenSell(1);
    }
}
