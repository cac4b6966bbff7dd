// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title An L2 sequencer uptime feed, for local chains
/// @notice Answer 0 is up and 1 is down; `startedAt` is when the status last changed, and a repeated report
/// refreshes only `updatedAt`, as on the live feeds.
contract SequencerUptimeFeed {
    uint8 public constant decimals = 0;
    string public constant description = "L2 Sequencer Uptime Status Feed";

    struct Round {
        int256 answer;
        uint64 startedAt;
        uint64 updatedAt;
    }

    address public immutable reporter;
    uint80 public latestRound;
    mapping(uint80 => Round) private _rounds;

    error NotReporter(address caller);

    constructor(address reporter_) {
        reporter = reporter_;
        latestRound = 1;
        _rounds[1] = Round(0, uint64(block.timestamp), uint64(block.timestamp));
    }

    function report(bool down) external {
        if (msg.sender != reporter) revert NotReporter(msg.sender);
        int256 answer = down ? int256(1) : int256(0);
        Round storage last = _rounds[latestRound];
        if (last.answer == answer) last.updatedAt = uint64(block.timestamp);
        else _rounds[++latestRound] = Round(answer, uint64(block.timestamp), uint64(block.timestamp));
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
