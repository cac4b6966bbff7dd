// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Till} from "./fixtures/Till.sol";
import {Token} from "./fixtures/Tokens.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title Tokens other than the vault's asset: from what the batch brought in, and none left behind
contract TokensInBatchesTest is VaultFixture {
    uint256 private constant ALL = type(uint256).max;

    Token private ether_;
    Token private dai;
    Till private till;

    function setUp() public override {
        super.setUp();
        ether_ = new Token("WETH", 18);
        dai = new Token("DAI", 18);
        till = new Till(address(portfolio));
        allow(address(till), Till.sell.selector);
        depositFor(alice, 100 * UNIT);
    }

    // IN AND OUT

    function test_what_a_call_brings_in_a_later_one_pushes_on() public {
        execute(both(buy(60 * UNIT, 2e18), sell(2e18, 2e18, 60 * UNIT)));
        assertEq(portfolio.idle(), 100 * UNIT);
        assertEq(ether_.balanceOf(address(till)), 2e18);
        assertEq(ether_.balanceOf(address(portfolio)), 0);
    }

    function test_everything_is_what_the_batch_brought_in_however_much_that_is() public {
        execute(both(buy(60 * UNIT, 3e18 + 7), sell(ALL, 0, 60 * UNIT)));
        assertEq(ether_.balanceOf(address(till)), 3e18 + 7);
    }

    function test_everything_may_be_nothing() public {
        Call[] memory calls = new Call[](1);
        calls[0] = sell(ALL, 0, 0);
        execute(calls);
        assertEq(ether_.balanceOf(address(till)), 0);
    }

    function test_parts_are_pushed_until_everything_is() public {
        Call[] memory calls = new Call[](3);
        (calls[0], calls[1], calls[2]) =
        (buy(60 * UNIT, 5e18), sell(2e18, 2e18, 0), sell(ALL, 3e18, 60 * UNIT));
        execute(calls);
        assertEq(ether_.balanceOf(address(till)), 5e18);
    }

    function test_several_tokens_are_counted_each_for_itself() public {
        Call[] memory calls = new Call[](4);
        calls[0] = buy(60 * UNIT, 5e18);
        calls[1] = call(ether_, 5e18, abi.encodeCall(Till.sell, (ether_, 5e18, dai, 9e18)));
        calls[2] = call(dai, 4e18, abi.encodeCall(Till.sell, (dai, 4e18, token, 30 * UNIT)));
        calls[3] = call(dai, ALL, abi.encodeCall(Till.sell, (dai, 5e18, token, 30 * UNIT)));
        execute(calls);
        assertEq(portfolio.idle(), 100 * UNIT);
        calls[3].amount = 4e18;
        refused(calls, abi.encodeWithSelector(IPortfolio.TokenLeft.selector, dai, 1e18));
    }

    // REFUSALS

    function test_more_than_was_brought_in_is_not_pushed() public {
        refused(
            both(buy(60 * UNIT, 2e18), sell(2e18 + 1, 0, 60 * UNIT)),
            abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, ether_, 2e18, 2e18 + 1)
        );
    }

    function test_what_was_pushed_is_not_pushed_twice() public {
        Call[] memory calls = new Call[](3);
        (calls[0], calls[1], calls[2]) = (buy(60 * UNIT, 2e18), sell(2e18, 0, 60 * UNIT), sell(1, 0, 0));
        refused(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, ether_, 0, 1));
    }

    function test_a_token_is_not_pushed_before_it_is_brought_in() public {
        refused(
            both(sell(2e18, 0, 60 * UNIT), buy(60 * UNIT, 2e18)),
            abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, ether_, 0, 2e18)
        );
    }

    function test_another_token_than_was_brought_in_is_not_pushed() public {
        Call[] memory calls = both(buy(60 * UNIT, 2e18), sell(1, 0, 0));
        calls[1].token = address(dai);
        refused(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, dai, 0, 1));
        calls[1].token = address(0);
        refused(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, address(0), 0, 1));
    }

    function test_everything_is_no_amount_of_the_vaults_asset() public {
        Call[] memory calls = new Call[](1);
        calls[0] = buy(ALL, 1);
        refused(calls, abi.encodeWithSelector(IPortfolio.InsufficientIdle.selector, token, 100 * UNIT, ALL));
    }

    function test_class_N_a_unit_that_is_left_behind_reverts_the_batch() public {
        refused(
            both(buy(60 * UNIT, 2e18), sell(2e18 - 1, 0, 60 * UNIT)),
            abi.encodeWithSelector(IPortfolio.TokenLeft.selector, ether_, 1)
        );
    }

    function test_naming_a_token_without_pushing_it_is_enough_to_be_held_to_it() public {
        Call[] memory calls = both(buy(60 * UNIT, 2e18), sell(0, 0, 60 * UNIT));
        refused(calls, abi.encodeWithSelector(IPortfolio.TokenLeft.selector, ether_, 2e18));
    }

    /// @dev What no call names stays behind, no part of NAV: that is a loss like any other.
    function test_a_token_that_nobody_names_is_a_loss() public {
        Call[] memory calls = new Call[](1);
        calls[0] = buy(60 * UNIT, 2e18);
        Batch memory b = batch(calls);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.LossAboveLimit.selector, 60 * UNIT, 0));
        portfolio.execute(b);
        b.maxLoss = 60 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    // STRANGERS

    /// @dev Only differences count: a donation neither helps nor hinders.
    function test_M_51_what_lay_there_before_changes_nothing() public {
        ether_.mint(address(portfolio), 1);
        Call[] memory calls = both(buy(60 * UNIT, 2e18), sell(2e18 + 1, 0, 60 * UNIT));
        refused(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, ether_, 2e18, 2e18 + 1));
        calls[1].amount = ALL;
        execute(calls);
        assertEq(ether_.balanceOf(address(portfolio)), 1, "the donation is still there");
        calls[1].amount = 2e18;
        execute(calls);
        assertEq(ether_.balanceOf(address(portfolio)), 1);
    }

    function test_M_51_what_lay_there_before_is_not_for_a_batch_to_spend() public {
        ether_.mint(address(portfolio), 5e18);
        Call[] memory calls = new Call[](1);
        calls[0] = sell(1, 0, 0);
        refused(calls, abi.encodeWithSelector(IPortfolio.NotBroughtIn.selector, ether_, 0, 1));
        calls[0] = sell(ALL, 0, 0);
        execute(calls);
        assertEq(ether_.balanceOf(address(portfolio)), 5e18);
    }

    /// @dev What arrives in the middle of a call, from whomever, is the batch's: `EVERYTHING` takes it along.
    function test_M_51_a_donation_in_the_middle_of_a_batch_goes_with_everything() public {
        till.setHook(address(ether_), abi.encodeCall(Token.mint, (address(portfolio), 1)));
        Call[] memory calls = new Call[](3);
        (calls[0], calls[1], calls[2]) = (buy(60 * UNIT, 2e18), sell(2e18, 0, 60 * UNIT), sell(ALL, 0, 0));
        // The last call donates as well, after everything has been pushed.
        refused(calls, abi.encodeWithSelector(IPortfolio.TokenLeft.selector, ether_, 1));
        calls[2].target = address(connector);
        calls[2].data = abi.encodeCall(Holdings.withdraw, (A, 0));
        execute(calls);
        assertEq(ether_.balanceOf(address(connector)), 2);
        assertEq(ether_.balanceOf(address(portfolio)), 0);
    }

    // STEPS

    function buy(uint256 paid, uint256 received) private view returns (Call memory) {
        return call(token, paid, abi.encodeCall(Till.sell, (token, paid, ether_, received)));
    }

    function sell(uint256 pushed, uint256 paid, uint256 received) private view returns (Call memory) {
        return call(ether_, pushed, abi.encodeCall(Till.sell, (ether_, paid, token, received)));
    }

    function call(Token pushed, uint256 amount, bytes memory data) private view returns (Call memory) {
        return Call({target: address(till), token: address(pushed), amount: amount, data: data});
    }

    function execute(Call[] memory calls) private {
        portfolio.execute(batch(calls));
    }

    function refused(Call[] memory calls, bytes memory reason) private {
        Batch memory b = batch(calls);
        vm.expectRevert(reason);
        portfolio.execute(b);
    }
}
