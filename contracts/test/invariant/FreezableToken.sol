// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Token} from "../fixtures/Tokens.sol";

/// @dev A dollar token whose issuer can freeze accounts.
contract FreezableToken is Token {
    mapping(address account => bool) public frozen;

    error Frozen(address account);

    constructor() Token("USDC", 6) {}

    function setFrozen(address account, bool frozen_) external {
        frozen[account] = frozen_;
    }

    function burn(address from, uint256 amount) external {
        _burn(from, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!frozen[from], Frozen(from));
        require(!frozen[to], Frozen(to));
        super._update(from, to, amount);
    }
}
