// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../../src/interfaces/IPortfolio.sol";
import {Accounting, IVault, Params} from "../../src/interfaces/IVault.sol";
import {Settlement} from "../../src/interfaces/Types.sol";
import {WorldActions} from "./WorldActions.sol";

/// @dev Settles, and judges the settlement by balances and ledgers before and after alone, by arithmetic of its
/// own.
abstract contract Settling is WorldActions {
    struct Ledger {
        Accounting a;
        Seen seen;
        uint256 escrowed;
        uint256 held; // shares at the vault itself
        uint256[] claimable; // assets, by actor
    }

    /// @dev What a settlement did, worked out of two ledgers.
    struct Flows {
        uint256 accepted;
        uint256 minted;
        uint256 filled;
        uint256 paid;
        uint256 feeShares;
        uint256 livePps; // low, after fees
        uint256 redeemPps; // what redemptions were paid: live, or less where gains or a loss window limit it
        bool limited; // redemptions were paid less than the live price
    }

    function _closeAndSettle() internal {
        if (!_closed()) _tryToClose(address(this));
        skip(1);
        _settle();
    }

    /// @dev Invariants 2 and 7 without the quorum: after 3 days and two readings anyone settles, nobody is minted
    /// shares but for the management fee, and redemptions are paid no more than the price now.
    function _settleUnattended(address caller) internal {
        Ledger memory before = _ledger();
        bool due = _closed() && block.timestamp >= before.a.epochClosedAt + 3 days
            && announcedAt > before.a.epochClosedAt && block.timestamp >= before.a.windowEndsAt;
        uint256 managementShares = _managementFee();
        vm.prank(caller);
        try vault.settleUnattended() {
            Ledger memory z = _ledger();
            assertTrue(due, "9: settled without the quorum before its time");
            assertEq(
                z.a.closedDeposits, before.a.closedDeposits, "8: a deposit was priced without the quorum"
            );
            if (z.a.settledEpoch == before.a.settledEpoch) {
                assertEq(z.escrowed, before.escrowed, "3: opening a loss window moved something");
                ++times["loss window"];
                return;
            }
            uint256 filled = before.a.queuedShares - z.a.queuedShares;
            uint256 paid = z.escrowed - before.escrowed;
            uint256 burned = filled - filled * vault.params().exitFee / WAD;
            assertEq(
                z.a.totalSupply + burned,
                before.a.totalSupply + managementShares,
                "5: a fee without the quorum"
            );
            uint256 pps =
                (before.seen.low + 1) * PPS_ONE / (before.a.totalSupply + managementShares + VIRTUAL_SHARES);
            if (before.seen.healthy) {
                assertLe(paid * PPS_ONE, filled * pps, "2: redemptions paid above the live price");
            }
            ++times["settled"];
            ++times["settled unattended"];
        } catch (bytes memory reason) {
            if (!due) return;
            bytes4 selector = bytes4(reason);
            assertTrue(
                selector == IPortfolio.TooEarly.selector || selector == IPortfolio.Expired.selector
                    || selector == IPortfolio.PositionsChanged.selector,
                "7: nobody could settle without the quorum"
            );
        }
    }

    /// @dev Settles, if need be after a loss window: there is one at most.
    function _settleForGood() internal {
        if (block.timestamp < vault.accounting().windowEndsAt) vm.warp(vault.accounting().windowEndsAt);
        _settle();
        if (!_closed()) return;
        vm.warp(vault.accounting().windowEndsAt);
        _settle();
        assertFalse(_closed(), "7: a loss window was extended");
    }

    /// @dev Invariant 7: nothing that users, tokens or connectors do makes this revert; only a loss window holds
    /// it up.
    function _settle() internal {
        Params memory p = vault.params();
        uint256 managementShares = _managementFee();
        Ledger memory before = _ledger();
        if (block.timestamp < before.a.windowEndsAt) {
            Settlement memory early = settlement();
            vm.expectPartialRevert(IVault.LossWindowOpen.selector);
            vault.settle(early);
            ++times["held by a window"];
            return;
        }
        vault.settle(settlement());
        Ledger memory z = _ledger();
        if (z.a.settledEpoch == before.a.settledEpoch) {
            _assertWindow(before, z);
            return;
        }
        assertEq(z.a.windowEndsAt, 0, "7: a loss window outlives its settlement");
        Flows memory f;
        f.accepted = before.a.closedDeposits - z.a.closedDeposits;
        f.filled = before.a.queuedShares - z.a.queuedShares;
        f.paid = z.escrowed + f.accepted - before.escrowed;
        f.minted = z.held + f.filled - before.held;
        uint256 burned = f.filled - f.filled * p.exitFee / WAD;
        f.feeShares = z.a.totalSupply + burned - f.minted - before.a.totalSupply;
        uint256 shares = before.a.totalSupply + f.feeShares + VIRTUAL_SHARES;
        f.livePps = (before.seen.low + 1) * PPS_ONE / shares;
        f.redeemPps = _redeemPps(before, f.livePps, p);
        f.limited = f.redeemPps < f.livePps;
        _assertNav(before, z, f, shares);
        _assertPrices(before, z, f);
        _assertFees(before, f, managementShares);
        _assertLiquidityUsed(z, f, p);
        _assertProRata(before, z, f);
        _count(before, f);
    }

    /// @dev A window opens upon a fall and moves nothing.
    function _assertWindow(Ledger memory before, Ledger memory z) private {
        assertEq(before.a.windowEndsAt, 0, "7: a second loss window");
        assertGt(before.a.queuedShares, 0, "7: a loss window for nobody");
        uint256 part = before.seen.healthy ? 0.9e18 : 0.99e18;
        uint256 pps =
            (before.seen.low + 1) * PPS_ONE / (before.a.totalSupply + _managementFee() + VIRTUAL_SHARES);
        assertLt(pps, before.a.lastPpsLow * part / WAD, "7: a loss window without a loss");
        z.a.windowEndsAt = 0;
        z.a.windowPps = 0;
        assertEq(
            keccak256(abi.encode(z.a, z.escrowed, z.held, z.claimable)),
            keccak256(abi.encode(before.a, before.escrowed, before.held, before.claimable)),
            "3: opening a loss window moved something"
        );
        ++times["loss window"];
    }

    /// @dev Shares that are worth less than the smallest deposit count as none, and nobody is held back.
    function _redeemPps(Ledger memory before, uint256 livePps, Params memory p)
        private
        view
        returns (uint256 pps)
    {
        pps = livePps;
        Accounting memory a = before.a;
        if (a.totalSupply * (before.seen.low + 1) / (a.totalSupply + VIRTUAL_SHARES) >= p.minDeposit) {
            uint256 limit = a.lastPpsLow + a.lastPpsLow * (p.maxRate * (block.timestamp - a.pricedAt)) / WAD;
            if (limit < pps) pps = limit;
        }
        if (a.windowEndsAt != 0 && a.windowPps < pps) pps = a.windowPps;
    }

    /// @dev Invariant 2.
    function _assertNav(Ledger memory before, Ledger memory z, Flows memory f, uint256 shares) private pure {
        assertEq(z.a.storedNav, before.seen.low + f.accepted - f.paid, "2: stored NAV");
        assertEq(z.seen.low, z.a.storedNav, "2: live low NAV after the flows");
        uint256 sharesAfter = z.a.totalSupply + VIRTUAL_SHARES;
        assertGe(
            (z.a.storedNav + 1) * shares,
            (before.seen.low + 1) * sharesAfter,
            "2: a settlement rounded against those who stay"
        );
        if (f.limited || before.seen.low != before.seen.high || z.a.lastPpsHigh > f.livePps + 1) return;
        // Each price is rounded by one, each payment by a unit, what is minted by a share, which is worth many
        // units after a gift to an empty vault; a fill by the part of the queue called dust.
        uint256 slack = 3 + f.paid / 1e8 + (f.filled + f.minted) / PPS_ONE + f.accepted / z.a.lastPpsHigh
            + z.a.lastPpsHigh / PPS_ONE;
        assertLe(
            (z.a.storedNav + 1) * shares,
            (before.seen.low + 1) * sharesAfter + slack * shares,
            "2: a settlement took from those who leave or join"
        );
    }

    /// @dev Invariants 5 and 8.
    function _assertPrices(Ledger memory before, Ledger memory z, Flows memory f) private pure {
        assertGe(z.a.highWaterMark, before.a.highWaterMark, "5: the high-water mark fell");
        if (before.seen.healthy && z.a.lastPpsLow < f.livePps && z.a.highWaterMark != before.a.highWaterMark)
        {
            assertEq(z.a.highWaterMark, z.a.lastPpsLow, "5: the mark rose above what was charged");
        }
        if (before.seen.healthy) assertLe(z.a.lastPpsLow, f.livePps, "2: a base above the live price");
        else assertEq(z.a.lastPpsLow, before.a.lastPpsLow, "7: a base from what could not be read");
        if (before.seen.healthy) {
            assertLe(f.redeemPps, z.a.lastPpsHigh, "8: deposits cheaper than redemptions");
        } else {
            assertLe(z.a.lastPpsHigh, before.a.lastPpsHigh, "7: a base from a price in doubt");
        }
        assertLe(f.minted * f.redeemPps, f.accepted * PPS_ONE, "8: deposit and redeem profit at one price");
        assertLe(f.paid * PPS_ONE, f.filled * f.redeemPps, "2: redemptions paid above their price");
        if (f.minted == 0 || f.limited) return;
        // What the minted shares are worth at once, of the assets they brought.
        uint256 worth = f.minted * (z.a.storedNav + 1) / (z.a.totalSupply + VIRTUAL_SHARES);
        assertLe(worth, f.accepted + 1 + f.paid / 1e8, "8: deposits gain on the others");
    }

    function _assertFees(Ledger memory before, Flows memory f, uint256 managementShares) private pure {
        assertGe(f.feeShares, managementShares, "management fee");
        if (f.livePps <= before.a.highWaterMark) {
            assertEq(f.feeShares, managementShares, "5: a performance fee below the high-water mark");
        }
    }

    /// @dev Invariant 7: the queue waits for nothing but assets.
    function _assertLiquidityUsed(Ledger memory z, Flows memory f, Params memory p) private pure {
        uint256 pps = f.redeemPps * (WAD - p.exitFee) / WAD;
        // What is worth less than a unit altogether is not burned for nothing.
        if (z.a.queuedShares * pps / PPS_ONE == 0) return;
        assertLe(z.seen.idle, 1 + pps / PPS_ONE, "7: redemptions wait beside idle assets");
        assertLe(f.paid, z.escrowed, "1: paid beyond the escrow's ledger");
    }

    /// @dev Each controller gets its part of what was paid, whoever the others are.
    function _assertProRata(Ledger memory before, Ledger memory z, Flows memory f) private view {
        uint256 queued = before.a.queuedShares;
        for (uint256 i; i < ACTORS; ++i) {
            uint256 fetched = z.claimable[i] - before.claimable[i];
            uint256 shares = joined[actors[i]];
            (uint256 fair, uint256 most) =
                queued == 0 ? (0, 0) : (f.paid * shares / queued, f.paid * (shares + 1) / queued);
            // After a partial fill a part of one more share may wait, which no view shows; it matters where a share
            // is worth about a unit. What a controller has not touched for several settlements is rounded once,
            // over all of them; what it has queued before and what has joined since, each by itself.
            assertLe(fetched, most + 2, "1: more than the part of what was paid");
            assertGe(fetched + 2 + f.paid / 1e9, fair, "7: less than the part of what was paid");
        }
    }

    function _count(Ledger memory before, Flows memory f) private {
        ++times["settled"];
        if (f.accepted != 0) ++times["deposits accepted"];
        if (before.a.closedDeposits != f.accepted) ++times["deposits rolled"];
        if (f.filled != 0) {
            ++times[f.filled == before.a.queuedShares ? bytes32("full fill") : bytes32("partial fill")];
        }
        if (f.limited) ++times["redemptions limited"];
        if (!before.seen.healthy) ++times["settled impaired"];
    }

    /// @dev Shares of the fee since it was last charged: of the supply afterwards they are the fee's fraction.
    function _managementFee() internal view returns (uint256) {
        Accounting memory a = vault.accounting();
        uint256 fraction = vault.params().managementFee * (block.timestamp - a.accruedAt) / 365 days;
        if (fraction > WAD / 2) fraction = WAD / 2;
        return a.totalSupply * fraction / (WAD - fraction);
    }

    function _ledger() private view returns (Ledger memory ledger) {
        ledger.a = vault.accounting();
        ledger.seen = _see();
        ledger.escrowed = vault.escrowed();
        ledger.held = vault.balanceOf(address(vault));
        ledger.claimable = new uint256[](ACTORS);
        for (uint256 i; i < ACTORS; ++i) {
            ledger.claimable[i] = vault.maxWithdraw(actors[i]);
        }
    }
}
