// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ICompliance} from "./ICompliance.sol";
import {IEscrow} from "./IEscrow.sol";
import {IPortfolio} from "./IPortfolio.sol";
import {IRegistry} from "./IRegistry.sol";
import {Settlement} from "./Types.sol";

/// @dev What governance may tune, within the bounds of `Vault`. Fees, rates and steps are WAD fractions.
struct Params {
    address feeRecipient;
    /// of the supply per year, at most 5 %
    uint64 managementFee;
    /// of the rise of low PPS above the high-water mark, at most 30 %
    uint64 performanceFee;
    /// of redeemed shares, at most 1 %
    uint64 exitFee;
    /// growth per second that redemptions are paid for at most; at least 10 % a year
    uint64 maxRate;
    /// fall of the deposit price between two settlements at most
    uint64 maxStep;
    /// high / low - 1 above which deposits roll to the next epoch
    uint64 maxSpread;
    uint32 minEpochLength;
    /// asked before deposit requests and transfers between users, never before exits or claims; 0 for none
    ICompliance complianceHook;
    /// assets
    uint128 minDeposit;
    /// assets: stored NAV plus pending deposits may not exceed it
    uint128 depositCap;
    /// shares; a whole balance may always be redeemed
    uint128 minRedeem;
    /// age of the redemption queue above which only batches that reduce risk pass; 1 to 30 days
    uint32 maxAge;
}

/// @dev Every number settlement starts from. PPS is assets per share scaled by 1e27.
struct Accounting {
    uint64 currentEpoch;
    uint64 settledEpoch;
    uint64 epochOpenedAt;
    uint64 epochClosedAt;
    uint64 settledAt;
    uint64 accruedAt;
    uint128 openDeposits;
    uint128 closedDeposits;
    uint128 openRedeems;
    uint128 queuedShares;
    uint256 totalSupply;
    uint256 storedNav;
    uint256 lastPpsLow;
    uint256 lastPpsHigh;
    uint256 highWaterMark;
    uint256 windowPps;
    uint64 windowEndsAt;
    uint64 queuedSince;
    uint64 pricedAt;
}

/// @dev What one controller may claim on one side: the assets deposited and the shares they bought, or the shares
/// redeemed and the assets they fetched.
struct Claimable {
    uint128 assets;
    uint128 shares;
}

/// @title Asynchronous vault: ERC-20 shares, ERC-7540 requests both ways, epochs, fees, claims
interface IVault {
    event DepositRequest(
        address indexed controller,
        address indexed owner,
        uint256 indexed requestId,
        address sender,
        uint256 assets
    );
    event RedeemRequest(
        address indexed controller,
        address indexed owner,
        uint256 indexed requestId,
        address sender,
        uint256 shares
    );
    event OperatorSet(address indexed controller, address indexed operator, bool approved);
    event Deposit(address indexed sender, address indexed owner, uint256 assets, uint256 shares);
    event Withdraw(
        address indexed sender,
        address indexed receiver,
        address indexed owner,
        uint256 assets,
        uint256 shares
    );
    event EpochClosed(uint256 indexed epoch, uint256 deposits, uint256 queuedShares);
    event FeesAccrued(uint256 managementShares, uint256 performanceShares);
    event DepositsRolled(uint256 indexed epoch, uint256 assets);
    event Settled(
        uint256 indexed epoch,
        bytes32 indexed planHash,
        uint256 redeemPps,
        uint256 depositPps,
        uint256 acceptedAssets,
        uint256 mintedShares,
        uint256 filledShares,
        uint256 paidAssets,
        uint256 navAfter
    );
    /// @dev `pps` is what redemptions would have been paid; nothing is settled until `endsAt`.
    event LossWindowOpened(uint256 indexed epoch, uint256 pps, uint256 endsAt);
    event MarkedDown(uint256 nav);
    event ResidualIssued(uint256 indexed id, uint256 units);
    event ResidualClaimed(
        uint256 indexed id, address indexed controller, address receiver, uint256 units, uint256 assets
    );
    event ParamsSet(Params params);

