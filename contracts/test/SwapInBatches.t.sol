// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Registry} from "../src/Registry.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {LiquidityMath} from "../src/libraries/LiquidityMath.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {SwapHandler} from "../src/swap/SwapHandler.sol";
import {Devnet} from "./Devnet.sol";
import {IPositionManagerFull} from "./UniswapV3Test.sol";
import {HostileDiamond} from "./fixtures/HostileDiamond.sol";
import {IntegrationFixture} from "./fixtures/IntegrationFixture.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title Swaps inside the batches of a real vault, on the real Uniswap
contract SwapInBatchesTest is VaultFixture, Devnet {
    uint256 private constant ALL = type(uint256).max;
    uint256 private constant IN = 3_000e6;
    uint256 private constant OUT = 0.99e18;
    uint256 private constant BACK = 2_960e6;

    address private usdc;
    address private weth;
    SwapHandler private handler;
    HostileDiamond private hostile;

    function setUp() public override {
        _load();
        (usdc, weth) = (_token("USDC"), _token("WETH"));
        token = Token(usdc);
        registry = new Registry();
        vault = deployVault(token);
        registry.setOracle(address(vault), address(_router()));
        hostile = new HostileDiamond();
        handler = new SwapHandler(address(portfolio), _address(".uniswap.swap_router"), address(hostile));
        handler.listToken(weth, 150);
        handler.allowPool(_address(".uniswap.pools['USDC/WETH'].address"));
        handler.allowTarget(
            address(handler.swapRouter()), IUniswapV3SwapRouter.exactInput.selector, handler.swapRouter()
        );
        handler.pinFacet(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20.selector, address(hostile).codehash
        );
        hostile.set(IERC20(usdc), IERC20(weth), IN, 1e18);
        deal(weth, address(hostile), 10e18);
        allow(address(handler), ISwapHandler.swapUniswap.selector);
        allow(address(handler), ISwapHandler.swapLiFi.selector);
        registry.seal(address(vault), 3 days);
        deal(usdc, alice, 100_000e6);
        vm.startPrank(alice);
        IERC20(usdc).approve(address(vault), 100_000e6);
        vault.requestDeposit(100_000e6, alice, alice);
        vm.stopPrank();
        settle();
    }

    function test_class_N_there_and_back_in_one_batch_costs_the_fees_and_nothing_else() public {
        Call[] memory calls = both(_buy(), _sell());
        portfolio.execute(_lossy(calls));
        uint256 cost = 100_000e6 - portfolio.idle();
        assertGt(cost, 0);
        assertLt(cost, 10e6, "twice 5 bps and the impact");
        assertEq(IERC20(usdc).balanceOf(address(portfolio)), portfolio.idle());
        assertEq(IERC20(weth).balanceOf(address(portfolio)), 0);
        assertEq(IERC20(weth).balanceOf(address(handler)), 0);
        assertEq(IERC20(usdc).balanceOf(address(handler)), 0);
    }

    function test_class_N_a_batch_that_leaves_what_it_bought_is_refused() public {
        Call[] memory calls = both(_buy(), _sell());
        calls[1].amount = 0.5e18;
        calls[1].data = abi.encodeCall(ISwapHandler.swapUniswap, (_path(weth, usdc), 0.5e18, BACK / 2));
        Batch memory b = _lossy(calls);
        vm.expectPartialRevert(IPortfolio.TokenLeft.selector);
        portfolio.execute(b);
    }

    function test_class_N_a_batch_through_lifi_is_held_to_its_loss_as_well() public {
        Call[] memory calls = both(_lifi(), _sell());
        Batch memory b = batch(calls);
        vm.expectPartialRevert(IPortfolio.LossAboveLimit.selector);
        portfolio.execute(b);
        portfolio.execute(_lossy(calls));
        assertLt(100_000e6 - portfolio.idle(), 10e6);
    }

    /// @dev A stolen quorum swaps at the worst rate allowed, again and again.
    function test_D_13_losses_of_repeated_swaps_add_up_to_the_budget() public {
        hostile.set(IERC20(usdc), IERC20(weth), IN, 0.996e18);
        uint256 swaps;
        for (; swaps < 200; ++swaps) {
            try portfolio.execute(_lossy(both(_lifi(), _sell()))) {}
            catch (bytes memory reason) {
                assertEq(bytes4(reason), IPortfolio.LossBudgetExceeded.selector);
                break;
            }
            deal(weth, address(hostile), 10e18);
        }
        assertGt(swaps, 50);
        assertLt(swaps, 200);
        assertGe(portfolio.idle(), 99_000e6, "1 % a day");
    }

    function test_class_N_nothing_re_enters_the_vault_during_a_swap() public {
        Batch memory b = _lossy(both(_lifi(), _sell()));
        bytes[3] memory attempts = [
            abi.encodeCall(IPortfolio.execute, (b)),
            abi.encodeCall(IPortfolio.announce, ()),
            abi.encodeCall(IPortfolio.nav, ())
        ];
        bytes4[3] memory refusals =
            [IVault.Reentered.selector, IVault.Reentered.selector, IPortfolio.Locked.selector];
        for (uint256 i; i < 3; ++i) {
            hostile.reenter(address(portfolio), attempts[i]);
            vm.expectRevert(refusals[i]);
            portfolio.execute(b);
        }
        hostile.reenter(address(handler), b.calls[1].data);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, hostile));
        portfolio.execute(b);
    }

    function test_M_23_a_selector_that_batches_may_not_call_is_refused() public {
        Call[] memory calls = new Call[](1);
        calls[0] = Call(address(handler), address(0), 0, abi.encodeCall(ISwapHandler.collect, (weth)));
        Batch memory b = batch(calls);
        bytes4 selector = ISwapHandler.collect.selector;
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.CallNotAllowed.selector, handler, selector));
        portfolio.execute(b);
    }

    // STEPS

    function _buy() private view returns (Call memory) {
        bytes memory data = abi.encodeCall(ISwapHandler.swapUniswap, (_path(usdc, weth), IN, OUT));
        return Call(address(handler), usdc, IN, data);
    }

    /// @dev All that the batch has bought, however much it is.
    function _sell() private view returns (Call memory) {
        bytes memory data = abi.encodeCall(ISwapHandler.swapUniswap, (_path(weth, usdc), ALL, BACK));
        return Call(address(handler), weth, ALL, data);
    }

    function _lifi() private view returns (Call memory) {
        SwapData memory step;
        step.callTo = step.approveTo = handler.swapRouter();
        (step.sendingAssetId, step.receivingAssetId) = (usdc, weth);
        (step.fromAmount, step.requiresDeposit) = (IN, true);
        step.callData = abi.encodePacked(IUniswapV3SwapRouter.exactInput.selector);
        bytes memory quote = abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "", "", payable(address(handler)), OUT, step)
        );
        bytes memory data = abi.encodeCall(ISwapHandler.swapLiFi, (usdc, weth, IN, OUT, quote));
        return Call(address(handler), usdc, IN, data);
    }

    function _lossy(Call[] memory calls) private view returns (Batch memory b) {
        b = batch(calls);
        b.maxLoss = 100e6;
    }

    function _path(address tokenIn, address tokenOut) private pure returns (bytes memory) {
        return abi.encodePacked(tokenIn, uint24(500), tokenOut);
    }

    function _router() private returns (OracleRouter) {
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](1);
        (routes[0].base, routes[0].quote) = (weth, usdc);
        routes[0].hops = new OracleRouter.Hop[](2);
        routes[0].hops[0].source = _source(weth, "ETH/USD");
        routes[0].hops[1].source = _source(usdc, "USDC/USD");
        routes[0].hops[1].inverse = true;
        return new OracleRouter(routes);
    }

    function _source(address base, string memory pair) private returns (ChainlinkSource) {
        ChainlinkSource.Config memory config;
        (config.base, config.quote, config.aggregator) = (base, address(840), _feed(pair, "proxy"));
        (config.heartbeat, config.deviationBps) = (1 days, 50);
        (config.minimum, config.maximum) = (0.01e18, 100_000e18);
        return new ChainlinkSource(config);
    }
}

