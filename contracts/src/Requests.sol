// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Entitlements} from "./Entitlements.sol";
import {ICompliance} from "./interfaces/ICompliance.sol";
import {IERC7540Deposit, IERC7540Operator, IERC7540Redeem, IERC7575Share} from "./interfaces/IERC7540.sol";
import {IERC7887Deposit, IERC7887Redeem} from "./interfaces/IERC7887.sol";
import {Claimable, IVault} from "./interfaces/IVault.sol";
import {PocketLib} from "./libraries/PocketLib.sol";
import {RedeemState, VaultState} from "./libraries/VaultState.sol";

/// @title Requests and claims: the part of the vault that users touch
/// @dev Tokens leave in claim functions only, for the controller or its operators.
abstract contract Requests is
    Entitlements,
    IERC7540Deposit,
    IERC7540Redeem,
    IERC7887Deposit,
    IERC7887Redeem,
    IERC7575Share
{
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using Math for uint256;
    using PocketLib for VaultState;

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
        _checkCompliance(owner, controller, assets);
        DepositState memory d = _bookPriced(controller);
        d.open += assets.toUint112();
        deposits[controller] = d;
        state.openDeposits += assets.toUint112();
        uint256 balance = _escrowBalance();
        ASSET.safeTransferFrom(owner, address(escrow), assets);
        uint256 received = _escrowBalance() - balance;
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
        // A whole balance may always leave, however small it is or high the minimum.
        require(
            shares >= state.params.minRedeem || shares == balanceOf(owner),
            BelowMinimum(shares, state.params.minRedeem)
        );
        if (msg.sender != owner && !isOperator[owner][msg.sender]) {
            _spendAllowance(owner, msg.sender, shares);
        }
        _checkGift(owner, controller, shares);
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
    /// all of them in a loss window and when the last close is 3 days old and still unsettled.
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

    /// @notice Takes back the open epoch's redemptions, and in a loss window those in the queue, too; otherwise
    /// shares in the queue are committed.
    function cancelRedeemRequest(uint256, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
    {
        RedeemState memory r = _bookFilled(controller);
        uint128 shares = r.open;
        state.openRedeems -= r.open;
        r.open = 0;
        if (r.queued != 0 && _inLossWindow()) {
            shares += r.queued;
            state.queue.shares -= r.queued;
            r.queued = 0;
        }
        require(shares != 0, NothingToCancel(controller));
        cancelled[controller].shares += shares;
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
        _payOut(receiver, assets);
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
        _checkGift(controller, receiver, shares);
        _transfer(address(this), receiver, shares);
        emit CancelRedeemClaim(controller, receiver, 0, msg.sender, shares);
    }

    // OPERATORS

    function setOperator(address operator, bool approved) external override returns (bool) {
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
        Claimable memory c = _redeemClaim(receiver, controller);
        shares = _part(assets, c.assets, c.shares, Math.Rounding.Ceil);
        _payRedeem(c, assets, shares, receiver, controller);
    }

    /// @notice Pays what `shares` of the controller's filled redemptions fetched, rounded down.
    function redeem(uint256 shares, address receiver, address controller)
        external
        nonReentrant
        onlyController(controller)
        returns (uint256 assets)
    {
        Claimable memory c = _redeemClaim(receiver, controller);
        assets = _part(shares, c.shares, c.assets, Math.Rounding.Floor);
        _payRedeem(c, assets, shares, receiver, controller);
    }

    /// @inheritdoc IVault
    function claimResidual(uint256 id, address receiver, address controller)
        external
        override
        nonReentrant
        onlyController(controller)
        returns (uint256)
    {
        redeems[controller] = _bookFilled(controller);
        return state.claim(escrow, id, receiver, controller);
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

    /// @notice Largest deposit request of `account` for itself that would be accepted now; 0 while sealed off or
    /// paused, and where the compliance hook refuses the account.
    function maxRequestDeposit(address account) external view returns (uint256) {
        (bool open, uint256 pausedUntil) = _depositGate();
        if (!open || block.timestamp < pausedUntil || !_complies(account, account, 0)) return 0;
        uint256 taken = uint256(state.storedNav) + state.closedDeposits + state.openDeposits;
        uint256 room = taken < state.params.depositCap ? state.params.depositCap - taken : 0;
        return room < state.params.minDeposit ? 0 : room;
    }

    /// @notice Largest redemption request of `owner`: its whole balance, whatever is paused.
    function maxRequestRedeem(address owner) external view returns (uint256) {
        return balanceOf(owner);
    }

    /// @inheritdoc IVault
    function escrowed() external view override returns (uint256) {
        return uint256(state.openDeposits) + state.closedDeposits + state.claimableAssets;
    }

    /// @inheritdoc IVault
    function residualOf(uint256 id, address controller)
        external
        view
        override
        returns (uint256 units, uint256 assets)
    {
        return state.residualOf(redeems[controller], id, controller);
    }

    function maxDeposit(address controller) public view returns (uint256) {
        (, Claimable memory c) = _depositState(controller);
        return c.assets;
    }

    function maxMint(address controller) external view returns (uint256) {
        (, Claimable memory c) = _depositState(controller);
        return c.shares;
    }

    function maxWithdraw(address controller) external view returns (uint256) {
        (, Claimable memory c) = _redeemState(controller);
        return c.assets;
    }

    function maxRedeem(address controller) public view returns (uint256) {
        (, Claimable memory c) = _redeemState(controller);
        return c.shares;
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

    // INTERNAL

    function _checkDeposit(uint256 assets) private view {
        require(assets >= state.params.minDeposit, BelowMinimum(assets, state.params.minDeposit));
        (bool open, uint256 pausedUntil) = _depositGate();
        require(open, NotSealed());
        require(block.timestamp >= pausedUntil, DepositsPaused(pausedUntil));
        uint256 wanted = uint256(state.storedNav) + state.closedDeposits + state.openDeposits + assets;
        require(wanted <= state.params.depositCap, AboveCap(wanted, state.params.depositCap));
    }

    function _escrowBalance() private view returns (uint256) {
        return ASSET.balanceOf(address(escrow));
    }

    function _payOut(address receiver, uint256 assets) private {
        state.claimableAssets -= assets.toUint128();
        _pay(receiver, assets);
    }

    /// @dev Transfers between users ask the compliance hook; exits, claims, mints and burns have the vault or
    /// nobody at one end.
    function _update(address from, address to, uint256 value) internal override {
        bool between = from != address(0) && from != address(this) && to != address(0) && to != address(this);
        if (between) _checkCompliance(from, to, value);
        super._update(from, to, value);
    }

    /// @dev One's own is never gated; shares that pass to another through the vault are transferred.
    function _checkGift(address from, address to, uint256 shares) private view {
        if (from != to) _checkCompliance(from, to, shares);
    }

    function _checkCompliance(address from, address to, uint256 amount) private view {
        require(_complies(from, to, amount), NotAllowed(from, to));
    }

    function _complies(address from, address to, uint256 amount) private view returns (bool) {
        ICompliance hook = state.params.complianceHook;
        if (address(hook) == address(0)) return true;
        try hook.allows(from, to, amount) returns (bool allowed) {
            return allowed;
        } catch {
            return false;
        }
    }

    function _claimDeposit(uint256 assets, address receiver, address controller)
        private
        nonReentrant
        onlyController(controller)
        returns (uint256 shares)
    {
        Claimable memory c = _depositClaim(receiver, controller);
        shares = _part(assets, c.assets, c.shares, Math.Rounding.Floor);
        _payDeposit(c, assets, shares, receiver, controller);
    }

    function _claimMint(uint256 shares, address receiver, address controller)
        private
        nonReentrant
        onlyController(controller)
        returns (uint256 assets)
    {
        Claimable memory c = _depositClaim(receiver, controller);
        assets = _part(shares, c.shares, c.assets, Math.Rounding.Ceil);
        _payDeposit(c, assets, shares, receiver, controller);
    }

    function _depositClaim(address receiver, address controller) private returns (Claimable memory c) {
        require(receiver != address(0), ZeroAddress());
        c = bought[controller];
        DepositState memory d = deposits[controller];
        if (_price(d, c)) deposits[controller] = d;
    }

    function _redeemClaim(address receiver, address controller) private returns (Claimable memory c) {
        require(receiver != address(0), ZeroAddress());
        _bookUnits(controller);
        c = redeemed[controller];
        RedeemState memory r = redeems[controller];
        if (_fill(r, c)) redeems[controller] = r;
    }

    /// @dev What `amount` of a claimable `whole` is worth in the other of its two measures.
    function _part(uint256 amount, uint256 whole, uint256 other, Math.Rounding rounding)
        private
        pure
        returns (uint256)
    {
        require(amount != 0, ZeroAmount());
        require(amount <= whole, ExceedsClaimable(amount, whole));
        return amount.mulDiv(other, whole, rounding);
    }

    function _payDeposit(
        Claimable memory c,
        uint256 assets,
        uint256 shares,
        address receiver,
        address controller
    ) private {
        _checkGift(controller, receiver, shares);
        bought[controller] = _less(c, assets, shares);
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
        redeemed[controller] = _less(c, assets, shares);
        _payOut(receiver, assets);
        emit Withdraw(msg.sender, receiver, controller, assets, shares);
    }

    function _less(Claimable memory c, uint256 assets, uint256 shares)
        private
        pure
        returns (Claimable memory)
    {
        return Claimable(c.assets - assets.toUint128(), c.shares - shares.toUint128());
    }
}
