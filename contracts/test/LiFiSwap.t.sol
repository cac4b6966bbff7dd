// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IGenericSwapFacetV3, INativeSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {ISwapHandler} from "../src/interfaces/ISwapHandler.sol";
import {IUniswapV3SwapRouter} from "../src/swap/IUniswapV3.sol";
import {SwapHandler} from "../src/swap/SwapHandler.sol";
import {DiamondCutFacet} from "../devnet/LiFiDiamond.sol";
import {FeeForwarder} from "../devnet/FeeForwarder.sol";
import {GenericSwapFacet} from "../devnet/GenericSwapFacet.sol";
import {SwapTest} from "./SwapTest.sol";

/// @dev Another facet with the same interface, and therefore another code hash.
contract OtherFacet is GenericSwapFacet {
    function version() external pure returns (uint256) {
        return 2;
    }
}

/// @title Swaps through a LiFi diamond on the real Uniswap
contract LiFiSwapTest is SwapTest {
    uint256 private constant IN = 3_000e6;
    uint256 private constant OUT = 0.99e18;

    /// @dev Where the calldata of a single swap's only step begins.
    uint256 private constant INNER = 4 + 17 * 32;

    /// @dev For the bytes that say where something is or how long.
    bytes4 private constant LAYOUT = bytes4(0xffffffff);

    // WHAT WORKS

    function test_the_selectors_are_those_lifi_publishes() public pure {
        assertEq(SINGLE, bytes4(0x4666fc80));
        assertEq(MULTIPLE, bytes4(0x5fd9ae2e));
        assertEq(INativeSwapFacetV3.swapTokensSingleV3ERC20ToNative.selector, bytes4(0x733214a3));
        assertEq(INativeSwapFacetV3.swapTokensSingleV3NativeToERC20.selector, bytes4(0xaf7060fd));
        assertEq(INativeSwapFacetV3.swapTokensMultipleV3ERC20ToNative.selector, bytes4(0x2c57e884));
        assertEq(INativeSwapFacetV3.swapTokensMultipleV3NativeToERC20.selector, bytes4(0x736eac0b));
        assertEq(FeeForwarder.forwardERC20Fees.selector, bytes4(0x332d746b));
    }

    function test_class_N_a_single_swap_brings_everything_to_the_portfolio() public {
        _push(usdc, IN);
        uint256 received = _lifi(_single(_step(_way(usdc, weth), IN), OUT));
        assertApproxEqRel(received, 1e18, 0.005e18);
        assertEq(_balance(weth, address(this)), received);
        _assertNothingLeft(usdc, weth);
    }

    function test_class_N_a_swap_of_two_steps_with_a_fee_brings_everything_to_the_portfolio() public {
        _push(usdc, IN);
        uint256 fee = IN / 400;
        SwapData memory swap = _step(_way(usdc, weth), IN - fee);
        uint256 received = _lifi(_multiple(_fee(usdc, IN, fee), swap, OUT));
        assertEq(_balance(usdc, feeRecipient), fee);
        assertEq(_balance(weth, address(this)), received);
        _assertNothingLeft(usdc, weth);
    }

    function test_class_N_a_chain_of_swaps_brings_everything_to_the_portfolio() public {
        uint256 bought = _quote(_path(wbtc, 500, weth), 1e8);
        _push(wbtc, 1e8);
        SwapData memory first = _step(_path(wbtc, 500, weth), 1e8);
        // What the quote expects of the first step; the second one's calldata says how much it sells.
        SwapData memory second = _step(_path(weth, 500, usdc), 29.9e18);
        uint256 received = handler.swapLiFi(wbtc, usdc, 1e8, 89_000e6, _multiple(first, second, 89_000e6));
        assertEq(_balance(usdc, address(this)), received);
        _assertNothingLeft(wbtc, usdc);
        // The steps' leftovers come to the handler: an intermediate token waits there to be collected.
        uint256 loose = bought - 29.9e18;
        assertGt(loose, 0);
        assertEq(_balance(weth, address(handler)), loose);
        address[4] memory others = [address(this), address(diamond), address(uniswap), address(forwarder)];
        for (uint256 i; i < 4; ++i) {
            assertEq(_balance(weth, others[i]), 0, "elsewhere");
            assertEq(IERC20(weth).allowance(address(handler), others[i]), 0, "for the taking");
        }
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.NotPortfolio.selector, stranger));
        handler.collect(weth);
        // It is nothing that a swap has brought.
        uint256 next = _quote(_way(usdc, weth), IN);
        _push(usdc, IN);
        assertEq(_lifi(_single(_step(_way(usdc, weth), IN), OUT)), next);
        assertEq(_balance(weth, address(handler)), loose);

        assertEq(handler.collect(weth), loose);
        assertEq(_balance(weth, address(this)), next + loose, "in full");
        assertEq(_balance(weth, address(handler)), 0);
    }

    /// @dev What is left of the token in between counts as lost, so that no more is left than a swap may lose.
    function testFuzz_class_N_what_a_chain_leaves_in_between_is_within_the_swaps_bound(uint256 leftBps)
        public
    {
        uint256 bought = _quote(_path(wbtc, 500, weth), 1e8);
        uint256 left = bought * bound(leftBps, 0, 600) / 10_000;
        bytes memory data =
            _multiple(_step(_path(wbtc, 500, weth), 1e8), _step(_path(weth, 500, usdc), bought - left), 1);
        _push(wbtc, 1e8);
        try handler.swapLiFi(wbtc, usdc, 1e8, 1, data) returns (uint256 received) {
            assertGe(received, _floor(wbtc, 1e8, 150), "by what has arrived alone");
            assertEq(_balance(weth, address(handler)), left);
            // The slippage, and what the feeds' low end leaves.
            assertLe(left * 10_000, bought * 300);
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), ISwapHandler.BelowOracleBound.selector);
            assertGt(left * 10_000, bought * 100, "for what was left, and for nothing else");
            assertEq(_balance(wbtc, address(handler)), 1e8, "as pushed");
            assertEq(_balance(weth, address(handler)), 0);
        }
    }

    function test_H_05_input_that_a_step_leaves_comes_back() public {
        _push(usdc, IN);
        SwapData memory step = _step(_way(usdc, weth), IN - 500e6);
        step.fromAmount = IN;
        uint256 received = handler.swapLiFi(usdc, weth, IN, 0.8e18, _single(step, 0.8e18));
        assertEq(_balance(usdc, address(this)), 500e6, "unspent");
        assertGe(_worthLow(weth, received), _floor(usdc, IN - 500e6, 150));
        _assertNothingLeft(usdc, weth);
    }

    function test_M_51_a_strangers_dust_changes_nothing() public {
        deal(usdc, address(handler), 7);
        deal(weth, address(handler), 9);
        _push(usdc, IN);
        uint256 received = _lifi(_single(_step(_way(usdc, weth), IN), OUT));
        assertEq(_balance(weth, address(this)), received);
        assertEq(_balance(usdc, address(handler)), 7);
        assertEq(_balance(weth, address(handler)), 9);
    }

    function testFuzz_class_N_the_portfolio_gets_both_minimums_or_nothing_happens(
        bool sell,
        uint256 dollars,
        uint256 magnitude,
        uint256 meanness,
        uint256 feeBps
    ) public {
        dollars = bound(dollars, 1, 50) * 10 ** bound(magnitude, 1, 6);
        (address tokenIn, address tokenOut) = sell ? (wbtc, usdc) : (usdc, wbtc);
        uint256 amountIn = sell ? dollars * 1e8 / 90_000 : dollars * 1e6;
        uint256 minOut =
            (sell ? dollars * 1e6 : dollars * 1e8 / 90_000) * bound(meanness, 1, 12_000) / 10_000 + 1;
        uint256 fee = amountIn * bound(feeBps, 0, 300) / 10_000;
        bytes memory data =
            _multiple(_fee(tokenIn, amountIn, fee), _step(_way(tokenIn, tokenOut), amountIn - fee), minOut);
        _push(tokenIn, amountIn);
        try handler.swapLiFi(tokenIn, tokenOut, amountIn, minOut, data) returns (uint256 received) {
            assertEq(_balance(tokenOut, address(this)), received);
            assertGe(received, minOut, "the signed minimum");
            uint256 spent = amountIn - _balance(tokenIn, address(this));
            assertGe(_worthLow(tokenOut, received), _floor(tokenIn, spent, 150), "the oracle's");
            _assertNothingLeft(tokenIn, tokenOut);
        } catch (bytes memory reason) {
            bytes4 name = bytes4(reason);
            assertTrue(
                name == GenericSwapFacet.CumulativeSlippageTooLow.selector
                    || name == ISwapHandler.BelowOracleBound.selector,
                "by name"
            );
        }
    }

    // WHAT THE CALLDATA SAYS

    function test_recorded_calldata_is_decoded_to_its_last_byte() public {
        bytes memory data =
            vm.parseJsonBytes(vm.readFile("contracts/test/data/lifi-generic-swap.json"), ".calldata");
        // Two steps, the first collecting a fee. It is canonical, and fails for not being ours alone.
        address theirs = 0xb9c0dE368BECE5e76B52545a8E377a4C118f597B;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongReceiver.selector, address(handler), theirs));
        _lifi(data);
        _expect(abi.encodeWithSelector(ISwapHandler.NotCanonical.selector));
        _lifi(bytes.concat(data, bytes32(0)));
    }

    function test_class_G_bytes_that_say_nothing_are_refused() public {
        bytes memory data = _single(_step(_way(usdc, weth), IN), OUT);
        _expect(abi.encodeWithSelector(ISwapHandler.NotCanonical.selector));
        _lifi(bytes.concat(data, hex"00"));
        // Dirt in the padding of the integrator's name, 10 bytes long, whose word comes after its length.
        uint256 padding = 4 + 6 * 32 + 32 + 31;
        bytes memory dirty = bytes.concat(data);
        dirty[padding] = 0x01;
        _expect(abi.encodeWithSelector(ISwapHandler.NotCanonical.selector));
        _lifi(dirty);
        _push(usdc, IN);
        assertEq(_refusal(hex"4666fc80"), "", "of arguments that are not there nothing is decoded");
    }

    /// @dev Wherever a byte is changed outside the step's own calldata, nothing is swapped, for what the byte says.
    function testFuzz_class_G_every_byte_outside_the_steps_calldata_is_pinned(uint256 at, uint8 change)
        public
    {
        bytes memory data = _single(_step(_way(usdc, weth), IN), OUT);
        assertEq(data.length, INNER + 292 + 28);
        // Free are the id, the integrator's name, and the step's calldata, but for its selector; and how many of the
        // zeros behind them count to name and calldata.
        at = bound(at, 0, data.length - 1 - (32 + 11 + 1 + 288));
        if (at >= 4) at += 32;
        if (at >= 4 + 7 * 32 - 1) at += 11;
        if (at >= INNER - 1) at += 1;
        if (at >= INNER + 4) at += 288;
        change = uint8(bound(change, 1, 255));
        data[at] = bytes1(uint8(data[at]) ^ change);
        _push(usdc, IN);
        bytes memory reason = _refusal(data);
        bytes4 name = bytes4(reason);
        bytes4 expected = _refusalAt(at, change);
        if (expected != LAYOUT) {
            assertEq(name, expected);
        } else if (name == bytes4(keccak256("Panic(uint256)"))) {
            assertEq(reason, abi.encodeWithSelector(name, 0x41), "longer than any memory");
        } else {
            assertTrue(reason.length == 0 || name == ISwapHandler.NotCanonical.selector, "by name");
        }
        // Without a word it is the decoder's.
        assertEq(name == 0, reason.length == 0);
        assertEq(_balance(usdc, address(handler)), IN, "nothing has moved");
    }

    /// @dev By the word in which the byte lies. What does not decode as an address or a truth is refused without a
    /// word, and so may be what is said about where and how long something is.
    function _refusalAt(uint256 at, uint8 change) private pure returns (bytes4) {
        if (at < 4) return ISwapHandler.SelectorNotAllowed.selector;
        if (at >= INNER + 292) return ISwapHandler.NotCanonical.selector;
        if (at >= INNER) return ISwapHandler.TargetNotAllowed.selector;
        (uint256 word, uint256 place) = ((at - 4) / 32, (at - 4) % 32);
        if (word == 4) return ISwapHandler.WrongMinimum.selector;
        if (word == 7) return ISwapHandler.NotCanonical.selector;
        if (word == 13) return ISwapHandler.WrongAmount.selector;
        if (word == 15) return place == 31 && change == 1 ? ISwapHandler.WrongDeposit.selector : bytes4(0);
        if (word != 3 && (word < 9 || word > 12)) return LAYOUT;
        if (place < 12) return 0;
        if (word == 3) return ISwapHandler.WrongReceiver.selector;
        if (word == 9) return ISwapHandler.TargetNotAllowed.selector;
        if (word == 10) return ISwapHandler.SpenderNotAllowed.selector;
        return word == 11 ? ISwapHandler.WrongToken.selector : ISwapHandler.TokenNotAllowed.selector;
    }

    function test_class_G_what_the_calldata_says_must_be_what_was_signed() public {
        SwapData memory step = _step(_way(usdc, weth), IN);
        _expect(abi.encodeWithSelector(ISwapHandler.WrongReceiver.selector, address(handler), stranger));
        _lifi(_singleTo(step, OUT, stranger));
        _expect(abi.encodeWithSelector(ISwapHandler.WrongMinimum.selector, OUT, OUT - 1));
        _lifi(_single(step, OUT - 1));
        _expect(abi.encodeWithSelector(ISwapHandler.WrongMinimum.selector, OUT, OUT + 1));
        _lifi(_single(step, OUT + 1));
        step.fromAmount = IN - 1;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongAmount.selector, 0, IN, IN - 1));
        _lifi(_single(step, OUT));
        step.fromAmount = IN;
        step.sendingAssetId = usdt;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongToken.selector, 0, usdc, usdt));
        _lifi(_single(step, OUT));
        step.sendingAssetId = usdc;
        step.receivingAssetId = dai;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongToken.selector, 1, weth, dai));
        _lifi(_single(step, OUT));
        step.receivingAssetId = _token("wstETH");
        _expect(abi.encodeWithSelector(ISwapHandler.TokenNotAllowed.selector, step.receivingAssetId));
        _lifi(_single(step, OUT));
        step.receivingAssetId = weth;
        step.requiresDeposit = false;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongDeposit.selector, 0));
        _lifi(_single(step, OUT));
    }

    function test_class_G_steps_must_chain_up() public {
        SwapData memory fee = _fee(usdc, IN, 10e6);
        SwapData memory swap = _step(_way(usdc, weth), IN + 1);
        _expect(abi.encodeWithSelector(ISwapHandler.WrongAmount.selector, 1, IN, IN + 1));
        _lifi(_multiple(fee, swap, OUT));
        swap.sendingAssetId = dai;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongAmount.selector, 1, IN, IN + 1));
        _lifi(_multiple(fee, swap, OUT));
        swap.fromAmount = IN - 10e6;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongToken.selector, 1, usdc, dai));
        _lifi(_multiple(fee, swap, OUT));
        swap.sendingAssetId = usdc;
        SwapData[] memory steps = new SwapData[](2);
        (steps[0], steps[1]) = (fee, swap);
        swap.requiresDeposit = true;
        _expect(abi.encodeWithSelector(ISwapHandler.WrongDeposit.selector, 1));
        _lifi(_multiple(steps, OUT));
    }

    function test_a_swap_without_steps_or_with_too_many_is_refused() public {
        _expect(abi.encodeWithSelector(ISwapHandler.NoSwap.selector));
        _lifi(_multiple(new SwapData[](0), OUT));
        SwapData[] memory steps = new SwapData[](9);
        for (uint256 i; i < 9; ++i) {
            steps[i] = _fee(usdc, IN, 0);
        }
        _expect(abi.encodeWithSelector(ISwapHandler.TooManySwaps.selector, 9, 8));
        _lifi(_multiple(steps, OUT));
    }

    function test_long_names_and_long_calldata_are_refused() public {
        SwapData memory step = _step(_way(usdc, weth), IN);
        string memory long = string(new bytes(65));
        bytes memory refusal = abi.encodeWithSelector(ISwapHandler.NameTooLong.selector, 65, 64);
        _expect(refusal);
        _lifi(_named(step, long, ""));
        _expect(refusal);
        _lifi(_named(step, "", long));
        step.callData = bytes.concat(step.callData, new bytes(16_384));
        bytes memory data = _single(step, OUT);
        _expect(abi.encodeWithSelector(ISwapHandler.CalldataTooLong.selector, data.length, 16_384));
        _lifi(data);
    }

    // WHAT MAY BE CALLED

    function test_native_variants_are_refused_by_name() public {
        bytes4[4] memory selectors =
            [bytes4(0x733214a3), bytes4(0xaf7060fd), bytes4(0x2c57e884), bytes4(0x736eac0b)];
        for (uint256 i; i < 4; ++i) {
            _expect(abi.encodeWithSelector(ISwapHandler.NativeSwapRefused.selector, selectors[i]));
            _lifi(abi.encodeWithSelector(selectors[i]));
        }
    }

    function test_other_selectors_are_refused() public {
        // The generic swap that came before these, a bridge, and none.
        bytes4[3] memory selectors = [bytes4(0x4630a0d8), bytes4(0xa1f1ce43), bytes4(0)];
        for (uint256 i; i < 3; ++i) {
            _expect(abi.encodeWithSelector(ISwapHandler.SelectorNotAllowed.selector, selectors[i]));
            _lifi(abi.encodeWithSelector(selectors[i]));
        }
        _expect(abi.encodeWithSelector(ISwapHandler.SelectorNotAllowed.selector, bytes4(0)));
        _lifi(hex"4666fc");
    }

    function test_class_G_a_facet_put_in_its_place_is_refused() public {
        OtherFacet other = new OtherFacet();
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = SINGLE;
        _cut(address(other), DiamondCutFacet.FacetCutAction.Replace, selectors);
        bytes memory data = _single(_step(_way(usdc, weth), IN), OUT);
        bytes32 pinned = address(facet).codehash;
        _expect(
            abi.encodeWithSelector(
                ISwapHandler.FacetChanged.selector, SINGLE, pinned, address(other).codehash
            )
        );
        _lifi(data);
        // Governance looks at the new one and pins it.
        _govern(abi.encodeCall(handler.pinFacet, (SINGLE, address(other).codehash)));
        assertGt(_lifi(data), OUT);
        _cut(address(0), DiamondCutFacet.FacetCutAction.Remove, selectors);
        _expect(
            abi.encodeWithSelector(
                ISwapHandler.FacetChanged.selector, SINGLE, address(other).codehash, bytes32(0)
            )
        );
        _lifi(data);
    }

    function test_D_13_a_step_may_call_nothing_else() public {
        SwapData memory step = _step(_way(usdc, weth), IN);
        bytes memory callData = step.callData;
        bytes4 exactInput = bytes4(callData);
        step.callTo = stranger;
        _expectTarget(stranger, exactInput);
        _lifi(_single(step, OUT));
        step.callTo = usdc;
        step.callData = abi.encodeWithSignature("transfer(address,uint256)", stranger, IN);
        _expectTarget(usdc, bytes4(step.callData));
        _lifi(_single(step, OUT));
        step.callTo = address(uniswap);
        _expectTarget(address(uniswap), bytes4(step.callData));
        _lifi(_single(step, OUT));
        step.callData = "";
        _expectTarget(address(uniswap), 0);
        _lifi(_single(step, OUT));
        step.callData = callData;
        step.approveTo = usdc;
        _expect(abi.encodeWithSelector(ISwapHandler.SpenderNotAllowed.selector, uniswap, usdc));
        _lifi(_single(step, OUT));
    }

    function test_without_a_diamond_there_is_no_swap_through_it() public {
        SwapHandler bare = new SwapHandler(address(this), address(0), address(0));
        deal(usdc, address(bare), IN);
        vm.startPrank(governor);
        bare.listToken(weth, 150);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidPool.selector, _pool("USDC/WETH")));
        bare.allowPool(_pool("USDC/WETH"));
        vm.stopPrank();
        bytes memory data = _single(_step(_way(usdc, weth), IN), OUT);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.SelectorNotAllowed.selector, SINGLE));
        bare.swapLiFi(usdc, weth, IN, OUT, data);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.PoolNotAllowed.selector, usdc, weth, 500));
        bare.swapUniswap(_way(usdc, weth), IN, OUT);
        vm.expectRevert(abi.encodeWithSelector(ISwapHandler.InvalidDiamond.selector, stranger));
        new SwapHandler(address(this), address(uniswap), stranger);
    }

    // STEPS

    function _lifi(bytes memory data) private returns (uint256) {
        return handler.swapLiFi(usdc, weth, IN, OUT, data);
    }

    function _refusal(bytes memory data) private returns (bytes memory) {
        try handler.swapLiFi(usdc, weth, IN, OUT, data) {
            revert("swapped");
        } catch (bytes memory reason) {
            return reason;
        }
    }

    /// @dev What a swap would bring if it were made now.
    function _quote(bytes memory path, uint256 amountIn) private returns (uint256 amountOut) {
        uint256 state = vm.snapshotState();
        (address tokenIn,) = _ends(path);
        deal(tokenIn, stranger, amountIn);
        vm.startPrank(stranger);
        IERC20(tokenIn).approve(address(uniswap), amountIn);
        amountOut = uniswap.exactInput(
            IUniswapV3SwapRouter.ExactInputParams(path, stranger, block.timestamp, amountIn, 0)
        );
        vm.stopPrank();
        vm.revertToState(state);
    }

    /// @dev With the input in place, so that nothing but the calldata is amiss.
    function _expect(bytes memory refusal) private {
        if (_balance(usdc, address(handler)) < IN) _push(usdc, IN);
        vm.expectRevert(refusal);
    }

    function _expectTarget(address target, bytes4 selector) private {
        _expect(abi.encodeWithSelector(ISwapHandler.TargetNotAllowed.selector, target, selector));
    }

    function _singleTo(SwapData memory step, uint256 minOut, address to) private pure returns (bytes memory) {
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", "omnikeeper", "", payable(to), minOut, step)
        );
    }

    function _named(SwapData memory step, string memory integrator, string memory referrer)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20,
            ("id", integrator, referrer, payable(address(handler)), OUT, step)
        );
    }
}
