// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SlotDerivation} from "@openzeppelin/contracts/utils/SlotDerivation.sol";
import {IMorphoBlue, IMorphoRateModel, Market, MarketParams} from "./IMorphoBlue.sol";

/// @dev What an account holds in a market, as stored.
struct Holding {
    uint256 supplyShares;
    uint256 borrowShares;
    uint256 collateral;
}

/// @title State of a Morpho Blue market, read in one call and accrued to this block as Morpho would
/// @dev The two calls are written by hand: the coders of arrays and structs would cost as much as cold slots.
library MorphoState {
    using SafeCast for uint256;
    using SlotDerivation for bytes32;

    uint256 private constant WAD = 1e18;
    uint256 private constant VIRTUAL_ASSETS = 1;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    /// @dev Slots of the mappings `position` and `market` in Morpho's storage (`MorphoStorageLib`).
    bytes32 private constant POSITION_SLOT = bytes32(uint256(2));
    bytes32 private constant MARKET_SLOT = bytes32(uint256(3));

    /// @param count slots: 4 for a supply alone, 5 for debt and collateral as well
    function read(IMorphoBlue morpho, bytes32 id, uint256 count)
        internal
        view
        returns (Market memory market, Holding memory own)
    {
        bytes32 slot = MARKET_SLOT.deriveMapping(id);
        bytes32 position = POSITION_SLOT.deriveMapping(id).deriveMapping(address(this));
        bytes32 selector = bytes32(IMorphoBlue.extSloads.selector);
        assembly ("memory-safe") {
            let words := mload(0x40)
            mstore(words, selector)
            mstore(add(words, 0x04), 0x20)
            mstore(add(words, 0x24), count)
            mstore(add(words, 0x44), slot)
            mstore(add(words, 0x64), add(slot, 1))
            mstore(add(words, 0x84), add(slot, 2))
            mstore(add(words, 0xa4), position)
            mstore(add(words, 0xc4), add(position, 1))
            let size := shl(5, count)
            if iszero(staticcall(gas(), morpho, words, add(0x44, size), words, add(0x40, size))) {
                returndatacopy(words, 0, returndatasize())
                revert(words, returndatasize())
            }
            if lt(returndatasize(), add(0x40, size)) { revert(0, 0) }
            // The first field of a packed pair is in the low half.
            let low := sub(shl(128, 1), 1)
            let pair := mload(add(words, 0x40))
            mstore(market, and(pair, low))
            mstore(add(market, 0x20), shr(128, pair))
            pair := mload(add(words, 0x60))
            mstore(add(market, 0x40), and(pair, low))
            mstore(add(market, 0x60), shr(128, pair))
            pair := mload(add(words, 0x80))
            mstore(add(market, 0x80), and(pair, low))
            mstore(add(market, 0xa0), shr(128, pair))
            mstore(own, mload(add(words, 0xa0)))
            if eq(count, 5) {
                pair := mload(add(words, 0xc0))
                mstore(add(own, 0x20), and(pair, low))
                mstore(add(own, 0x40), shr(128, pair))
            }
        }
    }

    /// @dev What Morpho's `_accrueInterest` would do now: three terms of the Taylor series of
    /// e^(rate * elapsed) - 1, and the fee as new shares priced without the fee itself.
    function accrue(Market memory market, MarketParams memory params) internal view {
        uint256 elapsed = block.timestamp - market.lastUpdate;
        uint256 borrowed = market.totalBorrowAssets;
        if (elapsed == 0 || borrowed == 0 || params.irm == address(0)) return;
        uint256 interest;
        {
            uint256 first = _rate(params, market) * elapsed;
            uint256 second = first * first / (2 * WAD);
            interest = borrowed * (first + second + second * first / (3 * WAD)) / WAD;
        }
        uint256 supplied = market.totalSupplyAssets + interest;
        uint256 feeRate = market.fee;
        if (feeRate != 0) {
            uint256 fee = interest * feeRate / WAD;
            uint256 shares = market.totalSupplyShares;
            uint256 feeShares = fee * (shares + VIRTUAL_SHARES) / (supplied - fee + VIRTUAL_ASSETS);
            market.totalSupplyShares = (feeShares + shares).toUint128();
        }
        market.totalSupplyAssets = supplied.toUint128();
        // What is borrowed never exceeds what is supplied, which fits.
        market.totalBorrowAssets = uint128(borrowed + interest);
    }

    function supplyToAssetsDown(Market memory market, uint256 shares) internal pure returns (uint256) {
        (uint256 assets, uint256 total) = (market.totalSupplyAssets, market.totalSupplyShares);
        return shares * (assets + VIRTUAL_ASSETS) / (total + VIRTUAL_SHARES);
    }

    function borrowToAssetsDown(Market memory market, uint256 shares) internal pure returns (uint256) {
        (uint256 assets, uint256 total) = (market.totalBorrowAssets, market.totalBorrowShares);
        return shares * (assets + VIRTUAL_ASSETS) / (total + VIRTUAL_SHARES);
    }

    function borrowToAssetsUp(Market memory market, uint256 shares) internal pure returns (uint256) {
        (uint256 assets, uint256 total) = (market.totalBorrowAssets, market.totalBorrowShares);
        return Math.ceilDiv(shares * (assets + VIRTUAL_ASSETS), total + VIRTUAL_SHARES);
    }

    /// @dev Both structs lie in memory as they are encoded, word by word.
    function _rate(MarketParams memory params, Market memory market) private view returns (uint256 rate) {
        bytes32 selector = bytes32(IMorphoRateModel.borrowRateView.selector);
        address irm = params.irm;
        assembly ("memory-safe") {
            let words := mload(0x40)
            mstore(words, selector)
            mcopy(add(words, 0x04), params, 0xa0)
            mcopy(add(words, 0xa4), market, 0xc0)
            if iszero(staticcall(gas(), irm, words, 0x164, words, 0x20)) {
                returndatacopy(words, 0, returndatasize())
                revert(words, returndatasize())
            }
            if lt(returndatasize(), 0x20) { revert(0, 0) }
            rate := mload(words)
        }
    }
}
