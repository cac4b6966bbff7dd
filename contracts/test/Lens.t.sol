// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Lens} from "../src/lens/Lens.sol";

/// @dev Answers as it is asked to.
contract Target {
    error Refused(uint256 value);

    function echo(uint256 value) external pure returns (uint256) {
        return value;
    }

    function refuse(uint256 value) external pure {
        revert Refused(value);
    }

    function answer(uint256 length) external pure {
        assembly ("memory-safe") {
            return(0, length)
        }
    }

    function burn() external pure {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

contract LensTest is Test {
    Lens private lens;
    Target private target;

    function setUp() public {
        lens = new Lens();
        target = new Target();
    }

    function test_the_head_is_the_block_it_was_read_at() public {
        vm.chainId(42);
        vm.roll(100);
        vm.warp(1_700_000_000);
        (Lens.Head memory head,) = lens.read(new Lens.Request[](0));
        assertEq(head.chainId, 42);
        assertEq(head.number, 100);
        assertEq(head.timestamp, 1_700_000_000);
        assertEq(head.parentHash, blockhash(99));
    }

    function test_each_answer_and_each_refusal_is_in_its_place() public view {
        Lens.Request[] memory requests = new Lens.Request[](3);
        requests[0] = _request(abi.encodeCall(Target.echo, (7)));
        requests[1] = _request(abi.encodeCall(Target.refuse, (8)));
        requests[2] = _request(abi.encodeCall(Target.echo, (9)));
        (, Lens.Result[] memory results) = lens.read(requests);
        assertTrue(results[0].success);
        assertEq(results[0].data, abi.encode(7));
        assertFalse(results[1].success);
        assertEq(results[1].data, abi.encodeWithSelector(Target.Refused.selector, 8));
        assertTrue(results[2].success);
        assertEq(results[2].data, abi.encode(9));
    }

    function test_a_target_that_burns_its_gas_leaves_the_others_theirs() public view {
        Lens.Request[] memory requests = new Lens.Request[](2);
        requests[0] = _request(abi.encodeCall(Target.burn, ()));
        requests[1] = _request(abi.encodeCall(Target.echo, (9)));
        (, Lens.Result[] memory results) = lens.read(requests);
        assertFalse(results[0].success);
        assertTrue(results[1].success);
    }

    function test_an_answer_too_long_counts_as_none() public view {
        Lens.Request[] memory requests = new Lens.Request[](2);
        requests[0] = _request(abi.encodeCall(Target.answer, (65_536)));
        requests[1] = _request(abi.encodeCall(Target.answer, (65_537)));
        (, Lens.Result[] memory results) = lens.read(requests);
        assertTrue(results[0].success);
        assertEq(results[0].data.length, 65_536);
        assertFalse(results[1].success);
        assertEq(results[1].data, abi.encodeWithSelector(Lens.ReturnTooLong.selector, 65_537, 65_536));
    }

    function test_too_little_gas_fails_the_whole_pass() public {
        Lens.Request[] memory requests = new Lens.Request[](1);
        requests[0] = _request(abi.encodeCall(Target.echo, (7)));
        vm.expectPartialRevert(Lens.NotEnoughGas.selector);
        lens.read{gas: 100_000}(requests);
    }

    function _request(bytes memory data) private view returns (Lens.Request memory) {
        return Lens.Request(address(target), 100_000, data);
    }
}
