// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IConnector} from "../interfaces/IConnector.sol";
import {Connector} from "./Connector.sol";

/// @dev What is used of a pool (Aave v3.4 or newer).
interface IAaveV3Pool {
    function supply(address asset, uint256 amount, address onBehalfOf, uint16 referralCode) external;
    function withdraw(address asset, uint256 amount, address to) external returns (uint256);
    function getReserveAToken(address asset) external view returns (address);
    function getReserveNormalizedIncome(address asset) external view returns (uint256);
}

/// @title Supply positions at one Aave v3 pool
/// @notice The key of a position is its asset.
contract AaveV3Connector is Connector {
    uint256 private constant RAY = 1e27;

    IAaveV3Pool public immutable pool;

    /// @notice The receipt token of every accepted key. Kept because the pool never changes it while anyone,
    /// such as this connector, still has a balance.
    mapping(bytes32 key => address) public aTokenOf;

    /// @param keys assets that may be supplied; each must be a reserve of the pool
    constructor(address portfolio_, IAaveV3Pool pool_, bytes32[] memory keys) Connector(portfolio_) {
        pool = pool_;
        for (uint256 i = 0; i < keys.length; i++) {
            address aToken = pool_.getReserveAToken(_addressOf(keys[i]));
            if (aToken == address(0)) revert InvalidKey(keys[i]);
            if (aTokenOf[keys[i]] != address(0)) revert DuplicateKey(keys[i]);
            aTokenOf[keys[i]] = aToken;
        }
    }

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 status) {
        address aToken = _aToken(key);
        return _worth(_addressOf(key), _balance(aToken, address(this)));
    }

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        address aToken = _aToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(token, address(this));
        uint256 positionBefore = _balance(aToken, address(this));

        _approve(token, address(pool), assets);
        pool.supply(token, assets, address(this), 0);
        _checkSpent(token, address(pool), tokensBefore, assets);

        // The pool rounds the scaled balance down, by less than one unit of it, and the balance down again.
        uint256 rounding = pool.getReserveNormalizedIncome(token) / RAY + 1;
        uint256 gained = _balance(aToken, address(this)) - positionBefore;
        if (gained + rounding < assets) revert SlippageExceeded(assets - rounding, gained);
    }

    /// @inheritdoc IConnector
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        address aToken = _aToken(key);
        address token = _addressOf(key);
        if (assets == 0) revert ZeroAmount();
        uint256 position = _balance(aToken, address(this));
        if (position == 0) revert EmptyPosition(key);

        uint256 balanceBefore = _balance(token, portfolio);
        pool.withdraw(token, assets, portfolio);
        withdrawn = _received(token, balanceBefore, assets == EVERYTHING ? position : assets);
    }

    function _aToken(bytes32 key) private view returns (address aToken) {
        aToken = aTokenOf[key];
        if (aToken == address(0)) revert UnknownKey(key);
    }
}
