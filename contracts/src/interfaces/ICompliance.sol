// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Who may hold a vault's shares, where the law asks
interface ICompliance {
    /// @notice Whether `from` may give `amount` to `to`: assets in a deposit request (owner and controller),
    /// shares in a transfer.
    function allows(address from, address to, uint256 amount) external view returns (bool);
}
