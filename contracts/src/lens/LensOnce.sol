// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Lens} from "./Lens.sol";

/// @title The lens as creation code, for endpoints without state override
/// @notice Never deployed: an `eth_call` without target runs the constructor and answers with what would
/// become the code. At most 24,576 bytes fit; the first is that of a chain id of 32 bytes and never 0xEF.
contract LensOnce {
    /// @dev Gas that 24,576 bytes of code cost (200 each), kept back from the reads.
    uint256 internal constant DEPOSIT = 4_915_200;

    constructor(bytes memory request) {
        address lens = address(new Lens());
        uint256 available = gasleft();
        (bool success, bytes memory answer) =
            lens.staticcall{gas: available > DEPOSIT ? available - DEPOSIT : 0}(request);
        assembly ("memory-safe") {
            if success { return(add(answer, 0x20), mload(answer)) }
            revert(add(answer, 0x20), mload(answer))
        }
    }
}
