// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {UniswapV3Holdings} from "../src/connectors/UniswapV3Holdings.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {ILiquidityPool, INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {Batch, Status, Value} from "../src/interfaces/Types.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";

/// @title Liquidity at Uniswap v3 inside the batches of a real vault, with its swaps
contract IntegrationUniswapTest is IntegrationFixture {
    UniswapV3Connector private liquidity;
    ILiquidityPool private pool;
    bytes32 private key;

    function _connect() internal override {
        pool = ILiquidityPool(_address(".uniswap.pools['USDC/WETH'].address"));
        key = _keyOf(address(pool));
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        uint24[] memory tiers = new uint24[](1);
        tiers[0] = 500;
        INonfungiblePositionManager manager =
            INonfungiblePositionManager(_address(".uniswap.position_manager"));
        liquidity = new UniswapV3Connector(address(portfolio), manager, keys, tiers, 100, 3);
        _list(address(liquidity), key);
        _allowPlain(address(liquidity));
        _may(address(liquidity), liquidity.hold.selector);
        _may(address(liquidity), liquidity.release.selector);
        _may(address(liquidity), liquidity.mint.selector);
        _may(address(liquidity), liquidity.collectFees.selector);
    }

    function setUp() public override {
        super.setUp();
        _thenBuy(60_000e6, 19.8e18);
        _then(address(liquidity), weth, EVERYTHING, abi.encodeCall(liquidity.hold, (key, weth, EVERYTHING)));
        _then(address(liquidity), usdc, 60_000e6, abi.encodeCall(liquidity.hold, (key, usdc, 60_000e6)));
        _thenMint();
        _run(1_000e6);
    }

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

    // STEPS

    function _thenMint() private {
        (, int24 tick,,,,,) = pool.slot0();
        int24 middle = tick / 10 * 10;
        bytes memory data =
            abi.encodeCall(liquidity.mint, (key, middle - 2000, middle + 2000, EVERYTHING, EVERYTHING, 1, 1));
        _then(address(liquidity), data);
    }

    function _thenLeave() private {
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, weth, EVERYTHING)));
        _thenSell(50_000e6);
    }

    function _tokenId() private view returns (uint256) {
        (,, uint64[] memory tokenIds) = liquidity.holdings(key);
        assertEq(tokenIds.length, 1);
        return tokenIds[0];
    }

    function _goStale() private {
        skip(1 days + 1);
        _push("USDC/USD", 1e8);
    }

    function _tradeBothWays(uint256 dollars) private {
        _trade(weth, _trade(usdc, dollars));
    }

    function _trade(address from, uint256 amount) private returns (uint256) {
        address trader = makeAddr("trader");
        deal(from, trader, amount);
        bytes memory path = abi.encodePacked(from, uint24(500), from == usdc ? weth : usdc);
        vm.startPrank(trader);
        IERC20(from).approve(address(uniswap), amount);
        uint256 received = uniswap.exactInput(
            IUniswapV3SwapRouter.ExactInputParams(path, trader, block.timestamp, amount, 0)
        );
        vm.stopPrank();
        return received;
    }
}
