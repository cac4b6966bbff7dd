// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IRegistry} from "./IRegistry.sol";
import {Batch, Value} from "./Types.sol";

/// @title The vault's idle ledger and connectors
interface IPortfolio {
    event BatchExecuted(
        bytes32 indexed planHash,
        uint256 nonceKey,
        uint256 nonce,
        uint256 navLowBefore,
        uint256 navLowAfter,
        uint256 idleAfter
    );
    event NonceCancelled(uint256 nonceKey, uint256 nonce);
    event PositionImpaired(address indexed connector, bytes32 indexed key, uint256 lastGood);
    event IdleReceived(uint256 assets);
    event IdleReleased(uint256 assets);
    event Announced(uint256 at);
    event Cosigned(bytes32 indexed batchHash, address indexed guardian);
    event Deallocated(address indexed connector, bytes32 indexed key, uint256 assets, address indexed caller);
    event SplitOff(uint256 indexed id, address indexed connector, bytes32 indexed key);
    event PocketFilled(uint256 assets);
    /// @dev Of `total`, what came out and what is left, `owed` went to the escrow for those who left.
    event PocketClosed(address indexed connector, bytes32 indexed key, uint256 total, uint256 owed);
    event Skimmed(address indexed token, address to, uint256 amount);

    error NotKeeper(address caller);
    error NotVault(address caller);
    error NotRegistry(address caller);
    error NotGuardian(address caller);
    error NotAuthorised(address caller);
    error WrongVault(address expected, address seen);
    error TooEarly(uint256 validAfter);
    error Expired(uint256 validUntil);
    error NonceUsed(uint256 nonceKey, uint256 expected, uint256 seen);
    error CallNotAllowed(address target, bytes4 selector);
    error CallWithoutSelector(uint256 index);
    error InsufficientIdle(address token, uint256 available, uint256 wanted);
    error NotBroughtIn(address token, uint256 available, uint256 wanted);
    error TokenLeft(address token, uint256 amount);
    error NavBelowFloor(uint256 navLow, uint256 floor);
    error LossAboveLimit(uint256 loss, uint256 limit);
    error LossBudgetExceeded(uint256 level, uint256 budget);
    error CapExceeded(bytes32 riskId, uint256 exposure, uint256 cap);
    error RiskIsPaused(uint256 until);
    error ConnectorIsExitOnly(address connector);
    error PositionIsImpaired(address connector, bytes32 key);
    error ImpairedNotAlone(address connector, bytes32 key);
    error PositionNotListed(address connector, bytes32 key);
    error ExitsOverdue(uint256 assets);
    error ExitsNotOverdue(uint256 owed, uint256 idle);
    error NotReducing();
    error PositionNotImpaired(address connector, bytes32 key);
    error AccountOwes(address connector, bytes32 key);
    error PocketIsOpen(address connector, bytes32 key);
    error NoPocket();
    error ReadingTooOld(uint256 at, uint256 since);
    error ReadingsApart(uint256 lesser, uint256 greater);
    error EscrowTouched(uint256 before, uint256 afterwards);
    error AnnouncementStands(uint256 until);
    error PositionsChanged();
    error NotEnoughGas(uint256 available, uint256 wanted);
    error Locked();
    error NothingToSkim(address token);

    function vault() external view returns (address);
    function registry() external view returns (IRegistry);
    function asset() external view returns (IERC20);
    function escrow() external view returns (address);

    /// @notice Assets at hand, by ledger: donations do not count.
    function idle() external view returns (uint256);

    /// @notice Live net asset value and whether every term of it is healthy. Reverts under the lock.
    function nav() external view returns (Value memory value, bool healthy);

    /// @notice As `nav` or, if `twice`, as `twoReadings`, for the vault during settlement; marks every position
    /// at it.
    function checkpoint(bool twice) external returns (Value memory value, bool healthy);

    /// @notice What a position was worth at the low end at its last checkpoint, that is, at the last settlement
    /// or batch that touched it; and its last good value as of that batch, or the first settlement that found any.
    function marks(address connector, bytes32 key) external view returns (uint128 low, uint128 high);

    /// @notice What it owed together with that good value: both together are the exposure it counts as.
    function markedDebt(address connector, bytes32 key) external view returns (uint256);

    /// @notice Sum of the positions' low marks. A batch takes the positions that it does not touch at them.
    function totalLow() external view returns (uint256);

    /// @notice Sum of the exposures that count under a risk id: what positions own, debts not taken off.
    function exposures(bytes32 riskId) external view returns (uint256);

    /// @notice Drops the marks of a position that leaves the list. A `dead` one must be in doubt and worth nothing at
    /// the low end in two readings; if it is split off, those who left get their part of what came out of it. While
    /// the account of several listed keys owes something, by what is read or, but for a dead one, was marked, each of
    /// them stays, unless their connector is isolated. Registry only.
    function forget(address connector, bytes32 key, bytes32[] calldata riskIds, bool dead) external;

    /// @notice The position that is split off, since when, and the assets that have come out of it, which no
    /// NAV counts; all 0 without one.
    function pocket() external view returns (address connector, uint64 since, bytes32 key, uint128 cash);

    /// @notice Splits a position off that was in doubt and worth nothing at the low end in both of two readings
    /// (see `announce`). From then on NAV leaves it out, whatever it reports, and whoever is paid by a settlement
    /// keeps a part of it (`IVault.residualOf`). One at a time, and none of an account that owes something, by what
    /// is read or was marked, unless its connector is isolated. Guardian or governor.
    function splitOff(address connector, bytes32 key) external;

    /// @notice Joins the position again when two readings later than the split both found it healthy and agree on
    /// its low to 1 %, at the lesser: those who left are paid their part from what came out of it, idle assets and
    /// at last the position itself. By anyone.
    function closePocket() external;

    /// @notice Stores a first reading of every position. By anyone; it stands for 24 hours, unless positions
    /// are listed or unlisted.
    function announce() external;

    /// @notice Net asset value by the announced reading and one now: the least low, the greatest high, impaired
    /// only what is impaired in both. `at` is when the first was made. Reverts unless 30 minutes to 24 hours lie
    /// between them.
    function twoReadings() external view returns (Value memory value, bool healthy, uint256 at);

    /// @notice Live value of one position as (low, high), and whether it is healthy.
    function positionValue(address connector, bytes32 key)
        external
        view
        returns (Value memory value, bool healthy);

    /// @notice What one position owes now, in the vault's asset, and its health factor in WAD (0 without debt).
    function positionDebt(address connector, bytes32 key) external view returns (uint256 debt, uint256 health);

    function nextNonce(uint256 nonceKey) external view returns (uint256);

    /// @notice Executes a batch the keeper role approved and checks the state it leaves behind.
    function execute(Batch calldata batch) external;

    /// @notice Makes (nonceKey, nextNonce) unusable. Keeper or guardian.
    function cancelNonce(uint256 nonceKey) external;

    /// @notice Lets the risk-reducing batch with this hash (keccak256 of its ABI encoding) lose more than the
    /// budget of such batches, within its own signed limits, and leave a position of doubtful value by several
    /// calls. Guardian only.
    function cosign(bytes32 batchHash) external;

    /// @notice Withdraws up to `assets` from a healthy, listed position while exits are overdue and idle assets
    /// do not cover them. By anyone; it may lose as much as a risk-reducing batch.
    function forceDeallocate(address connector, bytes32 key, uint256 assets) external;

    /// @notice Moves idle assets to the escrow. Vault only.
    function release(uint256 assets) external;

    /// @notice Books assets that the escrow has just sent. Vault only.
    function receiveIdle(uint256 assets) external;
}
