// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Many reads in one `eth_call`
/// @notice Never deployed: its runtime code is placed by state override at an unused address, or run by
/// `LensOnce` inside creation code.
/// @dev Request and answer are packed, not ABI-encoded: a word read costs 37 bytes of answer instead of 160,
/// and where creation code is the only way an answer has at most 24,576 bytes.
///
/// Request: stipend (4) | longest answer of all (4) | per call: target (20) | length (4) | calldata.
/// Answer: chain id (32) | number (32) | timestamp (32) | parent hash (32) | per call: success (1) |
/// length (4) | returned bytes.
contract Lens {
    error NotEnoughGas(uint256 index, uint256 available, uint256 wanted);
    error AnswerTooLong(uint256 index, uint256 length, uint256 limit);
    error ReturnTooLong(uint256 length, uint256 limit);

    /// @dev Longest answer taken from a target, so that none can eat the gas of the others.
    uint256 internal constant MAX_RETURN = 65_536;

    /// @dev Covers the cost of the call itself: a cold account and the check.
    uint256 internal constant CALL_OVERHEAD = 5000;

    /// @notice Calls each target with exactly the stipend, or reverts the whole pass when the gas left does
    /// not cover it or the answer grows too long: a position never looks broken because the caller was short.
    fallback(bytes calldata request) external returns (bytes memory answer) {
        uint256 stipend = uint32(bytes4(request[:4]));
        uint256 limit = uint32(bytes4(request[4:8]));
        unchecked {
            // Before genesis there is no block, and its hash reads as zero.
            answer = abi.encode(block.chainid, block.number, block.timestamp, blockhash(block.number - 1));
        }
        uint256 index;
        for (uint256 at = 8; at < request.length; ++index) {
            address target = address(bytes20(request[at:at + 20]));
            uint256 end = at + 24 + uint32(bytes4(request[at + 20:at + 24]));
            _append(index, target, stipend, request[at + 24:end]);
            uint256 length;
            assembly ("memory-safe") {
                // Everything appended lies between the head and the free memory.
                length := sub(mload(0x40), add(answer, 0x20))
                mstore(answer, length)
            }
            if (length > limit) revert AnswerTooLong(index, length, limit);
            at = end;
        }
    }

    /// @dev Writes the calldata, and then the outcome in its place, where free memory begins.
    function _append(uint256 index, address target, uint256 stipend, bytes calldata data) private view {
        assembly ("memory-safe") {
            calldatacopy(mload(0x40), data.offset, data.length)
        }
        // EIP-150: a call gets at most 63/64 of what is left.
        uint256 wanted = stipend + stipend / 63 + CALL_OVERHEAD;
        if (gasleft() < wanted) revert NotEnoughGas(index, gasleft(), wanted);
        bool success;
        uint256 length;
        assembly ("memory-safe") {
            success := staticcall(stipend, target, mload(0x40), data.length, 0, 0)
            length := returndatasize()
        }
        if (length > MAX_RETURN) {
            _appendReturnTooLong(length);
            return;
        }
        assembly ("memory-safe") {
            let end := mload(0x40)
            mstore(end, or(shl(248, success), shl(216, length)))
            returndatacopy(add(end, 5), 0, length)
            mstore(0x40, add(add(end, 5), length))
        }
    }

    function _appendReturnTooLong(uint256 length) private pure {
        bytes4 selector = ReturnTooLong.selector;
        assembly ("memory-safe") {
            let end := mload(0x40)
            mstore(end, shl(216, 68))
            mstore(add(end, 5), selector)
            mstore(add(end, 9), length)
            mstore(add(end, 41), MAX_RETURN)
            mstore(0x40, add(end, 73))
        }
    }
}
