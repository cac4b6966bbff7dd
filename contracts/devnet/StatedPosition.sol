// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IConnector} from "../src/interfaces/IConnector.sol";
import {IIsolated} from "../src/interfaces/IIsolated.sol";

/// @title Positions that are worth what they were last told, for tests of the ledger's mirror
/// @notice Its protocol is its own balance. Anybody may state a report, also one that nobody can believe.
contract StatedPosition is IConnector, IIsolated {
    struct Stated {
        uint256 low;
        uint256 high;
        uint256 state;
    }

    IERC20 private immutable asset;
    address public immutable override portfolio;
    bool public immutable override isolated;
    mapping(bytes32 key => Stated) private stated;

    constructor(address portfolio_, IERC20 asset_, bool isolated_) {
        (portfolio, asset, isolated) = (portfolio_, asset_, isolated_);
    }

    /// @notice As the market, or a batch, moves it; `paid` goes to the portfolio.
    function become(bytes32 key, uint256 low, uint256 high, uint256 state, uint256 paid) external {
        stated[key] = Stated(low, high, state);
        if (paid != 0) asset.transfer(portfolio, paid);
    }

    function supply(bytes32 key, uint256 assets) external override {
        stated[key].low += assets;
        stated[key].high += assets;
    }

    function withdraw(bytes32 key, uint256 assets) external override returns (uint256) {
        stated[key].low -= assets;
        stated[key].high -= assets;
        asset.transfer(portfolio, assets);
        return assets;
    }

    function report(bytes32 key) external view override returns (uint256, uint256, uint256) {
        return (stated[key].low, stated[key].high, stated[key].state);
    }
}
