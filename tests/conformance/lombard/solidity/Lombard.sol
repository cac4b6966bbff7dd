// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title A house that lends an asset against pledges of it
/// @notice Pledges bear no interest. A debt is kept over an index that grows by `rate` per second.
contract Lombard {
    using SafeERC20 for IERC20;

    uint256 private constant WAD = 1e18;

    IERC20 public immutable asset;
    address public immutable owner;
    uint256 public index = WAD;
    uint256 public rate;
    uint256 public lastUpdate;

    /// @notice Part of a pledge that a debt may reach, in WAD.
    uint256 public threshold = 0.9e18;
    mapping(address account => uint256) public pledgeOf;
    mapping(address account => uint256) public scaledDebtOf;

    error NotOwner(address caller);
    error Unsafe(uint256 health);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    constructor(IERC20 asset_, address owner_) {
        (asset, owner, lastUpdate) = (asset_, owner_, block.timestamp);
    }

    function currentIndex() public view returns (uint256) {
        return index + index * rate * (block.timestamp - lastUpdate) / WAD;
    }

    function debtOf(address account) public view returns (uint256) {
        return Math.mulDiv(scaledDebtOf[account], currentIndex(), WAD, Math.Rounding.Ceil);
    }

    function healthOf(address account) public view returns (uint256) {
        uint256 owed = debtOf(account);
        return owed == 0 ? type(uint256).max : Math.mulDiv(pledgeOf[account], threshold, owed);
    }

    function pledge(uint256 assets) external {
        asset.safeTransferFrom(msg.sender, address(this), assets);
        pledgeOf[msg.sender] += assets;
    }

    function release(uint256 assets, address to) external {
        pledgeOf[msg.sender] -= assets;
        _checkSafe();
        asset.safeTransfer(to, assets);
    }

    function borrow(uint256 assets, address to) external {
        scaledDebtOf[msg.sender] += Math.mulDiv(assets, WAD, currentIndex(), Math.Rounding.Ceil);
        _checkSafe();
        asset.safeTransfer(to, assets);
    }

    function repayFor(address account, uint256 assets) external {
        asset.safeTransferFrom(msg.sender, address(this), assets);
        uint256 scaled = Math.mulDiv(assets, WAD, currentIndex());
        scaledDebtOf[account] -= Math.min(scaled, scaledDebtOf[account]);
    }

    function setRate(uint256 rate_) external onlyOwner {
        (index, lastUpdate) = (currentIndex(), block.timestamp);
        rate = rate_;
    }

    function setThreshold(uint256 threshold_) external onlyOwner {
        threshold = threshold_;
    }

    function _checkSafe() private view {
        uint256 health = healthOf(msg.sender);
        if (health < WAD) revert Unsafe(health);
    }
}
