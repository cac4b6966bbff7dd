// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Value} from "../src/interfaces/Types.sol";
import {ChangedParams} from "./fixtures/ChangedParams.sol";
import {Holdings} from "./fixtures/Holdings.sol";

/// @title A vault of which one position breaks and is split off
abstract contract PocketTest is ChangedParams {
    uint256 internal constant WHOLE = 1e27;

    Holdings internal other;
    address internal guardian = makeAddr("guardian");
    address internal stranger = makeAddr("stranger");

    /// @dev 1,000: 600 idle, 300 in the position that breaks, 100 beside it. Alice has 600 of it, bob 400.
    function setUp() public override {
        super.setUp();
        other = addConnector("protocol:other");
        depositFor(alice, 600 * UNIT);
        depositFor(bob, 400 * UNIT);
        supply(connector, A, 300 * UNIT);
        supply(other, A, 100 * UNIT);
        settle();
        bytes memory data = abi.encodeCall(registry.setGuardian, (address(vault), guardian));
        registry.submit(address(vault), address(registry), data);
        skip(14 days);
        registry.setGuardian(address(vault), guardian);
    }

    // STEPS

    function impairTwice() internal {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(30 minutes);
    }

    function split() internal {
        impairTwice();
        portfolio.splitOff(address(connector), A);
    }

    function close() internal {
        skip(1 days);
        portfolio.announce();
        skip(30 minutes);
        vm.prank(stranger);
        portfolio.closePocket();
    }

    /// @dev Asks for all of it, is filled after the window, fetches it.
    function leave(address user, uint256 shares) internal returns (uint256 paid) {
        requestRedeem(user, shares);
        settleInTheEnd();
        return redeemAll(user);
    }

    function settleInTheEnd() internal {
        settle();
        if (vault.accounting().windowEndsAt == 0) return;
        skip(1 days);
        vault.settle(settlement());
    }

    function redeemAll(address user) internal returns (uint256 paid) {
        uint256 shares = vault.maxRedeem(user);
        vm.prank(user);
        return vault.redeem(shares, user, user);
    }

    function claim(address user) internal returns (uint256 assets) {
        uint256 balance = token.balanceOf(user);
        vm.prank(user);
        assets = vault.claimResidual(1, user, user);
        assertEq(token.balanceOf(user), balance + assets);
    }

    function withdrawPocketed(uint256 assets) internal {
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, assets)))));
    }

    /// @dev What the position holds, and has.
    function setHeld(uint256 assets) internal {
        connector.setHeld(A, assets);
        uint256 balance = token.balanceOf(address(connector));
        if (balance < assets) token.mint(address(connector), assets - balance);
    }

    function cashOf() internal view returns (uint256 cash) {
        (,,, cash) = portfolio.pocket();
    }

    function potOf() internal view returns (uint256) {
        (uint256 owed, uint256 total,) = vault.pocket(1);
        return owed * total / WHOLE;
    }

    function assertNav(uint256 low, uint256 high) internal view {
        (Value memory nav, bool healthy) = portfolio.nav();
        assertEq(nav.low, low);
        assertEq(nav.high, high);
        assertEq(healthy, low == high);
    }
}
