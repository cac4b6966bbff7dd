// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IConnector} from "../src/interfaces/IConnector.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {Batch, Call, Position, Settlement, Value} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @dev Reports whatever it is told, and lets nothing in or out.
contract Boaster is IConnector {
    address public immutable portfolio;
    uint256 private low;
    uint256 private high;

    constructor(address portfolio_) {
        portfolio = portfolio_;
    }

    function boast(uint256 low_, uint256 high_) external {
        (low, high) = (low_, high_);
    }

    function report(bytes32) external view override returns (uint256, uint256, uint256) {
        return (low, high, 0);
    }

    function supply(bytes32, uint256) external override {}

    function withdraw(bytes32, uint256) external pure override returns (uint256) {
        return 0;
    }
}

/// @title What is stored of positions, and what cannot be made of it
contract MarksTest is VaultFixture {
    bytes32 private constant OTHER = "protocol:other";

    Holdings private other;

    function setUp() public override {
        super.setUp();
        other = addConnector(OTHER);
        depositFor(alice, 1000 * UNIT);
    }

    function test_a_batch_marks_the_positions_of_the_connectors_it_calls() public {
        supply(connector, A, 100 * UNIT);
        supply(other, A, 50 * UNIT);
        assertMark(connector, A, 100 * UNIT, 100 * UNIT);
        assertMark(other, A, 50 * UNIT, 50 * UNIT);
        connector.setHeld(A, 110 * UNIT);
        supply(other, B, 10 * UNIT);
        assertMark(connector, A, 100 * UNIT, 100 * UNIT);
        assertMark(other, B, 10 * UNIT, 10 * UNIT);
        assertSums();
        supply(connector, B, 5 * UNIT);
        assertMark(connector, A, 110 * UNIT, 110 * UNIT);
        assertSums();
    }

    function test_a_settlement_marks_what_positions_are_worth_and_not_what_they_are_exposed() public {
        supply(connector, A, 100 * UNIT);
        connector.setHeld(A, 110 * UNIT);
        settle();
        assertMark(connector, A, 110 * UNIT, 100 * UNIT);
        connector.setMode(Holdings.Mode.REVERT);
        settle();
        assertMark(connector, A, 0, 100 * UNIT);
        assertSums();
    }

    function test_a_position_that_cannot_be_read_is_logged_with_its_last_good_mark() public {
        supply(connector, A, 100 * UNIT);
        supply(other, B, 50 * UNIT);
        connector.setMode(Holdings.Mode.REVERT);
        closeEpoch();
        Settlement memory terms = settlement();
        vm.expectEmit(address(portfolio));
        emit IPortfolio.PositionImpaired(address(connector), A, 100 * UNIT);
        vm.expectEmit(address(portfolio), 0);
        emit IPortfolio.PositionImpaired(address(other), B, 50 * UNIT);
        vault.settle(terms);
    }

    function test_value_that_no_batch_ever_brought_counts_as_exposure_once_it_is_seen() public {
        other.setHeld(B, 30 * UNIT);
        settle();
        assertMark(other, B, 30 * UNIT, 30 * UNIT);
        assertEq(portfolio.exposures(OTHER), 30 * UNIT);
        assertSums();
    }

    function test_a_position_whose_low_stays_counts_as_exposure_once() public {
        Boaster boaster = new Boaster(address(portfolio));
        address listed = address(boaster);
        govern(abi.encodeCall(registry.listPosition, (address(vault), listed, A, only(OTHER))));
        boaster.boast(0, 7 * UNIT);
        settle();
        settle();
        (uint128 low, uint128 high) = portfolio.marks(listed, A);
        assertEq(low, 0);
        assertEq(high, 7 * UNIT);
        assertSums();
    }

    function test_a_batch_takes_positions_it_does_not_call_at_their_marks() public {
        supply(connector, A, 100 * UNIT);
        settle();
        connector.setHeld(A, 60 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(other, UNIT, abi.encodeCall(Holdings.supply, (A, UNIT)));
        Batch memory b = batch(calls);
        b.minNavAfter = 1000 * UNIT;
        vm.expectEmit(address(portfolio));
        emit IPortfolio.BatchExecuted("plan", 0, b.nonce, 1000 * UNIT, 1000 * UNIT, 899 * UNIT);
        portfolio.execute(b);
        // The loss is charged when it is seen, whole, whatever else has gained.
        (uint256 raising,) = portfolio.lossBudgets();
        assertEq(raising, 0.01e18);
        other.setHeld(A, 61 * UNIT);
        settle();
        (raising,) = portfolio.lossBudgets();
        assertEq(raising, 0);
    }

    function test_caps_count_positions_of_connectors_that_are_not_called() public {
        Holdings third = new Holdings(address(portfolio), token);
        bytes memory list =
            abi.encodeCall(registry.listPosition, (address(vault), address(third), A, only(OTHER)));
        govern(list);
        allowAll(third);
        supply(other, A, 60 * UNIT);
        registry.lowerCap(address(vault), OTHER, 100 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(third, 41 * UNIT, abi.encodeCall(Holdings.supply, (A, 41 * UNIT)));
        Batch memory b = batch(calls);
        vm.expectRevert(
            abi.encodeWithSelector(IPortfolio.CapExceeded.selector, OTHER, 101 * UNIT, 100 * UNIT)
        );
        portfolio.execute(b);
        supply(third, A, 40 * UNIT);
        // Above the cap funds still move to where they are less.
        registry.lowerCap(address(vault), OTHER, 10 * UNIT);
        b = batch(
            both(
                callTo(other, 0, abi.encodeCall(Holdings.withdraw, (A, 60 * UNIT))),
                callTo(third, 59 * UNIT, abi.encodeCall(Holdings.supply, (A, 59 * UNIT)))
            )
        );
        portfolio.execute(b);
        assertEq(portfolio.exposures(OTHER), 99 * UNIT);
    }

    /// @dev What a position still counts when it is unlisted would be taken from other risk ids, or stay for ever.
    function test_class_R_an_unlisted_position_leaves_no_mark_behind() public {
        supply(other, A, 50 * UNIT);
        supply(other, B, 20 * UNIT);
        other.setHeld(A, 0);
        registry.unlistPosition(address(vault), address(other), A);
        assertEq(portfolio.exposures(OTHER), 20 * UNIT);
        assertEq(portfolio.totalLow(), 20 * UNIT);
        assertSums();
        bytes32[] memory riskIds = only(RISK);
        govern(abi.encodeCall(registry.listPosition, (address(vault), address(other), A, riskIds)));
        supply(other, A, 5 * UNIT);
        assertEq(portfolio.exposures(RISK), 5 * UNIT);
        assertEq(portfolio.exposures(OTHER), 20 * UNIT);
        assertSums();
    }

    function test_class_G_only_the_registry_forgets() public {
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotRegistry.selector, address(this)));
        portfolio.forget(address(connector), A, only(RISK), false);
    }

    /// @dev A stolen quorum lets a market that it dominates soar for the moment of one batch, so that the mark
    /// stays high, and then takes a hundredth of a NAV that never was from the other positions.
    function test_class_V_a_mark_that_soared_makes_no_room_for_losses() public {
        supply(connector, A, 500 * UNIT);
        other.setHeld(A, 1_000_000 * UNIT);
        Call[] memory calls = new Call[](1);
        calls[0] = callTo(other, 0, abi.encodeCall(Holdings.withdraw, (B, 0)));
        portfolio.execute(batch(calls));
        other.setHeld(A, 0);
        assertEq(portfolio.totalLow(), 1_000_500 * UNIT, "the mark is not true");
        bytes memory lose = abi.encodeCall(Holdings.withdrawAtLoss, (A, 100 * UNIT, 21 * UNIT));
        Batch memory b = batch(oneCall(0, lose));
        b.maxLoss = 21 * UNIT;
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        portfolio.execute(b);
    }

    /// @dev Twenty reports that each fit a word and together overflow the sums would stop every settlement.
    function test_class_V_reports_that_would_overflow_together_stop_nothing() public {
        Boaster[] memory boasters = new Boaster[](12);
        for (uint256 i; i < 12; ++i) {
            boasters[i] = new Boaster(address(portfolio));
            address boaster = address(boasters[i]);
            govern(abi.encodeCall(registry.listPosition, (address(vault), boaster, A, only(OTHER))));
        }
        uint256[4] memory boasts = [
            uint256(type(uint112).max), uint256(type(uint112).max) + 1, type(uint128).max, type(uint256).max
        ];
        for (uint256 i; i < 4; ++i) {
            for (uint256 j; j < 12; ++j) {
                boasters[j].boast(boasts[i], boasts[i]);
            }
            (Value memory nav, bool healthy) = portfolio.nav();
            assertEq(healthy, i == 0);
            assertEq(nav.low, (i == 0 ? 12 * boasts[0] : 0) + 1000 * UNIT);
            settle();
            supply(connector, A, UNIT);
            portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, UNIT)))));
            assertSums();
        }
    }

    /// @dev Every transaction on its own, cold: what else is listed costs a batch next to nothing.
    function test_the_gas_of_a_batch_does_not_grow_with_what_is_listed() public {
        supply(connector, A, 100 * UNIT);
        supply(other, A, 100 * UNIT);
        uint256 few = _gasOfMove();
        for (uint256 i; i < 6; ++i) {
            addConnector(bytes32(i + 1));
        }
        assertEq(registry.positions(address(vault)).length, 16);
        uint256 many = _gasOfMove();
        emit log_named_uint("gas with 4 positions", few);
        emit log_named_uint("gas with 16 positions", many);
        assertLe(many * 100, few * 110);
    }

    function _gasOfMove() private returns (uint256) {
        Batch memory b = batch(
            both(
                callTo(connector, 0, abi.encodeCall(Holdings.withdraw, (A, 10 * UNIT))),
                callTo(other, 10 * UNIT, abi.encodeCall(Holdings.supply, (A, 10 * UNIT)))
            )
        );
        address[6] memory parts = [
            address(vault),
            address(portfolio),
            address(registry),
            address(token),
            address(connector),
            address(other)
        ];
        for (uint256 i; i < 6; ++i) {
            vm.cool(parts[i]);
        }
        uint256 available = gasleft();
        portfolio.execute(b);
        return available - gasleft();
    }

    function assertMark(Holdings holder, bytes32 key, uint256 low, uint256 high) private view {
        (uint128 markedLow, uint128 markedHigh) = portfolio.marks(address(holder), key);
        assertEq(markedLow, low, "low mark");
        assertEq(markedHigh, high, "high mark");
    }

    /// @dev The sums are those of the marks of what is listed.
    function assertSums() private view {
        Position[] memory listed = registry.positions(address(vault));
        uint256 sum;
        uint256[2] memory exposures;
        for (uint256 i; i < listed.length; ++i) {
            (uint128 low, uint128 high) = portfolio.marks(listed[i].connector, listed[i].key);
            sum += low;
            exposures[listed[i].riskIds[0] == RISK ? 0 : 1] += high;
        }
        assertEq(portfolio.totalLow(), sum, "sum of marks");
        assertEq(portfolio.exposures(RISK), exposures[0], "exposure of the first");
        assertEq(portfolio.exposures(OTHER), exposures[1], "exposure of the other");
    }
}
