// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @dev The state of the queue at one moment: what a request needs to know about the time it joined. The product
/// of a stored one is never 0.
struct QueuePoint {
    uint128 product;
    uint64 scale;
    uint64 generation;
    uint256 sum;
}

/// @dev What was paid within one scale of a generation.
struct QueueSum {
    /// assets per queued share, times the product of the time: 2^222 at a price of 2^192, the highest there is
    uint248 total;
    /// whether there is more to sum up in the next scale
    bool rescaled;
}

/// @dev Redemption queue, pro rata over everything queued, O(1) to fill and O(1) to claim.
/// `product` is the fraction of a share that is still unfilled since the generation began, scaled by 1e36 and,
/// after every fall below 1e27, by a further 1e9 (`scale` counts these). An empty queue starts a new
/// generation, which is named after the epoch that begins then.
struct Queue {
    uint128 product;
    uint64 scale;
    uint64 generation;
    uint128 shares;
    /// when it last went from nothing, or dust, to something
    uint64 since;
    mapping(uint64 generation => mapping(uint64 scale => QueueSum)) sums;
    /// by epoch, see `record`
    mapping(uint64 epoch => QueuePoint) points;
}

library QueueLib {
    using SafeCast for uint256;

    uint128 internal constant ONE = 1e36;
    uint256 internal constant RESCALE_BELOW = 1e27;
    uint256 internal constant RESCALE = 1e9;
    /// @dev A remainder of at most this part of the queue counts as filled.
    uint256 internal constant DUST = 1e9;

    /// @dev Keeps the present state for the requests of `epoch`: the queue as it is before they join. Epochs are
    /// recorded in turn, each once. Nothing is stored for the first epoch of a generation: its name says it all.
    function record(Queue storage self, uint64 epoch) internal {
        if (self.shares == 0) (self.product, self.scale, self.generation) = (ONE, 0, epoch);
        else self.points[epoch] = point(self);
    }

    /// @dev The state that was recorded for `epoch`.
    function pointOf(Queue storage self, uint64 epoch) internal view returns (QueuePoint memory p) {
        QueuePoint storage stored = self.points[epoch];
        (p.product, p.scale, p.generation) = (stored.product, stored.scale, stored.generation);
        if (p.product == 0) (p.product, p.generation) = (ONE, epoch);
        else p.sum = stored.sum;
    }

    /// @dev The present state.
    function point(Queue storage self) internal view returns (QueuePoint memory) {
        return QueuePoint({
            product: self.product,
            sum: self.sums[self.generation][self.scale].total,
            scale: self.scale,
            generation: self.generation
        });
    }

    /// @dev Fills `shares` of the queue with `assets`. Sum and product round down, so that the claims never add
    /// up to more than was paid nor the pending shares to more than are queued. The caller leaves either nothing
    /// or more than the `DUST`th part: a smaller rest could take the product to 0. What follows a complete fill is
    /// left to `record`.
    function fill(Queue storage self, uint256 shares, uint256 assets) internal {
        uint256 queued = self.shares;
        QueueSum storage sum = self.sums[self.generation][self.scale];
        sum.total += Math.mulDiv(assets, self.product, queued).toUint248();
        uint256 rest = queued - shares;
        if (rest != 0) {
            uint256 product = Math.mulDiv(self.product, rest, queued);
            if (product < RESCALE_BELOW) {
                product *= RESCALE;
                self.scale += 1;
                sum.rescaled = true;
            }
            // forge-lint: disable-next-line(unsafe-typecast) never above ONE
            self.product = uint128(product);
        }
        // forge-lint: disable-next-line(unsafe-typecast) the rest is no more than the uint128 it came from
        self.shares = uint128(rest);
    }

    /// @dev What became of `shares` that joined at `from`: assets fetched since, and shares still queued.
    function claim(Queue storage self, uint256 shares, QueuePoint memory from)
        internal
        view
        returns (uint256 assets, uint256 pending)
    {
        mapping(uint64 => QueueSum) storage sums = self.sums[from.generation];
        QueueSum memory sum = sums[from.scale];
        uint256 perShare = sum.total - from.sum;
        if (sum.rescaled) {
            sum = sums[from.scale + 1];
            perShare += sum.total / RESCALE;
            if (sum.rescaled) perShare += sums[from.scale + 2].total / (RESCALE * RESCALE);
        }
        assets = Math.mulDiv(shares, perShare, from.product);
        if (from.generation == self.generation) {
            uint256 scales = self.scale - from.scale;
            if (scales <= 2) {
                pending = Math.mulDiv(shares, self.product, from.product) / RESCALE ** scales;
            }
        }
    }
}