/// @title What a chain of LiFi steps leaves of the token in between, in a real vault
/// @notice Dollars buy Ether, and not all of that buys rewards.
contract LeftBetweenStepsTest is IntegrationFixture {
    uint256 private constant IN = 100_000e6;

    uint256 private bought;

    function _connect() internal override {
        handler.listToken(reward, 300);
        handler.pinFacet(MULTIPLE, address(facet).codehash);
        _may(address(handler), ISwapHandler.collect.selector);
    }

    function setUp() public override {
        super.setUp();
        _openPool();
        bought = _quote();
    }

    function test_class_N_what_is_left_between_steps_comes_home_in_full() public {
        uint256 left = bought / 100;
        _thenBuyThroughEther(left);
        _run(5_000e6);
        assertEq(_balance(weth, address(handler)), left);
        address[4] memory others = [address(portfolio), address(diamond), address(uniswap), address(tokens)];
        for (uint256 i; i < 4; ++i) {
            assertEq(_balance(weth, others[i]), 0, "elsewhere");
            assertEq(IERC20(weth).allowance(address(handler), others[i]), 0, "for the taking");
        }
        (uint256 low,) = _nav();
        (uint256 worth,) = _worth(weth, left);
        uint256 state = vm.snapshotState();
        _tryAsAnotherVault();
        vm.revertToState(state);

        _then(address(handler), abi.encodeCall(ISwapHandler.collect, (weth)));
        _thenKeep(weth);
        _run(0);
        assertEq(tokens.amountOf(_keyOf(weth)), left, "in full");
        (uint256 lowNow,) = _nav();
        assertApproxEqAbs(lowNow, low + worth, 1);
        _assertNothingLoose();
    }

    /// @dev It lies where no value is counted, so the batch that leaves it must have been signed to lose it.
    function test_class_N_what_is_left_between_steps_is_a_loss_of_its_batch() public {
        (uint256 low,) = _nav();
        uint256 state = vm.snapshotState();
        _thenBuyThroughEther(0);
        _run(5_000e6);
        (uint256 lowNow,) = _nav();
        uint256 cost = low - lowNow;
        vm.revertToState(state);

        uint256 left = bought / 100;
        state = vm.snapshotState();
        _thenBuyThroughEther(left);
        _run(5_000e6);
        (lowNow,) = _nav();
        uint256 loss = low - lowNow;
        assertApproxEqRel(loss - cost, IN / 100, 0.02e18, "all of it, and nothing else");
        (uint256 budget,) = portfolio.lossBudgets();
        assertApproxEqAbs(0.01e18 - budget, loss * 1e18 / low, 1e9, "and charged");
        _then(address(handler), abi.encodeCall(ISwapHandler.collect, (weth)));
        _thenKeep(weth);
        _run(0);
        (uint256 budgetNow,) = portfolio.lossBudgets();
        assertEq(budgetNow, budget, "coming home gives nothing back");
        vm.revertToState(state);

        _thenBuyThroughEther(left);
        Batch memory b = _queued(loss - 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, loss, loss - 1));
        portfolio.execute(b);
        // More than the swap may lose is not left, whatever was signed.
        _thenBuyThroughEther(bought / 20);
        b = _queued(type(uint256).max);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        portfolio.execute(b);
    }

    /// @dev A stolen quorum leaves what it can, again and again, to lose beside it what it brings home later.
    function test_D_13_what_is_left_between_steps_makes_no_room_for_losses() public {
        (uint256 low,) = _nav();
        uint256 swaps;
        Batch memory b;
        for (; swaps < 20; ++swaps) {
            _thenBuyThroughEther(bought / 100);
            b = _queued(type(uint256).max);
            try portfolio.execute(b) {}
            catch (bytes memory reason) {
                assertEq(bytes4(reason), IPortfolio.LossBudgetExceeded.selector);
                break;
            }
        }
        assertGt(swaps, 2);
        assertLt(swaps, 20);
        (uint256 lowNow,) = _nav();
        assertGe(lowNow, low * 99 / 100, "1 % a day");
        _then(address(handler), abi.encodeCall(ISwapHandler.collect, (weth)));
        _thenKeep(weth);
        _run(0);
        (uint256 lowThen,) = _nav();
        assertGt(lowThen, lowNow + swaps * 900e6);
        b.nonce = portfolio.nextNonce(0);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    // STEPS

    /// @dev Its governor is as hostile as its keeper, and allows it every call.
    function _tryAsAnotherVault() private {
        bytes memory collect = abi.encodeCall(ISwapHandler.collect, (weth));
        bytes memory path = abi.encodePacked(weth, uint24(500), usdc);
        bytes memory sell = abi.encodeCall(ISwapHandler.swapUniswap, (path, EVERYTHING, 1));
        vault = deployVault(token);
        _may(address(handler), ISwapHandler.collect.selector);
        _may(address(handler), ISwapHandler.swapUniswap.selector);
        registry.seal(address(vault), 3 days);
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, portfolio);
        _then(address(handler), collect);
        Batch memory b = _queued(0);
        vm.expectRevert(refusal);
        portfolio.execute(b);
        _then(address(handler), sell);
        b = _queued(0);
        vm.expectRevert(refusal);
        portfolio.execute(b);
        address stranger = makeAddr("stranger");
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, stranger));
        handler.collect(weth);
    }

    /// @dev Leaves `left` of the Ether unsold and holds the rewards.
    function _thenBuyThroughEther(uint256 left) private {
        SwapData[] memory steps = new SwapData[](2);
        steps[0] = _step(usdc, 500, weth, IN);
        steps[1] = _step(weth, 3000, reward, _quote() - left);
        steps[0].requiresDeposit = true;
        bytes memory quote = abi.encodeCall(
            IGenericSwapFacetV3.swapTokensMultipleV3ERC20ToERC20,
            ("id", "", "", payable(address(handler)), 1, steps)
        );
        _then(address(handler), usdc, IN, abi.encodeCall(ISwapHandler.swapLiFi, (usdc, reward, IN, 1, quote)));
        _thenKeep(reward);
    }

    function _step(address sold, uint24 fee, address wanted, uint256 amount)
        private
        view
        returns (SwapData memory step)
    {
        step.callTo = step.approveTo = address(uniswap);
        (step.sendingAssetId, step.receivingAssetId, step.fromAmount) = (sold, wanted, amount);
        step.callData = abi.encodeCall(
            IUniswapV3SwapRouter.exactInput,
            (IUniswapV3SwapRouter.ExactInputParams(
                    abi.encodePacked(sold, fee, wanted), address(diamond), block.timestamp, amount, 0
                ))
        );
    }

    /// @dev The Ether that the first step would buy now.
    function _quote() private returns (uint256 amount) {
        uint256 state = vm.snapshotState();
        deal(usdc, address(this), IN);
        IERC20(usdc).approve(address(uniswap), IN);
        bytes memory path = abi.encodePacked(usdc, uint24(500), weth);
        amount = uniswap.exactInput(
            IUniswapV3SwapRouter.ExactInputParams(path, address(this), block.timestamp, IN, 0)
        );
        vm.revertToState(state);
    }

    /// @dev A deep pool of Ether at 1,500 rewards.
    function _openPool() private {
        IPositionManagerFull manager = IPositionManagerFull(_address(".uniswap.position_manager"));
        INonfungiblePositionManager.MintParams memory params;
        bool first = weth < reward;
        (params.token0, params.token1) = first ? (weth, reward) : (reward, weth);
        (params.amount0Desired, params.amount1Desired) =
            first ? (uint256(1e5 * 1e18), uint256(15e7 * 1e18)) : (uint256(15e7 * 1e18), uint256(1e5 * 1e18));
        uint256 root = LiquidityMath.rootOf(params.amount1Desired, params.amount0Desired);
        manager.createAndInitializePoolIfNecessary(params.token0, params.token1, 3000, uint160(root));
        (params.fee, params.tickLower, params.tickUpper) = (3000, -887_220, 887_220);
        (params.recipient, params.deadline) = (makeAddr("trader"), block.timestamp);
        deal(weth, address(this), 1e5 * 1e18);
        deal(reward, address(this), 15e7 * 1e18);
        IERC20(weth).approve(address(manager), EVERYTHING);
        IERC20(reward).approve(address(manager), EVERYTHING);
        manager.mint(params);
    }
}
