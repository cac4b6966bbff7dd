// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Verdict of a price or of a position's value. `OK` is the only one that allows minting shares or new
/// risk; none of the others ever stops a repayment, an unwind or an exit.
enum Status {
    OK,
    STALE,
    DIVERGED,
    CONSTANT,
    SEQUENCER_DOWN,
    MARKET_CLOSED,
    UNAVAILABLE
}

/// @dev A value is a pair. Redemptions burn at `low`, deposits mint at `high`. Units: the vault's asset.
struct Value {
    uint256 low;
    uint256 high;
}

/// @dev One action of a batch: push exactly `amount` of `token` to `target` (0 for none), then call it with
/// `data`. The vault's asset comes from the idle ledger. Any other token comes from what earlier calls of the
/// batch brought to the portfolio, of which `type(uint256).max` is everything; none of a token that a call names,
/// even with the amount 0, may be left there at the end.
struct Call {
    address target;
    address token;
    uint256 amount;
    bytes data;
}

/// @dev A rebalance as the quorum signs it. `executor` 0 lets anyone submit. Times are UNIX seconds, amounts
/// are in the vault's asset.
struct Batch {
    address vault;
    uint256 nonceKey;
    uint256 nonce;
    uint256 signerSetVersion;
    address executor;
    uint256 validAfter;
    uint256 validUntil;
    bytes32 planHash;
    Call[] calls;
    uint256 minNavAfter;
    uint256 maxLoss;
}

/// @dev Permission to settle one closed epoch at a price per share inside [minPps, maxPps] (assets per share
/// scaled by 1e27). It carries no fill amount: fills follow from the queue and the assets at hand.
struct Settlement {
    address vault;
    uint256 epoch;
    uint256 minPps;
    uint256 maxPps;
    uint256 validAfter;
    uint256 validUntil;
    bytes32 planHash;
}

/// @dev What the quorum says a spoke chain held at one moment. `chainId` is the spoke's. `sequence` grows with every
/// report of it, so that an older one never replaces a newer. `unit` is the vault's asset on its own chain, and
/// `low` and `high` are in that asset's smallest unit, whatever stands for it on the spoke. `takenAt` is the
/// moment that was read and `validUntil` the last one at which it may be used, in UNIX seconds; `snapshotHash`
/// names the blocks and the state that were read.
struct Report {
    address vault;
    uint256 chainId;
    uint256 sequence;
    uint256 signerSetVersion;
    address unit;
    uint256 low;
    uint256 high;
    uint256 takenAt;
    uint256 validUntil;
    bytes32 snapshotHash;
}

/// @dev A signer's name beside its signature, so that EOA and EIP-1271 signers are checked the same way.
struct Signature {
    address signer;
    bytes data;
}

/// @dev One allow-listed position: a connector and the connector's own key for it (an asset, a market id, a
/// vault address). `riskIds` are the caps it counts against.
struct Position {
    address connector;
    bytes32 key;
    bytes32[] riskIds;
}

/// @dev A function of a contract.
struct Permission {
    address target;
    bytes4 selector;
}

/// @dev Largest exposure under a risk id, in the vault's asset.
struct Cap {
    bytes32 riskId;
    uint256 assets;
}

/// @dev A vault's section of the registry, whole. Lists are in no particular order, and a risk id without a cap
/// allows no exposure. `delay` 0: not sealed. `riskPausedUntil` 2^128 - 1: terminated.
struct Policy {
    address portfolio;
    address governor;
    address pendingGovernor;
    address guardian;
    address keeper;
    address oracle;
    uint256 delay;
    uint256 riskPausedUntil;
    Position[] positions;
    /// what batches may call
    Permission[] allowed;
    Cap[] caps;
    /// connectors whose positions may only shrink
    address[] exitOnly;
    /// what the governor has given up for ever
    Permission[] abdicated;
}
