// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {PriceMath} from "./PriceMath.sol";

/// @dev What is read of a receipt token (Aave v3 `AToken`).
interface IAToken {
    function UNDERLYING_ASSET_ADDRESS() external view returns (address);
}

/// @title An aToken is a claim to as much of its underlying
/// @notice Balances grow, the price does not: one for one, with nothing to read.
contract ATokenSource is IPriceSource {
    error DecimalsMismatch(uint256 base, uint256 quote);
    error UnknownDecimals(address token);

    address public immutable base;
    address public immutable quote;

    constructor(IAToken aToken) {
        (base, quote) = (address(aToken), aToken.UNDERLYING_ASSET_ADDRESS());
        (uint256 baseDecimals, bool baseKnown) = PriceMath.readDecimals(base);
        if (!baseKnown) revert UnknownDecimals(base);
        (uint256 quoteDecimals, bool quoteKnown) = PriceMath.readDecimals(quote);
        if (!quoteKnown) revert UnknownDecimals(quote);
        if (baseDecimals != quoteDecimals) revert DecimalsMismatch(baseDecimals, quoteDecimals);
    }

    /// @inheritdoc IPriceSource
    function stipend() external pure returns (uint256) {
        return 3_000;
    }

    /// @inheritdoc IPriceSource
    function searchGas() external pure returns (uint256) {
        return 0;
    }

    /// @inheritdoc IPriceSource
    function price() external pure returns (uint256 low, uint256 high, Status status) {
        return (PriceMath.WAD, PriceMath.WAD, Status.OK);
    }
}
