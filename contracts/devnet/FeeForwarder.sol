// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Hands a swap's fees on, with the selector of LiFi's forwarder, for local chains
/// @notice Keeps nothing: it takes each fee from its caller to its recipient.
contract FeeForwarder {
    using SafeERC20 for IERC20;

    struct FeeDistribution {
        address recipient;
        uint256 amount;
    }

    event FeesForwarded(address indexed token, FeeDistribution[] distributions);

    function forwardERC20Fees(address token, FeeDistribution[] calldata distributions) external {
        for (uint256 i; i < distributions.length; ++i) {
            IERC20(token).safeTransferFrom(msg.sender, distributions[i].recipient, distributions[i].amount);
        }
        emit FeesForwarded(token, distributions);
    }
}
