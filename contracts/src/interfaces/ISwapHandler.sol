// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Permission, Status} from "./Types.sol";

/// @dev A token that may pass through the handler. `restricted`: it may be sold, and passed through on the way
/// to another, but not be what the vault ends up with. `maxSlippageBps` is what a swap of it may lose against the
/// oracle; of the two tokens of a swap the greater counts.
struct TokenRule {
    address token;
    bool restricted;
    uint256 maxSlippageBps;
}

/// @dev What the guardian lets go without a sound price: up to `amount` of one token for at least `minOut` of
/// another, or a part of it at no worse a rate.
struct Consent {
    address guardian;
    uint64 until;
    uint256 amount;
    uint256 minOut;
}

/// @title The only way in which a vault's tokens are swapped
/// @notice One per vault. Its portfolio pushes exactly `amountIn` of the token to be sold, then calls; what comes
/// out and what is left over goes to the portfolio within the same call. A swap counts by what has arrived: at
/// least the signed minimum, and worth, at the oracle's low end, at least what was spent less the slippage that
/// governance allows. No input, output or allowance stays behind, and native value is never touched. What a chain
/// of LiFi steps leaves of a token in between comes here, uncounted, until it is collected.
interface ISwapHandler {
    event Swapped(address indexed tokenIn, address indexed tokenOut, uint256 spent, uint256 received);
    event TokenListed(address indexed token, uint256 maxSlippageBps);
    event TokenRestricted(address indexed token);
    event TokenUnlisted(address indexed token);
    event PoolSet(address indexed pool, bool allowed);
    event TargetSet(address indexed callTo, bytes4 indexed selector, address approveTo, bool allowed);
    event FacetPinned(bytes4 indexed selector, bytes32 codeHash);
    event Consented(
        address indexed guardian,
        address indexed tokenIn,
        address indexed tokenOut,
        uint256 amount,
        uint256 minOut,
        uint256 until
    );

    error NotPortfolio(address caller);
    error NotGuardian(address caller);
    error InvalidToken(address token);
    error InvalidPool(address pool);
    error InvalidTarget(address target);
    error InvalidDiamond(address diamond);
    error InvalidSlippage(uint256 bps, uint256 limit);
    error TokenNotAllowed(address token);
    error TokenIsRestricted(address token);
    error PoolNotAllowed(address tokenIn, address tokenOut, uint24 fee);
    error SelectorNotAllowed(bytes4 selector);
    error NativeSwapRefused(bytes4 selector);
    error TargetNotAllowed(address callTo, bytes4 selector);
    error SpenderNotAllowed(address callTo, address approveTo);
    error FacetChanged(bytes4 selector, bytes32 pinned, bytes32 seen);
    error HandlerIsExitOnly();
    error ZeroAmount();
    error ZeroMinimum();
    error SameToken(address token);
    error InvalidPath(uint256 length);
    error InputMissing(address token, uint256 available, uint256 wanted);
    error InputOverspent(address token, uint256 limit, uint256 spent);
    error BelowMinimum(uint256 minimum, uint256 received);
    error BelowOracleBound(uint256 floor, uint256 worth);
    error PriceDegraded(address tokenIn, address tokenOut, Status status);
    error ConsentExceeded(uint256 amount, uint256 minOut);
    error CalldataTooLong(uint256 length, uint256 limit);
    error NotCanonical();
    error WrongReceiver(address expected, address seen);
    error WrongMinimum(uint256 expected, uint256 seen);
    error NameTooLong(uint256 length, uint256 limit);
    error NoSwap();
    error TooManySwaps(uint256 length, uint256 limit);
    error WrongToken(uint256 step, address expected, address seen);
    error WrongAmount(uint256 step, uint256 expected, uint256 seen);
    error WrongDeposit(uint256 step);

    // SWAPS (portfolio only)

    /// @notice Swaps on Uniswap v3. `path` is token, fee (3 bytes), token, … as the router reads it: one hop or
    /// several, each through an allowed pool.
    /// @param amountIn what was pushed; `type(uint256).max`: all of it that lies here, gifts included, for amounts
    /// that nobody knew when the batch was signed
    /// @param minOut least amount the portfolio must receive, not 0
    /// @return received what the portfolio has received, by measured balance
    function swapUniswap(bytes calldata path, uint256 amountIn, uint256 minOut)
        external
        returns (uint256 received);

    /// @notice Swaps through the LiFi diamond. `data` is the quote's calldata, unchanged: every argument outside
    /// the steps' own calldata must be what this call says, with this handler as the receiver.
    /// @return received what the portfolio has received, by measured balance
    function swapLiFi(
        address tokenIn,
        address tokenOut,
        uint256 amountIn,
        uint256 minOut,
        bytes calldata data
    ) external returns (uint256 received);

    /// @notice Sends what lies loose here of a token (gifts, what was left between two steps) to the portfolio.
    function collect(address token) external returns (uint256 received);

    // WHAT WAITS (governor; through the registry's timelock once the vault is sealed). Also what only takes away:
    // an exit may need it, and who has stolen a role would close the ways out first.

    /// @notice Lists a token, or changes its slippage, and lifts a restriction. The oracle must know the token.
    function listToken(address token, uint256 maxSlippageBps) external;

    function unlistToken(address token) external;

    function allowPool(address pool) external;
    function disallowPool(address pool) external;

    /// @notice Lets a LiFi step call `selector` on `callTo`, with `approveTo` as the spender of whatever steps that
    /// call it sell.
    function allowTarget(address callTo, bytes4 selector, address approveTo) external;
    function disallowTarget(address callTo, bytes4 selector) external;

    /// @notice Lets swaps use a selector of the diamond while its facet's code has this hash; not at all with 0.
    function pinFacet(bytes4 selector, bytes32 codeHash) external;

    // AT ONCE

    /// @notice From now on the token may be sold, not bought. Guardian or governor; not for the vault's asset.
    function restrictToken(address token) external;

    /// @notice While a price is degraded or unavailable, lets the keeper sell up to `amount` of `tokenIn` for at
    /// least `minOut` of `tokenOut` (parts at no worse a rate) where the oracle's bound would refuse or is missing.
    /// Stands for a day, replaces what was consented to before; `amount` 0 withdraws it. Guardian only.
    function consent(address tokenIn, address tokenOut, uint256 amount, uint256 minOut) external;

    // VIEWS

    function portfolio() external view returns (address);
    function swapRouter() external view returns (address);
    function diamond() external view returns (address);
    function tokens() external view returns (TokenRule[] memory);
    function pools() external view returns (address[] memory);
    function targets() external view returns (Permission[] memory);

    /// @notice What a LiFi step that calls `callTo` must approve.
    function spenderOf(address callTo) external view returns (address);

    /// @notice Code hash of the facet that a selector is pinned to; 0 when it may not be used.
    function facetHash(bytes4 selector) external view returns (bytes32);

    function consentOf(address tokenIn, address tokenOut) external view returns (Consent memory);
}
