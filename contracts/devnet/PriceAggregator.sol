// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title A Chainlink-compatible aggregator whose rounds a transmitter pushes, for local chains
/// @notice Tests push any answer and any timestamp, the impossible ones included: refusing them is the
/// consumer's duty.
contract PriceAggregator {
    struct Round {
        int256 answer;
        uint64 startedAt;
        uint64 updatedAt;
    }

    uint8 public immutable decimals;
    address public immutable transmitter;
    uint256 public constant version = 4;
    string public description;
    uint80 public latestRound;
    mapping(uint80 => Round) private _rounds;

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    error NotTransmitter(address caller);

    constructor(uint8 decimals_, string memory description_, address transmitter_) {
        decimals = decimals_;
        description = description_;
        transmitter = transmitter_;
    }

    /// @notice Starts and answers the next round now.
    function push(int256 answer) external {
        pushRound(answer, uint64(block.timestamp), uint64(block.timestamp));
    }

    /// @notice Answers the next round with chosen times.
    function pushRound(int256 answer, uint64 startedAt, uint64 updatedAt) public {
        if (msg.sender != transmitter) revert NotTransmitter(msg.sender);
        uint80 round = ++latestRound;
        _rounds[round] = Round(answer, startedAt, updatedAt);
        emit AnswerUpdated(answer, round, updatedAt);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(latestRound);
    }

    function getRoundData(uint80 round) public view returns (uint80, int256, uint256, uint256, uint80) {
        require(round != 0 && round <= latestRound, "No data present");
        Round storage seen = _rounds[round];
        return (round, seen.answer, seen.startedAt, seen.updatedAt, round);
    }
}
