// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IConnector} from "./interfaces/IConnector.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Batch, Call, Status, Value} from "./interfaces/Types.sol";
import {Bucket, BucketLib} from "./libraries/BucketLib.sol";

/// @title Idle ledger and connectors of one vault
/// @dev Executes what the keeper role signed and judges the outcome by measured state alone: what a call
/// claims to do counts for nothing, what it leaves behind decides.
contract Portfolio is IPortfolio {
    using SafeERC20 for IERC20;
    using Address for address;
    using BucketLib for Bucket;
    using Math for uint256;

    /// @dev Gas every position may use to report: 20 positions stay under 5 M.
    uint256 public constant REPORT_GAS = 250_000;

    /// @dev Losses a day of batches that raise exposure, and of all others, as WAD fractions of low PPS.
    uint256 public constant RAISING_BUDGET = 0.01e18;
    uint256 public constant REDUCING_BUDGET = 0.02e18;

    /// @dev Units by which a position may grow without having been added to: leaving one position can round a
    /// neighbour in the same market up, and that must never stop an exit.
    uint256 public constant ROUNDING = 10;

    uint256 private constant PPS_ONE = 1e27;
    uint256 private constant VIRTUAL_SHARES = 1e6;

    address public immutable override vault;
    IRegistry public immutable registry;
    IERC20 public immutable asset;
    address public immutable escrow;

    uint256 public override idle;
    mapping(uint256 nonceKey => uint256) public override nextNonce;
    mapping(address connector => mapping(bytes32 key => uint256 high)) public lastGood;
    Bucket private raisingLosses;
    Bucket private reducingLosses;
    /// @dev Low PPS after the last batch, and the epoch it belongs to: a settlement since then has its own.
    uint192 private lastPps;
    uint64 private lastPpsEpoch;

    /// @dev The listed positions and their values at one moment, in the order of the registry.
    struct Reading {
        address[] connectors;
        bytes32[] keys;
        Value total;
        Value[] values;
        bool[] healthy;
        bool allHealthy;
    }

    modifier onlyVault() {
        require(msg.sender == vault, NotVault(msg.sender));
        _;
    }

    modifier locks() {
        IVault(vault).lock();
        _;
        IVault(vault).unlock();
    }

    constructor(address vault_, IRegistry registry_, IERC20 asset_, address escrow_) {
        vault = vault_;
        registry = registry_;
        asset = asset_;
        escrow = escrow_;
    }

    // BATCHES

    /// @inheritdoc IPortfolio
    function execute(Batch calldata batch) external override locks {
        _checkBatch(batch);
        Reading memory before = _read();
        for (uint256 i; i < batch.calls.length; ++i) {
            _call(i, batch.calls[i]);
        }
        Reading memory afterwards = _read();
        _checkValue(batch, before.total.low, afterwards.total.low);
        _chargeLosses(before.total.low, afterwards.total.low, _checkExposures(before, afterwards));
        emit BatchExecuted(
            batch.planHash, batch.nonceKey, batch.nonce, before.total.low, afterwards.total.low, idle
        );
    }

    /// @inheritdoc IPortfolio
    function cancelNonce(uint256 nonceKey) external override {
        require(
            msg.sender == registry.keeper(vault) || msg.sender == registry.guardian(vault),
            NotAuthorised(msg.sender)
        );
        emit NonceCancelled(nonceKey, nextNonce[nonceKey]++);
    }

    // FLOWS WITH THE VAULT

    /// @inheritdoc IPortfolio
    function release(uint256 assets) external override onlyVault {
        require(assets <= idle, InsufficientIdle(address(asset), idle, assets));
        idle -= assets;
        asset.safeTransfer(escrow, assets);
        emit IdleReleased(assets);
    }

    /// @inheritdoc IPortfolio
    function receiveIdle(uint256 assets) external override onlyVault {
        idle += assets;
        emit IdleReceived(assets);
    }

    /// @inheritdoc IPortfolio
    function checkpoint() external override onlyVault returns (Value memory, bool) {
        Reading memory reading = _read();
        raisingLosses.set(_raisingLevel(_pps(reading.total.low)));
        for (uint256 i; i < reading.keys.length; ++i) {
            (address connector, bytes32 key, uint256 high) =
                (reading.connectors[i], reading.keys[i], reading.values[i].high);
            if (reading.healthy[i]) {
                lastGood[connector][key] = high;
            } else {
                emit PositionImpaired(connector, key, high);
            }
        }
        return (reading.total, reading.allHealthy);
    }

    /// @notice Sends what lies here above the ledger (donations, stray tokens) to `to`. Governance only.
    function skim(IERC20 token, address to) external {
        registry.authorise(vault, msg.sender, msg.data);
        require(!IVault(vault).locked(), Locked());
        uint256 amount = token.balanceOf(address(this));
        if (token == asset) amount -= idle;
        require(amount != 0, NothingToSkim(address(token)));
        token.safeTransfer(to, amount);
        emit Skimmed(address(token), to, amount);
    }

    // VIEWS

    /// @inheritdoc IPortfolio
    function nav() external view override returns (Value memory, bool) {
        require(!IVault(vault).locked(), Locked());
        Reading memory reading = _read();
        return (reading.total, reading.allHealthy);
    }

    /// @inheritdoc IPortfolio
    function positionValue(address connector, bytes32 key)
        external
        view
        override
        returns (Value memory, bool)
    {
        require(!IVault(vault).locked(), Locked());
        return _report(connector, key);
    }

    /// @notice What batches may still lose now, as WAD fractions of low PPS.
    function lossBudgets() external view returns (uint256 raising, uint256 reducing) {
        raising = RAISING_BUDGET - raisingLosses.current(RAISING_BUDGET);
        reducing = REDUCING_BUDGET - reducingLosses.current(REDUCING_BUDGET);
    }

    // INTERNAL

    function _checkBatch(Batch calldata batch) private {
        require(msg.sender == registry.keeper(vault), NotKeeper(msg.sender));
        require(batch.vault == vault, WrongVault(vault, batch.vault));
        require(block.timestamp >= batch.validAfter, TooEarly(batch.validAfter));
        require(block.timestamp <= batch.validUntil, Expired(batch.validUntil));
        uint256 expected = nextNonce[batch.nonceKey]++;
        require(batch.nonce == expected, NonceUsed(batch.nonceKey, expected, batch.nonce));
    }

    function _call(uint256 index, Call calldata action) private {
        require(action.data.length >= 4, CallWithoutSelector(index));
        bytes4 selector = bytes4(action.data[:4]);
        require(registry.isAllowed(vault, action.target, selector), CallNotAllowed(action.target, selector));
        if (action.amount != 0) {
            uint256 available = action.token == address(asset) ? idle : 0;
            require(action.amount <= available, InsufficientIdle(action.token, available, action.amount));
            idle = available - action.amount;
            asset.safeTransfer(action.target, action.amount);
        }
        uint256 balance = asset.balanceOf(address(this));
        action.target.functionCall(action.data);
        // Measured, not declared; a call that takes from here without a push underflows and reverts.
        idle += asset.balanceOf(address(this)) - balance;
    }

    function _checkValue(Batch calldata batch, uint256 lowBefore, uint256 lowAfter) private pure {
        require(lowAfter >= batch.minNavAfter, NavBelowFloor(lowAfter, batch.minNavAfter));
        if (lowAfter < lowBefore) {
            uint256 loss = lowBefore - lowAfter;
            require(loss <= batch.maxLoss, LossAboveLimit(loss, batch.maxLoss));
        }
    }

    /// @dev Exposure under a risk id may rise only within its cap, not at all while risk is paused, and not
    /// through a connector that is in exit-only mode. Whatever shrinks always passes.
    /// @return raised whether any position grew
    function _checkExposures(Reading memory before, Reading memory afterwards)
        private
        view
        returns (bool raised)
    {
        for (uint256 i; i < before.keys.length; ++i) {
            if (afterwards.values[i].high <= before.values[i].high + ROUNDING) continue;
            raised = true;
            uint256 pausedUntil = registry.riskPausedUntil(vault);
            require(block.timestamp >= pausedUntil, RiskIsPaused(pausedUntil));
            address connector = before.connectors[i];
            require(!registry.isExitOnly(vault, connector), ConnectorIsExitOnly(connector));
            bytes32[] memory riskIds = registry.positions(vault)[i].riskIds;
            for (uint256 j; j < riskIds.length; ++j) {
                _checkCap(riskIds[j], before, afterwards);
            }
        }
    }

    /// @dev A loss inside the batch has to fit the budget of its kind. A loss since the last checkpoint is the
    /// market's or a third party's: it uses up what new risk may lose, and never stops a reduction.
    function _chargeLosses(uint256 lowBefore, uint256 lowAfter, bool raised) private {
        uint256 ppsBefore = _pps(lowBefore);
        uint256 ppsAfter = _pps(lowAfter);
        uint256 inside = BucketLib.fall(ppsBefore, ppsAfter);
        uint256 raising = _raisingLevel(ppsBefore);
        uint256 reducing = reducingLosses.current(REDUCING_BUDGET);
        if (raised) {
            raising += inside;
            require(raising <= RAISING_BUDGET, LossBudgetExceeded(raising, RAISING_BUDGET));
        } else {
            reducing += inside;
            require(reducing <= REDUCING_BUDGET, LossBudgetExceeded(reducing, REDUCING_BUDGET));
        }
        raisingLosses.set(raising);
        if (!raised) reducingLosses.set(reducing);
        // forge-lint: disable-next-line(unsafe-typecast) a price above 2^192 would need assets of 2^165
        (lastPps, lastPpsEpoch) = (uint192(ppsAfter), IVault(vault).settledEpoch());
    }

    /// @dev The bucket of new risk with the fall since the last checkpoint in it, full at most.
    function _raisingLevel(uint256 ppsNow) private view returns (uint256) {
        (uint256 settledPps, uint64 epoch) = (IVault(vault).settledPps(), IVault(vault).settledEpoch());
        uint256 base = lastPpsEpoch == epoch && lastPps != 0 ? lastPps : settledPps;
        return Math.min(raisingLosses.current(RAISING_BUDGET) + BucketLib.fall(base, ppsNow), RAISING_BUDGET);
    }

    function _pps(uint256 low) private view returns (uint256) {
        return (low + 1).mulDiv(PPS_ONE, IERC20(vault).totalSupply() + VIRTUAL_SHARES);
    }

    function _checkCap(bytes32 riskId, Reading memory before, Reading memory afterwards) private view {
        uint256 exposureBefore;
        uint256 exposure;
        for (uint256 i; i < before.keys.length; ++i) {
            bytes32[] memory riskIds = registry.positions(vault)[i].riskIds;
            for (uint256 j; j < riskIds.length; ++j) {
                if (riskIds[j] != riskId) continue;
                exposureBefore += before.values[i].high;
                exposure += afterwards.values[i].high;
            }
        }
        uint256 cap = registry.cap(vault, riskId);
        require(exposure <= cap || exposure <= exposureBefore, CapExceeded(riskId, exposure, cap));
    }

    function _read() private view returns (Reading memory reading) {
        (reading.connectors, reading.keys) = registry.positionKeys(vault);
        uint256 length = reading.keys.length;
        reading.total = Value(idle, idle);
        reading.values = new Value[](length);
        reading.healthy = new bool[](length);
        reading.allHealthy = true;
        for (uint256 i; i < length; ++i) {
            (Value memory value, bool healthy) = _report(reading.connectors[i], reading.keys[i]);
            reading.values[i] = value;
            reading.healthy[i] = healthy;
            reading.total.low += value.low;
            reading.total.high += value.high;
            reading.allHealthy = reading.allHealthy && healthy;
        }
    }

    /// @dev A connector that reverts, returns nonsense or returns too much is impaired: worth 0 at the low end
    /// and its last good value at the high end. Too little gas fails the whole call instead, so that nobody can
    /// impair a position by starving it.
    function _report(address connector, bytes32 key) private view returns (Value memory value, bool healthy) {
        uint256 available = gasleft() * 63 / 64;
        require(available >= REPORT_GAS, NotEnoughGas(available, REPORT_GAS));
        bytes memory data = abi.encodeCall(IConnector.report, (key));
        bool success;
        uint256 size;
        uint256[3] memory words;
        assembly ("memory-safe") {
            success := staticcall(REPORT_GAS, connector, add(data, 32), mload(data), words, 96)
            size := returndatasize()
        }
        if (!success || size != 96 || words[0] > words[1] || words[1] > type(uint128).max) {
            return (Value(0, lastGood[connector][key]), false);
        }
        return (Value(words[0], words[1]), words[2] == uint256(Status.OK));
    }
}
