// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Params} from "../src/interfaces/IVault.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

contract EmptyVaultGiftTest is VaultFixture {
    function setUp() public override {
        super.setUp();
        token = new Token("DAI", 18);
        vault = deployVault(token);
        connector = new Holdings(address(portfolio), token);
        registry.listPosition(address(vault), address(connector), A, only(RISK));
        registry.setCap(address(vault), RISK, 1e30);
        registry.setSelector(address(vault), address(connector), Holdings.supply.selector, true);
        registry.setSelector(address(vault), address(connector), Holdings.withdraw.selector, true);
        registry.seal(address(vault), 3 days);
    }

    /// Catches: prices kept in 128 bits, of which 0.3402824 of a token with 18 decimals and no shares is too much.
    function test_M_27_a_gift_to_an_empty_vault_does_not_stop_settlements() public {
        setMaxRateLow();
        token.mint(address(connector), 0.35e18);
        connector.setHeld(A, 0.35e18);
        requestDeposit(alice, 1000e18);
        settle();
        assertEq(vault.maxDeposit(alice), 1000e18);
    }

    /// Catches: a limit on redemptions that nobody's shares need, and that keeps deposits away.
    function test_M_27_a_smaller_gift_does_not() public {
        setMaxRateLow();
        token.mint(address(connector), 0.34e18);
        connector.setHeld(A, 0.34e18);
        requestDeposit(alice, 1000e18);
        settle();
        assertEq(vault.maxDeposit(alice), 1000e18);
    }

    /// Without any attacker: all shares leave, one token of a gain above `maxRate` stays.
    function test_M_27_what_the_last_one_leaves_behind_does_not_stop_settlements() public {
        setMaxRateLow();
        requestDeposit(alice, 1000e18);
        settle();
        vm.startPrank(alice);
        vault.deposit(1000e18, alice);
        vault.requestRedeem(vault.balanceOf(alice), alice, alice);
        vm.stopPrank();
        token.mint(address(connector), 1e18);
        connector.setHeld(A, 1e18);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 1e18)))));
        settle();
        assertEq(vault.totalSupply(), 0);
    }

    /// Catches: a queue that is called dust by its number of shares, each of which a gift has made worth a million
    /// times as much: nothing is ever overdue, and nobody may free anything.
    function test_M_27_class_Q_a_gift_does_not_keep_exits_from_being_overdue() public {
        setMaxRateLow();
        token.mint(address(connector), 1e18);
        connector.setHeld(A, 1e18);
        depositFor(alice, 500_000e18);
        depositFor(bob, 500_000e18);
        supply(A, 1_000_000e18);
        uint256 shares = vault.balanceOf(alice);
        assertLt(shares, defaultParams().minRedeem);
        requestRedeem(alice, shares);
        skip(1 hours);
        vault.closeEpoch();
        skip(2 days);
        assertEq(vault.overdueExits(), 0, "a second too early");
        skip(1);
        uint256 owed = vault.overdueExits();
        assertApproxEqRel(owed, 500_000e18, 0.000001e18);
        portfolio.forceDeallocate(address(connector), A, type(uint256).max);
        assertEq(portfolio.idle(), owed);
    }

    /// The queue's age counts from when it was more than dust, and goes on counting when more shares join.
    function test_class_Q_with_few_shares_a_millionth_of_all_is_what_somebody_waits_for() public {
        setMaxRateLow();
        token.mint(address(connector), 1e18);
        connector.setHeld(A, 1e18);
        depositFor(alice, 1_000_000e18);
        supply(A, 1_000_000e18);
        uint256 supplied = vault.totalSupply();
        vm.prank(alice);
        vault.transfer(bob, supplied / 1e6);
        requestRedeem(bob, supplied / 1e6);
        settle();
        skip(2 days);
        assertEq(vault.overdueExits(), 0, "dust");
        vm.prank(alice);
        vault.transfer(bob, 1);
        requestRedeem(bob, 1);
        settle();
        uint256 since = vault.accounting().queuedSince;
        assertEq(since, vault.accounting().epochClosedAt, "dust waits for nothing");
        settle();
        assertEq(vault.accounting().queuedSince, since, "what waits keeps its age");
        vm.warp(since + 2 days + 1);
        assertGt(vault.overdueExits(), 0);
    }

    function setMaxRateLow() private {
        Params memory p = defaultParams();
        (p.maxRate, p.depositCap) = (4e9, 1e30);
        registry.submit(address(vault), address(vault), abi.encodeCall(vault.setParams, (p)));
        skip(3 days);
        vault.setParams(p);
    }
}
