// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Test} from "forge-std/Test.sol";
import {Queue, QueueLib, QueuePoint} from "../src/libraries/QueueLib.sol";

contract QueueTest is Test {
    using QueueLib for Queue;

    Queue internal queue;
    uint64 internal epoch;

    struct Member {
        uint256 shares;
        uint64 epoch;
    }

    Member[] internal members;

    function setUp() public {
        nextEpoch();
    }

    /// @dev Any history of joins and fills: claims never exceed what was paid, pending shares never exceed the
    /// queue, and both are within a few units of exact.
    function testFuzz_claims_never_exceed_payments(uint256 seed) public {
        uint256 paid;
        for (uint256 step; step < 40; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (queue.shares == 0 || seed % 3 == 0) {
                join(1e6 + seed % 1e24);
            } else {
                uint256 filled = fillSize(seed >> 8);
                uint256 assets = filled / 1e6;
                fill(filled, assets);
                paid += assets;
            }
        }
        uint256 claimed;
        uint256 pending;
        for (uint256 i; i < members.length; ++i) {
            (uint256 assets, uint256 left) = claim(i);
            claimed += assets;
            pending += left;
        }
        assertLe(claimed, paid, "over-paid");
        assertLe(paid - claimed, 40 * members.length + paid / 1e15, "under-paid");
        assertLe(pending, queue.shares, "more pending than queued");
    }

    function test_378_fills_of_ten_percent_keep_the_queue_alive() public {
        join(1e24);
        uint256 paid;
        for (uint256 i; i < 378; ++i) {
            uint256 filled = queue.shares / 10;
            fill(filled, filled);
            paid += filled;
        }
        (uint256 assets, uint256 pending) = claim(0);
        assertApproxEqRel(assets, paid, 1e6);
        assertLe(assets, paid);
        assertGt(queue.shares, 0);
        assertLe(pending, queue.shares);
    }

    function test_complete_fill_starts_a_generation_that_owes_nothing_to_the_old() public {
        join(100);
        fill(100, 50);
        join(100);
        (uint256 assets, uint256 pending) = claim(0);
        assertEq(assets, 50);
        assertEq(pending, 0);
        (assets, pending) = claim(1);
        assertEq(assets, 0);
        assertEq(pending, 100);
    }

    /// @dev The point of every epoch is what the queue was at its record, whether it was stored or not.
    function testFuzz_the_point_of_an_epoch_is_the_state_at_its_record(uint256 seed) public {
        QueuePoint[] memory expected = new QueuePoint[](42);
        expected[1] = queue.point();
        for (uint256 step; step < 40; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 kind = seed % 5;
            if (kind == 0) nextEpoch(); // without a fill
            else if (kind == 1) leave(seed >> 8);
            else if (queue.shares == 0 || kind == 2) join(1e6 + seed % 1e24);
            else fill(fillSize(seed >> 8), seed >> 160);
            expected[epoch] = queue.point();
        }
        for (uint64 i = 1; i <= epoch; ++i) {
            assertEq(abi.encode(queue.pointOf(i)), abi.encode(expected[i]));
        }
    }

    function test_nothing_is_stored_for_an_empty_queue() public {
        join(100);
        fill(100, 50);
        nextEpoch();
        for (uint64 i = 1; i <= 4; ++i) {
            assertEq(queue.points[i].product, i == 2 ? 1e36 : 0);
            assertEq(queue.pointOf(i).generation, i == 2 ? 1 : i);
        }
    }

    /// @dev As in a loss window: all leave without having been paid, and whoever joins later owes them nothing.
    function test_a_queue_that_all_have_left_starts_anew() public {
        join(100);
        fill(50, 70);
        leave(50);
        join(30);
        fill(15, 20);
        (uint256 assets, uint256 pending) = claim(0);
        assertEq(assets, 70);
        assertEq(pending, 0);
        (assets, pending) = claim(1);
        assertEq(assets, 19);
        assertEq(pending, 15);
    }

    /// @dev Epoch by epoch, as a vault that can pay a tenth at a time.
    function test_a_generation_lasts_for_many_epochs() public {
        join(1e24);
        for (uint256 i; i < 100; ++i) {
            fill(queue.shares / 10, queue.shares / 10);
        }
        join(1e20);
        assertEq(queue.pointOf(epoch).generation, 1);
        uint256 queued = queue.shares;
        fill(queued, 2 * queued);
        assertEq(queue.generation, epoch);
        (uint256 assets, uint256 pending) = claim(1);
        assertApproxEqAbs(assets, 2e20, 1);
        assertEq(pending, 0);
    }

    function join(uint256 shares) private {
        queue.shares += uint128(shares);
        members.push(Member(shares, epoch));
        nextEpoch();
    }

    function leave(uint256 shares) private {
        queue.shares -= uint128(Math.min(shares, queue.shares));
        nextEpoch();
    }

    function fill(uint256 shares, uint256 assets) private {
        queue.fill(shares, assets);
        nextEpoch();
    }

    function nextEpoch() private {
        queue.record(++epoch);
    }

    function claim(uint256 member) private view returns (uint256, uint256) {
        return queue.claim(members[member].shares, queue.pointOf(members[member].epoch));
    }

    /// @dev Complete, near-total, tiny and ordinary fills.
    function fillSize(uint256 seed) private view returns (uint256) {
        uint256 queued = queue.shares;
        uint256 kind = seed % 4;
        if (kind == 0) return queued;
        uint256 rest = kind == 1 ? queued / 5e8 + 1 : kind == 2 ? queued - queued / 1e6 : seed % queued;
        return rest == 0 || rest >= queued ? queued : queued - rest;
    }
}
