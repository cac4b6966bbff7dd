// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @dev A leaky bucket of losses, as WAD fractions of the price per share. It empties evenly over a day.
struct Bucket {
    uint128 level;
    uint128 updatedAt;
}

library BucketLib {
    uint256 internal constant PERIOD = 1 days;
    uint256 private constant WAD = 1e18;

    /// @dev What is in the bucket now.
    function current(Bucket storage self, uint256 capacity) internal view returns (uint256) {
        uint256 leaked = capacity * (block.timestamp - self.updatedAt) / PERIOD;
        return self.level > leaked ? self.level - leaked : 0;
    }

    /// @dev `level` is at least what is in the bucket now, so that an empty one needs no writing; it is at most the
    /// capacity, which is at most WAD.
    function set(Bucket storage self, uint256 level) internal {
        if (level == 0) return;
        // forge-lint: disable-next-line(unsafe-typecast)
        self.level = uint128(level);
        self.updatedAt = uint128(block.timestamp);
    }

    /// @dev Fall from one price to another as a fraction of the first, rounded up; 0 for a gain.
    function fall(uint256 from, uint256 to) internal pure returns (uint256) {
        return to < from ? Math.mulDiv(from - to, WAD, from, Math.Rounding.Ceil) : 0;
    }
}
