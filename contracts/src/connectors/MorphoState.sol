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
            for { let i := 0 } lt(i, 3) { i := add(i, 1) } {
                let pair := mload(add(words, add(0x40, shl(5, i))))
                mstore(add(market, shl(6, i)), and(pair, low))
                mstore(add(market, add(0x20, shl(6, i))), shr(128, pair))
            }
            mstore(own, mload(add(words, 0xa0)))
            if eq(count, 5) {
                let pair := mload(add(words, 0xc0))
                mstore(add(own, 0x20), and(pair, low))
                mstore(add(own, 0x40), shr(128, pair))
            }
        }
    }

    /// @dev What Morpho's `_accrueInterest` would do now: three terms of the Taylor series of
    /// e^(rate * elapsed) - 1, and the fee as new shares priced without the fee itself.
    function accrue(Market memory market, MarketParams memory params) internal view {
        uint256 elapsed = block.timestamp - market.lastUpdate;
        if (elapsed == 0 || market.totalBorrowAssets == 0 || params.irm == address(0)) return;
        uint256 first = _rate(params, market) * elapsed;
        uint256 second = first * first / (2 * WAD);
        uint256 third = second * first / (3 * WAD);
        uint256 interest = market.totalBorrowAssets * (first + second + third) / WAD;
        uint256 supplied = market.totalSupplyAssets + interest;
        if (market.fee != 0) {
            uint256 fee = interest * market.fee / WAD;
            uint256 feeShares =
                fee * (market.totalSupplyShares + VIRTUAL_SHARES) / (supplied - fee + VIRTUAL_ASSETS);
            market.totalSupplyShares = (feeShares + market.totalSupplyShares).toUint128();
        }
        market.totalSupplyAssets = supplied.toUint128();
        market.totalBorrowAssets = (market.totalBorrowAssets + interest).toUint128();
    }

    function supplyToAssetsDown(Market memory market, uint256 shares) internal pure returns (uint256) {
        return
            shares * (market.totalSupplyAssets + VIRTUAL_ASSETS) / (market.totalSupplyShares + VIRTUAL_SHARES);
    }

    function borrowToAssetsDown(Market memory market, uint256 shares) internal pure returns (uint256) {
        return
            shares * (market.totalBorrowAssets + VIRTUAL_ASSETS) / (market.totalBorrowShares + VIRTUAL_SHARES);
    }

    function borrowToAssetsUp(Market memory market, uint256 shares) internal pure returns (uint256) {
        return Math.ceilDiv(
            shares * (market.totalBorrowAssets + VIRTUAL_ASSETS), market.totalBorrowShares + VIRTUAL_SHARES
        );
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
