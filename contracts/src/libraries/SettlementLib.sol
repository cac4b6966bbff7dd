// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Accounting, IVault, Params} from "../interfaces/IVault.sol";
import {Settlement, Value} from "../interfaces/Types.sol";
import {QueueLib} from "./QueueLib.sol";

/// @dev What a settlement comes to: prices, flows, fees in shares. Prices per share (PPS) are assets per share
/// scaled by 1e27.
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

/// @title The arithmetic of a settlement, in its order
/// @notice Pure, so that it can be mirrored and replayed: fees, the two prices, which deposits are accepted, how
/// much of the queue is filled.
library SettlementLib {
    using Math for uint256;

    uint256 private constant WAD = 1e18;
    uint256 private constant YEAR = 365 days;
    uint256 private constant PPS_ONE = 1e27;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    /// @param idle assets at hand before the settlement
    /// @param nav live net asset value
    /// @param healthy whether every term of it is
    /// @param s the quorum's bounds; reverts when the redemption price lies outside them
    function compute(
        Accounting memory a,
        Params memory p,
        uint256 idle,
        Value memory nav,
        bool healthy,
        Settlement memory s
    ) external view returns (Outcome memory o) {
        uint256 limit = redeemLimit(a, p);
        o.managementShares = managementShares(a, p);
        uint256 supply = a.totalSupply + o.managementShares;
        o.performanceShares = _performanceShares(a, p, supply, Math.min(_ppsDown(nav.low, supply), limit));
        supply += o.performanceShares;
        o.redeemPps = Math.min(_ppsDown(nav.low, supply), limit);
        o.depositPps = Math.max(
            _ppsUp(nav.high, supply), a.lastPpsHigh.mulDiv(WAD - p.maxStep, WAD, Math.Rounding.Ceil)
        );
        require(
            o.redeemPps >= s.minPps && o.redeemPps <= s.maxPps,
            IVault.PpsOutOfRange(o.redeemPps, s.minPps, s.maxPps)
        );
        _accept(o, a, p, nav, healthy, s.maxPps);
        _fill(o, a, p, idle);
    }

    /// @dev Shares that dilute everyone by the management fee since it was last charged.
    function managementShares(Accounting memory a, Params memory p) public view returns (uint256) {
        uint256 elapsed = block.timestamp - a.accruedAt;
        uint256 fraction = Math.min(p.managementFee * elapsed / YEAR, WAD / 2);
        return a.totalSupply.mulDiv(fraction, WAD - fraction);
    }

    /// @dev Bounds gains, so that a jump of a market's rate or a donation cannot be redeemed at once. It never
    /// holds up a loss.
    function redeemLimit(Accounting memory a, Params memory p) internal view returns (uint256) {
        return a.lastPpsLow + a.lastPpsLow.mulDiv(p.maxRate * (block.timestamp - a.settledAt), WAD);
    }

    /// @dev Charges the rise of the redemption price above the high-water mark, by dilution.
    function _performanceShares(Accounting memory a, Params memory p, uint256 supply, uint256 pps)
        private
        pure
        returns (uint256)
    {
        if (pps <= a.highWaterMark) return 0;
        uint256 ppsAfter = pps - (pps - a.highWaterMark).mulDiv(p.performanceFee, WAD);
        return supply.mulDiv(pps - ppsAfter, ppsAfter);
    }

    /// @dev Deposits roll to the next epoch while their price is in doubt or above what the quorum allows.
    function _accept(
        Outcome memory o,
        Accounting memory a,
        Params memory p,
        Value memory nav,
        bool healthy,
        uint256 maxPps
    ) private pure {
        uint256 shares = uint256(a.closedDeposits).mulDiv(PPS_ONE, o.depositPps);
        bool narrow = nav.high - nav.low <= nav.low.mulDiv(p.maxSpread, WAD);
        if (!healthy || !narrow || shares == 0 || o.depositPps > maxPps) return;
        o.accepted = a.closedDeposits;
        o.minted = shares;
    }

    /// @dev Pays as much of the queue as idle assets and accepted deposits allow, the same part to everyone.
    /// Nothing is burned at price 0.
    function _fill(Outcome memory o, Accounting memory a, Params memory p, uint256 idle) private pure {
        uint256 queued = a.queuedShares;
        uint256 pps = o.redeemPps.mulDiv(WAD - p.exitFee, WAD);
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
        o.filled = filled;
        o.paid = paid;
        o.exitShares = filled.mulDiv(p.exitFee, WAD);
    }

    function _ppsDown(uint256 nav, uint256 supply) private pure returns (uint256) {
        return (nav + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES);
    }

    function _ppsUp(uint256 nav, uint256 supply) private pure returns (uint256) {
        return (nav + 1).mulDiv(PPS_ONE, supply + VIRTUAL_SHARES, Math.Rounding.Ceil);
    }
}
