// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Reads that no callee can make dear
/// @notice Takes at most a stipend of gas and a fixed number of words of the answer, and never reverts because
/// of what the callee does. A short answer counts as a failure.
library BoundedRead {
    error NotEnoughGas(uint256 given, uint256 stipend);

    /// @notice The first `count` words of an answer. A failure is believed only of a callee that had its whole
    /// stipend: otherwise the whole call fails, so that nobody can make a price fail by starving it.
    /// @param count at most ten
    function read(address target, uint256 stipend, bytes memory data, uint256 count)
        internal
        view
        returns (bool success, uint256[10] memory words)
    {
        uint256 given = gasleft() * 63 / 64;
        uint256 size;
        assembly ("memory-safe") {
            success := staticcall(stipend, target, add(data, 32), mload(data), words, mul(count, 32))
            size := returndatasize()
        }
        if (size < count * 32) success = false;
        if (!success && given < stipend) revert NotEnoughGas(given, stipend);
    }
}
