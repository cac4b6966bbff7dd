// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {LendingConnector} from "omnikeeper/connectors/LendingConnector.sol";
import {IConnector} from "omnikeeper/interfaces/IConnector.sol";
import {IIsolated} from "omnikeeper/interfaces/IIsolated.sol";
import {Lombard} from "./Lombard.sol";

/// @title A pledge at one house, and the debt against it
contract LombardConnector is LendingConnector, IIsolated {
    using SafeERC20 for IERC20;

    Lombard public immutable house;

    constructor(address portfolio_, Lombard house_, uint256 floor) LendingConnector(portfolio_, floor) {
        house = house_;
        _allowCollecting(asset);
    }

    modifier onlyKnown(bytes32 key) {
        if (key != _keyOf(address(house))) revert UnknownKey(key);
        _;
    }

    function isolated() external pure override returns (bool) {
        return true;
    }

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override onlyKnown(key) returns (uint256, uint256, uint256) {
        Equity memory equity;
        _addAssets(equity, asset, house.pledgeOf(address(this)));
        _addDebt(equity, asset, house.debtOf(address(this)));
        return _net(equity, equity.debtLow == 0 ? 0 : house.healthOf(address(this)));
    }

    function supply(bytes32 key, uint256 assets) external override onlyPortfolio onlyKnown(key) {
        if (assets == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(asset, address(this));
        _approve(asset, address(house), assets);
        house.pledge(assets);
        _checkSpent(asset, address(house), balanceBefore, assets);
    }

    function withdraw(bytes32 key, uint256 assets)
        external
        override
        onlyPortfolio
        onlyKnown(key)
        keepsHealth(key)
        returns (uint256 withdrawn)
    {
        if (assets == 0) revert ZeroAmount();
        uint256 pledged = house.pledgeOf(address(this));
        if (pledged == 0) revert EmptyPosition(key);
        if (assets == EVERYTHING) assets = pledged;
        uint256 balanceBefore = _balance(asset, portfolio);
        house.release(assets, portfolio);
        return _received(asset, balanceBefore, assets);
    }

    function borrow(bytes32 key, uint256 assets) external onlyPortfolio onlyKnown(key) keepsHealth(key) {
        if (assets == 0) revert ZeroAmount();
        uint256 balanceBefore = _balance(asset, portfolio);
        house.borrow(assets, portfolio);
        _received(asset, balanceBefore, assets);
    }

    /// @notice Repays with what has just been pushed; what the debt does not take goes back.
    function repay(bytes32 key, uint256 assets) external onlyPortfolio onlyKnown(key) {
        if (assets == 0) revert ZeroAmount();
        uint256 paid = Math.min(assets, house.debtOf(address(this)));
        uint256 balanceBefore = _balance(asset, address(this));
        if (paid != 0) {
            _approve(asset, address(house), paid);
            house.repayFor(address(this), paid);
            _checkSpent(asset, address(house), balanceBefore, paid);
        }
        if (paid < assets) IERC20(asset).safeTransfer(portfolio, assets - paid);
    }

    function _health(bytes32) internal view override returns (uint256) {
        return house.healthOf(address(this));
    }
}
