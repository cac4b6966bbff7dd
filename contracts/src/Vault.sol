// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Accounting, Params} from "./interfaces/IVault.sol";
import {Settlement, Value} from "./interfaces/Types.sol";
import {Queue, QueueLib} from "./libraries/QueueLib.sol";
import {Outcome, SettlementLib} from "./libraries/SettlementLib.sol";
import {Requests} from "./Requests.sol";

/// @title Epochs, settlement and fees of an asynchronous vault
/// @dev One settlement per closed epoch serves both sides: redemptions burn at the low price, deposits mint at
/// the high one. PPS = (NAV + 1) / (shares + 1e6), scaled by 1e27.
contract Vault is Requests {
    using Math for uint256;
    using SafeCast for uint256;
    using QueueLib for Queue;
    using Checkpoints for Checkpoints.Trace208;

    uint256 private constant WAD = 1e18;
    uint256 private constant MAX_MANAGEMENT_FEE = 0.05e18;
    uint256 private constant MAX_PERFORMANCE_FEE = 0.3e18;
    uint256 private constant MAX_EXIT_FEE = 0.01e18;
    uint256 private constant MAX_EPOCH_LENGTH = 7 days;
    uint256 private constant VIRTUAL_SHARES = 10 ** DECIMALS_OFFSET;

    uint64 private epochOpenedAt;
    uint64 private epochClosedAt;
    uint64 public settledAt;
    uint64 private accruedAt;
    uint128 private lastPpsLow;
    uint128 private lastPpsHigh;

    constructor(
        IERC20Metadata asset_,
        string memory name_,
        string memory symbol_,
        IRegistry registry_,
        IPortfolio portfolio_,
        IEscrow escrow_,
        address governor,
        address guardian,
        address keeper,
        Params memory params_
    ) ERC20(name_, symbol_) ERC20Permit(name_) Requests(asset_, registry_, portfolio_, escrow_) {
        _setParams(params_);
        registry_.register(address(portfolio_), governor, guardian, keeper);
        currentEpoch = 1;
        epochOpenedAt = uint64(block.timestamp);
        accruedAt = uint64(block.timestamp);
        settledAt = uint64(block.timestamp);
        uint128 initial = uint128(PPS_ONE / VIRTUAL_SHARES);
        lastPpsLow = initial;
        lastPpsHigh = initial;
        highWaterMark = initial;
        settledPps = initial;
        queue.init();
        points[1] = queue.point();
    }

    // EPOCHS AND SETTLEMENT

    /// @notice See `IVault.closeEpoch`.
    function closeEpoch() external override nonReentrant {
        require(currentEpoch == settledEpoch + 1, EpochNotSettled(currentEpoch - 1));
        uint256 until = epochOpenedAt + _params.minEpochLength;
        require(block.timestamp >= until, EpochNotOver(until));
        queue.shares += openRedeems;
        closedDeposits += openDeposits;
        openRedeems = 0;
        openDeposits = 0;
        epochClosedAt = uint64(block.timestamp);
        epochOpenedAt = uint64(block.timestamp);
        emit EpochClosed(currentEpoch++, closedDeposits, queue.shares);
    }

    /// @notice See `IVault.settle`.
    function settle(Settlement calldata s) external override nonReentrant {
        _checkSettlement(s);
        (Value memory nav, bool healthy) = portfolio.checkpoint();
        Outcome memory o = SettlementLib.compute(accounting(), _params, portfolio.idle(), nav, healthy, s);
        emit FeesAccrued(o.managementShares, o.performanceShares);
        _applyFees(o.managementShares + o.performanceShares);
        _applyDeposits(o, s.epoch);
        _applyFill(o);
        _moveAssets(o);
        _finish(o, nav.low, s.planHash);
    }

    /// @notice Changes fees, rates and limits; through the registry's timelock once sealed.
    function setParams(Params calldata p) external nonReentrant {
        registry.authorise(address(this), msg.sender, msg.data);
        // What has accrued until now is charged at the old rate and to the old receiver.
        _applyFees(SettlementLib.managementShares(accounting(), _params));
        _setParams(p);
    }

    // VIEWS

    /// @notice Low NAV after the flows of the last settlement. Never reverts.
    function totalAssets() external view returns (uint256) {
        return storedNav;
    }

    function convertToShares(uint256 assets) external view returns (uint256) {
        return assets.mulDiv(totalSupply() + VIRTUAL_SHARES, uint256(storedNav) + 1);
    }

    function convertToAssets(uint256 shares) external view returns (uint256) {
        return shares.mulDiv(uint256(storedNav) + 1, totalSupply() + VIRTUAL_SHARES);
    }

    function params() external view override returns (Params memory) {
        return _params;
    }

    function accounting() public view override returns (Accounting memory) {
        return Accounting({
            currentEpoch: currentEpoch,
            settledEpoch: settledEpoch,
            epochOpenedAt: epochOpenedAt,
            epochClosedAt: epochClosedAt,
            settledAt: settledAt,
            accruedAt: accruedAt,
            openDeposits: openDeposits,
            closedDeposits: closedDeposits,
            openRedeems: openRedeems,
            queuedShares: queue.shares,
            totalSupply: totalSupply(),
            storedNav: storedNav,
            lastPpsLow: lastPpsLow,
            lastPpsHigh: lastPpsHigh,
            highWaterMark: highWaterMark
        });
    }

    // INTERNAL: SETTLEMENT, IN ITS ORDER

    function _checkSettlement(Settlement calldata s) private view {
        require(msg.sender == registry.keeper(address(this)), NotKeeper(msg.sender));
        require(s.vault == address(this), WrongVault(address(this), s.vault));
        require(block.timestamp >= s.validAfter, TooEarly(s.validAfter));
        require(block.timestamp <= s.validUntil, Expired(s.validUntil));
        uint256 expected = settledEpoch + 1;
        // Every reading a price rests on is later than the close.
        require(
            s.epoch == expected && currentEpoch > expected && block.timestamp > epochClosedAt,
            EpochNotClosed(expected, s.epoch)
        );
    }

    function _applyFees(uint256 shares) private {
        accruedAt = uint64(block.timestamp);
        if (shares != 0) _mint(_params.feeRecipient, shares);
    }

    function _applyDeposits(Outcome memory o, uint256 epoch) private {
        if (o.accepted == 0) {
            if (closedDeposits != 0) emit DepositsRolled(epoch, closedDeposits);
            return;
        }
        closedDeposits = 0;
        depositPps.push(uint48(epoch), o.depositPps.toUint208());
        _mint(address(this), o.minted);
    }

    function _applyFill(Outcome memory o) private {
        if (o.filled == 0) return;
        queue.fill(o.filled, o.paid);
        if (o.exitShares != 0) _transfer(address(this), _params.feeRecipient, o.exitShares);
        _burn(address(this), o.filled - o.exitShares);
        claimableAssets += o.paid.toUint128();
    }

    /// @dev Deposits and redemptions are netted: one transfer at most.
    function _moveAssets(Outcome memory o) private {
        if (o.accepted > o.paid) {
            uint256 net = o.accepted - o.paid;
            escrow.pay(address(portfolio), net);
            portfolio.receiveIdle(net);
        } else if (o.paid > o.accepted) {
            portfolio.release(o.paid - o.accepted);
        }
    }

    function _finish(Outcome memory o, uint256 navLow, bytes32 planHash) private {
        settledEpoch += 1;
        points[settledEpoch + 1] = queue.point();
        settledAt = uint64(block.timestamp);
        storedNav = (navLow + o.accepted - o.paid).toUint128();
        settledPps = (uint256(storedNav) + 1).mulDiv(PPS_ONE, totalSupply() + VIRTUAL_SHARES).toUint128();
        if (settledPps > highWaterMark) highWaterMark = settledPps;
        lastPpsLow = o.redeemPps.toUint128();
        lastPpsHigh = o.depositPps.toUint128();
        emit Settled(
            settledEpoch,
            planHash,
            o.redeemPps,
            o.depositPps,
            o.accepted,
            o.minted,
            o.filled,
            o.paid,
            storedNav
        );
    }

    function _setParams(Params memory p) private {
        require(p.feeRecipient != address(0) && p.feeRecipient != address(this), ZeroAddress());
        require(p.managementFee <= MAX_MANAGEMENT_FEE, ParamOutOfBounds("managementFee"));
        require(p.performanceFee <= MAX_PERFORMANCE_FEE, ParamOutOfBounds("performanceFee"));
        require(p.exitFee <= MAX_EXIT_FEE, ParamOutOfBounds("exitFee"));
        require(p.maxStep <= WAD, ParamOutOfBounds("maxStep"));
        require(p.minEpochLength <= MAX_EPOCH_LENGTH, ParamOutOfBounds("minEpochLength"));
        require(p.minDeposit != 0, ParamOutOfBounds("minDeposit"));
        require(p.minRedeem != 0, ParamOutOfBounds("minRedeem"));
        _params = p;
        emit ParamsSet(p);
    }
}
