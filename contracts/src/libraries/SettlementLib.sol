// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IVault, Params} from "../interfaces/IVault.sol";
import {Settlement, Value} from "../interfaces/Types.sol";
import {Queue, QueueLib} from "./QueueLib.sol";
import {VaultState} from "./VaultState.sol";

/// @dev What a settlement comes to: prices, flows, and shares to mint, move and burn.
struct Outcome {
    uint256 managementShares;
    uint256 performanceShares;
    uint256 redeemPps;
    uint256 depositPps;
    uint256 accepted;
    uint256 minted;
    uint256 filled;
    uint256 paid;
    uint256 exitShares;
}

/// @title Epochs, fees and settlement of a vault
/// @notice Linked into the vault: it keeps the books, the vault moves shares and assets accordingly.
library SettlementLib {
    using Math for uint256;
    using SafeCast for uint256;
    using QueueLib for Queue;
    using Checkpoints for Checkpoints.Trace208;

    uint256 private constant WAD = 1e18;
    uint256 private constant YEAR = 365 days;
    uint256 private constant PPS_ONE = 1e27;
    uint256 private constant VIRTUAL_SHARES = 1e6;
    /// @dev One per cent of the first price; below it deposits roll.
    uint256 private constant RUINED_PPS = PPS_ONE / VIRTUAL_SHARES / 100;
    uint256 private constant MAX_MANAGEMENT_FEE = 0.05e18;
    uint256 private constant MAX_PERFORMANCE_FEE = 0.3e18;
    uint256 private constant MAX_EXIT_FEE = 0.01e18;
    uint256 private constant MAX_EPOCH_LENGTH = 7 days;

    // SET-UP AND PARAMETERS

    function init(VaultState storage s, Params memory p) external {
        uint192 initial = uint192(PPS_ONE / VIRTUAL_SHARES);
        s.currentEpoch = 1;
        s.epochOpenedAt = uint64(block.timestamp);
        s.accruedAt = uint64(block.timestamp);
        s.settledAt = uint64(block.timestamp);
        (s.lastPpsLow, s.lastPpsHigh, s.highWaterMark, s.settledPps) = (initial, initial, initial, initial);
        s.queue.init();
        s.points[1] = s.queue.point();
        _setParams(s, p);
    }

    /// @return feeShares what the old rate charges until now, for the old receiver
    function setParams(VaultState storage s, Params memory p, uint256 supply)
        external
        returns (uint256 feeShares)
    {
        feeShares = _managementShares(s, supply);
        s.accruedAt = uint64(block.timestamp);
        _setParams(s, p);
    }

    // EPOCHS

    function closeEpoch(VaultState storage s) external {
        uint64 epoch = s.currentEpoch;
        require(epoch == s.settledEpoch + 1, IVault.EpochNotSettled(epoch - 1));
        uint256 until = s.epochOpenedAt + s.params.minEpochLength;
        require(block.timestamp >= until, IVault.EpochNotOver(until));
        s.queue.shares += s.openRedeems;
        s.closedDeposits += s.openDeposits;
        s.openRedeems = 0;
        s.openDeposits = 0;
        s.epochClosedAt = uint64(block.timestamp);
        s.epochOpenedAt = uint64(block.timestamp);
        s.currentEpoch = epoch + 1;
        emit IVault.EpochClosed(epoch, s.closedDeposits, s.queue.shares);
    }

    // SETTLEMENT

    /// @param t the quorum's terms
    /// @param nav live net asset value
    /// @param healthy whether every term of it is
    /// @param idle assets at hand before the settlement
    /// @param supply shares before the settlement
    function settle(
        VaultState storage s,
        Settlement calldata t,
        Value calldata nav,
        bool healthy,
        uint256 idle,
        uint256 supply
    ) external returns (Outcome memory o) {
        _checkTerms(s, t);
        _price(s, o, nav, supply);
        require(
            o.redeemPps >= t.minPps && o.redeemPps <= t.maxPps,
            IVault.PpsOutOfRange(o.redeemPps, t.minPps, t.maxPps)
        );
        emit IVault.FeesAccrued(o.managementShares, o.performanceShares);
        _accept(s, o, t, nav, healthy);
        _fill(s, o, idle);
        _close(s, o, t.planHash, nav.low, supply);
    }

    function _checkTerms(VaultState storage s, Settlement calldata t) private view {
        require(t.vault == address(this), IVault.WrongVault(address(this), t.vault));
        require(block.timestamp >= t.validAfter, IVault.TooEarly(t.validAfter));
        require(block.timestamp <= t.validUntil, IVault.Expired(t.validUntil));
        uint256 expected = s.settledEpoch + 1;
        // Every reading a price rests on is later than the close.
        require(
            t.epoch == expected && s.currentEpoch > expected && block.timestamp > s.epochClosedAt,
            IVault.EpochNotClosed(expected, t.epoch)
        );
    }

    /// @dev Management fee, performance fee on the redemption price, then the two prices.
    function _price(VaultState storage s, Outcome memory o, Value calldata nav, uint256 supply) private view {
        // Without shares there is nobody to hold back, and a limit would only part the two prices for later.
        uint256 limit = supply == 0 ? type(uint256).max : _redeemLimit(s);
        o.managementShares = _managementShares(s, supply);
        supply += o.managementShares;
        o.performanceShares = _performanceShares(s, supply, Math.min(_ppsDown(nav.low, supply), limit));
        supply += o.performanceShares;
        o.redeemPps = Math.min(_ppsDown(nav.low, supply), limit);
        o.depositPps = Math.max(
            (nav.high + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES, Math.Rounding.Ceil),
            uint256(s.lastPpsHigh).mulDiv(WAD - s.params.maxStep, WAD, Math.Rounding.Ceil)
        );
    }

    /// @dev Deposits roll to the next epoch, nothing lost, while their price is in doubt or above the terms.
    function _accept(
        VaultState storage s,
        Outcome memory o,
        Settlement calldata t,
        Value calldata nav,
        bool healthy
    ) private {
        uint256 assets = s.closedDeposits;
        if (assets == 0) return;
        uint256 shares = assets.mulDiv(PPS_ONE, o.depositPps);
        uint256 spread = s.params.maxSpread;
        // What is bought now must be worth its price to a redemption now, whichever limit holds either back.
        bool narrow = nav.high - nav.low <= nav.low.mulDiv(spread, WAD)
            && o.depositPps <= o.redeemPps + o.redeemPps.mulDiv(spread, WAD) + 1;
        // After a near-total loss shares cost next to nothing, and a deposit would buy astronomically many.
        bool ruined = o.redeemPps < RUINED_PPS;
        if (!healthy || !narrow || ruined || shares == 0 || o.depositPps > t.maxPps) {
            emit IVault.DepositsRolled(t.epoch, assets);
            return;
        }
        (o.accepted, o.minted) = (assets, shares);
        s.closedDeposits = 0;
        s.depositPps.push(uint48(t.epoch), o.depositPps.toUint208());
    }

    /// @dev Pays as much of the queue as idle assets and accepted deposits allow, the same part to everyone.
    /// Nothing is burned at price 0.
    function _fill(VaultState storage s, Outcome memory o, uint256 idle) private {
        uint256 queued = s.queue.shares;
        uint256 exitFee = s.params.exitFee;
        uint256 pps = o.redeemPps.mulDiv(WAD - exitFee, WAD);
        if (queued == 0 || pps == 0) return;
        uint256 available = idle + o.accepted;
        uint256 filled = queued;
        uint256 paid = queued.mulDiv(pps, PPS_ONE);
        if (paid > available) {
            filled = available.mulDiv(PPS_ONE, pps);
            paid = filled.mulDiv(pps, PPS_ONE);
            if (queued - filled <= queued / QueueLib.DUST) filled = queued;
        }
        if (paid == 0) return;
        (o.filled, o.paid, o.exitShares) = (filled, paid, filled.mulDiv(exitFee, WAD));
        s.queue.fill(filled, paid);
        s.claimableAssets += paid.toUint128();
    }

    function _close(VaultState storage s, Outcome memory o, bytes32 planHash, uint256 navLow, uint256 supply)
        private
    {
        supply += o.managementShares + o.performanceShares + o.minted;
        supply -= o.filled - o.exitShares;
        uint256 nav = navLow + o.accepted - o.paid;
        uint192 pps = _ppsDown(nav, supply).toUint192();
        uint64 epoch = s.settledEpoch + 1;
        s.settledEpoch = epoch;
        s.points[epoch + 1] = s.queue.point();
        s.settledAt = uint64(block.timestamp);
        s.accruedAt = uint64(block.timestamp);
        s.storedNav = nav.toUint128();
        s.settledPps = pps;
        if (pps > s.highWaterMark) s.highWaterMark = pps;
        s.lastPpsLow = o.redeemPps.toUint192();
        s.lastPpsHigh = o.depositPps.toUint192();
        emit IVault.Settled(
            epoch, planHash, o.redeemPps, o.depositPps, o.accepted, o.minted, o.filled, o.paid, nav
        );
    }

    // FEES AND PRICES

    /// @dev Shares that dilute everyone by the management fee since it was last charged.
    function _managementShares(VaultState storage s, uint256 supply) private view returns (uint256) {
        uint256 elapsed = block.timestamp - s.accruedAt;
        uint256 fraction = Math.min(s.params.managementFee * elapsed / YEAR, WAD / 2);
        return supply.mulDiv(fraction, WAD - fraction);
    }

    /// @dev Charges the rise of the redemption price above the high-water mark, by dilution.
    function _performanceShares(VaultState storage s, uint256 supply, uint256 pps)
        private
        view
        returns (uint256)
    {
        uint256 mark = s.highWaterMark;
        if (pps <= mark) return 0;
        uint256 ppsAfter = pps - (pps - mark).mulDiv(s.params.performanceFee, WAD);
        return supply.mulDiv(pps - ppsAfter, ppsAfter);
    }

    /// @dev Bounds gains, so that a jump of a market's rate or a donation cannot be redeemed at once. It never
    /// holds up a loss.
    function _redeemLimit(VaultState storage s) private view returns (uint256) {
        uint256 last = s.lastPpsLow;
        return last + last.mulDiv(s.params.maxRate * (block.timestamp - s.settledAt), WAD);
    }

    function _ppsDown(uint256 nav, uint256 supply) private pure returns (uint256) {
        return (nav + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES);
    }

    function _setParams(VaultState storage s, Params memory p) private {
        require(p.feeRecipient != address(0) && p.feeRecipient != address(this), IVault.ZeroAddress());
        require(p.managementFee <= MAX_MANAGEMENT_FEE, IVault.ParamOutOfBounds("managementFee"));
        require(p.performanceFee <= MAX_PERFORMANCE_FEE, IVault.ParamOutOfBounds("performanceFee"));
        require(p.exitFee <= MAX_EXIT_FEE, IVault.ParamOutOfBounds("exitFee"));
        require(p.maxStep <= WAD, IVault.ParamOutOfBounds("maxStep"));
        require(p.minEpochLength <= MAX_EPOCH_LENGTH, IVault.ParamOutOfBounds("minEpochLength"));
        require(p.minDeposit != 0, IVault.ParamOutOfBounds("minDeposit"));
        require(p.minRedeem != 0, IVault.ParamOutOfBounds("minRedeem"));
        s.params = p;
        emit IVault.ParamsSet(p);
    }
}
