// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {CallbackFixture} from "./fixtures/CallbackFixture.sol";
import {CallingToken} from "./fixtures/CallingToken.sol";

/// @title A token that calls back before and after each of its transfers, in a real vault
contract IntegrationCallbacksTest is CallbackFixture {
    UniswapV3Connector private liquidity;
    CallingToken private calling;
    address private pool;
    bytes32 private key;

    function _rewardToken() internal override returns (address) {
        calling = new CallingToken();
        return address(calling);
    }

    function _connect() internal override {
        pool = _openRewardPool();
        handler.allowPool(pool);
        key = _keyOf(pool);
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key;
        uint24[] memory tiers = new uint24[](1);
        tiers[0] = REWARD_FEE;
        INonfungiblePositionManager manager =
            INonfungiblePositionManager(_address(".uniswap.position_manager"));
        liquidity = new UniswapV3Connector(address(portfolio), manager, keys, tiers, 100, 2);
        _list(address(liquidity), key);
        _allowPlain(address(liquidity));
        bytes4[5] memory selectors = [
            liquidity.hold.selector,
            liquidity.release.selector,
            liquidity.mint.selector,
            liquidity.collectFees.selector,
            Connector.collect.selector
        ];
        for (uint256 i; i < 5; ++i) {
            _may(address(liquidity), selectors[i]);
        }
        _may(address(tokens), Connector.collect.selector);
        _may(address(handler), ISwapHandler.collect.selector);
    }

    function setUp() public override {
        super.setUp();
        _empower(calling, address(liquidity), key);
        _tryConnectors();
    }

    function test_class_I_no_door_opens_while_liquidity_is_bought_and_minted() public {
        _enter();
        _assertCalled(pool, address(handler));
        _assertCalled(address(handler), address(portfolio));
        _assertCalled(address(portfolio), address(liquidity));
        _assertCalled(address(liquidity), pool);
    }

    function test_class_I_no_door_opens_while_fees_are_collected_and_sold() public {
        _enter();
        _trade(reward, _trade(usdc, 100_000e6));
        (,, uint64[] memory ids) = liquidity.holdings(key);
        _then(address(liquidity), abi.encodeCall(liquidity.collectFees, (ids[0])));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, reward, EVERYTHING)));
        _thenSellCalling();
        _execute();
        _assertCalled(pool, address(liquidity));
        _assertCalled(address(liquidity), address(portfolio));
        _assertCalled(address(portfolio), address(handler));
        _assertCalled(address(handler), pool);
    }

    function test_class_I_no_door_opens_on_the_way_out() public {
        _enter();
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, reward, EVERYTHING)));
        _thenSellCalling();
        _execute();
        _assertCalled(pool, address(liquidity));
        (uint256 low, uint256 high) = _nav();
        assertEq(low, high);
        assertEq(low, portfolio.idle());
    }

    function test_class_I_no_door_opens_while_the_token_is_held() public {
        _thenBuyCalling();
        _thenKeep(reward);
        _execute();
        _assertCalled(address(portfolio), address(tokens));
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(reward), EVERYTHING)));
        _thenSellCalling();
        _execute();
        _assertCalled(address(tokens), address(portfolio));
    }

    function test_class_I_no_door_opens_while_what_lies_loose_is_collected() public {
        address[3] memory places = [address(handler), address(liquidity), address(tokens)];
        uint256 idle = portfolio.idle();
        for (uint256 i; i < 3; ++i) {
            calling.mint(places[i], 10e18);
            _then(places[i], abi.encodeCall(Connector.collect, (reward)));
        }
        _thenSellCalling();
        _execute();
        for (uint256 i; i < 3; ++i) {
            _assertCalled(places[i], address(portfolio));
        }
        assertGt(portfolio.idle(), idle + 59e6);
    }

    /// @dev Between batches the same calls get through, or end in what they are refused for by themselves.
    function test_class_I_the_doors_are_real() public {
        calling.wake(true);
        calling.mint(address(this), 1);
        CallingToken.Finding[] memory findings = calling.unexpected();
        uint256 opened;
        for (uint256 i; i < findings.length; ++i) {
            if (findings[i].succeeded) ++opened;
        }
        assertGt(opened, 10);
    }

    // DOORS

    function _tryConnectors() private {
        bytes4 refusal = Connector.NotPortfolio.selector;
        address target = address(liquidity);
        calling.willTry(target, abi.encodeCall(IConnector.supply, (key, 1)), refusal);
        calling.willTry(target, abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)), refusal);
        calling.willTry(target, abi.encodeCall(liquidity.hold, (key, reward, EVERYTHING)), refusal);
        calling.willTry(target, abi.encodeCall(liquidity.release, (key, reward, EVERYTHING)), refusal);
        calling.willTry(
            target, abi.encodeCall(liquidity.mint, (key, -600, 600, EVERYTHING, EVERYTHING, 1, 1)), refusal
        );
        calling.willTry(target, abi.encodeCall(liquidity.increase, (1, 1, 1, 1, 1)), refusal);
        calling.willTry(target, abi.encodeCall(liquidity.decrease, (1, 1, 1, 1)), refusal);
        calling.willTry(target, abi.encodeCall(liquidity.collectFees, (1)), refusal);
        calling.willTry(target, abi.encodeCall(liquidity.burn, (1)), refusal);
        calling.willTry(target, abi.encodeCall(Connector.collect, (reward)), refusal);
        target = address(tokens);
        calling.willTry(target, abi.encodeCall(IConnector.supply, (_keyOf(reward), EVERYTHING)), refusal);
        calling.willTry(target, abi.encodeCall(IConnector.withdraw, (_keyOf(reward), EVERYTHING)), refusal);
        calling.willTry(target, abi.encodeCall(Connector.collect, (reward)), refusal);
        refusal = ISwapHandler.NotPortfolio.selector;
        target = address(handler);
        bytes memory path = abi.encodePacked(reward, REWARD_FEE, usdc);
        calling.willTry(target, abi.encodeCall(handler.swapUniswap, (path, EVERYTHING, 1)), refusal);
        calling.willTry(target, abi.encodeCall(handler.swapLiFi, (reward, usdc, 1, 1, "")), refusal);
        calling.willTry(target, abi.encodeCall(ISwapHandler.collect, (reward)), refusal);
    }

    // STEPS

    function _enter() private {
        _thenBuyCalling();
        bytes memory hold = abi.encodeCall(liquidity.hold, (key, reward, EVERYTHING));
        _then(address(liquidity), reward, EVERYTHING, hold);
        _then(address(liquidity), usdc, 2_000e6, abi.encodeCall(liquidity.hold, (key, usdc, 2_000e6)));
        bytes memory mint =
            abi.encodeCall(liquidity.mint, (key, -887_220, 887_220, EVERYTHING, EVERYTHING, 1, 1));
        _then(address(liquidity), mint);
        _execute();
    }

    function _assertCalled(address from, address to) private view {
        assertGt(calling.seen(from, to), 0, "no transfer there");
    }

    function _trade(address from, uint256 amount) private returns (uint256 received) {
        address trader = makeAddr("trader");
        deal(from, trader, amount);
        bytes memory path = abi.encodePacked(from, REWARD_FEE, from == usdc ? reward : usdc);
        vm.startPrank(trader);
        IERC20(from).approve(address(uniswap), amount);
        received = uniswap.exactInput(
            IUniswapV3SwapRouter.ExactInputParams(path, trader, block.timestamp, amount, 0)
        );
        vm.stopPrank();
    }
}
