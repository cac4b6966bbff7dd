// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Params} from "../interfaces/IVault.sol";
import {Queue} from "./QueueLib.sol";

/// @dev Everything a vault counts, but for each controller's own requests. Prices per share (PPS) are assets per
/// share scaled by 1e27; what is read together lies together.
struct VaultState {
    uint64 currentEpoch;
    uint64 settledEpoch;
    uint128 openDeposits;
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
}
