"""`keeper policy`: that a policy holds together, what it asks of the chain, and that the chain agrees."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from eth_hash.auto import keccak

from keeper import clock
from keeper.chain.block import BlockRef, hex_bytes
from keeper.chain.call import Call
from keeper.chain.history import read_history
from keeper.chain.pool import Endpoints, Pool, open_pools
from keeper.chain.snapshot import Snapshot, take
from keeper.config import load_toml
from keeper.contracts import Contract, address
from keeper.errors import PolicyError
from keeper.grants import Disagreement, Grants, Wider, disagreements, set_up
from keeper.ops.output import JsonOption, logged_events, show
from keeper.oracle.source import told
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.planning.roles import role
from keeper.reads import VaultReads
from keeper.risk.slots import REQUIREMENTS, RiskPolicy
from keeper.swap.permissions import HandlerReads
from keeper.timelock import Queued, query, queued

app = typer.Typer(help="Policies: valid, generated on-chain permissions, agreement.", no_args_is_help=True)

_YEAR_OF_BLOCKS: Final = 2_700_000

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy.")]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The policy file.")],
    json: JsonOption = False,
) -> None:
    """Read a policy as a signer does: print its hash and what it enforces, or refuse it naming the key."""
    rules = policies.load(file)
    slots = [
        name for name in RiskPolicy.model_fields if getattr(rules.risk or RiskPolicy(), name) is not None
    ]
    venues = [each.venue for each in rules.positions]
    optional = [name for name in policies.OPTIONAL if getattr(rules, name) is not None]
    data = {
        "ok": True,
        "name": rules.name,
        "policy_hash": rules.hash,
        "vault": rules.vault.vault,
        "positions": venues,
        "limits": slots,
        "optional": optional,
    }
    text = [
        f"{rules.name}: policy 0x{rules.hash.hex()} of vault {rules.vault.vault}",
        f"positions: {', '.join(venues)}",
        f"risk limits: {', '.join(f'{name} {REQUIREMENTS[name]}' for name in slots)}",
        f"optional sections: {', '.join(optional) or 'none'}",
    ]
    show(data, "\n".join(text), json=json)


@app.command()
def permissions(policy: PolicyOption, json: JsonOption = False) -> None:
    """Print the governor's calls that make registry and swap handler hold what the policy says."""
    rules = policies.load(policy)
    calls = set_up(rules)
    listed = [
        {"target": each.target, "function": each.function, "what": each.what, "data": each.data}
        for each in calls
    ]
    lines = [f"governor to registry {rules.vault.registry}, for policy 0x{rules.hash.hex()}"]
    for each in calls:
        where = "" if each.target == rules.vault.registry else f", to swap handler {each.target}"
        lines.append(f"{each.function:14}{each.what}{where}\n{'':14}0x{each.data.hex()}")
    show(
        {"ok": True, "policy_hash": rules.hash, "registry": rules.vault.registry, "calls": listed},
        "\n".join(lines),
        json=json,
    )


@app.command()
def roles(
    policy: PolicyOption,
    member: Annotated[
        list[str], typer.Option("--member", help="Who may use the role; may be given several times.")
    ],
    key: Annotated[str, typer.Option("--key", help="The role's name, at most 32 bytes.")] = "keeper",
    json: JsonOption = False,
) -> None:
    """Describe the policy as a role of a Zodiac Roles Modifier 2, for a Safe with the keeper role."""
    rules = policies.load(policy)
    found = role(rules, key, [address(each) for each in member])
    counts = [len(each["conditionsFlat"]) for target in found["targets"] for each in target["functions"]]
    lines = [
        f"{each['address']} {called['selector']}: {len(called['conditionsFlat'])} conditions"
        for each in found["targets"]
        for called in each["functions"]
    ]
    lines.append(f"{sum(counts)} conditions in all; --json prints them")
    text = "\n".join([f"role {key} of {', '.join(found['members'])}", *lines])
    show({"ok": True, "policy_hash": rules.hash, "role": found}, text, json=json)


# DIFF


@dataclass(frozen=True)
class _Seen:
    """The chain's side at one block."""

    block: BlockRef
    differences: tuple[Disagreement, ...]
    queued: tuple[Queued, ...]
    not_stated: tuple[str, ...]


@app.command()
def diff(
    policy: PolicyOption,
    endpoints: Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")],
    blocks: Annotated[
        int, typer.Option("--blocks", min=1, help="How far back to look for queued changes.")
    ] = _YEAR_OF_BLOCKS,
    json: JsonOption = False,
) -> None:
    """Prove that chain, policy and code agree, in both directions, and list what waits in the timelock.

    Ends with 1, naming every difference, when they do not.
    """
    rules = policies.load(policy)
    seen = asyncio.run(_look(rules, load_toml(endpoints, Endpoints), blocks, json=json))
    agree = not seen.differences
    data = {
        "ok": agree,
        "policy_hash": rules.hash,
        "block": {"chain_id": seen.block.chain_id, "number": seen.block.number, "hash": seen.block.hash},
        "differences": [
            {"field": each.field, "policy": each.policy, "chain": each.chain, "wider": each.wider.value}
            for each in seen.differences
        ],
        "queued": [
            {
                "id": each.id,
                "target": each.target,
                "says": each.says,
                "executable_at": each.executable_at,
                "vetoable": each.vetoable,
                "in_policy": each.in_policy,
            }
            for each in seen.queued
        ],
        "not_stated": seen.not_stated,
    }
    show(data, _text(rules, seen), json=json)
    if not agree:
        raise typer.Exit(1)


