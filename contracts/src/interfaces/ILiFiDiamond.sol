// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev One step of a LiFi swap: `callTo` is called with `callData`, after `approveTo` has been approved
/// `fromAmount` of `sendingAssetId`. `requiresDeposit`: the diamond first takes `fromAmount` from its caller.
struct SwapData {
    address callTo;
    address approveTo;
    address sendingAssetId;
    address receivingAssetId;
    uint256 fromAmount;
    bytes callData;
    bool requiresDeposit;
}

/// @title What of a LiFi diamond swaps on one chain, ERC-20 to ERC-20 (`GenericSwapFacetV3`)
/// @notice Both send output and leftover input to `receiver`, and revert below `minAmountOut`.
interface IGenericSwapFacetV3 {
    function swapTokensSingleV3ERC20ToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData calldata swapData
    ) external;

    function swapTokensMultipleV3ERC20ToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData[] calldata swapData
    ) external;
}

/// @title What of the same facet takes or pays native value: named to be refused by name
interface INativeSwapFacetV3 {
    function swapTokensSingleV3ERC20ToNative(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData calldata swapData
    ) external;

    function swapTokensSingleV3NativeToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData calldata swapData
    ) external payable;

    function swapTokensMultipleV3ERC20ToNative(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData[] calldata swapData
    ) external;

    function swapTokensMultipleV3NativeToERC20(
        bytes32 transactionId,
        string calldata integrator,
        string calldata referrer,
        address payable receiver,
        uint256 minAmountOut,
        SwapData[] calldata swapData
    ) external payable;
}

/// @title Which facet a diamond sends a selector to (EIP-2535)
interface IDiamondLoupe {
    function facetAddress(bytes4 selector) external view returns (address);
}
