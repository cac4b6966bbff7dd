// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Consent, ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {Status} from "../src/interfaces/Types.sol";
import {SwapTest} from "./SwapTest.sol";

interface IQuoter {
    function quoteExactInput(bytes calldata path, uint256 amountIn)
        external
        returns (uint256 amountOut, uint160[] memory, uint32[] memory, uint256);
}

/// @title What a swap must be worth, whatever the keeper signs
contract SwapPricesTest is SwapTest {
    uint256 private constant ETHER = 1e18;

    // SOUND PRICES

    /// @dev The feed anywhere between half and twice the market: the bound decides, in both directions.
    function testFuzz_class_O_a_swap_passes_if_and_only_if_it_is_worth_the_bound(bool sell, uint256 percent)
        public
    {
        percent = bound(percent, 50, 200);
        _pushEther(3000 * percent / 100);
        (address tokenIn, address tokenOut) = sell ? (weth, usdc) : (usdc, weth);
        uint256 amountIn = sell ? ETHER : 3_000e6;
        _push(tokenIn, amountIn);
        uint256 floor = _floor(tokenIn, amountIn, 150);
        IQuoter quoter = IQuoter(_address(".uniswap.quoter"));
        (uint256 fair,,,) = quoter.quoteExactInput(_way(tokenIn, tokenOut), amountIn);
        uint256 worth = _worthLow(tokenOut, fair);
        if (worth < floor) {
            vm.expectRevert(abi.encodeWithSelector(ISwapHandler.BelowOracleBound.selector, floor, worth));
        }
        _swap(_way(tokenIn, tokenOut), amountIn, 1);
        assertEq(_balance(tokenOut, address(this)), worth < floor ? 0 : fair);
    }

    function test_class_O_of_two_tokens_the_greater_slippage_counts() public {
        _govern(abi.encodeCall(handler.listToken, (weth, 0)));
        _push(wbtc, 1e8);
        // 20 bps of fees and impact, and what is bought counts at its low end.
        assertGt(_swap(_path(wbtc, 500, weth), 1e8, 1), 0);
        _govern(abi.encodeCall(handler.listToken, (wbtc, 0)));
        _push(wbtc, 1e8);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_path(wbtc, 500, weth), 1e8, 1);
    }

    // DEGRADED

    function test_class_O_with_a_degraded_price_only_the_way_into_the_asset_is_open() public {
        _makeEtherStale();
        _push(weth, 2 * ETHER);
        _push(usdc, 3_000e6);
        _push(wbtc, 1e8);
        _expectDegraded(usdc, weth, Status.STALE);
        _swap(_way(usdc, weth), 3_000e6, 1);
        _expectDegraded(wbtc, weth, Status.STALE);
        _swap(_path(wbtc, 500, weth), 1e8, 1);
        _expectDegraded(weth, wbtc, Status.STALE);
        _swap(_path(weth, 500, wbtc), ETHER, 1);
        bytes memory data = _single(_step(_way(usdc, weth), 3_000e6), 1);
        _expectDegraded(usdc, weth, Status.STALE);
        handler.swapLiFi(usdc, weth, 3_000e6, 1, data);
        // Exits go on, and so does everything that has nothing to do with it.
        assertGt(_swap(_way(weth, usdc), ETHER, 1), 2_950e6);
        data = _single(_step(_way(weth, usdc), ETHER), 1);
        assertGt(handler.swapLiFi(weth, usdc, ETHER, 1, data), 2_950e6);
        assertGt(_swap(_way(wbtc, usdc), 1e8, 1), 0);
    }

    function test_class_O_an_exit_at_a_degraded_price_still_brings_the_low_bound() public {
        _pushEther(3_300);
        skip(2 days);
        _pushOthers();
        _push(weth, ETHER);
        uint256 floor = _floor(weth, ETHER, 150);
        assertGt(floor, 3_100e6);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_way(weth, usdc), ETHER, 1);
    }

    // WITHOUT A PRICE

    function test_class_O_without_a_price_nothing_is_swapped_by_the_keeper_alone() public {
        _removeEther();
        _push(weth, ETHER);
        _push(usdc, 3_000e6);
        _expectDegraded(weth, usdc, Status.UNAVAILABLE);
        _swap(_way(weth, usdc), ETHER, 2_900e6);
        _expectDegraded(usdc, weth, Status.UNAVAILABLE);
        _swap(_way(usdc, weth), 3_000e6, 0.9e18);
    }

    function test_class_O_the_guardian_can_let_an_exit_without_a_price_go() public {
        _removeEther();
        vm.prank(guardian);
        handler.consent(weth, usdc, 2 * ETHER, 5_800e6);
        _push(weth, 3 * ETHER);
        uint256 received = _swap(_way(weth, usdc), ETHER, 1);
        assertGt(received, 2_900e6);
        Consent memory left = handler.consentOf(weth, usdc);
        assertEq(left.amount, ETHER);
        assertEq(left.minOut, 2_900e6);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.ConsentExceeded.selector, ETHER, 2_900e6));
        _swap(_way(weth, usdc), 2 * ETHER, 1);
        _swap(_way(weth, usdc), ETHER, 1);
        _expectDegraded(weth, usdc, Status.UNAVAILABLE);
        _swap(_way(weth, usdc), ETHER, 1);
    }

    function test_class_O_consent_is_to_a_rate() public {
        _removeEther();
        _push(weth, ETHER);
        vm.prank(guardian);
        handler.consent(weth, usdc, 10 * ETHER, 30_500e6);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.ConsentExceeded.selector, 10 * ETHER, 30_500e6));
        _swap(_way(weth, usdc), ETHER, 1);
        vm.startPrank(guardian);
        vm.expectRevert(ISwapHandler.ZeroMinimum.selector);
        handler.consent(weth, usdc, ETHER, 0);
    }

    function test_class_O_with_consent_a_degraded_token_may_be_bought() public {
        _makeEtherStale();
        _push(usdc, 3_000e6);
        vm.prank(guardian);
        handler.consent(usdc, weth, 3_000e6, 0.98e18);
        assertGt(_swap(_way(usdc, weth), 3_000e6, 1), 0.98e18);
        assertEq(handler.consentOf(usdc, weth).amount, 0, "used up");
    }

    function test_class_O_a_stale_price_that_nobody_pays_stops_no_exit() public {
        _pushEther(3_300);
        skip(2 days);
        _pushOthers();
        _push(weth, ETHER);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_way(weth, usdc), ETHER, 1);
        vm.prank(guardian);
        handler.consent(weth, usdc, ETHER, 2_950e6);
        assertGt(_swap(_way(weth, usdc), ETHER, 1), 2_950e6);
    }

    function test_class_O_an_exit_at_the_bound_needs_and_uses_no_consent() public {
        _makeEtherStale();
        _push(weth, ETHER);
        vm.prank(guardian);
        handler.consent(weth, usdc, ETHER, 5_000e6);
        assertGt(_swap(_way(weth, usdc), ETHER, 1), 2_950e6);
        assertEq(handler.consentOf(weth, usdc).amount, ETHER);
    }

    function test_class_O_no_consent_reaches_below_a_sound_price() public {
        _pushEther(3_300);
        _push(weth, ETHER);
        vm.prank(guardian);
        handler.consent(weth, usdc, ETHER, 1);
        vm.expectPartialRevert(ISwapHandler.BelowOracleBound.selector);
        _swap(_way(weth, usdc), ETHER, 1);
    }

    function test_class_G_consent_ends_by_time_by_word_and_with_the_role() public {
        _removeEther();
        _push(weth, ETHER);
        bytes memory path = _way(weth, usdc);
        vm.startPrank(guardian);
        handler.consent(weth, usdc, ETHER, 1);
        handler.consent(weth, usdc, 0, 0);
        vm.stopPrank();
        _expectDegraded(weth, usdc, Status.UNAVAILABLE);
        _swap(path, ETHER, 1);

        vm.prank(guardian);
        handler.consent(weth, usdc, ETHER, 1);
        uint256 state = vm.snapshotState();
        skip(1 days + 1);
        _pushOthers();
        _expectDegraded(weth, usdc, Status.UNAVAILABLE);
        _swap(path, ETHER, 1);
        vm.revertToState(state);

        vm.prank(governor);
        registry.setGuardian(address(this), stranger);
        _expectDegraded(weth, usdc, Status.UNAVAILABLE);
        _swap(path, ETHER, 1);
        vm.prank(governor);
        registry.setGuardian(address(this), guardian);
        assertGt(_swap(path, ETHER, 1), 0);
    }

    // STEPS

    function _pushEther(uint256 dollars) private {
        // forge-lint: disable-next-line(unsafe-typecast) a few thousand
        _push("ETH/USD", int256(dollars) * 1e8);
    }

    function _pushOthers() private {
        _push("BTC/USD", 90_000e8);
        _push("USDC/USD", 99_990_000);
    }

    function _makeEtherStale() private {
        skip(2 days);
        _pushOthers();
    }

    /// @dev An answer no bound lets through.
    function _removeEther() private {
        _push("ETH/USD", 1);
    }

    function _expectDegraded(address tokenIn, address tokenOut, Status status) private {
        vm.expectRevert(
            abi.encodeWithSelector(ISwapHandler.PriceDegraded.selector, tokenIn, tokenOut, status)
        );
    }
}
