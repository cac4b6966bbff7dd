// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {FeeForwarder} from "../devnet/FeeForwarder.sol";
import {Registry} from "../src/Registry.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {IPriceSource} from "../src/interfaces/IOracleRouter.sol";
import {Params} from "../src/interfaces/IVault.sol";
import {ChainlinkSource} from "../src/oracle/ChainlinkSource.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {SwapHandler} from "../src/swap/SwapHandler.sol";
import {DiamondFixture} from "./fixtures/DiamondFixture.sol";

/// @title A swap handler on the local chain: real Uniswap, real feeds, a real registry
/// @notice This test is the handler's portfolio and vault; governor and guardian are others.
abstract contract SwapTest is DiamondFixture {
    using SafeERC20 for IERC20;

    address internal constant USD = address(840);
    uint256 internal constant EVERYTHING = type(uint256).max;

    Registry public registry;
    address public asset;
    address public escrow = makeAddr("escrow");
    address internal governor = makeAddr("governor");
    address internal guardian = makeAddr("guardian");
    address internal stranger = makeAddr("stranger");
    address internal feeRecipient = makeAddr("integrator");

    SwapHandler internal handler;
    OracleRouter internal router;
    address internal usdc;
    address internal usdt;
    address internal dai;
    address internal weth;
    address internal wbtc;

    function setUp() public virtual {
        _load();
        (usdc, usdt, dai) = (_token("USDC"), _token("USDT"), _token("DAI"));
        (weth, wbtc) = (_token("WETH"), _token("WBTC"));
        asset = usdc;
        registry = new Registry();
        registry.register(address(this), governor, guardian, address(this));
        _buildRouter();
        _buildDiamond();
        handler = new SwapHandler(address(this), address(uniswap), address(diamond));
        _allow(address(facet));
    }

    // THE VAULT'S SIDE

    function vault() external view returns (address) {
        return address(this);
    }

    function params() external pure returns (Params memory p) {
        p.maxAge = 2 days;
        p.minEpochLength = 1 hours;
    }

    // WHAT IS THERE

    function _buildRouter() private {
        string[4] memory pairs = ["ETH/USD", "BTC/USD", "USDT/USD", "DAI/USD"];
        address[4] memory bases = [weth, wbtc, usdt, dai];
        OracleRouter.Route[] memory routes = new OracleRouter.Route[](4);
        IPriceSource dollar = _source(usdc, "USDC/USD", 25);
        for (uint256 i; i < 4; ++i) {
            (routes[i].base, routes[i].quote) = (bases[i], usdc);
            routes[i].hops = new OracleRouter.Hop[](2);
            routes[i].hops[0].source = _source(bases[i], pairs[i], i < 2 ? 50 : 25);
            routes[i].hops[1].source = dollar;
            routes[i].hops[1].inverse = true;
        }
        router = new OracleRouter(routes);
        vm.prank(governor);
        registry.setOracle(address(this), address(router));
    }

    function _source(address base, string memory pair, uint256 deviationBps) internal returns (IPriceSource) {
        ChainlinkSource.Config memory config;
        config.base = base;
        config.quote = USD;
        config.aggregator = _feed(pair, "proxy");
        config.heartbeat = 1 days;
        config.minimum = 0.01e18;
        config.maximum = 1_000_000e18;
        config.deviationBps = deviationBps;
        return new ChainlinkSource(config);
    }

    /// @dev Slippage leaves room for the feeds' deviation: what is bought counts at its low end.
    function _allow(address pinned) internal {
        vm.startPrank(governor);
        handler.listToken(weth, 150);
        handler.listToken(wbtc, 150);
        handler.listToken(usdt, 75);
        handler.listToken(dai, 75);
        string[4] memory names = ["USDC/WETH", "WBTC/WETH", "USDC/USDT", "DAI/USDC"];
        for (uint256 i; i < 4; ++i) {
            handler.allowPool(_pool(names[i]));
        }
        handler.allowTarget(address(uniswap), IUniswapV3SwapRouter.exactInput.selector, address(uniswap));
        handler.allowTarget(address(forwarder), FeeForwarder.forwardERC20Fees.selector, address(forwarder));
        handler.pinFacet(SINGLE, pinned.codehash);
        handler.pinFacet(MULTIPLE, pinned.codehash);
        vm.stopPrank();
    }

    function _pool(string memory name) internal view returns (address) {
        return _address(string.concat(".uniswap.pools['", name, "'].address"));
    }

    // STEPS

    /// @dev As the portfolio does: exactly the amount, before the call.
    function _push(address token, uint256 amount) internal {
        deal(token, address(this), _balance(token, address(this)) + amount);
        IERC20(token).safeTransfer(address(handler), amount);
    }

    function _swap(bytes memory path, uint256 amountIn, uint256 minOut) internal returns (uint256) {
        return handler.swapUniswap(path, amountIn, minOut);
    }

    function _path(address a, uint24 fee, address b) internal pure returns (bytes memory) {
        return abi.encodePacked(a, fee, b);
    }

    function _path(address a, uint24 feeAB, address b, uint24 feeBC, address c)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(a, feeAB, b, feeBC, c);
    }

    /// @dev The way between the vault's asset and any other token.
    function _way(address a, address b) internal view returns (bytes memory) {
        if (a == wbtc) return _path(wbtc, 500, weth, 500, b);
        if (b == wbtc) return _path(a, 500, weth, 500, wbtc);
        return _path(a, a == weth || b == weth ? 500 : 100, b);
    }

    /// @dev A step on Uniswap, paying the diamond.
    function _step(bytes memory path, uint256 amountIn) internal view returns (SwapData memory) {
        return _stepTo(path, amountIn, address(diamond));
    }

    function _stepTo(bytes memory path, uint256 amountIn, address to)
        internal
        view
        returns (SwapData memory step)
    {
        step.callTo = step.approveTo = address(uniswap);
        (step.sendingAssetId, step.receivingAssetId) = _ends(path);
        step.fromAmount = amountIn;
        step.callData = abi.encodeCall(
            IUniswapV3SwapRouter.exactInput,
            (IUniswapV3SwapRouter.ExactInputParams(path, to, block.timestamp, amountIn, 0))
        );
        step.requiresDeposit = true;
    }

    /// @dev A step that hands a fee on.
    function _fee(address token, uint256 amountIn, uint256 amount)
        internal
        view
        returns (SwapData memory step)
    {
        FeeForwarder.FeeDistribution[] memory fees = new FeeForwarder.FeeDistribution[](1);
        fees[0] = FeeForwarder.FeeDistribution(feeRecipient, amount);
        step.callTo = step.approveTo = address(forwarder);
        step.sendingAssetId = step.receivingAssetId = token;
        step.fromAmount = amountIn;
        step.callData = abi.encodeCall(FeeForwarder.forwardERC20Fees, (token, fees));
        step.requiresDeposit = true;
    }

    function _single(SwapData memory step, uint256 minOut) internal view returns (bytes memory) {
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "omnikeeper", "", payable(address(handler)), minOut, step)
        );
    }

    /// @dev The first step deposits, the others go on with what it bought.
    function _multiple(SwapData memory first, SwapData memory second, uint256 minOut)
        internal
        view
        returns (bytes memory)
    {
        SwapData[] memory steps = new SwapData[](2);
        (steps[0], steps[1]) = (first, second);
        steps[1].requiresDeposit = false;
        return _multiple(steps, minOut);
    }

    function _multiple(SwapData[] memory steps, uint256 minOut) internal view returns (bytes memory) {
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensMultipleV3ERC20ToERC20,
            ("id", "omnikeeper", "", payable(address(handler)), minOut, steps)
        );
    }

    function _ends(bytes memory path) internal pure returns (address first, address last) {
        assembly ("memory-safe") {
            first := shr(96, mload(add(path, 32)))
            last := shr(96, mload(add(path, add(mload(path), 12))))
        }
    }

    function _govern(bytes memory data) internal {
        if (registry.isSealed(address(this))) {
            vm.prank(governor);
            registry.submit(address(this), address(handler), data);
            skip(3 days);
        }
        vm.prank(governor);
        (bool success,) = address(handler).call(data);
        assertTrue(success, "a change of governance");
    }

    function _seal() internal {
        vm.prank(governor);
        registry.seal(address(this), 3 days);
    }

    // WHAT MUST HOLD

    function _worthLow(address token, uint256 amount) internal view returns (uint256 low) {
        if (token == asset) return amount;
        (low,,) = router.value(token, asset, amount);
    }

    /// @dev The floor of a swap by hand: what was spent at its low price, less the greater slippage.
    function _floor(address tokenIn, uint256 spent, uint256 slippageBps) internal view returns (uint256) {
        return (_worthLow(tokenIn, spent) * (10_000 - slippageBps) + 9_999) / 10_000;
    }

    function _assertNothingLeft(address tokenIn, address tokenOut) internal view {
        assertEq(_balance(tokenIn, address(handler)), 0, "input left");
        assertEq(_balance(tokenOut, address(handler)), 0, "output left");
        assertEq(address(handler).balance, 0, "native value left");
        address[2] memory spenders = [address(uniswap), handler.diamond()];
        for (uint256 i; i < 2; ++i) {
            assertEq(IERC20(tokenIn).allowance(address(handler), spenders[i]), 0, "allowance left");
            assertEq(IERC20(tokenOut).allowance(address(handler), spenders[i]), 0, "allowance left");
        }
    }
}
