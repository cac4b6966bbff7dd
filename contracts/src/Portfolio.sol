// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IConnector} from "./interfaces/IConnector.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Batch, Call, Value} from "./interfaces/Types.sol";
import {Bucket, BucketLib} from "./libraries/BucketLib.sol";
import {Mark, SplitLib} from "./libraries/SplitLib.sol";
import {Valuation} from "./Valuation.sol";

/// @title Idle ledger and connectors of one vault
/// @dev Executes what the keeper role signed and judges the outcome by measured state alone: what a call
/// claims to do counts for nothing, what it leaves behind decides. Only positions of connectors that are called
/// are read; the others count as last marked, before and after alike.
contract Portfolio is Valuation {
    using SafeERC20 for IERC20;
    using Address for address;
    using BucketLib for Bucket;
    using SafeCast for uint256;

    uint256 private constant WAD = 1e18;

    /// @dev Losses a day of batches that reduce risk, and of all others, as WAD fractions of low NAV.
    uint256 public constant RAISING_BUDGET = 0.01e18;
    uint256 public constant REDUCING_BUDGET = 0.02e18;

    /// @dev Units by which a position may grow without having been added to: leaving one position can round a
    /// neighbour in the same market up, and that must never stop an exit.
    uint256 public constant ROUNDING = 10;

    mapping(uint256 nonceKey => uint256) public override nextNonce;
    mapping(bytes32 batchHash => address guardian) private cosigners;
    Bucket private raisingLosses;
    Bucket private reducingLosses;

    /// @dev A position of a connector that is called, before and after.
    struct Touched {
        address connector;
        bytes32 key;
        bytes32[] riskIds;
        Mark mark;
        Value before;
        Value afterwards;
        bool healthyBefore;
        bool healthyAfter;
    }

    /// @dev What calls did. `untouched` is the sum of the other positions' marks; the two lows are what a loss is
    /// measured by.
    struct Change {
        Touched[] touched;
        uint256 untouched;
        uint256 idleBefore;
        uint256 escrowBefore;
        uint256 lowBefore;
        uint256 lowAfter;
        uint256 raisingLevel;
        bool reducing;
        bool pocketed;
    }

    constructor(address vault_, IRegistry registry_, IERC20 asset_, address escrow_)
        Valuation(vault_, registry_, asset_, escrow_)
    {}

    // BATCHES

    /// @inheritdoc IPortfolio
    function execute(Batch calldata batch) external override locks {
        _checkBatch(batch);
        Change memory change = _open(_targets(batch.calls));
        for (uint256 i; i < batch.calls.length; ++i) {
            _call(i, batch.calls[i]);
        }
        _close(change);
        if (change.pocketed && batch.calls.length == 1) _setAside(change, batch.calls[0]);
        _checkImpaired(change.touched, batch.calls);
        _checkValue(batch, change);
        if (change.reducing) {
            uint256 level = _reducingLevel(change);
            if (level > REDUCING_BUDGET && _isCosigned(batch)) level = REDUCING_BUDGET;
            _chargeReduction(change, level);
        } else {
            uint256 owed = IVault(vault).overdueExits();
            require(owed == 0, ExitsOverdue(owed));
            _chargeRaise(change);
        }
        emit BatchExecuted(
            batch.planHash, batch.nonceKey, batch.nonce, change.lowBefore, change.lowAfter, ledger.idle
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

    /// @inheritdoc IPortfolio
    function cosign(bytes32 batchHash) external override {
        require(msg.sender == registry.guardian(vault), NotGuardian(msg.sender));
        cosigners[batchHash] = msg.sender;
        emit Cosigned(batchHash, msg.sender);
    }

    /// @inheritdoc IPortfolio
    /// @dev A connector is instantly liquid when governance allows its plain withdrawal.
    function forceDeallocate(address connector, bytes32 key, uint256 assets) external override locks {
        uint256 owed = IVault(vault).overdueExits();
        uint256 idleBefore = ledger.idle;
        require(owed > idleBefore, ExitsNotOverdue(owed, idleBefore));
        bytes4 selector = IConnector.withdraw.selector;
        require(registry.isAllowed(vault, connector, selector), CallNotAllowed(connector, selector));
        address[] memory targets = new address[](1);
        targets[0] = connector;
        Change memory change = _open(targets);
        uint256 held = _checkForced(change.touched, connector, key);
        assets = Math.min(Math.min(assets, held), owed - idleBefore);
        _measured(connector, abi.encodeCall(IConnector.withdraw, (key, assets)));
        _close(change);
        require(change.reducing, NotReducing());
        _chargeReduction(change, _reducingLevel(change));
        emit Deallocated(connector, key, ledger.idle - idleBefore, msg.sender);
    }

    // SIDE POCKET

    /// @inheritdoc IPortfolio
    function splitOff(address connector, bytes32 key) external override locks {
        SplitLib.splitOff(ledger, pocket, announcement, marks, connector, key);
    }

    /// @inheritdoc IPortfolio
    function closePocket() external override locks {
        SplitLib.closePocket(ledger, pocket, announcement, marks);
    }

    // FLOWS WITH THE VAULT

    /// @inheritdoc IPortfolio
    function release(uint256 assets) external override onlyVault {
        _spend(address(asset), assets);
        asset.safeTransfer(escrow, assets);
        emit IdleReleased(assets);
    }

    /// @inheritdoc IPortfolio
    function receiveIdle(uint256 assets) external override onlyVault {
        ledger.idle += assets.toUint128();
        emit IdleReceived(assets);
    }

    /// @inheritdoc IPortfolio
    function checkpoint(bool twice) external override onlyVault returns (Value memory value, bool healthy) {
        Reading memory reading = _read();
        if (twice) _combine(reading);
        (value, healthy) = _total(reading);
        uint256 lowMarked = uint256(ledger.idle) + ledger.totalLow;
        raisingLosses.set(_raisingLevel(lowMarked, _markAll(reading)));
    }

    /// @notice Sends what lies here above the ledger (donations, stray tokens) to `to`. Governance only.
    function skim(IERC20 token, address to) external whenUnlocked {
        registry.authorise(vault, msg.sender, msg.data);
        uint256 amount = token.balanceOf(address(this));
        if (token == asset) amount -= ledger.idle + pocket.cash;
        require(amount != 0, NothingToSkim(address(token)));
        token.safeTransfer(to, amount);
        emit Skimmed(address(token), to, amount);
    }

    /// @notice What batches may still lose now, as WAD fractions of low NAV.
    function lossBudgets() external view returns (uint256 raising, uint256 reducing) {
        raising = RAISING_BUDGET - raisingLosses.current(RAISING_BUDGET);
        reducing = REDUCING_BUDGET - reducingLosses.current(REDUCING_BUDGET);
    }

    // CALLS

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
            _spend(action.token, action.amount);
            asset.safeTransfer(action.target, action.amount);
        }
        _measured(action.target, action.data);
    }

    function _spend(address token, uint256 assets) private {
        uint256 available = token == address(asset) ? ledger.idle : 0;
        require(assets <= available, InsufficientIdle(token, available, assets));
        ledger.idle = (available - assets).toUint128();
    }

    /// @dev Measured, not declared; a call that takes from here without a push underflows and reverts.
    function _measured(address target, bytes memory data) private {
        uint256 balance = asset.balanceOf(address(this));
        target.functionCall(data);
        ledger.idle += (asset.balanceOf(address(this)) - balance).toUint128();
    }

    /// @dev The connectors that are called, each once.
    function _targets(Call[] calldata calls) private pure returns (address[] memory targets) {
        targets = new address[](calls.length);
        uint256 count;
        for (uint256 i; i < calls.length; ++i) {
            uint256 j;
            while (j < count && targets[j] != calls[i].target) ++j;
            if (j == count) targets[count++] = calls[i].target;
        }
        assembly ("memory-safe") {
            mstore(targets, count)
        }
    }

    /// @dev What comes out of the pocket is nothing that NAV counts.
    function _setAside(Change memory change, Call calldata action) private {
        change.lowAfter -= SplitLib.setAside(
            ledger, pocket, announcement, action.target, action.data, change.idleBefore
        );
    }

    // BEFORE AND AFTER

    function _open(address[] memory targets) private view returns (Change memory change) {
        Touched[] memory touched = _positionsOf(targets);
        change.touched = touched;
        (change.idleBefore, change.untouched, change.pocketed) =
        (ledger.idle, ledger.totalLow, ledger.pocketed);
        uint256 lowMarked = change.idleBefore + change.untouched;
        change.escrowBefore = asset.balanceOf(escrow);
        uint256 fall;
        uint256 low;
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            t.mark = marks[t.connector][t.key];
            (t.before, t.healthyBefore) =
                SplitLib.query(marks, t.connector, t.key, change.pocketed && _isPocketed(t.connector, t.key));
            change.untouched -= t.mark.low;
            low += t.before.low;
            fall += _excess(t.mark.low, t.before.low);
        }
        change.lowBefore = change.idleBefore + change.untouched + low;
        change.raisingLevel = _raisingLevel(lowMarked, fall);
    }

    function _positionsOf(address[] memory targets) private view returns (Touched[] memory touched) {
        bytes32[][] memory keys = new bytes32[][](targets.length);
        bytes32[][][] memory riskIds = new bytes32[][][](targets.length);
        uint256 length;
        for (uint256 i; i < targets.length; ++i) {
            (keys[i], riskIds[i]) = registry.positionsOf(vault, targets[i]);
            length += keys[i].length;
        }
        touched = new Touched[](length);
        for (uint256 i; i < targets.length; ++i) {
            for (uint256 j; j < keys[i].length; ++j) {
                Touched memory t = touched[--length];
                (t.connector, t.key, t.riskIds) = (targets[i], keys[i][j], riskIds[i][j]);
            }
        }
    }

    /// @dev Reads again and marks what was read. For a loss counts what can be known: a position that is impaired
    /// now is worth nothing, and one that was before has gained nothing, so that its recovery hides no loss.
    function _close(Change memory change) private {
        Touched[] memory touched = change.touched;
        uint256 sum = change.untouched;
        uint256 low = change.untouched;
        bool raised;
        bool announced = _announced();
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            (t.afterwards, t.healthyAfter) =
                SplitLib.query(marks, t.connector, t.key, change.pocketed && _isPocketed(t.connector, t.key));
            sum += t.afterwards.low;
            if (!t.healthyBefore) low += Math.min(t.before.low, t.afterwards.low);
            else if (t.healthyAfter) low += t.afterwards.low;
            raised = raised || _grew(t);
            if (announced) {
                bool healthy = t.healthyBefore && t.healthyAfter;
                _moveFirstReading(t.connector, t.key, t.before, t.afterwards, healthy);
            }
            _mark(t);
        }
        uint256 idleAfter = ledger.idle;
        ledger.totalLow = sum.toUint120();
        change.lowAfter = low + idleAfter;
        change.reducing = !raised && idleAfter > change.idleBefore;
        if (raised) _checkExposures(touched);
        // A change, not a balance: what lies there above what is owed is nobody's condition.
        uint256 escrowAfter = asset.balanceOf(escrow);
        require(escrowAfter >= change.escrowBefore, EscrowTouched(change.escrowBefore, escrowAfter));
    }

    /// @dev An impaired position keeps the exposure it had.
    function _mark(Touched memory t) private {
        uint256 high = t.healthyAfter ? t.afterwards.high : t.mark.high;
        _countExposure(t.riskIds, t.mark.high, high);
        marks[t.connector][t.key] = Mark(t.afterwards.low.toUint128(), high.toUint128());
    }

    /// @dev Of a position that is impaired before or after, growth cannot be told from recovery: nothing may be
    /// pushed to its connector instead.
    function _grew(Touched memory t) private pure returns (bool) {
        return t.healthyBefore && t.healthyAfter && t.afterwards.high > t.before.high + ROUNDING;
    }

    // POST-CONDITIONS

    function _checkValue(Batch calldata batch, Change memory change) private pure {
        require(change.lowAfter >= batch.minNavAfter, NavBelowFloor(change.lowAfter, batch.minNavAfter));
        uint256 loss = _excess(change.lowBefore, change.lowAfter);
        require(loss <= batch.maxLoss, LossAboveLimit(loss, batch.maxLoss));
    }

    /// @dev Nothing is pushed to a connector with an impaired position, and one that has one is called once and
    /// alone: what comes out of a position without a value would make up for any loss elsewhere.
    function _checkImpaired(Touched[] memory touched, Call[] calldata calls) private pure {
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (t.healthyBefore && t.healthyAfter) continue;
            require(t.healthyBefore || calls.length == 1, ImpairedNotAlone(t.connector, t.key));
            // Without a value a loss could not be seen: only the plain way out, which the connector itself checks.
            require(
                t.healthyBefore || t.before.low != 0
                    || bytes4(calls[0].data[:4]) == IConnector.withdraw.selector,
                PositionIsImpaired(t.connector, t.key)
            );
            for (uint256 j; j < calls.length; ++j) {
                require(
                    calls[j].target != t.connector || calls[j].amount == 0,
                    PositionIsImpaired(t.connector, t.key)
                );
            }
        }
    }

    /// @dev What anyone may take out is a listed position whose value is known.
    /// @return held what it is worth
    function _checkForced(Touched[] memory touched, address connector, bytes32 key)
        private
        pure
        returns (uint256 held)
    {
        uint256 i;
        while (i < touched.length && touched[i].key != key) ++i;
        require(i < touched.length, PositionNotListed(connector, key));
        require(touched[i].healthyBefore, PositionIsImpaired(connector, key));
        return touched[i].before.low;
    }

    /// @dev Exposure under a risk id may rise only within its cap, not at all while risk is paused, and not
    /// through a connector that is in exit-only mode. Whatever shrinks always passes.
    function _checkExposures(Touched[] memory touched) private view {
        uint256 pausedUntil = registry.riskPausedUntil(vault);
        require(block.timestamp >= pausedUntil, RiskIsPaused(pausedUntil));
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (!_grew(t)) continue;
            require(!registry.isExitOnly(vault, t.connector), ConnectorIsExitOnly(t.connector));
            for (uint256 j; j < t.riskIds.length; ++j) {
                _checkCap(t.riskIds[j], touched);
            }
        }
    }

    function _checkCap(bytes32 riskId, Touched[] memory touched) private view {
        uint256 exposure = exposures[riskId];
        uint256 cap = registry.cap(vault, riskId);
        if (exposure <= cap) return;
        uint256 grown;
        uint256 shrunk;
        for (uint256 i; i < touched.length; ++i) {
            Touched memory t = touched[i];
            if (!t.healthyBefore || !t.healthyAfter) continue;
            for (uint256 j; j < t.riskIds.length; ++j) {
                if (t.riskIds[j] != riskId) continue;
                grown += _excess(t.afterwards.high, t.before.high);
                shrunk += _excess(t.before.high, t.afterwards.high);
            }
        }
        require(grown <= shrunk, CapExceeded(riskId, exposure, cap));
    }

    // LOSSES

    /// @dev A loss since the last checkpoint is the market's or a third party's: it uses up what new risk may
    /// lose, and never stops a reduction.
    function _chargeRaise(Change memory change) private {
        uint256 level = change.raisingLevel + _lossInside(change);
        require(level <= RAISING_BUDGET, LossBudgetExceeded(level, RAISING_BUDGET));
        raisingLosses.set(level);
    }

    function _chargeReduction(Change memory change, uint256 level) private {
        require(level <= REDUCING_BUDGET, LossBudgetExceeded(level, REDUCING_BUDGET));
        raisingLosses.set(change.raisingLevel);
        reducingLosses.set(level);
    }

    function _reducingLevel(Change memory change) private view returns (uint256) {
        return reducingLosses.current(REDUCING_BUDGET) + _lossInside(change);
    }

    /// @dev By the guardian of now: another's word ended with the role.
    function _isCosigned(Batch calldata batch) private view returns (bool) {
        address cosigner = cosigners[keccak256(abi.encode(batch))];
        return cosigner != address(0) && cosigner == registry.guardian(vault);
    }

    /// @dev Of the lesser of NAV now and NAV as priced: a position whose report was made to soar, be it for the
    /// moment of a batch or of a settlement, must not make room for losses in others.
    function _lossInside(Change memory change) private view returns (uint256) {
        uint256 loss = _excess(change.lowBefore, change.lowAfter);
        if (loss == 0) return 0;
        uint256 base = Math.min(change.lowBefore, IVault(vault).pricedNav());
        return Math.mulDiv(loss, WAD, base + 1, Math.Rounding.Ceil);
    }

    /// @dev The bucket of new risk with the fall since the last checkpoint in it, full at most.
    function _raisingLevel(uint256 lowMarked, uint256 fall) private view returns (uint256) {
        uint256 level = raisingLosses.current(RAISING_BUDGET);
        return Math.min(level + BucketLib.fall(lowMarked + 1, lowMarked + 1 - fall), RAISING_BUDGET);
    }
}
