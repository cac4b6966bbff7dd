// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "../src/connectors/Connector.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {LiquidityMath} from "../src/libraries/LiquidityMath.sol";
import {UniswapV3Test} from "./UniswapV3Test.sol";
import {Token} from "./fixtures/Tokens.sol";

/// @dev Can be frozen for one account, and calls somebody at every transfer.
contract HostileToken is Token {
    address public frozen;
    address private listener;

    error Frozen(address account);

    constructor() Token("HOSTILE", 18) {}

    function freeze(address account) external {
        frozen = account;
    }

    function callOnTransfer(address listener_) external {
        listener = listener_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (frozen != address(0) && (from == frozen || to == frozen)) revert Frozen(frozen);
        super._update(from, to, amount);
        if (listener != address(0)) Intruder(listener).onTransfer();
    }
}

/// @dev Tries everything while the connector is at work, and keeps the highest value it is shown.
contract Intruder {
    UniswapV3Connector private immutable connector;
    bytes32 private immutable key;
    address private immutable token;
    uint256 public calls;
    uint256 public intrusions;
    uint256 public highest;

    constructor(UniswapV3Connector connector_, bytes32 key_, address token_) {
        (connector, key, token) = (connector_, key_, token_);
    }

    function onTransfer() external {
        calls++;
        _try(abi.encodeCall(connector.withdraw, (key, type(uint256).max)));
        _try(abi.encodeCall(connector.release, (key, token, type(uint256).max)));
        _try(abi.encodeCall(connector.hold, (key, token, type(uint256).max)));
        _try(abi.encodeCall(connector.mint, (key, -600, 600, 1, 1, 1, 1)));
        _try(abi.encodeCall(connector.collectFees, (1)));
        _try(abi.encodeCall(connector.collect, (token)));
        (, uint256 high,) = connector.report(key);
        if (high > highest) highest = high;
    }

    function _try(bytes memory data) private {
        (bool success, bytes memory answer) = address(connector).call(data);
        if (success || bytes4(answer) != Connector.NotPortfolio.selector) intrusions++;
    }
}

contract UniswapV3HostileTest is UniswapV3Test {
    HostileToken private hostile;

    function setUp() public override {
        super.setUp();
        hostile = new HostileToken();
        Token usd = new Token("USD", 6);
        while (address(usd) < address(hostile)) usd = new Token("USD", 6);
        (token0, token1, asset) = (address(hostile), address(usd), address(usd));
        _create(LiquidityMath.rootOf(3000e6, 1e18));
    }

    // REENTRANCY

    /// @dev Reads from inside a callback must not show tokens twice, once as held and once as liquidity.
    function test_class_N_a_callback_gets_nowhere_and_sees_nothing_twice() public {
        uint256 tokenId = _enter(_tick(-50), _tick(50), 1e15);
        _hold(token0, 5e18);
        _hold(asset, 15_000e6);
        Intruder intruder = new Intruder(connector, key, token0);
        hostile.callOnTransfer(address(intruder));
        (, uint256 high) = _report();

        connector.increase(tokenId, 1e18, 3000e6, 1, 1);
        connector.mint(key, _tick(-10), _tick(10), EVERYTHING, EVERYTHING, 1, 1);
        connector.decrease(tokenId, ALL, 1, 1);
        connector.collectFees(tokenId);
        connector.burn(tokenId);
        connector.withdraw(key, EVERYTHING);
        connector.release(key, token0, EVERYTHING);

        assertEq(intruder.calls(), 5, "two into the pool, two out of it, one to the portfolio");
        assertEq(intruder.intrusions(), 0);
        assertLe(intruder.highest(), high + 10 * _units(_spot()), "counted twice");
    }

    // FROZEN TOKENS

    function test_M_59_a_frozen_token_does_not_keep_the_asset_in() public {
        _enter(_tick(-50), _tick(50), 1e15);
        (uint256 held0,,) = connector.holdings(key);
        uint256 low = _low();
        hostile.freeze(address(connector));
        uint256 withdrawn = connector.withdraw(key, EVERYTHING);
        assertGt(withdrawn, low / 3);
        (uint256 held0After,, uint64[] memory ids) = connector.holdings(key);
        assertEq(ids.length, 1, "what is still owed keeps its NFT");
        assertEq(held0After, held0);
        uint256 left = _low();
        assertApproxEqAbs(left + withdrawn, low, 5 * _units(_spot()), "and is counted");

        hostile.freeze(address(0));
        assertEq(connector.withdraw(key, EVERYTHING), 0, "no more of the asset");
        (held0After,, ids) = connector.holdings(key);
        assertEq(ids.length, 0);
        assertEq(connector.release(key, token0, EVERYTHING), held0After);
    }

    function test_M_59_a_frozen_asset_does_not_keep_the_other_token_in() public {
        asset = token0;
        _setPrice(token1, 1e18, 3000e6);
        connector = _connect(key);
        uint256 tokenId = _enter(_tick(-50), _tick(50), 1e15);
        connector.decrease(tokenId, ALL, 1, 1);
        hostile.freeze(address(connector));
        connector.collectFees(tokenId);
        assertGt(connector.release(key, token1, EVERYTHING), 0);
        INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenId);
        assertGt(minted.tokensOwed0, 0);
        assertEq(minted.tokensOwed1, 0);
    }

    function test_M_59_tokens_that_are_both_frozen_are_not_called_collected() public {
        uint256 tokenId = _enter(_tick(-50), _tick(50), 1e15);
        connector.decrease(tokenId, ALL, 1, 1);
        hostile.freeze(address(connector));
        vm.mockCallRevert(token1, abi.encodeWithSignature("transfer(address,uint256)"), "frozen");
        // By the pool, of the last of three ways: the second token alone.
        vm.expectRevert(bytes("TF"));
        connector.collectFees(tokenId);
    }

    // THE POOL IN THE MIDDLE OF A SWAP

    /// @dev The pool is locked inside its callback; the report does not need it unlocked.
    function test_M_48_a_report_inside_a_swap_is_within_the_range() public {
        _enter(_tick(-50), _tick(50), 1e15);
        uint256 fair = _spot();
        (uint256 low, uint256 high) = _report();
        Intruder intruder = new Intruder(connector, key, token0);
        hostile.callOnTransfer(address(intruder));
        _swapTo(fair * 12 / 10);
        _swapTo(fair * 8 / 10);
        assertGt(intruder.calls(), 0);
        assertGe(intruder.highest(), low);
        assertLe(intruder.highest(), high + high / 100, "fees at most");
    }
}
