// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Reads that no callee can make dear
/// @notice Takes at most a stipend of gas and a fixed number of words of the answer, and never reverts because
/// of what the callee does. A short answer counts as a failure.
/// @dev Gas never decides what a price is: whoever reads has a stipend that covers those of all its reads and its
/// own work, and says so to its own readers. Contracts work it out when they are made.
library BoundedRead {
    error NotEnoughGas(uint256 given, uint256 stipend);

    /// @dev What the call itself may take before the callee gets its part: an account not met before, and memory.
    uint256 private constant CALL_GAS = 3_000;

    /// @dev Encoding, the call, and what is done with the answer.
    uint256 private constant READ_GAS = 6_000;

    /// @notice Gas that a read with a stipend may take of its reader's.
    function cost(uint256 stipend) internal pure returns (uint256) {
        // A call passes on at most 63/64 of what there is.
        return stipend + stipend / 63 + READ_GAS;
    }

    /// @notice The first `count` words of an answer. A failure is believed only of a callee that had its whole
    /// stipend: otherwise the whole call fails, so that nobody can make a price fail by starving it.
    /// @param count at most ten
    function read(address target, uint256 stipend, bytes memory data, uint256 count)
        internal
        view
        returns (bool success, uint256[10] memory words)
    {
        uint256 given = gasleft();
        given = given > CALL_GAS ? (given - CALL_GAS) * 63 / 64 : 0;
        uint256 size;
        assembly ("memory-safe") {
            success := staticcall(stipend, target, add(data, 32), mload(data), words, mul(count, 32))
            size := returndatasize()
        }
        if (size < count * 32) success = false;
        if (!success && given < stipend) revert NotEnoughGas(given, stipend);
    }
}