    error ZeroAddress();
    error ZeroAmount();
    error BelowMinimum(uint256 amount, uint256 minimum);
    error AboveCap(uint256 wanted, uint256 cap);
    error NotSealed();
    error DepositsPaused(uint256 until);
    error NotController(address controller, address caller);
    error NotOwner(address owner, address caller);
    error NotKeeper(address caller);
    error NotPortfolio(address caller);
    error Reentered();
    error ReceivedOther(uint256 wanted, uint256 received);
    error ExceedsClaimable(uint256 wanted, uint256 claimable);
    error NothingToCancel(address controller);
    error PreviewNotSupported();
    error EpochNotOver(uint256 until);
    error EpochNotSettled(uint256 epoch);
    error EpochNotClosed(uint256 expected, uint256 seen);
    error WrongVault(address expected, address seen);
    error TooEarly(uint256 validAfter);
    error Expired(uint256 validUntil);
    error PpsOutOfRange(uint256 pps, uint256 minPps, uint256 maxPps);
    error ParamOutOfBounds(bytes32 name);
    error WrongPart(address part);
    error NotAllowed(address from, address to);
    error LossWindowOpen(uint256 endsAt);
    error StillAttended(uint256 until);
    error NothingToMarkDown(uint256 storedNav, uint256 nav);

    function registry() external view returns (IRegistry);
    function portfolio() external view returns (IPortfolio);
    function escrow() external view returns (IEscrow);
    function params() external view returns (Params memory);
    function accounting() external view returns (Accounting memory);

    /// @notice What the escrow owes: pending deposits, and what filled redemptions and cancelled deposits may
    /// still claim.
    function escrowed() external view returns (uint256);

    /// @notice NAV as stored, or at the last sound price that redemptions may be paid, if that is less: no gain
    /// enlarges it at once.
    function pricedNav() external view returns (uint256);

    /// @notice Low NAV after the flows of the last settlement. Never reverts.
    function totalAssets() external view returns (uint256);

    /// @notice Whether any part of this vault is in the middle of something: live values must not be read.
    function locked() external view returns (bool);

    /// @notice Takes and gives back the one lock that spans vault, portfolio and connectors. Portfolio only.
    function lock() external;
    function unlock() external;

    /// @notice Ends the open epoch: its requests are committed, and may be priced by readings taken from now
    /// on. By anyone, once the minimum length, and 10 minutes, have passed since the previous epoch was settled.
    function closeEpoch() external;

    /// @notice Settles the closed epoch. Keeper only. After a fall of the redemption price by more than 10 %
    /// since the last settlement (1 % while a position cannot be read) it only opens a window of 24 hours in
    /// which queued redemptions may be cancelled; afterwards redemptions are paid the lower of the two prices.
    function settle(Settlement calldata settlement) external;

    /// @notice Settles an epoch that has been closed for 3 days, by anyone and two readings (see
    /// `IPortfolio.announce`): redemptions are paid the lower one, deposits roll, there is no performance fee.
    function settleUnattended() external;

    /// @notice Lowers `totalAssets` to the lower of two readings. By anyone.
    function markDown() external;

    /// @notice Begins a side pocket: until it is closed, whoever is paid by a settlement keeps a part of the
    /// position that NAV then leaves out. Portfolio only.
    /// @return id the pocket's number, from 1 on
    function openPocket() external returns (uint256 id);

    /// @notice Turns the parts of those who left into claims on the escrow, which must receive what is owed.
    /// Portfolio only.
    /// @param total what came out of the pocket and what is left in it, in assets
    /// @return owed how much of it belongs to those who left
    function closePocket(uint256 total) external returns (uint256 owed);

    /// @notice Pays the controller's part of a closed pocket, once. Controller and its operators; nothing stops it.
    function claimResidual(uint256 id, address receiver, address controller) external returns (uint256 assets);

    /// @notice The controller's part of a pocket, of 1e27, and what of it is payable: nothing while it is open.
    function residualOf(uint256 id, address controller) external view returns (uint256 units, uint256 assets);

    /// @notice How many side pockets there have been. Only the last one may be open.
    function pockets() external view returns (uint256);

    /// @notice Part of a pocket that belongs to those who left while it was open, of 1e27; the assets that the whole
    /// pocket turned into; and the first epoch whose redemptions have no part in it. The last two are 0 while it is
    /// open.
    function pocket(uint256 id) external view returns (uint256 owed, uint256 total, uint256 until);

    /// @notice What the redemption queue is owed at the last settled price when it is older than `maxAge`; 0
    /// before.
    function overdueExits() external view returns (uint256 assets);
}
