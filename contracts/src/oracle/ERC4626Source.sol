// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {RateSource} from "./RateSource.sol";

/// @title What the shares of an ERC-4626 vault stand for in its asset
contract ERC4626Source is RateSource {
    /// @dev So many shares are asked for that their assets have eighteen digits more than whole ones, or none
    /// fewer than an asset of more decimals has.
    uint256 private immutable _shares;
    uint256 private immutable _divisor;

    /// @param vault also the base: the share is the vault's own token
    /// @param maxGrowth_ part by which the rate may grow in a day, in WAD
    constructor(IERC4626 vault, uint256 maxGrowth_)
        RateSource(address(vault), _assetOf(vault), address(vault), maxGrowth_)
    {
        uint256 unit = 10 ** _decimals(base);
        uint256 assetDecimals = _decimals(quote);
        (_shares, _divisor) =
            assetDecimals < 18 ? (unit * 10 ** (18 - assetDecimals), 1) : (unit, 10 ** (assetDecimals - 18));
        _start();
    }

    function _call() internal view override returns (bytes memory) {
        return abi.encodeCall(IERC4626.convertToAssets, (_shares));
    }

    function _toWad(uint256 word) internal view override returns (uint256) {
        return word / _divisor;
    }

    function _assetOf(IERC4626 vault) private view returns (address) {
        if (address(vault).code.length == 0) revert InvalidTarget(address(vault));
        return vault.asset();
    }
}
