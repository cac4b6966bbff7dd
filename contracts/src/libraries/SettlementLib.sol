// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IVault, Params} from "../interfaces/IVault.sol";
import {Settlement, Value} from "../interfaces/Types.sol";
import {PocketLib} from "./PocketLib.sol";
import {Queue, QueueLib} from "./QueueLib.sol";
import {VaultState} from "./VaultState.sol";

/// @dev What a settlement comes to: prices, flows, and shares to mint, move and burn.
struct Outcome {
    uint256 managementShares;
    uint256 performanceShares;
    /// low PPS within the limit on gains; what redemptions are paid but for a loss window
    uint256 lowPps;
    /// whether the limit holds it back
    bool limited;
    uint256 redeemPps;
    uint256 depositPps;
    uint256 accepted;
    uint256 minted;
    uint256 filled;
    uint256 paid;
    uint256 exitShares;
}

/// @dev What a settlement starts from beside the books.
struct Circumstances {
    /// net asset value, live or by two readings
    Value nav;
    /// whether every term of it is healthy
    bool healthy;
    /// whether new money is welcome
    bool depositsOpen;
    /// assets at hand, and shares
    uint256 idle;
    uint256 supply;
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
    /// @dev At most this part of all shares is dust.
    uint256 private constant DUST = 1e6;
    /// @dev One per cent of the first price; below it deposits roll.
    uint256 private constant RUINED_PPS = PPS_ONE / VIRTUAL_SHARES / 100;
    /// @dev Fall of the redemption price since the last settlement that opens a loss window. What one reading
    /// cannot see may be made unreadable for its sake, so far less is believed at once.
    uint256 private constant MAX_FALL = 0.1e18;
    uint256 private constant MAX_UNREAD_FALL = 0.01e18;
    uint256 private constant LOSS_WINDOW = 1 days;
    /// @dev For so long at least those whose deposits rolled may leave.
    uint256 private constant RESPITE = 10 minutes;
    /// @dev After so long without a settlement anyone may settle a closed epoch. It is longer than an announced
    /// reading stands, so that both readings are later than the close.
    uint256 internal constant PATIENCE = 3 days;
    uint256 private constant MAX_MANAGEMENT_FEE = 0.05e18;
    uint256 private constant MAX_PERFORMANCE_FEE = 0.3e18;
    uint256 private constant MAX_EXIT_FEE = 0.01e18;
    uint256 private constant MAX_EPOCH_LENGTH = 7 days;
    uint256 private constant MIN_AGE = 1 days;
    uint256 private constant MAX_AGE = 30 days;
    /// @dev 10 % a year: gains below it are never held back.
    uint256 private constant MIN_RATE = 0.1e18 / YEAR;

    // SET-UP AND PARAMETERS

