// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Campaign} from "./Campaign.sol";
import {Market} from "./Market.sol";

/// @dev What happens to the vault without anybody's permission: time, yield, loss, faults, donations, freezes.
abstract contract WorldActions is Campaign {
    function passTime(uint256 time) external neutral("time") {
        skip(bound(time, 1, 2 days));
    }

    function gain(uint256 place, uint256 part) external ofTheWorld("gain") {
        Place memory p = places[place % 3];
        uint256 held = p.market.held(p.key);
        // Mostly a yield, sometimes a jump of the rate.
        p.market.gain(p.key, held * bound(part, 0, part % 4 == 0 ? 5000 : 50) / 10_000);
    }

    function lose(uint256 place, uint256 part) external ofTheWorld("loss") {
        Place memory p = places[place % 3];
        uint256 held = p.market.held(p.key);
        p.market.lose(p.key, held * bound(part, 0, part % 8 == 0 ? 6000 : 200) / 10_000);
    }

    function breakMarket(uint256 which, uint256 fault) external ofTheWorld("fault") {
        markets[which % 2].setFault(fault % 20 < 10 ? Market.Fault(fault % 10) : Market.Fault.NONE);
    }

    function healMarket(uint256 which) external ofTheWorld("healed") {
        markets[which % 2].setFault(Market.Fault.NONE);
    }

    /// @dev To where a balance must not count. To a market a donation is a gain.
    function donate(uint256 to, uint256 assets) external neutral("donation") {
        address holder = [address(vault), address(portfolio), address(escrow)][to % 3];
        assets = bound(assets, 1, 10_000_000 * UNIT);
        token.mint(holder, assets);
        donated[holder] += assets;
    }

    function freeze(uint256 who, uint256 frozen) external neutral("freeze") {
        dollar.setFrozen(_actor(who), frozen % 3 == 0);
    }

    function closeEpochByAnyone(uint256 who, uint256 time) external neutral("closeEpoch") {
        if (time % 2 == 0) skip(1 hours);
        _tryToClose(_actor(who));
    }

    function _tryToClose(address who) internal {
        uint256 length = vault.params().minEpochLength;
        if (length < 10 minutes) length = 10 minutes;
        bool due = !_closed() && block.timestamp >= vault.accounting().settledAt + length;
        vm.prank(who);
        try vault.closeEpoch() {
            assertTrue(due, "an epoch closed early");
            for (uint256 i; i < ACTORS; ++i) {
                joined[actors[i]] = vault.pendingRedeemRequest(0, actors[i]);
            }
        } catch {
            assertFalse(due, "7: an epoch that was due did not close");
        }
    }

    function _closed() internal view returns (bool) {
        return vault.accounting().currentEpoch != vault.accounting().settledEpoch + 1;
    }
}
