// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Value} from "./interfaces/Types.sol";
import {Mark, Pocketed, PortfolioState, PositionReport} from "./libraries/PortfolioState.sol";
import {ReadingLib} from "./libraries/ReadingLib.sol";
import {SplitLib} from "./libraries/SplitLib.sol";

/// @title What the positions of one vault are worth
/// @dev In three ways: live, as last checkpointed, and in two readings some time apart, for settlements that
/// nobody signs.
abstract contract Valuation is IPortfolio {
    using ReadingLib for PortfolioState;
    using SplitLib for PortfolioState;

    /// @dev Gas every position may use to report: 16 positions stay under 5 M.
    uint256 public constant REPORT_GAS = ReadingLib.REPORT_GAS;

    /// @dev Two readings lie at least so far apart that no flash loan spans them, and at most a day.
    uint256 public constant MIN_READING_GAP = ReadingLib.MIN_READING_GAP;
    uint256 public constant MAX_READING_GAP = ReadingLib.MAX_READING_GAP;

    address public immutable override vault;
    IRegistry public immutable override registry;
    IERC20 public immutable override asset;
    address public immutable override escrow;

    PortfolioState internal state;

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
        state.announce();
    }

    /// @inheritdoc IPortfolio
    function twoReadings() external view override whenUnlocked returns (Value memory, bool, uint256) {
        return state.twoReadings();
    }

    // SIDE POCKET

    /// @inheritdoc IPortfolio
    function splitOff(address connector, bytes32 key) external override locks {
        state.splitOff(connector, key);
    }

    /// @inheritdoc IPortfolio
    function closePocket() external override locks {
        state.closePocket();
    }

    /// @inheritdoc IPortfolio
    function forget(address connector, bytes32 key, bytes32[] calldata riskIds, bool dead)
        external
        override
        locks
    {
        require(msg.sender == address(registry), NotRegistry(msg.sender));
        state.forget(connector, key, riskIds, dead);
    }

    // VIEWS

    /// @inheritdoc IPortfolio
    function idle() external view override returns (uint256) {
        return state.ledger.idle;
    }

    /// @inheritdoc IPortfolio
    function totalLow() external view override returns (uint256) {
        return state.ledger.totalLow;
    }

    /// @inheritdoc IPortfolio
    function nav() external view override whenUnlocked returns (Value memory, bool) {
        return state.nav();
    }

    /// @inheritdoc IPortfolio
    function positionValue(address connector, bytes32 key)
        external
        view
        override
        whenUnlocked
        returns (Value memory, bool)
    {
        PositionReport memory seen = state.report(connector, key, state.ledger.pocketed);
        return (Value(seen.low, seen.high), seen.healthy);
    }

    /// @inheritdoc IPortfolio
    function positionDebt(address connector, bytes32 key)
        external
        view
        override
        whenUnlocked
        returns (uint256, uint256)
    {
        PositionReport memory seen = state.report(connector, key, state.ledger.pocketed);
        return (seen.debt, seen.health);
    }

    /// @inheritdoc IPortfolio
    function marks(address connector, bytes32 key) external view override returns (uint128, uint128) {
        Mark memory mark = state.marks[connector][key];
        return (mark.low, mark.high);
    }

    /// @inheritdoc IPortfolio
    function markedDebt(address connector, bytes32 key) external view override returns (uint256) {
        return state.debts[connector][key];
    }

    /// @inheritdoc IPortfolio
    function exposures(bytes32 riskId) external view override returns (uint256) {
        return state.exposures[riskId];
    }

    /// @inheritdoc IPortfolio
    function pocket() external view override returns (address, uint64, bytes32, uint128) {
        Pocketed memory p = state.pocket;
        return (p.connector, p.since, p.key, p.cash);
    }
}
