// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "./BoundedRead.sol";
import {PriceMath} from "./PriceMath.sol";

/// @dev What is read of a feed (Chainlink `AggregatorV3Interface`).
interface IAggregator {
    function description() external view returns (string memory);
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80);
    function getRoundData(uint80 round) external view returns (uint80, int256, uint256, uint256, uint80);
}

/// @title A Chainlink feed as a range with a status
/// @notice The range is the feed plus and minus the deviation it may have before its next round, widened to a
/// second source where there is one. Heartbeat, bounds, constancy and deviation belong to this feed alone.
contract ChainlinkSource is IPriceSource {
    /// @param base token the feed prices
    /// @param quote token or currency it is priced in
    /// @param aggregator the feed's proxy
    /// @param heartbeat largest age of a round in seconds, with the margin allowed for late rounds
    /// @param minimum smallest believable price, in WAD
    /// @param maximum largest believable price, in WAD
    /// @param deviationBps how far the market may move before the feed writes a round
    /// @param sequencer the L2 sequencer's uptime feed; 0 on a chain that has none
    /// @param gracePeriod seconds after the sequencer came back during which prices may lag; 0 if and only if
    /// there is no sequencer
    /// @param crossCheck second source of the same pair, or 0
    /// @param toleranceBps distance between the two beyond which neither is believed
    /// @param constantAfter seconds after which rounds that all give one answer mean a frozen feed, which is
    /// noticed after twice as long at most; 0 for a feed of which that may be true, like a stablecoin's
    /// @param description what the feed must call itself; empty for one that has no name
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
        uint256 constantAfter;
        string description;
    }

    struct Round {
        uint256 id;
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
    }

    error UnknownDecimals(address aggregator);
    error InvalidPair(address base, address quote);
    error InvalidHeartbeat();
    error InvalidBounds(uint256 minimum, uint256 maximum);
    error InvalidDeviation(uint256 bps);
    error InvalidSequencer(address sequencer);
    error InvalidGracePeriod(uint256 gracePeriod);
    error PairMismatch(address crossCheck);
    error DescriptionMismatch(string expected, string seen);
    error InvalidConstancy(uint256 constantAfter, uint256 minimum, uint256 maximum);
    error NoHistory(address aggregator);

    /// @notice A feed that needs more than a read is given, once nothing of it has been read before.
    error FeedTooDear(address feed, uint256 gas, uint256 stipend);

    /// @notice No answer inside the bounds at this moment: the bounds are wrong, or the feed is not live.
    error NoAnswer(address aggregator);

    /// @dev Live proxies answer for less than 20k, and for less than 10k when they have just been read.
    uint256 private constant FEED_GAS = 30_000;
    uint256 private constant HISTORY_GAS = 18_000;

    /// @dev What reads may cost more in a transaction that has met nothing than in that of the constructor: two
    /// accounts and two slots.
    uint256 private constant COLD_GAS = 9_200;

    /// @dev All but the reads: what the price is worked out with.
    uint256 private constant OWN_GAS = 8_000;

    /// @dev The history is looked at one round back, and 1, 2, 4, 8 and 16 times as many rounds back as a frozen
    /// feed writes in the time: one a heartbeat, and there is room for a feed that writes 16 times as many.
    uint256 private constant SAMPLES = 6;

    uint256 private constant MOST_HEARTBEATS = 32;

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
    uint256 public immutable constantAfter;

    /// @inheritdoc IPriceSource
    uint256 public immutable stipend;

    uint256 private immutable _feedUnit;
    uint256 private immutable _crossCheckStipend;

    constructor(Config memory config) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(config.aggregator);
        if (!known) revert UnknownDecimals(config.aggregator);
        _checkFeed(config);
        _checkSequencer(config.sequencer, config.gracePeriod);
        _checkSecond(config);
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
        constantAfter = config.constantAfter;
        _feedUnit = 10 ** decimals;
        _crossCheckStipend = address(config.crossCheck) == address(0) ? 0 : config.crossCheck.stipend();
        stipend = OWN_GAS + BoundedRead.cost(FEED_GAS) * (config.sequencer == address(0) ? 1 : 2)
            + (config.constantAfter == 0 ? 0 : BoundedRead.cost(HISTORY_GAS) * SAMPLES)
            + (address(config.crossCheck) == address(0) ? 0 : BoundedRead.cost(_crossCheckStipend));
        Round memory round = _cheapRound(config.aggregator, 0);
        (uint256 floor, uint256 ceiling) = _answer(round, 10 ** decimals);
        if (floor < config.minimum || ceiling > config.maximum) revert NoAnswer(config.aggregator);
        if (config.constantAfter != 0 && _cheapRound(config.aggregator, round.id).id != round.id) {
            revert NoHistory(config.aggregator);
        }
    }

    /// @inheritdoc IPriceSource
    function searchGas() external view returns (uint256) {
        return address(crossCheck) == address(0) ? 0 : crossCheck.searchGas();
    }

    /// @inheritdoc IPriceSource
    /// @dev UNAVAILABLE comes with (0, type(uint256).max); every other status with the range as it stands.
    /// A second source that has no price of its own cannot confirm this one: DIVERGED. Of several faults the
    /// last in the order of `Status` is named.
    function price() external view returns (uint256 low, uint256 high, Status status) {
        Round memory round = _latestRound(aggregator);
        (uint256 floor, uint256 ceiling) = _answer(round, _feedUnit);
        if (floor < minimum || ceiling > maximum) return (0, type(uint256).max, Status.UNAVAILABLE);

        low = PriceMath.mulDivDown(floor, PriceMath.BPS - deviationBps, PriceMath.BPS);
        high = PriceMath.mulDivUp(ceiling, PriceMath.BPS + deviationBps, PriceMath.BPS);
        if (block.timestamp - round.updatedAt > heartbeat) status = Status.STALE;

        if (address(crossCheck) != address(0)) {
            (uint256 otherLow, uint256 otherHigh, bool confirmed) = _crossCheck(floor, ceiling);
            if (!confirmed) status = Status.DIVERGED;
            if (otherLow < low) low = otherLow;
            if (otherHigh > high) high = otherHigh;
        }
        if (constantAfter != 0 && _isConstant(round)) status = Status.CONSTANT;
        if (!_sequencerIsUp()) status = Status.SEQUENCER_DOWN;
    }

    /// @notice What `price` is made of, as the feeds say it: for whoever works the price out for themselves. A
    /// round that cannot be read is all zero.
    /// @return latest round of the feed
    /// @return earlier rounds before the latest, which constancy is seen by, as far as its phase goes; none where
    /// it is not looked at
    /// @return uptime latest round of the sequencer's feed; all zero where there is no sequencer
    function rounds()
        external
        view
        returns (Round memory latest, Round[] memory earlier, Round memory uptime)
    {
        latest = _latestRound(aggregator);
        uint256 count;
        if (constantAfter != 0) while (count < SAMPLES && _distance(count) <= _deepest(latest.id)) ++count;
        earlier = new Round[](count);
        for (uint256 i = 0; i < count; i++) {
            earlier[i] = _round(aggregator, latest.id - _distance(i));
        }
        if (sequencer != address(0)) uptime = _latestRound(sequencer);
    }

    // CONFIGURATION

    function _checkFeed(Config memory config) private view {
        if (config.base == address(0) || config.quote == address(0) || config.base == config.quote) {
            revert InvalidPair(config.base, config.quote);
        }
        if (config.heartbeat == 0) revert InvalidHeartbeat();
        if (config.minimum == 0 || config.minimum > config.maximum || config.maximum > type(uint128).max) {
            revert InvalidBounds(config.minimum, config.maximum);
        }
        if (config.deviationBps >= PriceMath.BPS) revert InvalidDeviation(config.deviationBps);
        // Within one heartbeat nothing shows, and beyond the rounds that are looked at neither.
        (uint256 shortest, uint256 longest) = (config.heartbeat + 1, config.heartbeat * MOST_HEARTBEATS);
        if (config.constantAfter != 0 && (config.constantAfter < shortest || config.constantAfter > longest))
        {
            revert InvalidConstancy(config.constantAfter, shortest, longest);
        }
        if (bytes(config.description).length == 0) return;
        string memory seen = IAggregator(config.aggregator).description();
        if (keccak256(bytes(seen)) != keccak256(bytes(config.description))) {
            revert DescriptionMismatch(config.description, seen);
        }
    }

    /// @dev A grace period says that the chain has a sequencer, and a sequencer that there is such a period.
    function _checkSequencer(address feed, uint256 period) private view {
        if ((feed == address(0)) != (period == 0)) revert InvalidGracePeriod(period);
        if (feed == address(0)) return;
        Round memory state = _cheapRound(feed, 0);
        if (state.startedAt == 0 || (state.answer != 0 && state.answer != 1)) revert InvalidSequencer(feed);
    }

    function _checkSecond(Config memory config) private view {
        if (address(config.crossCheck) == address(0)) return;
        if (config.crossCheck.base() != config.base || config.crossCheck.quote() != config.quote) {
            revert PairMismatch(address(config.crossCheck));
        }
        if (config.toleranceBps == 0 || config.toleranceBps >= PriceMath.BPS) {
            revert InvalidDeviation(config.toleranceBps);
        }
    }

    // THE FEED

    /// @dev An answer in WAD, rounded both ways; (0, max), which is out of every bound, if there is none.
    function _answer(Round memory round, uint256 unit) private view returns (uint256 floor, uint256 ceiling) {
        if (round.id == 0 || round.updatedAt == 0 || round.updatedAt > block.timestamp || round.answer <= 0) {
            return (0, type(uint256).max);
        }
        floor = PriceMath.mulDivDown(uint256(round.answer), PriceMath.WAD, unit);
        ceiling = PriceMath.mulDivUp(uint256(round.answer), PriceMath.WAD, unit);
    }

    /// @dev Whether earlier rounds, over more than `constantAfter`, gave the answer of this one. A live feed
    /// shows with the first sample, and one answer in every sample is no chance where answers have eight
    /// digits. Rounds of another phase are another aggregator's; a round of this phase that cannot be read shows
    /// no life.
    function _isConstant(Round memory latest) private view returns (bool) {
        uint256 deepest = _deepest(latest.id);
        for (uint256 i = 0; i < SAMPLES; i++) {
            uint256 back = _distance(i);
            if (back > deepest) return false;
            Round memory earlier = _round(aggregator, latest.id - back);
            if (earlier.id == 0) return true;
            if (earlier.answer != latest.answer) return false;
            uint256 since = Math.min(earlier.updatedAt, block.timestamp);
            if (block.timestamp - since > constantAfter) return true;
        }
        return false;
    }

    /// @dev How many rounds back a sample of the history lies.
    function _distance(uint256 sample) private view returns (uint256) {
        return sample == 0 ? 1 : (constantAfter / heartbeat + 1) << (sample - 1);
    }

    /// @dev How many rounds there are before this one in its phase, whose first is 1.
    function _deepest(uint256 id) private pure returns (uint256) {
        uint256 number = id & type(uint64).max;
        return number == 0 ? 0 : number - 1;
    }

    /// @dev The second source's range, and whether it is near enough to the feed to confirm it. One without a
    /// price widens nothing and confirms nothing.
    function _crossCheck(uint256 floor, uint256 ceiling)
        private
        view
        returns (uint256 low, uint256 high, bool confirmed)
    {
        (bool success, uint256[10] memory words) = BoundedRead.read(
            address(crossCheck), _crossCheckStipend, abi.encodeCall(IPriceSource.price, ()), 3
        );
        (low, high) = (words[0], words[1]);
        if (!success || low == 0 || low > high || words[2] >= uint256(Status.UNAVAILABLE)) {
            return (type(uint256).max, 0, false);
        }
        confirmed = words[2] == uint256(Status.OK)
            && low <= PriceMath.mulDivDown(floor, PriceMath.BPS + toleranceBps, PriceMath.BPS)
            && high >= PriceMath.mulDivUp(ceiling, PriceMath.BPS - toleranceBps, PriceMath.BPS);
    }

    /// @dev The sequencer counts as up only after it has been so for the grace period: users need that time to
    /// act on prices they could not reach. `startedAt` 0 is a feed that was never written.
    function _sequencerIsUp() private view returns (bool) {
        if (sequencer == address(0)) return true;
        Round memory state = _latestRound(sequencer);
        return state.answer == 0 && state.startedAt != 0 && state.startedAt <= block.timestamp
            && block.timestamp - state.startedAt > gracePeriod;
    }

    /// @dev For the constructor: the latest round, or another one, of a feed that does not answer by chance of
    /// what else the transaction has read.
    function _cheapRound(address feed, uint256 id) private view returns (Round memory round) {
        uint256 given = id == 0 ? FEED_GAS : HISTORY_GAS;
        uint256 used = gasleft();
        round = id == 0 ? _latestRound(feed) : _round(feed, id);
        used = used - gasleft() + COLD_GAS;
        if (round.id != 0 && used > given) revert FeedTooDear(feed, used, given);
    }

    function _latestRound(address feed) private view returns (Round memory) {
        return _readRound(feed, FEED_GAS, abi.encodeCall(IAggregator.latestRoundData, ()));
    }

    function _round(address feed, uint256 id) private view returns (Round memory) {
        // forge-lint: disable-next-line(unsafe-typecast) an id that does not fit is not found
        return _readRound(feed, HISTORY_GAS, abi.encodeCall(IAggregator.getRoundData, (uint80(id))));
    }

    /// @dev All zero when the feed reverts or does not answer in full words.
    function _readRound(address feed, uint256 given, bytes memory data)
        private
        view
        returns (Round memory round)
    {
        (bool success, uint256[10] memory words) = BoundedRead.read(feed, given, data, 5);
        if (success) round = Round(words[0], int256(words[1]), words[2], words[3]);
    }
}
