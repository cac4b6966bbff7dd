// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {IGenericSwapFacetV3} from "../interfaces/ILiFiDiamond.sol";
import {IOracleRouter} from "../interfaces/IOracleRouter.sol";
import {IPortfolio} from "../interfaces/IPortfolio.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Consent, ISwapHandler, TokenRule} from "../interfaces/ISwapHandler.sol";
import {Permission} from "../interfaces/Types.sol";
import {PermissionLib} from "../libraries/PermissionLib.sol";
import {IUniswapV3Factory, IUniswapV3PoolKey, IUniswapV3SwapRouter} from "./IUniswapV3.sol";

/// @title What a vault's swaps may touch, and who may change that
/// @dev Every list is asked where it is used, and nowhere is there a second one: what is taken off it is off for
/// every swap.
abstract contract SwapPolicy is ISwapHandler {
    using EnumerableSet for EnumerableSet.AddressSet;
    using PermissionLib for PermissionLib.Permissions;

    struct Rule {
        bool listed;
        bool restricted;
        uint16 maxSlippageBps;
    }

    uint256 internal constant BPS = 10_000;

    /// @notice Most that governance may let one swap lose against the oracle.
    uint256 public constant MAX_SLIPPAGE_BPS = 300;

    /// @notice How long a guardian's consent stands.
    uint256 public constant CONSENT_PERIOD = 1 days;

    address public immutable override portfolio;
    address public immutable vault;
    address public immutable asset;
    IRegistry public immutable registry;
    address public immutable override swapRouter;
    address public immutable override diamond;

    IUniswapV3Factory private immutable FACTORY;
    address private immutable ESCROW;

    mapping(address token => Rule) internal rules;
    mapping(address tokenIn => mapping(address tokenOut => Consent)) internal consents;
    PermissionLib.Permissions internal calls;

    /// @inheritdoc ISwapHandler
    mapping(address callTo => address) public override spenderOf;
    /// @inheritdoc ISwapHandler
    mapping(bytes4 selector => bytes32) public override facetHash;

    EnumerableSet.AddressSet private listed;
    EnumerableSet.AddressSet internal allowedPools;

    modifier timelocked() {
        registry.authorise(vault, msg.sender, msg.data);
        _;
    }

    /// @param swapRouter_ Uniswap v3's SwapRouter, or 0 on a chain without it
    /// @param diamond_ the LiFi diamond, or 0 on a chain without it
    constructor(address portfolio_, address swapRouter_, address diamond_) {
        portfolio = portfolio_;
        vault = IPortfolio(portfolio_).vault();
        asset = address(IPortfolio(portfolio_).asset());
        registry = IPortfolio(portfolio_).registry();
        ESCROW = IPortfolio(portfolio_).escrow();
        swapRouter = swapRouter_;
        FACTORY = swapRouter_ == address(0)
            ? IUniswapV3Factory(address(0))
            : IUniswapV3Factory(IUniswapV3SwapRouter(swapRouter_).factory());
        require(diamond_ == address(0) || diamond_.code.length != 0, InvalidDiamond(diamond_));
        diamond = diamond_;
        _list(asset, 0);
    }

    // WHAT WAITS: IT MAY RAISE RISK, OR CLOSE A WAY OUT

    /// @inheritdoc ISwapHandler
    function listToken(address token, uint256 maxSlippageBps) external override timelocked {
        require(maxSlippageBps <= MAX_SLIPPAGE_BPS, InvalidSlippage(maxSlippageBps, MAX_SLIPPAGE_BPS));
        // A token that is also called would be told to approve or to pay.
        require(token.code.length != 0 && spenderOf[token] == address(0), InvalidToken(token));
        // Reverts when there is no route. Asked of one unit, for which any price will do.
        if (token != asset) IOracleRouter(registry.oracle(vault)).value(token, asset, 1);
        _list(token, maxSlippageBps);
    }

    /// @inheritdoc ISwapHandler
    function unlistToken(address token) external override timelocked {
        require(rules[token].listed, TokenNotAllowed(token));
        require(token != asset, InvalidToken(token));
        delete rules[token];
        listed.remove(token);
        emit TokenUnlisted(token);
    }

    /// @inheritdoc ISwapHandler
    function allowPool(address pool) external override timelocked {
        require(pool.code.length != 0, InvalidPool(pool));
        IUniswapV3PoolKey named = IUniswapV3PoolKey(pool);
        address known = _pool(named.token0(), named.token1(), named.fee());
        require(known == pool, InvalidPool(pool));
        allowedPools.add(pool);
        emit PoolSet(pool, true);
    }

    /// @inheritdoc ISwapHandler
    function disallowPool(address pool) external override timelocked {
        allowedPools.remove(pool);
        emit PoolSet(pool, false);
    }

    /// @inheritdoc ISwapHandler
    function allowTarget(address callTo, bytes4 selector, address approveTo) external override timelocked {
        _checkTarget(callTo);
        _checkTarget(approveTo);
        spenderOf[callTo] = approveTo;
        calls.set(callTo, selector, true);
        emit TargetSet(callTo, selector, approveTo, true);
    }

    /// @inheritdoc ISwapHandler
    function disallowTarget(address callTo, bytes4 selector) external override timelocked {
        calls.set(callTo, selector, false);
        emit TargetSet(callTo, selector, spenderOf[callTo], false);
    }

    /// @inheritdoc ISwapHandler
    function pinFacet(bytes4 selector, bytes32 codeHash) external override timelocked {
        require(
            selector == IGenericSwapFacetV3.swapTokensSingleV3ERC20ToERC20.selector
                || selector == IGenericSwapFacetV3.swapTokensMultipleV3ERC20ToERC20.selector,
            SelectorNotAllowed(selector)
        );
        facetHash[selector] = codeHash;
        emit FacetPinned(selector, codeHash);
    }

    // AT ONCE

    /// @inheritdoc ISwapHandler
    function restrictToken(address token) external override {
        require(
            msg.sender == registry.guardian(vault) || msg.sender == registry.governor(vault),
            NotGuardian(msg.sender)
        );
        require(rules[token].listed, TokenNotAllowed(token));
        // Whoever may not buy the asset cannot leave anything.
        require(token != asset, InvalidToken(token));
        rules[token].restricted = true;
        emit TokenRestricted(token);
    }

    /// @inheritdoc ISwapHandler
    function consent(address tokenIn, address tokenOut, uint256 amount, uint256 minOut) external override {
        require(msg.sender == registry.guardian(vault), NotGuardian(msg.sender));
        require(amount == 0 || minOut != 0, ZeroMinimum());
        uint64 until = uint64(block.timestamp + CONSENT_PERIOD);
        consents[tokenIn][tokenOut] = Consent(msg.sender, until, amount, minOut);
        emit Consented(msg.sender, tokenIn, tokenOut, amount, minOut, until);
    }

    // VIEWS

    /// @inheritdoc ISwapHandler
    function tokens() external view override returns (TokenRule[] memory all) {
        address[] memory addresses = listed.values();
        all = new TokenRule[](addresses.length);
        for (uint256 i; i < addresses.length; ++i) {
            Rule memory rule = rules[addresses[i]];
            all[i] = TokenRule(addresses[i], rule.restricted, rule.maxSlippageBps);
        }
    }

    /// @inheritdoc ISwapHandler
    function pools() external view override returns (address[] memory) {
        return allowedPools.values();
    }

    /// @inheritdoc ISwapHandler
    function targets() external view override returns (Permission[] memory) {
        return calls.values();
    }

    /// @inheritdoc ISwapHandler
    function consentOf(address tokenIn, address tokenOut) external view override returns (Consent memory) {
        return consents[tokenIn][tokenOut];
    }

    // INTERNAL

    /// @dev 0, which is never allowed, when there is none.
    function _pool(address tokenA, address tokenB, uint24 fee) internal view returns (address) {
        return address(FACTORY) == address(0) ? address(0) : FACTORY.getPool(tokenA, tokenB, fee);
    }

    function _list(address token, uint256 maxSlippageBps) private {
        // forge-lint: disable-next-line(unsafe-typecast) at most MAX_SLIPPAGE_BPS
        rules[token] = Rule(true, false, uint16(maxSlippageBps));
        listed.add(token);
        emit TokenListed(token, maxSlippageBps);
    }

    /// @dev Not what holds or rules the vault, not the diamond itself, not a token.
    function _checkTarget(address target) private view {
        require(
            target.code.length != 0 && target != vault && target != portfolio && target != ESCROW
                && target != address(registry) && target != address(this) && target != diamond
                && !rules[target].listed,
            InvalidTarget(target)
        );
    }
}
