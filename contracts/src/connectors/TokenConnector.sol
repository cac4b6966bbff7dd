// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IIsolated} from "../interfaces/IIsolated.sol";
import {Connector} from "./Connector.sol";

/// @title Tokens that are simply held
/// @notice The key of a position is the token. What a batch wants to keep of a token that is not the vault's asset
/// is pushed here and supplied; it counts at the price of the vault's oracle.
/// @dev By ledger: what somebody else sends is no position, and a token that is pushed under another key does not
/// make one grow that nobody looks at.
contract TokenConnector is Connector, IIsolated {
    using SafeERC20 for IERC20;

    /// @dev What a report costs when nothing has been read before: once, for the balance and for the price at least.
    uint256 private constant REPORT_GAS = 12_000;
    uint256 private constant BALANCE_GAS = 15_000;
    uint256 private constant PRICE_GAS = 75_000;

    mapping(bytes32 key => bool) public isHeld;
    mapping(bytes32 key => uint256) private held;

    /// @param tokens that may be held; never the vault's own share, which would be worth part of itself
    constructor(address portfolio_, address[] memory tokens) Connector(portfolio_) {
        for (uint256 i = 0; i < tokens.length; i++) {
            bytes32 key = _keyOf(tokens[i]);
            if (tokens[i] == vault || tokens[i].code.length == 0) revert InvalidKey(key);
            if (isHeld[key]) revert DuplicateKey(key);
            isHeld[key] = true;
            _allowCollecting(tokens[i]);
            uint256 balance =
                _readGas(tokens[i], abi.encodeCall(IERC20.balanceOf, (address(this))), BALANCE_GAS);
            _checkReportGas(REPORT_GAS + balance + _priceGas(tokens[i], PRICE_GAS));
        }
        _allowCollecting(asset);
    }

    /// @inheritdoc IIsolated
    function isolated() external pure override returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 state) {
        return _worth(_token(key), amountOf(key));
    }

    /// @notice What is held of a token. One that takes something away by itself is believed.
    function amountOf(bytes32 key) public view returns (uint256) {
        return Math.min(held[key], _balance(_token(key), address(this)));
    }

    /// @inheritdoc IConnector
    /// @dev `type(uint256).max` is all that lies here beyond the position, be it nothing.
    function supply(bytes32 key, uint256 amount) external override onlyPortfolio {
        address token = _token(key);
        if (amount == 0) revert ZeroAmount();
        uint256 loose = _loose(token);
        if (amount == EVERYTHING) amount = loose;
        if (amount > loose) revert SlippageExceeded(amount, loose);
        held[key] = _balance(token, address(this)) - loose + amount;
    }

    /// @inheritdoc IConnector
    /// @dev In units of the token, to the portfolio: whoever does not push it on leaves it out of NAV.
    function withdraw(bytes32 key, uint256 amount)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        address token = _token(key);
        if (amount == 0) revert ZeroAmount();
        uint256 available = amountOf(key);
        if (available == 0) revert EmptyPosition(key);
        if (amount == EVERYTHING) amount = available;
        if (amount > available) revert SlippageExceeded(amount, available);
        held[key] = available - amount;
        uint256 balanceBefore = _balance(token, portfolio);
        IERC20(token).safeTransfer(portfolio, amount);
        withdrawn = _received(token, balanceBefore, amount);
    }

    /// @dev What is held is a position, whatever else lies here of the same token.
    function _loose(address token) internal view override returns (uint256) {
        uint256 balance = _balance(token, address(this));
        return balance - Math.min(held[_keyOf(token)], balance);
    }

    function _token(bytes32 key) private view returns (address token) {
        if (!isHeld[key]) revert UnknownKey(key);
        return _addressOf(key);
    }
}
