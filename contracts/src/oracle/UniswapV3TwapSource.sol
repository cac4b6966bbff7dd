// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "./BoundedRead.sol";
import {PriceMath} from "./PriceMath.sol";
import {TickMath} from "./TickMath.sol";

/// @dev What is read of a pool (Uniswap v3 core).
interface IUniswapV3Pool {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function slot0() external view returns (uint160, int24, uint16, uint16, uint16, uint8, bool);
    function observations(uint256 index) external view returns (uint32, int56, uint160, bool);
    function observe(uint32[] calldata secondsAgos)
        external
        view
        returns (int56[] memory tickCumulatives, uint160[] memory secondsPerLiquidityCumulativeX128s);
}

/// @title Time-weighted average price of a Uniswap v3 pool
/// @notice All or nothing: a pool that cannot give the whole window, or whose liquidity was too little to make
/// the window costly to move, has no price. The window is never shortened.
contract UniswapV3TwapSource is IPriceSource {
    /// @dev What the pool remembers.
    /// @param covered whether it remembers the whole window
    /// @param mean mean tick over the window, rounded toward negative infinity
    /// @param liquidity harmonic mean of in-range liquidity over the window
    struct Memory {
        bool covered;
        int256 mean;
        uint256 liquidity;
    }

    /// @dev What the pool said to one question, and whether it did.
    struct Answer {
        bool success;
        uint256[10] words;
    }

    error InvalidPair(address base, address quote);
    error InvalidPool(address pool);
    error WindowTooShort(uint256 window, uint256 minimum);
    error WindowNotCovered(uint256 window);
    error TooFewObservations(uint256 seen, uint256 minimum);
    error TooLittleLiquidity(uint256 seen, uint256 minimum);
    error UnknownDecimals(address token);
    error UnsupportedDecimals(uint256 base, uint256 quote);

    /// @notice Over less a proposer of a few blocks in a row moves the mean.
    uint32 public constant MIN_WINDOW = 10 minutes;

    /// @dev Anyone may have a pool keep as many observations as it can, 65,535, and its search takes the longer the
    /// more there are. With too little for the longest the mean would be gone for good.
    uint256 private constant OBSERVE_GAS = 110_000;
    uint256 private constant SLOT_GAS = 10_000;

    /// @dev What asking for the mean takes where the search is longest, storage unread before: 97,929 as measured, of
    /// which the pool has 93,600.
    uint256 private constant LONGEST_GAS = 98_500;

    /// @dev What else takes more at one time than at another: ticks to work out, and in the block of a swap one
    /// observation more.
    uint256 private constant TICK_GAS = 1_500;
    uint256 private constant MARKET_GAS = 8_000;

    /// @dev What is left out, here and by whoever compares, while the pool has no mean.
    uint256 private constant UNREAD_GAS = 6_000;
    uint256 private constant UNREAD_MARKET_GAS = 28_000;

    /// @dev Working out the prices of a tick, of which there are at most three.
    uint256 private constant RANGE_GAS = 6_000;

    int256 private constant NO_TICK = type(int256).min;

    IUniswapV3Pool public immutable pool;
    address public immutable base;
    address public immutable quote;

    /// @notice Seconds averaged over.
    uint32 public immutable window;

    /// @notice Least harmonic mean of in-range liquidity over the window.
    uint128 public immutable minLiquidity;

    /// @dev 10^(18 + base decimals - quote decimals): turns a ratio of smallest units into a WAD price.
    uint256 private immutable _scale;
    bool private immutable _baseIsToken0;

    /// @param minCardinality fewest observations the pool must be able to store. Asked once: a pool never
    /// stores fewer than it once could.
    constructor(
        IUniswapV3Pool pool_,
        address base_,
        address quote_,
        uint32 window_,
        uint16 minCardinality,
        uint128 minLiquidity_
    ) {
        if (address(pool_).code.length == 0) revert InvalidPool(address(pool_));
        if (window_ < MIN_WINDOW) revert WindowTooShort(window_, MIN_WINDOW);
        (address token0, address token1) = (pool_.token0(), pool_.token1());
        _baseIsToken0 = base_ == token0;
        if (!(base_ == token0 && quote_ == token1) && !(base_ == token1 && quote_ == token0)) {
            revert InvalidPair(base_, quote_);
        }
        uint256 baseDecimals = _decimals(base_);
        uint256 quoteDecimals = _decimals(quote_);
        if (quoteDecimals > baseDecimals + 18) revert UnsupportedDecimals(baseDecimals, quoteDecimals);
        (,,, uint256 cardinality,,,) = pool_.slot0();
        if (cardinality < minCardinality) revert TooFewObservations(cardinality, minCardinality);
        Memory memory seen = _observe(pool_, window_);
        if (!seen.covered) revert WindowNotCovered(window_);
        if (minLiquidity_ == 0 || seen.liquidity < minLiquidity_) {
            revert TooLittleLiquidity(seen.liquidity, minLiquidity_);
        }
        _scale = 10 ** (18 + baseDecimals - quoteDecimals);
        pool = pool_;
        base = base_;
        quote = quote_;
        window = window_;
        minLiquidity = minLiquidity_;
    }

    /// @inheritdoc IPriceSource
    function stipend() public pure returns (uint256) {
        return BoundedRead.cost(OBSERVE_GAS) + RANGE_GAS;
    }

    /// @notice Gas with which `market` answers whatever the pool does, storage unread before.
    function marketStipend() external pure returns (uint256) {
        return stipend() + 3 * BoundedRead.cost(SLOT_GAS) + 2 * RANGE_GAS;
    }

    /// @inheritdoc IPriceSource
    function searchGas() external view returns (uint256) {
        (uint256 longer, bool known) = _longer();
        return longer + TICK_GAS + (known ? 0 : UNREAD_GAS);
    }

    /// @notice The same of `market`.
    function marketSearchGas() external view returns (uint256) {
        (uint256 longer, bool known) = _longer();
        return longer + MARKET_GAS + (known ? 0 : UNREAD_MARKET_GAS);
    }

    /// @inheritdoc IPriceSource
    function price() external view returns (uint256 low, uint256 high, Status status) {
        (low, high) = _price();
        if (low == 0) return (0, type(uint256).max, Status.UNAVAILABLE);
    }

    /// @notice The pool's prices in WAD, all 0 when it has no mean.
    /// @return low of the mean over the window
    /// @return high of the mean over the window
    /// @return standing price at which the last block left the pool, which no transaction can change in its
    /// own block
    /// @return spot price at this point of this block
    function market() external view returns (uint256 low, uint256 high, uint256 standing, uint256 spot) {
        (low, high) = _price();
        if (low == 0) return (0, 0, 0, 0);
        Answer memory slot = _ask(abi.encodeCall(IUniswapV3Pool.slot0, ()), 7);
        if (!slot.success) return (low, high, 0, 0);
        // forge-lint: disable-next-line(unsafe-typecast) a pool's own tick
        int256 tick = int24(int256(slot.words[1]));
        (spot,) = _range(tick);
        (standing,) = _range(_standing(tick, slot.words[2], slot.words[3]));
    }

    /// @notice What prices are made of, as the pool says it: for whoever works them out for themselves.
    /// @return mean eight words of `observe`, for the beginning of the window and for now
    /// @return slot seven words of `slot0`
    /// @return last four words of the newest observation
    /// @return older four words of the one before it
    function observations()
        external
        view
        returns (Answer memory mean, Answer memory slot, Answer memory last, Answer memory older)
    {
        mean = _cumulatives(pool, window);
        slot = _ask(abi.encodeCall(IUniswapV3Pool.slot0, ()), 7);
        (uint256 index, uint256 cardinality) = (slot.words[2], slot.words[3]);
        if (!slot.success || cardinality == 0) return (mean, slot, last, older);
        last = _ask(abi.encodeCall(IUniswapV3Pool.observations, (index)), 4);
        unchecked {
            index = (index + cardinality - 1) % cardinality;
        }
        older = _ask(abi.encodeCall(IUniswapV3Pool.observations, (index)), 4);
    }

    /// @dev By how much less than the longest the search takes now, and whether it finds a mean.
    function _longer() private view returns (uint256 gas_, bool known) {
        uint256 used = gasleft();
        _cumulatives(pool, window);
        used -= gasleft();
        gas_ = used < LONGEST_GAS ? LONGEST_GAS - used : 0;
        (uint256 low,) = _price();
        known = low != 0;
    }

    function _ask(bytes memory data, uint256 count) private view returns (Answer memory answer) {
        (answer.success, answer.words) = BoundedRead.read(address(pool), SLOT_GAS, data, count);
    }

    function _cumulatives(IUniswapV3Pool target, uint256 elapsed)
        private
        view
        returns (Answer memory answer)
    {
        uint32[] memory secondsAgos = new uint32[](2);
        // forge-lint: disable-next-line(unsafe-typecast) the window
        secondsAgos[0] = uint32(elapsed);
        bytes memory data = abi.encodeCall(IUniswapV3Pool.observe, (secondsAgos));
        (answer.success, answer.words) = BoundedRead.read(address(target), OBSERVE_GAS, data, 8);
    }

    /// @dev The mean tick is rounded toward negative infinity and every tick was itself rounded down, so the
    /// geometric mean price lies between that tick and the next: these are low and high.
    function _price() private view returns (uint256 low, uint256 high) {
        Memory memory seen = _observe(pool, window);
        if (!seen.covered || seen.liquidity < minLiquidity) return (0, 0);
        (low, high) = _range(seen.mean);
        if (high == type(uint256).max) return (0, 0);
    }

    /// @dev Tick at which the last block left the pool. The first change of tick in a block writes an observation,
    /// with the tick before it: without one of this block the tick has not changed, and with one the tick since
    /// the observation before is the rise of the accumulator between them, over the time.
    function _standing(int256 tick, uint256 index, uint256 cardinality) private view returns (int256) {
        (uint256 at, int56 sum, bool known) = _observation(index);
        if (!known) return NO_TICK;
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast) the pool counts time so
            if (at != uint32(block.timestamp)) return tick;
            (uint256 before, int56 sumBefore, bool older) =
                _observation((index + cardinality - 1) % cardinality);
            // forge-lint: disable-next-line(unsafe-typecast) time and sums are meant to wrap
            int256 elapsed = int256(uint256(uint32(at - before)));
            if (!older || elapsed == 0) return NO_TICK;
            return int256(sum - sumBefore) / elapsed;
        }
    }

    function _observation(uint256 index) private view returns (uint256 at, int56 sum, bool known) {
        Answer memory seen = _ask(abi.encodeCall(IUniswapV3Pool.observations, (index)), 4);
        // forge-lint: disable-next-line(unsafe-typecast) as the pool has it
        (at, sum, known) = (seen.words[0], int56(int256(seen.words[1])), seen.success && seen.words[3] == 1);
    }

    /// @dev Low and high price of a tick.
    function _range(int256 tick) private view returns (uint256 low, uint256 high) {
        if (tick < -TickMath.MAX_TICK || tick > TickMath.MAX_TICK) return (0, type(uint256).max);
        uint256 atTick = TickMath.sqrtPriceX96(tick);
        uint256 above = TickMath.sqrtPriceX96(tick < TickMath.MAX_TICK ? tick + 1 : tick);
        // The pool rounds the root up; a unit less is below the true price.
        (low, high) = _baseIsToken0
            ? (_ratioDown(atTick - 1), _ratioUp(above))
            : (_inverseDown(above), _inverseUp(atTick - 1));
    }

    function _observe(IUniswapV3Pool target, uint256 elapsed) private view returns (Memory memory seen) {
        Answer memory answer = _cumulatives(target, elapsed);
        uint256[10] memory words = answer.words;
        // Two arrays of two. A pool younger than the window, or whose observations do not reach back that
        // far, has reverted.
        if (!answer.success || words[0] != 64 || words[1] != 160 || words[2] != 2 || words[5] != 2) {
            return seen;
        }
        unchecked {
            // Both accumulators are meant to wrap.
            // forge-lint: disable-start(unsafe-typecast)
            int256 tickDelta = int56(int256(words[4])) - int56(int256(words[3]));
            uint256 liquidityDelta = uint160(words[7]) - uint160(words[6]);
            // forge-lint: disable-end(unsafe-typecast)
            if (liquidityDelta == 0) return seen;
            // forge-lint: disable-next-line(unsafe-typecast) the window
            int256 span = int256(elapsed);
            seen.mean = tickDelta / span;
            if (tickDelta < 0 && tickDelta % span != 0) seen.mean--;
            // Seconds per liquidity are Q128: their inverse is the harmonic mean.
            seen.liquidity = (elapsed << 128) / liquidityDelta;
        }
        seen.covered = true;
    }

    function _decimals(address token) private view returns (uint256) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(token);
        if (!known) revert UnknownDecimals(token);
        return decimals;
    }

    // The square of a root is Q192, or Q128 after losing 64 bits when it would not fit otherwise.

    function _ratioDown(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivDown(root * root, _scale, 1 << 192);
        return PriceMath.mulDivDown(PriceMath.mulDivDown(root, root, 1 << 64), _scale, 1 << 128);
    }

    function _ratioUp(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivUp(root * root, _scale, 1 << 192);
        return PriceMath.mulDivUp(PriceMath.mulDivUp(root, root, 1 << 64), _scale, 1 << 128);
    }

    function _inverseDown(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivDown(1 << 192, _scale, root * root);
        return PriceMath.mulDivDown(1 << 128, _scale, PriceMath.mulDivUp(root, root, 1 << 64));
    }

    function _inverseUp(uint256 root) private view returns (uint256) {
        if (root <= type(uint128).max) return PriceMath.mulDivUp(1 << 192, _scale, root * root);
        return PriceMath.mulDivUp(1 << 128, _scale, PriceMath.mulDivDown(root, root, 1 << 64));
    }
}
