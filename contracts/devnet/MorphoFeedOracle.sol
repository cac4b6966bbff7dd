// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOracle} from "@morpho-org/morpho-blue/src/interfaces/IOracle.sol";

interface IDollarFeed {
    function decimals() external view returns (uint8);
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80);
}

/// @title Price of a collateral in a loan token for Morpho Blue, from two dollar feeds, for local chains
/// @notice Morpho wants the value of one smallest unit of collateral in smallest units of the loan token,
/// scaled by 1e36 (IOracle.price).
contract MorphoFeedOracle is IOracle {
    IDollarFeed public immutable collateralFeed;
    IDollarFeed public immutable loanFeed;
    uint256 public immutable scale;

    error NotPositive(IDollarFeed feed, int256 answer);

    constructor(
        IDollarFeed collateralFeed_,
        uint8 collateralDecimals,
        IDollarFeed loanFeed_,
        uint8 loanDecimals
    ) {
        collateralFeed = collateralFeed_;
        loanFeed = loanFeed_;
        scale = 10
            ** (36
                + uint256(loanDecimals)
                + loanFeed_.decimals()
                - collateralDecimals
                - collateralFeed_.decimals());
    }

    function price() external view returns (uint256) {
        return scale * _answer(collateralFeed) / _answer(loanFeed);
    }

    function _answer(IDollarFeed feed) private view returns (uint256) {
        (, int256 answer,,,) = feed.latestRoundData();
        if (answer <= 0) revert NotPositive(feed, answer);
        return uint256(answer);
    }
}
