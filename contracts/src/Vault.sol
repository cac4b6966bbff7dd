// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Accounting, Params} from "./interfaces/IVault.sol";
import {Settlement, Value} from "./interfaces/Types.sol";
import {Queue, QueueLib, QueuePoint} from "./libraries/QueueLib.sol";
import {Requests} from "./Requests.sol";

/// @title Epochs, settlement and fees of an asynchronous vault
/// @dev One settlement per closed epoch serves both sides: redemptions burn at the low price, deposits mint at
/// the high one. PPS = (NAV + 1) / (shares + 1e6), scaled by 1e27.
contract Vault is Requests {
    using Math for uint256;
    using SafeCast for uint256;
    using QueueLib for Queue;
    using Checkpoints for Checkpoints.Trace208;

    uint256 private constant WAD = 1e18;
    uint256 private constant YEAR = 365 days;
    uint256 private constant MAX_MANAGEMENT_FEE = 0.05e18;
    uint256 private constant MAX_PERFORMANCE_FEE = 0.3e18;
    uint256 private constant MAX_EXIT_FEE = 0.01e18;
    uint256 private constant MAX_EPOCH_LENGTH = 7 days;
    uint256 private constant VIRTUAL_SHARES = 10 ** DECIMALS_OFFSET;

    uint64 private epochOpenedAt;
    uint64 private epochClosedAt;
    uint64 public settledAt;
    uint64 private accruedAt;
    uint256 private lastPpsLow;
    uint256 private lastPpsHigh;
    uint256 public highWaterMark;

    /// @dev What one settlement works out on its way.
    struct Work {
        uint256 redeemPps;
        uint256 depositPps;
        uint256 accepted;
        uint256 minted;
        uint256 filled;
        uint256 paid;
    }

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
    ) ERC20(name_, symbol_) ERC20Permit(name_) Requests(asset_, registry_, portfolio_, escrow_) {
        _setParams(params_);
        registry_.register(address(portfolio_), governor, guardian, keeper);
        currentEpoch = 1;
        epochOpenedAt = uint64(block.timestamp);
        accruedAt = uint64(block.timestamp);
        settledAt = uint64(block.timestamp);
        uint256 initial = PPS_ONE / VIRTUAL_SHARES;
        lastPpsLow = initial;
        lastPpsHigh = initial;
        highWaterMark = initial;
        queue.init();
        points[1] = queue.point();
    }

    // EPOCHS AND SETTLEMENT

    /// @notice See `IVault.closeEpoch`.
    function closeEpoch() external override nonReentrant {
        require(currentEpoch == settledEpoch + 1, EpochNotSettled(currentEpoch - 1));
        uint256 until = epochOpenedAt + _params.minEpochLength;
        require(block.timestamp >= until, EpochNotOver(until));
        queue.shares += openRedeems;
        closedDeposits += openDeposits;
        openRedeems = 0;
        openDeposits = 0;
        epochClosedAt = uint64(block.timestamp);
        epochOpenedAt = uint64(block.timestamp);
        emit EpochClosed(currentEpoch++, closedDeposits, queue.shares);
    }

    /// @notice See `IVault.settle`.
    function settle(Settlement calldata s) external override nonReentrant {
        _checkSettlement(s);
        uint256 managementShares = _accrueManagementFee();
        (Value memory nav, bool healthy) = portfolio.checkpoint();
        uint256 performanceShares = _takePerformanceFee(nav.low);
        emit FeesAccrued(managementShares, performanceShares);

        Work memory w;
        w.redeemPps = Math.min(_pps(nav.low, Math.Rounding.Floor), _redeemPpsLimit());
        w.depositPps = Math.max(
            _pps(nav.high, Math.Rounding.Ceil),
            lastPpsHigh.mulDiv(WAD - _params.maxStep, WAD, Math.Rounding.Ceil)
        );
        require(
            w.redeemPps >= s.minPps && w.redeemPps <= s.maxPps, PpsOutOfRange(w.redeemPps, s.minPps, s.maxPps)
        );
        _acceptDeposits(w, s, nav, healthy);
        _fillQueue(w);
        _moveAssets(w);
        _finish(w, nav.low, s.planHash);
    }

    /// @notice Changes fees, rates and limits; through the registry's timelock once sealed.
    function setParams(Params calldata p) external nonReentrant {
        registry.authorise(address(this), msg.sender, msg.data);
        // What has accrued until now is charged at the old rate and to the old receiver.
        _accrueManagementFee();
        _setParams(p);
    }

    // VIEWS

    /// @notice Low NAV after the flows of the last settlement. Never reverts.
    function totalAssets() external view returns (uint256) {
        return storedNav;
    }

    function convertToShares(uint256 assets) external view returns (uint256) {
        return assets.mulDiv(totalSupply() + VIRTUAL_SHARES, storedNav + 1);
    }

    function convertToAssets(uint256 shares) external view returns (uint256) {
        return shares.mulDiv(storedNav + 1, totalSupply() + VIRTUAL_SHARES);
    }

    function params() external view override returns (Params memory) {
        return _params;
    }

    function accounting() external view override returns (Accounting memory) {
        return Accounting({
            currentEpoch: currentEpoch,
            settledEpoch: settledEpoch,
            epochOpenedAt: epochOpenedAt,
            epochClosedAt: epochClosedAt,
            settledAt: settledAt,
            accruedAt: accruedAt,
            openDeposits: openDeposits,
            closedDeposits: closedDeposits,
            openRedeems: openRedeems,
            queuedShares: queue.shares,
            totalSupply: totalSupply(),
            storedNav: storedNav,
            lastPpsLow: lastPpsLow,
            lastPpsHigh: lastPpsHigh,
            highWaterMark: highWaterMark
        });
    }

    // INTERNAL: SETTLEMENT, IN ITS ORDER

    function _checkSettlement(Settlement calldata s) private view {
        require(msg.sender == registry.keeper(address(this)), NotKeeper(msg.sender));
        require(s.vault == address(this), WrongVault(address(this), s.vault));
        require(block.timestamp >= s.validAfter, TooEarly(s.validAfter));
        require(block.timestamp <= s.validUntil, Expired(s.validUntil));
        uint256 expected = settledEpoch + 1;
        // Every reading a price rests on is later than the close.
        require(
            s.epoch == expected && currentEpoch > expected && block.timestamp > epochClosedAt,
            EpochNotClosed(expected, s.epoch)
        );
    }

    function _accrueManagementFee() private returns (uint256 feeShares) {
        uint256 elapsed = block.timestamp - accruedAt;
        accruedAt = uint64(block.timestamp);
        uint256 fraction = Math.min(_params.managementFee * elapsed / YEAR, WAD / 2);
        feeShares = totalSupply().mulDiv(fraction, WAD - fraction);
        if (feeShares != 0) _mint(_params.feeRecipient, feeShares);
    }

    /// @dev Charges the rise of the redemption price above the high-water mark, by dilution.
    function _takePerformanceFee(uint256 navLow) private returns (uint256 feeShares) {
        uint256 pps = Math.min(_pps(navLow, Math.Rounding.Floor), _redeemPpsLimit());
        if (pps <= highWaterMark) return 0;
        uint256 ppsAfter = pps - (pps - highWaterMark).mulDiv(_params.performanceFee, WAD);
        feeShares = totalSupply().mulDiv(pps - ppsAfter, ppsAfter);
        if (feeShares != 0) _mint(_params.feeRecipient, feeShares);
    }

    /// @dev Deposits roll to the next epoch while their price is in doubt; nothing is lost.
    function _acceptDeposits(Work memory w, Settlement calldata s, Value memory nav, bool healthy) private {
        uint256 assets = closedDeposits;
        if (assets == 0) return;
        uint256 shares = assets.mulDiv(PPS_ONE, w.depositPps);
        bool narrow = nav.high - nav.low <= nav.low.mulDiv(_params.maxSpread, WAD);
        if (!healthy || !narrow || shares == 0 || w.depositPps > s.maxPps) {
            emit DepositsRolled(s.epoch, assets);
            return;
        }
        w.accepted = assets;
        w.minted = shares;
        closedDeposits = 0;
        depositPps.push(uint48(s.epoch), w.depositPps.toUint208());
    }

    /// @dev Pays as much of the queue as idle assets and accepted deposits allow, the same part to everyone.
    function _fillQueue(Work memory w) private {
        uint256 queued = queue.shares;
        uint256 exitFee = _params.exitFee;
        uint256 pps = w.redeemPps.mulDiv(WAD - exitFee, WAD);
        if (queued == 0 || pps == 0) return;
        uint256 available = portfolio.idle() + w.accepted;
        w.filled = queued;
        w.paid = queued.mulDiv(pps, PPS_ONE);
        if (w.paid > available) {
            w.filled = available.mulDiv(PPS_ONE, pps);
            w.paid = w.filled.mulDiv(pps, PPS_ONE);
            if (queued - w.filled <= queued / QueueLib.DUST) w.filled = queued;
        }
        if (w.paid == 0) {
            w.filled = 0;
            return;
        }
        queue.fill(w.filled, w.paid);
        uint256 feeShares = w.filled.mulDiv(exitFee, WAD);
        if (feeShares != 0) _transfer(address(this), _params.feeRecipient, feeShares);
        _burn(address(this), w.filled - feeShares);
    }

    /// @dev Deposits and redemptions are netted: one transfer at most.
    function _moveAssets(Work memory w) private {
        if (w.minted != 0) _mint(address(this), w.minted);
        if (w.accepted > w.paid) {
            uint256 net = w.accepted - w.paid;
            escrow.pay(address(portfolio), net);
            portfolio.receiveIdle(net);
        } else if (w.paid > w.accepted) {
            uint256 net = w.paid - w.accepted;
            portfolio.release(net);
            escrow.credit(net);
        }
    }

    function _finish(Work memory w, uint256 navLow, bytes32 planHash) private {
        settledEpoch += 1;
        points[settledEpoch + 1] = queue.point();
        settledAt = uint64(block.timestamp);
        storedNav = navLow + w.accepted - w.paid;
        uint256 ppsAfter = _pps(storedNav, Math.Rounding.Floor);
        if (ppsAfter > highWaterMark) highWaterMark = ppsAfter;
        lastPpsLow = w.redeemPps;
        lastPpsHigh = w.depositPps;
        emit Settled(
            settledEpoch,
            planHash,
            w.redeemPps,
            w.depositPps,
            w.accepted,
            w.minted,
            w.filled,
            w.paid,
            storedNav
        );
    }

    function _pps(uint256 nav, Math.Rounding rounding) private view returns (uint256) {
        return (nav + 1).mulDiv(PPS_ONE, totalSupply() + VIRTUAL_SHARES, rounding);
    }

    /// @dev Bounds gains, so that a jump of a market's rate or a donation cannot be redeemed at once. It never
    /// holds up a loss.
    function _redeemPpsLimit() private view returns (uint256) {
        return lastPpsLow + lastPpsLow.mulDiv(_params.maxRate * (block.timestamp - settledAt), WAD);
    }

    function _setParams(Params memory p) private {
        require(p.feeRecipient != address(0) && p.feeRecipient != address(this), ZeroAddress());
        require(p.managementFee <= MAX_MANAGEMENT_FEE, ParamOutOfBounds("managementFee"));
        require(p.performanceFee <= MAX_PERFORMANCE_FEE, ParamOutOfBounds("performanceFee"));
        require(p.exitFee <= MAX_EXIT_FEE, ParamOutOfBounds("exitFee"));
        require(p.maxStep <= WAD, ParamOutOfBounds("maxStep"));
        require(p.minEpochLength <= MAX_EPOCH_LENGTH, ParamOutOfBounds("minEpochLength"));
        require(p.minDeposit != 0, ParamOutOfBounds("minDeposit"));
        require(p.minRedeem != 0, ParamOutOfBounds("minRedeem"));
        _params = p;
        emit ParamsSet(p);
    }
}
