// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title A plain ERC-20 with EIP-2612 permit, for local chains
/// @notice Stands for USDC (6 decimals), DAI (18) and a wrapped Bitcoin (8). Its issuer mints.
contract TestToken is ERC20Permit {
    address public immutable issuer;
    uint8 private immutable _decimals;

    error NotIssuer(address caller);

    constructor(string memory name_, string memory symbol_, uint8 decimals_, address issuer_)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
    {
        _decimals = decimals_;
        issuer = issuer_;
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function mint(address to, uint256 amount) external {
        if (msg.sender != issuer) revert NotIssuer(msg.sender);
        _mint(to, amount);
    }
}
