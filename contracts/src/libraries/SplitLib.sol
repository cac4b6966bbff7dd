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
import {FirstReading, Mark, Pocketed, PortfolioState, PositionReport} from "./PortfolioState.sol";
import {ReadingLib} from "./ReadingLib.sol";

/// @title Splitting a position off, joining it again, and forgetting it
/// @notice Linked into the portfolio. Who owns which part of a pocket the vault knows (`PocketLib`); here is what
/// it holds.
library SplitLib {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using ReadingLib for PortfolioState;

    /// @dev Part of the greater low by which two readings may differ when a pocket is closed: one of them alone,
    /// made inside a flash loan, must not decide what those who left are paid.
    uint256 private constant AGREEMENT = 100;

    /// @dev See `IPortfolio.splitOff`.
    function splitOff(PortfolioState storage self, address connector, bytes32 key) external {
        IRegistry registry = _self().registry();
        IVault vault = IVault(_self().vault());
        require(
            msg.sender == registry.guardian(address(vault))
                || msg.sender == registry.governor(address(vault)),
            IPortfolio.NotAuthorised(msg.sender)
        );
        Pocketed storage pocket = self.pocket;
        require(!self.ledger.pocketed, IPortfolio.PocketIsOpen(pocket.connector, pocket.key));
        _checkWorthless(self, connector, key);
        if (!registry.isIsolated(address(vault), connector)) {
            _checkOwesNothing(self, connector, _listedKeys(connector), true);
        }
        self.ledger.pocketed = true;
        (pocket.connector, pocket.since, pocket.key) = (connector, uint64(block.timestamp), key);
        emit IPortfolio.SplitOff(vault.openPocket(), connector, key);
    }

    /// @dev See `IPortfolio.closePocket`.
    function closePocket(PortfolioState storage self) external {
        require(self.ledger.pocketed, IPortfolio.NoPocket());
        (address connector, bytes32 key) = (self.pocket.connector, self.pocket.key);
        uint256 at = self.time();
        require(at > self.pocket.since, IPortfolio.ReadingTooOld(at, self.pocket.since));
        FirstReading memory first = self.announcement.first[connector][key];
        PositionReport memory seen = self.report(connector, key, false);
        require(first.healthy && seen.healthy, IPortfolio.PositionIsImpaired(connector, key));
        (uint256 lesser, uint256 greater) = (Math.min(first.low, seen.low), Math.max(first.low, seen.low));
        require(
            greater - lesser <= greater / AGREEMENT + ReadingLib.ROUNDING,
            IPortfolio.ReadingsApart(lesser, greater)
        );
        _join(self, lesser);
    }

    /// @dev See `IPortfolio.forget`. Without it what the position once counted would stay in sums that it no longer
    /// belongs to, and be taken from others if it were listed again under other risk ids. An account that owes keeps
    /// all its keys, because one that nobody counts would bear debts of the others unseen.
    function forget(
        PortfolioState storage self,
        address connector,
        bytes32 key,
        bytes32[] calldata riskIds,
        bool dead
    ) external {
        if (dead) _checkWorthless(self, connector, key);
        bytes32[] memory listed = _listedKeys(connector);
        if (listed.length > 1 && !_self().registry().isIsolated(_self().vault(), connector)) {
            // What can never be read again keeps its marks, too, and must not keep its place for ever by them.
            _checkOwesNothing(self, connector, listed, !dead);
        }
        Pocketed storage pocket = self.pocket;
        if (dead && self.ledger.pocketed && pocket.connector == connector && pocket.key == key) {
            _join(self, 0);
        }
        (Mark memory mark, uint256 debt) = self.markOf(connector, key);
        self.ledger.totalLow = uint256(self.ledger.totalLow - mark.low).toUint120();
        self.countExposure(riskIds, mark.high + debt, 0);
        delete self.marks[connector][key];
        delete self.debts[connector][key];
    }

    /// @dev What a batch took out of the pocket is not idle. Its connector is called once and alone, as that of
    /// every impaired position, and by `withdraw`, whose first argument is the key. It is gone from the first
    /// reading, too: else the keeper could keep both readings apart for ever.
    /// @return assets which NAV must not count
    function setAside(PortfolioState storage self, address target, bytes calldata data, uint256 idleBefore)
        external
        returns (uint256 assets)
    {
        Pocketed storage pocket = self.pocket;
        if (target != pocket.connector || data.length < 36 || bytes32(data[4:36]) != pocket.key) return 0;
        uint256 idle = self.ledger.idle;
        assets = ReadingLib.excess(idle, idleBefore);
        self.ledger.idle = (idle - assets).toUint128();
        pocket.cash += assets.toUint128();
        FirstReading storage first = self.announcement.first[target][pocket.key];
        first.low -= uint112(Math.min(first.low, assets));
        emit IPortfolio.PocketFilled(assets);
    }

    /// @dev In doubt and worth nothing at the low end, in two readings: no flash loan spans both.
    function _checkWorthless(PortfolioState storage self, address connector, bytes32 key) private view {
        self.time();
        (address[] memory connectors, bytes32[] memory keys) = ReadingLib.list();
        bytes32 positions = keccak256(abi.encode(connectors, keys));
        require(positions == self.announcement.positions, IPortfolio.PositionsChanged());
        uint256 i;
        while (i < keys.length && (connectors[i] != connector || keys[i] != key)) ++i;
        require(i < keys.length, IPortfolio.PositionNotListed(connector, key));
        require(
            self.announcement.first[connector][key].worthless
                && ReadingLib.isWorthless(self.report(connector, key, false)),
            IPortfolio.PositionNotImpaired(connector, key)
        );
    }

    /// @dev The debt of an account comes off whichever of its keys can be read. A key that is split off comes back less
    /// a debt which the others have borne meanwhile, and who left would have paid it twice.
    /// @param keys the listed ones of the connector
    /// @param marked whether what was owed when it was last marked counts as well
    function _checkOwesNothing(
        PortfolioState storage self,
        address connector,
        bytes32[] memory keys,
        bool marked
    ) private view {
        for (uint256 i; i < keys.length; ++i) {
            bool owes = marked && self.marks[connector][keys[i]].indebted
                || self.report(connector, keys[i], false).debt != 0;
            require(!owes, IPortfolio.AccountOwes(connector, keys[i]));
        }
    }

    function _listedKeys(address connector) private view returns (bytes32[] memory own) {
        (address[] memory connectors, bytes32[] memory keys) = ReadingLib.list();
        own = new bytes32[](keys.length);
        uint256 count;
        for (uint256 i; i < keys.length; ++i) {
            if (connectors[i] == connector) own[count++] = keys[i];
        }
        assembly ("memory-safe") {
            mstore(own, count)
        }
    }

    /// @param low what is left in the position
    function _join(PortfolioState storage self, uint256 low) private {
        Pocketed memory pocket = self.pocket;
        uint256 total = low + pocket.cash;
        uint256 available = self.ledger.idle + pocket.cash;
        self.ledger.pocketed = false;
        delete self.pocket;
        uint256 owed = IVault(_self().vault()).closePocket(total);
        if (owed > available) available += _withdraw(self, pocket.connector, pocket.key, owed - available);
        IERC20 asset = _self().asset();
        require(owed <= available, IPortfolio.InsufficientIdle(address(asset), available, owed));
        self.ledger.idle = (available - owed).toUint128();
        if (owed != 0) asset.safeTransfer(_self().escrow(), owed);
        emit IPortfolio.PocketClosed(pocket.connector, pocket.key, total, owed);
    }

    /// @dev Those who left need not wait for a keeper; but nothing may be lost on the way either.
    function _withdraw(PortfolioState storage self, address connector, bytes32 key, uint256 assets)
        private
        returns (uint256 received)
    {
        bytes4 selector = IConnector.withdraw.selector;
        require(
            _self().registry().isAllowed(_self().vault(), connector, selector),
            IPortfolio.CallNotAllowed(connector, selector)
        );
        IERC20 asset = _self().asset();
        uint256 before = self.report(connector, key, false).low;
        uint256 balance = asset.balanceOf(address(this));
        IConnector(connector).withdraw(key, assets);
        received = asset.balanceOf(address(this)) - balance;
        uint256 left = self.report(connector, key, false).low + received;
        require(
            left + ReadingLib.ROUNDING >= before,
            IPortfolio.LossAboveLimit(before - left, ReadingLib.ROUNDING)
        );
    }

    function _self() private view returns (IPortfolio) {
        return IPortfolio(address(this));
    }
}
