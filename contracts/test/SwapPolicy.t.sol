// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISwapHandler, TokenRule} from "../src/interfaces/ISwapHandler.sol";
import {Permission} from "../src/interfaces/Types.sol";
import {OracleRouter} from "../src/oracle/OracleRouter.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {SwapTest} from "./SwapTest.sol";

/// @title Who may change what swaps may touch
contract SwapPolicyTest is SwapTest {
    bytes4 private constant EXACT_INPUT = IUniswapV3SwapRouter.exactInput.selector;

    // ROLES

    function test_class_G_what_raises_risk_or_closes_a_way_out_is_the_governors_and_waits() public {
        _seal();
        bytes[] memory changes = _waiting();
        for (uint256 i; i < changes.length; ++i) {
            _refused(stranger, changes[i], abi.encodeWithSelector(IRegistry.NotGovernor.selector, stranger));
            _refused(guardian, changes[i], abi.encodeWithSelector(IRegistry.NotGovernor.selector, guardian));
            bytes32 id = registry.changeId(address(handler), changes[i]);
            _refused(governor, changes[i], abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
            vm.prank(governor);
            registry.submit(address(this), address(handler), changes[i]);
            uint256 at = block.timestamp + 3 days;
            _refused(governor, changes[i], abi.encodeWithSelector(IRegistry.ChangeNotReady.selector, id, at));
            vm.warp(at);
            vm.prank(governor);
            (bool success,) = address(handler).call(changes[i]);
            assertTrue(success, "after the delay");
            _refused(governor, changes[i], abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        }
    }

    function test_class_G_a_vetoed_change_is_not_made() public {
        _seal();
        bytes memory change = abi.encodeCall(handler.listToken, (weth, 300));
        bytes32 id = registry.changeId(address(handler), change);
        vm.prank(governor);
        registry.submit(address(this), address(handler), change);
        vm.prank(guardian);
        registry.veto(address(this), id);
        skip(3 days);
        _refused(governor, change, abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
    }

    function test_class_G_a_token_is_restricted_by_guardian_or_governor_at_once() public {
        _seal();
        bytes memory change = abi.encodeCall(handler.restrictToken, (weth));
        _refused(stranger, change, abi.encodeWithSelector(ISwapHandler.NotGuardian.selector, stranger));
        address[2] memory allowed = [guardian, governor];
        for (uint256 i; i < 2; ++i) {
            vm.prank(allowed[i]);
            handler.restrictToken(weth);
        }
    }

    function test_class_G_the_way_into_the_asset_cannot_be_closed() public {
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.InvalidToken.selector, usdc);
        _refused(guardian, abi.encodeCall(handler.restrictToken, (usdc)), refusal);
        _refused(governor, abi.encodeCall(handler.restrictToken, (usdc)), refusal);
        _refused(governor, abi.encodeCall(handler.unlistToken, (usdc)), refusal);
    }

    function test_class_G_consent_is_the_guardians_alone() public {
        bytes memory change = abi.encodeCall(handler.consent, (weth, usdc, 1e18, 1));
        _refused(governor, change, abi.encodeWithSelector(ISwapHandler.NotGuardian.selector, governor));
        _refused(stranger, change, abi.encodeWithSelector(ISwapHandler.NotGuardian.selector, stranger));
    }

    // DISABLED MEANS DISABLED EVERYWHERE

    function test_M_23_a_pool_taken_off_is_off_for_every_path() public {
        _govern(abi.encodeCall(handler.disallowPool, (_pool("USDC/WETH"))));
        _push(usdc, 3_000e6);
        _push(weth, 1e18);
        _push(wbtc, 1e8);
        _noPool(usdc, weth);
        _swap(_way(usdc, weth), 3_000e6, 1);
        _noPool(usdc, weth);
        _swap(_way(usdc, wbtc), 3_000e6, 1);
        _noPool(weth, usdc);
        _swap(_way(weth, usdc), 1e18, 1);
        _noPool(weth, usdc);
        _swap(_way(wbtc, usdc), 1e8, 1);
        _govern(abi.encodeCall(handler.allowPool, (_pool("USDC/WETH"))));
        assertGt(_swap(_way(wbtc, usdc), 1e8, 1), 0);
    }

    function test_M_23_a_target_taken_off_is_off_for_every_swap() public {
        _govern(abi.encodeCall(handler.disallowTarget, (address(uniswap), EXACT_INPUT)));
        bytes memory refusal =
            abi.encodeWithSelector(ISwapHandler.TargetNotAllowed.selector, uniswap, EXACT_INPUT);
        _push(usdc, 3_000e6);
        bytes memory single = _single(_step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, single);
        bytes memory multiple = _multiple(_fee(usdc, 3_000e6, 0), _step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, multiple);
    }

    function test_M_23_a_facet_unpinned_is_of_no_use() public {
        _govern(abi.encodeCall(handler.pinFacet, (SINGLE, bytes32(0))));
        _push(usdc, 3_000e6);
        bytes memory single = _single(_step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.SelectorNotAllowed.selector, SINGLE));
        handler.swapLiFi(usdc, weth, 3_000e6, 1, single);
    }

    function test_M_23_a_token_unlisted_is_off_for_every_swap() public {
        _govern(abi.encodeCall(handler.unlistToken, (weth)));
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.TokenNotAllowed.selector, weth);
        _push(usdc, 3_000e6);
        _push(weth, 1e18);
        bytes memory path = _way(usdc, wbtc);
        vm.expectRevert(refusal);
        _swap(path, 3_000e6, 1);
        path = _way(usdc, weth);
        vm.expectRevert(refusal);
        _swap(path, 3_000e6, 1);
        path = _way(weth, usdc);
        vm.expectRevert(refusal);
        _swap(path, 1e18, 1);
        bytes memory data = _single(_step(path, 1e18), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(weth, usdc, 1e18, 1, data);
        data = _single(_step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, data);
        data = _multiple(_step(_way(usdc, weth), 3_000e6), _step(_path(weth, 500, wbtc), 1e18), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, wbtc, 3_000e6, 1, data);
    }

    function test_M_23_a_restricted_token_can_only_be_left() public {
        vm.prank(guardian);
        handler.restrictToken(weth);
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.TokenIsRestricted.selector, weth);
        _push(usdc, 3_000e6);
        vm.expectRevert(refusal);
        _swap(_path(usdc, 500, weth), 3_000e6, 1);
        bytes memory data = _single(_step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, data);
        // Out of it, and through it, goes on.
        _push(weth, 1e18);
        assertGt(_swap(_path(weth, 500, usdc), 1e18, 2_900e6), 0);
        _push(wbtc, 1e8);
        assertGt(_swap(_way(wbtc, usdc), 1e8, 89_000e6), 0);
        _govern(abi.encodeCall(handler.listToken, (weth, 150)));
        assertGt(_swap(_path(usdc, 500, weth), 3_000e6, 1), 0);
    }

    function test_M_23_a_handler_that_is_exit_only_buys_the_asset_alone() public {
        vm.prank(guardian);
        registry.setExitOnly(address(this), address(handler));
        _push(usdc, 3_000e6);
        vm.expectRevert(ISwapHandler.HandlerIsExitOnly.selector);
        _swap(_path(usdc, 500, weth), 3_000e6, 1);
        bytes memory data = _single(_step(_way(usdc, weth), 3_000e6), 1);
        vm.expectRevert(ISwapHandler.HandlerIsExitOnly.selector);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, data);
        _push(weth, 1e18);
        assertGt(_swap(_path(weth, 500, usdc), 1e18, 2_900e6), 0);
    }

    // REFUSED WHEN CONFIGURED

    function test_tokens_that_cannot_be_priced_or_called_are_refused() public {
        address wsteth = _token("wstETH");
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(OracleRouter.UnknownRoute.selector, wsteth, usdc));
        handler.listToken(wsteth, 100);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidToken.selector, stranger));
        handler.listToken(stranger, 100);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidToken.selector, uniswap));
        handler.listToken(address(uniswap), 100);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidSlippage.selector, 301, 300));
        handler.listToken(weth, 301);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.TokenNotAllowed.selector, wsteth));
        handler.unlistToken(wsteth);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.TokenNotAllowed.selector, wsteth));
        handler.restrictToken(wsteth);
    }

    function test_pools_of_another_factory_are_refused() public {
        FalsePool pool = new FalsePool(usdc, weth);
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidPool.selector, pool));
        handler.allowPool(address(pool));
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidPool.selector, stranger));
        handler.allowPool(stranger);
    }

    function test_class_I_targets_that_hold_or_rule_the_vault_are_refused() public {
        vm.etch(escrow, hex"00");
        address[7] memory forbidden =
            [address(this), address(handler), address(registry), escrow, address(diamond), weth, stranger];
        vm.startPrank(governor);
        for (uint256 i; i < forbidden.length; ++i) {
            bytes memory refusal = abi.encodeWithSelector(ISwapHandler.InvalidTarget.selector, forbidden[i]);
            vm.expectRevert(refusal);
            handler.allowTarget(forbidden[i], EXACT_INPUT, address(uniswap));
            vm.expectRevert(refusal);
            handler.allowTarget(address(uniswap), EXACT_INPUT, forbidden[i]);
        }
    }

    function test_only_generic_swaps_can_be_pinned() public {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.SelectorNotAllowed.selector, bytes4(0x733214a3)));
        handler.pinFacet(0x733214a3, address(facet).codehash);
    }

    // WHAT CAN BE READ

    function test_everything_that_is_allowed_can_be_listed() public {
        TokenRule[] memory tokens = handler.tokens();
        assertEq(tokens.length, 5);
        assertEq(tokens[0].token, usdc);
        assertEq(tokens[0].maxSlippageBps, 0);
        assertEq(tokens[1].token, weth);
        assertEq(tokens[1].maxSlippageBps, 150);
        assertFalse(tokens[1].restricted);
        assertEq(handler.pools().length, 4);
        Permission[] memory targets = handler.targets();
        assertEq(targets.length, 2);
        assertEq(targets[0].target, address(uniswap));
        assertEq(targets[0].selector, EXACT_INPUT);
        assertEq(handler.spenderOf(address(uniswap)), address(uniswap));
        assertEq(handler.facetHash(SINGLE), address(facet).codehash);

        vm.prank(guardian);
        handler.restrictToken(weth);
        _govern(abi.encodeCall(handler.disallowPool, (_pool("USDC/WETH"))));
        _govern(abi.encodeCall(handler.disallowTarget, (address(uniswap), EXACT_INPUT)));
        _govern(abi.encodeCall(handler.pinFacet, (SINGLE, bytes32(0))));
        assertTrue(handler.tokens()[1].restricted);
        assertEq(handler.pools().length, 3);
        assertEq(handler.targets().length, 1);
        assertEq(handler.facetHash(SINGLE), 0);
        _govern(abi.encodeCall(handler.unlistToken, (weth)));
        assertEq(handler.tokens().length, 4);
    }

    function test_every_change_is_told() public {
        address pool = _pool("WETH/wstETH");
        vm.startPrank(governor);
        vm.expectEmit(address(handler));
        emit ISwapHandler.TokenListed(weth, 120);
        handler.listToken(weth, 120);
        vm.expectEmit(address(handler));
        emit ISwapHandler.TokenRestricted(weth);
        handler.restrictToken(weth);
        vm.expectEmit(address(handler));
        emit ISwapHandler.TokenUnlisted(weth);
        handler.unlistToken(weth);
        vm.expectEmit(address(handler));
        emit ISwapHandler.PoolSet(pool, true);
        handler.allowPool(pool);
        vm.expectEmit(address(handler));
        emit ISwapHandler.PoolSet(pool, false);
        handler.disallowPool(pool);
        vm.expectEmit(address(handler));
        emit ISwapHandler.TargetSet(address(uniswap), bytes4("x"), address(uniswap), true);
        handler.allowTarget(address(uniswap), bytes4("x"), address(uniswap));
        vm.expectEmit(address(handler));
        emit ISwapHandler.TargetSet(address(uniswap), bytes4("x"), address(uniswap), false);
        handler.disallowTarget(address(uniswap), bytes4("x"));
        vm.expectEmit(address(handler));
        emit ISwapHandler.FacetPinned(SINGLE, 0);
        handler.pinFacet(SINGLE, 0);
        vm.stopPrank();
        vm.prank(guardian);
        vm.expectEmit(address(handler));
        emit ISwapHandler.Consented(guardian, weth, usdc, 1e18, 2_900e6, uint64(block.timestamp + 1 days));
        handler.consent(weth, usdc, 1e18, 2_900e6);
    }

    // STEPS

    function _waiting() private view returns (bytes[] memory changes) {
        changes = new bytes[](7);
        changes[0] = abi.encodeCall(handler.listToken, (weth, 200));
        changes[1] = abi.encodeCall(handler.allowPool, (_pool("WETH/wstETH")));
        changes[2] = abi.encodeCall(handler.allowTarget, (address(uniswap), bytes4("x"), address(uniswap)));
        changes[3] = abi.encodeCall(handler.pinFacet, (SINGLE, keccak256("another")));
        changes[4] = abi.encodeCall(handler.unlistToken, (dai));
        changes[5] = abi.encodeCall(handler.disallowPool, (_pool("WETH/wstETH")));
        changes[6] = abi.encodeCall(handler.disallowTarget, (address(uniswap), EXACT_INPUT));
    }

    function _refused(address caller, bytes memory data, bytes memory refusal) private {
        vm.prank(caller);
        (bool success, bytes memory reason) = address(handler).call(data);
        assertFalse(success);
        assertEq(reason, refusal);
    }

    function _noPool(address from, address to) private {
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.PoolNotAllowed.selector, from, to, uint24(500)));
    }
}

/// @dev Names itself as a pool does.
contract FalsePool {
    address public token0;
    address public token1;
    uint24 public constant fee = 500;

    constructor(address a, address b) {
        (token0, token1) = a < b ? (a, b) : (b, a);
    }
}
