// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

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
struct PositionReport {
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

/// @dev What a portfolio counts, but for nonces and losses.
struct PortfolioState {
    Ledger ledger;
    Pocketed pocket;
    Announcement announcement;
    mapping(address connector => mapping(bytes32 key => Mark)) marks;
    mapping(address connector => mapping(bytes32 key => uint256)) debts;
    /// what counts under a risk id: what positions own, debts not taken off
    mapping(bytes32 riskId => uint256) exposures;
}
