// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Entitlements} from "./Entitlements.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Accounting, Params} from "./interfaces/IVault.sol";
import {Settlement, Value} from "./interfaces/Types.sol";
import {Circumstances, Outcome, SettlementLib} from "./libraries/SettlementLib.sol";
import {Pocket, VaultState} from "./libraries/VaultState.sol";
import {Requests} from "./Requests.sol";

/// @title Asynchronous vault: one settlement per closed epoch serves both sides
/// @dev Redemptions burn at the low price, deposits mint at the high one. PPS = (NAV + 1) / (shares + 1e6),
/// scaled by 1e27. `SettlementLib` keeps the books; here shares and assets move accordingly.
contract Vault is Requests {
    using Math for uint256;
    using SettlementLib for VaultState;

    uint256 private constant VIRTUAL_SHARES = 10 ** DECIMALS_OFFSET;

    constructor(
        IERC20Metadata asset_,
        string memory name_,
        string memory symbol_,
        IRegistry registry_,
        IPortfolio portfolio_,
        IEscrow escrow_,
        address governor,
        address guardian,
        address keeper,
        Params memory params_
    ) ERC20(name_, symbol_) ERC20Permit(name_) Entitlements(asset_, registry_, portfolio_, escrow_) {
        state.init(params_);
        registry_.register(address(portfolio_), governor, guardian, keeper);
    }

    // EPOCHS AND SETTLEMENT

    /// @notice See `IVault.closeEpoch`.
    function closeEpoch() external override nonReentrant {
        state.closeEpoch(totalSupply());
    }

    /// @notice See `IVault.settle`.
    function settle(Settlement calldata settlement) external override nonReentrant {
        require(msg.sender == registry.keeper(address(this)), NotKeeper(msg.sender));
        (, uint256 pausedUntil) = _depositGate();
        _move(state.settle(settlement, _checkpoint(false, block.timestamp >= pausedUntil)));
    }

    /// @notice See `IVault.settleUnattended`.
    function settleUnattended() external override nonReentrant {
        _move(state.settleUnattended(_checkpoint(true, false)));
    }

    /// @notice See `IVault.markDown`. Takes no lock: readings refuse to be taken under it.
    function markDown() external override {
        (Value memory nav,,) = portfolio.twoReadings();
        require(nav.low < state.storedNav, NothingToMarkDown(state.storedNav, nav.low));
        // forge-lint: disable-next-line(unsafe-typecast) less than a uint128
        state.storedNav = uint128(nav.low);
        emit MarkedDown(nav.low);
    }

    /// @notice Changes fees, rates and limits; through the registry's timelock once sealed.
    function setParams(Params calldata p) external nonReentrant {
        registry.authorise(address(this), msg.sender, msg.data);
        uint256 delay = registry.delay(address(this));
        // Whoever dislikes a change must be able to leave before it is made.
        require(
            delay == 0 || delay >= uint256(p.maxAge) + 2 * uint256(p.minEpochLength),
            ParamOutOfBounds("maxAge")
        );
        address feeRecipient = state.params.feeRecipient;
        _mintSome(feeRecipient, state.setParams(p, totalSupply()));
    }

    // VIEWS

    /// @notice Low NAV after the flows of the last settlement, or what it was marked down to. Never reverts.
    function totalAssets() external view override returns (uint256) {
        return state.storedNav;
    }

    function convertToShares(uint256 assets) external view returns (uint256) {
        return assets.mulDiv(totalSupply() + VIRTUAL_SHARES, uint256(state.storedNav) + 1);
    }

    function convertToAssets(uint256 shares) external view returns (uint256) {
        return shares.mulDiv(uint256(state.storedNav) + 1, totalSupply() + VIRTUAL_SHARES);
    }

    function highWaterMark() external view returns (uint256) {
        return state.highWaterMark;
    }

    /// @notice See `IVault.pricedNav`.
    function pricedNav() external view override returns (uint256) {
        return Math.min(state.storedNav, (totalSupply() + VIRTUAL_SHARES).mulDiv(state.lastPpsLow, PPS_ONE));
    }

    /// @notice See `IVault.pockets`.
    function pockets() external view override returns (uint256) {
        return state.pockets;
    }

    /// @notice See `IVault.pocket`.
    function pocket(uint256 id) external view override returns (uint256 owed, uint256 total, uint256 until) {
        Pocket storage p = state.pocket[id];
        return (p.owed, p.total, p.until);
    }

    function settledAt() external view returns (uint256) {
        return state.settledAt;
    }

    /// @notice See `IVault.overdueExits`.
    function overdueExits() external view override returns (uint256) {
        return state.overdueExits(totalSupply());
    }

    function params() external view override returns (Params memory) {
        return state.params;
    }

    function accounting() external view override returns (Accounting memory) {
        return Accounting({
            currentEpoch: state.currentEpoch,
            settledEpoch: state.settledEpoch,
            epochOpenedAt: state.epochOpenedAt,
            epochClosedAt: state.epochClosedAt,
            settledAt: state.settledAt,
            accruedAt: state.accruedAt,
            openDeposits: state.openDeposits,
            closedDeposits: state.closedDeposits,
            openRedeems: state.openRedeems,
            queuedShares: state.queue.shares,
            totalSupply: totalSupply(),
            storedNav: state.storedNav,
            lastPpsLow: state.lastPpsLow,
            lastPpsHigh: state.lastPpsHigh,
            highWaterMark: state.highWaterMark,
            windowPps: state.windowPps,
            windowEndsAt: state.windowEndsAt,
            queuedSince: state.queue.since,
            pricedAt: state.pricedAt
        });
    }

    // INTERNAL

    function _mintSome(address to, uint256 shares) private {
        if (shares != 0) _mint(to, shares);
    }

    function _checkpoint(bool twice, bool depositsOpen) private returns (Circumstances memory) {
        (Value memory nav, bool healthy) = portfolio.checkpoint(twice);
        return Circumstances(nav, healthy, depositsOpen, portfolio.idle(), totalSupply());
    }

    /// @dev Moves shares and assets as the books say. Deposits and redemptions are netted: one transfer of
    /// assets at most.
    function _move(Outcome memory o) private {
        address feeRecipient = state.params.feeRecipient;
        _mintSome(feeRecipient, o.managementShares + o.performanceShares);
        _mintSome(address(this), o.minted);
        if (o.exitShares != 0) _transfer(address(this), feeRecipient, o.exitShares);
        if (o.filled != 0) _burn(address(this), o.filled - o.exitShares);
        if (o.accepted > o.paid) {
            uint256 net = o.accepted - o.paid;
            _pay(address(portfolio), net);
            portfolio.receiveIdle(net);
        } else if (o.paid > o.accepted) {
            portfolio.release(o.paid - o.accepted);
        }
    }
}
