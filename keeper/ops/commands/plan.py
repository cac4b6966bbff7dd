"""`keeper plan`: the plan that follows from the chains, as a file that anyone can verify."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from keeper import clock, engine
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.snapshot import Snapshot, take
from keeper.config import load_toml
from keeper.execution import attesting
from keeper.ops import plan_files
from keeper.ops.output import JsonOption, logged_events, show
from keeper.planning import policy as policies
from keeper.planning.attestation import Attestation
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.planning.validity import require_reference_time

app = typer.Typer(help="The plan that follows from the chains, as a file.", no_args_is_help=True)

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy.")]
EndpointsOption = Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where to save the plan: its canonical bytes.")]
SnapshotOption = Annotated[
    Path | None, typer.Option("--snapshot", help="Where to save the snapshot it rests on.")
]
KindOption = Annotated[Kind, typer.Option("--kind", help="What to ask the quorum for.")]
AtOption = Annotated[int | None, typer.Option("--at", min=0, help="Reference time in seconds; else now.")]
AttestationOption = Annotated[
    Path | None, typer.Option("--attestation", help="Where to save what a simulation at the head saw.")
]


@app.command()
def plan(
    policy: PolicyOption,
    endpoints: EndpointsOption,
    out: OutOption,
    kind: KindOption = Kind.BATCH,
    at: AtOption = None,
    snapshot: SnapshotOption = None,
    attest: AttestationOption = None,
    json: JsonOption = False,
) -> None:
    """Read the chains at one time, derive the plan that follows, and save it. Nothing is signed or sent.

    Ends with 4 when there is nothing to do, or the reference time is older than the policy allows.
    """
    rules = policies.load(policy)
    settings = load_toml(endpoints, Endpoints)
    taken, made, seen = asyncio.run(_make(rules, settings, kind, at, attest=attest is not None, json=json))
    plan_files.save(out, made)
    if snapshot is not None:
        taken.save(snapshot)
    if attest is not None and seen is not None:
        seen.save(attest)
    data = {
        "ok": True,
        "plan_hash": made.plan_hash,
        "snapshot_hash": taken.hash,
        "policy_hash": rules.hash,
        "kind": made.kind.value,
        "reference_time": made.reference_time,
        "valid_until": made.valid_until,
        "slot": made.slot,
        "calls": [call.explain() for call in made.batch.calls] if made.kind is Kind.BATCH else [],
        "simulation": None if seen is None else seen.outcome,
    }
    show(data, _text(made, out), json=json)


async def _make(
    policy: Policy, settings: Endpoints, kind: Kind, at: int | None, *, attest: bool, json: bool
) -> tuple[Snapshot, Plan, Attestation | None]:
    hub = policy.vault.chain_id
    async with open_pools(settings, policy.chains, logged_events(json=json)) as pools:
        now = await clock.named(settings.clock, pools[hub]).now()
        time = now if at is None else at
        require_reference_time(time, policy, now)
        taken = await take(pools, engine.calls(policy), time, policy.finality)
        made = engine.derive(taken, policy, kind)
        if not attest:
            return taken, made, None
        head = await pools[hub].latest(now)
        post = engine.calls(policy)[hub]
        return taken, made, await attesting.attest(pools[hub], made, policy, head, post, by="keeper plan")


def _text(made: Plan, out: Path) -> str:
    lines = [f"plan 0x{made.plan_hash.hex()}", f"{made.kind.value}, saved as {out}"]
    if made.kind is Kind.BATCH:
        lines += [call.explain() for call in made.batch.calls]
        lines.append(made.batch.reason)
    else:
        lines.append(f"settle epoch {made.settlement.epoch}")
    return "\n".join(lines)
