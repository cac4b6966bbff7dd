// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICompliance} from "../src/interfaces/ICompliance.sol";

/// @title A compliance hook that refuses one account, for local chains
contract ClosedList is ICompliance {
    address public immutable refused;

    constructor(address refused_) {
        refused = refused_;
    }

    function allows(address from, address to, uint256) external view override returns (bool) {
        return from != refused && to != refused;
    }
}