    function init(VaultState storage s, Params memory p) external {
        uint192 initial = uint192(PPS_ONE / VIRTUAL_SHARES);
        s.currentEpoch = 1;
        s.epochOpenedAt = uint64(block.timestamp);
        s.accruedAt = uint64(block.timestamp);
        s.settledAt = uint64(block.timestamp);
        (s.lastPpsLow, s.lastPpsHigh, s.highWaterMark) = (initial, initial, initial);
        s.pricedAt = uint64(block.timestamp);
        s.queue.record(1);
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

    function closeEpoch(VaultState storage s, uint256 supply) external {
        uint64 epoch = s.currentEpoch;
        require(epoch == s.settledEpoch + 1, IVault.EpochNotSettled(epoch - 1));
        // Not from the last close: behind a late settlement anyone could close at once, and commit again what had
        // rolled, before its owner may take it back.
        uint256 until = s.settledAt + Math.max(s.params.minEpochLength, RESPITE);
        require(block.timestamp >= until, IVault.EpochNotOver(until));
        // Dust is not what anybody waits for.
        if (s.queue.shares < _dust(s, supply)) s.queue.since = uint64(block.timestamp);
        s.queue.shares += s.openRedeems;
        s.closedDeposits += s.openDeposits;
        s.openRedeems = 0;
        s.openDeposits = 0;
        s.epochClosedAt = uint64(block.timestamp);
        s.epochOpenedAt = uint64(block.timestamp);
        s.currentEpoch = epoch + 1;
        emit IVault.EpochClosed(epoch, s.closedDeposits, s.queue.shares);
    }

    // VIEWS

    /// @dev See `IVault.overdueExits`.
    function overdueExits(VaultState storage s, uint256 supply) external view returns (uint256) {
        uint256 shares = s.queue.shares;
        if (shares < _dust(s, supply) || block.timestamp <= s.queue.since + s.params.maxAge) return 0;
        return shares.mulDiv(uint256(s.storedNav) + 1, supply + VIRTUAL_SHARES);
    }

    /// @dev Fewer queued shares than this nobody waits for. The smallest redemption is not enough to go by: after a
    /// gift to an empty vault there may never be as many shares as that.
    function _dust(VaultState storage s, uint256 supply) private view returns (uint256) {
        return Math.min(s.params.minRedeem, supply / DUST + 1);
    }

    // SETTLEMENT

    /// @param t the quorum's terms
    function settle(VaultState storage s, Settlement calldata t, Circumstances memory c)
        external
        returns (Outcome memory o)
    {
        _checkTerms(s, t);
        _price(s, o, c, s.params.performanceFee);
        require(
            o.redeemPps >= t.minPps && o.redeemPps <= t.maxPps,
            IVault.PpsOutOfRange(o.redeemPps, t.minPps, t.maxPps)
        );
        if (_waits(s, o, c.healthy)) return _nothing();
        _accept(s, o, c, t.maxPps);
        _fill(s, o, c);
        _close(s, o, t.planHash, c);
    }

    /// @notice Without the quorum: nobody is charged a performance fee, and nobody's deposit is priced.
    function settleUnattended(VaultState storage s, Circumstances memory c)
        external
        returns (Outcome memory o)
    {
        uint256 epoch = s.settledEpoch + 1;
        require(s.currentEpoch > epoch, IVault.EpochNotClosed(epoch, epoch));
        uint256 until = s.epochClosedAt + PATIENCE;
        require(block.timestamp >= until, IVault.StillAttended(until));
        _price(s, o, c, 0);
        if (_waits(s, o, c.healthy)) return _nothing();
        if (s.closedDeposits != 0) emit IVault.DepositsRolled(epoch, s.closedDeposits);
        _fill(s, o, c);
        _close(s, o, 0, c);
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

    /// @dev One loss window per epoch: who is in the queue when the price falls may leave it, and who stays is
    /// paid the lower of both prices, so that waiting is no free option. What could not be read at the opening
    /// does not bind the price later: an impairment counts only if it is still there.
    function _waits(VaultState storage s, Outcome memory o, bool healthy) private returns (bool) {
        if (s.windowEndsAt != 0 || s.queue.shares == 0) return false;
        uint256 tolerated = healthy ? MAX_FALL : MAX_UNREAD_FALL;
        // From the last price that rested on sound readings alone: what was marked down unread, perhaps by those
        // who made it unreadable, must not pass for the price that the next fall is measured from.
        if (o.redeemPps >= uint256(s.lastPpsLow).mulDiv(WAD - tolerated, WAD)) return false;
        s.windowPps = healthy ? o.redeemPps.toUint192() : type(uint192).max;
        s.windowEndsAt = uint64(block.timestamp + LOSS_WINDOW);
        emit IVault.LossWindowOpened(s.settledEpoch + 1, o.redeemPps, s.windowEndsAt);
        return true;
    }

    function _nothing() private pure returns (Outcome memory o) {}

    /// @dev Management fee, performance fee on the redemption price, then the two prices.
    function _price(VaultState storage s, Outcome memory o, Circumstances memory c, uint256 performanceFee)
        private
        view
    {
        // Without shares there is nobody to hold back, and a limit would only part the two prices for later: one share
        // and a speck left behind would keep deposits away for years. So shares count as none while all of them are
        // worth less than the smallest deposit, at the price of now: a reading that is made to soar pays them no more
        // than that, where by an older price they could take whole deposits.
        uint256 supply = c.supply;
        bool few = supply.mulDiv(c.nav.low + 1, supply + VIRTUAL_SHARES) < s.params.minDeposit;
        uint256 limit = few ? type(uint256).max : _redeemLimit(s);
        o.managementShares = _managementShares(s, supply);
        supply += o.managementShares;
        o.performanceShares =
            _performanceShares(s, supply, Math.min(_ppsDown(c.nav.low, supply), limit), performanceFee);
        supply += o.performanceShares;
        o.lowPps = _ppsDown(c.nav.low, supply);
        if (o.lowPps > limit) (o.lowPps, o.limited) = (limit, true);
        o.redeemPps = o.lowPps;
        uint256 windowEndsAt = s.windowEndsAt;
        if (windowEndsAt != 0) {
            require(block.timestamp >= windowEndsAt, IVault.LossWindowOpen(windowEndsAt));
            o.redeemPps = Math.min(o.lowPps, s.windowPps);
        }
        o.depositPps = Math.max(
            (c.nav.high + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES, Math.Rounding.Ceil),
            uint256(s.lastPpsHigh).mulDiv(WAD - s.params.maxStep, WAD, Math.Rounding.Ceil)
        );
    }

    /// @dev Deposits roll to the next epoch, nothing lost, while their price is in doubt or above the terms.
    function _accept(VaultState storage s, Outcome memory o, Circumstances memory c, uint256 maxPps) private {
        uint256 assets = s.closedDeposits;
        if (assets == 0) return;
        uint256 shares = assets.mulDiv(PPS_ONE, o.depositPps);
        uint256 spread = s.params.maxSpread;
        // What is bought now must be worth its price to a redemption now, whichever limit holds either back.
        bool narrow = c.nav.high - c.nav.low <= c.nav.low.mulDiv(spread, WAD)
            && o.depositPps <= o.redeemPps + o.redeemPps.mulDiv(spread, WAD) + 1;
        // After a near-total loss shares cost next to nothing, and a deposit would buy astronomically many.
        bool ruined = o.lowPps < RUINED_PPS;
        bool welcome = c.depositsOpen && c.healthy && narrow && !ruined;
        // Claims are counted in 128 bits: what is more could never be claimed, nor cancelled.
        bool claimable = shares != 0 && _supplyBefore(o, c) + shares <= type(uint128).max;
        if (!welcome || !claimable || o.depositPps > maxPps) {
            emit IVault.DepositsRolled(s.settledEpoch + 1, assets);
            return;
        }
        (o.accepted, o.minted) = (assets, shares);
        s.closedDeposits = 0;
        s.depositPps.push(uint48(s.settledEpoch + 1), o.depositPps.toUint208());
    }

    /// @dev Pays as much of the queue as idle assets and accepted deposits allow, the same part to everyone.
    /// Nothing is burned at price 0.
    function _fill(VaultState storage s, Outcome memory o, Circumstances memory c) private {
        uint256 queued = s.queue.shares;
        uint256 exitFee = s.params.exitFee;
        uint256 pps = o.redeemPps.mulDiv(WAD - exitFee, WAD);
        if (queued == 0 || pps == 0) return;
        uint256 available = c.idle + o.accepted;
        uint256 filled = queued;
        uint256 paid = queued.mulDiv(pps, PPS_ONE);
        if (paid > available) {
            filled = available.mulDiv(PPS_ONE, pps);
            paid = filled.mulDiv(pps, PPS_ONE);
            if (queued - filled <= queued / QueueLib.DUST) filled = queued;
        }
        if (paid == 0) return;
        (o.filled, o.paid, o.exitShares) = (filled, paid, filled.mulDiv(exitFee, WAD));
        if (s.pockets != 0) PocketLib.issue(s, filled - o.exitShares, _supplyBefore(o, c));
        s.queue.fill(filled, paid);
        s.claimableAssets += paid.toUint128();
    }

    function _close(VaultState storage s, Outcome memory o, bytes32 planHash, Circumstances memory c)
        private
    {
        uint256 supply = _supplyBefore(o, c) - (o.filled - o.exitShares);
        uint256 nav = c.nav.low + o.accepted - o.paid;
        // Up to where the performance fee was charged: what is held back is charged when it may be redeemed.
        uint192 mark = (o.limited ? o.lowPps : _ppsDown(nav, supply)).toUint192();
        uint64 epoch = s.settledEpoch + 1;
        s.settledEpoch = epoch;
        s.queue.record(epoch + 1);
        if (s.pockets != 0) PocketLib.record(s, epoch + 1);
        s.settledAt = uint64(block.timestamp);
        s.accruedAt = uint64(block.timestamp);
        s.storedNav = nav.toUint128();
        if (mark > s.highWaterMark) s.highWaterMark = mark;
        // A price marked down for want of a reading is no base for the limit on gains: it would hold redemptions
        // there long after the position can be read again.
        if (c.healthy) (s.lastPpsLow, s.pricedAt) = (o.lowPps.toUint192(), uint64(block.timestamp));
        // Nor is a high in doubt, or swollen by an open pocket, one for the price of deposits: these would roll
        // until it has come down again, step by step.
        if (c.healthy || o.depositPps < s.lastPpsHigh) s.lastPpsHigh = o.depositPps.toUint192();
        if (s.windowEndsAt != 0) (s.windowPps, s.windowEndsAt) = (0, 0);
        emit IVault.FeesAccrued(o.managementShares, o.performanceShares);
        emit IVault.Settled(
            epoch, planHash, o.redeemPps, o.depositPps, o.accepted, o.minted, o.filled, o.paid, nav
        );
    }

    /// @dev Shares just before those that are filled are burned.
    function _supplyBefore(Outcome memory o, Circumstances memory c) private pure returns (uint256) {
        return c.supply + o.managementShares + o.performanceShares + o.minted;
    }

    // FEES AND PRICES

    /// @dev Shares that dilute everyone by the management fee since it was last charged.
    function _managementShares(VaultState storage s, uint256 supply) private view returns (uint256) {
        uint256 elapsed = block.timestamp - s.accruedAt;
        uint256 fraction = Math.min(s.params.managementFee * elapsed / YEAR, WAD / 2);
        return supply.mulDiv(fraction, WAD - fraction);
    }

    /// @dev Charges the rise of the redemption price above the high-water mark, by dilution.
    function _performanceShares(VaultState storage s, uint256 supply, uint256 pps, uint256 fee)
        private
        view
        returns (uint256)
    {
        uint256 mark = s.highWaterMark;
        if (pps <= mark) return 0;
        uint256 ppsAfter = pps - (pps - mark).mulDiv(fee, WAD);
        return supply.mulDiv(pps - ppsAfter, ppsAfter);
    }

    /// @dev Bounds gains, so that a jump of a market's rate or a donation cannot be redeemed at once. It never
    /// holds up a loss.
    function _redeemLimit(VaultState storage s) private view returns (uint256) {
        uint256 last = s.lastPpsLow;
        return last + last.mulDiv(s.params.maxRate * (block.timestamp - s.pricedAt), WAD);
    }

    function _ppsDown(uint256 nav, uint256 supply) private pure returns (uint256) {
        return (nav + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES);
    }

    function _setParams(VaultState storage s, Params memory p) private {
        require(p.feeRecipient != address(0) && p.feeRecipient != address(this), IVault.ZeroAddress());
        require(p.managementFee <= MAX_MANAGEMENT_FEE, IVault.ParamOutOfBounds("managementFee"));
        require(p.performanceFee <= MAX_PERFORMANCE_FEE, IVault.ParamOutOfBounds("performanceFee"));
        require(p.exitFee <= MAX_EXIT_FEE, IVault.ParamOutOfBounds("exitFee"));
        require(p.maxRate >= MIN_RATE, IVault.ParamOutOfBounds("maxRate"));
        require(p.maxStep <= WAD, IVault.ParamOutOfBounds("maxStep"));
        require(p.minEpochLength <= MAX_EPOCH_LENGTH, IVault.ParamOutOfBounds("minEpochLength"));
        require(p.maxAge >= MIN_AGE && p.maxAge <= MAX_AGE, IVault.ParamOutOfBounds("maxAge"));
        require(p.minDeposit != 0, IVault.ParamOutOfBounds("minDeposit"));
        require(p.minRedeem != 0, IVault.ParamOutOfBounds("minRedeem"));
        s.params = p;
        emit IVault.ParamsSet(p);
    }
}
