// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Connector} from "./Connector.sol";

/// @title What every connector that can borrow keeps to
/// @notice There is one health factor for all protocols: what the collateral may still fall in value before it
/// can be liquidated, in WAD, 1e18 where liquidation begins. It is checked after whatever can lower it; whatever
/// does not lower it always passes.
abstract contract LendingConnector is Connector {
    error HealthBelowFloor(uint256 health, uint256 floor);
    error InvalidFloor(uint256 floor, uint256 least);
    error Illiquid(bytes32 key);
    error NotBorrowable(bytes32 key);

    /// @dev Below it interest and rounding of a few blocks could liquidate what an action leaves behind.
    uint256 private constant LEAST_FLOOR = 1.01e18;

    /// @notice Health that borrowing, or taking collateral away, must leave.
    uint256 public immutable minHealth;

    /// @dev For actions that can lower the health of what `key` belongs to.
    modifier keepsHealth(bytes32 key) {
        uint256 before = _health(key);
        _;
        _checkHealth(key, before);
    }

    constructor(address portfolio_, uint256 minHealth_) Connector(portfolio_) {
        if (minHealth_ < LEAST_FLOOR) revert InvalidFloor(minHealth_, LEAST_FLOOR);
        minHealth = minHealth_;
    }

    /// @dev Health in WAD of whatever `key` can be liquidated with; the greatest number without debt.
    function _health(bytes32 key) internal view virtual returns (uint256);

    function _checkHealth(bytes32 key, uint256 before) internal view {
        uint256 health = _health(key);
        if (health < minHealth && health < before) revert HealthBelowFloor(health, minHealth);
    }
}