def _text(rules: Policy, seen: _Seen) -> str:
    where = f"block {seen.block.number} of chain {seen.block.chain_id}"
    lines = [str(each) for each in seen.differences]
    lines += [
        f"queued from {each.executable_at} on: {each.says} ({'' if each.in_policy else 'NOT '}in the policy)"
        for each in seen.queued
    ]
    if seen.not_stated:
        lines.append(f"not stated by the policy, and not compared: {', '.join(seen.not_stated)}")
    verdict = f"{len(seen.differences)} differences" if seen.differences else "agree"
    return "\n".join([*lines, f"policy 0x{rules.hash.hex()} and {where}: {verdict}"])


async def _look(rules: Policy, settings: Endpoints, blocks: int, *, json: bool) -> _Seen:
    hub, reads = rules.vault.chain_id, VaultReads(rules)
    section = Contract(rules.vault.registry, "Registry").call("policy", rules.vault.vault)
    handler = None if rules.swap is None else HandlerReads(rules.swap)
    calls = [*reads.parts.values(), reads.signers, reads.threshold, section]
    calls += [] if handler is None else handler.calls()
    async with open_pools(settings, [hub], logged_events(json=json)) as pools:
        pool = pools[hub]
        now = await clock.named(settings.clock, pool).now()
        taken = await take(pools, {hub: calls}, now, {hub: rules.finality[hub]})
        block = taken.block(hub)
        differences = [*_own_contracts(rules, reads, taken, hub), *await _code(rules, pool, block)]
        raw = told(lambda call: taken.result(hub, call), section)
        if raw is None:
            raise PolicyError(
                "The registry does not answer",
                expected=section.label,
                seen=f"nothing from {section.target}",
                hint="Check the address and the chain.",
            )
        differences += disagreements(rules, Grants.parse(raw), block.timestamp)
        if handler is not None:
            found = handler.differences(
                lambda call: taken.result(hub, call), rules.vault.portfolio, rules.vault.asset
            )
            differences += [Disagreement(*each, Wider.OTHER) for each in found]
        history = await read_history(pool, block, [query(rules, min(blocks, block.number + 1))])
        logs = history.logs[0].found if history is not None else ()
        return _Seen(block, tuple(differences), queued(rules, logs, block.timestamp), _not_stated(rules))


def _own_contracts(rules: Policy, reads: VaultReads, taken: Snapshot, hub: int) -> list[Disagreement]:
    """Parts of the vault, and the quorum's signers."""
    wanted: list[tuple[str, Call[Any], Any]] = [
        (name, call, getattr(rules.vault, name)) for name, call in reads.parts.items()
    ]
    wanted.append(("signers", reads.signers, tuple(sorted(rules.signers.addresses))))
    wanted.append(("threshold", reads.threshold, rules.signers.threshold))
    found = []
    for name, call, ours in wanted:
        theirs = told(lambda each: taken.result(hub, each), call)
        theirs = tuple(sorted(theirs)) if isinstance(theirs, list | tuple) else theirs
        if theirs != ours:
            found.append(Disagreement(name, _shown(ours), _shown(theirs), Wider.OTHER))
    return found


async def _code(rules: Policy, pool: Pool, block: BlockRef) -> list[Disagreement]:
    """That there is code wherever the policy sends a call, and the code it says."""
    own = [
        rules.vault.vault,
        rules.vault.portfolio,
        rules.vault.registry,
        rules.vault.quorum,
    ]
    pinned = rules.code or {}
    found = []
    own += [] if rules.swap is None else [rules.swap.handler]
    for place in sorted({*own, *(each.address for each in rules.positions), *pinned}):
        at = {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}
        code = hex_bytes(await pool.rpc("eth_getCode", [place, at]))
        if not code:
            found.append(Disagreement(f"code of {place}", "a contract", "none", Wider.OTHER))
        elif place in pinned and keccak(code) != pinned[place]:
            said = f"0x{pinned[place].hex()}"
            found.append(Disagreement(f"code of {place}", said, f"0x{keccak(code).hex()}", Wider.OTHER))
    return found


def _not_stated(rules: Policy) -> tuple[str, ...]:
    missing = [name for name in ("oracle", "guardian", "governor", "code") if getattr(rules, name) is None]
    return tuple(missing)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
