// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PriceFeedProxy} from "./PriceFeedProxy.sol";
import {WrappedStakedEther} from "./WrappedStakedEther.sol";

/// @title Price of wstETH in dollars: the stETH feed times the token's rate, for local chains
/// @notice Lending markets price wrapped staking tokens this way, so that the feed's round and time are those
/// of stETH and the growth of the rate needs no round.
contract WrappedStakedEtherFeed {
    PriceFeedProxy public immutable stEthFeed;
    WrappedStakedEther public immutable token;
    string public constant description = "wstETH / USD";
    uint256 public constant version = 1;

    constructor(PriceFeedProxy stEthFeed_, WrappedStakedEther token_) {
        stEthFeed = stEthFeed_;
        token = token_;
    }

    function decimals() external view returns (uint8) {
        return stEthFeed.decimals();
    }

    function latestAnswer() external view returns (int256) {
        return _scale(stEthFeed.latestAnswer());
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        (uint80 round, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredIn) =
            stEthFeed.latestRoundData();
        return (round, _scale(answer), startedAt, updatedAt, answeredIn);
    }

    function _scale(int256 answer) private view returns (int256) {
        return answer * int256(token.stEthPerToken()) / 1e18;
    }
}
