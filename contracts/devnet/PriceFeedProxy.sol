// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PriceAggregator} from "./PriceAggregator.sol";

/// @title A Chainlink-compatible feed proxy, for local chains
/// @notice Round ids carry the aggregator's phase in their upper bits: `phase << 64 | aggregator round`.
contract PriceFeedProxy {
    address public immutable owner;
    uint16 public phaseId;
    mapping(uint16 => PriceAggregator) public phaseAggregators;

    error NotOwner(address caller);

    constructor(PriceAggregator aggregator_, address owner_) {
        owner = owner_;
        _startPhase(aggregator_);
    }

    /// @notice Replaces the aggregator, which starts a new phase.
    function setAggregator(PriceAggregator aggregator_) external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _startPhase(aggregator_);
    }

    function aggregator() public view returns (PriceAggregator) {
        return phaseAggregators[phaseId];
    }

    function decimals() external view returns (uint8) {
        return aggregator().decimals();
    }

    function description() external view returns (string memory) {
        return aggregator().description();
    }

    function version() external view returns (uint256) {
        return aggregator().version();
    }

    function latestRound() external view returns (uint256) {
        return _encode(phaseId, aggregator().latestRound());
    }

    function latestAnswer() external view returns (int256 answer) {
        (, answer,,,) = aggregator().latestRoundData();
    }

    function latestTimestamp() external view returns (uint256 updatedAt) {
        (,,, updatedAt,) = aggregator().latestRoundData();
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return _round(phaseId, aggregator().latestRound());
    }

    function getRoundData(uint80 round) external view returns (uint80, int256, uint256, uint256, uint80) {
        return _round(uint16(round >> 64), uint64(round));
    }

    function _round(uint16 phase, uint80 round)
        private
        view
        returns (uint80, int256, uint256, uint256, uint80)
    {
        PriceAggregator source = phaseAggregators[phase];
        require(address(source) != address(0), "No data present");
        (, int256 answer, uint256 startedAt, uint256 updatedAt,) = source.getRoundData(round);
        return (_encode(phase, round), answer, startedAt, updatedAt, _encode(phase, round));
    }

    function _startPhase(PriceAggregator aggregator_) private {
        phaseAggregators[++phaseId] = aggregator_;
    }

    function _encode(uint16 phase, uint80 round) private pure returns (uint80) {
        return (uint80(phase) << 64) | round;
    }
}
