"""What the registry must hold for a policy, and every difference between that and what it does hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from keeper.contracts import Contract
from keeper.exposures import risk_id
from keeper.guardian.section import NOBODY, Section
from keeper.planning.actions import ACTIONS, SWAP_LIFI, SWAP_UNISWAP
from keeper.planning.policy import Policy
from keeper.swap import permissions
from keeper.units import Address

Place = tuple[Address, bytes]
_SELECTORS: Final = {function.selector: function.name for function in ACTIONS.values()}


class Wider(StrEnum):
    """Which side allows what the other does not."""

    POLICY = "the policy allows what the chain does not"
    CHAIN = "the chain allows what the policy does not"
    OTHER = "the policy and the chain say different things"


@dataclass(frozen=True)
class Disagreement:
    """One difference, for people: `field` as the registry calls it. `lowered`: what a guardian may do at once
    made it, and plans keep to it without being told."""

    field: str
    policy: str
    chain: str
    wider: Wider
    lowered: bool = False

    def __str__(self) -> str:
        return f"{self.field}: policy {self.policy}, chain {self.chain} ({self.wider})"


@dataclass(frozen=True)
class Grants:
    """What the policy asks the registry to hold: roles by name, the delay in seconds, caps in the vault's
    asset by risk id. A role that the policy does not name is left out, and so is its delay."""

    roles: Mapping[str, Address]
    delay: int | None
    positions: Mapping[Place, frozenset[bytes]]
    allowed: frozenset[Place]
    caps: Mapping[bytes, int]

    @classmethod
    def of(cls, policy: Policy) -> Grants:
        roles = {"portfolio": policy.vault.portfolio, "keeper": policy.vault.quorum}
        if policy.oracle is not None:
            roles["oracle"] = policy.oracle.router
        if policy.guardian is not None:
            roles["guardian"] = policy.guardian.address
        if policy.governor is not None:
            roles["governor"] = policy.governor.address
        return cls(
            roles=roles,
            delay=policy.governor.delay if policy.governor is not None else None,
            positions={
                (each.address, each.key): frozenset(risk_id(name) for name in each.risk_ids)
                for each in policy.positions
            },
            allowed=frozenset(
                (each.address, ACTIONS[name].selector) for each in policy.positions for name in each.functions
            )
            | _swaps(policy),
            caps={risk_id(name): assets for name, assets in policy.caps.items() if assets},
        )


def _swaps(policy: Policy) -> frozenset[Place]:
    """What batches may ask of the swap handler."""
    swap = policy.swap
    if swap is None:
        return frozenset()
    routes = [SWAP_UNISWAP] if any(each.path for each in swap.tokens.values()) else []
    routes += [SWAP_LIFI] if swap.lifi is not None else []
    return frozenset((swap.handler, each.selector) for each in routes)


@dataclass(frozen=True)
class SetUp:
    """One call of the governor to `target`, the registry or the swap handler; before the vault is sealed it
    takes effect at once."""

    target: Address
    function: str
    what: str
    data: bytes


def set_up(policy: Policy) -> tuple[SetUp, ...]:
    """The calls that make registry and swap handler hold what the policy says, in an order that works."""
    vault, registry = policy.vault.vault, Contract(policy.vault.registry, "Registry")

    def call(function: str, what: str, *args: Any) -> SetUp:
        return SetUp(registry.address, function, what, registry.encode(function, vault, *args))

    wanted, names = Grants.of(policy), Names(policy)
    calls = [call("setKeeper", policy.vault.quorum, policy.vault.quorum)]
    if policy.oracle is not None:
        calls.append(call("setOracle", policy.oracle.router, policy.oracle.router))
    if policy.guardian is not None:
        calls.append(call("setGuardian", policy.guardian.address, policy.guardian.address))
    calls += [
        call("setCap", f"{name} at most {assets:,}", risk_id(name), assets)
        for name, assets in sorted(policy.caps.items())
    ]
    calls += [
        call(
            "listPosition",
            f"{each.venue} under {', '.join(each.risk_ids)}",
            each.address,
            each.key,
            [risk_id(name) for name in each.risk_ids],
        )
        for each in sorted(policy.positions, key=lambda each: each.venue)
    ]
    calls += [call("setSelector", names.permission(place), *place, True) for place in sorted(wanted.allowed)]
    if policy.swap is not None:
        calls += [SetUp(policy.swap.handler, *each) for each in permissions.set_up(policy.swap)]
    if policy.governor is not None:
        calls.append(call("seal", f"delay of {policy.governor.delay} s", policy.governor.delay))
    return tuple(calls)


class Names:
    """The policy's names for what the registry knows by address and hash."""

    def __init__(self, policy: Policy) -> None:
        self._venues = {(each.address, each.key): each.venue for each in policy.positions}
        self._risk_ids = {risk_id(name): name for name in policy.caps}
        self._connectors: dict[Address, str] = {}
        for each in policy.positions:
            self._connectors.setdefault(each.address, each.connector)
        if policy.swap is not None:
            self._connectors[policy.swap.handler] = "swap handler"

    def position(self, place: Place) -> str:
        return self._venues.get(place) or f"{place[0]} key 0x{place[1].hex()}"

    def risk_id(self, word: bytes) -> str:
        return self._risk_ids.get(word) or f"0x{word.hex()}"

    def risk_ids(self, words: Iterable[bytes]) -> str:
        return ", ".join(sorted(map(self.risk_id, words))) or "none"

    def connector(self, address: Address) -> str:
        name = self._connectors.get(address)
        return f"{name} {address}" if name else address

    def permission(self, place: Place) -> str:
        """A function by name; one that this code does not know by its selector."""
        function = _SELECTORS.get(place[1]) or f"0x{place[1].hex()}, which this code does not know"
        return f"{self.connector(place[0])} {function}"


