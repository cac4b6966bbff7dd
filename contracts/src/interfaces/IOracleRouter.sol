// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "./Types.sol";

/// @notice A price source for one ordered pair. Never reverts in `price` for a bad market: it says so.
interface IPriceSource {
    function base() external view returns (address);
    function quote() external view returns (address);

    /// @notice Price of one whole base token in whole quote tokens.
    /// @return low lowest price this source stands for, in WAD, rounded down
    /// @return high highest price it stands for, in WAD, rounded up
    /// @return status why the price may not be used for minting or new risk
    function price() external view returns (uint256 low, uint256 high, Status status);

    /// @notice Gas with which `price` answers whatever those it reads do, storage unread before. The same for ever.
    function stipend() external view returns (uint256);

    /// @notice Gas that `price` may come to take beyond what it takes now: a pool searches the longer the more it has
    /// observed. For constructors, which find pools as they are that day.
    function searchGas() external view returns (uint256);
}

/// @title Validated routes of sources
interface IOracleRouter {
    /// @notice Worth of `amount` of `base` (smallest unit) in `quote` (smallest unit) as a range.
    function value(address base, address quote, uint256 amount)
        external
        view
        returns (uint256 low, uint256 high, Status status);

    /// @notice Gas with which `value` answers whatever the sources do, storage unread before. The same for ever.
    function stipend(address base, address quote) external view returns (uint256);

    /// @notice The same of `value` as `IPriceSource.searchGas` of prices.
    function searchGas(address base, address quote) external view returns (uint256);

    /// @notice Gas that `value` may come to take: what it takes now, and what it may take beyond. What this
    /// transaction has not read counts as unread, and is so afterwards. Reverts where there is no price now.
    function valueGas(address base, address quote) external view returns (uint256);
}
