// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IVault, Params} from "../src/interfaces/IVault.sol";
import {Batch} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @notice How long changes wait, who may stop them, and what is given up for ever. This test is governor and
/// keeper; the guardian is someone else.
contract TimelockTest is VaultFixture {
    address private guardian = makeAddr("guardian");
    address private v;
    address private r;

    function setUp() public override {
        super.setUp();
        (v, r) = (address(vault), address(registry));
        change(abi.encodeCall(registry.setGuardian, (v, guardian)), 14 days);
    }

    // WHO MAY STOP WHAT

    /// Catches: a guardian that keeps itself in office for ever.
    function test_M_46_a_guardian_cannot_veto_its_replacement() public {
        bytes memory data = abi.encodeCall(registry.setGuardian, (v, alice));
        bytes32 id = submit(data);
        vm.prank(guardian);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotVetoable.selector, id));
        registry.veto(v, id);
        uint256 at = block.timestamp + 14 days;
        skip(14 days - 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeNotReady.selector, id, at));
        registry.setGuardian(v, alice);
        skip(1);
        registry.setGuardian(v, alice);
        assertEq(registry.guardian(v), alice);
    }

    function test_a_new_guardian_waits_a_longer_delay_out_and_the_governor_may_think_again() public {
        change(abi.encodeCall(registry.setDelay, (v, 20 days)), 3 days);
        bytes memory data = abi.encodeCall(registry.setGuardian, (v, alice));
        bytes32 id = submit(data);
        assertEq(registry.executableAt(v, id), block.timestamp + 20 days);
        registry.veto(v, id);
        skip(20 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.setGuardian(v, alice);
    }

    function test_class_G_the_guardian_vetoes_every_other_change_that_may_raise_risk() public {
        bytes[9] memory changes = [
            abi.encodeCall(registry.listPosition, (v, address(connector), "c", only(RISK))),
            abi.encodeCall(registry.setSelector, (v, address(connector), 0x12345678, true)),
            abi.encodeCall(registry.setCap, (v, RISK, 5)),
            abi.encodeCall(registry.clearExitOnly, (v, address(connector))),
            abi.encodeCall(registry.setOracle, (v, alice)),
            abi.encodeCall(registry.setKeeper, (v, alice)),
            abi.encodeCall(registry.setDelay, (v, 4 days)),
            abi.encodeCall(registry.proposeGovernor, (v, alice)),
            abi.encodeCall(vault.setParams, (defaultParams()))
        ];
        for (uint256 i; i < changes.length; ++i) {
            address target = i == changes.length - 1 ? v : r;
            registry.submit(v, target, changes[i]);
            bytes32 id = registry.changeId(target, changes[i]);
            vm.prank(guardian);
            registry.veto(v, id);
            assertEq(registry.executableAt(v, id), 0);
        }
    }

    /// Catches: a veto that is lifted for a name instead of for the registry's own function.
    function test_class_G_a_function_of_the_same_name_elsewhere_can_be_vetoed() public {
        bytes memory data = abi.encodeCall(registry.setGuardian, (v, alice));
        registry.submit(v, v, data);
        bytes32 id = registry.changeId(v, data);
        assertEq(registry.executableAt(v, id), block.timestamp + 3 days);
        vm.prank(guardian);
        registry.veto(v, id);
    }

    function test_class_G_the_guardian_cannot_hold_up_what_only_takes_powers_away() public {
        bytes[2] memory changes = [
            abi.encodeCall(registry.terminate, (v)),
            abi.encodeCall(registry.abdicate, (v, v, vault.setParams.selector))
        ];
        for (uint256 i; i < changes.length; ++i) {
            bytes32 id = submit(changes[i]);
            vm.prank(guardian);
            vm.expectRevert(abi.encodeWithSelector(IRegistry.NotVetoable.selector, id));
            registry.veto(v, id);
            registry.veto(v, id); // the governor may
        }
    }

    // HOW LONG

    /// Catches: a change forgotten by everybody that lies ready for years.
    function test_a_change_expires_fourteen_days_after_it_could_be_made() public {
        bytes memory data = abi.encodeCall(registry.setCap, (v, RISK, 5));
        bytes32 id = submit(data);
        uint256 last = block.timestamp + 17 days;
        vm.warp(last + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeExpired.selector, id, last));
        registry.setCap(v, RISK, 5);
        submit(data);
        skip(17 days);
        registry.setCap(v, RISK, 5);
        assertEq(registry.cap(v, RISK), 5);
    }

    /// Catches: a change that is announced without a delay before the seal, and made once deposits have come.
    function test_class_G_nothing_is_announced_before_the_seal() public {
        vault = deployVault(token);
        v = address(vault);
        bytes memory data = abi.encodeCall(registry.setKeeper, (v, alice));
        bytes memory reason = abi.encodeWithSelector(IRegistry.NotSealed.selector, v);
        vm.expectRevert(reason);
        registry.submit(v, r, data);
        vm.expectRevert(reason);
        registry.setDelay(v, 30 days);
    }

    function test_the_delay_leaves_time_for_two_epochs() public {
        vault = deployVault(token);
        v = address(vault);
        Params memory p = defaultParams();
        p.minEpochLength = 5 days;
        vault.setParams(p);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.DelayTooShort.selector, 10 days - 1, registry.minimumDelay(v))
        );
        registry.seal(v, 10 days - 1);
        uint256 minimum = registry.minimumDelay(v);
        assertGe(minimum, 10 days);
        registry.seal(v, minimum);
        submit(abi.encodeCall(registry.setDelay, (v, minimum - 1)));
        skip(minimum);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.DelayTooShort.selector, minimum - 1, registry.minimumDelay(v))
        );
        registry.setDelay(v, minimum - 1);
    }

    function test_the_delay_is_a_year_at_most() public {
        vault = deployVault(token);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.DelayTooLong.selector, 365 days + 1, 365 days));
        registry.seal(address(vault), 365 days + 1);
        registry.seal(address(vault), 365 days);
    }

    // THE END

    function test_class_R_a_terminated_vault_takes_no_deposit_and_no_risk_for_ever_and_pays_everybody()
        public
    {
        uint256 shares = depositFor(alice, 100 * UNIT);
        supply(A, 60 * UNIT);
        vm.prank(guardian);
        registry.pauseRisk(v);
        change(abi.encodeCall(registry.terminate, (v)), 3 days);
        uint256 never = type(uint128).max;
        assertEq(registry.riskPausedUntil(v), never);
        skip(36_500 days);
        for (uint256 i; i < 2; ++i) {
            vm.prank(i == 0 ? guardian : address(this));
            vm.expectRevert(
                abi.encodeWithSelector(
                    IRegistry.ChangeNotReady.selector, bytes32("pauseRisk"), never + 7 days
                )
            );
            registry.pauseRisk(v);
        }
        assertEq(registry.riskPausedUntil(v), never, "no pause shortens it");

        token.mint(alice, UNIT);
        vm.startPrank(alice);
        token.approve(v, UNIT);
        vm.expectRevert(abi.encodeWithSelector(IVault.DepositsPaused.selector, never));
        vault.requestDeposit(UNIT, alice, alice);
        vm.stopPrank();
        Batch memory more = batch(oneCall(UNIT, abi.encodeCall(Holdings.supply, (A, UNIT))));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.RiskIsPaused.selector, never));
        portfolio.execute(more);

        requestRedeem(alice, shares);
        closeEpoch();
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        vault.settle(settlement());
        uint256 assets = vault.maxWithdraw(alice);
        assertGe(assets, 100 * UNIT - 1);
        vm.prank(alice);
        vault.withdraw(assets, alice, alice);
        assertEq(token.balanceOf(alice), UNIT + assets);
    }

    function test_class_G_nobody_makes_an_abdicated_change_again() public {
        bytes memory early = abi.encodeCall(registry.setCap, (v, RISK, 5));
        change(abi.encodeCall(registry.abdicate, (v, v, vault.setParams.selector)), 3 days);
        bytes memory abdicate = abi.encodeCall(registry.abdicate, (v, r, registry.setCap.selector));
        submit(abdicate);
        submit(early);
        skip(3 days);
        registry.abdicate(v, r, registry.setCap.selector);

        bytes memory reason =
            abi.encodeWithSelector(IRegistry.Abdicated.selector, r, registry.setCap.selector);
        vm.expectRevert(reason);
        registry.setCap(v, RISK, 5); // submitted before
        vm.expectRevert(reason);
        registry.submit(v, r, early);
        reason = abi.encodeWithSelector(IRegistry.Abdicated.selector, v, vault.setParams.selector);
        vm.expectRevert(reason);
        registry.submit(v, v, abi.encodeCall(vault.setParams, (defaultParams())));
        vm.expectRevert(reason);
        vault.setParams(defaultParams());

        change(abi.encodeCall(registry.proposeGovernor, (v, alice)), 3 days);
        vm.startPrank(alice);
        registry.acceptGovernor(v);
        vm.expectRevert(reason);
        registry.submit(v, v, abi.encodeCall(vault.setParams, (defaultParams())));
        // Lowering it is no change that waits, and stays.
        registry.lowerCap(v, RISK, 1);
        vm.stopPrank();
        assertEq(registry.cap(v, RISK), 1);
    }

    function test_class_I_abdication_and_termination_are_one_vaults_own() public {
        change(abi.encodeCall(registry.abdicate, (v, r, registry.setCap.selector)), 3 days);
        change(abi.encodeCall(registry.terminate, (v)), 3 days);
        vault = deployVault(token);
        registry.setCap(address(vault), RISK, 5);
        assertEq(registry.cap(address(vault), RISK), 5);
        assertEq(registry.riskPausedUntil(address(vault)), 0);
    }

    /// Catches: a set-up without delay that makes up for what was given up.
    function test_class_G_what_is_given_up_before_the_seal_is_gone_at_once() public {
        vault = deployVault(token);
        v = address(vault);
        registry.abdicate(v, r, registry.setOracle.selector);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.Abdicated.selector, r, registry.setOracle.selector));
        registry.setOracle(v, alice);
    }

    // INTERNAL

    function submit(bytes memory data) private returns (bytes32) {
        registry.submit(v, r, data);
        return registry.changeId(r, data);
    }

    function change(bytes memory data, uint256 wait) private {
        submit(data);
        skip(wait);
        (bool success,) = r.call(data);
        assertTrue(success, vm.toString(data));
    }
}
