// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Many reads in one `eth_call`
/// @notice Never deployed: its runtime code is placed by state override at an unused address.
contract Lens {
    struct Request {
        address target;
        uint256 stipend;
        bytes data;
    }

    struct Result {
        bool success;
        bytes data;
    }

    struct Head {
        uint256 chainId;
        uint256 number;
        uint256 timestamp;
        bytes32 parentHash;
    }

    error NotEnoughGas(uint256 index, uint256 available, uint256 wanted);
    error ReturnTooLong(uint256 length, uint256 limit);

    /// @dev Longest answer taken from a target, so that none can eat the gas of the others.
    uint256 internal constant MAX_RETURN = 65_536;

    /// @dev Covers the cost of the call itself: a cold account and the check.
    uint256 internal constant CALL_OVERHEAD = 5000;

    /// @notice Calls each target with exactly its stipend, or reverts the whole pass when the gas left does
    /// not cover it: a position never looks broken because the caller was short of gas.
    function read(Request[] calldata requests)
        external
        view
        returns (Head memory head, Result[] memory results)
    {
        unchecked {
            // Before genesis there is no block, and its hash reads as zero.
            head = Head(block.chainid, block.number, block.timestamp, blockhash(block.number - 1));
        }
        results = new Result[](requests.length);
        for (uint256 i; i < requests.length; ++i) {
            bytes memory data = requests[i].data;
            uint256 stipend = requests[i].stipend;
            uint256 available = gasleft();
            // EIP-150: a call gets at most 63/64 of what is left.
            uint256 wanted = stipend + stipend / 63 + CALL_OVERHEAD;
            if (available < wanted) revert NotEnoughGas(i, available, wanted);
            (results[i].success, results[i].data) = _call(requests[i].target, stipend, data);
        }
    }

    function _call(address target, uint256 stipend, bytes memory data)
        private
        view
        returns (bool success, bytes memory answer)
    {
        uint256 length;
        assembly ("memory-safe") {
            success := staticcall(stipend, target, add(data, 0x20), mload(data), 0, 0)
            length := returndatasize()
        }
        if (length > MAX_RETURN) {
            return (false, abi.encodeWithSelector(ReturnTooLong.selector, length, MAX_RETURN));
        }
        answer = new bytes(length);
        assembly ("memory-safe") {
            returndatacopy(add(answer, 0x20), 0, length)
        }
    }
}
