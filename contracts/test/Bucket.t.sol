// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Bucket, BucketLib} from "../src/libraries/BucketLib.sol";

/// @dev The leaky bucket to the unit.
contract BucketTest is Test {
    using BucketLib for Bucket;

    uint256 internal constant CAPACITY = 1 days * 1e9;
    Bucket internal bucket;

    function setUp() public {
        vm.warp(1_700_000_000);
        bucket.set(CAPACITY);
    }

    function test_it_leaks_its_capacity_evenly_over_a_day() public {
        assertEq(bucket.current(CAPACITY), CAPACITY);
        skip(1);
        assertEq(bucket.current(CAPACITY), CAPACITY - 1e9);
        skip(12 hours - 1);
        assertEq(bucket.current(CAPACITY), CAPACITY / 2);
        skip(12 hours - 1);
        assertEq(bucket.current(CAPACITY), 1e9);
        skip(1);
        assertEq(bucket.current(CAPACITY), 0);
        skip(365 days);
        assertEq(bucket.current(CAPACITY), 0);
    }

    function test_what_is_set_leaks_from_then_on() public {
        skip(6 hours);
        bucket.set(7);
        assertEq(bucket.current(CAPACITY), 7);
        assertEq(bucket.updatedAt, block.timestamp);
        skip(1);
        assertEq(bucket.current(CAPACITY), 0);
        assertEq(bucket.current(2 days), 5);
    }

    function test_a_fall_is_a_fraction_of_the_first_price_rounded_up() public pure {
        assertEq(BucketLib.fall(3, 2), 333_333_333_333_333_334);
        assertEq(BucketLib.fall(4, 3), 0.25e18);
        assertEq(BucketLib.fall(4, 0), 1e18);
    }

    function test_a_gain_or_nothing_is_no_fall() public pure {
        assertEq(BucketLib.fall(2, 3), 0);
        assertEq(BucketLib.fall(3, 3), 0);
        assertEq(BucketLib.fall(0, 0), 0);
    }
}
