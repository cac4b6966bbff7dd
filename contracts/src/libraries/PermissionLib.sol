// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Permission} from "../interfaces/Types.sol";

/// @title Sets of functions, each packed into one word: asking costs one storage read, and the set can be listed
library PermissionLib {
    using EnumerableSet for EnumerableSet.Bytes32Set;

    struct Permissions {
        EnumerableSet.Bytes32Set packed;
    }

    function set(Permissions storage self, address target, bytes4 selector, bool allowed) internal {
        if (allowed) self.packed.add(_pack(target, selector));
        else self.packed.remove(_pack(target, selector));
    }

    function contains(Permissions storage self, address target, bytes4 selector)
        internal
        view
        returns (bool)
    {
        return self.packed.contains(_pack(target, selector));
    }

    /// @notice Every member, in no particular order.
    function values(Permissions storage self) internal view returns (Permission[] memory permissions) {
        bytes32[] memory packed = self.packed.values();
        permissions = new Permission[](packed.length);
        for (uint256 i; i < packed.length; ++i) {
            permissions[i] = Permission(address(bytes20(packed[i])), bytes4(packed[i] << 160));
        }
    }

    function _pack(address target, bytes4 selector) private pure returns (bytes32) {
        return bytes32(bytes20(target)) | bytes32(selector) >> 160;
    }
}
