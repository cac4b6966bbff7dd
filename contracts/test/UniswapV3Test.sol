// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {UniswapV3Connector} from "../src/connectors/UniswapV3Connector.sol";
import {ILiquidityPool, INonfungiblePositionManager} from "../src/interfaces/IUniswapV3Liquidity.sol";
import {IOracleRouter} from "../src/interfaces/IOracleRouter.sol";
import {Status} from "../src/interfaces/Types.sol";
import {LiquidityMath} from "../src/libraries/LiquidityMath.sol";
import {TickMath} from "../src/oracle/TickMath.sol";
import {Devnet} from "./Devnet.sol";
import {Token} from "./fixtures/Tokens.sol";

interface IPositionManagerFull is INonfungiblePositionManager {
    function createAndInitializePoolIfNecessary(address, address, uint24, uint160) external returns (address);
    function transferFrom(address from, address to, uint256 tokenId) external;
    function ownerOf(uint256 tokenId) external view returns (address);
    function balanceOf(address owner) external view returns (uint256);
}

interface ISwapRouter {
    struct ExactInputSingleParams {
        address tokenIn;
        address tokenOut;
        uint24 fee;
        address recipient;
        uint256 deadline;
        uint256 amountIn;
        uint256 amountOutMinimum;
        uint160 sqrtPriceLimitX96;
    }

    function exactInputSingle(ExactInputSingleParams calldata params) external returns (uint256 amountOut);
}

/// @dev Prices that a test sets as exact fractions of smallest units, so that a pool can stand exactly at them.
contract SetPrices is IOracleRouter {
    error NoRoute(address base);

    struct Answer {
        uint256 lowNumerator;
        uint256 lowDenominator;
        uint256 highNumerator;
        uint256 highDenominator;
        Status status;
    }

    mapping(address base => Answer) private answers;

    function set(address base, Answer memory answer) external {
        answers[base] = answer;
    }

    function setStatus(address base, Status status) external {
        answers[base].status = status;
    }

    function value(address base, address, uint256 amount) external view returns (uint256, uint256, Status) {
        Answer memory a = answers[base];
        if (a.lowDenominator == 0) revert NoRoute(base);
        if (a.status == Status.UNAVAILABLE) return (0, type(uint256).max, a.status);
        return (
            Math.mulDiv(amount, a.lowNumerator, a.lowDenominator),
            Math.mulDiv(amount, a.highNumerator, a.highDenominator, Math.Rounding.Ceil),
            a.status
        );
    }

    function stipend(address, address) external pure returns (uint256) {
        return 20_000;
    }

    function searchGas(address, address) external pure returns (uint256) {
        return 0;
    }

    function valueGas(address base, address) external view returns (uint256) {
        Answer memory a = answers[base];
        if (a.lowDenominator == 0 || a.status == Status.UNAVAILABLE) revert NoRoute(base);
        return 20_000;
    }
}

