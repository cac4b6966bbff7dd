// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../../src/interfaces/IPortfolio.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {Value} from "../../src/interfaces/Types.sol";
import {FreezableToken} from "./FreezableToken.sol";
import {KeeperActions} from "./KeeperActions.sol";
import {Market} from "./Market.sol";

/// @dev Side pockets: positions are split off, emptied, joined again, and those who left fetch their part.
abstract contract PocketActions is KeeperActions {
    /// @dev The guardian splits off what it can. That moves nothing, but for the high end of what is read as worth
    /// nothing and in doubt: from then on it counts at its last good value, as what cannot be read.
    function splitOff(uint256 place, uint256 time) external {
        Place memory p = places[place % 3];
        if (time % 4 != 0) p.market.setFault(time % 8 == 1 ? Market.Fault.BOMB : Market.Fault.REVERT);
        _announceAfter(time % 4 == 1 ? 0 : 1 days);
        skip(bound(time, 25 minutes, 2 hours));
        Seen memory before = _see();
        (Value memory reported,) = portfolio.positionValue(address(p.market), p.key);
        (, uint256 lastGood) = portfolio.marks(address(p.market), p.key);
        before.high = before.high + lastGood - reported.high;
        try portfolio.splitOff(address(p.market), p.key) {
            Seen memory afterwards = _see();
            assertEq(keccak256(abi.encode(afterwards)), keccak256(abi.encode(before)), "3: a split moved NAV");
            assertFalse(afterwards.healthy, "a pocket that deposits do not wait for");
            ++times["split off"];
        } catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            assertTrue(
                selector == IPortfolio.PocketIsOpen.selector || selector == IPortfolio.TooEarly.selector
                    || selector == IPortfolio.Expired.selector
                    || selector == IPortfolio.PositionNotImpaired.selector,
                "a split was refused for no reason of its own"
            );
        }
    }

    /// @dev By anyone, in time or not; with sound markets and two readings nothing may hold it up.
    function closePocket(uint256 who, uint256 time) external {
        if (time % 4 != 0) {
            markets[0].setFault(Market.Fault.NONE);
            markets[1].setFault(Market.Fault.NONE);
        }
        _announceAfter(time % 8 == 1 ? 0 : 1 days);
        if (time % 16 == 2) markets[who % 2].setFault(Market.Fault.REVERT);
        skip(bound(time, 29 minutes, 2 hours));
        _closePocket(_actor(who), false);
    }

    function claimResidual(uint256 caller_, uint256 controller_, uint256 receiver_, uint256 id)
        external
        neutral("claimResidual")
    {
        id = bound(id, 0, vault.pockets() + 1);
        (address caller, address controller, address receiver) =
            (_actor(caller_), _actor(controller_), _actor(receiver_));
        for (uint256 i; i < ACTORS && _residual(id, controller) == 0; ++i) {
            controller = actors[addmod(controller_, i, ACTORS)];
        }
        if (caller_ % 4 != 0) caller = controller;
        uint256 owed = _residual(id, controller);
        uint256 balance = token.balanceOf(receiver);
        uint256 claimable = vault.maxWithdraw(controller);
        bool frozen = dollar.frozen(receiver);
        vm.prank(caller);
        try vault.claimResidual(id, receiver, controller) {
            assertTrue(_mayActFor(controller, caller), "9: a stranger claimed a residual");
            assertEq(token.balanceOf(receiver), balance + owed, "1: paid what is owed");
            assertEq(_residual(id, controller), 0, "1: a residual claimed twice");
            ++times["residual claimed"];
        } catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            assertTrue(
                (selector == IVault.NotController.selector && !_mayActFor(controller, caller))
                    || (selector == FreezableToken.Frozen.selector && frozen)
                    || (selector == IVault.ZeroAmount.selector && owed == 0),
                "7: claim of a residual"
            );
        }
        assertEq(vault.maxWithdraw(controller), claimable, "7: a residual changed what is claimable");
    }

    /// @dev A pocket from end to end: broken, split off, some leave, something comes out, joined again.
    function pocket(uint256 who, uint256 place, uint256 part) external {
        if (_pocketed()) return;
        this.supplyTo(place, part);
        this.splitOff(place, 1 hours + 2);
        _requestFor(_actor(who), part);
        for (uint256 i; i < 2; ++i) {
            skip(1 hours);
            _closeAndSettle();
            if (_closed()) skip(1 days);
        }
        if (_closed()) {
            skip(1);
            _settle();
        }
        this.healMarket(place % 3 / 2);
        this.withdrawFrom(place, who);
        if (part % 3 != 0) this.closePocket(who, 1 hours + 3);
        if (part % 3 != 0) this.claimResidual(who | 1, who, who, vault.pockets());
    }

    function _closePocket(address caller, bool must) internal {
        (,, uint256 since) = _pocketOf();
        bool open = _pocketed();
        bool ready = open && announcedAt > since && block.timestamp >= announcedAt + 30 minutes
            && block.timestamp <= announcedAt + 1 days && soundWhenAnnounced && _faultless();
        Seen memory before = _see();
        uint256 escrowed = vault.escrowed();
        vm.prank(caller);
        try portfolio.closePocket() {
            Seen memory afterwards = _see();
            assertTrue(open, "a pocket closed that was not open");
            assertGe(afterwards.low, before.low, "2: closing a pocket took from those who stay");
            assertLe(afterwards.low + vault.escrowed() - escrowed, _everything(), "1: a pocket paid twice");
            assertEq(afterwards.supply, before.supply, "3: closing a pocket moved supply");
            assertFalse(_pocketed(), "a pocket is closed twice");
            ++times["pocket closed"];
        } catch (bytes memory reason) {
            // A gain or a loss between the readings: the next two will agree.
            bool apart = bytes4(reason) == IPortfolio.ReadingsApart.selector;
            assertFalse((ready && !apart) || must, "7: a pocket could not be closed");
        }
    }

    /// @dev What the portfolio has and what its markets hold, as it was before the escrow was paid.
    function _everything() private view returns (uint256 assets) {
        assets = token.balanceOf(address(portfolio)) + token.balanceOf(address(escrow));
        for (uint256 i; i < 3; ++i) {
            assets += places[i].market.held(places[i].key);
        }
    }

    function _requestFor(address actor, uint256 part) private {
        uint256 shares = vault.balanceOf(actor);
        if (shares == 0) return;
        if (part % 4 != 0) shares = shares / 2 + 1;
        if (shares < defaultParams().minRedeem) return;
        vm.prank(actor);
        vault.requestRedeem(shares, actor, actor);
    }

    function _residual(uint256 id, address controller) internal view returns (uint256 assets) {
        (, assets) = vault.residualOf(id, controller);
    }
}
