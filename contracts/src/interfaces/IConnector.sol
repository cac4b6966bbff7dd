// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Custody of one vault at one protocol
/// @notice Only its portfolio may act on it, and it sends only to that portfolio or to the protocol. Every
/// position has a key: the asset for Aave, the market id for Morpho Blue, the vault for ERC-4626.
interface IConnector {
    /// @notice The portfolio this connector belongs to.
    function portfolio() external view returns (address);

    /// @notice Live value of a position in the vault's asset, read from protocol state. May revert: the
    /// portfolio then marks the position impaired.
    /// @return low floor of what the position is worth, debts taken off
    /// @return high ceiling of what it is worth, debts taken off
    /// @return state its `Status`, what it owes at the low end of its price and the health of that, packed as
    /// `ReportLib` does: without debt the `Status` as a word. While anything is left, `high` and that debt together
    /// are what the position owns, gross
    function report(bytes32 key) external view returns (uint256 low, uint256 high, uint256 state);

    /// @notice Puts `assets` that the portfolio has just pushed into the position.
    function supply(bytes32 key, uint256 assets) external;

    /// @notice Takes `assets` out of the position to the portfolio; `type(uint256).max` is a full exit.
    /// @return withdrawn what the portfolio received, by measured balance
    function withdraw(bytes32 key, uint256 assets) external returns (uint256 withdrawn);
}
