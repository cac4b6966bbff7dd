// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Connector} from "omnikeeper/connectors/Connector.sol";
import {IConnector} from "omnikeeper/interfaces/IConnector.sol";
import {IIsolated} from "omnikeeper/interfaces/IIsolated.sol";
import {Bank} from "./Bank.sol";

/// @title Shares of one bank
/// @notice The key of the only position is the bank.
contract SavingsConnector is Connector, IIsolated {
    /// @dev Units that one deposit may lose: the bank rounds shares down, and what they are worth down again.
    uint256 private constant ROUNDING = 2;

    Bank public immutable bank;

    error Illiquid(bytes32 key);

    constructor(address portfolio_, Bank bank_) Connector(portfolio_) {
        if (address(bank_.asset()) != asset) revert InvalidKey(_keyOf(address(bank_)));
        bank = bank_;
        _allowCollecting(asset);
    }

    modifier onlyKnown(bytes32 key) {
        if (key != _keyOf(address(bank))) revert UnknownKey(key);
        _;
    }

    /// @inheritdoc IIsolated
    function isolated() external pure override returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    /// @dev What leaving now would pay. It reverts when the bank does: the position is then impaired.
    function report(bytes32 key) external view override onlyKnown(key) returns (uint256, uint256, uint256) {
        return _worth(asset, bank.toAssets(bank.sharesOf(address(this))));
    }

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio onlyKnown(key) {
        if (assets == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(asset, address(this));
        uint256 sharesBefore = bank.sharesOf(address(this));
        _approve(asset, address(bank), assets);
        bank.deposit(assets);
        _checkSpent(asset, address(bank), balanceBefore, assets);

        // Believe what is owned now, not what the bank returned.
        uint256 gained = bank.toAssets(bank.sharesOf(address(this)) - sharesBefore);
        if (gained + ROUNDING < assets) revert SlippageExceeded(assets - ROUNDING, gained);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit of a bank that cannot pay all of it takes what is at hand; the rest stays a position.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        onlyKnown(key)
        returns (uint256 withdrawn)
    {
        if (assets == 0) revert ZeroAmount();
        uint256 shares = bank.sharesOf(address(this));
        if (shares == 0) revert EmptyPosition(key);
        uint256 balanceBefore = _balance(asset, portfolio);
        uint256 worth = bank.toAssets(shares);
        uint256 available = bank.cash();
        if (assets == EVERYTHING && worth <= available) {
            bank.redeem(shares, portfolio);
            return _received(asset, balanceBefore, worth);
        }
        if (assets == EVERYTHING) assets = available;
        if (assets == 0) revert Illiquid(key);
        bank.withdraw(assets, portfolio);
        return _received(asset, balanceBefore, assets);
    }
}
