// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Bytes kept as the code of a contract of their own
/// @notice For what never changes and is read often: one account access instead of a cold slot per word.
library CodeStore {
    error StoreFailed();

    /// @dev Deploys a contract whose code is a STOP, so that nobody can run the data, and then `data`.
    function write(bytes memory data) internal returns (address store) {
        // PUSH2 length, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE (0), RETURN
        // Where code may be longer than two bytes can count, a length cut off would lose data unseen.
        uint16 length = SafeCast.toUint16(data.length + 1);
        bytes memory creation = abi.encodePacked(hex"61", length, hex"80600a3d393df3", hex"00", data);
        assembly ("memory-safe") {
            store := create(0, add(creation, 32), mload(creation))
        }
        if (store == address(0)) revert StoreFailed();
    }

    function read(address store) internal view returns (bytes memory data) {
        // Every byte is written: allocating in Solidity would write them all twice.
        assembly ("memory-safe") {
            data := mload(0x40)
            let length := sub(extcodesize(store), 1)
            mstore(data, length)
            extcodecopy(store, add(data, 32), 1, length)
            mstore(0x40, and(add(add(data, 63), length), not(31)))
        }
    }
}
