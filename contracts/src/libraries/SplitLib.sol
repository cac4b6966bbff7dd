// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "../interfaces/IConnector.sol";
import {IPortfolio} from "../interfaces/IPortfolio.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {IVault} from "../interfaces/IVault.sol";
import {Status} from "../interfaces/Types.sol";
import {ReportLib} from "./ReportLib.sol";

/// @dev One slot: a settlement and a batch change it all.
struct Ledger {
    uint128 idle;
    uint120 totalLow;
    /// whether a position is split off
    bool pocketed;
}

/// @dev `low` is what the position was worth at its last checkpoint: a settlement, or a batch that touched it.
/// `high` is its last good value as of that batch, or of the first settlement that found value in it. Debt
/// as of the same moment lies in a slot of its own, so that positions without any cost one slot.
struct Mark {
    uint112 low;
    uint112 high;
    bool indebted;
}

/// @dev A position as its connector reports it. What cannot be read is worth 0 to its last good value, and its
/// debt is not known; a `healthy` one has been read and may take on risk.
struct Report {
    uint256 low;
    uint256 high;
    uint256 debt;
    uint256 health;
    bool readable;
    bool healthy;
}

struct FirstReading {
    uint112 low;
    uint112 high;
    bool healthy;
    /// in doubt and nothing at the low end when it was announced, whatever a batch found since
    bool worthless;
}

/// @dev The first of two readings: when it was made, and of which positions.
struct Announcement {
    uint256 at;
    bytes32 positions;
    mapping(address connector => mapping(bytes32 key => FirstReading)) first;
}

/// @dev The position that is split off, and the assets that have come out of it since.
struct Pocketed {
    address connector;
    uint64 since;
    bytes32 key;
    uint128 cash;
}

