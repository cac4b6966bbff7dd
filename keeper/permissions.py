"""That the chain grants what the policy says: parts, positions, risk ids, roles and signers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keeper.chain.call import CallFailure
from keeper.connectors.base import Read
from keeper.errors import DecodeError, PolicyError
from keeper.exposures import risk_id
from keeper.planning.policy import Policy
from keeper.reads import VaultReads
from keeper.safe.account import SafePolicy, SafeReads, facts, modules_of
from keeper.units import Address
from keeper.valuation import Must

Place = tuple[Address, bytes]


def check_parts(policy: Policy, reads: VaultReads, read: Read) -> None:
    """That there is such a vault, and that it is made of the contracts the policy names."""
    for name, call in reads.parts.items():
        try:
            seen = read(call)
        except DecodeError:
            # An account without code answers with nothing at all.
            seen = CallFailure(b"", call.label)
        if isinstance(seen, CallFailure):
            raise PolicyError(
                "The policy names an unknown vault",
                expected=f"a contract that answers {call.label}",
                seen=f"none at {call.target}",
                where=f"chain {policy.vault.chain_id}",
                hint="Check the address and the chain.",
            )
        _same(name, getattr(policy.vault, name), seen)


def check_permissions(policy: Policy, reads: VaultReads, must: Must) -> None:
    """That the registry lists the policy's positions under its risk ids, and that the quorum is its own.

    Caps, exit-only connectors and a pause are no disagreement: whichever is tighter holds (`open_book`), so
    that a guardian who lowers a risk needs nobody's consent and stops no exit.
    """
    listed = {(connector, key): ids for connector, key, ids in must(reads.positions)}
    venues = {(each.address, each.key): each.venue for each in policy.positions}
    _same("listed positions", _named(venues, venues), _named(listed, venues))
    names = {risk_id(name): name for name in policy.caps}
    for each in policy.positions:
        seen = [names.get(id_, f"0x{id_.hex()}") for id_ in listed[each.address, each.key]]
        _same(f"risk ids of {each.venue}", _joined(each.risk_ids), _joined(seen))
    if policy.oracle is not None:
        _same("oracle", policy.oracle.router, must(reads.oracle))
    _same("keeper role", policy.vault.quorum, must(reads.keeper))
    _same("signers", sorted(policy.signers.addresses), sorted(must(reads.signers)))
    _same("threshold", policy.signers.threshold, must(reads.threshold))
    if policy.safe is not None and reads.safe is not None:
        _check_safe(policy.safe, reads.safe, must)


def _check_safe(policy: SafePolicy, reads: SafeReads, must: Must) -> None:
    """That nothing acts for the Safe, or instead of it, but what the policy names."""
    for what, expected, call in facts(policy, reads):
        _same(what, expected, must(call))
    _same("Safe's modules", _joined(policy.modules), _joined(modules_of(must(reads.modules))))


def _named(positions: Mapping[Place, Any], venues: Mapping[Place, str]) -> str:
    """Positions for people: by venue where the policy has a name for them."""
    return _joined(venues.get(each) or f"{each[0]} key 0x{each[1].hex()}" for each in positions)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _same(what: str, expected: object, seen: object) -> None:
    if expected != seen:
        raise PolicyError(
            f"The chain and the policy disagree on the {what}",
            expected=expected,
            seen=seen,
            hint="Bring the policy or the registry up to date; nothing is signed until they agree.",
        )
