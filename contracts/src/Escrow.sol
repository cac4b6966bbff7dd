// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";

/// @title Pending deposits and claimable assets of one vault
contract Escrow is IEscrow {
    using SafeERC20 for IERC20;

    address public immutable override vault;
    IERC20 public immutable override asset;

    modifier onlyVault() {
        require(msg.sender == vault, NotVault(msg.sender));
        _;
    }

    constructor(address vault_, IERC20 asset_) {
        vault = vault_;
        asset = asset_;
    }

    function pay(address to, uint256 assets) external override onlyVault {
        asset.safeTransfer(to, assets);
    }
}
