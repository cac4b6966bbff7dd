// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC721Enumerable} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Enumerable.sol";
import {FeeForwarder} from "../devnet/FeeForwarder.sol";
import {GenericSwapFacet} from "../devnet/GenericSwapFacet.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {UniswapV3Holdings} from "../src/connectors/UniswapV3Holdings.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {ILiquidityPool, INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {IPositionManagerFull} from "./UniswapV3Test.sol";
import {CallbackFixture} from "./fixtures/CallbackFixture.sol";
import {CallingToken} from "./fixtures/CallingToken.sol";

/// @dev What a pool is asked by whoever it calls back.
interface IPoolActions {
    function flash(address recipient, uint256 amount0, uint256 amount1, bytes calldata data) external;
    function swap(address recipient, bool zeroForOne, int256 amount, uint160 limit, bytes calldata data)
        external;
}

/// @dev What the swap router tells itself in its callback.
struct Payment {
    bytes path;
    address payer;
}

/// @title A token that calls back before and after each of its transfers, in a real vault
contract IntegrationCallbacksTest is CallbackFixture {
    /// @dev Of a refusal in words, as older contracts have it.
    bytes4 private constant WORDS = bytes4(keccak256("Error(string)"));

    UniswapV3Connector private liquidity;
    IPositionManagerFull private manager;
    uint256 private lowBefore;
    uint256 private highBefore;
    uint256 private inside;
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
        manager = IPositionManagerFull(_address(".uniswap.position_manager"));
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
        _tryUniswap();
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
        _tryMinted();
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
        _tryMinted();
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

    function test_class_I_no_door_opens_while_lifi_swaps() public {
        _thenLiFi(usdc, reward, 2_000e6, 980e18);
        _thenKeep(reward);
        _execute();
        _assertCalled(pool, address(diamond));
        _assertCalled(address(diamond), address(handler));
        _assertCalled(address(handler), address(portfolio));
        _then(address(tokens), abi.encodeCall(IConnector.withdraw, (_keyOf(reward), EVERYTHING)));
        _thenLiFi(reward, usdc, tokens.amountOf(_keyOf(reward)), 1_900e6);
        _execute();
        _assertCalled(address(portfolio), address(handler));
        _assertCalled(address(handler), address(diamond));
        _assertCalled(address(diamond), pool);
    }

    /// @dev The diamond has no lock: what lies there in the middle of a swap is anybody's, until all of it is undone.
    function test_class_N_a_token_that_empties_the_diamond_undoes_the_swap() public {
        calling.mint(address(handler), 1_000e18);
        _then(address(handler), abi.encodeCall(ISwapHandler.collect, (reward)));
        _thenLiFi(reward, usdc, 1_000e18, 1_900e6);
        Batch memory b = _queued(1_000e6);
        calling.forget();
        calling.willTry(address(diamond), _emptying(), 0);
        calling.wake(true);
        vm.prank(reward);
        vm.expectRevert(
            abi.encodeWithSelector(GenericSwapFacet.CumulativeSlippageTooLow.selector, 1_900e6, 0)
        );
        portfolio.execute(b);
        assertEq(_balance(usdc, makeAddr("thief")), 0);
        assertEq(_balance(reward, address(handler)), 1_000e18, "as it was");
        // Asleep, the same batch brings home what it says.
        calling.wake(false);
        uint256 idle = portfolio.idle();
        vm.prank(reward);
        portfolio.execute(b);
        assertGe(portfolio.idle(), idle + 1_900e6);
    }

    /// @dev Nobody here is Uniswap's payer, a receiver of NFTs or flash loans, or asks to hear of transfers.
    function test_class_I_nobody_here_answers_a_callback() public {
        string[14] memory callbacks = [
            "uniswapV3MintCallback(uint256,uint256,bytes)",
            "uniswapV3SwapCallback(int256,int256,bytes)",
            "uniswapV3FlashCallback(uint256,uint256,bytes)",
            "onERC721Received(address,address,uint256,bytes)",
            "onERC1155Received(address,address,uint256,uint256,bytes)",
            "onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)",
            "tokensReceived(address,address,address,uint256,bytes,bytes)",
            "tokensToSend(address,address,address,uint256,bytes,bytes)",
            "tokenFallback(address,uint256,bytes)",
            "onTransferReceived(address,address,uint256,bytes)",
            "onApprovalReceived(address,uint256,bytes)",
            "onFlashLoan(address,address,uint256,uint256,bytes)",
            "executeOperation(address,uint256,uint256,address,bytes)",
            "onMorphoFlashLoan(uint256,bytes)"
        ];
        address[6] memory callers =
            [pool, address(manager), address(uniswap), address(diamond), reward, makeAddr("stranger")];
        address[7] memory places = _places();
        for (uint256 i; i < callbacks.length; ++i) {
            bytes memory data = bytes.concat(bytes4(keccak256(bytes(callbacks[i]))), new bytes(512));
            for (uint256 j; j < places.length * callers.length; ++j) {
                vm.prank(callers[j % callers.length]);
                (bool success, bytes memory reason) = places[j / callers.length].call(data);
                assertFalse(success, callbacks[i]);
                assertEq(reason, "", callbacks[i]);
            }
        }
    }

    function test_class_I_a_strangers_NFT_is_refused_with_a_callback_and_counts_nothing_without() public {
        _enter();
        (uint256 low, uint256 high) = _nav();
        address trader = makeAddr("trader");
        uint256 tokenId = IERC721Enumerable(address(manager)).tokenOfOwnerByIndex(trader, 0);
        address[7] memory places = _places();
        for (uint256 i; i < places.length; ++i) {
            vm.prank(trader);
            vm.expectRevert(bytes("ERC721: transfer to non ERC721Receiver implementer"));
            IERC721Enumerable(address(manager)).safeTransferFrom(trader, places[i], tokenId);
        }
        vm.prank(trader);
        manager.transferFrom(trader, address(liquidity), tokenId);
        (uint256 lowNow, uint256 highNow) = _nav();
        assertEq(lowNow, low);
        assertEq(highNow, high);
        (,, uint64[] memory ids) = liquidity.holdings(key);
        assertEq(ids.length, 1);
        bytes memory refusal = abi.encodeWithSelector(UniswapV3Holdings.UnknownTokenId.selector, tokenId);
        _then(address(liquidity), abi.encodeCall(liquidity.collectFees, (tokenId)));
        _expectRefusal(refusal);
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, reward, EVERYTHING)));
        _thenSellCalling();
        _execute();
        assertEq(manager.ownerOf(tokenId), address(liquidity), "theirs, and of no consequence");
    }

    // THE POOL'S OWN CALLBACKS, with this test as whoever trades

    /// @dev A flash loan of the pool, and a swap that is not paid for yet: the pool is locked, and NAV stands still.
    function test_class_I_a_batch_inside_the_pools_callbacks_reaches_no_liquidity() public {
        _enter();
        (lowBefore, highBefore) = _nav();
        IPoolActions(pool).flash(address(this), 1e6, 1e6, "");
        assertEq(inside, 1);
        (lowBefore, highBefore) = _nav();
        bool first = usdc < reward;
        uint160 limit = first ? 4295128740 : 1461446703485210103287273052203988822378723970341;
        IPoolActions(pool).swap(address(this), first, 1e6, limit, "");
        assertEq(inside, 2);
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _then(address(liquidity), abi.encodeCall(liquidity.release, (key, reward, EVERYTHING)));
        _thenSellCalling();
        _execute();
    }

    function uniswapV3FlashCallback(uint256 fee0, uint256 fee1, bytes calldata) external {
        _tryInside(0);
        (uint256 dollars, uint256 rewards) = usdc < reward ? (fee0, fee1) : (fee1, fee0);
        _pay(usdc, 1e6 + dollars);
        _pay(reward, 1e6 + rewards);
    }

    function uniswapV3SwapCallback(int256, int256, bytes calldata) external {
        // What was sold a moment ago has earned a fee.
        _tryInside(3000);
        _pay(usdc, 1e6);
    }

    function _tryInside(uint256 most) private {
        (uint256 low, uint256 high) = _nav();
        assertGe(low, lowBefore);
        assertLe(low, lowBefore + most);
        assertGe(high, highBefore);
        assertLe(high, highBefore + most);
        (,, uint64[] memory ids) = liquidity.holdings(key);
        bytes memory locked = abi.encodeWithSignature("Error(string)", "LOK");
        _then(address(liquidity), abi.encodeCall(IConnector.withdraw, (key, EVERYTHING)));
        _expectRefusal(locked);
        _then(address(liquidity), abi.encodeCall(liquidity.collectFees, (ids[0])));
        _expectRefusal(locked);
        _thenBuyCalling();
        _thenKeep(reward);
        _expectRefusal(locked);
        // Dollars alone, in a range on their side of the price.
        _then(address(liquidity), usdc, 100e6, abi.encodeCall(IConnector.supply, (key, 100e6)));
        (, int24 tick,,,,,) = ILiquidityPool(pool).slot0();
        (int24 middle, bool above) = (tick / 60 * 60, usdc < reward);
        (int24 lower, int24 upper) = above ? (middle + 120, middle + 600) : (middle - 600, middle - 120);
        bytes memory mint = abi.encodeCall(
            liquidity.mint,
            (key, lower, upper, above ? 100e6 : 0, above ? 0 : 100e6, above ? 1 : 0, above ? 0 : 1)
        );
        _then(address(liquidity), mint);
        _expectRefusal(locked);
        ++inside;
    }

    function _pay(address token_, uint256 amount) private {
        deal(token_, address(this), amount);
        assertTrue(IERC20(token_).transfer(pool, amount));
    }

    /// @dev Of the queued batch, by the token, which is the keeper.
    function _expectRefusal(bytes memory refusal) private {
        Batch memory b = _queued(1_000e6);
        vm.prank(reward);
        vm.expectRevert(refusal);
        portfolio.execute(b);
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

    /// @dev In the name of whoever has just approved something to Uniswap's contracts, and for what may lie there.
    function _tryUniswap() private {
        address[3] memory payers = [address(liquidity), address(handler), address(portfolio)];
        (address token0, address token1) = usdc < reward ? (usdc, reward) : (reward, usdc);
        bytes4 silent = calling.SILENT();
        for (uint256 i; i < 3; ++i) {
            bytes memory data = abi.encode(token0, token1, REWARD_FEE, payers[i]);
            data = abi.encodeWithSignature("uniswapV3MintCallback(uint256,uint256,bytes)", 1, 1, data);
            calling.willTry(address(manager), data, silent);
            for (uint256 j; j < 2; ++j) {
                (address sold, address wanted) = j == 0 ? (usdc, reward) : (reward, usdc);
                data = abi.encode(Payment(abi.encodePacked(sold, REWARD_FEE, wanted), payers[i]));
                data = abi.encodeWithSignature("uniswapV3SwapCallback(int256,int256,bytes)", 1, 1, data);
                calling.willTry(address(uniswap), data, silent);
            }
        }
        address[2] memory swept = [usdc, reward];
        for (uint256 i; i < 2; ++i) {
            bytes memory data =
                abi.encodeWithSignature("sweepToken(address,uint256,address)", swept[i], 1, reward);
            calling.willTry(address(manager), data, WORDS);
            calling.willTry(address(uniswap), data, WORDS);
        }
    }

    /// @dev What the position manager lets an NFT's owner do.
    function _tryMinted() private {
        (,, uint64[] memory ids) = liquidity.holdings(key);
        uint256 tokenId = ids[0];
        INonfungiblePositionManager.CollectParams memory taken;
        (taken.tokenId, taken.recipient) = (tokenId, reward);
        (taken.amount0Max, taken.amount1Max) = (type(uint128).max, type(uint128).max);
        INonfungiblePositionManager.DecreaseLiquidityParams memory less;
        (less.tokenId, less.liquidity, less.deadline) = (tokenId, 1, type(uint256).max);
        address target = address(manager);
        calling.willTry(target, abi.encodeCall(manager.collect, (taken)), WORDS);
        calling.willTry(target, abi.encodeCall(manager.decreaseLiquidity, (less)), WORDS);
        calling.willTry(target, abi.encodeCall(manager.burn, (tokenId)), WORDS);
        calling.willTry(
            target, abi.encodeCall(manager.transferFrom, (address(liquidity), reward, tokenId)), WORDS
        );
        calling.willTry(target, abi.encodeWithSignature("approve(address,uint256)", reward, tokenId), WORDS);
    }

    // STEPS

    function _places() private view returns (address[7] memory) {
        return [
            address(vault),
            address(portfolio),
            address(escrow),
            address(registry),
            address(handler),
            address(liquidity),
            address(tokens)
        ];
    }

    function _thenLiFi(address sold, address wanted, uint256 amount, uint256 minOut) private {
        SwapData memory step;
        step.callTo = step.approveTo = address(uniswap);
        (step.sendingAssetId, step.receivingAssetId) = (sold, wanted);
        (step.fromAmount, step.requiresDeposit) = (amount, true);
        bytes memory path = abi.encodePacked(sold, REWARD_FEE, wanted);
        step.callData = abi.encodeCall(
            IUniswapV3SwapRouter.exactInput,
            (IUniswapV3SwapRouter.ExactInputParams(path, address(diamond), block.timestamp, amount, 0))
        );
        bytes memory quote = abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "", "", payable(address(handler)), minOut, step)
        );
        _then(
            address(handler),
            sold,
            amount,
            abi.encodeCall(ISwapHandler.swapLiFi, (sold, wanted, amount, minOut, quote))
        );
    }

    /// @dev A swap of nothing, after which the diamond sends all its dollars to the thief.
    function _emptying() private returns (bytes memory) {
        SwapData memory step;
        step.callTo = step.approveTo = address(forwarder);
        step.sendingAssetId = step.receivingAssetId = usdc;
        step.callData =
            abi.encodeCall(FeeForwarder.forwardERC20Fees, (usdc, new FeeForwarder.FeeDistribution[](0)));
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "", "", payable(makeAddr("thief")), 0, step)
        );
    }

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
