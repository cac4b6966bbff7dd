// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IOracleRouter} from "../interfaces/IOracleRouter.sol";
import {
    ILiquidityPool,
    ILiquidityPoolFactory,
    INonfungiblePositionManager
} from "../interfaces/IUniswapV3Liquidity.sol";
import {Status} from "../interfaces/Types.sol";
import {LiquidityMath} from "../libraries/LiquidityMath.sol";
import {PriceMath} from "../oracle/PriceMath.sol";
import {TickMath} from "../oracle/TickMath.sol";
import {Connector} from "./Connector.sol";

/// @title What a vault has in Uniswap v3 pools, and what it is worth
/// @notice The pool's own price counts for nothing but the accounting of fees. Liquidity is worth x·p0 + y·p1 with
/// the amounts x, y that it holds where the pool's price equals the oracle's p0/p1. That grows with p0 and with
/// p1, so the lowest prices give the floor and the highest the ceiling. It is also the least that the same
/// liquidity is worth at these prices wherever the pool stands: taking liquidity out never loses against the
/// report, however the pool was moved.
abstract contract UniswapV3Holdings is Connector {
    using SafeCast for uint256;

    uint256 public constant MAX_TOLERANCE_BPS = 1_000;

    /// @dev What a report costs when nothing has been read before: once, for every NFT, and at least for a price and
    /// for another one, which shares feeds with the first.
    uint256 private constant REPORT_GAS = 45_000;
    uint256 private constant NFT_GAS = 46_000;
    uint256 private constant PRICE_GAS = 75_000;
    uint256 private constant SECOND_PRICE_GAS = 60_000;

    uint256 private constant BPS = 10_000;
    uint256 private constant Q96 = LiquidityMath.Q96;

    /// @dev Amount by which prices are asked for, so that they keep their digits.
    uint256 private constant PRICED = 1 << 144;

    uint128 internal constant ALL = type(uint128).max;

    /// @dev `held` are tokens that lie here. They are set aside before a call to the protocol and what it left is
    /// put back after it, so that no token counts twice while the protocol has the word.
    struct Holding {
        address token0;
        uint24 fee;
        address token1;
        uint128 held0;
        uint128 held1;
        uint64[] tokenIds;
    }

    /// @dev Worth of `PRICED` units of either token in the vault's asset.
    struct Prices {
        uint256 low0;
        uint256 high0;
        uint256 low1;
        uint256 high1;
        uint256 status;
    }

    struct Liquidity {
        uint256 lower;
        uint256 upper;
        uint128 amount;
    }

    /// @dev All there is of a position: liquidity, and of the tokens what is held and owed.
    struct Inventory {
        Liquidity[] liquidity;
        uint256 tokens0;
        uint256 tokens1;
    }

    event PositionMinted(bytes32 indexed key, uint256 indexed tokenId);
    event PositionBurned(bytes32 indexed key, uint256 indexed tokenId);

    error InvalidTolerance(uint256 bps);
    error InvalidMaxPositions(uint256 count);
    error FeeTierNotListed(bytes32 key, uint24 fee);
    error Unpriceable(address token);
    error TokenNotInPool(bytes32 key, address token);
    error UnknownTokenId(uint256 tokenId);
    error TooManyPositions(bytes32 key);
    error NotPushed(address token, uint256 amount, uint256 loose);
    error InsufficientHeld(bytes32 key, address token, uint256 held, uint256 amount);
    error InsufficientLiquidity(uint256 tokenId, uint256 liquidity, uint256 asked);
    error ZeroMinimum(address token);
    error NotEmpty(uint256 tokenId);
    error UnusablePrice(Status status);
    error SpotAwayFromOracle(uint256 root, uint256 lowest, uint256 highest);

    INonfungiblePositionManager public immutable positionManager;

    /// @notice How far outside the oracle's range a pool's price may be for liquidity to be added.
    uint256 public immutable toleranceBps;

    /// @notice NFTs that may be in one pool at a time. To be chosen by what the oracle costs: with too many a report
    /// would run out of gas, and the position count as impaired.
    uint256 public immutable maxPositions;

    /// @dev Roots of 1 - tolerance and 1 + tolerance, as Q96.
    uint256 private immutable _lowestFactor;
    uint256 private immutable _highestFactor;

    mapping(bytes32 key => Holding) internal _holdings;

    /// @notice The pool of an NFT that this connector minted and has not burned.
    mapping(uint256 tokenId => bytes32) public keyOf;

    /// @notice Of a token, what is held for all pools together. What lies here above it belongs to none.
    mapping(address token => uint256) public heldOf;

    /// @param keys pools that may be entered; the position manager's own, with tokens that the vault's oracle prices
    /// @param feeTiers fees they may have, in hundredths of a basis point
    /// @param toleranceBps_ see `toleranceBps`; at most 1000
    /// @param maxPositions_ see `maxPositions`; at least 1
    constructor(
        address portfolio_,
        INonfungiblePositionManager positionManager_,
        bytes32[] memory keys,
        uint24[] memory feeTiers,
        uint256 toleranceBps_,
        uint256 maxPositions_
    ) Connector(portfolio_) {
        if (toleranceBps_ > MAX_TOLERANCE_BPS) revert InvalidTolerance(toleranceBps_);
        if (maxPositions_ == 0) revert InvalidMaxPositions(maxPositions_);
        positionManager = positionManager_;
        maxPositions = maxPositions_;
        toleranceBps = toleranceBps_;
        _lowestFactor = Math.sqrt(((BPS - toleranceBps_) << 192) / BPS);
        _highestFactor = Math.sqrt(((BPS + toleranceBps_) << 192) / BPS);
        ILiquidityPoolFactory factory = ILiquidityPoolFactory(positionManager_.factory());
        uint256 dearer = PRICE_GAS;
        uint256 cheaper;
        for (uint256 i = 0; i < keys.length; i++) {
            Holding storage holding = _list(keys[i], factory, feeTiers);
            (address token0, address token1) = (holding.token0, holding.token1);
            uint256 gas0 = _priceGas(token0, SECOND_PRICE_GAS);
            // From here on all that this price rests on is read, as it is in a report.
            _checkPriceable(token0);
            uint256 gas1 = _priceGas(token1, SECOND_PRICE_GAS);
            _checkPriceable(token1);
            // A later key finds read what the first did not: the first counts for it, too.
            dearer = Math.max(dearer, Math.max(gas0, gas1));
            cheaper = Math.max(cheaper, Math.min(gas0, gas1));
        }
        _checkReportGas(REPORT_GAS + NFT_GAS * maxPositions_ + dearer + cheaper);
    }

    // VALUE

    /// @inheritdoc IConnector
    function report(bytes32 key) external view override returns (uint256 low, uint256 high, uint256 state) {
        Holding storage holding = _holding(key);
        Inventory memory inventory = _inventory(key, holding);
        bool minted = inventory.liquidity.length != 0;
        Prices memory prices =
            _prices(holding, minted || inventory.tokens0 != 0, minted || inventory.tokens1 != 0);
        if (prices.status == uint256(Status.UNAVAILABLE)) return (0, type(uint256).max, prices.status);
        low = _worthAt(inventory, prices.low0, prices.low1, Math.Rounding.Floor);
        high = _worthAt(inventory, prices.high0, prices.high1, Math.Rounding.Ceil);
        state = prices.status;
    }

    /// @notice What is held for a pool, and the NFTs minted there.
    function holdings(bytes32 key)
        external
        view
        returns (uint256 held0, uint256 held1, uint64[] memory tokenIds)
    {
        Holding storage holding = _holding(key);
        return (holding.held0, holding.held1, holding.tokenIds);
    }

    // LISTING

    function _list(bytes32 key, ILiquidityPoolFactory factory, uint24[] memory feeTiers)
        private
        returns (Holding storage holding)
    {
        ILiquidityPool pool = ILiquidityPool(_addressOf(key));
        if (address(pool).code.length == 0) revert InvalidKey(key);
        holding = _holdings[key];
        if (holding.token0 != address(0)) revert DuplicateKey(key);
        (address token0, address token1, uint24 fee) = (pool.token0(), pool.token1(), pool.fee());
        if (factory.getPool(token0, token1, fee) != address(pool)) revert InvalidKey(key);
        uint256 i;
        while (i < feeTiers.length && feeTiers[i] != fee) ++i;
        if (i == feeTiers.length) revert FeeTierNotListed(key, fee);
        // What lies loose of them belongs to no position; see `_loose`.
        _allowCollecting(token0);
        _allowCollecting(token1);
        (holding.token0, holding.token1, holding.fee) = (token0, token1, fee);
    }

    /// @dev There must be a route. What it says today does not matter.
    function _checkPriceable(address token) private view {
        if (token == asset) return;
        (bool success, bytes memory data) =
            registry.oracle(vault).staticcall(abi.encodeCall(IOracleRouter.value, (token, asset, 1)));
        if (!success || data.length != 96) revert Unpriceable(token);
    }

    // PRICES

    function _prices(Holding storage holding, bool of0, bool of1)
        private
        view
        returns (Prices memory prices)
    {
        uint256 status0;
        uint256 status1;
        if (of0) (prices.low0, prices.high0, status0) = _worth(holding.token0, PRICED);
        if (of1) (prices.low1, prices.high1, status1) = _worth(holding.token1, PRICED);
        prices.status = Math.max(status0, status1);
    }

    function _worthAt(Inventory memory inventory, uint256 price0, uint256 price1, Math.Rounding rounding)
        private
        pure
        returns (uint256)
    {
        (uint256 amount0, uint256 amount1) = (inventory.tokens0, inventory.tokens1);
        if (inventory.liquidity.length != 0) {
            uint256 root = LiquidityMath.rootOf(price0, price1);
            for (uint256 i = 0; i < inventory.liquidity.length; i++) {
                Liquidity memory each = inventory.liquidity[i];
                if (each.amount == 0) continue;
                (uint256 in0, uint256 in1) =
                    LiquidityMath.amounts(root, each.lower, each.upper, each.amount, rounding);
                amount0 += in0;
                amount1 += in1;
            }
        }
        if (rounding == Math.Rounding.Ceil) {
            return
                _plus(
                    PriceMath.mulDivUp(amount0, price0, PRICED), PriceMath.mulDivUp(amount1, price1, PRICED)
                );
        }
        return
            _plus(
                PriceMath.mulDivDown(amount0, price0, PRICED), PriceMath.mulDivDown(amount1, price1, PRICED)
            );
    }

    // WHAT THERE IS

    function _inventory(bytes32 key, Holding storage holding)
        private
        view
        returns (Inventory memory inventory)
    {
        uint64[] memory tokenIds = holding.tokenIds;
        inventory.liquidity = new Liquidity[](tokenIds.length);
        (inventory.tokens0, inventory.tokens1) = (holding.held0, holding.held1);
        if (tokenIds.length == 0) return inventory;
        ILiquidityPool pool = ILiquidityPool(_addressOf(key));
        (, int24 tick,,,,,) = pool.slot0();
        (uint256 growth0, uint256 growth1) = (pool.feeGrowthGlobal0X128(), pool.feeGrowthGlobal1X128());
        for (uint256 i = 0; i < tokenIds.length; i++) {
            INonfungiblePositionManager.Minted memory minted = positionManager.positions(tokenIds[i]);
            if (minted.liquidity != 0) {
                inventory.liquidity[i] = Liquidity(
                    TickMath.sqrtPriceX96(minted.tickLower),
                    TickMath.sqrtPriceX96(minted.tickUpper),
                    minted.liquidity
                );
                _accrue(minted, pool, tick, growth0, growth1);
            }
            inventory.tokens0 += minted.tokensOwed0;
            inventory.tokens1 += minted.tokensOwed1;
        }
    }

    /// @dev Adds the fees since the NFT was last touched to what it is owed, as touching it would.
    function _accrue(
        INonfungiblePositionManager.Minted memory minted,
        ILiquidityPool pool,
        int24 tick,
        uint256 growth0,
        uint256 growth1
    ) private view {
        (,, uint256 lower0, uint256 lower1,,,,) = pool.ticks(minted.tickLower);
        (,, uint256 upper0, uint256 upper1,,,,) = pool.ticks(minted.tickUpper);
        growth0 =
            LiquidityMath.growthInside(tick, minted.tickLower, minted.tickUpper, growth0, lower0, upper0);
        growth1 =
            LiquidityMath.growthInside(tick, minted.tickLower, minted.tickUpper, growth1, lower1, upper1);
        minted.tokensOwed0 = LiquidityMath.owed(
            growth0, minted.feeGrowthInside0LastX128, minted.liquidity, minted.tokensOwed0
        );
        minted.tokensOwed1 = LiquidityMath.owed(
            growth1, minted.feeGrowthInside1LastX128, minted.liquidity, minted.tokensOwed1
        );
    }

    function _amountsAtSpot(bytes32 key, INonfungiblePositionManager.Minted memory minted, uint128 liquidity)
        internal
        view
        returns (uint256 amount0, uint256 amount1)
    {
        return LiquidityMath.amounts(
            _spot(key),
            TickMath.sqrtPriceX96(minted.tickLower),
            TickMath.sqrtPriceX96(minted.tickUpper),
            liquidity,
            Math.Rounding.Floor
        );
    }

    function _spot(bytes32 key) internal view returns (uint256 root) {
        (root,,,,,,) = ILiquidityPool(_addressOf(key)).slot0();
    }

    /// @dev Of pools' tokens, what is held for no pool.
    function _loose(address token) internal view override returns (uint256) {
        return _balance(token, address(this)) - heldOf[token];
    }

    function _held(Holding storage holding, address token) internal view returns (uint256) {
        if (token == holding.token0) return holding.held0;
        return token == holding.token1 ? holding.held1 : 0;
    }

    /// @dev Liquidity added at a price that somebody has moved is paid for with the wrong tokens, and they take the
    /// difference when they move it back.
    /// @return root what the pool is at: inside the oracle's range, or out of it by no more than the tolerance
    function _checkedSpot(bytes32 key, Holding storage holding) internal view returns (uint256 root) {
        Prices memory prices = _prices(holding, true, true);
        if (prices.status != uint256(Status.OK)) revert UnusablePrice(Status(prices.status));
        root = _spot(key);
        uint256 lowest = Math.mulDiv(LiquidityMath.rootOf(prices.low0, prices.high1), _lowestFactor, Q96);
        uint256 highest = Math.mulDiv(LiquidityMath.rootOf(prices.high0, prices.low1), _highestFactor, Q96);
        if (root < lowest || root > highest) revert SpotAwayFromOracle(root, lowest, highest);
    }

    // LEDGER

    function _add(Holding storage holding, address token, bool isToken0, uint256 amount) internal {
        if (isToken0) holding.held0 += amount.toUint128();
        else holding.held1 += amount.toUint128();
        heldOf[token] += amount;
    }

    // KEYS

    function _holding(bytes32 key) internal view returns (Holding storage holding) {
        holding = _holdings[key];
        if (holding.token0 == address(0)) revert UnknownKey(key);
    }

    function _keyOfMinted(uint256 tokenId) internal view returns (bytes32 key) {
        key = keyOf[tokenId];
        if (key == 0) revert UnknownTokenId(tokenId);
    }

    function _isToken0(bytes32 key, Holding storage holding, address token) internal view returns (bool) {
        if (token == holding.token0) return true;
        if (token != holding.token1) revert TokenNotInPool(key, token);
        return false;
    }
}
