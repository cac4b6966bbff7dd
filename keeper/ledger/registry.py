"""The directory of a vault: roles, positions, permissions, caps, and the timelock over them (`Registry`).

A message's data is the call itself: the timelock knows a change by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from eth_hash.auto import keccak

from keeper.contracts import Function, abi
from keeper.ledger.checks import name, require
from keeper.ledger.readings import see
from keeper.ledger.split import forget
from keeper.ledger.state import Change, Ledger, Message, PositionId, Section
from keeper.ledger.token import ZERO
from keeper.ledger.vault import Params
from keeper.units import Address

DAY: Final = 86_400
MIN_DELAY: Final = 3 * DAY
MAX_DELAY: Final = 365 * DAY
MAX_POSITIONS: Final = 16
MAX_RISK_IDS: Final = 8
PAUSE_LENGTH: Final = 7 * DAY
CHANGE_WINDOW: Final = 14 * DAY
GUARDIAN_DELAY: Final = 14 * DAY
DUST_DIVISOR: Final = 10**6
DUST_UNITS: Final = 10
TERMINATED: Final = 2**128 - 1

_SET_GUARDIAN: Final = Function("setGuardian(address,address)").selector
_TERMINATE: Final = Function("terminate(address)").selector
_ABDICATE: Final = Function("abdicate(address,address,bytes4)").selector

T = TypeVar("T")
K = TypeVar("K")


# SETS, AS OPENZEPPELIN'S `EnumerableSet` LISTS THEM


def added(members: tuple[T, ...], member: T) -> tuple[T, ...]:
    return members if member in members else (*members, member)


def removed(members: tuple[T, ...], member: T) -> tuple[T, ...]:
    """The last one takes the place of the one that goes."""
    if member not in members:
        return members
    place, last = members.index(member), members[-1]
    return (*members[:place], last, *members[place + 1 :])[:-1] if last != member else members[:-1]


def _without(mapping: Mapping[K, T], key: K) -> dict[K, T]:
    return {each: value for each, value in mapping.items() if each != key}


# ROLES


def _check_governor(section: Section, sender: Address) -> None:
    require(sender == section.governor, "NotGovernor", sender)


def _check_reducer(section: Section, sender: Address) -> None:
    require(sender in (section.guardian, section.governor), "NotGuardian", sender)


def propose_governor(ledger: Ledger, m: Message, governor: Address) -> Ledger:
    """`proposeGovernor`."""
    ledger = _timelocked(ledger, m)
    return replace(ledger, registry=replace(ledger.registry, pending_governor=governor))


def accept_governor(ledger: Ledger, m: Message) -> Ledger:
    """`acceptGovernor`."""
    section = ledger.registry
    require(m.sender == section.pending_governor, "NotGovernor", m.sender)
    return replace(ledger, registry=replace(section, governor=m.sender, pending_governor=ZERO))


def set_oracle(ledger: Ledger, m: Message, oracle: Address) -> Ledger:
    """`setOracle`."""
    ledger = _timelocked(ledger, m)
    return replace(ledger, registry=replace(ledger.registry, oracle=oracle))


def set_keeper(ledger: Ledger, m: Message, keeper: Address) -> Ledger:
    """`setKeeper`."""
    ledger = _timelocked(ledger, m)
    return replace(ledger, registry=replace(ledger.registry, keeper=keeper))


def set_guardian(ledger: Ledger, m: Message, guardian: Address) -> Ledger:
    """`setGuardian`."""
    ledger = _timelocked(ledger, m)
    return replace(ledger, registry=replace(ledger.registry, guardian=guardian))


# TIMELOCK


def seal(ledger: Ledger, m: Message, delay: int) -> Ledger:
    """`seal`."""
    _check_governor(ledger.registry, m.sender)
    require(ledger.registry.delay == 0, "AlreadySealed", ledger.parts.vault)
    return _with_delay(ledger, delay)


def set_delay(ledger: Ledger, m: Message, delay: int) -> Ledger:
    """`setDelay`."""
    ledger = _timelocked(ledger, m)
    require(ledger.registry.delay != 0, "NotSealed", ledger.parts.vault)
    return _with_delay(ledger, delay)


def minimum_delay(params: Params) -> int:
    """`minimumDelay`, in seconds."""
    return max(MIN_DELAY, params.max_age + 2 * params.min_epoch_length)


def _with_delay(ledger: Ledger, delay: int) -> Ledger:
    least = minimum_delay(ledger.vault.params)
    require(delay >= least, "DelayTooShort", delay, least)
    require(delay <= MAX_DELAY, "DelayTooLong", delay, MAX_DELAY)
    return replace(ledger, registry=replace(ledger.registry, delay=delay))


def submit(ledger: Ledger, m: Message, target: Address, data: bytes) -> Ledger:
    """`submit`."""
    section = ledger.registry
    _check_governor(section, m.sender)
    require(section.delay != 0, "NotSealed", ledger.parts.vault)
    selector = _selector(data)
    require((target, selector) not in section.abdicated, "Abdicated", target, selector)
    wait, vetoable = section.delay, True
    if target == ledger.parts.registry:
        if selector == _SET_GUARDIAN:
            wait = max(wait, GUARDIAN_DELAY)
        vetoable = selector not in (_SET_GUARDIAN, _TERMINATE, _ABDICATE)
    changes = {**section.changes, change_id(target, data): Change(m.at + wait, vetoable)}
    return replace(ledger, registry=replace(section, changes=changes))


def veto(ledger: Ledger, m: Message, id_: bytes) -> Ledger:
    """`veto`."""
    section = ledger.registry
    _check_reducer(section, m.sender)
    change = section.changes.get(id_)
    require(change is not None, "ChangeUnknown", id_)
    allowed = change is None or change.vetoable or m.sender == section.governor
    require(allowed, "NotVetoable", id_)
    return replace(ledger, registry=replace(section, changes=_without(section.changes, id_)))


def change_id(target: Address, data: bytes) -> bytes:
    """`changeId`."""
    return keccak(abi.encode(["address", "bytes"], [target, data]))


def authorise(ledger: Ledger, m: Message, target: Address) -> Ledger:
    """`authorise`, asked by `target` for the call it was given. Raises RevertError."""
    section = ledger.registry
    _check_governor(section, m.sender)
    selector = _selector(m.data)
    require((target, selector) not in section.abdicated, "Abdicated", target, selector)
    if section.delay == 0:
        return ledger
    id_ = change_id(target, m.data)
    change = section.changes.get(id_)
    at = change.executable_at if change else 0
    require(at != 0, "ChangeUnknown", id_)
    require(m.at >= at, "ChangeNotReady", id_, at)
    require(m.at <= at + CHANGE_WINDOW, "ChangeExpired", id_, at + CHANGE_WINDOW)
    return replace(ledger, registry=replace(section, changes=_without(section.changes, id_)))


def _timelocked(ledger: Ledger, m: Message) -> Ledger:
    return authorise(ledger, m, ledger.parts.registry)


def _selector(data: bytes) -> bytes:
    return data[:4].ljust(4, b"\0")


# POSITIONS AND PERMISSIONS


def list_position(
    ledger: Ledger, m: Message, connector: Address, key: bytes, risk_ids: tuple[bytes, ...]
) -> Ledger:
    """`listPosition`."""
    ledger = _timelocked(ledger, m)
    section = ledger.registry
    foreign = m.world.portfolio_of(connector) != section.portfolio
    require(not foreign, "ForeignConnector", connector)
    require(bool(risk_ids), "NoRiskId", connector, key)
    require(len(risk_ids) <= MAX_RISK_IDS, "TooManyRiskIds", MAX_RISK_IDS)
    keys = section.keys.get(connector, ())
    require(key not in keys, "PositionAlreadyListed", connector, key)
    require(len(section.positions) < MAX_POSITIONS, "TooManyPositions", MAX_POSITIONS)
    isolated = section.isolated
    if connector not in section.connectors:
        isolated = {**isolated, connector: m.world.isolated(connector)}
    section = replace(
        section,
        connectors=added(section.connectors, connector),
        keys={**section.keys, connector: (*keys, key)},
        risk_ids={**section.risk_ids, (connector, key): risk_ids},
        isolated=isolated,
    )
    return replace(ledger, registry=section)


def abandon_position(ledger: Ledger, m: Message, connector: Address, key: bytes) -> Ledger:
    """`abandonPosition`."""
    ledger = _timelocked(ledger, m)
    _check_listed(ledger, connector, key)
    return _dropped(ledger, m, (connector, key), dead=True)


def unlist_position(ledger: Ledger, m: Message, connector: Address, key: bytes) -> Ledger:
    """`unlistPosition`."""
    _check_governor(ledger.registry, m.sender)
    _check_listed(ledger, connector, key)
    seen = see(ledger.portfolio, m, (connector, key))
    dust = ledger.vault.accounting.stored_nav // DUST_DIVISOR + DUST_UNITS
    require(seen.healthy and seen.gross <= dust, "PositionNotEmpty", connector, key)
    return _dropped(ledger, m, (connector, key), dead=False)


def _check_listed(ledger: Ledger, connector: Address, key: bytes) -> None:
    require(key in ledger.registry.keys.get(connector, ()), "PositionUnknown", connector, key)


def _dropped(ledger: Ledger, m: Message, position: PositionId, dead: bool) -> Ledger:
    ledger = forget(ledger, m, position, dead)
    section, (connector, key) = ledger.registry, position
    keys = removed(section.keys[connector], key)
    connectors = section.connectors if keys else removed(section.connectors, connector)
    section = replace(
        section,
        connectors=connectors,
        keys={**section.keys, connector: keys},
        risk_ids=_without(section.risk_ids, position),
    )
    return replace(ledger, registry=section)


def set_selector(ledger: Ledger, m: Message, target: Address, selector: bytes, allowed: bool) -> Ledger:
    """`setSelector`."""
    ledger = _timelocked(ledger, m)
    change = added if allowed else removed
    allowed_now = change(ledger.registry.allowed, (target, selector))
    return replace(ledger, registry=replace(ledger.registry, allowed=allowed_now))


def abdicate(ledger: Ledger, m: Message, target: Address, selector: bytes) -> Ledger:
    """`abdicate`."""
    ledger = _timelocked(ledger, m)
    abdicated = added(ledger.registry.abdicated, (target, selector))
    return replace(ledger, registry=replace(ledger.registry, abdicated=abdicated))


# RISK


def set_cap(ledger: Ledger, m: Message, risk_id: bytes, cap: int) -> Ledger:
    """`setCap`."""
    return _with_cap(_timelocked(ledger, m), risk_id, cap)


def lower_cap(ledger: Ledger, m: Message, risk_id: bytes, cap: int) -> Ledger:
    """`lowerCap`; never raises it."""
    _check_reducer(ledger.registry, m.sender)
    return _with_cap(ledger, risk_id, cap) if cap < ledger.registry.caps.get(risk_id, 0) else ledger


def _with_cap(ledger: Ledger, risk_id: bytes, cap: int) -> Ledger:
    section = ledger.registry
    if cap:
        caps, order = {**section.caps, risk_id: cap}, added(section.cap_order, risk_id)
    else:
        caps, order = _without(section.caps, risk_id), removed(section.cap_order, risk_id)
    return replace(ledger, registry=replace(section, caps=caps, cap_order=order))


def set_exit_only(ledger: Ledger, m: Message, connector: Address) -> Ledger:
    """`setExitOnly`."""
    section = ledger.registry
    _check_reducer(section, m.sender)
    return replace(ledger, registry=replace(section, exit_only=added(section.exit_only, connector)))


def clear_exit_only(ledger: Ledger, m: Message, connector: Address) -> Ledger:
    """`clearExitOnly`."""
    ledger = _timelocked(ledger, m)
    exit_only = removed(ledger.registry.exit_only, connector)
    return replace(ledger, registry=replace(ledger.registry, exit_only=exit_only))


def pause_risk(ledger: Ledger, m: Message) -> Ledger:
    """`pauseRisk`."""
    section = ledger.registry
    _check_reducer(section, m.sender)
    free = section.risk_paused_until + PAUSE_LENGTH if section.risk_paused_until else 0
    require(m.at >= free, "ChangeNotReady", name("pauseRisk"), free)
    return replace(ledger, registry=replace(section, risk_paused_until=m.at + PAUSE_LENGTH))


def terminate(ledger: Ledger, m: Message) -> Ledger:
    """`terminate`."""
    ledger = _timelocked(ledger, m)
    return replace(ledger, registry=replace(ledger.registry, risk_paused_until=TERMINATED))
