// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Status} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {Margin} from "./fixtures/Margin.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title Exits of several calls from a position in doubt, for which the guardian answers
/// @notice Every batch here is cosigned unless its test says otherwise: what is refused is refused all the same.
contract CosignedExitsTest is VaultFixture {
    Holdings private other;

    /// @dev Has no position: what a swap handler is to the portfolio.
    Holdings private aside;

    function setUp() public override {
        super.setUp();
        other = addConnector("protocol:other");
        aside = new Holdings(address(portfolio), token);
        allowAll(aside);
        depositFor(alice, 1000 * UNIT);
        supply(connector, A, 300 * UNIT);
        supply(connector, B, 100 * UNIT);
        supply(other, A, 100 * UNIT);
        settle();
        connector.setMode(A, Holdings.Mode.DEGRADED);
    }

    // WHAT THE GUARDIAN ANSWERS FOR

    function test_class_G_an_exit_of_several_calls_needs_the_guardians_word_for_that_very_batch() public {
        Batch memory b = batch(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20)));
        Batch memory another = batch(both(_withdraw(connector, A, 30), _withdraw(connector, A, 21)));
        portfolio.cosign(keccak256(abi.encode(another)));
        _expectNotAlone();
        portfolio.execute(b);
        portfolio.cosign(keccak256(abi.encode(b)));
        portfolio.execute(b);
        assertEq(portfolio.idle(), 550 * UNIT);
        assertEq(connector.held(A), 250 * UNIT);
    }

    function test_class_G_the_word_of_a_former_guardian_counts_for_nothing() public {
        Batch memory b = batch(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20)));
        portfolio.cosign(keccak256(abi.encode(b)));
        bytes memory replace = abi.encodeCall(registry.setGuardian, (address(vault), bob));
        registry.submit(address(vault), address(registry), replace);
        skip(14 days);
        registry.setGuardian(address(vault), bob);
        _expectNotAlone();
        portfolio.execute(b);
    }

    function test_an_exit_goes_on_whatever_else_is_closed() public {
        registry.lowerCap(address(vault), RISK, 0);
        registry.setExitOnly(address(vault), address(connector));
        registry.pauseRisk(address(vault));
        portfolio.execute(_cosigned(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20))));
        assertEq(portfolio.idle(), 550 * UNIT);
    }

    /// @dev Collateral pays the debt that it is for.
    function test_class_S_collateral_in_doubt_pays_its_own_debt_in_one_batch() public {
        Margin margin = _leverage();
        margin.setStatus(Status.STALE);
        Call memory repay = _call(address(margin), 30 * UNIT, abi.encodeCall(Margin.repay, (A, 30 * UNIT)));
        Call memory withdraw = _call(address(margin), 0, abi.encodeCall(Margin.withdraw, (A, 40 * UNIT)));
        Batch memory b = batch(both(withdraw, repay));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, margin, A));
        portfolio.execute(b);
        uint256 idle = portfolio.idle();
        portfolio.execute(_cosigned(both(withdraw, repay)));
        assertEq(margin.debt(A), 20 * UNIT);
        assertEq(portfolio.idle(), idle + 10 * UNIT);
    }

    // WHAT STAYS REFUSED

    /// @dev What comes out above the low value would make up for it. As much as rounding moves is nothing.
    function test_class_V_no_second_position_falls_by_more_than_rounding() public {
        uint256 rounding = portfolio.ROUNDING();
        Call memory leave = _withdraw(connector, A, 30);
        _refused(both(leave, _withdrawUnits(other, A, rounding + 1)));
        _refused(both(leave, _withdrawUnits(connector, B, rounding + 1)));
        bytes memory lose = abi.encodeCall(Holdings.withdrawAtLoss, (A, 60 * UNIT, 30 * UNIT));
        _refused(both(leave, _call(address(other), 0, lose)));
        portfolio.execute(_cosigned(both(leave, _withdrawUnits(other, A, rounding))));
        assertEq(portfolio.idle(), 530 * UNIT + rounding);
    }

    function test_class_V_two_positions_in_doubt_leave_one_after_the_other() public {
        connector.setMode(B, Holdings.Mode.DEGRADED);
        _refused(both(_withdraw(connector, A, 30), _withdraw(connector, B, 20)));
        portfolio.execute(_cosigned(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20))));
        portfolio.execute(_cosigned(both(_withdraw(connector, B, 10), _withdraw(connector, B, 10))));
        assertEq(portfolio.idle(), 570 * UNIT);
    }

    /// @dev Else what idle assets lose in a swap would be made up for as well.
    function test_class_V_no_idle_assets_are_spent_beside_an_exit() public {
        bytes memory nothing = abi.encodeCall(Holdings.supplyAtLoss, (B, 0, 0));
        _refused(both(_withdraw(connector, A, 30), _call(address(aside), 1, nothing)));
        portfolio.execute(_cosigned(both(_withdraw(connector, A, 30), _call(address(aside), 0, nothing))));
        assertEq(portfolio.idle(), 530 * UNIT);
    }

    function test_class_V_an_exit_brings_something_home() public {
        bytes memory lose = abi.encodeCall(Holdings.withdrawAtLoss, (A, UNIT, UNIT));
        Call memory gone = _call(address(connector), 0, lose);
        _refused(both(gone, gone));
        Batch memory b = batch(both(gone, _withdraw(connector, A, 2)));
        b.maxLoss = UNIT;
        portfolio.cosign(keccak256(abi.encode(b)));
        portfolio.execute(b);
        assertEq(portfolio.idle(), 502 * UNIT);
    }

    function test_class_V_nothing_goes_into_a_position_in_doubt() public {
        bytes memory supply_ = abi.encodeCall(Holdings.supply, (A, 11));
        Batch memory b = _cosigned(both(_withdraw(connector, A, 30), _call(address(connector), 11, supply_)));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.PositionIsImpaired.selector, connector, A));
        portfolio.execute(b);
    }

    /// @dev Nobody could tell what it lost.
    function test_class_V_a_position_without_a_value_is_left_alone_all_the_same() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        _refused(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20)));
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 30 * UNIT)))));
    }

    /// @dev What comes out of it belongs to those who left as well, and is set aside call by call.
    function test_class_Q_what_is_split_off_is_left_alone_all_the_same() public {
        connector.setMode(A, Holdings.Mode.REVERT);
        portfolio.announce();
        skip(1 hours);
        portfolio.splitOff(address(connector), A);
        connector.setMode(A, Holdings.Mode.DEGRADED);
        _refused(both(_withdraw(connector, A, 30), _withdraw(connector, A, 20)));
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, 30 * UNIT)))));
        (,,, uint128 cash) = portfolio.pocket();
        assertEq(cash, 30 * UNIT);
        assertEq(portfolio.idle(), 500 * UNIT);
    }

    // STEPS

    /// @dev Collateral of 100 and a debt of 50 at a margin account, of which nobody doubts anything yet.
    function _leverage() private returns (Margin margin) {
        margin = new Margin(address(portfolio), token, [A, B], true);
        token.mint(address(margin), 1000 * UNIT);
        govern(abi.encodeCall(registry.listPosition, (address(vault), address(margin), A, only(RISK))));
        bytes4[4] memory selectors =
            [Margin.supply.selector, Margin.withdraw.selector, Margin.borrow.selector, Margin.repay.selector];
        for (uint256 i; i < 4; ++i) {
            allow(address(margin), selectors[i]);
        }
        Call memory pledge =
            _call(address(margin), 100 * UNIT, abi.encodeCall(Margin.supply, (A, 100 * UNIT)));
        Call memory borrow = _call(address(margin), 0, abi.encodeCall(Margin.borrow, (A, 50 * UNIT)));
        portfolio.execute(batch(both(pledge, borrow)));
    }

    function _withdraw(Holdings target, bytes32 key, uint256 units) private view returns (Call memory) {
        return _withdrawUnits(target, key, units * UNIT);
    }

    function _withdrawUnits(Holdings target, bytes32 key, uint256 assets) private view returns (Call memory) {
        return _call(address(target), 0, abi.encodeCall(Holdings.withdraw, (key, assets)));
    }

    function _call(address target, uint256 push, bytes memory data) private view returns (Call memory) {
        return Call(target, address(token), push, data);
    }

    function _cosigned(Call[] memory calls) private returns (Batch memory b) {
        b = batch(calls);
        portfolio.cosign(keccak256(abi.encode(b)));
    }

    function _refused(Call[] memory calls) private {
        Batch memory b = batch(calls);
        b.maxLoss = 1000 * UNIT;
        portfolio.cosign(keccak256(abi.encode(b)));
        _expectNotAlone();
        portfolio.execute(b);
    }

    function _expectNotAlone() private {
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.ImpairedNotAlone.selector, connector, A));
    }
}
