// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {CodeStore} from "./CodeStore.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {Connector} from "./Connector.sol";

/// @dev Morpho Blue's own structs, field for field.
struct MarketParams {
    address loanToken;
    address collateralToken;
    address oracle;
    address irm;
    uint256 lltv;
}

struct Market {
    uint128 totalSupplyAssets;
    uint128 totalSupplyShares;
    uint128 totalBorrowAssets;
    uint128 totalBorrowShares;
    uint128 lastUpdate;
    uint128 fee;
}

/// @dev What is used of Morpho Blue.
interface IMorphoBlue {
    function idToMarketParams(bytes32 id) external view returns (MarketParams memory);
    function extSloads(bytes32[] calldata slots) external view returns (bytes32[] memory);
    function supply(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, bytes calldata)
        external
        returns (uint256 assetsSupplied, uint256 sharesSupplied);
    function withdraw(MarketParams calldata, uint256 assets, uint256 shares, address onBehalf, address to)
        external
        returns (uint256 assetsWithdrawn, uint256 sharesWithdrawn);
}

/// @dev A Morpho Blue interest rate model: borrow rate per second, in WAD.
interface IRateModel {
    function borrowRateView(MarketParams calldata, Market calldata) external view returns (uint256);
}

/// @title Supply positions in markets of Morpho Blue
/// @notice The key of a position is the market id.
contract MorphoBlueConnector is Connector {
    using Address for address;
    using SafeCast for uint256;

    uint256 private constant WAD = 1e18;
    uint256 private constant VIRTUAL_ASSETS = 1;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    /// @dev Slots of the mappings `position` and `market` in Morpho's storage (`MorphoStorageLib`).
    uint256 private constant POSITION_SLOT = 2;
    uint256 private constant MARKET_SLOT = 3;

    uint256 private constant PARAMS_LENGTH = 160;

    IMorphoBlue public immutable morpho;

    /// @dev The parameters of every accepted market, one after the other. They are immutable in Morpho and a
    /// report needs all five words of them: from storage they would cost more than the rest of it.
    address private immutable _store;

    /// @param keys ids of markets that may be supplied; each must exist
    constructor(address portfolio_, IMorphoBlue morpho_, bytes32[] memory keys) Connector(portfolio_) {
        morpho = morpho_;
        bytes memory rows;
        for (uint256 i = 0; i < keys.length; i++) {
            MarketParams memory params = morpho_.idToMarketParams(keys[i]);
            if (params.loanToken == address(0)) revert InvalidKey(keys[i]);
            for (uint256 j = 0; j < i; j++) {
                if (keys[j] == keys[i]) revert DuplicateKey(keys[i]);
            }
            rows = bytes.concat(rows, abi.encode(params));
        }
        _store = CodeStore.write(rows);
    }

    /// @inheritdoc IConnector
    /// @dev Equals what a full exit would pay now: interest and fee accrued to this block, shares rounded down.
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 status) {
        MarketParams memory params = _params(key);
        (Market memory market, uint256 shares) = _read(key);
        if (shares == 0) return (0, 0, 0);
        _accrue(params, market);
        return _worth(params.loanToken, _toAssetsDown(shares, market));
    }

    /// @notice See `IIsolated`.
    function isolated() external pure returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        MarketParams memory params = _params(key);
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(params.loanToken, address(this));

        _approve(params.loanToken, address(morpho), assets);
        (, uint256 shares) = morpho.supply(params, assets, 0, address(this), "");
        _checkSpent(params.loanToken, address(morpho), tokensBefore, assets);

        // Shares are rounded down: at an honest share price that costs one unit of the asset at most.
        (Market memory market,) = _read(key);
        uint256 worth = _toAssetsDown(shares, market);
        if (worth + 1 < assets) revert SlippageExceeded(assets - 1, worth);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit burns shares, so that no interest of this very block stays behind; Morpho accrues first.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        MarketParams memory params = _params(key);
        if (assets == 0) revert ZeroAmount();
        (, uint256 position) = _read(key);
        if (position == 0) revert EmptyPosition(key);

        uint256 balanceBefore = _balance(params.loanToken, portfolio);
        (uint256 paid, uint256 burned) = assets == EVERYTHING
            ? morpho.withdraw(params, 0, position, address(this), portfolio)
            : morpho.withdraw(params, assets, 0, address(this), portfolio);
        withdrawn = _received(params.loanToken, balanceBefore, assets == EVERYTHING ? paid : assets);

        (Market memory market,) = _read(key);
        uint256 worth = _toAssetsDown(burned, market);
        if (worth > withdrawn + 1) revert SlippageExceeded(withdrawn + 1, worth);
    }

    /// @dev The market whose id is `key`: Morpho's id is the hash of the parameters.
    function _params(bytes32 key) private view returns (MarketParams memory params) {
        bytes memory rows = CodeStore.read(_store);
        uint256 end = rows.length + 32;
        for (uint256 offset = 32; offset < end;) {
            bytes32 id;
            assembly ("memory-safe") {
                // The row itself is the struct: five words, one after the other.
                params := add(rows, offset)
                id := keccak256(params, PARAMS_LENGTH)
            }
            if (id == key) return params;
            unchecked {
                offset += PARAMS_LENGTH;
            }
        }
        revert UnknownKey(key);
    }

    /// @dev Market state and our shares as stored, in one call.
    function _read(bytes32 key) private view returns (Market memory market, uint256 shares) {
        uint256 slot = uint256(keccak256(abi.encode(key, MARKET_SLOT)));
        bytes32 own = keccak256(abi.encode(address(this), keccak256(abi.encode(key, POSITION_SLOT))));
        // An array of four as the six words it is encoded in: the coder of arrays costs as much as a cold slot.
        bytes memory words = address(morpho)
            .functionStaticCall(
                abi.encodeWithSelector(IMorphoBlue.extSloads.selector, 32, 4, slot, slot + 1, slot + 2, own)
            );
        uint256[3] memory pairs;
        (,, pairs[0], pairs[1], pairs[2], shares) =
            abi.decode(words, (uint256, uint256, uint256, uint256, uint256, uint256));
        // The first field of a packed pair is in the low half.
        market.totalSupplyAssets = uint128(pairs[0]);
        market.totalSupplyShares = uint128(pairs[0] >> 128);
        market.totalBorrowAssets = uint128(pairs[1]);
        market.totalBorrowShares = uint128(pairs[1] >> 128);
        market.lastUpdate = uint128(pairs[2]);
        market.fee = uint128(pairs[2] >> 128);
    }

    /// @dev What Morpho's `_accrueInterest` would do to the supply side now: three terms of the Taylor series
    /// of e^(rate * elapsed) - 1, and the fee as new shares priced without the fee itself.
    function _accrue(MarketParams memory params, Market memory market) private view {
        uint256 elapsed = block.timestamp - market.lastUpdate;
        if (elapsed == 0 || market.totalBorrowAssets == 0 || params.irm == address(0)) return;
        uint256 first = IRateModel(params.irm).borrowRateView(params, market) * elapsed;
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
    }

    function _toAssetsDown(uint256 shares, Market memory market) private pure returns (uint256) {
        return
            shares * (market.totalSupplyAssets + VIRTUAL_ASSETS) / (market.totalSupplyShares + VIRTUAL_SHARES);
    }
}
