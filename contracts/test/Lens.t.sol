// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Lens} from "../src/lens/Lens.sol";
import {LensOnce} from "../src/lens/LensOnce.sol";

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
    uint32 private constant STIPEND = 100_000;
    uint32 private constant LIMIT = 200_000;

    address private lens;
    Target private target;

    function setUp() public {
        lens = address(new Lens());
        target = new Target();
    }

    function test_the_head_is_the_block_it_was_read_at() public {
        vm.chainId(42);
        vm.roll(100);
        vm.warp(1_700_000_000);
        assertEq(_read(abi.encodePacked(STIPEND, LIMIT)), _head());
    }

    function test_each_answer_and_each_refusal_is_in_its_place() public view {
        bytes memory request = abi.encodePacked(
            _one(abi.encodeCall(Target.echo, (7))),
            _more(abi.encodeCall(Target.refuse, (8))),
            _more(abi.encodeCall(Target.echo, (9)))
        );
        bytes memory refusal = abi.encodeWithSelector(Target.Refused.selector, 8);
        assertEq(
            _read(request),
            abi.encodePacked(
                _head(), _result(true, abi.encode(7)), _result(false, refusal), _result(true, abi.encode(9))
            )
        );
    }

    function test_a_target_that_burns_its_gas_leaves_the_others_theirs() public view {
        bytes memory request =
            abi.encodePacked(_one(abi.encodeCall(Target.burn, ())), _more(abi.encodeCall(Target.echo, (9))));
        assertEq(_read(request), abi.encodePacked(_head(), _result(false, ""), _result(true, abi.encode(9))));
    }

    function test_an_answer_too_long_counts_as_none() public view {
        bytes memory request = abi.encodePacked(
            _one(abi.encodeCall(Target.answer, (65_536))),
            _more(abi.encodeCall(Target.answer, (65_537))),
            _more(abi.encodeCall(Target.echo, (9)))
        );
        bytes memory longest = new bytes(65_536);
        // The target's pointer to free memory.
        longest[0x5f] = 0x80;
        bytes memory tooLong = abi.encodeWithSelector(Lens.ReturnTooLong.selector, 65_537, 65_536);
        assertEq(
            _read(request),
            abi.encodePacked(
                _head(), _result(true, longest), _result(false, tooLong), _result(true, abi.encode(9))
            )
        );
    }

    function test_too_little_gas_fails_the_whole_pass() public {
        vm.expectPartialRevert(Lens.NotEnoughGas.selector);
        this.readWithGas(100_000, _one(abi.encodeCall(Target.echo, (7))));
    }

    function test_an_answer_longer_than_the_limit_fails_the_whole_pass_and_says_where() public {
        bytes memory call = abi.encodeCall(Target.echo, (7));
        bytes memory request =
            abi.encodePacked(STIPEND, uint32(128 + 37), _more(call), _more(call), _more(call));
        vm.expectRevert(abi.encodeWithSelector(Lens.AnswerTooLong.selector, 1, 128 + 74, 128 + 37));
        this.readWithGas(1_000_000, request);
    }

    function test_a_request_cut_short_is_refused() public {
        bytes memory request = _one(abi.encodeCall(Target.echo, (7)));
        assembly ("memory-safe") {
            mstore(request, sub(mload(request), 1))
        }
        vm.expectRevert();
        this.readWithGas(1_000_000, request);
    }

    function test_creation_code_answers_the_same() public {
        bytes memory request =
            abi.encodePacked(_one(abi.encodeCall(Target.echo, (7))), _more(abi.encodeCall(Target.burn, ())));
        bytes memory creation = abi.encodePacked(type(LensOnce).creationCode, abi.encode(request));
        address made;
        assembly ("memory-safe") {
            made := create(0, add(creation, 0x20), mload(creation))
        }
        assertEq(made.code, _read(request));
    }

    function test_creation_code_passes_a_refusal_on() public {
        bytes memory request = abi.encodePacked(STIPEND, uint32(1), _more(abi.encodeCall(Target.echo, (7))));
        bytes memory creation = abi.encodePacked(type(LensOnce).creationCode, abi.encode(request));
        address made;
        bytes4 reason;
        assembly ("memory-safe") {
            made := create(0, add(creation, 0x20), mload(creation))
            returndatacopy(0, 0, 4)
            reason := mload(0)
        }
        assertEq(made, address(0));
        assertEq(reason, Lens.AnswerTooLong.selector);
    }

    function readWithGas(uint256 gas, bytes memory request) external view {
        (bool success, bytes memory answer) = lens.staticcall{gas: gas}(request);
        if (success) return;
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }

    function _read(bytes memory request) private view returns (bytes memory) {
        (bool success, bytes memory answer) = lens.staticcall(request);
        assertTrue(success);
        return answer;
    }

    function _head() private view returns (bytes memory) {
        return abi.encode(block.chainid, block.number, block.timestamp, blockhash(block.number - 1));
    }

    function _one(bytes memory data) private view returns (bytes memory) {
        return abi.encodePacked(STIPEND, LIMIT, _more(data));
    }

    function _more(bytes memory data) private view returns (bytes memory) {
        return abi.encodePacked(address(target), uint32(data.length), data);
    }

    function _result(bool success, bytes memory data) private pure returns (bytes memory) {
        return abi.encodePacked(success, uint32(data.length), data);
    }
}
