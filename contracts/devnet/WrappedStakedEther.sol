// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A wstETH-like token whose rate grows, for local chains
/// @notice The rate steps once a day, as Lido's does with its daily report, and needs no transaction to do so.
contract WrappedStakedEther is ERC20 {
    uint256 public constant INITIAL_RATE = 1.19e18;
    /// @notice Growth of the initial rate per year of 365 days, in wad.
    uint256 public constant YEARLY_GROWTH = 0.03e18;

    address public immutable issuer;
    uint256 public immutable start;

    error NotIssuer(address caller);

    constructor(address issuer_) ERC20("Wrapped liquid staked Ether", "wstETH") {
        issuer = issuer_;
        start = block.timestamp;
    }

    /// @notice stETH per wstETH, in wad.
    function stEthPerToken() public view returns (uint256) {
        uint256 elapsedDays = (block.timestamp - start) / 1 days;
        return INITIAL_RATE + INITIAL_RATE * YEARLY_GROWTH * elapsedDays / 365 / 1e18;
    }

    /// @notice wstETH per stETH, in wad.
    function tokensPerStEth() external view returns (uint256) {
        return getWstETHByStETH(1e18);
    }

    function getStETHByWstETH(uint256 wstEth) external view returns (uint256) {
        return wstEth * stEthPerToken() / 1e18;
    }

    function getWstETHByStETH(uint256 stEth) public view returns (uint256) {
        return stEth * 1e18 / stEthPerToken();
    }

    /// @notice Stakes and wraps in one step, as the original does for plain ether sent to it.
    receive() external payable {
        _mint(msg.sender, getWstETHByStETH(msg.value));
    }

    function mint(address to, uint256 amount) external {
        if (msg.sender != issuer) revert NotIssuer(msg.sender);
        _mint(to, amount);
    }
}
