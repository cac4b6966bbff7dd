// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Registry} from "../../src/Registry.sol";
import {IPortfolio} from "../../src/interfaces/IPortfolio.sol";
import {Value} from "../../src/interfaces/Types.sol";
import {VaultFixture} from "../fixtures/VaultFixture.sol";
import {FreezableToken} from "./FreezableToken.sol";
import {Market} from "./Market.sol";

/// @dev The world of the campaign: one vault, two markets with three positions under two overlapping caps, five
/// actors of whom any may be anyone's operator, and what has been seen so far. The contract itself is governor,
/// guardian and keeper. An action that meets a revert it has no reason to expect lets it through, and fails the
/// run.
abstract contract Campaign is VaultFixture {
    bytes32 internal constant OTHER_RISK = "protocol:other";
    uint256 internal constant VIRTUAL_SHARES = 1e6;
    uint256 internal constant PPS_ONE = 1e27;
    uint256 internal constant WAD = 1e18;
    uint256 internal constant ACTORS = 5;

    /// @dev What a price per share is made of, and where the assets are.
    struct Seen {
        uint256 supply;
        uint256 storedNav;
        uint256 low;
        uint256 high;
        uint256 idle;
        uint256 balance;
        bool healthy;
    }

    struct Place {
        Market market;
        bytes32 key;
    }

    FreezableToken internal dollar;
    address[] internal actors;
    Market[2] internal markets;
    Place[3] internal places;

    /// @dev Donations that still lie there, by holder.
    mapping(address holder => uint256) public donated;
    uint256 public donatedShares;
    /// @dev Shares each actor had in the queue when the last epoch closed.
    mapping(address actor => uint256) public joined;
    /// @dev How often something happened that the campaign would be worthless without.
    mapping(bytes32 happening => uint256) public times;
    uint256 internal announcedAt;
    bool internal soundWhenAnnounced;

    constructor() {
        vm.warp(1_700_000_000);
        dollar = new FreezableToken();
        token = dollar;
        registry = new Registry();
        vault = deployVault(token);
        for (uint256 i; i < ACTORS; ++i) {
            actors.push(makeAddr(string.concat("actor ", vm.toString(i))));
        }
        markets = [new Market(address(portfolio), dollar), new Market(address(portfolio), dollar)];
        _list(0, markets[0], A, 1);
        _list(1, markets[0], B, 1);
        _list(2, markets[1], A, 2);
        registry.setCap(address(vault), RISK, 2_000_000 * UNIT);
        registry.setCap(address(vault), OTHER_RISK, 500_000 * UNIT);
        registry.seal(address(vault), 3 days);
        // Three of the five are in from the start: with an empty vault most actions would have nothing to do.
        for (uint256 i; i < 3; ++i) {
            depositFor(actors[i], (i + 1) * 100_000 * UNIT);
        }
    }

    function _list(uint256 index, Market market, bytes32 key, uint256 risks) private {
        bytes32[] memory riskIds = new bytes32[](risks);
        riskIds[0] = RISK;
        if (risks == 2) riskIds[1] = OTHER_RISK;
        registry.listPosition(address(vault), address(market), key, riskIds);
        bytes4[4] memory selectors = [
            Market.supply.selector,
            Market.withdraw.selector,
            Market.supplyAtLoss.selector,
            Market.withdrawAtLoss.selector
        ];
        for (uint256 i; i < 4; ++i) {
            registry.setSelector(address(vault), address(market), selectors[i], true);
        }
        places[index] = Place(market, key);
    }

    /// @dev Invariants 3 and 9: this action may move neither price nor a unit of the portfolio.
    modifier neutral(bytes32 happening) {
        Seen memory before = _see();
        _;
        Seen memory afterwards = _see();
        assertEq(afterwards.low, before.low, "3: low NAV moved without yield, loss or settlement");
        assertEq(afterwards.high, before.high, "3: high NAV moved without yield, loss or settlement");
        assertEq(afterwards.supply, before.supply, "3: supply moved without settlement");
        _assertFundsStay(before, afterwards);
        ++times[happening];
    }

    /// @dev Yield, loss, faults and donations may change what positions are worth, and nothing else.
    modifier ofTheWorld(bytes32 happening) {
        Seen memory before = _see();
        _;
        Seen memory afterwards = _see();
        assertEq(afterwards.supply, before.supply, "3: supply moved without settlement");
        _assertFundsStay(before, afterwards);
        ++times[happening];
    }

    function _assertFundsStay(Seen memory before, Seen memory afterwards) internal pure {
        assertEq(afterwards.storedNav, before.storedNav, "3: stored NAV moved without settlement");
        assertEq(afterwards.idle, before.idle, "9: the idle ledger moved without the keeper");
        assertGe(afterwards.balance, before.balance, "9: assets left the portfolio without the keeper");
    }

    function _see() internal view returns (Seen memory seen) {
        (Value memory nav, bool healthy) = portfolio.nav();
        seen.supply = vault.totalSupply();
        seen.storedNav = vault.totalAssets();
        seen.low = nav.low;
        seen.high = nav.high;
        seen.healthy = healthy;
        seen.idle = portfolio.idle();
        seen.balance = token.balanceOf(address(portfolio));
    }

    /// @dev Announces as soon as the last announcement stands no longer, or at once.
    function _announceAfter(uint256 time) internal {
        if (time != 0 && block.timestamp <= announcedAt + time) vm.warp(announcedAt + time + 1);
        try portfolio.announce() {
            _announced();
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), IPortfolio.AnnouncementStands.selector, "7: nobody could announce");
        }
    }

    function _announced() internal {
        announcedAt = block.timestamp;
        soundWhenAnnounced = _faultless();
    }

    function _faultless() internal view returns (bool) {
        return markets[0].fault() == Market.Fault.NONE && markets[1].fault() == Market.Fault.NONE;
    }

    /// @dev What is split off, how much has come out of it, and since when.
    function _pocketOf() internal view returns (address market, uint256 cash, uint256 since) {
        (market, since,, cash) = portfolio.pocket();
    }

    function _pocketed() internal view returns (bool) {
        (address market,,) = _pocketOf();
        return market != address(0);
    }

    function _actor(uint256 seed) internal view returns (address) {
        return actors[seed % ACTORS];
    }

    /// @dev The first actor from `seed` on of whom the vault says an amount, or else the one of `seed`.
    function _actorWith(uint256 seed, function(address) external view returns (uint256) amount)
        internal
        view
        returns (address)
    {
        for (uint256 i; i < ACTORS; ++i) {
            address actor = actors[addmod(seed, i, ACTORS)];
            if (amount(actor) != 0) return actor;
        }
        return _actor(seed);
    }

    function _mayActFor(address controller, address caller) internal view returns (bool) {
        return caller == controller || vault.isOperator(controller, caller);
    }

    function actorsOf() external view returns (address[] memory) {
        return actors;
    }
}
