// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Queue, QueueLib, QueuePoint} from "../src/libraries/QueueLib.sol";

contract QueueTest is Test {
    using QueueLib for Queue;

    Queue internal queue;

    struct Member {
        uint256 shares;
        QueuePoint from;
        uint256 assets;
    }

    Member[] internal members;

    function setUp() public {
        queue.init();
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
                queue.fill(filled, assets);
                paid += assets;
            }
        }
        uint256 claimed;
        uint256 pending;
        for (uint256 i; i < members.length; ++i) {
            (uint256 assets, uint256 left) = queue.claim(members[i].shares, members[i].from);
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
            queue.fill(filled, filled);
            paid += filled;
        }
        (uint256 assets, uint256 pending) = queue.claim(members[0].shares, members[0].from);
        assertApproxEqRel(assets, paid, 1e6);
        assertLe(assets, paid);
        assertGt(queue.shares, 0);
        assertLe(pending, queue.shares);
    }

    function test_complete_fill_starts_a_generation_that_owes_nothing_to_the_old() public {
        join(100);
        queue.fill(100, 50);
        join(100);
        (uint256 assets, uint256 pending) = queue.claim(100, members[0].from);
        assertEq(assets, 50);
        assertEq(pending, 0);
        (assets, pending) = queue.claim(100, members[1].from);
        assertEq(assets, 0);
        assertEq(pending, 100);
    }

    function join(uint256 shares) private {
        queue.shares += uint128(shares);
        members.push(Member(shares, queue.point(), 0));
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
