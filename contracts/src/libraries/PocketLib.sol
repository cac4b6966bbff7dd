// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IEscrow} from "../interfaces/IEscrow.sol";
import {IVault} from "../interfaces/IVault.sol";
import {Queue, QueueLib, QueuePoint} from "./QueueLib.sol";
import {Pocket, RedeemState, VaultState} from "./VaultState.sol";

/// @title Residual claims on a position that was split off
/// @notice Linked into the vault. While a pocket is open NAV leaves its position out, so redemptions are paid
/// without it; instead whoever leaves takes along the part of it that the burned shares had. Everything rounds
/// down: the units of all never exceed what is owed, nor their payments its part of the total.
library PocketLib {
    using Math for uint256;
    using SafeCast for uint256;
    using QueueLib for Queue;

    /// @dev All of a pocket.
    uint256 internal constant WHOLE = 1e27;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    // SETTLEMENT

    /// @dev Gives the queue what `burned` of `supply` shares have in the pocket that is open, if one is. Comes
    /// before the queue is filled: the product is that of the time.
    function issue(VaultState storage s, uint256 burned, uint256 supply) internal {
        Pocket storage p = s.pocket[s.pockets];
        if (p.until != 0) return;
        uint256 units = (WHOLE - p.owed).mulDiv(burned, supply + VIRTUAL_SHARES);
        // forge-lint: disable-next-line(unsafe-typecast) all of it is 1e27
        p.owed += uint96(units);
        Queue storage queue = s.queue;
        p.sums[queue.generation][queue.scale] += units.mulDiv(queue.product, queue.shares);
        emit IVault.ResidualIssued(s.pockets, units);
    }

    /// @dev As `QueueLib.record`. What is not recorded is 0: a new generation, or nothing issued before.
    function record(VaultState storage s, uint64 epoch) internal {
        Pocket storage p = s.pocket[s.pockets];
        if (p.until != 0 || s.queue.shares == 0) return;
        uint256 sum = p.sums[s.queue.generation][s.queue.scale];
        if (sum != 0) p.points[epoch] = sum;
    }

    // OPENING AND CLOSING

    /// @dev See `IVault.openPocket`.
    function open(VaultState storage s) external returns (uint256 id) {
        id = ++s.pockets;
    }

    /// @dev See `IVault.closePocket`.
    function close(VaultState storage s, uint256 total) external returns (uint256 owed) {
        Pocket storage p = s.pocket[s.pockets];
        p.total = total.toUint128();
        p.until = uint32(s.settledEpoch + 1);
        owed = total.mulDiv(p.owed, WHOLE);
        // forge-lint: disable-next-line(unsafe-typecast) a part of the total
        s.claimableAssets += uint128(owed);
    }

    // CLAIMS

    /// @dev Books what `r`, as stored, was issued since its last touch; the caller moves `r` on.
    function book(VaultState storage s, RedeemState storage r, address controller) external {
        for (uint256 id = s.pockets; id != 0; --id) {
            Pocket storage p = s.pocket[id];
            if (p.until != 0 && r.queuedAt >= p.until) return;
            uint256 units = _issuedTo(s, p, r);
            if (units != 0) p.units[controller] += units;
        }
    }

    /// @dev See `IVault.claimResidual`; everything has been booked.
    function claim(VaultState storage s, IEscrow escrow, uint256 id, address receiver, address controller)
        external
        returns (uint256 assets)
    {
        require(receiver != address(0), IVault.ZeroAddress());
        Pocket storage p = s.pocket[id];
        uint256 units = p.units[controller];
        assets = units.mulDiv(p.total, WHOLE);
        require(assets != 0, IVault.ZeroAmount());
        delete p.units[controller];
        s.claimableAssets -= assets.toUint128();
        escrow.pay(receiver, assets);
        emit IVault.ResidualClaimed(id, controller, receiver, units, assets);
    }

    /// @dev See `IVault.residualOf`.
    function residualOf(VaultState storage s, RedeemState storage r, uint256 id, address controller)
        external
        view
        returns (uint256 units, uint256 assets)
    {
        Pocket storage p = s.pocket[id];
        units = p.units[controller] + _issuedTo(s, p, r);
        assets = units.mulDiv(p.total, WHOLE);
    }

    function _issuedTo(VaultState storage s, Pocket storage p, RedeemState storage r)
        private
        view
        returns (uint256)
    {
        return _issued(s, p, r.queued, r.queuedAt) + _issued(s, p, r.open, r.openEpoch);
    }

    /// @dev What `shares` that joined at the point of `epoch` were issued since; see `QueueLib.claim`.
    function _issued(VaultState storage s, Pocket storage p, uint256 shares, uint64 epoch)
        private
        view
        returns (uint256)
    {
        // Nothing was filled since the latest point; requests of an open epoch have none yet.
        if (shares == 0 || epoch > s.settledEpoch || (p.until != 0 && epoch >= p.until)) return 0;
        QueuePoint memory from = s.queue.pointOf(epoch);
        mapping(uint64 => uint256) storage sums = p.sums[from.generation];
        uint256 perShare = sums[from.scale] - p.points[epoch] + sums[from.scale + 1] / QueueLib.RESCALE
            + sums[from.scale + 2] / (QueueLib.RESCALE * QueueLib.RESCALE);
        return shares.mulDiv(perShare, from.product);
    }
}
