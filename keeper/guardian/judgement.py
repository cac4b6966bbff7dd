"""Whether the policy contains what the chain grants, or will grant once a queued change is made.

Default-deny, as the policy: what no rule here finds in it is foreign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.exposures import risk_id
from keeper.guardian.queue import Queued
from keeper.guardian.section import NOBODY, Section
from keeper.planning.plan import ACTIONS
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


def judge(policy: Policy, change: Queued) -> Verdict:
    """The verdict on a queued change."""
    if change.function is None:
        return _lacks("it is no function of the vault's contracts that is known here")
    rule = _RULES.get((change.contract or "", change.function))
    if rule is None:
        return _lacks("the policy says nothing about it")
    arguments = dict(change.arguments)
    if arguments.get("vault", policy.vault.vault) != policy.vault.vault:
        return _lacks(f"it names another vault, {arguments['vault']}: it cannot be made")
    return rule(policy, arguments)


def differences(policy: Policy, section: Section) -> Iterator[str]:
    """What the chain grants now that the policy does not, and what it lacks; empty when they agree.

    A cap below the policy's, a pause and an exit-only connector are no difference: the tighter holds.
    """
    vault = policy.vault
    if section.portfolio != vault.portfolio:
        yield f"the portfolio is {section.portfolio}, the policy's {vault.portfolio}"
    if section.pending_governor != NOBODY:
        yield f"{section.pending_governor} may accept to be governor at any time"
    verdicts = [
        ("keeper", _keeper(policy, {"keeper": section.keeper})),
        ("signers", _signers(policy, {"signers": section.signers, "threshold": section.threshold})),
        *(
            (
                f"position {each.connector} key 0x{each.key.hex()}",
                _position(policy, {"connector": each.connector, "key": each.key, "riskIds": each.risk_ids}),
            )
            for each in section.positions
        ),
        *(
            (
                f"function 0x{selector.hex()} of {target}",
                _selector(policy, {"connector": target, "selector": selector, "allowed": True}),
            )
            for target, selector in section.allowed
        ),
        *(
            (f"cap of {_risk_name(policy, id_)}", _cap(policy, {"riskId": id_, "cap": assets}))
            for id_, assets in section.caps
        ),
    ]
    if policy.oracle is not None:
        verdicts.append(("oracle", _oracle(policy, {"oracle": section.oracle})))
    yield from (f"{what}: {verdict.why}" for what, verdict in verdicts if not verdict.contained)
    yield from _missing(policy, section)


def _missing(policy: Policy, section: Section) -> Iterator[str]:
    listed = {(each.connector, each.key) for each in section.positions}
    for each in policy.positions:
        if (each.address, each.key) not in listed:
            yield f"{each.venue}: the policy has it, and the chain does not list it"
        for name in each.functions:
            if (each.address, ACTIONS[name].selector) not in section.allowed:
                yield f"{each.venue}: the policy uses {name}, and the chain does not allow it"


# RULES


def _of(policy: Policy, connector: Address) -> list[PositionPolicy]:
    return [each for each in policy.positions if each.address == connector]


def _position(policy: Policy, a: Arguments) -> Verdict:
    for each in _of(policy, a["connector"]):
        if each.key == a["key"]:
            if sorted(map(risk_id, each.risk_ids)) == sorted(a["riskIds"]):
                return _contains(f"the policy's {each.venue}")
            names = ", ".join(_risk_name(policy, id_) for id_ in a["riskIds"])
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


def _risk_name(policy: Policy, id_: bytes) -> str:
    return next((name for name in policy.caps if risk_id(name) == id_), f"0x{id_.hex()}")


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
    ("KeeperQuorum", "setSigners"): _signers,
}
"""By contract and function. The policy says nothing about governor, guardian, delay, parameters and what
cannot be undone, so these are foreign whatever their arguments."""
