// SPDX-License-Identifier: MIT
pragma solidity 0.8.19;

import {IIrm} from "@morpho-org/morpho-blue/src/interfaces/IIrm.sol";
import {Id, Market, MarketParams} from "@morpho-org/morpho-blue/src/interfaces/IMorpho.sol";
import {MarketParamsLib} from "@morpho-org/morpho-blue/src/libraries/MarketParamsLib.sol";

/// @title Adaptive curve rate model for Morpho Blue, for local chains
/// @notice Written from the published formula, because the original's source is on no package registry: the
/// borrow rate is a kinked curve through the rate at target utilisation, which itself drifts exponentially
/// with the distance from the target (Morpho documentation, "AdaptiveCurveIRM"). All divisions truncate toward
/// zero, as the published arithmetic does. Rates are per second, in wad.
/// Compiled as Morpho compiles its own, so that it costs about what the original does.
contract AdaptiveCurveIrm is IIrm {
    using MarketParamsLib for MarketParams;

    int256 private constant WAD = 1e18;
    int256 public constant CURVE_STEEPNESS = 4e18;
    int256 public constant ADJUSTMENT_SPEED = 50e18 / int256(365 days);
    int256 public constant TARGET_UTILIZATION = 0.9e18;
    int256 public constant INITIAL_RATE_AT_TARGET = 0.04e18 / int256(365 days);
    int256 public constant MIN_RATE_AT_TARGET = 0.001e18 / int256(365 days);
    int256 public constant MAX_RATE_AT_TARGET = 2e18 / int256(365 days);

    int256 private constant LN_2 = 0.693147180559945309e18;
    int256 private constant LN_WEI = -41.446531673892822312e18;
    int256 private constant EXP_UPPER_BOUND = 93.859467695000404319e18;
    int256 private constant EXP_UPPER_VALUE = 57716089161558943949701069502944508345128422502756744429568;

    address public immutable MORPHO;
    mapping(Id => int256) public rateAtTarget;

    event BorrowRateUpdate(Id indexed id, uint256 avgBorrowRate, uint256 rateAtTarget);

    error NotMorpho(address caller);

    constructor(address morpho) {
        MORPHO = morpho;
    }

    /// @inheritdoc IIrm
    function borrowRate(MarketParams memory marketParams, Market memory market) external returns (uint256) {
        if (msg.sender != MORPHO) revert NotMorpho(msg.sender);
        Id id = marketParams.id();
        (uint256 rate, int256 endRateAtTarget) = _borrowRate(id, market);
        rateAtTarget[id] = endRateAtTarget;
        emit BorrowRateUpdate(id, rate, uint256(endRateAtTarget));
        return rate;
    }

    /// @inheritdoc IIrm
    function borrowRateView(MarketParams memory marketParams, Market memory market)
        external
        view
        returns (uint256 rate)
    {
        (rate,) = _borrowRate(marketParams.id(), market);
    }

    function _borrowRate(Id id, Market memory market)
        private
        view
        returns (uint256 rate, int256 endRateAtTarget)
    {
        int256 utilization = market.totalSupplyAssets == 0
            ? int256(0)
            : int256(uint256(market.totalBorrowAssets) * uint256(WAD) / market.totalSupplyAssets);
        int256 span = utilization > TARGET_UTILIZATION ? WAD - TARGET_UTILIZATION : TARGET_UTILIZATION;
        int256 err = (utilization - TARGET_UTILIZATION) * WAD / span;

        int256 start = rateAtTarget[id];
        if (start == 0) return (_curve(INITIAL_RATE_AT_TARGET, err), INITIAL_RATE_AT_TARGET);

        // The speed is assumed constant between two interactions, although the utilisation drifts with interest.
        int256 adaptation = ADJUSTMENT_SPEED * err / WAD * int256(block.timestamp - market.lastUpdate);
        if (adaptation == 0) return (_curve(start, err), start);

        // The average of the exponential over the elapsed time, by the trapezoidal rule with one inner point.
        endRateAtTarget = _adapted(start, adaptation);
        int256 average = (start + endRateAtTarget + 2 * _adapted(start, adaptation / 2)) / 4;
        rate = _curve(average, err);
    }

    /// @dev Below the target the curve falls to a quarter of the rate at target, above it rises to four times.
    function _curve(int256 rate, int256 err) private pure returns (uint256) {
        int256 slope = err < 0 ? WAD - WAD * WAD / CURVE_STEEPNESS : CURVE_STEEPNESS - WAD;
        return uint256((slope * err / WAD + WAD) * rate / WAD);
    }

    function _adapted(int256 start, int256 adaptation) private pure returns (int256 rate) {
        rate = start * _exp(adaptation) / WAD;
        if (rate < MIN_RATE_AT_TARGET) return MIN_RATE_AT_TARGET;
        if (rate > MAX_RATE_AT_TARGET) return MAX_RATE_AT_TARGET;
    }

    /// @dev exp(x) = 2^q * exp(r) with |r| <= ln(2) / 2, and the second-order Taylor polynomial for exp(r).
    function _exp(int256 x) private pure returns (int256) {
        if (x < LN_WEI) return 0;
        if (x >= EXP_UPPER_BOUND) return EXP_UPPER_VALUE;
        int256 q = (x + (x < 0 ? -(LN_2 / 2) : LN_2 / 2)) / LN_2;
        int256 r = x - q * LN_2;
        int256 expR = WAD + r + r * r / WAD / 2;
        return q >= 0 ? expR << uint256(q) : expR >> uint256(-q);
    }
}
