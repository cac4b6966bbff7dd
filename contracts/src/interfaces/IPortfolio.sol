// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

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
    event Skimmed(address indexed token, address to, uint256 amount);

    error NotKeeper(address caller);
    error NotVault(address caller);
    error NotAuthorised(address caller);
    error WrongVault(address expected, address seen);
    error TooEarly(uint256 validAfter);
    error Expired(uint256 validUntil);
    error NonceUsed(uint256 nonceKey, uint256 expected, uint256 seen);
    error CallNotAllowed(address target, bytes4 selector);
    error CallWithoutSelector(uint256 index);
    error InsufficientIdle(address token, uint256 available, uint256 wanted);
    error NavBelowFloor(uint256 navLow, uint256 floor);
    error LossAboveLimit(uint256 loss, uint256 limit);
    error LossBudgetExceeded(uint256 level, uint256 budget);
    error CapExceeded(bytes32 riskId, uint256 exposure, uint256 cap);
    error RiskIsPaused(uint256 until);
    error ConnectorIsExitOnly(address connector);
    error NotEnoughGas(uint256 available, uint256 wanted);
    error Locked();
    error NothingToSkim(address token);

    function vault() external view returns (address);

    /// @notice Assets at hand, by ledger: donations do not count.
    function idle() external view returns (uint256);

    /// @notice Live net asset value and whether every term of it is healthy. Reverts under the lock.
    function nav() external view returns (Value memory value, bool healthy);

    /// @notice As `nav`, or with `twice` as `twoReadings`, for the vault during settlement; stores what it read.
    /// @return value see `Value`
    /// @return healthy whether every term of it is
    /// @return announcedAt when the first of two readings was taken; 0 without
    function checkpoint(bool twice) external returns (Value memory value, bool healthy, uint256 announcedAt);

    /// @notice Takes the first of two readings. By anyone; it stands for 24 hours and cannot be replaced before.
    function announce() external;

    /// @notice Net asset value by the announced reading and one taken now, 30 minutes to 24 hours later: the lower
    /// low and the higher high of every position. What could not be read only once does not count.
    function twoReadings() external view returns (Value memory value, bool healthy, uint256 announcedAt);

    /// @notice Live value of one position as (low, high), and whether it is healthy.
    function positionValue(address connector, bytes32 key)
        external
        view
        returns (Value memory value, bool healthy);

    function nextNonce(uint256 nonceKey) external view returns (uint256);

    /// @notice Executes a batch the keeper role approved and checks the state it leaves behind.
    function execute(Batch calldata batch) external;

    /// @notice Makes (nonceKey, nextNonce) unusable. Keeper or guardian.
    function cancelNonce(uint256 nonceKey) external;

    /// @notice Moves idle assets to the escrow. Vault only.
    function release(uint256 assets) external;

    /// @notice Books assets that the escrow has just sent. Vault only.
    function receiveIdle(uint256 assets) external;
}