/// @title Splitting a position off, and joining it again
/// @notice Linked into the portfolio. Who owns which part of a pocket the vault knows (`PocketLib`); here is what
/// it holds.
library SplitLib {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    uint256 internal constant REPORT_GAS = 250_000;
    uint256 internal constant MIN_READING_GAP = 30 minutes;
    uint256 internal constant MAX_READING_GAP = 24 hours;

    /// @dev What a position may report: 20 of them fit every sum and price, so that none can make one overflow.
    uint256 internal constant MAX_REPORT = type(uint112).max;

    /// @dev Part of the greater low by which two readings may differ when a pocket is closed: one of them alone,
    /// made inside a flash loan, must not decide what those who left are paid.
    uint256 private constant AGREEMENT = 100;

    /// @dev Units that a withdrawal may lose.
    uint256 private constant ROUNDING = 10;

    // READINGS

    /// @dev A connector that reverts, returns nonsense or returns too much is impaired: worth 0 at the low end
    /// and its last good value at the high end. Too little gas fails the whole call instead, so that nobody can
    /// impair a position by starving it.
    /// @param pocketed whether it is to count as impaired without being asked
    function query(
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        address connector,
        bytes32 key,
        bool pocketed
    ) internal view returns (Report memory report) {
        if (pocketed) {
            report.high = marks[connector][key].high;
            return report;
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
            report.high = marks[connector][key].high;
            return report;
        }
        uint256 status;
        (status, report.debt, report.health) = ReportLib.unpack(words[2]);
        (report.low, report.high) = (words[0], words[1]);
        (report.readable, report.healthy) = (true, status == uint256(Status.OK));
    }

    /// @dev When the first reading was made, which must be neither too recent nor too old for a second one.
    function time(Announcement storage announcement) internal view returns (uint256 at) {
        at = announcement.at;
        uint256 earliest = at + MIN_READING_GAP;
        require(block.timestamp >= earliest, IPortfolio.TooEarly(earliest));
        require(block.timestamp <= at + MAX_READING_GAP, IPortfolio.Expired(at + MAX_READING_GAP));
    }

    function listOf(address[] memory connectors, bytes32[] memory keys) internal pure returns (bytes32) {
        return keccak256(abi.encode(connectors, keys));
    }

    /// @dev See `IPortfolio.announce`. What is split off is read as well: that is how a pocket is closed.
    function announce(
        Announcement storage announcement,
        mapping(address => mapping(bytes32 => Mark)) storage marks
    ) external {
        (address[] memory connectors, bytes32[] memory keys) = _list();
        bytes32 list = listOf(connectors, keys);
        uint256 until = announcement.at + MAX_READING_GAP;
        // Otherwise anybody could start the wait anew for ever.
        require(
            block.timestamp > until || list != announcement.positions, IPortfolio.AnnouncementStands(until)
        );
        (announcement.at, announcement.positions) = (block.timestamp, list);
        for (uint256 i; i < keys.length; ++i) {
            Report memory report = query(marks, connectors[i], keys[i], false);
            setFirst(announcement, connectors[i], keys[i], report, report.healthy, _isWorthless(report));
        }
        emit IPortfolio.Announced(block.timestamp);
    }

    function setFirst(
        Announcement storage announcement,
        address connector,
        bytes32 key,
        Report memory report,
        bool healthy,
        bool worthless
    ) internal {
        (uint256 low, uint256 high) = (Math.min(report.low, MAX_REPORT), Math.min(report.high, MAX_REPORT));
        // forge-lint: disable-next-line(unsafe-typecast) bounded by MAX_REPORT
        announcement.first[connector][key] = FirstReading(uint112(low), uint112(high), healthy, worthless);
    }

    // POCKET

    /// @dev See `IPortfolio.splitOff`.
    function splitOff(
        Ledger storage ledger,
        Pocketed storage pocket,
        Announcement storage announcement,
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        address connector,
        bytes32 key
    ) external {
        IRegistry registry = _self().registry();
        IVault vault = IVault(_self().vault());
        require(
            msg.sender == registry.guardian(address(vault))
                || msg.sender == registry.governor(address(vault)),
            IPortfolio.NotAuthorised(msg.sender)
        );
        require(!ledger.pocketed, IPortfolio.PocketIsOpen(pocket.connector, pocket.key));
        _checkWorthless(announcement, marks, connector, key);
        ledger.pocketed = true;
        (pocket.connector, pocket.since, pocket.key) = (connector, uint64(block.timestamp), key);
        emit IPortfolio.SplitOff(vault.openPocket(), connector, key);
    }

    /// @dev See `IPortfolio.closePocket`.
    function closePocket(
        Ledger storage ledger,
        Pocketed storage pocket,
        Announcement storage announcement,
        mapping(address => mapping(bytes32 => Mark)) storage marks
    ) external {
        require(ledger.pocketed, IPortfolio.NoPocket());
        (address connector, bytes32 key) = (pocket.connector, pocket.key);
        uint256 at = time(announcement);
        require(at > pocket.since, IPortfolio.ReadingTooOld(at, pocket.since));
        FirstReading memory first = announcement.first[connector][key];
        Report memory report = query(marks, connector, key, false);
        require(first.healthy && report.healthy, IPortfolio.PositionIsImpaired(connector, key));
        (uint256 lesser, uint256 greater) = (Math.min(first.low, report.low), Math.max(first.low, report.low));
        require(greater - lesser <= greater / AGREEMENT + ROUNDING, IPortfolio.ReadingsApart(lesser, greater));
        _join(ledger, pocket, marks, lesser);
    }

    /// @dev See `IPortfolio.forget`, of a dead position.
    function abandon(
        Ledger storage ledger,
        Pocketed storage pocket,
        Announcement storage announcement,
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        address connector,
        bytes32 key
    ) external {
        _checkWorthless(announcement, marks, connector, key);
        if (ledger.pocketed && pocket.connector == connector && pocket.key == key) {
            _join(ledger, pocket, marks, 0);
        }
    }

    /// @dev What a batch took out of the pocket is not idle. Its connector is called once and alone, as that of
    /// every impaired position, and by `withdraw`, whose first argument is the key. It is gone from the first
    /// reading, too: else the keeper could keep both readings apart for ever.
    /// @return assets which NAV must not count
    function setAside(
        Ledger storage ledger,
        Pocketed storage pocket,
        Announcement storage announcement,
        address target,
        bytes calldata data,
        uint256 idleBefore
    ) external returns (uint256 assets) {
        if (target != pocket.connector || data.length < 36 || bytes32(data[4:36]) != pocket.key) return 0;
        if (ledger.idle > idleBefore) assets = ledger.idle - idleBefore;
        ledger.idle -= assets.toUint128();
        pocket.cash += assets.toUint128();
        FirstReading storage first = announcement.first[target][pocket.key];
        first.low -= uint112(Math.min(first.low, assets));
        emit IPortfolio.PocketFilled(assets);
    }

    /// @dev In doubt and worth nothing at the low end, in two readings: no flash loan spans both.
    function _checkWorthless(
        Announcement storage announcement,
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        address connector,
        bytes32 key
    ) private view {
        time(announcement);
        (address[] memory connectors, bytes32[] memory keys) = _list();
        require(listOf(connectors, keys) == announcement.positions, IPortfolio.PositionsChanged());
        uint256 i;
        while (i < keys.length && (connectors[i] != connector || keys[i] != key)) ++i;
        require(i < keys.length, IPortfolio.PositionNotListed(connector, key));
        require(
            announcement.first[connector][key].worthless && _isWorthless(query(marks, connector, key, false)),
            IPortfolio.PositionNotImpaired(connector, key)
        );
    }

    /// @param low what is left in the position
    function _join(
        Ledger storage ledger,
        Pocketed storage pocket,
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        uint256 low
    ) private {
        (address connector, bytes32 key) = (pocket.connector, pocket.key);
        uint256 total = low + pocket.cash;
        uint256 available = ledger.idle + pocket.cash;
        ledger.pocketed = false;
        delete pocket.connector;
        delete pocket.since;
        delete pocket.key;
        delete pocket.cash;
        uint256 owed = IVault(_self().vault()).closePocket(total);
        if (owed > available) available += _withdraw(marks, connector, key, owed - available);
        IERC20 asset = _self().asset();
        require(owed <= available, IPortfolio.InsufficientIdle(address(asset), available, owed));
        ledger.idle = (available - owed).toUint128();
        if (owed != 0) asset.safeTransfer(_self().escrow(), owed);
        emit IPortfolio.PocketClosed(connector, key, total, owed);
    }

    /// @dev Those who left need not wait for a keeper; but nothing may be lost on the way either.
    function _withdraw(
        mapping(address => mapping(bytes32 => Mark)) storage marks,
        address connector,
        bytes32 key,
        uint256 assets
    ) private returns (uint256 received) {
        bytes4 selector = IConnector.withdraw.selector;
        require(
            _self().registry().isAllowed(_self().vault(), connector, selector),
            IPortfolio.CallNotAllowed(connector, selector)
        );
        IERC20 asset = _self().asset();
        uint256 before = query(marks, connector, key, false).low;
        uint256 balance = asset.balanceOf(address(this));
        IConnector(connector).withdraw(key, assets);
        received = asset.balanceOf(address(this)) - balance;
        uint256 left = query(marks, connector, key, false).low + received;
        require(left + ROUNDING >= before, IPortfolio.LossAboveLimit(before - left, ROUNDING));
    }

    function _isWorthless(Report memory report) private pure returns (bool) {
        return !report.healthy && report.low == 0;
    }

    function _list() private view returns (address[] memory connectors, bytes32[] memory keys) {
        return _self().registry().positionKeys(_self().vault());
    }

    function _self() private view returns (IPortfolio) {
        return IPortfolio(address(this));
    }
}
