// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Interfaces of ERC-7540 and ERC-7575 whose ERC-165 ids the vault declares.
interface IERC7540Operator {
    function setOperator(address operator, bool approved) external returns (bool);
    function isOperator(address controller, address operator) external view returns (bool);
}

interface IERC7540Deposit {
    function requestDeposit(uint256 assets, address controller, address owner) external returns (uint256);
    function pendingDepositRequest(uint256 requestId, address controller) external view returns (uint256);
    function claimableDepositRequest(uint256 requestId, address controller) external view returns (uint256);
    function deposit(uint256 assets, address receiver, address controller) external returns (uint256);
    function mint(uint256 shares, address receiver, address controller) external returns (uint256);
}

interface IERC7540Redeem {
    function requestRedeem(uint256 shares, address controller, address owner) external returns (uint256);
    function pendingRedeemRequest(uint256 requestId, address controller) external view returns (uint256);
    function claimableRedeemRequest(uint256 requestId, address controller) external view returns (uint256);
}

interface IERC7575Share {
    function vault(address asset) external view returns (address);
}
