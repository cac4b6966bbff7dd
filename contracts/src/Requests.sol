// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {TransientSlot} from "@openzeppelin/contracts/utils/TransientSlot.sol";
import {IERC7540Deposit, IERC7540Operator, IERC7540Redeem, IERC7575Share} from "./interfaces/IERC7540.sol";
import {IERC7887Deposit, IERC7887Redeem} from "./interfaces/IERC7887.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Claimable, IVault} from "./interfaces/IVault.sol";
import {Queue, QueueLib} from "./libraries/QueueLib.sol";
import {VaultState} from "./libraries/VaultState.sol";

/// @title Requests and claims: the part of the vault that users touch
/// @dev A controller has at most one request in the open epoch and one committed request per side; older
/// entitlements are brought into `claimable` whenever the controller is touched. Tokens leave in claim functions
/// only, for the controller or its operators.
abstract contract Requests is
    ERC20Permit,
    IVault,
    IERC7540Deposit,
    IERC7540Redeem,
    IERC7540Operator,
    IERC7887Deposit,
    IERC7887Redeem,
    IERC7575Share
{
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using Math for uint256;
    using QueueLib for Queue;
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

    /// @dev `queued` shares are in the queue as of point `queuedAt`; `open` ones join when `openEpoch` closes.
    struct RedeemState {
        uint128 queued;
        uint128 open;
        uint64 queuedAt;
        uint64 openEpoch;
    }

    /// @dev What a controller has cancelled and not yet fetched.
    struct Cancelled {
        uint128 assets;
        uint128 shares;
    }

    /// @dev After so long without a settlement a committed deposit may be cancelled.
    uint256 internal constant DEPOSIT_PATIENCE = 3 days;
    uint256 internal constant PPS_ONE = 1e27;
    uint8 internal constant DECIMALS_OFFSET = 6;
    bytes32 private constant LOCK = keccak256("omnikeeper.vault.lock");

    IERC20 internal immutable ASSET;
    uint8 internal immutable ASSET_DECIMALS;
    IRegistry public immutable override registry;
    IPortfolio public immutable override portfolio;
    IEscrow public immutable override escrow;

    VaultState internal state;
    mapping(address controller => DepositState) private deposits;
    mapping(address controller => RedeemState) private redeems;
    mapping(address controller => Claimable) private claimables;
    mapping(address controller => Cancelled) private cancelled;
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
        require(portfolio_.vault() == address(this), WrongPart(address(portfolio_)));
        require(escrow_.vault() == address(this), WrongPart(address(escrow_)));
    }

    // REQUESTS

    /// @notice Asks to deposit `assets` of `owner`; `controller` may claim the shares once the epoch is settled.
    function requestDeposit(uint256 assets, address controller, address owner)
        external
        override
        nonReentrant
        returns (uint256)
    {
        require(assets != 0, ZeroAmount());
        require(controller != address(0), ZeroAddress());
        require(msg.sender == owner || isOperator[owner][msg.sender], NotOwner(owner, msg.sender));
        _checkDeposit(assets);
        DepositState memory d = _bookPriced(controller);
        d.open += assets.toUint112();
        deposits[controller] = d;
        state.openDeposits += assets.toUint128();
        uint256 balance = ASSET.balanceOf(address(escrow));
        ASSET.safeTransferFrom(owner, address(escrow), assets);
        uint256 received = ASSET.balanceOf(address(escrow)) - balance;
        require(received == assets, ReceivedOther(assets, received));
        emit DepositRequest(controller, owner, 0, msg.sender, assets);
        return 0;
    }

    /// @notice Asks to redeem `shares` of `owner`; they keep earning, and bearing losses, until they are filled.
    function requestRedeem(uint256 shares, address controller, address owner)
        external
        override
        nonReentrant
        returns (uint256)
    {
        require(shares != 0, ZeroAmount());
        require(controller != address(0), ZeroAddress());
        require(shares >= state.params.minRedeem, BelowMinimum(shares, state.params.minRedeem));
        if (msg.sender != owner && !isOperator[owner][msg.sender]) {
            _spendAllowance(owner, msg.sender, shares);
        }
        RedeemState memory r = _bookFilled(controller);
        r.open += shares.toUint128();
        r.openEpoch = state.currentEpoch;
        redeems[controller] = r;
        state.openRedeems += shares.toUint128();
        _transfer(owner, address(this), shares);
        emit RedeemRequest(controller, owner, 0, msg.sender, shares);
        return 0;
    }

    // CANCELLATION

    /// @notice Takes back what has not been committed: the open epoch's deposits, those that rolled into it, and
    /// all of them when the last close is 3 days old and still unsettled.
    function cancelDepositRequest(uint256, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
    {
        DepositState memory d = _bookPriced(controller);
        uint256 assets = d.open;
        state.openDeposits -= d.open;
        d.open = 0;
        if (d.committed != 0 && _mayLeave()) {
            assets += d.committed;
            state.closedDeposits -= d.committed;
            d.committed = 0;
        }
        require(assets != 0, NothingToCancel(controller));
        deposits[controller] = d;
        cancelled[controller].assets += assets.toUint128();
        state.claimableAssets += assets.toUint128();
        emit CancelDepositRequest(controller, 0, msg.sender);
    }

    /// @notice Takes back the open epoch's redemptions; shares in the queue are committed.
    function cancelRedeemRequest(uint256, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
    {
        RedeemState memory r = _bookFilled(controller);
        require(r.open != 0, NothingToCancel(controller));
        state.openRedeems -= r.open;
        cancelled[controller].shares += r.open;
        r.open = 0;
        redeems[controller] = r;
        emit CancelRedeemRequest(controller, 0, msg.sender);
    }

    function claimCancelDepositRequest(uint256, address receiver, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
        returns (uint256 assets)
    {
        require(receiver != address(0), ZeroAddress());
        assets = cancelled[controller].assets;
        require(assets != 0, ZeroAmount());
        cancelled[controller].assets = 0;
        state.claimableAssets -= assets.toUint128();
        escrow.pay(receiver, assets);
        emit CancelDepositClaim(controller, receiver, 0, msg.sender, assets);
    }

    function claimCancelRedeemRequest(uint256, address receiver, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
        returns (uint256 shares)
    {
        require(receiver != address(0), ZeroAddress());
        shares = cancelled[controller].shares;
        require(shares != 0, ZeroAmount());
        cancelled[controller].shares = 0;
        _transfer(address(this), receiver, shares);
        emit CancelRedeemClaim(controller, receiver, 0, msg.sender, shares);
    }

    // OPERATORS

    function setOperator(address operator, bool approved) external override returns (bool) {
        require(operator != msg.sender, SelfOperator());
        isOperator[msg.sender][operator] = approved;
        emit OperatorSet(msg.sender, operator, approved);
        return true;
    }

    // CLAIMS

    function deposit(uint256 assets, address receiver) external returns (uint256) {
        return _claimDeposit(assets, receiver, msg.sender);
    }

    function deposit(uint256 assets, address receiver, address controller)
        external
        override
        returns (uint256)
    {
        return _claimDeposit(assets, receiver, controller);
    }

    function mint(uint256 shares, address receiver) external returns (uint256) {
        return _claimMint(shares, receiver, msg.sender);
    }

    function mint(uint256 shares, address receiver, address controller) external override returns (uint256) {
        return _claimMint(shares, receiver, controller);
    }

    /// @notice Pays `assets` of what the controller's redemptions fetched.
    /// @return shares redeemed shares this takes off the claimable ones, rounded up
    function withdraw(uint256 assets, address receiver, address controller)
        external
        nonReentrant
        onlyController(controller)
        returns (uint256 shares)
    {
        Claimable memory c = _redeemClaim(assets, receiver, controller);
        require(assets <= c.redeemAssets, ExceedsClaimable(assets, c.redeemAssets));
        shares = assets.mulDiv(c.redeemShares, c.redeemAssets, Math.Rounding.Ceil);
        _payRedeem(c, assets, shares, receiver, controller);
    }

    /// @notice Pays what `shares` of the controller's filled redemptions fetched, rounded down.
    function redeem(uint256 shares, address receiver, address controller)
        external
        nonReentrant
        onlyController(controller)
        returns (uint256 assets)
    {
        Claimable memory c = _redeemClaim(shares, receiver, controller);
        require(shares <= c.redeemShares, ExceedsClaimable(shares, c.redeemShares));
        assets = shares.mulDiv(c.redeemAssets, c.redeemShares);
        _payRedeem(c, assets, shares, receiver, controller);
    }

    // VIEWS: REQUESTS

    function pendingDepositRequest(uint256, address controller)
        external
        view
        override
        returns (uint256 pending)
    {
        (DepositState memory d,) = _depositState(controller);
        return uint256(d.committed) + d.open;
    }

    function claimableDepositRequest(uint256, address controller) external view override returns (uint256) {
        return maxDeposit(controller);
    }

    function pendingRedeemRequest(uint256, address controller) external view override returns (uint256) {
        (RedeemState memory r,) = _redeemState(controller);
        return uint256(r.queued) + r.open;
    }

    function claimableRedeemRequest(uint256, address controller) external view override returns (uint256) {
        return maxRedeem(controller);
    }

    function pendingCancelDepositRequest(uint256, address) external pure override returns (bool) {
        return false;
    }

    function claimableCancelDepositRequest(uint256, address controller)
        external
        view
        override
        returns (uint256)
    {
        return cancelled[controller].assets;
    }

    function pendingCancelRedeemRequest(uint256, address) external pure override returns (bool) {
        return false;
    }

    function claimableCancelRedeemRequest(uint256, address controller)
        external
        view
        override
        returns (uint256)
    {
        return cancelled[controller].shares;
    }

    /// @notice Largest deposit request that would be accepted now; 0 while sealed off or paused.
    function maxRequestDeposit(address) public view returns (uint256) {
        (bool open, uint256 pausedUntil) = registry.depositGate(address(this));
        if (!open || block.timestamp < pausedUntil) return 0;
        uint256 taken = uint256(state.storedNav) + state.closedDeposits + state.openDeposits;
        return taken < state.params.depositCap ? state.params.depositCap - taken : 0;
    }

    /// @notice Largest redemption request of `owner`: its whole balance, whatever is paused.
    function maxRequestRedeem(address owner) external view returns (uint256) {
        return balanceOf(owner);
    }

    /// @inheritdoc IVault
    function escrowed() external view override returns (uint256) {
        return uint256(state.openDeposits) + state.closedDeposits + state.claimableAssets;
    }

    function maxDeposit(address controller) public view returns (uint256) {
        (, Claimable memory c) = _depositState(controller);
        return c.depositAssets;
    }

    function maxMint(address controller) external view returns (uint256) {
        (, Claimable memory c) = _depositState(controller);
        return c.depositShares;
    }

    function maxWithdraw(address controller) external view returns (uint256) {
        (, Claimable memory c) = _redeemState(controller);
        return c.redeemAssets;
    }

    function maxRedeem(address controller) public view returns (uint256) {
        (, Claimable memory c) = _redeemState(controller);
        return c.redeemShares;
    }

    function previewDeposit(uint256) external pure returns (uint256) {
        revert PreviewNotSupported();
    }

    function previewMint(uint256) external pure returns (uint256) {
        revert PreviewNotSupported();
    }

    function previewWithdraw(uint256) external pure returns (uint256) {
        revert PreviewNotSupported();
    }

    function previewRedeem(uint256) external pure returns (uint256) {
        revert PreviewNotSupported();
    }

    // VIEWS: TOKEN

    function asset() external view returns (address) {
        return address(ASSET);
    }

    function share() external view returns (address) {
        return address(this);
    }

    /// @notice ERC-7575: the vault of a share; this one holds one asset.
    function vault(address asset_) external view override returns (address) {
        return asset_ == address(ASSET) ? address(this) : address(0);
    }

    function decimals() public view override returns (uint8) {
        return ASSET_DECIMALS + DECIMALS_OFFSET;
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == type(IERC165).interfaceId || id == type(IERC7540Operator).interfaceId
            || id == type(IERC7540Deposit).interfaceId || id == type(IERC7540Redeem).interfaceId
            || id == type(IERC7887Deposit).interfaceId || id == type(IERC7887Redeem).interfaceId
            || id == type(IERC7575Share).interfaceId || id == 0x2f0a18c5; // the last: ERC-7575 vault
    }

    function locked() public view override returns (bool) {
        return LOCK.asBoolean().tload();
    }

    function lock() external override {
        require(msg.sender == address(portfolio), NotPortfolio(msg.sender));
        _lock();
    }

    function unlock() external override {
        require(msg.sender == address(portfolio), NotPortfolio(msg.sender));
        _unlock();
    }

    // INTERNAL

    function _lock() private {
        require(!locked(), Reentered());
        LOCK.asBoolean().tstore(true);
    }

    function _unlock() private {
        LOCK.asBoolean().tstore(false);
    }

    /// @dev Whether committed deposits may leave: they rolled into the open epoch, or nobody settles them.
    function _mayLeave() private view returns (bool) {
        bool rolled = state.currentEpoch == state.settledEpoch + 1;
        return rolled || block.timestamp >= state.epochClosedAt + DEPOSIT_PATIENCE;
    }

    function _checkController(address controller) private view {
        require(
            msg.sender == controller || isOperator[controller][msg.sender],
            NotController(controller, msg.sender)
        );
    }

    function _checkDeposit(uint256 assets) private view {
        require(assets >= state.params.minDeposit, BelowMinimum(assets, state.params.minDeposit));
        (bool open, uint256 pausedUntil) = registry.depositGate(address(this));
        require(open, NotSealed());
        require(block.timestamp >= pausedUntil, DepositsPaused(pausedUntil));
        uint256 wanted = uint256(state.storedNav) + state.closedDeposits + state.openDeposits + assets;
        require(wanted <= state.params.depositCap, AboveCap(wanted, state.params.depositCap));
    }

    function _claimDeposit(uint256 assets, address receiver, address controller)
        private
        nonReentrant
        onlyController(controller)
        returns (uint256 shares)
    {
        Claimable memory c = _depositClaim(assets, receiver, controller);
        require(assets <= c.depositAssets, ExceedsClaimable(assets, c.depositAssets));
        shares = assets.mulDiv(c.depositShares, c.depositAssets);
        _payDeposit(c, assets, shares, receiver, controller);
    }

    function _claimMint(uint256 shares, address receiver, address controller)
        private
        nonReentrant
        onlyController(controller)
        returns (uint256 assets)
    {
        Claimable memory c = _depositClaim(shares, receiver, controller);
        require(shares <= c.depositShares, ExceedsClaimable(shares, c.depositShares));
        assets = shares.mulDiv(c.depositAssets, c.depositShares, Math.Rounding.Ceil);
        _payDeposit(c, assets, shares, receiver, controller);
    }

    function _depositClaim(uint256 amount, address receiver, address controller)
        private
        returns (Claimable memory c)
    {
        require(amount != 0, ZeroAmount());
        require(receiver != address(0), ZeroAddress());
        c = claimables[controller];
        DepositState memory d = deposits[controller];
        if (_price(d, c)) deposits[controller] = d;
    }

    function _redeemClaim(uint256 amount, address receiver, address controller)
        private
        returns (Claimable memory c)
    {
        require(amount != 0, ZeroAmount());
        require(receiver != address(0), ZeroAddress());
        c = claimables[controller];
        RedeemState memory r = redeems[controller];
        if (_fill(r, c)) redeems[controller] = r;
    }

    function _payDeposit(
        Claimable memory c,
        uint256 assets,
        uint256 shares,
        address receiver,
        address controller
    ) private {
        c.depositAssets -= assets.toUint128();
        c.depositShares -= shares.toUint128();
        claimables[controller] = c;
        _transfer(address(this), receiver, shares);
        emit Deposit(controller, receiver, assets, shares);
    }

    function _payRedeem(
        Claimable memory c,
        uint256 assets,
        uint256 shares,
        address receiver,
        address controller
    ) private {
        c.redeemAssets -= assets.toUint128();
        c.redeemShares -= shares.toUint128();
        claimables[controller] = c;
        state.claimableAssets -= assets.toUint128();
        escrow.pay(receiver, assets);
        emit Withdraw(msg.sender, receiver, controller, assets, shares);
    }

    /// @dev Books what has been priced since the controller's last touch; the caller stores the rest.
    function _bookPriced(address controller) private returns (DepositState memory d) {
        d = deposits[controller];
        if (d.committed != 0 || d.open != 0) {
            Claimable memory c = claimables[controller];
            if (_price(d, c)) claimables[controller] = c;
        }
        d.epoch = uint32(state.currentEpoch);
    }

    /// @dev Books what has been filled since the controller's last touch; the caller stores the rest.
    function _bookFilled(address controller) private returns (RedeemState memory r) {
        r = redeems[controller];
        if (r.queued != 0 || r.open != 0) {
            Claimable memory c = claimables[controller];
            if (_fill(r, c)) claimables[controller] = c;
        }
        r.queuedAt = state.settledEpoch + 1;
    }

    function _depositState(address controller)
        private
        view
        returns (DepositState memory d, Claimable memory c)
    {
        d = deposits[controller];
        c = claimables[controller];
        _price(d, c);
    }

    function _redeemState(address controller)
        private
        view
        returns (RedeemState memory r, Claimable memory c)
    {
        r = redeems[controller];
        c = claimables[controller];
        _fill(r, c);
    }

    /// @dev Brings a controller's deposits up to now: what has been priced becomes claimable.
    function _price(DepositState memory d, Claimable memory c) private view returns (bool changed) {
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

    function _priceCommitted(DepositState memory d, Claimable memory c, uint48 epoch) private view {
        if (d.committed == 0) return;
        uint256 pps = state.depositPps.lowerLookup(epoch);
        if (pps == 0) return;
        c.depositAssets += d.committed;
        c.depositShares += uint256(d.committed).mulDiv(PPS_ONE, pps).toUint128();
        d.committed = 0;
    }

    /// @dev Brings a controller's redemptions up to now: what has been filled becomes claimable.
    function _fill(RedeemState memory r, Claimable memory c) private view returns (bool changed) {
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
        private
        view
        returns (uint128 left)
    {
        (uint256 assets, uint256 pending) = state.queue.claim(shares, state.points[epoch]);
        left = pending.toUint128();
        c.redeemShares += shares - left;
        c.redeemAssets += assets.toUint128();
    }
}
