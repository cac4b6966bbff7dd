// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Position} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

contract RegistryTest is VaultFixture {
    function test_a_submitted_change_waits_for_the_delay() public {
        bytes memory data = abi.encodeCall(registry.setCap, (address(vault), RISK, 5));
        bytes32 id = registry.changeId(address(registry), data);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.setCap(address(vault), RISK, 5);
        registry.submit(address(vault), address(registry), data);
        uint256 at = block.timestamp + 3 days;
        skip(3 days - 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeNotReady.selector, id, at));
        registry.setCap(address(vault), RISK, 5);
        skip(1);
        registry.setCap(address(vault), RISK, 5);
        assertEq(registry.cap(address(vault), RISK), 5);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.setCap(address(vault), RISK, 5);
    }

    function test_M46_the_guardian_vetoes_a_queued_change() public {
        bytes memory data = abi.encodeCall(registry.setKeeper, (address(vault), alice));
        bytes32 id = registry.changeId(address(registry), data);
        registry.submit(address(vault), address(registry), data);
        registry.veto(address(vault), id);
        skip(4 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.setKeeper(address(vault), alice);
    }

    function test_class_G_every_governor_function_refuses_others() public {
        vm.startPrank(alice);
        bytes memory reason = abi.encodeWithSelector(IRegistry.NotGovernor.selector, alice);
        vm.expectRevert(reason);
        registry.submit(address(vault), address(registry), "");
        vm.expectRevert(reason);
        registry.seal(address(vault), 3 days);
        vm.expectRevert(reason);
        registry.listPosition(address(vault), address(connector), "c", only(RISK));
        vm.expectRevert(reason);
        registry.setSelector(address(vault), address(connector), 0x12345678, true);
        vm.expectRevert(reason);
        registry.setCap(address(vault), RISK, 1);
        vm.expectRevert(reason);
        registry.clearExitOnly(address(vault), address(connector));
        vm.expectRevert(reason);
        registry.setOracle(address(vault), alice);
        vm.expectRevert(reason);
        registry.setKeeper(address(vault), alice);
        vm.expectRevert(reason);
        registry.setGuardian(address(vault), alice);
        vm.expectRevert(reason);
        registry.setDelay(address(vault), 3 days);
        vm.expectRevert(reason);
        registry.proposeGovernor(address(vault), alice);
        vm.expectRevert(reason);
        registry.terminate(address(vault));
        vm.expectRevert(reason);
        registry.abdicate(address(vault), address(vault), vault.setParams.selector);
        vm.expectRevert(reason);
        registry.acceptGovernor(address(vault));
        vm.expectRevert(reason);
        registry.unlistPosition(address(vault), address(connector), A);
        reason = abi.encodeWithSelector(IRegistry.NotGuardian.selector, alice);
        vm.expectRevert(reason);
        registry.veto(address(vault), 0);
        vm.expectRevert(reason);
        registry.lowerCap(address(vault), RISK, 0);
        vm.expectRevert(reason);
        registry.setExitOnly(address(vault), address(connector));
        vm.expectRevert(reason);
        registry.pauseRisk(address(vault));
    }

    // WHAT IS REFUSED BY NAME

    function test_a_section_has_a_portfolio_and_a_governor_or_is_none() public {
        bytes memory refusal = abi.encodeWithSelector(IRegistry.UnknownTarget.selector, address(0));
        vm.startPrank(alice);
        vm.expectRevert(refusal);
        registry.register(address(0), bob, bob, bob);
        vm.expectRevert(refusal);
        registry.register(address(portfolio), address(0), bob, bob);
        registry.register(address(portfolio), bob, address(0), address(0));
        assertEq(registry.governor(alice), bob, "guardian and keeper may come later");
    }

    /// Catches: nobody, who is the governor of a vault that never registered, opening its section.
    function test_class_I_there_is_nothing_to_govern_before_a_vault_registers() public {
        bytes memory refusal = abi.encodeWithSelector(IRegistry.UnknownVault.selector, alice);
        vm.startPrank(address(0));
        vm.expectRevert(refusal);
        registry.setCap(alice, RISK, 1);
        vm.expectRevert(refusal);
        registry.authorise(alice, address(0), "change");
    }

    /// Catches: a second seal that shortens the delay at once.
    function test_a_vault_is_sealed_once() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.AlreadySealed.selector, address(vault)));
        registry.seal(address(vault), 4 days);
        assertEq(registry.delay(address(vault)), 3 days);
    }

    function test_only_what_was_submitted_is_vetoed_and_once() public {
        bytes memory data = abi.encodeCall(registry.setOracle, (address(vault), bob));
        bytes32 id = registry.changeId(address(registry), data);
        bytes memory refusal = abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id);
        vm.expectRevert(refusal);
        registry.veto(address(vault), id);
        registry.submit(address(vault), address(registry), data);
        registry.veto(address(vault), id);
        vm.expectRevert(refusal);
        registry.veto(address(vault), id);
    }

    function test_class_O_the_oracle_is_the_one_that_waited_the_delay_out() public {
        change(abi.encodeCall(registry.setOracle, (address(vault), bob)), 3 days);
        assertEq(registry.oracle(address(vault)), bob);
    }

    function test_class_I_a_governor_rules_its_own_vault_only() public {
        vm.prank(alice);
        registry.register(alice, alice, alice, alice); // alice poses as a vault with herself in every role
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotGovernor.selector, alice));
        registry.setCap(address(vault), RISK, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ForeignConnector.selector, address(connector)));
        registry.listPosition(alice, address(connector), A, only(RISK));
    }

    function test_governance_moves_in_two_steps() public {
        bytes memory data = abi.encodeCall(registry.proposeGovernor, (address(vault), alice));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        registry.proposeGovernor(address(vault), alice);
        assertEq(registry.governor(address(vault)), address(this));
        vm.prank(alice);
        registry.acceptGovernor(address(vault));
        assertEq(registry.governor(address(vault)), alice);
    }

    function test_shortening_the_delay_waits_the_old_one_and_never_goes_below_three_days() public {
        change(abi.encodeCall(registry.setDelay, (address(vault), 10 days)), 3 days);
        assertEq(registry.delay(address(vault)), 10 days);
        bytes memory data = abi.encodeCall(registry.setDelay, (address(vault), 3 days));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        bytes32 id = registry.changeId(address(registry), data);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.ChangeNotReady.selector, id, block.timestamp + 7 days)
        );
        registry.setDelay(address(vault), 3 days);
        skip(7 days);
        registry.setDelay(address(vault), 3 days);
        data = abi.encodeCall(registry.setDelay, (address(vault), 1 days));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.DelayTooShort.selector, 1 days, 3 days));
        registry.setDelay(address(vault), 1 days);
    }

    function test_pause_lasts_seven_days_and_not_again_for_seven() public {
        registry.pauseRisk(address(vault));
        uint256 again = block.timestamp + 14 days;
        skip(8 days);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.ChangeNotReady.selector, bytes32("pauseRisk"), again)
        );
        registry.pauseRisk(address(vault));
        skip(6 days);
        registry.pauseRisk(address(vault));
    }

    function test_H12_H21_positions_leave_the_list_only_when_they_are_worth_no_more_than_dust() public {
        depositFor(alice, 10 * UNIT);
        supply(A, UNIT);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), A));
        registry.unlistPosition(address(vault), address(connector), A);
        connector.setMode(Holdings.Mode.REVERT);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), B));
        registry.unlistPosition(address(vault), address(connector), B);
        connector.setMode(Holdings.Mode.HONEST);
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        registry.unlistPosition(address(vault), address(connector), A);
        Position[] memory left = registry.positions(address(vault));
        assertEq(left.length, 1);
        assertEq(left[0].key, B);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PositionUnknown.selector, address(connector), A));
        registry.unlistPosition(address(vault), address(connector), A);
    }

    /// Catches: a gift of a few units that keeps a position listed, until the twenty slots are taken.
    function test_M_40_dust_given_to_a_position_does_not_keep_its_slot() public {
        connector.setHeld(B, 10);
        registry.unlistPosition(address(vault), address(connector), B);
        depositFor(alice, 1000 * UNIT);
        connector.setHeld(A, 1011);
        bytes memory notEmpty =
            abi.encodeWithSelector(IRegistry.PositionNotEmpty.selector, address(connector), A);
        vm.expectRevert(notEmpty);
        registry.unlistPosition(address(vault), address(connector), A);
        connector.setHeld(A, 1010);
        connector.setMode(Holdings.Mode.DEGRADED);
        vm.expectRevert(notEmpty);
        registry.unlistPosition(address(vault), address(connector), A);
        connector.setMode(Holdings.Mode.HONEST);
        registry.unlistPosition(address(vault), address(connector), A);
        assertEq(registry.positions(address(vault)).length, 0);
        assertEq(registry.riskIdsOf(address(vault), address(connector), A).length, 0);
    }

    function test_a_position_is_listed_once_and_there_are_at_most_sixteen() public {
        bytes memory data =
            abi.encodeCall(registry.listPosition, (address(vault), address(connector), A, only(RISK)));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.PositionAlreadyListed.selector, address(connector), A)
        );
        registry.listPosition(address(vault), address(connector), A, only(RISK));
        vault = deployVault(token);
        connector = new Holdings(address(portfolio), token);
        for (uint256 i; i < 16; ++i) {
            registry.listPosition(address(vault), address(connector), bytes32(i), only(RISK));
        }
        vm.expectRevert(abi.encodeWithSelector(IRegistry.TooManyPositions.selector, 16));
        registry.listPosition(address(vault), address(connector), bytes32(uint256(16)), only(RISK));
    }

    function test_R14_a_position_without_a_risk_id_is_not_listed() public {
        vault = deployVault(token);
        connector = new Holdings(address(portfolio), token);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoRiskId.selector, address(connector), A));
        registry.listPosition(address(vault), address(connector), A, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.TooManyRiskIds.selector, 8));
        registry.listPosition(address(vault), address(connector), A, new bytes32[](9));
    }

    /// @dev Listings and removals in any order, against a model of 3 connectors with 5 keys each.
    function testFuzz_class_R_the_list_is_what_was_listed_and_not_removed(uint8[40] calldata steps) public {
        vault = deployVault(token);
        Holdings[3] memory connectors;
        for (uint256 i; i < 3; ++i) {
            connectors[i] = new Holdings(address(portfolio), token);
        }
        bytes32[5][3] memory riskOf;
        for (uint256 n; n < steps.length; ++n) {
            (uint256 i, uint256 key) = (steps[n] % 3, steps[n] / 3 % 5);
            if (riskOf[i][key] == 0) {
                riskOf[i][key] = bytes32(n + 1);
                registry.listPosition(
                    address(vault), address(connectors[i]), bytes32(key), only(bytes32(n + 1))
                );
            } else {
                riskOf[i][key] = 0;
                registry.unlistPosition(address(vault), address(connectors[i]), bytes32(key));
            }
        }
        _matches(connectors, riskOf);
    }

    function _matches(Holdings[3] memory connectors, bytes32[5][3] memory riskOf) private view {
        Position[] memory listed = registry.positions(address(vault));
        (address[] memory targets, bytes32[] memory keys) = registry.positionKeys(address(vault));
        assertEq(targets.length, listed.length);
        assertEq(keys.length, listed.length);
        uint256 expected;
        for (uint256 i; i < 3; ++i) {
            for (uint256 key; key < 5; ++key) {
                if (riskOf[i][key] != 0) ++expected;
            }
        }
        assertEq(listed.length, expected);
        // Every entry is one of the model's, and none comes twice: as many entries as the model has.
        for (uint256 i; i < listed.length; ++i) {
            assertEq(listed[i].connector, targets[i]);
            assertEq(listed[i].key, keys[i]);
            assertEq(listed[i].riskIds, registry.riskIdsOf(address(vault), targets[i], keys[i]));
            bytes32 risk = _take(connectors, riskOf, targets[i], uint256(keys[i]));
            assertEq(listed[i].riskIds, only(risk));
        }
    }

    function _take(Holdings[3] memory connectors, bytes32[5][3] memory riskOf, address target, uint256 key)
        private
        pure
        returns (bytes32 risk)
    {
        for (uint256 i; i < 3; ++i) {
            if (address(connectors[i]) != target) continue;
            risk = riskOf[i][key];
            delete riskOf[i][key];
        }
        assertTrue(risk != 0, "neither stale nor twice");
    }

    function change(bytes memory data, uint256 wait) private {
        registry.submit(address(vault), address(registry), data);
        skip(wait);
        (bool success,) = address(registry).call(data);
        assertTrue(success);
    }
}
