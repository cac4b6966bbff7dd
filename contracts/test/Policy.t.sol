// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Cap, Permission, Policy} from "../src/interfaces/Types.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";

/// @notice `policy` leaves nothing out and adds nothing: after any changes it is what a model of them says.
contract PolicyTest is VaultFixture {
    uint256 private constant WIDTH = 4;

    /// @dev What was set and not cleared, by small numbers that stand for addresses, selectors and risk ids.
    struct Model {
        mapping(address => mapping(bytes4 => bool)) allowed;
        mapping(address => mapping(bytes4 => bool)) abdicated;
        mapping(bytes32 => uint256) caps;
        mapping(address => bool) exitOnly;
        mapping(address => mapping(bytes32 => bytes32)) risks;
    }

    Model private model;
    Holdings[] private connectors;
    address private v;

    function setUp() public override {
        super.setUp();
        vault = deployVault(token); // not sealed: changes need no delay
        v = address(vault);
        for (uint256 i; i < WIDTH; ++i) {
            connectors.push(new Holdings(address(portfolio), token));
        }
    }

    function testFuzz_class_G_the_policy_is_what_was_set_and_not_cleared(uint256[60] calldata words) public {
        for (uint256 i; i < words.length; ++i) {
            uint256 word = words[i];
            _change(word % 7, address(connectors[word / 7 % WIDTH]), word / 32 % WIDTH + 1, word / 128 % 3);
        }
        Policy memory p = registry.policy(v);
        _checkAllowed(p.allowed);
        _checkAbdicated(p.abdicated);
        _checkCaps(p.caps);
        _checkExitOnly(p.exitOnly);
        _checkPositions(p);
        _nothingLeft();
    }

    function testFuzz_class_G_the_policy_names_every_role(
        address oracle,
        address keeper,
        address guardian,
        address pending,
        uint256 delay
    ) public {
        delay = bound(delay, 30 days, 365 days);
        registry.setOracle(v, oracle);
        registry.setKeeper(v, keeper);
        registry.setGuardian(v, guardian);
        registry.proposeGovernor(v, pending);
        assertEq(registry.policy(v).delay, 0, "not sealed");
        registry.seal(v, delay);
        registry.pauseRisk(v);
        Policy memory p = registry.policy(v);
        assertEq(p.portfolio, address(portfolio));
        assertEq(p.governor, address(this));
        assertEq(p.pendingGovernor, pending);
        assertEq(p.guardian, guardian);
        assertEq(p.keeper, keeper);
        assertEq(p.oracle, oracle);
        assertEq(p.delay, delay);
        assertEq(p.riskPausedUntil, block.timestamp + 7 days);
    }

    // CHANGES

    function _change(uint256 kind, address connector_, uint256 n, uint256 value) private {
        bytes4 selector = bytes4(uint32(n));
        if (kind == 0) {
            registry.setSelector(v, connector_, selector, value != 0);
            model.allowed[connector_][selector] = value != 0;
        } else if (kind == 1) {
            registry.abdicate(v, connector_, selector);
            model.abdicated[connector_][selector] = true;
        } else if (kind == 2) {
            registry.setCap(v, bytes32(n), value);
            model.caps[bytes32(n)] = value;
        } else if (kind == 3) {
            registry.lowerCap(v, bytes32(n), value);
            if (value < model.caps[bytes32(n)]) model.caps[bytes32(n)] = value;
        } else if (kind == 4) {
            registry.setExitOnly(v, connector_);
            model.exitOnly[connector_] = true;
        } else if (kind == 5) {
            registry.clearExitOnly(v, connector_);
            model.exitOnly[connector_] = false;
        } else {
            _toggle(connector_, bytes32(n), bytes32(value + 1));
        }
    }

    function _toggle(address connector_, bytes32 key, bytes32 risk) private {
        if (model.risks[connector_][key] == 0) {
            registry.listPosition(v, connector_, key, only(risk));
            model.risks[connector_][key] = risk;
        } else {
            registry.unlistPosition(v, connector_, key);
            model.risks[connector_][key] = 0;
        }
    }

    // CHECKS: each entry is the model's, and is taken from it, so that none can come twice

    function _checkAllowed(Permission[] memory allowed) private {
        for (uint256 i; i < allowed.length; ++i) {
            (address target, bytes4 selector) = (allowed[i].target, allowed[i].selector);
            assertTrue(model.allowed[target][selector]);
            assertTrue(registry.isAllowed(v, target, selector));
            delete model.allowed[target][selector];
        }
    }

    function _checkAbdicated(Permission[] memory abdicated) private {
        for (uint256 i; i < abdicated.length; ++i) {
            assertTrue(model.abdicated[abdicated[i].target][abdicated[i].selector]);
            delete model.abdicated[abdicated[i].target][abdicated[i].selector];
        }
    }

    function _checkCaps(Cap[] memory caps) private {
        for (uint256 i; i < caps.length; ++i) {
            assertGt(caps[i].assets, 0);
            assertEq(model.caps[caps[i].riskId], caps[i].assets);
            assertEq(registry.cap(v, caps[i].riskId), caps[i].assets);
            delete model.caps[caps[i].riskId];
        }
    }

    function _checkExitOnly(address[] memory exitOnly) private {
        for (uint256 i; i < exitOnly.length; ++i) {
            assertTrue(model.exitOnly[exitOnly[i]]);
            assertTrue(registry.isExitOnly(v, exitOnly[i]));
            delete model.exitOnly[exitOnly[i]];
        }
    }

    function _checkPositions(Policy memory p) private {
        for (uint256 i; i < p.positions.length; ++i) {
            (address connector_, bytes32 key) = (p.positions[i].connector, p.positions[i].key);
            bytes32 risk = model.risks[connector_][key];
            assertTrue(risk != 0);
            assertEq(p.positions[i].riskIds, only(risk));
            delete model.risks[connector_][key];
        }
    }

    function _nothingLeft() private view {
        for (uint256 i; i < WIDTH; ++i) {
            address connector_ = address(connectors[i]);
            assertFalse(model.exitOnly[connector_]);
            for (uint256 n = 1; n <= WIDTH; ++n) {
                assertFalse(model.allowed[connector_][bytes4(uint32(n))]);
                assertFalse(model.abdicated[connector_][bytes4(uint32(n))]);
                assertEq(model.caps[bytes32(n)], 0);
                assertEq(model.risks[connector_][bytes32(n)], 0);
            }
        }
    }
}
