"""`keeper policy`: that a policy holds together, what it asks of the chain, and that the chain agrees."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from eth_hash.auto import keccak

from keeper import clock
from keeper.chain.block import BlockRef, hex_bytes
from keeper.chain.pool import Endpoints, Pool, open_pools
from keeper.chain.snapshot import Snapshot, take
from keeper.config import load_toml
from keeper.contracts import address
from keeper.engine import load_strategy
from keeper.guardian.grants import Disagreement, Wider, disagreements, set_up
from keeper.guardian.queue import Stage, Submissions
from keeper.guardian.section import read_section
from keeper.guardian.watch import Seen, judged
from keeper.ops.changes import SinceOption, change, change_lines
from keeper.ops.output import JsonOption, logged_events, show
from keeper.oracle.source import told
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.planning.roles import role
from keeper.reads import VaultReads
from keeper.risk.slots import REQUIREMENTS, RiskPolicy
from keeper.swap.permissions import HandlerReads

app = typer.Typer(help="Policies: valid, generated on-chain permissions, agreement.", no_args_is_help=True)

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy.")]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The policy file.")],
    json: JsonOption = False,
) -> None:
    """Read a policy as a signer does: print its hash and what it enforces, or refuse it naming the key."""
    rules = policies.load(file)
    load_strategy(rules)
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
class _Agreement:
    """The chain's side at one block."""

    block: BlockRef
    differences: tuple[Disagreement, ...]
    queue: tuple[Seen, ...]
    not_stated: tuple[str, ...]


@app.command()
def diff(
    policy: PolicyOption,
    endpoints: Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")],
    since: SinceOption = 0,
    json: JsonOption = False,
) -> None:
    """Prove that chain, policy and code agree, in both directions, and list what waits in the timelock.

    Ends with 1, naming every difference, when they do not.
    """
    rules = policies.load(policy)
    seen = asyncio.run(_look(rules, load_toml(endpoints, Endpoints), since, json=json))
    agree = not seen.differences
    data = {
        "ok": agree,
        "policy_hash": rules.hash,
        "block": {"chain_id": seen.block.chain_id, "number": seen.block.number, "hash": seen.block.hash},
        "differences": seen.differences,
        "queue": [change(each) for each in seen.queue],
        "not_stated": seen.not_stated,
    }
    show(data, _text(rules, seen), json=json)
    if not agree:
        raise typer.Exit(1)


def _text(rules: Policy, seen: _Agreement) -> str:
    where = f"block {seen.block.number} of chain {seen.block.chain_id}"
    lines = [str(each) for each in seen.differences]
    lines += [line for each in seen.queue for line in change_lines(each)]
    if seen.not_stated:
        lines.append(f"not stated by the policy, and not compared: {', '.join(seen.not_stated)}")
    verdict = f"{len(seen.differences)} differences" if seen.differences else "agree"
    return "\n".join([*lines, f"policy 0x{rules.hash.hex()} and {where}: {verdict}"])


async def _look(rules: Policy, settings: Endpoints, since: int, *, json: bool) -> _Agreement:
    hub, reads = rules.vault.chain_id, VaultReads(rules)
    handler = None if rules.swap is None else HandlerReads(rules.swap)
    calls = [*reads.parts.values(), *([] if handler is None else handler.calls())]
    async with open_pools(settings, [hub], logged_events(json=json)) as pools:
        pool = pools[hub]
        now = await clock.named(settings.clock, pool).now()
        taken = await take(pools, {hub: calls}, now, {hub: rules.finality[hub]})
        block = taken.block(hub)
        section = await read_section(pool, rules, block)
        queue = judged(rules, section, await Submissions(pool, rules.vault, since).queued(section))
        read, vault = partial(taken.result, hub), rules.vault
        found = () if handler is None else handler.differences(read, vault.portfolio, vault.asset)
        differences = (
            *_parts(rules, reads, taken),
            *await _code(rules, pool, block),
            *disagreements(rules, section),
            *(Disagreement(*each, Wider.OTHER) for each in found),
        )
        waiting = tuple(each for each in queue if each.stage is not Stage.EXPIRED)
        return _Agreement(block, differences, waiting, _not_stated(rules))


def _parts(rules: Policy, reads: VaultReads, taken: Snapshot) -> list[Disagreement]:
    found = []
    for name, call in reads.parts.items():
        ours, theirs = getattr(rules.vault, name), told(partial(taken.result, rules.vault.chain_id), call)
        if theirs != ours:
            found.append(Disagreement(name, ours, str(theirs), Wider.OTHER))
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
