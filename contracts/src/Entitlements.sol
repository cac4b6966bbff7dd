// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {TransientSlot} from "@openzeppelin/contracts/utils/TransientSlot.sol";
import {IERC7540Operator} from "./interfaces/IERC7540.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Claimable, IVault} from "./interfaces/IVault.sol";
import {PocketLib} from "./libraries/PocketLib.sol";
import {Queue, QueueLib} from "./libraries/QueueLib.sol";
import {SettlementLib} from "./libraries/SettlementLib.sol";
import {RedeemState, VaultState} from "./libraries/VaultState.sol";

/// @title What every controller is entitled to
/// @dev A controller has at most one request in the open epoch and one committed request per side; older
/// entitlements are brought into what is claimable whenever the controller is touched. Holds the lock, too.
abstract contract Entitlements is ERC20Permit, IVault, IERC7540Operator {
    using SafeCast for uint256;
    using Math for uint256;
    using QueueLib for Queue;
    using PocketLib for VaultState;
    using Checkpoints for Checkpoints.Trace208;
    using TransientSlot for *;

    /// @dev As of the last touch, in epoch `epoch`: `open` assets belong to it, `committed` ones to an earlier,
    /// closed epoch that is still unpriced, and may therefore count as the one before it. One slot: 2^112 is
    /// 5e15 of a token with 18 decimals.
    struct DepositState {
        uint112 committed;
        uint112 open;
        uint32 epoch;
    }

    /// @dev What a controller has cancelled and not yet fetched.
    struct Cancelled {
        uint128 assets;
        uint128 shares;
    }

    uint256 internal constant PPS_ONE = 1e27;
    uint8 internal constant DECIMALS_OFFSET = 6;
    bytes32 private constant LOCK = keccak256("omnikeeper.vault.lock");

    IERC20 internal immutable ASSET;
    uint8 internal immutable ASSET_DECIMALS;
    IRegistry public immutable override registry;
    IPortfolio public immutable override portfolio;
    IEscrow public immutable override escrow;

    VaultState internal state;
    mapping(address controller => DepositState) internal deposits;
    mapping(address controller => RedeemState) internal redeems;
    mapping(address controller => Claimable) internal bought;
    mapping(address controller => Claimable) internal redeemed;
    mapping(address controller => Cancelled) internal cancelled;
    mapping(address controller => mapping(address operator => bool)) public override isOperator;

    modifier nonReentrant() {
        _lock();
        _;
        _unlock();
    }

    modifier onlyController(address controller) {
        _checkController(controller);
        _;
    }

    constructor(IERC20Metadata asset_, IRegistry registry_, IPortfolio portfolio_, IEscrow escrow_) {
        ASSET = asset_;
        ASSET_DECIMALS = asset_.decimals();
        registry = registry_;
        portfolio = portfolio_;
        escrow = escrow_;
        require(
            portfolio_.vault() == address(this) && portfolio_.asset() == asset_
                && portfolio_.registry() == registry_ && portfolio_.escrow() == address(escrow_),
            WrongPart(address(portfolio_))
        );
        require(escrow_.vault() == address(this) && escrow_.asset() == asset_, WrongPart(address(escrow_)));
    }

    function locked() public view override returns (bool) {
        return LOCK.asBoolean().tload();
    }

    function lock() external override {
        _checkPortfolio();
        _lock();
    }

    function unlock() external override {
        _checkPortfolio();
        _unlock();
    }

    /// @inheritdoc IVault
    function openPocket() external override returns (uint256) {
        _checkPortfolio();
        return state.open();
    }

    /// @inheritdoc IVault
    function closePocket(uint256 total) external override returns (uint256) {
        _checkPortfolio();
        return state.close(total);
    }

    // INTERNAL

    function _checkPortfolio() private view {
        require(msg.sender == address(portfolio), NotPortfolio(msg.sender));
    }

    function _lock() private {
        require(!locked(), Reentered());
        LOCK.asBoolean().tstore(true);
    }

    function _unlock() private {
        LOCK.asBoolean().tstore(false);
    }

    /// @dev From the escrow.
    function _pay(address to, uint256 assets) internal {
        escrow.pay(to, assets);
    }

    function _depositGate() internal view returns (bool open, uint256 pausedUntil) {
        return registry.depositGate(address(this));
    }

    /// @dev Whether committed deposits may leave: they rolled into the open epoch, or settlement waits for a loss
    /// window, or nobody settles them.
    function _mayLeave() internal view returns (bool) {
        bool rolled = state.currentEpoch == state.settledEpoch + 1;
        return rolled || _inLossWindow() || block.timestamp >= state.epochClosedAt + SettlementLib.PATIENCE;
    }

    function _inLossWindow() internal view returns (bool) {
        return block.timestamp < state.windowEndsAt;
    }

    function _checkController(address controller) internal view {
        require(
            msg.sender == controller || isOperator[controller][msg.sender],
            NotController(controller, msg.sender)
        );
    }

    /// @dev Books what has been priced since the controller's last touch; the caller stores the rest.
    function _bookPriced(address controller) internal returns (DepositState memory d) {
        d = deposits[controller];
        if (d.committed != 0 || d.open != 0) {
            Claimable memory c = bought[controller];
            if (_price(d, c)) bought[controller] = c;
        }
        d.epoch = uint32(state.currentEpoch);
    }

    /// @dev Books what has been filled since the controller's last touch; the caller stores the rest.
    function _bookFilled(address controller) internal returns (RedeemState memory r) {
        _bookUnits(controller);
        r = redeems[controller];
        if (r.queued != 0 || r.open != 0) {
            Claimable memory c = redeemed[controller];
            if (_fill(r, c)) redeemed[controller] = c;
        }
        r.queuedAt = state.settledEpoch + 1;
    }

    /// @dev Before the controller's redemptions are brought up to now.
    function _bookUnits(address controller) internal {
        if (state.pockets != 0) state.book(redeems[controller], controller);
    }

    function _depositState(address controller)
        internal
        view
        returns (DepositState memory d, Claimable memory c)
    {
        d = deposits[controller];
        c = bought[controller];
        _price(d, c);
    }

    function _redeemState(address controller)
        internal
        view
        returns (RedeemState memory r, Claimable memory c)
    {
        r = redeems[controller];
        c = redeemed[controller];
        _fill(r, c);
    }

    /// @dev Brings a controller's deposits up to now: what has been priced becomes claimable.
    function _price(DepositState memory d, Claimable memory c) internal view returns (bool changed) {
        uint32 now_ = uint32(state.currentEpoch);
        if (d.committed == 0 && (d.open == 0 || d.epoch == now_)) return false;
        _priceCommitted(d, c, d.epoch - 1);
        if (d.epoch < now_) {
            // Everything still unpriced meets the same settlement, so it may all count as the later epoch's.
            d.committed += d.open;
            d.open = 0;
            _priceCommitted(d, c, d.epoch);
            d.epoch = now_;
        }
        return true;
    }

    function _priceCommitted(DepositState memory d, Claimable memory c, uint48 epoch) internal view {
        if (d.committed == 0) return;
        uint256 pps = state.depositPps.lowerLookup(epoch);
        if (pps == 0) return;
        c.assets += d.committed;
        c.shares += uint256(d.committed).mulDiv(PPS_ONE, pps).toUint128();
        d.committed = 0;
    }

    /// @dev Brings a controller's redemptions up to now: what has been filled becomes claimable.
    function _fill(RedeemState memory r, Claimable memory c) internal view returns (bool changed) {
        uint64 live = state.settledEpoch + 1;
        bool joined = r.open != 0 && r.openEpoch < state.currentEpoch;
        if (r.queuedAt == live && !joined) return false;
        if (r.queued != 0 && r.queuedAt < live) r.queued = _fillSince(r.queued, r.queuedAt, c);
        r.queuedAt = live;
        if (joined) {
            r.queued += r.openEpoch < live ? _fillSince(r.open, r.openEpoch, c) : r.open;
            r.open = 0;
        }
        return true;
    }

    function _fillSince(uint128 shares, uint64 epoch, Claimable memory c)
        internal
        view
        returns (uint128 left)
    {
        (uint256 assets, uint256 pending) = state.queue.claim(shares, state.queue.pointOf(epoch));
        left = pending.toUint128();
        c.shares += shares - left;
        c.assets += assets.toUint128();
    }
}
