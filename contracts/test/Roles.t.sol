// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Escrow} from "../src/Escrow.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IKeeperQuorum} from "../src/interfaces/IKeeperQuorum.sol";
import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Settlement, Signature} from "../src/interfaces/Types.sol";
import {KeeperQuorum} from "../src/KeeperQuorum.sol";
import {Registry} from "../src/Registry.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @title Who may call what
/// @notice One table of every privileged function with the roles it is for. Each role that is not named is
/// refused with the function's own error, which carries the caller; each role that is named gets through.
contract RolesTest is VaultFixture {
    /// @dev One privileged function. `needs` is a set of `Role` bits; a timelocked function must also have been
    /// submitted by the governor, and waited.
    struct Gate {
        address target;
        bytes data;
        bytes4 refusal;
        uint256 needs;
        bool timelocked;
    }

    enum Role {
        STRANGER,
        USER,
        GUARDIAN,
        GOVERNOR,
        KEEPER,
        SIGNER,
        CONNECTOR,
        VAULT,
        PORTFOLIO,
        ESCROW
    }

    uint256 private constant ROLES = 10;
    uint256 private constant GUARDIAN = 1 << uint256(Role.GUARDIAN);
    uint256 private constant GOVERNOR = 1 << uint256(Role.GOVERNOR);
    uint256 private constant KEEPER = 1 << uint256(Role.KEEPER);
    uint256 private constant VAULT = 1 << uint256(Role.VAULT);
    uint256 private constant PORTFOLIO = 1 << uint256(Role.PORTFOLIO);

    address private governor = makeAddr("governor");
    address private guardian = makeAddr("guardian");
    address private signer = makeAddr("signer");
    KeeperQuorum private quorum;
    Holdings private dead;
    address[ROLES] private accounts;
    Gate[] private gates;

    function setUp() public override {
        super.setUp();
        depositFor(alice, 100 * UNIT);
        supply(A, 40 * UNIT);
        dead = addConnector("protocol:dead");
        dead.setMode(Holdings.Mode.REVERT);
        address[] memory signers = new address[](1);
        signers[0] = signer;
        quorum = new KeeperQuorum(registry, address(vault), signers, 1);
        _handOver();
        accounts = [
            makeAddr("stranger"),
            alice,
            guardian,
            governor,
            address(quorum),
            signer,
            address(connector),
            address(vault),
            address(portfolio),
            address(escrow)
        ];
        // Everything is ready to be settled, paid, skimmed: only the caller decides.
        requestDeposit(bob, 50 * UNIT);
        token.mint(address(portfolio), UNIT);
        closeEpoch();
        _readTwice();
        _listCore();
        _listTimelocked();
        _listGovernance();
    }

    // EVERY ROLE, EVERY FUNCTION

    function test_class_G_every_role_that_is_not_named_is_refused() public {
        uint256 refused;
        for (uint256 i; i < gates.length; ++i) {
            for (uint256 role; role < ROLES; ++role) {
                if (gates[i].needs & (1 << role) != 0) continue;
                _refuses(gates[i], accounts[role]);
                ++refused;
            }
        }
        assertEq(gates.length, 33);
        assertEq(refused, 292);
    }

    function test_class_G_a_queued_change_opens_a_function_to_the_governor_alone() public {
        for (uint256 i; i < gates.length; ++i) {
            if (!gates[i].timelocked) continue;
            vm.prank(governor);
            registry.submit(address(vault), gates[i].target, gates[i].data);
        }
        skip(14 days);
        for (uint256 i; i < gates.length; ++i) {
            if (!gates[i].timelocked) continue;
            for (uint256 role; role < ROLES; ++role) {
                if (role != uint256(Role.GOVERNOR)) _refuses(gates[i], accounts[role]);
            }
        }
    }

    function test_M_09_every_role_that_is_named_gets_through() public {
        uint256 passed;
        uint256 snapshot = vm.snapshotState();
        for (uint256 i; i < gates.length; ++i) {
            for (uint256 role; role < ROLES; ++role) {
                if (gates[i].needs & (1 << role) == 0) continue;
                _passes(gates[i], accounts[role]);
                vm.revertToState(snapshot);
                ++passed;
            }
        }
        assertEq(passed, 38);
    }

    function test_class_G_the_lock_is_the_portfolios() public {
        for (uint256 role; role < ROLES; ++role) {
            if (role == uint256(Role.PORTFOLIO)) continue;
            vm.startPrank(accounts[role]);
            vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, accounts[role]));
            vault.lock();
            vm.expectRevert(abi.encodeWithSelector(IVault.NotPortfolio.selector, accounts[role]));
            vault.unlock();
            vm.stopPrank();
        }
        vm.startPrank(address(portfolio));
        vault.lock();
        assertTrue(vault.locked());
        vault.unlock();
        assertFalse(vault.locked());
    }

    function test_class_G_what_the_quorum_signs_depends_on_signatures_whoever_calls() public {
        Batch memory b = batch(new Call[](0));
        Settlement memory s = settlement();
        Signature[] memory none = new Signature[](0);
        bytes memory refusal = abi.encodeWithSelector(IKeeperQuorum.TooFewSignatures.selector, 0, 1);
        for (uint256 role; role < ROLES; ++role) {
            vm.startPrank(accounts[role]);
            vm.expectRevert(refusal);
            quorum.execute(b, none);
            vm.expectRevert(refusal);
            quorum.settle(s, none);
            vm.expectRevert(refusal);
            quorum.cancel(0, 1, none);
            vm.stopPrank();
        }
    }

    function test_class_G_a_permission_is_spent_by_the_contract_it_is_for() public {
        bytes memory data = abi.encodeCall(registry.setKeeper, (address(vault), alice));
        bytes32 id = registry.changeId(address(registry), data);
        vm.prank(governor);
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        // Anyone may ask in the governor's name, but only about calls to himself.
        bytes32 own = registry.changeId(alice, data);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, own));
        registry.authorise(address(vault), governor, data);
        assertGt(registry.executableAt(address(vault), id), 0);
    }

    function test_class_G_governance_is_accepted_by_the_one_it_was_offered_to() public {
        bytes memory data = abi.encodeCall(registry.proposeGovernor, (address(vault), bob));
        _queue(address(registry), data);
        vm.prank(governor);
        registry.proposeGovernor(address(vault), bob);
        for (uint256 role; role < ROLES; ++role) {
            vm.prank(accounts[role]);
            vm.expectRevert(abi.encodeWithSelector(IRegistry.NotGovernor.selector, accounts[role]));
            registry.acceptGovernor(address(vault));
        }
        assertEq(registry.governor(address(vault)), governor);
    }

    function test_class_I_a_vault_registers_once() public {
        vm.prank(address(vault));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.AlreadyRegistered.selector, address(vault)));
        registry.register(address(portfolio), alice, alice, alice);
    }

    function test_class_I_another_vaults_roles_mean_nothing_here() public {
        vault = deployVault(token); // this test holds every role of the new vault
        registry.seal(address(vault), 3 days);
        for (uint256 i; i < gates.length; ++i) {
            _refuses(gates[i], address(this));
            _refuses(gates[i], address(vault));
        }
    }

    // THE GUARDIAN

    function test_class_G_the_guardian_moves_no_funds() public {
        uint256 funds = token.balanceOf(address(portfolio));
        uint256 shares = vault.balanceOf(alice);
        vm.startPrank(guardian);
        uint256 passed;
        for (uint256 i; i < gates.length; ++i) {
            (bool success,) = gates[i].target.call(gates[i].data);
            if (success) ++passed;
        }
        vm.stopPrank();
        assertEq(passed, 7, "veto, lowerCap, setExitOnly, pauseRisk, cancelNonce, cosign, splitOff");
        assertEq(token.balanceOf(address(portfolio)), funds);
        assertEq(token.balanceOf(address(escrow)), vault.escrowed());
        assertEq(connector.held(A), 40 * UNIT);
        assertEq(token.balanceOf(guardian), 0);
        assertEq(vault.balanceOf(alice), shares);
        assertEq(vault.balanceOf(guardian), 0);
    }

    function test_R_10_under_everything_the_guardian_can_do_users_still_leave() public {
        bytes memory data = abi.encodeCall(registry.setCap, (address(vault), RISK, type(uint256).max));
        vm.prank(governor);
        registry.submit(address(vault), address(registry), data);
        bytes32 id = registry.changeId(address(registry), data);
        vm.startPrank(guardian);
        registry.veto(address(vault), id);
        registry.lowerCap(address(vault), RISK, 0);
        registry.setExitOnly(address(vault), address(connector));
        registry.pauseRisk(address(vault));
        portfolio.cancelNonce(0);
        vm.stopPrank();

        vm.startPrank(address(quorum));
        vault.settle(settlement());
        vm.stopPrank();
        vm.startPrank(bob);
        // New money is not welcome, even what was committed before the pause: it comes back.
        vault.cancelDepositRequest(0, bob);
        assertEq(vault.claimCancelDepositRequest(0, bob, bob), 50 * UNIT);
        vm.stopPrank();
        requestRedeem(alice, 100e12);
        closeEpoch();
        vm.startPrank(address(quorum));
        // Unwinding goes on, under the nonce after the cancelled one.
        portfolio.execute(batch(oneCall(0, abi.encodeCall(Holdings.withdraw, (A, type(uint256).max)))));
        vault.settle(settlement());
        vm.stopPrank();
        vm.prank(alice);
        assertEq(vault.redeem(100e12, alice, alice), 100 * UNIT);
        assertEq(token.balanceOf(alice), 100 * UNIT);
    }

    // INTERNAL

    function _refuses(Gate memory gate, address caller) private {
        vm.prank(caller);
        (bool success, bytes memory reason) = gate.target.call(gate.data);
        assertFalse(success, vm.toString(gate.data));
        assertEq(reason, abi.encodeWithSelector(gate.refusal, caller), vm.toString(gate.data));
    }

    function _passes(Gate memory gate, address caller) private {
        if (gate.timelocked) {
            _queue(gate.target, gate.data);
            _readTwice();
        }
        vm.prank(caller);
        (bool success, bytes memory reason) = gate.target.call(gate.data);
        assertTrue(success, string.concat(vm.toString(gate.data), " ", vm.toString(reason)));
    }

    function _queue(address target, bytes memory data) private {
        vm.prank(governor);
        registry.submit(address(vault), target, data);
        skip(14 days); // a new guardian waits that long
    }

    /// @dev For what asks that a position was found dead both times.
    function _readTwice() private {
        portfolio.announce();
        skip(30 minutes);
    }

    /// @dev From this test to one account per role, the way it is done on a chain.
    function _handOver() private {
        bytes[3] memory changes = [
            abi.encodeCall(registry.setKeeper, (address(vault), address(quorum))),
            abi.encodeCall(registry.setGuardian, (address(vault), guardian)),
            abi.encodeCall(registry.proposeGovernor, (address(vault), governor))
        ];
        for (uint256 i; i < 3; ++i) {
            registry.submit(address(vault), address(registry), changes[i]);
        }
        skip(14 days);
        registry.setKeeper(address(vault), address(quorum));
        registry.setGuardian(address(vault), guardian);
        registry.proposeGovernor(address(vault), governor);
        vm.prank(governor);
        registry.acceptGovernor(address(vault));
    }

    function _listCore() private {
        _gate(
            address(vault), abi.encodeCall(IVault.settle, (settlement())), IVault.NotKeeper.selector, KEEPER
        );
        address p = address(portfolio);
        bytes memory execute = abi.encodeCall(IPortfolio.execute, (batch(new Call[](0))));
        _gate(p, execute, IPortfolio.NotKeeper.selector, KEEPER);
        bytes memory cancel = abi.encodeCall(IPortfolio.cancelNonce, (1));
        _gate(p, cancel, IPortfolio.NotAuthorised.selector, KEEPER | GUARDIAN);
        _gate(p, abi.encodeCall(IPortfolio.release, (UNIT)), IPortfolio.NotVault.selector, VAULT);
        _gate(p, abi.encodeCall(IPortfolio.receiveIdle, (UNIT)), IPortfolio.NotVault.selector, VAULT);
        _gate(p, abi.encodeCall(IPortfolio.checkpoint, (false)), IPortfolio.NotVault.selector, VAULT);
        bytes memory forget = abi.encodeCall(IPortfolio.forget, (address(connector), B, only(RISK), false));
        _gate(p, forget, IPortfolio.NotRegistry.selector, 0);
        _gate(p, abi.encodeCall(IPortfolio.cosign, ("hash")), IPortfolio.NotGuardian.selector, GUARDIAN);
        bytes memory splitOff = abi.encodeCall(IPortfolio.splitOff, (address(dead), A));
        _gate(p, splitOff, IPortfolio.NotAuthorised.selector, GOVERNOR | GUARDIAN);
        bytes memory open = abi.encodeCall(IVault.openPocket, ());
        _gate(address(vault), open, IVault.NotPortfolio.selector, PORTFOLIO);
        bytes memory close = abi.encodeCall(IVault.closePocket, (UNIT));
        _gate(address(vault), close, IVault.NotPortfolio.selector, PORTFOLIO);
        bytes memory pay = abi.encodeCall(Escrow.pay, (alice, UNIT));
        _gate(address(escrow), pay, IEscrow.NotVault.selector, VAULT);
    }

    function _listTimelocked() private {
        address v = address(vault);
        address r = address(registry);
        _timelocked(v, abi.encodeCall(vault.setParams, (defaultParams())));
        _timelocked(address(portfolio), abi.encodeCall(portfolio.skim, (token, bob)));
        address[] memory signers = new address[](1);
        signers[0] = bob;
        _timelocked(address(quorum), abi.encodeCall(KeeperQuorum.setSigners, (signers, 1)));
        bytes32[] memory riskIds = new bytes32[](1);
        _timelocked(r, abi.encodeCall(Registry.listPosition, (v, address(connector), "c", riskIds)));
        _timelocked(r, abi.encodeCall(Registry.abandonPosition, (v, address(dead), B)));
        _timelocked(r, abi.encodeCall(Registry.setSelector, (v, address(connector), 0x12345678, true)));
        _timelocked(r, abi.encodeCall(Registry.setCap, (v, RISK, 7)));
        _timelocked(r, abi.encodeCall(Registry.clearExitOnly, (v, address(connector))));
        _timelocked(r, abi.encodeCall(Registry.setOracle, (v, bob)));
        _timelocked(r, abi.encodeCall(Registry.setKeeper, (v, bob)));
        _timelocked(r, abi.encodeCall(Registry.setGuardian, (v, bob)));
        _timelocked(r, abi.encodeCall(Registry.setDelay, (v, 4 days)));
        _timelocked(r, abi.encodeCall(Registry.proposeGovernor, (v, bob)));
        _timelocked(r, abi.encodeCall(Registry.abdicate, (v, v, vault.setParams.selector)));
        _timelocked(r, abi.encodeCall(Registry.terminate, (v)));
    }

    function _listGovernance() private {
        address v = address(vault);
        address r = address(registry);
        bytes memory queued = abi.encodeCall(Registry.setOracle, (v, alice));
        vm.prank(governor);
        registry.submit(v, r, queued);
        bytes memory submit = abi.encodeCall(Registry.submit, (v, r, "change"));
        _gate(r, submit, IRegistry.NotGovernor.selector, GOVERNOR);
        bytes memory unlist = abi.encodeCall(Registry.unlistPosition, (v, address(connector), B));
        _gate(r, unlist, IRegistry.NotGovernor.selector, GOVERNOR);
        uint256 either = GOVERNOR | GUARDIAN;
        bytes memory veto = abi.encodeCall(Registry.veto, (v, registry.changeId(r, queued)));
        _gate(r, veto, IRegistry.NotGuardian.selector, either);
        bytes memory lower = abi.encodeCall(Registry.lowerCap, (v, RISK, 0));
        _gate(r, lower, IRegistry.NotGuardian.selector, either);
        bytes memory exitOnly = abi.encodeCall(Registry.setExitOnly, (v, address(connector)));
        _gate(r, exitOnly, IRegistry.NotGuardian.selector, either);
        _gate(r, abi.encodeCall(Registry.pauseRisk, (v)), IRegistry.NotGuardian.selector, either);
    }

    function _timelocked(address target, bytes memory data) private {
        gates.push(Gate(target, data, IRegistry.NotGovernor.selector, GOVERNOR, true));
    }

    function _gate(address target, bytes memory data, bytes4 refusal, uint256 needs) private {
        gates.push(Gate(target, data, refusal, needs, false));
    }
}
