// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {PriceMath} from "./PriceMath.sol";

/// @title A Chainlink feed as a range with a status
/// @notice The range is the feed plus and minus the deviation it may have before its next round, widened to a
/// second source where there is one. Heartbeat, bounds and deviation belong to this feed alone.
contract ChainlinkSource is IPriceSource {
    /// @param base token the feed prices
    /// @param quote token or currency it is priced in
    /// @param aggregator the feed's proxy
    /// @param heartbeat largest age of a round in seconds, with the margin allowed for late rounds
    /// @param minimum smallest believable price, in WAD
    /// @param maximum largest believable price, in WAD
    /// @param deviationBps how far the market may move before the feed writes a round
    /// @param sequencer the L2 sequencer's uptime feed, or 0
    /// @param gracePeriod seconds after the sequencer came back during which prices may lag
    /// @param crossCheck second source of the same pair, or 0
    /// @param toleranceBps distance between the two beyond which neither is believed
    struct Config {
        address base;
        address quote;
        address aggregator;
        uint256 heartbeat;
        uint256 minimum;
        uint256 maximum;
        uint256 deviationBps;
        address sequencer;
        uint256 gracePeriod;
        IPriceSource crossCheck;
        uint256 toleranceBps;
    }

    error UnknownDecimals(address aggregator);
    error InvalidPair(address base, address quote);
    error InvalidHeartbeat();
    error InvalidBounds(uint256 minimum, uint256 maximum);
    error InvalidDeviation(uint256 bps);
    error InvalidSequencer(address sequencer);
    error PairMismatch(address crossCheck);

    address public immutable base;
    address public immutable quote;
    address public immutable aggregator;
    uint256 public immutable heartbeat;
    uint256 public immutable minimum;
    uint256 public immutable maximum;
    uint256 public immutable deviationBps;
    address public immutable sequencer;
    uint256 public immutable gracePeriod;
    IPriceSource public immutable crossCheck;
    uint256 public immutable toleranceBps;

    uint256 private immutable _feedUnit;

    constructor(Config memory config) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(config.aggregator);
        if (!known) revert UnknownDecimals(config.aggregator);
        if (config.base == address(0) || config.quote == address(0) || config.base == config.quote) {
            revert InvalidPair(config.base, config.quote);
        }
        if (config.heartbeat == 0) revert InvalidHeartbeat();
        if (config.minimum == 0 || config.minimum > config.maximum || config.maximum > type(uint128).max) {
            revert InvalidBounds(config.minimum, config.maximum);
        }
        if (config.deviationBps >= PriceMath.BPS) revert InvalidDeviation(config.deviationBps);
        if (config.sequencer != address(0) && config.sequencer.code.length == 0) {
            revert InvalidSequencer(config.sequencer);
        }
        if (address(config.crossCheck) != address(0)) {
            if (config.crossCheck.base() != config.base || config.crossCheck.quote() != config.quote) {
                revert PairMismatch(address(config.crossCheck));
            }
            if (config.toleranceBps == 0 || config.toleranceBps >= PriceMath.BPS) {
                revert InvalidDeviation(config.toleranceBps);
            }
        }
        base = config.base;
        quote = config.quote;
        aggregator = config.aggregator;
        heartbeat = config.heartbeat;
        minimum = config.minimum;
        maximum = config.maximum;
        deviationBps = config.deviationBps;
        sequencer = config.sequencer;
        gracePeriod = config.gracePeriod;
        crossCheck = config.crossCheck;
        toleranceBps = config.toleranceBps;
        _feedUnit = 10 ** decimals;
    }

    /// @inheritdoc IPriceSource
    /// @dev UNAVAILABLE comes with (0, type(uint256).max); every other status with the range as it stands.
    /// A second source that has no price of its own cannot confirm this one: DIVERGED.
    function price() external view returns (uint256 low, uint256 high, Status status) {
        (uint256 floor, uint256 ceiling, uint256 updatedAt) = _feed();
        if (updatedAt == 0) return (0, type(uint256).max, Status.UNAVAILABLE);

        low = PriceMath.mulDivDown(floor, PriceMath.BPS - deviationBps, PriceMath.BPS);
        high = PriceMath.mulDivUp(ceiling, PriceMath.BPS + deviationBps, PriceMath.BPS);
        if (block.timestamp - updatedAt > heartbeat) status = Status.STALE;

        if (address(crossCheck) != address(0)) {
            (uint256 otherLow, uint256 otherHigh, bool confirmed) = _crossCheck(floor, ceiling);
            if (!confirmed) status = Status.DIVERGED;
            if (otherLow < low) low = otherLow;
            if (otherHigh > high) high = otherHigh;
        }
        if (!_sequencerIsUp()) status = Status.SEQUENCER_DOWN;
    }

    /// @dev The feed's answer in WAD, rounded both ways; `updatedAt` 0 means that it has none to give.
    function _feed() private view returns (uint256 floor, uint256 ceiling, uint256 updatedAt) {
        (bool read, uint256 roundId, int256 answer,, uint256 time) = _latestRound(aggregator);
        if (!read || roundId == 0 || time == 0 || time > block.timestamp) return (0, 0, 0);
        if (answer <= 0) return (0, 0, 0);
        floor = PriceMath.mulDivDown(uint256(answer), PriceMath.WAD, _feedUnit);
        ceiling = PriceMath.mulDivUp(uint256(answer), PriceMath.WAD, _feedUnit);
        if (floor < minimum || ceiling > maximum) return (0, 0, 0);
        updatedAt = time;
    }

    /// @dev The second source's range, and whether it is near enough to the feed to confirm it. One without a
    /// price widens nothing and confirms nothing.
    function _crossCheck(uint256 floor, uint256 ceiling)
        private
        view
        returns (uint256 low, uint256 high, bool confirmed)
    {
        (bool success, bytes memory data) =
            address(crossCheck).staticcall(abi.encodeCall(IPriceSource.price, ()));
        if (!success || data.length < 96) return (type(uint256).max, 0, false);
        uint256 status;
        (low, high, status) = abi.decode(data, (uint256, uint256, uint256));
        if (low == 0 || low > high || status >= uint256(Status.UNAVAILABLE)) {
            return (type(uint256).max, 0, false);
        }
        confirmed = status == uint256(Status.OK)
            && low <= PriceMath.mulDivDown(floor, PriceMath.BPS + toleranceBps, PriceMath.BPS)
            && high >= PriceMath.mulDivUp(ceiling, PriceMath.BPS - toleranceBps, PriceMath.BPS);
    }

    /// @dev The sequencer counts as up only after it has been so for the grace period: users need that time to
    /// act on prices they could not reach. `startedAt` 0 is a feed that was never written.
    function _sequencerIsUp() private view returns (bool) {
        if (sequencer == address(0)) return true;
        (bool read,, int256 answer, uint256 startedAt,) = _latestRound(sequencer);
        return read && answer == 0 && startedAt != 0 && startedAt <= block.timestamp
            && block.timestamp - startedAt > gracePeriod;
    }

    /// @dev At a low level, and as full words: a short or malformed answer would otherwise revert here.
    function _latestRound(address feed)
        private
        view
        returns (bool read, uint256 roundId, int256 answer, uint256 startedAt, uint256 updatedAt)
    {
        (bool success, bytes memory data) = feed.staticcall(abi.encodeWithSignature("latestRoundData()"));
        if (!success || data.length < 160) return (false, 0, 0, 0, 0);
        (roundId, answer, startedAt, updatedAt,) =
            abi.decode(data, (uint256, int256, uint256, uint256, uint256));
        read = true;
    }
}
