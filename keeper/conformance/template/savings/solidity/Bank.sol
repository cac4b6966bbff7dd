// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title The example protocol: depositors own shares of what the bank has at hand and has lent out
/// @notice Interest is simple between two accruals. Rounding favours the bank.
contract Bank {
    using SafeERC20 for IERC20;

    uint256 private constant WAD = 1e18;

    /// @dev Shares that nobody owns, over one unit that nobody owns: the first depositor cannot set a price.
    uint256 private constant VIRTUAL_SHARES = 1e6;

    IERC20 public immutable asset;
    address public immutable owner;

    /// @notice Deposits at hand, by ledger.
    uint256 public cash;

    /// @notice What borrowers owed at `lastUpdate`.
    uint256 public lent;

    /// @notice Interest per second on `lent`, in WAD.
    uint256 public rate;
    uint256 public lastUpdate;
    uint256 public totalShares;
    mapping(address account => uint256) public sharesOf;

    error NotOwner(address caller);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    constructor(IERC20 asset_, address owner_) {
        asset = asset_;
        owner = owner_;
        lastUpdate = block.timestamp;
    }

    // VIEWS

    function totalAssets() public view returns (uint256) {
        return cash + lent + lent * rate * (block.timestamp - lastUpdate) / WAD;
    }

    function toAssets(uint256 shares) public view returns (uint256) {
        return Math.mulDiv(shares, totalAssets() + 1, totalShares + VIRTUAL_SHARES);
    }

    // DEPOSITORS

    function deposit(uint256 assets) external returns (uint256 shares) {
        shares = Math.mulDiv(assets, totalShares + VIRTUAL_SHARES, totalAssets() + 1);
        asset.safeTransferFrom(msg.sender, address(this), assets);
        cash += assets;
        sharesOf[msg.sender] += shares;
        totalShares += shares;
    }

    function withdraw(uint256 assets, address to) external returns (uint256 shares) {
        shares = Math.mulDiv(assets, totalShares + VIRTUAL_SHARES, totalAssets() + 1, Math.Rounding.Ceil);
        _pay(shares, assets, to);
    }

    function redeem(uint256 shares, address to) external returns (uint256 assets) {
        assets = toAssets(shares);
        _pay(shares, assets, to);
    }

    function _pay(uint256 shares, uint256 assets, address to) private {
        sharesOf[msg.sender] -= shares;
        totalShares -= shares;
        cash -= assets;
        asset.safeTransfer(to, assets);
    }

    // BORROWERS

    function lend(uint256 assets, address to) external onlyOwner {
        _accrue();
        cash -= assets;
        lent += assets;
        asset.safeTransfer(to, assets);
    }

    function repay(uint256 assets) external {
        _accrue();
        asset.safeTransferFrom(msg.sender, address(this), assets);
        cash += assets;
        lent -= assets;
    }

    function writeOff(uint256 assets) external onlyOwner {
        _accrue();
        lent -= assets;
    }

    function setRate(uint256 rate_) external onlyOwner {
        _accrue();
        rate = rate_;
    }

    function _accrue() private {
        lent = totalAssets() - cash;
        lastUpdate = block.timestamp;
    }
}
