// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IOracleRouter} from "../interfaces/IOracleRouter.sol";
import {Consent, ISwapHandler} from "../interfaces/ISwapHandler.sol";
import {Status} from "../interfaces/Types.sol";
import {IUniswapV3SwapRouter} from "./IUniswapV3.sol";
import {LiFiExecutor, Order} from "./LiFiExecutor.sol";
import {SwapPolicy} from "./SwapPolicy.sol";

/// @title Swaps of one vault
/// @dev Whatever a route does inside, three things hold: it is paid at most `amountIn` of one token, what has
/// come back is measured, and it must be enough both by signature and by oracle. Only the portfolio calls, and the
/// lock it holds meanwhile keeps it from calling twice.
contract SwapHandler is LiFiExecutor {
    using SafeERC20 for IERC20;
    using EnumerableSet for EnumerableSet.AddressSet;

    uint256 private constant EVERYTHING = type(uint256).max;
    uint256 public constant MAX_HOPS = 4;

    /// @dev Lengths in a Uniswap path: an address, a fee, and both.
    uint256 private constant ADDRESS = 20;
    uint256 private constant FEE = 3;
    uint256 private constant HOP = ADDRESS + FEE;

    /// @dev Balances of the handler when it was called, the pushed input excluded.
    struct Before {
        uint256 tokenIn;
        uint256 tokenOut;
    }

    modifier onlyPortfolio() {
        require(msg.sender == portfolio, NotPortfolio(msg.sender));
        _;
    }

    constructor(address portfolio_, address swapRouter_, address diamond_)
        SwapPolicy(portfolio_, swapRouter_, diamond_)
    {}

    // SWAPS

    /// @inheritdoc ISwapHandler
    function swapUniswap(bytes calldata path, uint256 amountIn, uint256 minOut)
        external
        override
        onlyPortfolio
        returns (uint256 received)
    {
        (address tokenIn, address tokenOut) = _checkPath(path);
        if (amountIn == EVERYTHING) amountIn = _balance(tokenIn, address(this));
        Order memory order = Order(tokenIn, tokenOut, amountIn, minOut);
        Before memory before = _open(order, swapRouter);
        IUniswapV3SwapRouter(swapRouter)
            .exactInput(
                IUniswapV3SwapRouter.ExactInputParams(path, address(this), block.timestamp, amountIn, minOut)
            );
        return _close(order, before, swapRouter);
    }

    /// @inheritdoc ISwapHandler
    function swapLiFi(
        address tokenIn,
        address tokenOut,
        uint256 amountIn,
        uint256 minOut,
        bytes calldata data
    ) external override onlyPortfolio returns (uint256 received) {
        Order memory order = Order(tokenIn, tokenOut, amountIn, minOut);
        _checkLiFi(order, data);
        Before memory before = _open(order, diamond);
        _callLiFi(data);
        return _close(order, before, diamond);
    }

    /// @inheritdoc ISwapHandler
    function collect(address token) external override onlyPortfolio returns (uint256 received) {
        uint256 amount = _balance(token, address(this));
        require(amount != 0, ZeroAmount());
        return _forward(token, amount);
    }

    // BEFORE AND AFTER

    /// @dev Checks what can be known before, and lets `spender` take the input.
    function _open(Order memory order, address spender) private returns (Before memory before) {
        require(order.amountIn != 0, ZeroAmount());
        require(order.minOut != 0, ZeroMinimum());
        require(order.tokenIn != order.tokenOut, SameToken(order.tokenIn));
        require(rules[order.tokenIn].listed, TokenNotAllowed(order.tokenIn));
        require(rules[order.tokenOut].listed, TokenNotAllowed(order.tokenOut));
        if (order.tokenOut != asset) {
            require(!rules[order.tokenOut].restricted, TokenIsRestricted(order.tokenOut));
            require(!registry.isExitOnly(vault, address(this)), HandlerIsExitOnly());
        }
        uint256 available = _balance(order.tokenIn, address(this));
        require(available >= order.amountIn, InputMissing(order.tokenIn, available, order.amountIn));
        before = Before(available - order.amountIn, _balance(order.tokenOut, address(this)));
        IERC20(order.tokenIn).forceApprove(spender, order.amountIn);
    }

    /// @dev Sends on what has come and what is left, and judges by what the portfolio then has.
    function _close(Order memory order, Before memory before, address spender)
        private
        returns (uint256 received)
    {
        IERC20 tokenIn = IERC20(order.tokenIn);
        if (tokenIn.allowance(address(this), spender) != 0) tokenIn.forceApprove(spender, 0);

        uint256 left = _balance(order.tokenIn, address(this));
        if (left < before.tokenIn) {
            revert InputOverspent(order.tokenIn, order.amountIn, order.amountIn + before.tokenIn - left);
        }
        left -= before.tokenIn;
        uint256 spent = order.amountIn;
        if (left != 0) spent -= Math.min(spent, _forward(order.tokenIn, left));

        uint256 balance = _balance(order.tokenOut, address(this));
        if (balance > before.tokenOut) received = _forward(order.tokenOut, balance - before.tokenOut);
        require(received >= order.minOut, BelowMinimum(order.minOut, received));
        _checkPrice(order, spent, received);
        emit Swapped(order.tokenIn, order.tokenOut, spent, received);
    }

    /// @dev What the portfolio has of it afterwards counts, in case the token keeps a part.
    function _forward(address token, uint256 amount) private returns (uint256 received) {
        uint256 balance = _balance(token, portfolio);
        IERC20(token).safeTransfer(portfolio, amount);
        return _balance(token, portfolio) - balance;
    }

    // PRICE

    /// @dev With sound prices, the low worth of what came in must reach that of what went out, less the allowed
    /// slippage. A degraded price (stale, diverged, …) leaves only the way into the vault's asset open, at the same
    /// bound. Without a price there is no bound, and the keeper's minimum alone would be the thief's. Where a
    /// degraded price stands in the way of an exit or of a debt's repayment, the guardian's consent takes the place
    /// of the bound.
    function _checkPrice(Order memory order, uint256 spent, uint256 received) private {
        (uint256 cost, Status status) = _worth(order.tokenIn, spent);
        (uint256 worth, Status statusOut) = _worth(order.tokenOut, received);
        if (statusOut > status) status = statusOut;
        bool bounded = status == Status.OK || (order.tokenOut == asset && status != Status.UNAVAILABLE);
        uint256 slippage = Math.max(rules[order.tokenIn].maxSlippageBps, rules[order.tokenOut].maxSlippageBps);
        uint256 floor = Math.mulDiv(cost, BPS - slippage, BPS, Math.Rounding.Ceil);
        if (bounded && worth >= floor) return;
        bool consented = status != Status.OK && _hasConsent(order);
        require(consented || bounded, PriceDegraded(order.tokenIn, order.tokenOut, status));
        require(consented, BelowOracleBound(floor, worth));
        _useConsent(order, spent, received);
    }

    /// @dev By the guardian of now: another's word ended with the role.
    function _hasConsent(Order memory order) private view returns (bool) {
        Consent storage given = consents[order.tokenIn][order.tokenOut];
        return
            given.amount != 0 && block.timestamp <= given.until && given.guardian == registry.guardian(vault);
    }

    function _useConsent(Order memory order, uint256 spent, uint256 received) private {
        Consent storage given = consents[order.tokenIn][order.tokenOut];
        (uint256 amount, uint256 minOut) = (given.amount, given.minOut);
        require(
            spent <= amount && received >= Math.mulDiv(minOut, spent, amount, Math.Rounding.Ceil),
            ConsentExceeded(amount, minOut)
        );
        given.amount = amount - spent;
        given.minOut = minOut - Math.mulDiv(minOut, spent, amount);
    }

    /// @dev `amount` of `token` in the vault's asset, at the low end.
    function _worth(address token, uint256 amount) private view returns (uint256 low, Status status) {
        if (token == asset) return (amount, Status.OK);
        (low,, status) = IOracleRouter(registry.oracle(vault)).value(token, asset, amount);
    }

    // PATHS

    function _checkPath(bytes calldata path) private view returns (address tokenIn, address tokenOut) {
        uint256 hops = path.length / HOP;
        require(
            hops != 0 && hops <= MAX_HOPS && path.length == hops * HOP + ADDRESS, InvalidPath(path.length)
        );
        tokenIn = address(bytes20(path[:ADDRESS]));
        tokenOut = tokenIn;
        for (uint256 i; i < hops; ++i) {
            bytes calldata hop = path[i * HOP:];
            address from = tokenOut;
            uint24 fee = uint24(bytes3(hop[ADDRESS:HOP]));
            tokenOut = address(bytes20(hop[HOP:HOP + ADDRESS]));
            require(rules[tokenOut].listed, TokenNotAllowed(tokenOut));
            require(allowedPools.contains(_pool(from, tokenOut, fee)), PoolNotAllowed(from, tokenOut, fee));
        }
    }

    function _balance(address token, address account) private view returns (uint256) {
        return IERC20(token).balanceOf(account);
    }
}
