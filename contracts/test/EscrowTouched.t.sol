// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev Tells the sender of a transfer about it, as ERC-777 does, and lets an accomplice move anybody's balance.
contract HookedToken is Token {
    address private victim;
    address private thief;
    uint256 private part;

    constructor() Token("HOOK", 6) {}

    function rob(address victim_, address thief_, uint256 part_) external {
        (victim, thief, part) = (victim_, thief_, part_);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (part != 0) super._update(victim, thief, part);
    }
}

/// @title What pending deposits and claims lie in is out of a batch's reach
contract EscrowTouchedTest is VaultFixture {
    HookedToken private hooked;

    function setUp() public override {
        super.setUp();
        hooked = new HookedToken();
        token = hooked;
        vault = deployVault(hooked);
        connector = new Holdings(address(portfolio), hooked);
        registry.listPosition(address(vault), address(connector), A, only(RISK));
        registry.setCap(address(vault), RISK, 1000 * UNIT);
        allowAll(connector);
        registry.seal(address(vault), 3 days);
        depositFor(alice, 100 * UNIT);
        supply(A, 50 * UNIT);
        requestDeposit(bob, 20 * UNIT);
    }

    /// @dev The NAV of the vault rises: only the escrow's own balance tells.
    function test_class_N_a_batch_in_which_the_escrow_loses_a_unit_is_refused() public {
        Batch memory b = batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT))));
        hooked.rob(address(escrow), address(portfolio), 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.EscrowTouched.selector, 20 * UNIT, 20 * UNIT - 1));
        portfolio.execute(b);
        hooked.rob(address(escrow), address(portfolio), 0);
        portfolio.execute(b);
    }

    /// @dev Compared with what it was, not with what is owed: a gift lets nobody take as much.
    function test_class_N_a_gift_to_the_escrow_hides_no_theft() public {
        hooked.mint(address(escrow), 5 * UNIT);
        Batch memory b = batch(oneCall(10 * UNIT, abi.encodeCall(Holdings.supply, (A, 10 * UNIT))));
        hooked.rob(address(escrow), alice, 5 * UNIT);
        vm.expectPartialRevert(IPortfolio.EscrowTouched.selector);
        portfolio.execute(b);
        hooked.rob(alice, address(escrow), 0);
        portfolio.execute(b);
    }
}
