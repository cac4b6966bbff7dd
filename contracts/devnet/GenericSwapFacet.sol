// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {IGenericSwapFacetV3, SwapData} from "../src/interfaces/ILiFiDiamond.sol";
import {LiFiStorage} from "./LiFiDiamond.sol";

/// @title Generic swaps of ERC-20 for ERC-20 with LiFi's selectors, structs and manners, for local chains
/// @notice Steps run as the diamond, which must be who their calldata pays. Leftovers of what a step sells go to
/// the receiver, except after a step that takes a fee of one token; so does all of the last token there is.
contract GenericSwapFacet is IGenericSwapFacetV3 {
    using SafeERC20 for IERC20;
    using Address for address;

    event LiFiGenericSwapCompleted(
        bytes32 indexed transactionId,
        string integrator,
        string referrer,
        address receiver,
        address fromAssetId,
        address toAssetId,
        uint256 fromAmount,
        uint256 toAmount
    );

    error InvalidReceiver();
    error NoSwapDataProvided();
    error ContractCallNotAllowed();
    error CumulativeSlippageTooLow(uint256 minAmount, uint256 receivedAmount);

    /// @dev The arguments that both functions share.
    struct Request {
        bytes32 transactionId;
        string integrator;
        string referrer;
        address receiver;
        uint256 minAmountOut;
    }

    /// @dev Takes the deposit whatever `requiresDeposit` says.
    function swapTokensSingleV3ERC20ToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData calldata swapData
    ) external override {
        IERC20(swapData.sendingAssetId).safeTransferFrom(msg.sender, address(this), swapData.fromAmount);
        _swap(swapData, receiver);
        _complete(
            Request(transactionId, integrator, referrer, receiver, minAmountOut),
            swapData,
            swapData.receivingAssetId
        );
    }

    function swapTokensMultipleV3ERC20ToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData[] calldata swapData
    ) external override {
        require(swapData.length != 0, NoSwapDataProvided());
        for (uint256 i; i < swapData.length; ++i) {
            if (!swapData[i].requiresDeposit) continue;
            IERC20(swapData[i].sendingAssetId)
                .safeTransferFrom(msg.sender, address(this), swapData[i].fromAmount);
        }
        for (uint256 i; i < swapData.length; ++i) {
            _swap(swapData[i], receiver);
        }
        _complete(
            Request(transactionId, integrator, referrer, receiver, minAmountOut),
            swapData[0],
            swapData[swapData.length - 1].receivingAssetId
        );
    }

    function _swap(SwapData calldata step, address receiver) private {
        require(receiver != address(0), InvalidReceiver());
        require(
            LiFiStorage.layout().whitelist[step.callTo][bytes4(step.callData)]
                && (step.approveTo == step.callTo
                    || LiFiStorage.layout().whitelist[step.approveTo][0xffffffff]),
            ContractCallNotAllowed()
        );
        IERC20 sold = IERC20(step.sendingAssetId);
        if (sold.allowance(address(this), step.approveTo) < step.fromAmount) {
            sold.forceApprove(step.approveTo, type(uint256).max);
        }
        step.callTo.functionCall(step.callData);
        if (step.sendingAssetId == step.receivingAssetId) return;
        uint256 left = sold.balanceOf(address(this));
        if (left != 0) sold.safeTransfer(receiver, left);
    }

    function _complete(Request memory request, SwapData calldata first, address toAsset) private {
        uint256 received = IERC20(toAsset).balanceOf(address(this));
        require(received >= request.minAmountOut, CumulativeSlippageTooLow(request.minAmountOut, received));
        IERC20(toAsset).safeTransfer(request.receiver, received);
        emit LiFiGenericSwapCompleted(
            request.transactionId,
            request.integrator,
            request.referrer,
            request.receiver,
            first.sendingAssetId,
            toAsset,
            first.fromAmount,
            received
        );
    }
}
