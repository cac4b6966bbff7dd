"""Whether the policy contains what the chain will grant once a queued change is made.

Default-deny, as the policy: what no rule here finds in it is foreign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.exposures import risk_id
from keeper.guardian.grants import Names
from keeper.guardian.queue import Queued
from keeper.planning.actions import ACTIONS
from keeper.planning.policy import Policy, PositionPolicy
from keeper.units import Address

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`contained`: once it is made, the chain grants nothing that the policy does not, and lacks nothing that
    the policy counts on. `why` is for people."""

    contained: bool
    why: str


def _contains(why: str) -> Verdict:
    return Verdict(True, why)


def _lacks(why: str) -> Verdict:
    return Verdict(False, why)


_UNSAID: Final = _lacks("the policy says nothing about it")


def judge(policy: Policy, change: Queued) -> Verdict:
    """The verdict on a queued change."""
    if change.function is None:
        return _lacks("it is no function of the vault's contracts that is known here")
    rule = _RULES.get((change.contract or "", change.function))
    if rule is None:
        return _UNSAID
    arguments = dict(change.arguments)
    if arguments.get("vault", policy.vault.vault) != policy.vault.vault:
        return _lacks(f"it names another vault, {arguments['vault']}: it cannot be made")
    return rule(policy, arguments)


# RULES


def _of(policy: Policy, connector: Address) -> list[PositionPolicy]:
    return [each for each in policy.positions if each.address == connector]


def _position(policy: Policy, a: Arguments) -> Verdict:
    for each in _of(policy, a["connector"]):
        if each.key == a["key"]:
            if sorted(map(risk_id, each.risk_ids)) == sorted(a["riskIds"]):
                return _contains(f"the policy's {each.venue}")
            names = Names(policy).risk_ids(a["riskIds"])
            return _lacks(f"{each.venue} counts under {', '.join(each.risk_ids)} in the policy, not {names}")
    return _lacks("the policy has no such position")


def _selector(policy: Policy, a: Arguments) -> Verdict:
    users = [
        f"{name} of {each.venue}"
        for each in _of(policy, a["connector"])
        for name in each.functions
        if ACTIONS[name].selector == a["selector"]
    ]
    if a["allowed"]:
        return _contains(f"the policy uses {users[0]}") if users else _lacks("the policy does not use it")
    return _lacks(f"the policy uses {users[0]}") if users else _contains("the policy does not use it")


def _cap(policy: Policy, a: Arguments) -> Verdict:
    caps = {risk_id(name): cap for name, cap in policy.caps.items()}
    limit = caps.get(a["riskId"], 0)
    if a["cap"] > limit:
        return _lacks(f"{a['cap']:,} is above the policy's {limit:,}")
    return _contains(f"{a['cap']:,} is within the policy's {limit:,}")


def _growth(policy: Policy, a: Arguments) -> Verdict:
    venues = [each.venue for each in _of(policy, a["connector"])]
    if venues:
        return _contains(f"the policy has {venues[0]} there")
    return _lacks("the policy has no position there")


def _abandonment(policy: Policy, a: Arguments) -> Verdict:
    for each in _of(policy, a["connector"]):
        if each.key == a["key"]:
            return _lacks(f"the policy has {each.venue}")
    return _contains("the policy does not have the position")


def _oracle(policy: Policy, a: Arguments) -> Verdict:
    if policy.oracle is None:
        return _lacks("the policy names no oracle")
    return _same("oracle", policy.oracle.router, a["oracle"])


def _keeper(policy: Policy, a: Arguments) -> Verdict:
    return _same("keeper", policy.vault.quorum, a["keeper"])


def _guardian(policy: Policy, a: Arguments) -> Verdict:
    if policy.guardian is None:
        return _UNSAID
    return _same("guardian", policy.guardian.address, a["guardian"])


def _governor(policy: Policy, a: Arguments) -> Verdict:
    if policy.governor is None:
        return _UNSAID
    return _same("governor", policy.governor.address, a["governor"])


def _delay(policy: Policy, a: Arguments) -> Verdict:
    if policy.governor is None:
        return _UNSAID
    named, seen = policy.governor.delay, a["delay"]
    if named == seen:
        return _contains("the policy's delay")
    return _lacks(f"the policy's delay is {named:,} s, not {seen:,} s")


def _signers(policy: Policy, a: Arguments) -> Verdict:
    named = policy.signers
    if sorted(a["signers"]) == sorted(named.addresses) and a["threshold"] == named.threshold:
        return _contains("the policy's signers")
    seen = f"{a['threshold']} of {', '.join(a['signers'])}"
    return _lacks(f"the policy's are {named.threshold} of {', '.join(named.addresses)}, not {seen}")


def _same(what: str, named: Address, seen: Address) -> Verdict:
    if named == seen:
        return _contains(f"the policy's {what}")
    return _lacks(f"the policy's {what} is {named}, not {seen}")


_RULES: Final[Mapping[tuple[str, str], Callable[[Policy, Arguments], Verdict]]] = {
    ("Registry", "listPosition"): _position,
    ("Registry", "abandonPosition"): _abandonment,
    ("Registry", "setSelector"): _selector,
    ("Registry", "setCap"): _cap,
    ("Registry", "clearExitOnly"): _growth,
    ("Registry", "setOracle"): _oracle,
    ("Registry", "setKeeper"): _keeper,
    ("Registry", "setGuardian"): _guardian,
    ("Registry", "setDelay"): _delay,
    ("Registry", "proposeGovernor"): _governor,
    ("KeeperQuorum", "setSigners"): _signers,
}
"""By contract and function. The policy says nothing about parameters and what cannot be undone, so these are
foreign whatever their arguments."""
