// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev Called by a batch, it tries every door while the lock is held.
contract Intruder {
    bytes4[] public reasons;

    function enter(address[] calldata doors, bytes[] calldata keys) external {
        for (uint256 i; i < doors.length; ++i) {
            (bool success, bytes memory reason) = doors[i].call(keys[i]);
            reasons.push(success ? bytes4(0) : bytes4(reason));
        }
    }
}

/// @title One lock spans whatever moves shares or assets
contract LockTest is VaultFixture {
    Intruder private intruder;
    address[] private doors;
    bytes[] private keys;

    function setUp() public override {
        super.setUp();
        depositFor(alice, 100 * UNIT);
        intruder = new Intruder();
        allow(address(intruder), Intruder.enter.selector);
        vm.startPrank(alice);
        vault.setOperator(address(intruder), true);
        vault.requestRedeem(40e12, alice, alice);
        vault.cancelRedeemRequest(0, alice);
        vm.stopPrank();
    }

    function test_class_G_nothing_that_moves_shares_or_assets_is_open_inside_a_batch() public {
        add(address(vault), abi.encodeCall(vault.requestDeposit, (UNIT, alice, alice)));
        add(address(vault), abi.encodeCall(vault.requestRedeem, (1e12, alice, alice)));
        add(address(vault), abi.encodeCall(vault.cancelDepositRequest, (0, alice)));
        add(address(vault), abi.encodeCall(vault.cancelRedeemRequest, (0, alice)));
        add(address(vault), abi.encodeCall(vault.claimCancelDepositRequest, (0, alice, alice)));
        add(address(vault), abi.encodeCall(vault.claimCancelRedeemRequest, (0, alice, alice)));
        add(address(vault), abi.encodeWithSignature("deposit(uint256,address)", 1, alice));
        add(address(vault), abi.encodeWithSignature("deposit(uint256,address,address)", 1, alice, alice));
        add(address(vault), abi.encodeWithSignature("mint(uint256,address)", 1, alice));
        add(address(vault), abi.encodeWithSignature("mint(uint256,address,address)", 1, alice, alice));
        add(address(vault), abi.encodeCall(vault.withdraw, (1, alice, alice)));
        add(address(vault), abi.encodeCall(vault.redeem, (1, alice, alice)));
        add(address(vault), abi.encodeCall(vault.closeEpoch, ()));
        add(address(vault), abi.encodeCall(vault.settle, (settlement())));
        add(address(vault), abi.encodeCall(vault.settleUnattended, ()));
        add(address(vault), abi.encodeCall(vault.setParams, (defaultParams())));
        add(address(portfolio), abi.encodeCall(portfolio.execute, (batch(new Call[](0)))));
        add(address(portfolio), abi.encodeCall(portfolio.forceDeallocate, (address(connector), A, 1)));
        add(address(portfolio), abi.encodeCall(portfolio.announce, ()));
        Batch memory b = batch(oneCall(0, abi.encodeCall(Intruder.enter, (doors, keys))));
        b.calls[0].target = address(intruder);
        portfolio.execute(b);
        for (uint256 i; i < doors.length; ++i) {
            assertEq(intruder.reasons(i), IVault.Reentered.selector, vm.toString(keys[i]));
        }
        assertEq(vault.claimableCancelRedeemRequest(0, alice), 40e12);
    }

    function add(address door, bytes memory key) private {
        doors.push(door);
        keys.push(key);
    }
}
