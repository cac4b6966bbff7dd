// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Params} from "../interfaces/IVault.sol";
import {Queue} from "./QueueLib.sol";

/// @dev `queued` shares are in the queue as of point `queuedAt`; `open` ones join when `openEpoch` closes.
struct RedeemState {
    uint128 queued;
    uint128 open;
    uint64 queuedAt;
    uint64 openEpoch;
}

/// @dev Who is owed what of a position that was split off. Units are parts of all that comes out of it, scaled by
/// 1e27: those who leave while it is open get theirs by `sums` and `points`, as they get assets by the queue's.
struct Pocket {
    /// units of all who left
    uint96 owed;
    /// the assets it turned into; 0 while it is open
    uint128 total;
    /// the first epoch whose requests were not in the queue before it was closed; 0 while it is open
    uint32 until;
    /// units per queued share, times the product of the time
    mapping(uint64 generation => mapping(uint64 scale => uint256)) sums;
    mapping(uint64 epoch => uint256 sum) points;
    mapping(address controller => uint256) units;
}

/// @dev Everything a vault counts, but for each controller's own requests. Prices per share (PPS) are assets per
/// share scaled by 1e27; what is read together lies together.
struct VaultState {
    uint64 currentEpoch;
    uint64 settledEpoch;
    uint112 openDeposits;
    /// side pockets there have been; the last one may be open
    uint16 pockets;
    uint128 closedDeposits;
    uint128 openRedeems;
    /// what filled redemptions and cancelled deposits may still claim from the escrow
    uint128 claimableAssets;
    uint128 storedNav;
    // A price needs more than 128 bits: a gift to an empty vault makes it large.
    uint192 highWaterMark;
    uint64 accruedAt;
    /// low PPS of the last settlement that could read every position, within the limit on gains; and when
    uint192 lastPpsLow;
    uint64 pricedAt;
    uint64 settledAt;
    uint64 epochOpenedAt;
    /// high PPS of the last settlement that could read every position, or of a later one that was lower
    uint192 lastPpsHigh;
    uint64 epochClosedAt;
    /// the price when the loss window opened, and when it ends; 0 without one
    uint192 windowPps;
    uint64 windowEndsAt;
    Params params;
    /// its record of an epoch is of the close, that is, of the settlement before it
    Queue queue;
    /// by epoch: the deposit PPS of the first settlement at or after it that accepted deposits
    Checkpoints.Trace208 depositPps;
    /// from 1 on
    mapping(uint256 id => Pocket) pocket;
}
