// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Lens} from "../src/lens/Lens.sol";
import {Rehearsal} from "../src/lens/Rehearsal.sol";

/// @dev Remembers who called, and calls that caller back.
contract Counter {
    uint256 public count;
    address public caller;

    error Full(uint256 count);

    function add(uint256 amount) external returns (uint256) {
        if (amount > 100) revert Full(count);
        caller = msg.sender;
        return count += amount;
    }

    function ask() external view returns (uint256) {
        return Caller(msg.sender).threshold();
    }
}

/// @dev Stands for the quorum: a contract that is rehearsed, and asked meanwhile.
contract Caller {
    uint256 private _threshold;

    error Unknown();

    function threshold() external view returns (uint256) {
        return _threshold;
    }

    function fail() external pure {
        revert Unknown();
    }
}

contract RehearsalTest is Test {
    uint32 private constant GAS = 200_000;
    address private constant WHO = address(0xa1);

    address private lens;
    Counter private counter;

    function setUp() public {
        lens = address(new Lens());
        counter = new Counter();
        address original = address(uint160(uint256(keccak256("omnikeeper/original"))));
        vm.etch(original, address(new Caller()).code);
        vm.etch(WHO, address(new Rehearsal()).code);
        vm.store(WHO, 0, bytes32(uint256(7)));
    }

    function test_calls_run_in_a_row_as_the_caller_and_the_state_is_read_after_them() public {
        bytes memory calls = abi.encodePacked(
            _call(abi.encodeCall(Counter.add, (2))),
            _call(abi.encodeCall(Counter.add, (101))),
            _call(abi.encodeCall(Counter.add, (3)))
        );
        bytes memory refusal = abi.encodeWithSelector(Counter.Full.selector, 2);
        bytes memory head =
            abi.encode(block.chainid, block.number, block.timestamp, blockhash(block.number - 1));
        assertEq(
            _rehearse(3, calls, abi.encodeCall(counter.count, ())),
            abi.encodePacked(
                _outcome(true, abi.encode(2)),
                _outcome(false, refusal),
                _outcome(true, abi.encode(5)),
                head,
                _outcome(true, abi.encode(5))
            )
        );
        assertEq(counter.caller(), WHO);
    }

    function test_the_callers_own_code_answers_whoever_asks_meanwhile() public {
        bytes memory answer =
            _rehearse(1, _call(abi.encodeCall(Counter.ask, ())), abi.encodeCall(counter.count, ()));
        bytes memory own = _outcome(true, abi.encode(7));
        for (uint256 index; index < own.length; ++index) {
            assertEq(answer[index], own[index]);
        }
    }

    function test_a_refusal_of_the_callers_own_code_is_passed_on() public {
        vm.expectRevert(Caller.Unknown.selector);
        Caller(WHO).fail();
    }

    function test_a_stranger_cannot_rehearse() public {
        bytes memory request = _request(1, _call(abi.encodeCall(Counter.add, (2))), "");
        (bool success,) = WHO.call(request);
        assertFalse(success);
        assertEq(counter.count(), 0);
    }

    function test_too_little_gas_fails_the_whole_rehearsal() public {
        bytes memory request = _request(1, _call(abi.encodeCall(Counter.add, (2))), "");
        vm.prank(WHO);
        (bool success, bytes memory reason) = WHO.call{gas: 150_000}(request);
        assertFalse(success);
        assertEq(bytes4(reason), Rehearsal.NotEnoughGas.selector);
    }

    function test_reads_that_do_not_fit_fail_the_whole_rehearsal() public {
        bytes memory short = abi.encodePacked(GAS, uint32(1));
        bytes memory request = abi.encodePacked(
            keccak256("omnikeeper/rehearsal"),
            lens,
            uint16(0),
            short,
            _read(abi.encodeCall(counter.count, ()))
        );
        vm.prank(WHO);
        (bool success, bytes memory reason) = WHO.call(request);
        assertFalse(success);
        assertEq(bytes4(reason), Rehearsal.LensFailed.selector);
    }

    function _rehearse(uint16 count, bytes memory calls, bytes memory read) private returns (bytes memory) {
        bytes memory request = _request(count, calls, _read(read));
        vm.prank(WHO);
        (bool success, bytes memory answer) = WHO.call(request);
        assertTrue(success);
        return answer;
    }

    function _request(uint16 count, bytes memory calls, bytes memory reads)
        private
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            keccak256("omnikeeper/rehearsal"), lens, count, calls, GAS, uint32(10_000), reads
        );
    }

    function _call(bytes memory data) private view returns (bytes memory) {
        return abi.encodePacked(address(counter), GAS, uint32(data.length), data);
    }

    function _read(bytes memory data) private view returns (bytes memory) {
        return abi.encodePacked(address(counter), uint32(data.length), data);
    }

    function _outcome(bool success, bytes memory data) private pure returns (bytes memory) {
        return abi.encodePacked(success, uint32(data.length), data);
    }
}
