// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {BoundedRead} from "../src/oracle/BoundedRead.sol";

/// @dev Answers after it has spent about so much gas, or fails.
contract Spender {
    error Broken();

    function answer(uint256 gas_) external view returns (uint256) {
        uint256 until = gasleft() - gas_;
        while (gasleft() > until) {}
        return 7;
    }

    function fail() external pure {
        revert Broken();
    }
}

/// @title Reads that nobody can make fail by starving them
contract BoundedReadTest is Test {
    uint256 private constant STIPEND = 100_000;

    Spender private spender = new Spender();

    function read(bytes calldata data) external view returns (bool success, uint256 word) {
        return readWith(STIPEND, data);
    }

    function readWith(uint256 stipend, bytes calldata data) public view returns (bool success, uint256 word) {
        uint256[10] memory words;
        (success, words) = BoundedRead.read(address(spender), stipend, data, 1);
        word = words[0];
    }

    function test_class_O_a_failure_for_lack_of_gas_is_the_callers() public {
        bytes memory data = abi.encodeCall(Spender.answer, (80_000));
        (bool success, uint256 word) = this.read(data);
        assertTrue(success);
        assertEq(word, 7);
        vm.expectPartialRevert(BoundedRead.NotEnoughGas.selector);
        this.read{gas: 60_000}(data);
    }

    function test_class_O_a_failure_with_the_whole_stipend_is_the_callees() public view {
        (bool success,) = this.read(abi.encodeCall(Spender.answer, (STIPEND)));
        assertFalse(success, "it asked for more than its stipend");
        (success,) = this.read(abi.encodeCall(Spender.fail, ()));
        assertFalse(success);
    }

    /// @dev A call passes on at most 63/64: of a large stipend that is more than the call itself takes.
    function test_class_O_whoever_needs_a_whole_large_stipend_never_fails_for_lack_of_it() public view {
        uint256 stipend = 1_000_000;
        bytes memory data = abi.encodeCall(Spender.answer, (stipend - 1_500));
        uint256 answers;
        for (uint256 given = stipend; given < stipend + 40_000; given += 500) {
            try this.readWith{gas: given}(stipend, data) returns (bool success, uint256 word) {
                assertTrue(success, "a failure for lack of gas is believed");
                assertEq(word, 7);
                ++answers;
            } catch (bytes memory reason) {
                assertEq(bytes4(reason), BoundedRead.NotEnoughGas.selector);
            }
        }
        assertGt(answers, 20);
        assertLt(answers, 60);
    }
}
