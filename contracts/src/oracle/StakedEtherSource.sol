// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RateSource} from "./RateSource.sol";

/// @dev What is read of a wrapped staked Ether (Lido `wstETH`).
interface IWrappedStakedEther {
    function stEthPerToken() external view returns (uint256);
}

/// @title What a wrapped staked Ether stands for in staked Ether
/// @notice Staked Ether is not Ether: the next hop is a feed or a pool that says what it trades at.
contract StakedEtherSource is RateSource {
    error UnsupportedDecimals(uint256 decimals);

    /// @param stakedEther token, or an address that stands for it, in which the rate is
    /// @param maxGrowth_ part by which the rate may grow in a day, in WAD
    constructor(address wrapped, address stakedEther, uint256 maxGrowth_)
        RateSource(wrapped, stakedEther, wrapped, maxGrowth_)
    {
        // The rate is per 10^18, and so in WAD for such a token only.
        uint256 decimals = _decimals(wrapped);
        if (decimals != 18) revert UnsupportedDecimals(decimals);
        if (stakedEther == address(0) || stakedEther == wrapped) revert InvalidTarget(stakedEther);
        _start();
    }

    function _call() internal pure override returns (bytes memory) {
        return abi.encodeCall(IWrappedStakedEther.stEthPerToken, ());
    }

    function _toWad(uint256 word) internal pure override returns (uint256) {
        return word;
    }
}