def disagreements(policy: Policy, chain: Section) -> tuple[Disagreement, ...]:
    """Every field in which the chain departs from the policy at the section's block."""
    return tuple(_compare(policy, Grants.of(policy), chain, Names(policy)))


def _compare(policy: Policy, wanted: Grants, chain: Section, names: Names) -> Iterator[Disagreement]:
    yield from _roles(policy, wanted, chain)
    listed = {(each.connector, each.key): frozenset(each.risk_ids) for each in chain.positions}
    yield from _members("position", names.position, wanted.positions.keys(), listed.keys())
    for place in sorted(wanted.positions.keys() & listed.keys()):
        ours, theirs = wanted.positions[place], listed[place]
        if ours != theirs:
            where = f"risk ids of {names.position(place)}"
            yield Disagreement(where, names.risk_ids(ours), names.risk_ids(theirs), Wider.OTHER)
    yield from _members("function", names.permission, wanted.allowed, chain.allowed)
    caps = dict(chain.caps)
    for word in sorted(wanted.caps.keys() | caps.keys()):
        allowed, granted = wanted.caps.get(word, 0), caps.get(word, 0)
        if allowed != granted:
            wider, lowered = (Wider.POLICY, True) if allowed > granted else (Wider.CHAIN, False)
            yield Disagreement(
                f"cap of {names.risk_id(word)}", f"{allowed:,}", f"{granted:,}", wider, lowered
            )
    for connector in sorted(chain.exit_only):
        yield Disagreement("exit only", "may grow", names.connector(connector), Wider.POLICY, lowered=True)
    if (until := chain.risk_paused_until) > chain.block.timestamp:
        yield Disagreement("risk", "not paused", f"paused until {until}", Wider.POLICY, lowered=True)


def _roles(policy: Policy, wanted: Grants, chain: Section) -> Iterator[Disagreement]:
    for role, who in wanted.roles.items():
        if getattr(chain, role) != who:
            yield Disagreement(role, who, getattr(chain, role), Wider.OTHER)
    if chain.pending_governor not in (NOBODY, wanted.roles.get("governor")):
        yield Disagreement("pending governor", "nobody else", chain.pending_governor, Wider.CHAIN)
    if wanted.delay is not None and wanted.delay != chain.delay:
        wider = Wider.CHAIN if chain.delay < wanted.delay else Wider.POLICY
        yield Disagreement("delay", f"{wanted.delay} s", f"{chain.delay} s", wider)
    ours, theirs = (", ".join(sorted(each)) for each in (policy.signers.addresses, chain.signers))
    if ours != theirs:
        yield Disagreement("signers", ours, theirs, Wider.OTHER)
    if policy.signers.threshold != chain.threshold:
        wider = Wider.CHAIN if chain.threshold < policy.signers.threshold else Wider.POLICY
        yield Disagreement("threshold", str(policy.signers.threshold), str(chain.threshold), wider)


def _members(what: str, name: Any, wanted: Iterable[Place], chain: Iterable[Place]) -> Iterator[Disagreement]:
    ours, theirs = set(wanted), set(chain)
    for place in sorted(ours - theirs):
        yield Disagreement(f"{what} {name(place)}", "listed", "not listed", Wider.POLICY)
    for place in sorted(theirs - ours):
        yield Disagreement(f"{what} {name(place)}", "not listed", "listed", Wider.CHAIN)
