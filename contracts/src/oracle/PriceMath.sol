// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Products and ratios of prices that saturate instead of reverting
/// @notice A price that does not fit is a market's fault, and a market's fault must not stop an exit.
library PriceMath {
    uint256 internal constant WAD = 1e18;
    uint256 internal constant BPS = 10_000;

    /// @notice floor(a * b / d), or the largest word when that is larger. `d` must not be 0.
    function mulDivDown(uint256 a, uint256 b, uint256 d) internal pure returns (uint256) {
        return fits(a, b, d) ? Math.mulDiv(a, b, d) : type(uint256).max;
    }

    /// @notice ceil(a * b / d), or the largest word when that is larger. `d` must not be 0.
    function mulDivUp(uint256 a, uint256 b, uint256 d) internal pure returns (uint256) {
        return fits(a, b, d) ? Math.mulDiv(a, b, d, Math.Rounding.Ceil) : type(uint256).max;
    }

    /// @dev a * b / d fits a word when b <= d, or else when a <= max * d / b.
    function fits(uint256 a, uint256 b, uint256 d) private pure returns (bool) {
        return b <= d || a <= Math.mulDiv(type(uint256).max, d, b);
    }

    /// @notice `decimals()` of a token or feed, and whether it answered with a usable number.
    function readDecimals(address target) internal view returns (uint256 decimals, bool known) {
        (bool success, bytes memory data) = target.staticcall(abi.encodeWithSignature("decimals()"));
        if (!success || data.length < 32) return (0, false);
        decimals = abi.decode(data, (uint256));
        // 10^36 with a WAD still leaves room for a price; no token or feed in use is near it.
        known = decimals <= 36;
    }
}
