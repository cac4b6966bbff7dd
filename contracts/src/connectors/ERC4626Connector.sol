// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {Connector} from "./Connector.sol";

/// @title Shares of any ERC-4626 vaults
/// @notice The key of a position is the vault. Its asset is read once: EIP-4626 forbids that it changes.
contract ERC4626Connector is Connector {
    /// @dev Largest part of a deposit that entering may cost in fees and rounding: 10 bps. The minimum of
    /// `previewDeposit` alone would follow a share price that somebody has just inflated.
    uint256 private constant ENTRY_LOSS_DIVISOR = 1000;

    error Illiquid(bytes32 key);

    mapping(bytes32 key => address) public tokenOf;

    /// @param keys vaults that may be entered
    constructor(address portfolio_, bytes32[] memory keys) Connector(portfolio_) {
        for (uint256 i = 0; i < keys.length; i++) {
            address target = _addressOf(keys[i]);
            // A vault around this very vault would count the same assets twice.
            if (target == vault || target.code.length == 0) revert InvalidKey(keys[i]);
            if (tokenOf[keys[i]] != address(0)) revert DuplicateKey(keys[i]);
            tokenOf[keys[i]] = IERC4626(target).asset();
        }
    }

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 status) {
        address token = _token(key);
        IERC4626 target = IERC4626(_addressOf(key));
        uint256 shares = target.balanceOf(address(this));
        return _worth(token, shares == 0 ? 0 : target.previewRedeem(shares));
    }

    /// @notice See `IIsolated`.
    function isolated() external pure returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    function supply(bytes32 key, uint256 assets) external override onlyPortfolio {
        address token = _token(key);
        IERC4626 target = IERC4626(_addressOf(key));
        if (assets == 0) revert ZeroAmount();
        uint256 tokensBefore = _balance(token, address(this));
        uint256 sharesBefore = target.balanceOf(address(this));
        uint256 minimum = target.previewDeposit(assets);

        _approve(token, address(target), assets);
        target.deposit(assets, address(this));
        _checkSpent(token, address(target), tokensBefore, assets);

        uint256 shares = target.balanceOf(address(this)) - sharesBefore;
        if (shares < minimum || shares == 0) revert SlippageExceeded(minimum, shares);
        uint256 worth = target.previewRedeem(shares);
        uint256 floor = assets - assets / ENTRY_LOSS_DIVISOR;
        // Two roundings of a unit each are not a loss to judge by.
        if (worth + 2 < floor) revert SlippageExceeded(floor, worth);
    }

    /// @inheritdoc IConnector
    /// @dev A full exit redeems as many shares as the vault lets go now; what it holds back stays a position.
    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        returns (uint256 withdrawn)
    {
        address token = _token(key);
        IERC4626 target = IERC4626(_addressOf(key));
        if (assets == 0) revert ZeroAmount();
        uint256 shares = target.balanceOf(address(this));
        if (shares == 0) revert EmptyPosition(key);

        uint256 balanceBefore = _balance(token, portfolio);
        if (assets == EVERYTHING) {
            return _received(token, balanceBefore, _redeem(target, key, shares));
        }
        uint256 limit = target.previewWithdraw(assets);
        target.withdraw(assets, portfolio, address(this));
        uint256 burned = shares - target.balanceOf(address(this));
        if (burned > limit) revert SlippageExceeded(limit, burned);
        withdrawn = _received(token, balanceBefore, assets);
    }

    /// @dev Tries all of it first: the limit a vault names may be rounded, and would leave dust behind.
    /// @return minimum what the vault promised for the shares it took
    function _redeem(IERC4626 target, bytes32 key, uint256 shares) private returns (uint256 minimum) {
        minimum = target.previewRedeem(shares);
        try target.redeem(shares, portfolio, address(this)) {}
        catch {
            shares = target.maxRedeem(address(this));
            if (shares == 0) revert Illiquid(key);
            minimum = target.previewRedeem(shares);
            target.redeem(shares, portfolio, address(this));
        }
    }

    function _token(bytes32 key) private view returns (address token) {
        token = tokenOf[key];
        if (token == address(0)) revert UnknownKey(key);
    }
}
