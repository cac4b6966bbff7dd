// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IPortfolio} from "../interfaces/IPortfolio.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Status, Value} from "../interfaces/Types.sol";
import {FirstReading, Mark, PortfolioState, PositionReport} from "./PortfolioState.sol";
import {ReportLib} from "./ReportLib.sol";

/// @title Reading positions, marking them, and the two readings of settlements that nobody signs
/// @notice Linked into the portfolio.
library ReadingLib {
    using SafeCast for uint256;

    uint256 internal constant REPORT_GAS = 300_000;
    uint256 internal constant MIN_READING_GAP = 30 minutes;
    uint256 internal constant MAX_READING_GAP = 24 hours;

    /// @dev Units that a report may move without anything having been added or lost: protocols round.
    uint256 internal constant ROUNDING = 10;

    /// @dev What a position may report: 16 of them fit every sum and price, so that none can make one overflow.
    uint256 private constant MAX_REPORT = type(uint112).max;

    /// @dev The listed positions and their values at one moment, in the order of the registry.
    struct Reading {
        address[] connectors;
        bytes32[] keys;
        Value[] values;
        uint256[] debts;
        bool[] healthy;
    }

    // NET ASSET VALUE

    /// @dev See `IPortfolio.nav`.
    function nav(PortfolioState storage self) external view returns (Value memory value, bool healthy) {
        return _total(self, _read(self));
    }

    /// @dev See `IPortfolio.twoReadings`.
    function twoReadings(PortfolioState storage self)
        external
        view
        returns (Value memory value, bool healthy, uint256 at)
    {
        Reading memory reading = _read(self);
        at = _combine(self, reading);
        (value, healthy) = _total(self, reading);
    }

    /// @dev See `IPortfolio.checkpoint`. Settlements leave `high` alone, so that they need not touch exposures; but
    /// value in a position that no batch has ever marked is counted when it is first seen.
    /// @return value net asset value
    /// @return healthy whether every term of it is
    /// @return fall what positions are worth less than at their last checkpoint; gains do not offset it
    function checkpoint(PortfolioState storage self, bool twice)
        external
        returns (Value memory value, bool healthy, uint256 fall)
    {
        Reading memory reading = _read(self);
        if (twice) _combine(self, reading);
        (value, healthy) = _total(self, reading);
        uint256 sum;
        for (uint256 i; i < reading.keys.length; ++i) {
            fall += _mark(self, reading, i);
            sum += reading.values[i].low;
        }
        self.ledger.totalLow = sum.toUint120();
    }

    function _mark(PortfolioState storage self, Reading memory reading, uint256 i)
        private
        returns (uint256 fall)
    {
        (address connector, bytes32 key) = (reading.connectors[i], reading.keys[i]);
        (Value memory value, uint256 debt) = (reading.values[i], reading.debts[i]);
        Mark memory mark = self.marks[connector][key];
        fall = excess(mark.low, value.low);
        if (!reading.healthy[i]) {
            emit IPortfolio.PositionImpaired(connector, key, mark.high);
        } else if (mark.high == 0 && !mark.indebted && value.high + debt != 0) {
            setMark(self, connector, key, value.low, value.high, debt);
            bytes32[] memory riskIds = _registry().riskIdsOf(_self().vault(), connector, key);
            countExposure(self, riskIds, 0, value.high + debt);
            return fall;
        }
        mark.low = value.low.toUint112();
        self.marks[connector][key] = mark;
    }

    // TWO READINGS

    /// @dev See `IPortfolio.announce`. What is split off is read as well: that is how a pocket is closed.
    function announce(PortfolioState storage self) external {
        (address[] memory connectors, bytes32[] memory keys) = list();
        bytes32 positions = keccak256(abi.encode(connectors, keys));
        uint256 until = self.announcement.at + MAX_READING_GAP;
        // Otherwise anybody could start the wait anew for ever.
        require(
            block.timestamp > until || positions != self.announcement.positions,
            IPortfolio.AnnouncementStands(until)
        );
        (self.announcement.at, self.announcement.positions) = (block.timestamp, positions);
        for (uint256 i; i < keys.length; ++i) {
            PositionReport memory seen = report(self, connectors[i], keys[i], false);
            _setFirst(self, connectors[i], keys[i], seen, isWorthless(seen));
        }
        emit IPortfolio.Announced(block.timestamp);
    }

    /// @dev While an announcement is live, what a batch does to a position happens to its first reading, too:
    /// else funds that moved between the readings would be missing from the lesser of them.
    function moveFirst(
        PortfolioState storage self,
        address connector,
        bytes32 key,
        PositionReport memory before,
        PositionReport memory afterwards
    ) external {
        if (_isPocketed(self, connector, key, self.ledger.pocketed)) return;
        FirstReading memory first = self.announcement.first[connector][key];
        bool healthy = before.healthy && afterwards.healthy;
        if (healthy) {
            afterwards.low = excess(first.low + afterwards.low, before.low);
            afterwards.high = Math.max(afterwards.low, excess(first.high + afterwards.high, before.high));
        }
        afterwards.healthy = healthy && first.healthy;
        _setFirst(self, connector, key, afterwards, first.worthless);
    }

    /// @dev When the first reading was made, which must be neither too recent nor too old for a second one.
    function time(PortfolioState storage self) internal view returns (uint256 at) {
        at = self.announcement.at;
        uint256 earliest = at + MIN_READING_GAP;
        require(block.timestamp >= earliest, IPortfolio.TooEarly(earliest));
        require(block.timestamp <= at + MAX_READING_GAP, IPortfolio.Expired(at + MAX_READING_GAP));
    }

    function isAnnounced(PortfolioState storage self) internal view returns (bool) {
        return block.timestamp <= self.announcement.at + MAX_READING_GAP;
    }

    /// @dev Turns a reading of now into that of the announcement and now: the least low and the greatest high.
    /// A position is impaired only if it was both times, because inside a flash loan a market's view can be
    /// made to revert; if it was once, the other time alone counts.
    /// @return at when the first reading was made
    function _combine(PortfolioState storage self, Reading memory reading) private view returns (uint256 at) {
        at = time(self);
        bytes32 positions = keccak256(abi.encode(reading.connectors, reading.keys));
        require(positions == self.announcement.positions, IPortfolio.PositionsChanged());
        bool pocketed = self.ledger.pocketed;
        for (uint256 i; i < reading.keys.length; ++i) {
            if (_isPocketed(self, reading.connectors[i], reading.keys[i], pocketed)) continue;
            FirstReading memory first = self.announcement.first[reading.connectors[i]][reading.keys[i]];
            Value memory value = reading.values[i];
            if (first.healthy == reading.healthy[i]) {
                value.low = Math.min(value.low, first.low);
                value.high = Math.max(value.high, first.high);
            } else if (first.healthy) {
                (value.low, value.high, reading.healthy[i]) = (first.low, first.high, true);
            }
        }
    }

    function _setFirst(
        PortfolioState storage self,
        address connector,
        bytes32 key,
        PositionReport memory seen,
        bool worthless
    ) private {
        (uint256 low, uint256 high) = (Math.min(seen.low, MAX_REPORT), Math.min(seen.high, MAX_REPORT));
        // forge-lint: disable-start(unsafe-typecast) bounded by MAX_REPORT
        self.announcement.first[connector][key] =
            FirstReading(uint112(low), uint112(high), seen.healthy, worthless);
        // forge-lint: disable-end(unsafe-typecast)
    }

    // ONE POSITION

    /// @dev A connector that reverts, returns nonsense or returns too much is impaired: worth 0 at the low end
    /// and its last good value at the high end. Too little gas fails the whole call instead, so that nobody can
    /// impair a position by starving it. What is split off counts as impaired without being asked.
    /// @param pocketed whether anything is split off; false asks in any case
    function report(PortfolioState storage self, address connector, bytes32 key, bool pocketed)
        internal
        view
        returns (PositionReport memory seen)
    {
        if (_isPocketed(self, connector, key, pocketed)) {
            seen.high = self.marks[connector][key].high;
            return seen;
        }
        uint256 available = gasleft() * 63 / 64;
        require(available >= REPORT_GAS, IPortfolio.NotEnoughGas(available, REPORT_GAS));
        bytes memory data = abi.encodeCall(IConnector.report, (key));
        bool success;
        uint256 size;
        uint256[3] memory words;
        assembly ("memory-safe") {
            success := staticcall(REPORT_GAS, connector, add(data, 32), mload(data), words, 96)
            size := returndatasize()
        }
        if (
            !success || size != 96 || words[0] > words[1] || words[1] > MAX_REPORT
                || !ReportLib.isKnown(words[2])
        ) {
            seen.high = self.marks[connector][key].high;
            return seen;
        }
        uint256 status;
        (status, seen.debt, seen.health) = ReportLib.unpack(words[2]);
        (seen.low, seen.high) = (words[0], words[1]);
        (seen.readable, seen.healthy) = (true, status == uint256(Status.OK));
    }

    /// @dev In doubt, and nothing at the low end.
    function isWorthless(PositionReport memory seen) internal pure returns (bool) {
        return !seen.healthy && seen.low == 0;
    }

    function markOf(PortfolioState storage self, address connector, bytes32 key)
        internal
        view
        returns (Mark memory mark, uint256 debt)
    {
        mark = self.marks[connector][key];
        if (mark.indebted) debt = self.debts[connector][key];
    }

    /// @dev The slot of the debt is written with the first and the last of it, and in between.
    function setMark(
        PortfolioState storage self,
        address connector,
        bytes32 key,
        uint256 low,
        uint256 high,
        uint256 debt
    ) internal {
        Mark storage mark = self.marks[connector][key];
        if (debt != 0 || mark.indebted) self.debts[connector][key] = debt;
        self.marks[connector][key] = Mark(low.toUint112(), high.toUint112(), debt != 0);
    }

    function countExposure(PortfolioState storage self, bytes32[] memory riskIds, uint256 from, uint256 to)
        internal
    {
        if (from == to) return;
        for (uint256 i; i < riskIds.length; ++i) {
            self.exposures[riskIds[i]] = self.exposures[riskIds[i]] + to - from;
        }
    }

    /// @dev By how much one exceeds the other.
    function excess(uint256 one, uint256 other) internal pure returns (uint256) {
        return one > other ? one - other : 0;
    }

    // ALL POSITIONS

    /// @dev Every listed position, in the order of the registry.
    function list() internal view returns (address[] memory connectors, bytes32[] memory keys) {
        return _registry().positionKeys(_self().vault());
    }

    function _read(PortfolioState storage self) private view returns (Reading memory reading) {
        (reading.connectors, reading.keys) = list();
        uint256 length = reading.keys.length;
        reading.values = new Value[](length);
        reading.debts = new uint256[](length);
        reading.healthy = new bool[](length);
        bool pocketed = self.ledger.pocketed;
        for (uint256 i; i < length; ++i) {
            PositionReport memory seen = report(self, reading.connectors[i], reading.keys[i], pocketed);
            reading.values[i] = Value(seen.low, seen.high);
            (reading.debts[i], reading.healthy[i]) = (seen.debt, seen.healthy);
        }
    }

    function _total(PortfolioState storage self, Reading memory reading)
        private
        view
        returns (Value memory total, bool healthy)
    {
        total = Value(self.ledger.idle, self.ledger.idle);
        healthy = true;
        for (uint256 i; i < reading.keys.length; ++i) {
            total.low += reading.values[i].low;
            total.high += reading.values[i].high;
            healthy = healthy && reading.healthy[i];
        }
    }

    function _isPocketed(PortfolioState storage self, address connector, bytes32 key, bool pocketed)
        private
        view
        returns (bool)
    {
        return pocketed && self.pocket.connector == connector && self.pocket.key == key;
    }

    function _registry() private view returns (IRegistry) {
        return _self().registry();
    }

    function _self() private view returns (IPortfolio) {
        return IPortfolio(address(this));
    }
}
