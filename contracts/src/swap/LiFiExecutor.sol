// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {
    IDiamondLoupe,
    IGenericSwapFacetV3,
    INativeSwapFacetV3,
    SwapData
} from "../interfaces/ILiFiDiamond.sol";
import {PermissionLib} from "../libraries/PermissionLib.sol";
import {SwapPolicy} from "./SwapPolicy.sol";

/// @dev A swap as it was signed.
struct Order {
    address tokenIn;
    address tokenOut;
    uint256 amountIn;
    uint256 minOut;
}

/// @title Calls the LiFi diamond with calldata of which everything is known but what happens inside a step
/// @dev The calldata is decoded, compared with the order and encoded again: equal bytes leave no room for
/// anything hidden. A bridge is another selector with another decoder, called from the same handler.
abstract contract LiFiExecutor is SwapPolicy {
    using Address for address;
    using PermissionLib for PermissionLib.Permissions;

    uint256 public constant MAX_CALLDATA = 16_384;
    uint256 public constant MAX_SWAPS = 8;
    /// @dev Of the names that LiFi logs.
    uint256 public constant MAX_NAME = 64;

    /// @dev The arguments of a generic swap, in the order of the selectors. A single swap is a list of one.
    struct GenericSwap {
        bytes32 transactionId;
        string integrator;
        string referrer;
        address receiver;
        uint256 minAmountOut;
        SwapData[] steps;
    }

    /// @dev Balances, approval and price are the handler's affair.
    function _checkLiFi(Order memory order, bytes calldata data) internal view {
        require(data.length >= 4, SelectorNotAllowed(0));
        require(data.length <= MAX_CALLDATA, CalldataTooLong(data.length, MAX_CALLDATA));
        bytes4 selector = bytes4(data[:4]);
        _checkFacet(selector);
        _checkSwap(order, _decode(selector, data));
    }

    function _callLiFi(bytes calldata data) internal {
        diamond.functionCall(data);
    }

    /// @dev Whoever rules the diamond can put another facet behind the selector at any time.
    function _checkFacet(bytes4 selector) private view {
        require(!_isNative(selector), NativeSwapRefused(selector));
        bytes32 pinned = facetHash[selector];
        require(pinned != 0, SelectorNotAllowed(selector));
        bytes32 seen = IDiamondLoupe(diamond).facetAddress(selector).codehash;
        require(seen == pinned, FacetChanged(selector, pinned, seen));
    }

    function _isNative(bytes4 selector) private pure returns (bool) {
        return selector == INativeSwapFacetV3.swapTokensSingleV3ERC20ToNative.selector
            || selector == INativeSwapFacetV3.swapTokensSingleV3NativeToERC20.selector
            || selector == INativeSwapFacetV3.swapTokensMultipleV3ERC20ToNative.selector
            || selector == INativeSwapFacetV3.swapTokensMultipleV3NativeToERC20.selector;
    }

    function _decode(bytes4 selector, bytes calldata data) private pure returns (GenericSwap memory swap) {
        bytes memory encoded;
        if (selector == IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20.selector) {
            swap.steps = new SwapData[](1);
            (
                swap.transactionId,
                swap.integrator,
                swap.referrer,
                swap.receiver,
                swap.minAmountOut,
                swap.steps[0]
            ) = abi.decode(data[4:], (bytes32, string, string, address, uint256, SwapData));
            encoded = abi.encodeWithSelector(
                selector,
                swap.transactionId,
                swap.integrator,
                swap.referrer,
                swap.receiver,
                swap.minAmountOut,
                swap.steps[0]
            );
        } else {
            (
                swap.transactionId,
                swap.integrator,
                swap.referrer,
                swap.receiver,
                swap.minAmountOut,
                swap.steps
            ) = abi.decode(data[4:], (bytes32, string, string, address, uint256, SwapData[]));
            encoded = abi.encodeWithSelector(
                selector,
                swap.transactionId,
                swap.integrator,
                swap.referrer,
                swap.receiver,
                swap.minAmountOut,
                swap.steps
            );
        }
        require(keccak256(encoded) == keccak256(data), NotCanonical());
    }

    function _checkSwap(Order memory order, GenericSwap memory swap) private view {
        _checkName(swap.integrator);
        _checkName(swap.referrer);
        require(swap.receiver == address(this), WrongReceiver(address(this), swap.receiver));
        require(swap.minAmountOut == order.minOut, WrongMinimum(order.minOut, swap.minAmountOut));
        uint256 length = swap.steps.length;
        require(length != 0, NoSwap());
        require(length <= MAX_SWAPS, TooManySwaps(length, MAX_SWAPS));
        SwapData memory first = swap.steps[0];
        require(first.fromAmount == order.amountIn, WrongAmount(0, order.amountIn, first.fromAmount));
        address at = order.tokenIn;
        for (uint256 i; i < length; ++i) {
            SwapData memory step = swap.steps[i];
            // All is deposited for the first step; what the others sell is what the one before them bought.
            require(step.requiresDeposit == (i == 0), WrongDeposit(i));
            require(step.sendingAssetId == at, WrongToken(i, at, step.sendingAssetId));
            _checkStep(step);
            // A step that collects a fee sells and buys one token, and leaves less of it.
            if (step.receivingAssetId == at && i + 1 < length) {
                uint256 next = swap.steps[i + 1].fromAmount;
                require(next <= step.fromAmount, WrongAmount(i + 1, step.fromAmount, next));
            }
            at = step.receivingAssetId;
        }
        require(at == order.tokenOut, WrongToken(length, order.tokenOut, at));
    }

    function _checkStep(SwapData memory step) private view {
        // Of calldata without a selector this reads zeros, which nothing is allowed for.
        bytes4 selector = step.callData.length < 4 ? bytes4(0) : bytes4(step.callData);
        require(
            selector != 0 && calls.contains(step.callTo, selector), TargetNotAllowed(step.callTo, selector)
        );
        require(step.approveTo == spenderOf[step.callTo], SpenderNotAllowed(step.callTo, step.approveTo));
        require(rules[step.receivingAssetId].listed, TokenNotAllowed(step.receivingAssetId));
    }

    function _checkName(string memory name) private pure {
        uint256 length = bytes(name).length;
        require(length <= MAX_NAME, NameTooLong(length, MAX_NAME));
    }
}
