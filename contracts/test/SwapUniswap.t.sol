// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {SwapTest} from "./SwapTest.sol";

/// @title Swaps on the real Uniswap v3
contract SwapUniswapTest is SwapTest {
    function test_class_N_one_hop_brings_everything_to_the_portfolio() public {
        _push(usdc, 3_000e6);
        vm.expectEmit(true, true, false, false, address(handler));
        emit ISwapHandler.Swapped(usdc, weth, 3_000e6, 0);
        uint256 received = _swap(_way(usdc, weth), 3_000e6, 0.99e18);
        assertApproxEqRel(received, 1e18, 0.005e18);
        assertEq(_balance(weth, address(this)), received, "by measured balance");
        assertEq(_balance(usdc, address(this)), 0);
        _assertNothingLeft(usdc, weth);
    }

    function test_class_N_several_hops_bring_everything_to_the_portfolio() public {
        _push(wbtc, 1e8);
        uint256 received = _swap(_way(wbtc, usdc), 1e8, 89_000e6);
        assertApproxEqRel(received, 90_000e6, 0.01e18);
        assertEq(_balance(usdc, address(this)), received);
        _assertNothingLeft(wbtc, usdc);
        assertEq(_balance(weth, address(handler)), 0);
    }

    /// @dev 6, 8 and 18 decimals, both ways, from dust to more than the pools hold.
    function testFuzz_class_N_the_portfolio_gets_both_minimums_or_nothing_happens(
        uint256 tokenSeed,
        bool sell,
        uint256 dollars,
        uint256 magnitude,
        uint256 meanness
    ) public {
        (address token, uint256 unit, uint256 slippage) = _pick(tokenSeed);
        dollars = bound(dollars, 1, 50) * 10 ** bound(magnitude, 0, 6);
        (address tokenIn, address tokenOut) = sell ? (token, usdc) : (usdc, token);
        uint256 amountIn = dollars * (sell ? unit : 1e6);
        // From far too mean to far too generous.
        uint256 minOut = dollars * (sell ? 1e6 : unit) * bound(meanness, 1, 12_000) / 10_000 + 1;
        _push(tokenIn, amountIn);
        try handler.swapUniswap(_way(tokenIn, tokenOut), amountIn, minOut) returns (uint256 received) {
            uint256 spent = amountIn - _balance(tokenIn, address(this));
            assertEq(_balance(tokenOut, address(this)), received);
            assertGe(received, minOut, "the signed minimum");
            assertGe(_worthLow(tokenOut, received), _floor(tokenIn, spent, slippage), "the oracle's");
            _assertNothingLeft(tokenIn, tokenOut);
        } catch (bytes memory reason) {
            // The router itself refuses less than the signed minimum, in words.
            bool byRouter = keccak256(reason)
                == keccak256(abi.encodeWithSignature("Error(string)", "Too little received"));
            assertTrue(byRouter || bytes4(reason) == ISwapHandler.BelowOracleBound.selector, "by name");
            assertEq(_balance(tokenIn, address(handler)), amountIn, "as pushed");
        }
    }

    function testFuzz_class_N_a_mean_minimum_is_no_licence(uint256 dollars) public {
        dollars = bound(dollars, 4_000_000, 50_000_000);
        _push(usdc, dollars * 1e6);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_way(usdc, weth), dollars * 1e6, 1);
    }

    function test_M_37_M_38_a_minimum_of_zero_is_refused() public {
        _push(usdc, 3_000e6);
        vm.expectRevert(ISwapHandler.ZeroMinimum.selector);
        _swap(_way(usdc, weth), 3_000e6, 0);
    }

    function test_M_38_a_pool_moved_against_the_swap_stops_it() public {
        deal(usdc, stranger, 40_000_000e6);
        vm.startPrank(stranger);
        IERC20(usdc).approve(address(uniswap), EVERYTHING);
        uniswap.exactInput(
            IUniswapV3SwapRouter.ExactInputParams(
                _way(usdc, weth), stranger, block.timestamp, 40_000_000e6, 0
            )
        );
        vm.stopPrank();
        _push(usdc, 3_000e6);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_way(usdc, weth), 3_000e6, 1);
    }

    function test_H_05_what_the_pools_do_not_take_comes_back() public {
        // More than the pool holds within its range: it takes what it can pay for and no more.
        _push(usdt, 50_000_000e6);
        uint256 received = _swap(_way(usdt, usdc), 50_000_000e6, 20_000_000e6);
        uint256 left = _balance(usdt, address(this));
        assertGt(left, 10_000_000e6, "unspent");
        assertGe(received, _floor(usdt, 50_000_000e6 - left, 75), "of what was spent");
        _assertNothingLeft(usdt, usdc);
    }

    function test_class_N_all_that_lies_here_may_be_swapped() public {
        _push(weth, 1e18);
        uint256 received = _swap(_way(weth, usdc), EVERYTHING, 2_900e6);
        assertEq(_balance(usdc, address(this)), received);
        _assertNothingLeft(weth, usdc);
    }

    function test_M_51_a_strangers_dust_changes_nothing() public {
        uint256 state = vm.snapshotState();
        _push(usdc, 3_000e6);
        uint256 clean = _swap(_way(usdc, weth), 3_000e6, 1);
        vm.revertToState(state);

        deal(usdc, address(handler), 7);
        deal(weth, address(handler), 9);
        _push(usdc, 3_000e6);
        assertEq(_swap(_way(usdc, weth), 3_000e6, 1), clean);
        assertEq(_balance(weth, address(this)), clean);
        assertEq(_balance(usdc, address(this)), 0);
        assertEq(_balance(usdc, address(handler)), 7, "not spent, not counted");
        assertEq(_balance(weth, address(handler)), 9, "not spent, not counted");
    }

    function test_class_E_gifts_can_be_collected_and_go_to_the_portfolio() public {
        deal(dai, address(handler), 5e18);
        assertEq(handler.collect(dai), 5e18);
        assertEq(_balance(dai, address(this)), 5e18);
        vm.expectRevert(ISwapHandler.ZeroAmount.selector);
        handler.collect(dai);
    }

    function test_class_N_nothing_is_swapped_that_was_not_pushed() public {
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InputMissing.selector, usdc, 0, 1e6));
        _swap(_way(usdc, weth), 1e6, 1);
        vm.expectRevert(ISwapHandler.ZeroAmount.selector);
        _swap(_way(usdc, weth), 0, 1);
        vm.expectRevert(ISwapHandler.ZeroAmount.selector);
        _swap(_way(usdc, weth), EVERYTHING, 1);
    }

    // PATHS

    function test_a_pool_that_is_not_listed_is_refused() public {
        _push(usdc, 1e6);
        _expectPool(usdc, weth, 3000);
        _swap(_path(usdc, 3000, weth), 1e6, 1);
        _expectPool(usdc, wbtc, 500);
        _swap(_path(usdc, 500, wbtc), 1e6, 1);
        _expectPool(weth, dai, 500);
        _swap(_path(usdc, 500, weth, 500, dai), 1e6, 1);
    }

    function test_a_token_that_is_not_listed_is_refused_wherever_it_stands() public {
        address wsteth = _token("wstETH");
        vm.prank(governor);
        handler.allowPool(_pool("WETH/wstETH"));
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.TokenNotAllowed.selector, wsteth);
        vm.expectRevert(refusal);
        _swap(_path(usdc, 500, weth, 100, wsteth), 1e6, 1);
        vm.expectRevert(refusal);
        _swap(_path(wsteth, 100, weth, 500, usdc), 1e6, 1);
        vm.expectRevert(refusal);
        _swap(abi.encodePacked(_path(usdc, 500, weth, 100, wsteth), uint24(100), weth), 1e6, 1);
    }

    function test_a_path_back_to_its_beginning_is_refused() public {
        _push(usdc, 1e6);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.SameToken.selector, usdc));
        _swap(_path(usdc, 500, weth, 500, usdc), 1e6, 1);
    }

    function test_a_path_of_the_wrong_length_is_refused() public {
        bytes memory hop = abi.encodePacked(uint24(500), weth, uint24(500), usdc);
        bytes[4] memory paths = [
            bytes(""), abi.encodePacked(usdc), _path(usdc, 500, weth), abi.encodePacked(usdc, hop, hop, hop)
        ];
        paths[2] = bytes.concat(paths[2], hex"00");
        for (uint256 i; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidPath.selector, paths[i].length));
            _swap(paths[i], 1e6, 1);
        }
    }

    // WHO

    function test_class_I_only_the_portfolio_swaps_and_collects() public {
        bytes memory path = _way(usdc, weth);
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        handler.swapUniswap(path, 1, 1);
        vm.expectRevert(refusal);
        handler.swapLiFi(usdc, weth, 1, 1, "");
        vm.expectRevert(refusal);
        handler.collect(usdc);
    }

    function test_native_value_is_refused() public {
        vm.deal(address(this), 1 ether);
        (bool success,) = address(handler).call{value: 1}("");
        assertFalse(success);
        (success,) = address(handler).call{value: 1}(abi.encodeCall(handler.collect, (usdc)));
        assertFalse(success);
    }

    // INTERNAL

    function _pick(uint256 seed) private view returns (address token, uint256 unit, uint256 slippage) {
        seed = bound(seed, 0, 3);
        if (seed == 0) return (weth, uint256(1e18) / 3000, 150);
        if (seed == 1) return (wbtc, uint256(1e8) / 90_000, 150);
        return seed == 2 ? (usdt, 1e6, 75) : (dai, 1e18, 75);
    }

    function _expectPool(address from, address to, uint24 fee) private {
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.PoolNotAllowed.selector, from, to, fee));
    }
}
