// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {EnumerableMap} from "@openzeppelin/contracts/utils/structs/EnumerableMap.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {IConnector} from "./interfaces/IConnector.sol";
import {IIsolated} from "./interfaces/IIsolated.sol";
import {IPortfolio} from "./interfaces/IPortfolio.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault, Params} from "./interfaces/IVault.sol";
import {Cap, Policy, Position, Value} from "./interfaces/Types.sol";
import {PermissionLib} from "./libraries/PermissionLib.sol";

/// @title One directory per chain, one section per vault
/// @dev A change that may raise risk is submitted first, as the very call that will make it, and made by the
/// governor when the delay has passed and before 14 days more have; the guardian may veto it until it is made.
/// Before `seal` there is no delay, and the vault takes no deposits. What can be listed is kept in sets, so that
/// `policy` leaves nothing out; their order means nothing.
contract Registry is IRegistry {
    using EnumerableSet for EnumerableSet.AddressSet;
    using EnumerableSet for EnumerableSet.Bytes32Set;
    using EnumerableMap for EnumerableMap.Bytes32ToUintMap;
    using PermissionLib for PermissionLib.Permissions;

    /// @dev A submitted call; `executableAt` 0: none.
    struct Change {
        uint64 executableAt;
        bool vetoable;
    }

    struct Section {
        address portfolio;
        address governor;
        address pendingGovernor;
        address guardian;
        address keeper;
        address oracle;
        // One slot: every deposit reads both.
        uint128 delay;
        uint128 riskPausedUntil;
        uint256 positionCount;
        // Connectors with a listed position. A batch looks at those it calls alone, so that what it costs does
        // not depend on the others.
        EnumerableSet.AddressSet connectors;
        mapping(address connector => EnumerableSet.Bytes32Set) keys;
        mapping(address connector => mapping(bytes32 key => bytes32[])) riskIds;
        mapping(address connector => bool) isolated;
        PermissionLib.Permissions allowed;
        PermissionLib.Permissions abdicated;
        EnumerableSet.AddressSet exitOnly;
        EnumerableMap.Bytes32ToUintMap caps;
        mapping(bytes32 id => Change) changes;
    }

    uint256 public constant MIN_DELAY = 3 days;
    uint256 public constant MAX_DELAY = 365 days;
    uint256 public constant MAX_POSITIONS = 16;
    uint256 public constant MAX_RISK_IDS = 8;
    uint256 public constant PAUSE_LENGTH = 7 days;
    /// @dev How long a change may be made once it is executable: none lies ready for years.
    uint256 public constant CHANGE_WINDOW = 14 days;
    /// @dev What a new guardian waits at least, because the old one cannot veto it.
    uint256 public constant GUARDIAN_DELAY = 14 days;

    /// @dev A position worth at most `totalAssets / DUST_DIVISOR + DUST_UNITS` may be unlisted: anyone can give
    /// it that much, and it must not keep its slot by that.
    uint256 public constant DUST_DIVISOR = 1e6;
    uint256 public constant DUST_UNITS = 10;

    mapping(address vault => Section) private sections;

    modifier onlyGovernor(address vault) {
        require(msg.sender == sections[vault].governor, NotGovernor(msg.sender));
        _;
    }

    /// @dev For what only ever lowers risk, and therefore needs no delay.
    modifier onlyRiskReducer(address vault) {
        Section storage s = sections[vault];
        require(msg.sender == s.guardian || msg.sender == s.governor, NotGuardian(msg.sender));
        _;
    }

    modifier timelocked(address vault) {
        _consume(vault, msg.sender, address(this), msg.data);
        _;
    }

    // REGISTRATION

    /// @notice Opens the section of the calling vault.
    function register(address portfolio, address governor_, address guardian_, address keeper_)
        external
        override
    {
        Section storage s = sections[msg.sender];
        require(s.portfolio == address(0), AlreadyRegistered(msg.sender));
        require(portfolio != address(0) && governor_ != address(0), UnknownTarget(address(0)));
        s.portfolio = portfolio;
        s.governor = governor_;
        s.guardian = guardian_;
        s.keeper = keeper_;
        emit Registered(msg.sender, portfolio, governor_, guardian_, keeper_);
    }

    /// @notice Ends the set-up: from now on risk rises only after `delay_` seconds. Irreversible.
    function seal(address vault, uint256 delay_) external onlyGovernor(vault) {
        Section storage s = sections[vault];
        require(s.delay == 0, AlreadySealed(vault));
        _setDelay(vault, delay_);
        emit Sealed(vault, delay_);
    }

    // TIMELOCK

    /// @notice Announces the call `data` on `target` (this registry or a contract of the vault).
    function submit(address vault, address target, bytes calldata data) external onlyGovernor(vault) {
        Section storage s = sections[vault];
        // Nothing is announced while there is no delay, to be made after deposits have come.
        require(s.delay != 0, NotSealed(vault));
        bytes4 selector = bytes4(data);
        require(!s.abdicated.contains(target, selector), Abdicated(target, selector));
        (uint256 wait, bool vetoable) = (s.delay, true);
        if (target == address(this)) {
            bool replacesGuardian = selector == this.setGuardian.selector;
            if (replacesGuardian) wait = Math.max(wait, GUARDIAN_DELAY);
            // Neither may a guardian keep itself in office, nor hold up what only takes powers away.
            vetoable = !replacesGuardian && selector != this.terminate.selector
                && selector != this.abdicate.selector;
        }
        bytes32 id = changeId(target, data);
        uint256 at = block.timestamp + wait;
        // forge-lint: disable-next-line(unsafe-typecast) a time plus at most MAX_DELAY
        s.changes[id] = Change(uint64(at), vetoable);
        emit ChangeSubmitted(vault, id, target, data, at, vetoable);
    }

    /// @notice Withdraws an announced change for good; it would have to be submitted again.
    function veto(address vault, bytes32 id) external onlyRiskReducer(vault) {
        Section storage s = sections[vault];
        require(s.changes[id].executableAt != 0, ChangeUnknown(id));
        require(s.changes[id].vetoable || msg.sender == s.governor, NotVetoable(id));
        delete s.changes[id];
        emit ChangeVetoed(vault, id);
    }

    /// @inheritdoc IRegistry
    function authorise(address vault, address sender, bytes calldata data) external override {
        _consume(vault, sender, msg.sender, data);
    }

    function changeId(address target, bytes calldata data) public pure returns (bytes32) {
        return keccak256(abi.encode(target, data));
    }

    // WHAT MAY RAISE RISK

    function listPosition(address vault, address connector, bytes32 key, bytes32[] calldata riskIds)
        external
        timelocked(vault)
    {
        Section storage s = sections[vault];
        require(IConnector(connector).portfolio() == s.portfolio, ForeignConnector(connector));
        // Without a risk id no cap would hold the position.
        require(riskIds.length != 0, NoRiskId(connector, key));
        require(riskIds.length <= MAX_RISK_IDS, TooManyRiskIds(MAX_RISK_IDS));
        require(s.keys[connector].add(key), PositionAlreadyListed(connector, key));
        require(++s.positionCount <= MAX_POSITIONS, TooManyPositions(MAX_POSITIONS));
        if (s.connectors.add(connector)) s.isolated[connector] = _isIsolated(connector);
        s.riskIds[connector][key] = riskIds;
        emit PositionListed(vault, connector, key, riskIds);
    }

    /// @dev Taking a selector away waits as well: it may be the one an exit needs.
    function setSelector(address vault, address connector, bytes4 selector, bool allowed)
        external
        timelocked(vault)
    {
        sections[vault].allowed.set(connector, selector, allowed);
        emit SelectorSet(vault, connector, selector, allowed);
    }

    function setCap(address vault, bytes32 riskId, uint256 cap_) external timelocked(vault) {
        _setCap(vault, riskId, cap_);
    }

    function clearExitOnly(address vault, address connector) external timelocked(vault) {
        sections[vault].exitOnly.remove(connector);
        emit ExitOnlySet(vault, connector, false);
    }

    function setOracle(address vault, address oracle_) external timelocked(vault) {
        sections[vault].oracle = oracle_;
        emit OracleSet(vault, oracle_);
    }

    function setKeeper(address vault, address keeper_) external timelocked(vault) {
        sections[vault].keeper = keeper_;
        emit KeeperSet(vault, keeper_);
    }

    function setGuardian(address vault, address guardian_) external timelocked(vault) {
        sections[vault].guardian = guardian_;
        emit GuardianSet(vault, guardian_);
    }

    /// @notice Changes the delay of later changes; shortening it has waited the old one.
    function setDelay(address vault, uint256 delay_) external timelocked(vault) {
        require(sections[vault].delay != 0, NotSealed(vault));
        _setDelay(vault, delay_);
    }

    function proposeGovernor(address vault, address governor_) external timelocked(vault) {
        sections[vault].pendingGovernor = governor_;
        emit GovernorProposed(vault, governor_);
    }

    function acceptGovernor(address vault) external {
        Section storage s = sections[vault];
        require(msg.sender == s.pendingGovernor, NotGovernor(msg.sender));
        s.governor = msg.sender;
        delete s.pendingGovernor;
        emit GovernorAccepted(vault, msg.sender);
    }

    /// @notice Drops a position that is dead for ever: in doubt and worth nothing at the low end, in two readings.
    /// What it holds all the same is lost to the vault unless it is listed again.
    function abandonPosition(address vault, address connector, bytes32 key) external timelocked(vault) {
        Section storage s = sections[vault];
        require(s.keys[connector].contains(key), PositionUnknown(connector, key));
        _drop(vault, connector, key, true);
    }

    // WHAT TAKES POWERS AWAY FOR EVER

    /// @notice Ends the vault: no deposit, no rising exposure from now on; exits go on. Irreversible.
    function terminate(address vault) external timelocked(vault) {
        sections[vault].riskPausedUntil = type(uint128).max;
        emit Terminated(vault);
    }

    /// @notice Gives up the function `selector` of `target`: no governor can submit or make that change again.
    /// Irreversible. It does not reach what needs no submission, which only lowers risk.
    function abdicate(address vault, address target, bytes4 selector) external timelocked(vault) {
        sections[vault].abdicated.set(target, selector, true);
        emit FunctionAbdicated(vault, target, selector);
    }

    // WHAT ONLY LOWERS RISK

    /// @notice Drops a position that is worth no more than dust, so that no value leaves NAV by a list.
    function unlistPosition(address vault, address connector, bytes32 key) external onlyGovernor(vault) {
        Section storage s = sections[vault];
        require(s.keys[connector].contains(key), PositionUnknown(connector, key));
        (Value memory value, bool healthy) = IPortfolio(s.portfolio).positionValue(connector, key);
        uint256 dust = IERC4626(vault).totalAssets() / DUST_DIVISOR + DUST_UNITS;
        (uint256 debt,) = IPortfolio(s.portfolio).positionDebt(connector, key);
        require(healthy && value.high + debt <= dust, PositionNotEmpty(connector, key));
        _drop(vault, connector, key, false);
    }

    function lowerCap(address vault, bytes32 riskId, uint256 cap_) external onlyRiskReducer(vault) {
        if (cap_ < cap(vault, riskId)) _setCap(vault, riskId, cap_);
    }

    /// @notice From the next block on, the connector's positions may only shrink.
    function setExitOnly(address vault, address connector) external onlyRiskReducer(vault) {
        sections[vault].exitOnly.add(connector);
        emit ExitOnlySet(vault, connector, true);
    }

    /// @notice Stops deposits and rising exposures for 7 days, then not again for 7 days. Never stops exits.
    function pauseRisk(address vault) external onlyRiskReducer(vault) {
        Section storage s = sections[vault];
        // In 256 bits: after `terminate` that is a time which never comes.
        uint256 next = s.riskPausedUntil == 0 ? 0 : s.riskPausedUntil + PAUSE_LENGTH;
        require(block.timestamp >= next, ChangeNotReady("pauseRisk", next));
        s.riskPausedUntil = uint128(block.timestamp + PAUSE_LENGTH);
        emit RiskPaused(vault, s.riskPausedUntil);
    }

    // VIEWS

    function depositGate(address vault) external view override returns (bool open, uint256 pausedUntil) {
        Section storage s = sections[vault];
        return (s.delay != 0, s.riskPausedUntil);
    }

    function isSealed(address vault) external view override returns (bool) {
        return sections[vault].delay != 0;
    }

    function governor(address vault) external view override returns (address) {
        return sections[vault].governor;
    }

    function guardian(address vault) external view override returns (address) {
        return sections[vault].guardian;
    }

    function keeper(address vault) external view override returns (address) {
        return sections[vault].keeper;
    }

    function oracle(address vault) external view override returns (address) {
        return sections[vault].oracle;
    }

    function delay(address vault) external view override returns (uint256) {
        return sections[vault].delay;
    }

    /// @notice Shortest delay of a vault: whoever dislikes a change asks to leave in one epoch, is paid in the
    /// next, or frees the assets once the queue is too old, and is gone before it is made.
    function minimumDelay(address vault) public view returns (uint256) {
        Params memory params = IVault(vault).params();
        return Math.max(MIN_DELAY, uint256(params.maxAge) + 2 * uint256(params.minEpochLength));
    }

    function positions(address vault) public view override returns (Position[] memory listed) {
        Section storage s = sections[vault];
        listed = new Position[](s.positionCount);
        uint256 count;
        address[] memory connectors = s.connectors.values();
        for (uint256 i; i < connectors.length; ++i) {
            address connector = connectors[i];
            bytes32[] memory keys = s.keys[connector].values();
            for (uint256 j; j < keys.length; ++j) {
                listed[count++] = Position(connector, keys[j], s.riskIds[connector][keys[j]]);
            }
        }
    }

    function positionKeys(address vault)
        external
        view
        override
        returns (address[] memory connectors, bytes32[] memory keys)
    {
        Section storage s = sections[vault];
        connectors = new address[](s.positionCount);
        keys = new bytes32[](connectors.length);
        uint256 count;
        address[] memory distinct = s.connectors.values();
        for (uint256 i; i < distinct.length; ++i) {
            bytes32[] memory own = s.keys[distinct[i]].values();
            for (uint256 j; j < own.length; ++j) {
                connectors[count] = distinct[i];
                keys[count++] = own[j];
            }
        }
    }

    function positionsTouched(address vault, address[] calldata targets, bytes32[] calldata named)
        external
        view
        override
        returns (address[] memory connectors, bytes32[] memory keys, bool[] memory isolated)
    {
        Section storage s = sections[vault];
        connectors = new address[](MAX_POSITIONS);
        keys = new bytes32[](MAX_POSITIONS);
        isolated = new bool[](MAX_POSITIONS);
        uint256 count;
        for (uint256 i; i < targets.length; ++i) {
            address target = targets[i];
            bool alone = s.isolated[target];
            bytes32[] memory own;
            // No position is listed without a risk id, and whoever moves it needs that slot anyway.
            if (alone && s.riskIds[target][named[i]].length != 0) {
                own = new bytes32[](1);
                own[0] = named[i];
            } else {
                own = s.keys[target].values();
            }
            for (uint256 j; j < own.length; ++j) {
                uint256 k;
                while (k < count && (keys[k] != own[j] || connectors[k] != target)) ++k;
                if (k != count) continue;
                (connectors[k], keys[k], isolated[k]) = (target, own[j], alone);
                ++count;
            }
        }
        assembly ("memory-safe") {
            mstore(connectors, count)
            mstore(keys, count)
            mstore(isolated, count)
        }
    }

    function isIsolated(address vault, address connector) external view override returns (bool) {
        return sections[vault].isolated[connector];
    }

    function riskIdsOf(address vault, address connector, bytes32 key)
        external
        view
        override
        returns (bytes32[] memory)
    {
        return sections[vault].riskIds[connector][key];
    }

    function isAllowed(address vault, address connector, bytes4 selector)
        external
        view
        override
        returns (bool)
    {
        return sections[vault].allowed.contains(connector, selector);
    }

    function isExitOnly(address vault, address connector) external view override returns (bool) {
        return sections[vault].exitOnly.contains(connector);
    }

    function riskPausedUntil(address vault) external view override returns (uint256) {
        return sections[vault].riskPausedUntil;
    }

    function cap(address vault, bytes32 riskId) public view override returns (uint256 assets) {
        (, assets) = sections[vault].caps.tryGet(riskId);
    }

    /// @notice When a submitted change may be made from; 0 when there is none.
    function executableAt(address vault, bytes32 id) external view returns (uint256) {
        return sections[vault].changes[id].executableAt;
    }

    /// @inheritdoc IRegistry
    function policy(address vault) external view override returns (Policy memory p) {
        Section storage s = sections[vault];
        p.portfolio = s.portfolio;
        p.governor = s.governor;
        p.pendingGovernor = s.pendingGovernor;
        p.guardian = s.guardian;
        p.keeper = s.keeper;
        p.oracle = s.oracle;
        p.delay = s.delay;
        p.riskPausedUntil = s.riskPausedUntil;
        p.positions = positions(vault);
        p.allowed = s.allowed.values();
        p.caps = new Cap[](s.caps.length());
        for (uint256 i; i < p.caps.length; ++i) {
            (p.caps[i].riskId, p.caps[i].assets) = s.caps.at(i);
        }
        p.exitOnly = s.exitOnly.values();
        p.abdicated = s.abdicated.values();
    }

    // INTERNAL

    function _consume(address vault, address sender, address target, bytes calldata data) private {
        Section storage s = sections[vault];
        require(s.portfolio != address(0), UnknownVault(vault));
        require(sender == s.governor, NotGovernor(sender));
        bytes4 selector = bytes4(data);
        require(!s.abdicated.contains(target, selector), Abdicated(target, selector));
        if (s.delay == 0) return;
        bytes32 id = changeId(target, data);
        uint256 at = s.changes[id].executableAt;
        require(at != 0, ChangeUnknown(id));
        require(block.timestamp >= at, ChangeNotReady(id, at));
        require(block.timestamp <= at + CHANGE_WINDOW, ChangeExpired(id, at + CHANGE_WINDOW));
        delete s.changes[id];
        emit ChangeAccepted(vault, id);
    }

    /// @dev A connector without the function has made no promise.
    function _isIsolated(address connector) private view returns (bool) {
        try IIsolated(connector).isolated() returns (bool isolated) {
            return isolated;
        } catch {
            return false;
        }
    }

    function _setDelay(address vault, uint256 delay_) private {
        uint256 minimum = minimumDelay(vault);
        require(delay_ >= minimum, DelayTooShort(delay_, minimum));
        require(delay_ <= MAX_DELAY, DelayTooLong(delay_, MAX_DELAY));
        // forge-lint: disable-next-line(unsafe-typecast) bounded by MAX_DELAY
        sections[vault].delay = uint128(delay_);
    }

    function _drop(address vault, address connector, bytes32 key, bool dead) private {
        Section storage s = sections[vault];
        IPortfolio(s.portfolio).forget(connector, key, s.riskIds[connector][key], dead);
        s.keys[connector].remove(key);
        if (s.keys[connector].length() == 0) s.connectors.remove(connector);
        delete s.riskIds[connector][key];
        --s.positionCount;
        emit PositionUnlisted(vault, connector, key);
    }

    function _setCap(address vault, bytes32 riskId, uint256 cap_) private {
        Section storage s = sections[vault];
        if (cap_ == 0) s.caps.remove(riskId);
        else s.caps.set(riskId, cap_);
        emit CapSet(vault, riskId, cap_);
    }
}
