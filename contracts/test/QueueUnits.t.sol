// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Queue, QueueLib, QueuePoint} from "../src/libraries/QueueLib.sol";

/// @dev The queue's arithmetic to the unit, at its edges.
contract QueueUnitsTest is Test {
    using QueueLib for Queue;

    Queue internal queue;

    function setUp() public {
        queue.record(1);
    }

    function test_the_scale_changes_below_its_limit_and_not_at_it() public {
        queue.shares = 1e9;
        queue.fill(1e9 - 1, 0);
        assertPoint(1e27, 0, 1, 0);
    }

    /// @dev A product one unit below the limit, which only rounding down reaches.
    function test_the_scale_changes_one_unit_below_its_limit() public {
        queue.shares = 1e27 + 1;
        queue.fill(1e27 + 1 - 1e18, 0);
        assertPoint(1e36 - 1e9, 1, 1, 0);
    }

    function test_payments_are_claimed_exactly_through_two_changes_of_scale() public {
        queue.shares = 1e27;
        QueuePoint memory from = queue.point();
        queue.fill(1e27 - 1e17, 1e15);
        queue.fill(1e17 - 1e7, 1e12);
        queue.fill(1e7 - 1e6, 1e6);
        assertPoint(1e33, 2, 1, 1e33);
        (uint256 assets, uint256 pending) = queue.claim(1e27, from);
        assertEq(assets, 1e15 + 1e12 + 1e6);
        assertEq(pending, 1e6);
        assertEq(queue.shares, 1e6);
    }

    function test_a_request_that_joins_at_a_later_scale_counts_from_there() public {
        queue.shares = 1e27;
        queue.fill(1e27 - 1e17, 0);
        queue.fill(1e17 - 1e7, 0);
        QueuePoint memory from = queue.point();
        assertPoint(1e34, 2, 1, 0);
        queue.fill(5e6, 50);
        (uint256 assets, uint256 pending) = queue.claim(4e6, from);
        assertEq(assets, 20);
        assertEq(pending, 2e6);
    }

    /// @dev Less than a part in 1e27 of a request is left by then, and a settlement fills that away.
    function test_nothing_is_pending_after_three_changes_of_scale() public {
        queue.shares = 1e38;
        QueuePoint memory from = queue.point();
        queue.fill(1e38 - 1e28, 0);
        queue.fill(1e28 - 1e18, 0);
        queue.fill(1e18 - 1e8, 1e9);
        assertPoint(1e33, 3, 1, 0);
        (uint256 assets, uint256 pending) = queue.claim(1e38, from);
        assertEq(assets, 1e9);
        assertEq(pending, 0);
    }

    function test_a_request_gets_nothing_of_what_was_paid_before_it_joined() public {
        queue.shares = 100;
        queue.fill(50, 70);
        QueuePoint memory from = queue.point();
        queue.shares += 50;
        queue.fill(50, 40);
        (uint256 assets, uint256 pending) = queue.claim(50, from);
        assertEq(assets, 20);
        assertEq(pending, 25);
    }

    function test_what_is_paid_per_share_rounds_down() public {
        queue.shares = 3;
        queue.fill(1, 2);
        assertPoint(
            666_666_666_666_666_666_666_666_666_666_666_666,
            0,
            1,
            666_666_666_666_666_666_666_666_666_666_666_666
        );
    }

    function test_a_complete_fill_begins_a_generation_at_its_first_scale() public {
        queue.shares = 1e18;
        queue.fill(1e18 - 1, 0);
        assertPoint(1e27, 1, 1, 0);
        queue.record(2);
        queue.fill(1, 5);
        queue.record(3);
        assertPoint(1e36, 0, 3, 0);
        assertEq(queue.shares, 0);
        queue.shares = 3;
        queue.fill(3, 7);
        queue.record(4);
        assertPoint(1e36, 0, 4, 0);
    }

    function assertPoint(uint256 product, uint256 scale, uint256 generation, uint256 sum) private view {
        QueuePoint memory now_ = queue.point();
        assertEq(now_.product, product, "product");
        assertEq(now_.scale, scale, "scale");
        assertEq(now_.generation, generation, "generation");
        assertEq(now_.sum, sum, "sum");
    }
}
