// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Status} from "../interfaces/Types.sol";

/// @dev The third word of a connector's report: status in the lowest 8 bits, above it the debt in 112, above that
/// the health factor in 128. A position without debt is a bare status.
library ReportLib {
    uint256 private constant DEBT_BITS = 112;
    uint256 private constant HEALTH_BITS = 128;

    /// @param debt in the vault's asset, at its low end, which the report's high value counts it at: that value and
    /// it together are what is owned, gross; saturates
    /// @param health factor in WAD, 1e18 where liquidation begins; saturates, and counts only with debt
    function pack(Status status, uint256 debt, uint256 health) internal pure returns (uint256) {
        if (debt == 0) return uint256(status);
        debt = Math.min(debt, (1 << DEBT_BITS) - 1);
        health = Math.min(health, (1 << HEALTH_BITS) - 1);
        return uint256(status) | debt << 8 | health << (8 + DEBT_BITS);
    }

    /// @notice Whether the word has a status that exists and nothing above the health.
    function isKnown(uint256 word) internal pure returns (bool) {
        return word & 0xff <= uint256(type(Status).max) && word >> (8 + DEBT_BITS + HEALTH_BITS) == 0;
    }

    function unpack(uint256 word) internal pure returns (uint256 status, uint256 debt, uint256 health) {
        status = word & 0xff;
        debt = word >> 8 & ((1 << DEBT_BITS) - 1);
        health = word >> (8 + DEBT_BITS);
    }
}
