// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Accounting} from "../../src/interfaces/IVault.sol";
import {Call} from "../../src/interfaces/Types.sol";
import {Market} from "./Market.sol";
import {PocketActions} from "./PocketActions.sol";
import {UserActions} from "./UserActions.sol";

/// @dev All actions, what must hold between any two of them, and the way out that must be open after all.
contract VaultHandler is UserActions, PocketActions {
    uint256 private highestMark;
    /// @dev What all pockets turned into.
    uint256 private pocketed;

    /// @notice The actions a campaign draws from.
    function actions() external pure returns (bytes4[] memory selectors) {
        bytes4[30] memory all = [
            this.requestDepositFor.selector,
            this.requestRedeemFor.selector,
            this.claimShares.selector,
            this.claimAssets.selector,
            this.setOperator.selector,
            this.moveShares.selector,
            this.attack.selector,
            this.passTime.selector,
            this.gain.selector,
            this.lose.selector,
            this.breakMarket.selector,
            this.healMarket.selector,
            this.donate.selector,
            this.freeze.selector,
            this.closeEpochByAnyone.selector,
            this.settleIfClosed.selector,
            this.closeAndSettle.selector,
            this.supplyTo.selector,
            this.withdrawFrom.selector,
            this.supplyAtALoss.selector,
            this.withdrawAtALoss.selector,
            this.reorder.selector,
            this.changeParams.selector,
            this.changeCap.selector,
            this.cancelDeposit.selector,
            this.cancelRedemption.selector,
            this.unattended.selector,
            this.markDown.selector,
            this.forceDeallocate.selector,
            this.crash.selector
        ];
        selectors = new bytes4[](40);
        for (uint256 i; i < 30; ++i) {
            selectors[i] = all[i];
        }
        selectors[30] = this.pause.selector;
        selectors[31] = this.exitOnly.selector;
        // The way of the money twice as often as the rest.
        for (uint256 i; i < 4; ++i) {
            selectors[32 + i] = all[i];
        }
        selectors[36] = this.splitOff.selector;
        selectors[37] = this.closePocket.selector;
        selectors[38] = this.claimResidual.selector;
        selectors[39] = this.pocket.selector;
    }

    /// @dev A great loss meets a queue, somebody leaves it, and the keeper tries again at once.
    function crash(uint256 who, uint256 place, uint256 part) external {
        if (!_closed()) {
            this.supplyTo(place, part);
            this.requestRedeemFor(who, who, who, part | 1);
            skip(1 hours);
            _tryToClose(_actor(who));
        }
        this.lose(place, part - part % 8);
        skip(1);
        _settle();
        if (part % 3 == 0) this.cancelRedemption(who | 1, who);
        if (part % 3 == 1 && _closed()) _settle();
    }

    /// @notice Invariants 1, 2, 5 and the ledgers behind 9, at rest.
    function check() external {
        Accounting memory a = vault.accounting();
        uint256 claims;
        uint256 pendingDeposits;
        uint256 shares;
        for (uint256 i; i < ACTORS; ++i) {
            address actor = actors[i];
            claims += vault.maxWithdraw(actor) + vault.claimableCancelDepositRequest(0, actor);
            pendingDeposits += vault.pendingDepositRequest(0, actor);
            shares += vault.maxMint(actor) + vault.pendingRedeemRequest(0, actor)
            + vault.claimableCancelRedeemRequest(0, actor);
        }
        claims += _checkPockets();
        uint256 escrowed = vault.escrowed();
        assertEq(pendingDeposits, uint256(a.openDeposits) + a.closedDeposits, "1: pending deposits");
        assertLe(claims + pendingDeposits, escrowed, "1: claims exceed the escrow's ledger");
        assertLe(
            escrowed - claims - pendingDeposits,
            // Each fill and each claim leaves at most a unit per controller.
            (ACTORS + 2) * (times["settled"] + 1 + vault.pockets()) + (a.storedNav + pocketed) / 1e8,
            "1: assets in the escrow that nobody can claim"
        );
        assertEq(
            token.balanceOf(address(escrow)),
            escrowed + donated[address(escrow)],
            "1: escrow beside its ledger"
        );
        assertEq(
            token.balanceOf(address(portfolio)),
            portfolio.idle() + _cash() + donated[address(portfolio)],
            "9: portfolio beside its ledger"
        );
        assertEq(token.balanceOf(address(vault)), donated[address(vault)], "the vault holds no assets");
        assertLe(shares + donatedShares, vault.balanceOf(address(vault)), "1: shares promised twice");
        assertLe(a.queuedShares + a.openRedeems, vault.balanceOf(address(vault)), "1: queued shares not held");
        uint256 all = vault.convertToAssets(a.totalSupply);
        assertLe(all, a.storedNav, "2: all shares are worth more than NAV");
        assertGe(
            (all + 1) * (a.totalSupply + VIRTUAL_SHARES),
            a.storedNav * a.totalSupply,
            "2: all shares are worth less than NAV"
        );
        assertGe(a.highWaterMark, highestMark, "5: the high-water mark fell");
        highestMark = a.highWaterMark;
        _checkMarks();
        assertFalse(markets[0].gotIn() || markets[1].gotIn(), "a connector re-entered");
    }

    /// @dev What those who left may claim of every pocket: nothing of an open one, no more than their part of it.
    function _checkPockets() private returns (uint256 claims) {
        pocketed = 0;
        for (uint256 id = 1; id <= vault.pockets(); ++id) {
            (uint256 owed, uint256 total, uint256 until) = vault.pocket(id);
            uint256 units;
            uint256 assets;
            for (uint256 i; i < ACTORS; ++i) {
                (uint256 unitsOf, uint256 assetsOf) = vault.residualOf(id, actors[i]);
                units += unitsOf;
                assets += assetsOf;
            }
            assertLe(units, owed, "1: more units than were issued");
            assertLe(owed, 1e27, "1: more than all of a pocket");
            assertLe(assets, owed * total / 1e27, "1: more than the pot of a pocket");
            assertEq(until == 0, id == vault.pockets() && _pocketed(), "a pocket neither open nor closed");
            if (until == 0) assertEq(assets, 0, "1: an open pocket pays");
            claims += assets;
            pocketed += total;
        }
    }

    function _cash() private view returns (uint256 cash) {
        (, cash,) = _pocketOf();
    }

    /// @dev Class R: what is stored of positions is what the sums of it say.
    function _checkMarks() private view {
        uint256[3] memory lows;
        uint256[3] memory highs;
        for (uint256 i; i < 3; ++i) {
            (lows[i], highs[i]) = portfolio.marks(address(places[i].market), places[i].key);
        }
        assertEq(portfolio.totalLow(), lows[0] + lows[1] + lows[2], "R: sum of marks");
        assertEq(portfolio.exposures(RISK), highs[0] + highs[1] + highs[2], "R: exposures");
        assertEq(portfolio.exposures(OTHER_RISK), highs[2], "R: exposures of the other risk");
    }

    /// @notice Invariant 7: with markets as broken and risk as paused as they are, everyone not frozen leaves
    /// with what idle assets allow; when the markets are sound again, with everything.
    function exitEveryone() external {
        for (uint256 i; i < ACTORS; ++i) {
            _requestExit(actors[i]);
        }
        if (_closed()) {
            skip(1);
            _settleForGood();
        }
        // Deposits that were priced only now leave too.
        for (uint256 i; i < ACTORS; ++i) {
            _requestExit(actors[i]);
        }
        _closeAndSettleForGood();
        _claimAll();
        for (uint256 i; i < 3; ++i) {
            places[i].market.setFault(Market.Fault.NONE);
        }
        _closeForGood();
        _withdrawEverything();
        _closeAndSettleForGood();
        _claimAll();
        Accounting memory a = vault.accounting();
        // What is worth less than a unit altogether is not burned for nothing.
        assertEq(
            a.queuedShares * (settledPps() * (WAD - vault.params().exitFee) / WAD) / PPS_ONE,
            0,
            "7: somebody is left in the queue"
        );
        ++times["exits"];
    }

    /// @dev A pocket that is open can be closed by anyone within two days, whatever idle assets there are.
    function _closeForGood() private {
        if (!_pocketed()) return;
        (,, uint256 since) = _pocketOf();
        vm.warp(Math.max(block.timestamp, Math.max(since, announcedAt) + 1 days) + 1);
        _announceAfter(1 days);
        skip(30 minutes);
        _closePocket(actors[0], true);
    }

    function _closeAndSettleForGood() private {
        skip(1 hours);
        if (!_closed()) _tryToClose(address(this));
        skip(1);
        _settleForGood();
    }

    function _requestExit(address actor) private {
        uint256 shares = vault.maxMint(actor);
        vm.startPrank(actor);
        if (shares != 0) vault.mint(shares, actor, actor);
        if (vault.claimableCancelRedeemRequest(0, actor) != 0) {
            vault.claimCancelRedeemRequest(0, actor, actor);
        }
        uint256 balance = vault.balanceOf(actor);
        if (balance != 0) vault.requestRedeem(balance, actor, actor);
        vm.stopPrank();
    }

    function _claimAll() private {
        for (uint256 i; i < ACTORS; ++i) {
            address actor = actors[i];
            if (dollar.frozen(actor)) continue;
            if (vault.claimableCancelDepositRequest(0, actor) != 0) {
                vm.prank(actor);
                vault.claimCancelDepositRequest(0, actor, actor);
            }
            for (uint256 id = 1; id <= vault.pockets(); ++id) {
                if (_residual(id, actor) == 0) continue;
                vm.prank(actor);
                vault.claimResidual(id, actor, actor);
            }
            uint256 owed = vault.maxWithdraw(actor);
            if (owed == 0) continue;
            uint256 balance = token.balanceOf(actor);
            uint256 shares = vault.maxRedeem(actor);
            vm.prank(actor);
            if (shares == 0) vault.withdraw(owed, actor, actor);
            else vault.redeem(shares, actor, actor);
            assertEq(token.balanceOf(actor), balance + owed, "7: not paid in full");
            assertEq(vault.maxWithdraw(actor), 0, "7: something is left to claim");
        }
    }

    function _withdrawEverything() private {
        Call[] memory calls = new Call[](3);
        for (uint256 i; i < 3; ++i) {
            bytes memory data = abi.encodeCall(Market.withdraw, (places[i].key, type(uint256).max));
            calls[i] = Call({target: address(places[i].market), token: address(token), amount: 0, data: data});
        }
        if (_see().low != portfolio.idle()) portfolio.execute(batch(calls));
        assertEq(portfolio.idle(), _see().low, "7: something stayed in a market");
    }
}
