// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Value} from "./interfaces/Types.sol";
import {Announcement, FirstReading, Ledger, Mark, Pocketed, Report, SplitLib} from "./libraries/SplitLib.sol";

/// @title What the positions of one vault are worth
/// @dev In three ways: live, as last checkpointed, and in two readings some time apart, for settlements that
/// nobody signs.
abstract contract Valuation is IPortfolio {
    using SafeCast for uint256;
    using SplitLib for Announcement;

    /// @dev Gas every position may use to report: 20 positions stay under 5 M.
    uint256 public constant REPORT_GAS = SplitLib.REPORT_GAS;

    /// @dev Two readings lie at least so far apart that no flash loan spans them, and at most a day.
    uint256 public constant MIN_READING_GAP = SplitLib.MIN_READING_GAP;
    uint256 public constant MAX_READING_GAP = SplitLib.MAX_READING_GAP;

    /// @dev The listed positions and their values at one moment, in the order of the registry.
    struct Reading {
        address[] connectors;
        bytes32[] keys;
        Value[] values;
        uint256[] debts;
        bool[] healthy;
    }

    address public immutable override vault;
    IRegistry public immutable override registry;
    IERC20 public immutable override asset;
    address public immutable override escrow;

    Ledger internal ledger;
    mapping(address connector => mapping(bytes32 key => Mark)) internal marked;
    mapping(address connector => mapping(bytes32 key => uint256)) private debts;
    /// @inheritdoc IPortfolio
    mapping(bytes32 riskId => uint256) public override exposures;

    /// @inheritdoc IPortfolio
    Pocketed public override pocket;

    Announcement internal announcement;

    modifier onlyVault() {
        require(msg.sender == vault, NotVault(msg.sender));
        _;
    }

    modifier locks() {
        IVault(vault).lock();
        _;
        IVault(vault).unlock();
    }

    modifier whenUnlocked() {
        require(!IVault(vault).locked(), Locked());
        _;
    }

    constructor(address vault_, IRegistry registry_, IERC20 asset_, address escrow_) {
        vault = vault_;
        registry = registry_;
        asset = asset_;
        escrow = escrow_;
    }

    // TWO READINGS

    /// @inheritdoc IPortfolio
    /// @dev Takes the lock: a reading in the middle of something would not be one.
    function announce() external override locks {
        SplitLib.announce(announcement, marked);
    }

    /// @inheritdoc IPortfolio
    function twoReadings()
        external
        view
        override
        whenUnlocked
        returns (Value memory value, bool healthy, uint256 at)
    {
        Reading memory reading = _read();
        at = _combine(reading);
        (value, healthy) = _total(reading);
    }

    // VIEWS

    /// @inheritdoc IPortfolio
    function idle() external view override returns (uint256) {
        return ledger.idle;
    }

    /// @inheritdoc IPortfolio
    function totalLow() external view override returns (uint256) {
        return ledger.totalLow;
    }

    /// @inheritdoc IPortfolio
    function nav() external view override whenUnlocked returns (Value memory, bool) {
        return _total(_read());
    }

    /// @inheritdoc IPortfolio
    function positionValue(address connector, bytes32 key)
        external
        view
        override
        whenUnlocked
        returns (Value memory, bool)
    {
        Report memory report = _report(connector, key, ledger.pocketed);
        return (Value(report.low, report.high), report.healthy);
    }

    /// @inheritdoc IPortfolio
    function positionDebt(address connector, bytes32 key)
        external
        view
        override
        whenUnlocked
        returns (uint256, uint256)
    {
        Report memory report = _report(connector, key, ledger.pocketed);
        return (report.debt, report.health);
    }

    /// @inheritdoc IPortfolio
    function marks(address connector, bytes32 key) external view override returns (uint128, uint128) {
        Mark memory mark = marked[connector][key];
        return (mark.low, mark.high);
    }

    /// @inheritdoc IPortfolio
    function markedDebt(address connector, bytes32 key) external view override returns (uint256) {
        return debts[connector][key];
    }

    // MARKS

    /// @inheritdoc IPortfolio
    /// @dev Without it what the position once counted would stay in sums that it no longer belongs to, and be
    /// taken from others if it were listed again under other risk ids.
    function forget(address connector, bytes32 key, bytes32[] calldata riskIds, bool dead)
        external
        override
        locks
    {
        require(msg.sender == address(registry), NotRegistry(msg.sender));
        if (dead) SplitLib.abandon(ledger, pocket, announcement, marked, connector, key);
        (Mark memory mark, uint256 debt) = _markOf(connector, key);
        ledger.totalLow = uint256(ledger.totalLow - mark.low).toUint120();
        _countExposure(riskIds, mark.high + debt, 0);
        delete marked[connector][key];
        delete debts[connector][key];
    }

    /// @dev Marks every position. Settlements leave `high` alone, so that they need not touch exposures; but
    /// value in a position that no batch has ever marked is counted when it is first seen.
    /// @return fall what positions are worth less than at their last checkpoint; gains do not offset it
    function _markAll(Reading memory reading) internal returns (uint256 fall) {
        uint256 sum;
        for (uint256 i; i < reading.keys.length; ++i) {
            (address connector, bytes32 key) = (reading.connectors[i], reading.keys[i]);
            Value memory value = reading.values[i];
            Mark memory mark = marked[connector][key];
            fall += _excess(mark.low, value.low);
            sum += value.low;
            if (!reading.healthy[i]) {
                emit PositionImpaired(connector, key, mark.high);
            } else if (mark.high == 0 && !mark.indebted && value.high + reading.debts[i] != 0) {
                _setMark(connector, key, value.low, value.high, reading.debts[i]);
                _countExposure(registry.riskIdsOf(vault, connector, key), 0, value.high + reading.debts[i]);
                continue;
            }
            mark.low = value.low.toUint112();
            marked[connector][key] = mark;
        }
        ledger.totalLow = sum.toUint120();
    }

    function _markOf(address connector, bytes32 key) internal view returns (Mark memory mark, uint256 debt) {
        mark = marked[connector][key];
        if (mark.indebted) debt = debts[connector][key];
    }

    /// @dev The slot of the debt is written with the first and the last of it, and in between.
    function _setMark(address connector, bytes32 key, uint256 low, uint256 high, uint256 debt) internal {
        Mark storage mark = marked[connector][key];
        if (debt != 0 || mark.indebted) debts[connector][key] = debt;
        marked[connector][key] = Mark(low.toUint112(), high.toUint112(), debt != 0);
    }

    function _countExposure(bytes32[] memory riskIds, uint256 from, uint256 to) internal {
        if (from == to) return;
        for (uint256 i; i < riskIds.length; ++i) {
            exposures[riskIds[i]] = exposures[riskIds[i]] + to - from;
        }
    }

    // READINGS

    function _read() internal view returns (Reading memory reading) {
        (reading.connectors, reading.keys) = registry.positionKeys(vault);
        uint256 length = reading.keys.length;
        reading.values = new Value[](length);
        reading.debts = new uint256[](length);
        reading.healthy = new bool[](length);
        bool pocketed = ledger.pocketed;
        for (uint256 i; i < length; ++i) {
            Report memory report = _report(reading.connectors[i], reading.keys[i], pocketed);
            (reading.debts[i], reading.healthy[i]) = (report.debt, report.healthy);
            reading.values[i] = Value(report.low, report.high);
        }
    }

    function _total(Reading memory reading) internal view returns (Value memory total, bool healthy) {
        total = Value(ledger.idle, ledger.idle);
        healthy = true;
        for (uint256 i; i < reading.keys.length; ++i) {
            total.low += reading.values[i].low;
            total.high += reading.values[i].high;
            healthy = healthy && reading.healthy[i];
        }
    }

    /// @dev Turns a reading of now into that of the announcement and now: the least low and the greatest high.
    /// A position is impaired only if it was both times, because inside a flash loan a market's view can be
    /// made to revert; if it was once, the other time alone counts.
    /// @return at when the first reading was made
    function _combine(Reading memory reading) internal view returns (uint256 at) {
        at = announcement.time();
        require(
            SplitLib.listOf(reading.connectors, reading.keys) == announcement.positions, PositionsChanged()
        );
        for (uint256 i; i < reading.keys.length; ++i) {
            if (_isPocketed(reading.connectors[i], reading.keys[i])) continue;
            FirstReading memory first = announcement.first[reading.connectors[i]][reading.keys[i]];
            Value memory value = reading.values[i];
            if (first.healthy == reading.healthy[i]) {
                value.low = Math.min(value.low, first.low);
                value.high = Math.max(value.high, first.high);
            } else if (first.healthy) {
                (value.low, value.high, reading.healthy[i]) = (first.low, first.high, true);
            }
        }
    }

    /// @dev While an announcement is live, what a batch does to a position happens to its first reading, too:
    /// else funds that moved between the readings would be missing from the lesser of them.
    function _moveFirstReading(address connector, bytes32 key, Report memory before, Report memory afterwards)
        internal
    {
        if (_isPocketed(connector, key)) return;
        FirstReading memory first = announcement.first[connector][key];
        bool healthy = before.healthy && afterwards.healthy;
        if (healthy) {
            afterwards.low = _excess(first.low + afterwards.low, before.low);
            afterwards.high = Math.max(afterwards.low, _excess(first.high + afterwards.high, before.high));
        }
        announcement.setFirst(connector, key, afterwards, healthy && first.healthy, first.worthless);
    }

    function _announced() internal view returns (bool) {
        return block.timestamp <= announcement.at + MAX_READING_GAP;
    }

    /// @dev What is split off counts as unreadable, whatever it reports.
    /// @param pocketed whether anything is
    function _report(address connector, bytes32 key, bool pocketed) internal view returns (Report memory) {
        bool out = pocketed && pocket.connector == connector && pocket.key == key;
        return SplitLib.query(marked, connector, key, out);
    }

    function _isPocketed(address connector, bytes32 key) internal view returns (bool) {
        return ledger.pocketed && pocket.connector == connector && pocket.key == key;
    }

    /// @dev By how much one exceeds the other.
    function _excess(uint256 one, uint256 other) internal pure returns (uint256) {
        return one > other ? one - other : 0;
    }
}
