// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IOracleRouter, IPriceSource} from "../interfaces/IOracleRouter.sol";
import {Status} from "../interfaces/Types.sol";
import {BoundedRead} from "./BoundedRead.sol";
import {PriceMath} from "./PriceMath.sol";
import {UniswapV3TwapSource} from "./UniswapV3TwapSource.sol";

/// @title Feeds held against the market they price
/// @notice The range covers a route of feeds and the mean price of a pool. A mean or a spot price away from
/// the feeds makes it DIVERGED. Spot itself enters `low` only, and only when it persists: as the higher of two
/// readings at least half an hour apart, the second of which is now.
/// @dev What a false low costs. A reading is not what a transaction finds, but what the block before it left:
/// nobody can make one inside a transaction, and whoever leaves the pool at a false price over the end of a
/// block offers the difference to everyone in the next. That has to be done twice, and both times for the
/// whole way. One reading must not count because a proposer of two blocks in a row takes no risk with it. What
/// one transaction can do, moving spot and moving it back, costs two fees and gives DIVERGED while it lasts:
/// nobody then mints or takes risk, and exits are paid as before.
contract CheckedSource is IPriceSource {
    /// @dev The price at which a block left the pool, in WAD, and when that was looked at.
    struct Reading {
        uint192 price;
        uint64 at;
    }

    error UnknownDecimals(address token);
    error InvalidTolerance(uint256 bps);
    error TooEarly(uint256 until);
    error NoMarket(address market);

    event Observed(uint256 price);

    /// @notice Two readings that count lie so far apart at least.
    uint256 public constant READING_GAP = 30 minutes;

    /// @notice An older reading says nothing about now.
    uint256 public constant MAX_READING_AGE = 24 hours;

    /// @dev All but the reads of feeds and market: two readings, and what the price is worked out with.
    uint256 private constant OWN_GAS = 12_000;

    /// @dev A reading that is looked at only while the one after it is too young.
    uint256 private constant READING_GAS = 2_500;

    IOracleRouter public immutable feeds;
    UniswapV3TwapSource public immutable market;

    /// @notice Distance of the pool from the range of the feeds beyond which neither is believed.
    uint256 public immutable toleranceBps;

    address public immutable base;
    address public immutable quote;

    /// @inheritdoc IPriceSource
    uint256 public immutable stipend;

    uint256 private immutable _feedsStipend;
    uint256 private immutable _marketStipend;

    /// @dev A price in WAD is the worth of so many smallest units of base, in quote's, over `_quoteUnit`.
    uint256 private immutable _amount;
    uint256 private immutable _quoteUnit;

    /// @notice The two last readings. One of them is old enough to count as soon as there are two.
    Reading public latest;
    Reading public previous;

    /// @param feeds_ router with a route between the ends of the market
    constructor(IOracleRouter feeds_, UniswapV3TwapSource market_, uint256 toleranceBps_) {
        if (toleranceBps_ == 0 || toleranceBps_ >= PriceMath.BPS) revert InvalidTolerance(toleranceBps_);
        (base, quote) = (market_.base(), market_.quote());
        (uint256 baseDecimals, bool baseKnown) = PriceMath.readDecimals(base);
        if (!baseKnown) revert UnknownDecimals(base);
        (uint256 quoteDecimals, bool quoteKnown) = PriceMath.readDecimals(quote);
        if (!quoteKnown) revert UnknownDecimals(quote);
        _amount = PriceMath.WAD * 10 ** baseDecimals;
        _quoteUnit = 10 ** quoteDecimals;
        (feeds, market, toleranceBps) = (feeds_, market_, toleranceBps_);
        // A router reverts for a route it does not have.
        _feedsStipend = feeds_.stipend(base, quote);
        _marketStipend = market_.marketStipend();
        stipend = BoundedRead.cost(_feedsStipend) + BoundedRead.cost(_marketStipend) + OWN_GAS;
    }

    /// @notice Stores a reading; anyone may, half an hour after the last one.
    function observe() external {
        uint256 until = latest.at + READING_GAP;
        if (block.timestamp < until) revert TooEarly(until);
        (,, uint256 standing,) = market.market();
        if (standing == 0 || standing > type(uint192).max) revert NoMarket(address(market));
        previous = latest;
        // forge-lint: disable-next-line(unsafe-typecast) just compared
        latest = Reading(uint192(standing), uint64(block.timestamp));
        emit Observed(standing);
    }

    /// @inheritdoc IPriceSource
    function searchGas() external view returns (uint256) {
        return feeds.searchGas(base, quote) + market.marketSearchGas() + READING_GAS;
    }

    /// @inheritdoc IPriceSource
    /// @dev Without feeds there is no price, whatever the pool says. Without a pool there are the feeds, which
    /// nothing confirms.
    function price() external view returns (uint256 low, uint256 high, Status status) {
        (low, high, status) = _feeds();
        if (status == Status.UNAVAILABLE) return (low, high, status);

        (bool success, uint256[10] memory words) = BoundedRead.read(
            address(market), _marketStipend, abi.encodeCall(UniswapV3TwapSource.market, ()), 4
        );
        (uint256 meanLow, uint256 meanHigh) = (words[0], words[1]);
        if (!success || meanLow == 0 || meanLow > meanHigh) return (low, high, _worse(status));

        uint256 least = PriceMath.mulDivUp(low, PriceMath.BPS - toleranceBps, PriceMath.BPS);
        uint256 most = PriceMath.mulDivDown(high, PriceMath.BPS + toleranceBps, PriceMath.BPS);
        (uint256 standing, uint256 spot) = (words[2], words[3]);
        if (
            meanHigh < least || meanLow > most || !_within(standing, least, most)
                || !_within(spot, least, most)
        ) {
            status = _worse(status);
        }
        low = Math.min(Math.min(low, meanLow), _persisted(standing));
        high = Math.max(high, meanHigh);
    }

    /// @notice Spot as it has persisted until now, in WAD; the largest word when no reading tells.
    function persisted() external view returns (uint256) {
        (,, uint256 standing,) = market.market();
        return _persisted(standing);
    }

    function _persisted(uint256 standing) private view returns (uint256) {
        Reading memory first = latest;
        if (block.timestamp < first.at + READING_GAP) first = previous;
        if (block.timestamp > first.at + MAX_READING_AGE) return type(uint256).max;
        return Math.max(first.price, standing);
    }

    function _feeds() private view returns (uint256 low, uint256 high, Status status) {
        (bool success, uint256[10] memory words) = BoundedRead.read(
            address(feeds), _feedsStipend, abi.encodeCall(IOracleRouter.value, (base, quote, _amount)), 3
        );
        if (!success || words[2] >= uint256(Status.UNAVAILABLE)) {
            return (0, type(uint256).max, Status.UNAVAILABLE);
        }
        (low, high, status) = (words[0] / _quoteUnit, Math.ceilDiv(words[1], _quoteUnit), Status(words[2]));
    }

    function _within(uint256 one, uint256 least, uint256 most) private pure returns (bool) {
        return one >= least && one <= most;
    }

    function _worse(Status status) private pure returns (Status) {
        return status > Status.DIVERGED ? status : Status.DIVERGED;
    }
}
