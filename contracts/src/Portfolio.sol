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
import {Brought, BroughtLib} from "./libraries/BroughtLib.sol";
import {Bucket, BucketLib} from "./libraries/BucketLib.sol";
import {PortfolioState} from "./libraries/PortfolioState.sol";
import {ReadingLib} from "./libraries/ReadingLib.sol";
import {SplitLib} from "./libraries/SplitLib.sol";
import {PostConditions} from "./PostConditions.sol";

/// @title Idle ledger and connectors of one vault
/// @dev Executes what the keeper role signed and judges the outcome by measured state alone: what a call
/// claims to do counts for nothing, what it leaves behind decides. Only positions that calls may touch are
/// read; the others count as last marked, before and after alike.
contract Portfolio is PostConditions {
    using SafeERC20 for IERC20;
    using Address for address;
    using BroughtLib for Brought[];
    using BucketLib for Bucket;
    using ReadingLib for PortfolioState;
    using SplitLib for PortfolioState;
    using SafeCast for uint256;

    /// @dev Losses a day of batches that reduce risk, and of all others, as WAD fractions of low NAV.
    uint256 public constant RAISING_BUDGET = 0.01e18;
    uint256 public constant REDUCING_BUDGET = 0.02e18;

    mapping(uint256 nonceKey => uint256) public override nextNonce;
    mapping(bytes32 batchHash => address guardian) private cosigners;
    Bucket private raisingLosses;
    Bucket private reducingLosses;

    constructor(address vault_, IRegistry registry_, IERC20 asset_, address escrow_)
        PostConditions(vault_, registry_, asset_, escrow_)
    {}

    // BATCHES

    /// @inheritdoc IPortfolio
    function execute(Batch calldata batch) external override locks {
        _checkBatch(batch);
        (address[] memory targets, bytes32[] memory named) = _named(batch.calls);
        Change memory change = _open(targets, named);
        _recordPushes(change, batch.calls);
        Brought[] memory brought = BroughtLib.open(batch.calls, address(asset));
        for (uint256 i; i < batch.calls.length; ++i) {
            _call(i, batch.calls[i], brought);
        }
        brought.close();
        _close(change);
        _checkImpaired(change, batch.calls);
        if (change.pocketed && batch.calls.length == 1) _setAside(change, batch.calls[0]);
        _checkValue(batch, change);
        if (change.reducing) {
            uint256 level = _reducingLevel(change);
            if (level > REDUCING_BUDGET && _isCosigned()) level = REDUCING_BUDGET;
            _chargeReduction(change, level);
        } else {
            uint256 owed = IVault(vault).overdueExits();
            require(owed == 0, ExitsOverdue(owed));
            _chargeRaise(change);
        }
        emit BatchExecuted(
            batch.planHash, batch.nonceKey, batch.nonce, change.lowBefore, change.lowAfter, state.ledger.idle
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
        uint256 idleBefore = state.ledger.idle;
        require(owed > idleBefore, ExitsNotOverdue(owed, idleBefore));
        bytes4 selector = IConnector.withdraw.selector;
        require(registry.isAllowed(vault, connector, selector), CallNotAllowed(connector, selector));
        (address[] memory targets, bytes32[] memory named) = (new address[](1), new bytes32[](1));
        (targets[0], named[0]) = (connector, key);
        Change memory change = _open(targets, named);
        uint256 held = _checkForced(change.touched, connector, key);
        assets = Math.min(Math.min(assets, held), owed - idleBefore);
        _measured(connector, abi.encodeCall(IConnector.withdraw, (key, assets)));
        _close(change);
        // A withdrawal that repays something, or frees another token, frees nothing for those who leave.
        require(change.reducing && state.ledger.idle > idleBefore, NotReducing());
        _chargeReduction(change, _reducingLevel(change));
        emit Deallocated(connector, key, state.ledger.idle - idleBefore, msg.sender);
    }

    // FLOWS WITH THE VAULT

    /// @inheritdoc IPortfolio
    function release(uint256 assets) external override onlyVault {
        _spend(assets);
        asset.safeTransfer(escrow, assets);
        emit IdleReleased(assets);
    }

    /// @inheritdoc IPortfolio
    function receiveIdle(uint256 assets) external override onlyVault {
        state.ledger.idle += assets.toUint128();
        emit IdleReceived(assets);
    }

    /// @inheritdoc IPortfolio
    function checkpoint(bool twice) external override onlyVault returns (Value memory value, bool healthy) {
        uint256 lowMarked = uint256(state.ledger.idle) + state.ledger.totalLow;
        uint256 fall;
        (value, healthy, fall) = state.checkpoint(twice);
        raisingLosses.set(_raisingLevel(lowMarked, fall));
    }

    /// @notice Sends what lies here above the ledger (donations, stray tokens) to `to`. Governance only.
    function skim(IERC20 token, address to) external whenUnlocked {
        registry.authorise(vault, msg.sender, msg.data);
        uint256 amount = token.balanceOf(address(this));
        if (token == asset) amount -= state.ledger.idle + state.pocket.cash;
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

    function _call(uint256 index, Call calldata action, Brought[] memory brought) private {
        require(action.data.length >= 4, CallWithoutSelector(index));
        bytes4 selector = bytes4(action.data[:4]);
        require(registry.isAllowed(vault, action.target, selector), CallNotAllowed(action.target, selector));
        uint256 amount = action.amount;
        if (amount != 0) {
            if (action.token == address(asset)) _spend(amount);
            else amount = brought.take(action.token, amount);
        }
        if (amount != 0) IERC20(action.token).safeTransfer(action.target, amount);
        _measured(action.target, action.data);
    }

    function _spend(uint256 assets) private {
        uint256 available = state.ledger.idle;
        require(assets <= available, InsufficientIdle(address(asset), available, assets));
        state.ledger.idle = (available - assets).toUint128();
    }

    /// @dev Measured, not declared; a call that takes from here without a push underflows and reverts.
    function _measured(address target, bytes memory data) private {
        uint256 balance = asset.balanceOf(address(this));
        target.functionCall(data);
        state.ledger.idle += (asset.balanceOf(address(this)) - balance).toUint128();
    }

    /// @dev What is called, and the first argument of each call: at a connector, the key of a position.
    function _named(Call[] calldata calls)
        private
        pure
        returns (address[] memory targets, bytes32[] memory named)
    {
        (targets, named) = (new address[](calls.length), new bytes32[](calls.length));
        for (uint256 i; i < calls.length; ++i) {
            targets[i] = calls[i].target;
            if (calls[i].data.length >= 36) named[i] = bytes32(calls[i].data[4:36]);
        }
    }

    /// @dev What comes out of the pocket is nothing that NAV counts.
    function _setAside(Change memory change, Call calldata action) private {
        change.lowAfter -= state.setAside(action.target, action.data, change.idleBefore);
    }

    // LOSSES

    /// @dev A loss since the last checkpoint is the market's or a third party's: it uses up what new risk may
    /// lose, and never stops a reduction.
    function _chargeRaise(Change memory change) private {
        uint256 level = _raisingLevel(change.lowMarked, change.fall) + _lossInside(change);
        require(level <= RAISING_BUDGET, LossBudgetExceeded(level, RAISING_BUDGET));
        raisingLosses.set(level);
    }

    function _chargeReduction(Change memory change, uint256 level) private {
        require(level <= REDUCING_BUDGET, LossBudgetExceeded(level, REDUCING_BUDGET));
        raisingLosses.set(_raisingLevel(change.lowMarked, change.fall));
        reducingLosses.set(level);
    }

    function _reducingLevel(Change memory change) private view returns (uint256) {
        return reducingLosses.current(REDUCING_BUDGET) + _lossInside(change);
    }

    /// @dev By the guardian of now: another's word ended with the role. What `execute` was called with is the
    /// encoding of the batch; an unusual one of the same batch is merely not the one that was cosigned.
    function _isCosigned() internal view override returns (bool) {
        address cosigner = cosigners[keccak256(msg.data[4:])];
        return cosigner != address(0) && cosigner == registry.guardian(vault);
    }

    /// @dev Of the lesser of NAV now and NAV as priced: a position whose report was made to soar, be it for the
    /// moment of a batch or of a settlement, must not make room for losses in others.
    function _lossInside(Change memory change) private view returns (uint256) {
        uint256 loss = ReadingLib.excess(change.lowBefore, change.lowAfter);
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
