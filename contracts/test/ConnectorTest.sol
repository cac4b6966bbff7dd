// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Connector} from "../src/connectors/Connector.sol";
import {Status} from "../src/interfaces/Types.sol";
import {ConnectorFixture} from "./fixtures/ConnectorFixture.sol";

/// @title What every connector must do, on the real protocols
/// @notice A connector's own test says where the position is and adds what only its protocol can do.
abstract contract ConnectorTest is ConnectorFixture {
    // WHAT A CONNECTOR'S TEST SAYS

    /// @dev Where approvals go.
    function _protocol() internal view virtual returns (address);

    /// @dev What taking more than there is ends in.
    function _tooMuch(uint256 wanted) internal view virtual returns (bytes memory);

    // EVERY WAY IN AND OUT

    function test_class_E_open_increase_decrease_and_leave() public {
        _supply(1_000e6);
        assertApproxEqAbs(_value(), 1_000e6, 2);
        assertLe(_value(), 1_000e6, "supplying is no gain");
        _supply(500e6);
        assertApproxEqAbs(_value(), 1_500e6, 4);

        assertEq(connector.withdraw(key, 400e6), 400e6);
        assertEq(_balance(asset, address(this)), 400e6, "exactly what was asked for");
        assertApproxEqAbs(_value(), 1_100e6, 6);

        uint256 value = _value();
        uint256 withdrawn = connector.withdraw(key, EVERYTHING);
        assertEq(withdrawn, value, "the report is what an exit pays");
        assertEq(_balance(asset, address(this)), 400e6 + withdrawn);
        assertEq(_value(), 0);
    }

    function test_class_E_a_full_exit_takes_the_interest_of_its_own_block() public virtual {
        _supply(100_000e6);
        vm.warp(block.timestamp + 30 days);
        uint256 value = _value();
        assertGt(value, 100_000e6, "interest");
        assertEq(connector.withdraw(key, EVERYTHING), value);
        assertEq(_value(), 0);
    }

    /// @dev What is supplied was idle before: both together are the value that must not change. The second supply
    /// meets a price at which a share is no unit of the asset any more.
    function testFuzz_class_V_class_N_supplying_and_withdrawing_leave_value_unchanged(
        uint256 assets,
        uint256 more,
        uint256 part
    ) public {
        assets = bound(assets, 2, 1_000_000e6);
        more = bound(more, 2, 1_000_000e6);
        _supply(assets);
        assertLe(_value(), assets, "supplying is no gain");
        assertApproxEqAbs(_value(), assets, 2, "nor a loss beyond rounding");
        vm.warp(block.timestamp + 1 days);
        uint256 value = _value();
        _supply(more);
        assertLe(_value(), value + more, "supplying is no gain");
        assertApproxEqAbs(_value(), value + more, 2, "nor a loss beyond rounding");

        value = _value();
        part = bound(part, 1, value);
        assertEq(connector.withdraw(key, part), part);
        uint256 left = _value();
        assertLe(left + part, value, "no gain");
        assertApproxEqAbs(left + part, value, 2, "no loss beyond rounding");
    }

    // WHO AND WHAT

    function test_class_I_only_the_portfolio_acts() public {
        _supply(10e6);
        address stranger = makeAddr("stranger");
        bytes memory refusal = abi.encodeWithSelector(Connector.NotPortfolio.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        connector.supply(key, 1);
        vm.expectRevert(refusal);
        connector.withdraw(key, EVERYTHING);
    }

    function test_D_10_a_key_that_is_not_listed_is_refused() public {
        bytes32 other = keccak256("other");
        bytes memory refusal = abi.encodeWithSelector(Connector.UnknownKey.selector, other);
        vm.expectRevert(refusal);
        connector.report(other);
        vm.expectRevert(refusal);
        connector.supply(other, 1);
        vm.expectRevert(refusal);
        connector.withdraw(other, 1);
    }

    function test_nothing_is_not_an_amount() public {
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.supply(key, 0);
        vm.expectRevert(Connector.ZeroAmount.selector);
        connector.withdraw(key, 0);
    }

    function test_an_empty_position_cannot_be_left() public {
        vm.expectRevert(abi.encodeWithSelector(Connector.EmptyPosition.selector, key));
        connector.withdraw(key, EVERYTHING);
    }

    function test_more_than_the_position_cannot_be_withdrawn() public {
        _supply(10e6);
        bytes memory refusal = _tooMuch(11e6);
        vm.expectRevert(refusal);
        connector.withdraw(key, 11e6);
    }

    function test_class_N_no_allowance_is_left() public {
        _supply(10e6);
        assertEq(IERC20(asset).allowance(address(connector), _protocol()), 0);
    }

    function test_class_N_tokens_already_there_are_not_spent() public virtual {
        deal(asset, address(connector), 7e6);
        _supply(10e6);
        assertEq(_balance(asset, address(connector)), 7e6);
        assertLe(_value(), 10e6, "loose tokens are no part of the position");
    }

    // VALUE

    function test_an_empty_position_is_worth_nothing() public view {
        (uint256 low, uint256 high, uint256 status) = connector.report(key);
        assertEq(low, 0);
        assertEq(high, 0);
        assertEq(status, uint256(Status.OK));
    }

    function test_a_report_stays_within_its_gas() public {
        _supply(10e6);
        vm.warp(block.timestamp + 1 days);
        uint256 before = gasleft();
        connector.report(key);
        assertLt(before - gasleft(), REPORT_GAS);
    }
}
