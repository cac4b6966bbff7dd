// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Pending deposits and claimable assets, outside NAV
/// @notice Only the vault moves them; no keeper, connector or rescue can.
interface IEscrow {
    error NotVault(address caller);

    function vault() external view returns (address);
    function asset() external view returns (IERC20);

    /// @notice Pays out; the vault keeps the ledger (`IVault.escrowed`).
    function pay(address to, uint256 assets) external;
}
