// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Queue, QueueLib, QueuePoint} from "../src/libraries/QueueLib.sol";

/// @title A bare redemption queue, for tests of its mirror
contract QueueHarness {
    using QueueLib for Queue;

    /// @dev A join where `joined` is not 0, and a fill otherwise; each in an epoch of its own, from 1 on.
    struct Step {
        uint128 joined;
        uint256 filled;
        uint256 assets;
    }

    /// @dev After a step. `point` is the one recorded for the next epoch; `sum` is of the generation and scale the
    /// step began in; `claims` has (assets, pending) of everyone who has joined so far.
    struct Trace {
        QueuePoint point;
        uint128 shares;
        uint256 sum;
        uint256[2][] claims;
    }

    Queue private queue;
    uint128[] private members;
    uint64[] private epochs;

    constructor() {
        queue.record(1);
    }

    function run(Step[] calldata steps) external returns (Trace[] memory traces) {
        traces = new Trace[](steps.length);
        for (uint64 i; i < steps.length; ++i) {
            QueuePoint memory before = queue.point();
            if (steps[i].joined != 0) {
                members.push(steps[i].joined);
                epochs.push(i + 1);
                queue.shares += steps[i].joined;
            } else {
                queue.fill(steps[i].filled, steps[i].assets);
            }
            queue.record(i + 2);
            uint256 sum = queue.sums[before.generation][before.scale].total;
            traces[i] = Trace(queue.pointOf(i + 2), queue.shares, sum, claims());
        }
    }

    function claims() private view returns (uint256[2][] memory all) {
        all = new uint256[2][](members.length);
        for (uint256 i; i < all.length; ++i) {
            (all[i][0], all[i][1]) = queue.claim(members[i], queue.pointOf(epochs[i]));
        }
    }
}
