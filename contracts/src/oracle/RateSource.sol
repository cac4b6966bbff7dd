// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "./BoundedRead.sol";
import {PriceMath} from "./PriceMath.sol";

/// @title What a receipt token stands for, by its own protocol's rate
/// @notice The rate grows by at most `maxGrowth` a day: what a gift to the protocol adds beyond is not
/// believed until time has made room for it. A fall passes to `low` at once, and to `high` when two records a
/// day apart have seen it.
abstract contract RateSource is IPriceSource {
    /// @dev `high` is the rate growth is measured from. `seen` is what the last record saw. One slot.
    struct Anchor {
        uint96 high;
        uint96 seen;
        uint64 at;
    }

    error InvalidTarget(address target);
    error InvalidGrowth(uint256 maxGrowth);
    error InvalidRate(uint256 rate);
    error UnknownDecimals(address token);
    error TooEarly(uint256 until);

    event Recorded(uint256 high, uint256 seen);

    /// @dev A MetaMorpho vault works out the interest of each of its markets: 40k for a cold one.
    uint256 private constant RATE_GAS = 180_000;

    /// @dev All but the read of the rate: the anchor, and what the price is worked out with.
    uint256 private constant OWN_GAS = 8_000;

    /// @notice One in a whole day: no receipt token earns a tenth.
    uint256 private constant GROWTH_LIMIT = 0.1e18;

    address public immutable base;
    address public immutable quote;

    /// @notice Contract that knows the rate.
    address public immutable target;

    /// @notice Part by which the rate may grow in a day, in WAD.
    uint256 public immutable maxGrowth;

    Anchor public anchor;

    constructor(address base_, address quote_, address target_, uint256 maxGrowth_) {
        if (target_.code.length == 0) revert InvalidTarget(target_);
        if (maxGrowth_ == 0 || maxGrowth_ > GROWTH_LIMIT) revert InvalidGrowth(maxGrowth_);
        (base, quote, target, maxGrowth) = (base_, quote_, target_, maxGrowth_);
    }

    /// @notice Moves the anchor to the rate of now; anyone may, a day after the last record.
    function record() external {
        uint256 until = anchor.at + 1 days;
        if (block.timestamp < until) revert TooEarly(until);
        (uint256 rate, bool known) = _rate();
        if (!known) revert InvalidRate(rate);
        // Without the step that a price may make ahead of time: it would add up.
        uint256 seen = Math.min(rate, _grown(block.timestamp - anchor.at));
        _anchor(seen, Math.max(seen, anchor.seen));
    }

    /// @notice The target's answer as it came, in a unit of the target's, and whether it came.
    function answer() public view returns (bool success, uint256 word) {
        uint256[10] memory words;
        (success, words) = BoundedRead.read(target, RATE_GAS, _call(), 1);
        word = words[0];
    }

    /// @inheritdoc IPriceSource
    function stipend() external pure returns (uint256) {
        return BoundedRead.cost(RATE_GAS) + OWN_GAS;
    }

    /// @inheritdoc IPriceSource
    function searchGas() external pure returns (uint256) {
        return 0;
    }

    /// @inheritdoc IPriceSource
    /// @dev Growth beyond the limit, and a fall beyond what may grow in a day, are DIVERGED.
    function price() external view returns (uint256 low, uint256 high, Status status) {
        (uint256 rate, bool known) = _rate();
        if (!known) return (0, type(uint256).max, Status.UNAVAILABLE);
        // A day in hand: rates that are written once a day step.
        uint256 most = _grown(block.timestamp - anchor.at + 1 days);
        if (rate > most) return (most, most, Status.DIVERGED);
        uint256 least = PriceMath.mulDivDown(anchor.high, PriceMath.WAD - maxGrowth, PriceMath.WAD);
        if (rate < least) status = Status.DIVERGED;
        // The protocol has rounded down.
        return (rate, Math.max(rate + 1, anchor.high), status);
    }

    /// @dev To be called at the end of a constructor, when the rate can be read.
    function _start() internal {
        (uint256 rate, bool known) = _rate();
        if (!known) revert InvalidRate(rate);
        _anchor(rate, rate);
    }

    /// @dev Call whose first word is the rate, in a unit of the target's.
    function _call() internal view virtual returns (bytes memory);

    /// @dev The first word of the answer as price of one whole base in quote, in WAD, rounded down.
    function _toWad(uint256 word) internal view virtual returns (uint256);

    function _decimals(address token) internal view returns (uint256) {
        (uint256 decimals, bool known) = PriceMath.readDecimals(token);
        if (!known) revert UnknownDecimals(token);
        return decimals;
    }

    function _rate() private view returns (uint256 rate, bool known) {
        (bool success, uint256 word) = answer();
        if (!success) return (0, false);
        rate = _toWad(word);
        known = rate != 0 && rate <= type(uint96).max;
    }

    function _grown(uint256 elapsed) private view returns (uint256) {
        return PriceMath.mulDivDown(anchor.high, PriceMath.WAD + maxGrowth * elapsed / 1 days, PriceMath.WAD);
    }

    function _anchor(uint256 seen, uint256 high) private {
        // A rate fits 96 bits, and what is believed of it is never more.
        // forge-lint: disable-next-line(unsafe-typecast)
        anchor = Anchor(uint96(high), uint96(seen), uint64(block.timestamp));
        emit Recorded(high, seen);
    }
}
