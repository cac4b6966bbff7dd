// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Calls in a row and reads after them, in one `eth_call`
/// @notice Never deployed: its runtime code is placed by state override at the address of the caller that is
/// rehearsed, so that every target sees that caller. The caller's own code is placed at `ORIGINAL`, and
/// answers whoever calls the caller meanwhile.
/// @dev Request: `REHEARSE` (32) | lens (20) | number of calls (2) | per call: target (20) | gas (4) |
/// length (4) | calldata | request of the lens. Answer: per call: success (1) | length (4) | returned bytes |
/// answer of the lens.
contract Rehearsal {
    error NotEnoughGas(uint256 index, uint256 available, uint256 wanted);
    error LensFailed(bytes reason);

    bytes32 internal constant REHEARSE = keccak256("omnikeeper/rehearsal");
    address internal constant ORIGINAL = address(uint160(uint256(keccak256("omnikeeper/original"))));

    fallback(bytes calldata request) external payable returns (bytes memory) {
        if (msg.sender == address(this) && request.length > 32 && bytes32(request[:32]) == REHEARSE) {
            return _rehearse(request[32:]);
        }
        (bool success, bytes memory returned) = ORIGINAL.delegatecall(request);
        if (success) return returned;
        assembly ("memory-safe") {
            revert(add(returned, 0x20), mload(returned))
        }
    }

    function _rehearse(bytes calldata request) private returns (bytes memory answer) {
        address lens = address(bytes20(request[:20]));
        uint256 count = uint16(bytes2(request[20:22]));
        uint256 at = 22;
        for (uint256 index; index < count; ++index) {
            address target = address(bytes20(request[at:at + 20]));
            uint256 allowed = uint32(bytes4(request[at + 20:at + 24]));
            uint256 end = at + 28 + uint32(bytes4(request[at + 24:at + 28]));
            // EIP-150: a call gets at most 63/64 of what is left.
            uint256 wanted = allowed + allowed / 63 + 5000;
            if (gasleft() < wanted) revert NotEnoughGas(index, gasleft(), wanted);
            (bool success, bytes memory returned) = target.call{gas: allowed}(request[at + 28:end]);
            answer = bytes.concat(answer, abi.encodePacked(success, uint32(returned.length)), returned);
            at = end;
        }
        (bool read, bytes memory state) = lens.staticcall(request[at:]);
        if (!read) revert LensFailed(state);
        answer = bytes.concat(answer, state);
    }
}
