// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IPortfolio} from "../interfaces/IPortfolio.sol";
import {Call} from "../interfaces/Types.sol";

/// @dev A token that a batch names, and what lay at the portfolio of it before the first call.
struct Brought {
    address token;
    uint256 atStart;
}

/// @title Tokens other than the vault's asset, which live in the portfolio during a batch alone
/// @dev Differences to the start, never balances: what a stranger sent beforehand can neither be spent nor be in
/// the way. What arrives during the batch counts as brought in, whoever sent it: whoever is given control in the
/// middle of a call could make it revert as well.
library BroughtLib {
    /// @notice As amount of a call: everything of its token that the batch has brought in, be it nothing.
    uint256 internal constant EVERYTHING = type(uint256).max;

    /// @dev The tokens that calls name, but for `asset` and none at all, each once. Nothing is read for a batch
    /// that names the asset alone.
    function open(Call[] calldata calls, address asset) internal view returns (Brought[] memory brought) {
        uint256 count;
        for (uint256 i; i < calls.length; ++i) {
            address token = calls[i].token;
            if (token == asset || token == address(0)) continue;
            if (count == 0) brought = new Brought[](calls.length);
            uint256 j;
            while (j < count && brought[j].token != token) ++j;
            if (j == count) brought[count++] = Brought(token, _balance(token));
        }
        assembly ("memory-safe") {
            // The empty array is a constant of the compiler's, and its length is 0 already.
            if count { mstore(brought, count) }
        }
    }

    /// @return what a call that asks for `wanted` is given
    function take(Brought[] memory brought, address token, uint256 wanted) internal view returns (uint256) {
        uint256 i;
        while (i < brought.length && brought[i].token != token) ++i;
        uint256 available = i < brought.length ? _since(brought[i]) : 0;
        if (wanted == EVERYTHING) return available;
        require(wanted <= available, IPortfolio.NotBroughtIn(token, available, wanted));
        return wanted;
    }

    function close(Brought[] memory brought) internal view {
        for (uint256 i; i < brought.length; ++i) {
            uint256 left = _since(brought[i]);
            require(left == 0, IPortfolio.TokenLeft(brought[i].token, left));
        }
    }

    /// @dev A token that takes something away by itself has taken nothing of the batch's.
    function _since(Brought memory brought) private view returns (uint256) {
        uint256 balance = _balance(brought.token);
        return balance > brought.atStart ? balance - brought.atStart : 0;
    }

    /// @dev Of what is no contract there is nothing.
    function _balance(address token) private view returns (uint256) {
        return token.code.length == 0 ? 0 : IERC20(token).balanceOf(address(this));
    }
}
