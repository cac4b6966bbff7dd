// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {VaultHandler} from "./VaultHandler.sol";

/// @dev The invariants of the audit checklist over the vault and all its parts. One function asserts them all,
/// because every invariant function is a campaign of its own. Not here: 6 (transfers between chains) and the
/// stolen quorum of 9, whose bound has an attack test.
contract VaultInvariantTest is Test {
    bytes32[] private happenings = [
        bytes32("settled"),
        "settled impaired",
        "deposits accepted",
        "deposits rolled",
        "full fill",
        "partial fill",
        "redemptions limited",
        "own deposit",
        "gift deposit",
        "own redemption",
        "gift redemption",
        "shares claimed",
        "assets claimed",
        "supplied",
        "withdrawn",
        "lossy batch",
        "loss refused",
        "budget refused",
        "risk refused",
        "refused batch",
        "reordered",
        "attack",
        "params",
        "loss window",
        "held by a window",
        "left in a window",
        "deposit cancelled",
        "redemption cancelled",
        "settled unattended",
        "marked down",
        "freed",
        "exits first",
        "split off",
        "pocket closed",
        "residual claimed"
    ];
    uint256[35] private seen;
    VaultHandler private handler;

    function setUp() public {
        handler = new VaultHandler();
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: handler.actions()}));
        targetSender(address(this));
    }

    function invariant_nobody_is_robbed_blocked_or_diluted() public {
        handler.check();
    }

    function afterInvariant() public {
        handler.exitEveryone();
        handler.check();
    }

    /// @dev The same actions in an order that is always the same: they must all have had an effect.
    function test_the_campaign_reaches_what_it_is_for() public {
        for (uint256 run; run < 60; ++run) {
            // A test has the gas of one block; each walk gets its own.
            vm.resetGasMetering();
            handler = new VaultHandler();
            _walk(run, 100);
            handler.exitEveryone();
            handler.check();
            for (uint256 i; i < happenings.length; ++i) {
                seen[i] += handler.times(happenings[i]);
            }
        }
        for (uint256 i; i < happenings.length; ++i) {
            string memory happening = string(abi.encodePacked(happenings[i]));
            emit log_named_uint(happening, seen[i]);
        }
        for (uint256 i; i < happenings.length; ++i) {
            string memory happening = string(abi.encodePacked(happenings[i]));
            assertGe(seen[i], i == 0 ? 200 : 5, happening);
        }
    }

    function _walk(uint256 run, uint256 steps) private {
        bytes4[] memory actions = handler.actions();
        for (uint256 i; i < steps; ++i) {
            uint256 word = uint256(keccak256(abi.encode(run, i)));
            bytes memory data = abi.encodePacked(actions[word % actions.length]);
            for (uint256 j; j < 4; ++j) {
                data = bytes.concat(data, keccak256(abi.encode(word, j)));
            }
            (bool success, bytes memory reason) = address(handler).call(data);
            if (!success) {
                assembly {
                    revert(add(reason, 32), mload(reason))
                }
            }
            handler.check();
        }
    }
}
