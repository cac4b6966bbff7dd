// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Pending deposits and claimable assets, outside NAV
/// @notice Only the vault moves them; no keeper, connector or rescue can.
interface IEscrow {
    error NotVault(address caller);

    function vault() external view returns (address);

    /// @notice What the escrow owes: pending deposits plus claimable assets.
    function ledger() external view returns (uint256);

    /// @notice Books assets that have just arrived.
    function credit(uint256 assets) external;

    /// @notice Pays `assets` from the ledger.
    function pay(address to, uint256 assets) external;
}