/// @title Uniswap v3 liquidity on the local chain's factory, position manager and swap router
/// @notice This test is the connector's portfolio, vault and registry.
abstract contract UniswapV3Test is Devnet {
    uint256 internal constant EVERYTHING = type(uint256).max;
    uint128 internal constant ALL = type(uint128).max;
    uint24 internal constant FEE = 3000;
    int24 internal constant SPACING = 60;
    int24 internal constant MAX_TICK = 887_220;
    uint256 internal constant TOLERANCE_BPS = 100;

    uint256 internal maxPositions = 3;
    IPositionManagerFull internal positionManager;
    ISwapRouter internal swapRouter;
    UniswapV3Connector internal connector;
    SetPrices internal prices;
    ILiquidityPool internal pool;
    bytes32 internal key;
    address internal token0;
    address internal token1;
    address public asset;
    address internal router;
    address internal stranger = makeAddr("stranger");

    // THE VAULT'S SIDE

    /// @dev More than a portfolio gives, so that positions may have three NFTs.
    uint256 public REPORT_GAS = 400_000;

    function vault() external view returns (address) {
        return address(this);
    }

    function registry() external view returns (address) {
        return address(this);
    }

    function oracle(address) external view returns (address) {
        return router;
    }

    function setUp() public virtual {
        _load();
        positionManager = IPositionManagerFull(_address(".uniswap.position_manager"));
        swapRouter = ISwapRouter(_address(".uniswap.swap_router"));
        prices = new SetPrices();
        router = address(prices);
    }

    // STEPS

    /// @dev A new pool of new tokens at `root` with a connector of its own, priced where the pool stands, and
    /// liquidity of somebody else over all prices.
    function _open(uint8 decimals0, uint8 decimals1, bool assetIs0, uint256 root) internal {
        (token0, token1) = _tokens(decimals0, decimals1);
        asset = assetIs0 ? token0 : token1;
        _create(root);
    }

    function _create(uint256 root) internal {
        pool = ILiquidityPool(
            positionManager.createAndInitializePoolIfNecessary(token0, token1, FEE, uint160(root))
        );
        key = _keyOf(address(pool));
        _priceAt(root, root);
        connector = _connect(key);
        _mintElsewhere(-MAX_TICK, MAX_TICK, 1e18);
    }

    /// @dev As `_open`, for decimals 6, 8, 18 or 27 and any price of whole tokens from 10^-4 to 10^4, among others'
    /// liquidity of some million whole tokens.
    /// @return unit liquidity of about one whole token
    function _openAny(uint256 seed) internal returns (uint128 unit) {
        uint8[4] memory decimals = [6, 8, 18, 27];
        uint8 decimals0 = decimals[_any(seed, "decimals0", 0, 3)];
        uint8 decimals1 = decimals[_any(seed, "decimals1", 0, 3)];
        uint256 price = _any(seed, "price", 1e14, 1e18);
        if (_any(seed, "dear", 0, 1) == 1) price = 1e36 / price;
        bool assetIs0 = _any(seed, "asset", 0, 1) == 0;
        unit = uint128(Math.sqrt(10 ** (uint256(decimals0) + decimals1)));
        _open(
            decimals0,
            decimals1,
            assetIs0,
            LiquidityMath.rootOf(price * 10 ** decimals1, 10 ** (18 + decimals0))
        );
        _mintElsewhere(-MAX_TICK, MAX_TICK, unit * 1e6);
    }

    function _any(uint256 seed, string memory what, uint256 least, uint256 most)
        internal
        pure
        returns (uint256)
    {
        return least + uint256(keccak256(abi.encode(seed, what))) % (most - least + 1);
    }

    /// @dev Three NFTs: on one side of the pool's price, around it, and over all prices.
    function _enterAnywhere(uint256 seed, uint128 unit) internal {
        bool under = _any(seed, "under", 0, 1) == 0;
        _enter(
            _tick(under ? int24(-90) : int24(1)),
            _tick(under ? int24(-1) : int24(70)),
            _anyLiquidity(seed, "side", unit)
        );
        int24 from = -int24(int256(_any(seed, "width", 0, 40)));
        _enter(_tick(from), _tick(1), _anyLiquidity(seed, "around", unit));
        _enter(-MAX_TICK, MAX_TICK, _anyLiquidity(seed, "all", unit));
    }

    function _anyLiquidity(uint256 seed, string memory what, uint128 unit) internal pure returns (uint128) {
        return uint128(_any(seed, what, unit / 10, uint256(unit) * 1e4));
    }

    /// @dev Holds what the liquidity takes, with a margin, and mints it.
    function _enter(int24 lower, int24 upper, uint128 liquidity) internal returns (uint256 tokenId) {
        (uint256 from, uint256 to) = (TickMath.sqrtPriceX96(lower), TickMath.sqrtPriceX96(upper));
        uint256 root = _spot();
        (uint256 amount0, uint256 amount1) =
            LiquidityMath.amounts(root, from, to, liquidity, Math.Rounding.Ceil);
        if (amount0 != 0) _hold(token0, amount0 + 1 + amount0 / 1e6);
        if (amount1 != 0) _hold(token1, amount1 + 1 + amount1 / 1e6);
        return
            connector.mint(key, lower, upper, EVERYTHING, EVERYTHING, root < to ? 1 : 0, root > from ? 1 : 0);
    }

    /// @dev Swaps back and forth, up to a tenth each way, that end anywhere.
    function _trade(uint256 seed) internal {
        uint256 root = _spot();
        _swapTo(root * 105 / 100);
        _swapTo(root * 95 / 100);
        _swapTo(_any(seed, "spot", root * 95 / 100, root * 105 / 100));
    }

    function _connect(bytes32 key_) internal returns (UniswapV3Connector) {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = key_;
        return _connect(keys);
    }

    function _connect(bytes32[] memory keys) internal returns (UniswapV3Connector) {
        return
            new UniswapV3Connector(
                address(this), positionManager, keys, _tiers(), TOLERANCE_BPS, maxPositions
            );
    }

    function _tiers() internal pure returns (uint24[] memory tiers) {
        tiers = new uint24[](2);
        (tiers[0], tiers[1]) = (FEE, 500);
    }

    function _tokens(uint8 decimals0, uint8 decimals1) private returns (address, address) {
        Token one = new Token("ONE", decimals0);
        // Until it sorts after the first: both orders of decimals are then up to the caller.
        Token other = new Token("TWO", decimals1);
        while (address(other) < address(one)) other = new Token("TWO", decimals1);
        return (address(one), address(other));
    }

    /// @dev Liquidity of a stranger, through the same position manager and so in the same entry of the pool.
    function _mintElsewhere(int24 lower, int24 upper, uint128 liquidity) internal returns (uint256 tokenId) {
        (uint256 amount0, uint256 amount1) = LiquidityMath.amounts(
            _spot(), TickMath.sqrtPriceX96(lower), TickMath.sqrtPriceX96(upper), liquidity, Math.Rounding.Ceil
        );
        // The position manager goes from amounts to liquidity and loses some to rounding.
        (amount0, amount1) = (amount0 + 1 + amount0 / 1e6, amount1 + 1 + amount1 / 1e6);
        _fund(stranger, token0, amount0, address(positionManager));
        _fund(stranger, token1, amount1, address(positionManager));
        INonfungiblePositionManager.MintParams memory params;
        (params.token0, params.token1, params.fee) = (token0, token1, pool.fee());
        (params.tickLower, params.tickUpper) = (lower, upper);
        (params.amount0Desired, params.amount1Desired) = (amount0, amount1);
        (params.recipient, params.deadline) = (stranger, block.timestamp);
        vm.prank(stranger);
        (tokenId,,,) = positionManager.mint(params);
    }

    function _fund(address account, address token, uint256 amount, address spender) internal {
        deal(token, account, _balance(token, account) + amount);
        vm.prank(account);
        IERC20(token).approve(spender, type(uint256).max);
    }

    /// @dev A real swap that ends exactly at `target`.
    function _swapTo(uint256 target) internal {
        uint256 root = _spot();
        if (target == root) return;
        _swap(target < root ? token0 : token1, type(uint128).max >> 8, target);
        assertEq(_spot(), target, "the swap did not get there");
    }

    function _swap(address tokenIn, uint256 amount, uint256 limit) internal {
        _fund(stranger, tokenIn, amount, address(swapRouter));
        ISwapRouter.ExactInputSingleParams memory params;
        (params.tokenIn, params.tokenOut) = (tokenIn, tokenIn == token0 ? token1 : token0);
        (params.fee, params.recipient, params.deadline) = (pool.fee(), stranger, block.timestamp);
        (params.amountIn, params.sqrtPriceLimitX96) = (amount, uint160(limit));
        vm.prank(stranger);
        swapRouter.exactInputSingle(params);
    }

    function _hold(address token, uint256 amount) internal {
        deal(token, address(this), amount);
        assertTrue(IERC20(token).transfer(address(connector), amount));
        connector.hold(key, token, amount);
    }

    /// @dev The oracle's range is then that of the pool's roots `low` to `high`: the asset is the measure.
    function _priceAt(uint256 low, uint256 high) internal {
        SetPrices.Answer memory answer;
        address token;
        (uint256 lowNumerator, uint256 lowDenominator) = _price(low);
        (uint256 highNumerator, uint256 highDenominator) = _price(high);
        if (asset == token1) {
            token = token0;
            (answer.lowNumerator, answer.lowDenominator) = (lowNumerator, lowDenominator);
            (answer.highNumerator, answer.highDenominator) = (highNumerator, highDenominator);
        } else {
            token = token1;
            (answer.lowNumerator, answer.lowDenominator) = (highDenominator, highNumerator);
            (answer.highNumerator, answer.highDenominator) = (lowDenominator, lowNumerator);
        }
        prices.set(token, answer);
    }

    /// @dev One price, as a fraction of smallest units. Without a denominator there is no route.
    function _setPrice(address token, uint256 numerator, uint256 denominator) internal {
        prices.set(token, SetPrices.Answer(numerator, denominator, numerator, denominator, Status.OK));
    }

    function _spot() internal view returns (uint256 root) {
        (root,,,,,,) = pool.slot0();
    }

    function _report() internal view returns (uint256 low, uint256 high) {
        uint256 state;
        (low, high, state) = connector.report(key);
        assertEq(state, uint256(Status.OK));
    }

    function _low() internal view returns (uint256 low) {
        (low,) = _report();
    }

    /// @dev Of `amount` in the asset at the price of `root`, with the fraction.
    function _worth(address token, uint256 amount, uint256 root) internal view returns (uint256) {
        if (token == asset) return amount;
        (uint256 numerator, uint256 denominator) = _price(root);
        return token == token0
            ? Math.mulDiv(amount, numerator, denominator)
            : Math.mulDiv(amount, denominator, numerator);
    }

    /// @dev The square of a root, as a fraction whose parts fit a word.
    function _price(uint256 root) internal pure returns (uint256 numerator, uint256 denominator) {
        if (root < 1 << 128) return (root * root, 1 << 192);
        return (Math.mulDiv(root, root, 1 << 64), 1 << 128);
    }

    /// @dev One unit of each token and of the asset, at the price of `root`: what one rounding may cost.
    function _units(uint256 root) internal view returns (uint256) {
        return 2 + _worth(token0, 1, root) + _worth(token1, 1, root);
    }

    /// @dev Leaves altogether, other token included. What both are worth at the price of `root`.
    function _exit(uint256 root) internal returns (uint256 worth) {
        uint256 before0 = _balance(token0, address(this));
        uint256 before1 = _balance(token1, address(this));
        connector.withdraw(key, EVERYTHING);
        (uint256 held0, uint256 held1,) = connector.holdings(key);
        if (held0 != 0) connector.release(key, token0, EVERYTHING);
        if (held1 != 0) connector.release(key, token1, EVERYTHING);
        worth = _worth(token0, _balance(token0, address(this)) - before0, root)
            + _worth(token1, _balance(token1, address(this)) - before1, root);
    }

    /// @dev The multiple of the spacing at or below the pool's tick, `away` spacings off.
    function _tick(int24 away) internal view returns (int24 tick) {
        (, tick,,,,,) = pool.slot0();
        int24 compressed = tick / SPACING;
        if (tick < 0 && tick % SPACING != 0) compressed--;
        tick = (compressed + away) * SPACING;
        if (tick > MAX_TICK) tick = MAX_TICK;
        if (tick < -MAX_TICK) tick = -MAX_TICK;
    }
}

/// @dev In a pool of an 18-decimal token0 and the asset with 6.
abstract contract UniswapV3PoolTest is UniswapV3Test {
    uint128 internal constant LIQUIDITY = 1e15;

    function setUp() public virtual override {
        super.setUp();
        _open(18, 6, false, LiquidityMath.rootOf(3000e6, 1e18));
        _mintElsewhere(-MAX_TICK, MAX_TICK, 1e18);
    }

    function _enter() internal returns (uint256 tokenId) {
        return _enter(_tick(-50), _tick(50), LIQUIDITY);
    }
}
