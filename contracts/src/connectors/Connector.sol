// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IOracleRouter} from "../interfaces/IOracleRouter.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Status} from "../interfaces/Types.sol";

/// @dev What a connector asks of its portfolio once, when it is made.
interface IPortfolioOrigin {
    function vault() external view returns (address);
    function registry() external view returns (address);
    function asset() external view returns (address);
}

/// @title What every connector keeps to
/// @notice Only its portfolio acts on it. The keys it accepts are fixed when it is made. It approves exactly
/// what it supplies, sends to its portfolio alone, and believes balances rather than return values.
abstract contract Connector is IConnector {
    using SafeERC20 for IERC20;

    error NotPortfolio(address caller);
    error UnknownKey(bytes32 key);
    error DuplicateKey(bytes32 key);
    error InvalidKey(bytes32 key);
    error ZeroAmount();
    error EmptyPosition(bytes32 key);
    error SlippageExceeded(uint256 limit, uint256 seen);

    /// @notice Amount that asks `withdraw` for everything.
    uint256 internal constant EVERYTHING = type(uint256).max;

    address public immutable override portfolio;
    address public immutable vault;

    /// @notice The asset the vault accounts in.
    address public immutable asset;

    IRegistry public immutable registry;

    modifier onlyPortfolio() {
        if (msg.sender != portfolio) revert NotPortfolio(msg.sender);
        _;
    }

    constructor(address portfolio_) {
        portfolio = portfolio_;
        vault = IPortfolioOrigin(portfolio_).vault();
        asset = IPortfolioOrigin(portfolio_).asset();
        registry = IRegistry(IPortfolioOrigin(portfolio_).registry());
    }

    /// @dev The key of a position that an address names.
    function _keyOf(address named) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(named)));
    }

    function _addressOf(bytes32 key) internal pure returns (address named) {
        named = address(uint160(uint256(key)));
        if (_keyOf(named) != key || named == address(0)) revert InvalidKey(key);
    }

    /// @dev `amount` of `token` in the vault's asset. Nothing is worth nothing, whatever the market says.
    function _worth(address token, uint256 amount)
        internal
        view
        returns (uint256 low, uint256 high, uint256 status)
    {
        if (token == asset || amount == 0) return (amount, amount, uint256(Status.OK));
        Status verdict;
        (low, high, verdict) = IOracleRouter(registry.oracle(vault)).value(token, asset, amount);
        status = uint256(verdict);
    }

    function _balance(address token, address account) internal view returns (uint256) {
        return IERC20(token).balanceOf(account);
    }

    function _approve(address token, address spender, uint256 amount) internal {
        IERC20(token).forceApprove(spender, amount);
    }

    /// @dev The protocol must have taken exactly what it was given, and may take no more later.
    function _checkSpent(address token, address spender, uint256 balanceBefore, uint256 assets) internal {
        uint256 spent = balanceBefore - _balance(token, address(this));
        if (spent != assets) revert SlippageExceeded(assets, spent);
        if (IERC20(token).allowance(address(this), spender) != 0) _approve(token, spender, 0);
    }

    /// @dev What has reached the portfolio since `balanceBefore`, which must be at least `minimum`.
    function _received(address token, uint256 balanceBefore, uint256 minimum)
        internal
        view
        returns (uint256 received)
    {
        received = _balance(token, portfolio) - balanceBefore;
        if (received < minimum) revert SlippageExceeded(minimum, received);
    }
}
