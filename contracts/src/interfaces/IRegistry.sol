// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Policy, Position} from "./Types.sol";

/// @title One directory per chain; each vault's section belongs to that vault's governor alone
interface IRegistry {
    event Registered(
        address indexed vault, address portfolio, address governor, address guardian, address keeper
    );
    event Sealed(address indexed vault, uint256 delay);
    event ChangeSubmitted(
        address indexed vault,
        bytes32 indexed id,
        address target,
        bytes data,
        uint256 executableAt,
        bool vetoable
    );
    event ChangeAccepted(address indexed vault, bytes32 indexed id);
    event ChangeVetoed(address indexed vault, bytes32 indexed id);
    event GovernorProposed(address indexed vault, address governor);
    event GovernorAccepted(address indexed vault, address governor);
    event GuardianSet(address indexed vault, address guardian);
    event KeeperSet(address indexed vault, address keeper);
    event OracleSet(address indexed vault, address oracle);
    event PositionListed(
        address indexed vault, address indexed connector, bytes32 indexed key, bytes32[] riskIds
    );
    event PositionUnlisted(address indexed vault, address indexed connector, bytes32 indexed key);
    event SelectorSet(address indexed vault, address indexed connector, bytes4 selector, bool allowed);
    event CapSet(address indexed vault, bytes32 indexed riskId, uint256 cap);
    event ExitOnlySet(address indexed vault, address indexed connector, bool exitOnly);
    event Terminated(address indexed vault);
    event FunctionAbdicated(address indexed vault, address target, bytes4 selector);
    event RiskPaused(address indexed vault, uint256 until);

    error NotGovernor(address caller);
    error NotGuardian(address caller);
    error AlreadyRegistered(address vault);
    error UnknownVault(address vault);
    error UnknownTarget(address target);
    error AlreadySealed(address vault);
    error NotSealed(address vault);
    error DelayTooShort(uint256 delay, uint256 minimum);
    error DelayTooLong(uint256 delay, uint256 maximum);
    error ChangeUnknown(bytes32 id);
    error ChangeNotReady(bytes32 id, uint256 executableAt);
    error ChangeExpired(bytes32 id, uint256 expiredAt);
    error NotVetoable(bytes32 id);
    error Abdicated(address target, bytes4 selector);
    error TooManyPositions(uint256 limit);
    error TooManyRiskIds(uint256 limit);
    error NoRiskId(address connector, bytes32 key);
    error PositionAlreadyListed(address connector, bytes32 key);
    error PositionUnknown(address connector, bytes32 key);
    error PositionNotEmpty(address connector, bytes32 key);
    error ForeignConnector(address connector);

    function register(address portfolio, address governor, address guardian, address keeper) external;

    /// @notice What stands between a user and a deposit: whether the vault is sealed, and until when risk is
    /// paused.
    function depositGate(address vault) external view returns (bool open, uint256 pausedUntil);

    function isSealed(address vault) external view returns (bool);
    function governor(address vault) external view returns (address);
    function guardian(address vault) external view returns (address);
    function keeper(address vault) external view returns (address);
    function oracle(address vault) external view returns (address);
    function delay(address vault) external view returns (uint256);

    /// @notice Every allow-listed position of the vault, connector by connector.
    function positions(address vault) external view returns (Position[] memory);

    /// @notice Connectors and keys alone, in the order of `positions`: what a valuation needs.
    function positionKeys(address vault)
        external
        view
        returns (address[] memory connectors, bytes32[] memory keys);

    /// @notice The positions that calls of `targets` may change, each once, when the i-th has `named[i]` as its
    /// first argument: the one it names if the connector is isolated (see `IIsolated`), and all of the connector
    /// if it is not, or if that is no key.
    function positionsTouched(address vault, address[] calldata targets, bytes32[] calldata named)
        external
        view
        returns (address[] memory connectors, bytes32[] memory keys, bool[] memory isolated);

    /// @notice Whether the connector said so when its first position was listed.
    function isIsolated(address vault, address connector) external view returns (bool);

    /// @notice The risk ids of one position; none: it is not listed.
    function riskIdsOf(address vault, address connector, bytes32 key) external view returns (bytes32[] memory);

    function isAllowed(address vault, address connector, bytes4 selector) external view returns (bool);
    function isExitOnly(address vault, address connector) external view returns (bool);
    function riskPausedUntil(address vault) external view returns (uint256);

    /// @notice Largest exposure allowed under a risk id, in the vault's asset. 0: no exposure at all.
    function cap(address vault, bytes32 riskId) external view returns (uint256);

    /// @notice Every power over the vault and every limit on them, to be compared with what was agreed. Only
    /// submitted changes are not in it: their events are what announces them.
    function policy(address vault) external view returns (Policy memory);

    /// @notice Called by a vault's own contract to check that `sender` may make the very call `data` now: the
    /// governor, and once sealed only after the delay. Consumes the permission.
    function authorise(address vault, address sender, bytes calldata data) external;
}
