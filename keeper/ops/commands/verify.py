"""`keeper verify`: anyone derives a plan again and says "identical", or exactly what differs."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from keeper import engine
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.snapshot import Snapshot
from keeper.config import load_toml
from keeper.errors import ConfigError
from keeper.execution import attesting
from keeper.ops import plan_files
from keeper.ops.output import JsonOption, logged_events, show
from keeper.planning import policy as policies
from keeper.planning.attestation import Attestation
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.verification import How, Input, Verification, from_endpoints, require_same_code
from keeper.verification import verify as verify_plan

app = typer.Typer(help="Derive a plan again and compare.", no_args_is_help=True)

PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="A saved plan.")]
PolicyOption = Annotated[Path, typer.Option("--policy", help="The policy it is to be verified by.")]
EndpointsOption = Annotated[
    Path | None, typer.Option("--endpoints", help="Your own endpoints: everything is read again.")
]
SnapshotOption = Annotated[
    Path | None, typer.Option("--snapshot", help="A saved snapshot: no network is used.")
]
ParentOption = Annotated[Path | None, typer.Option("--parent", help="The plan that it is a leg of.")]
AttestationOption = Annotated[
    Path | None, typer.Option("--attestation", help="A saved simulation to make again; needs endpoints.")
]


@app.command()
def verify(
    plan: PlanArgument,
    policy: PolicyOption,
    endpoints: EndpointsOption = None,
    snapshot: SnapshotOption = None,
    parent: ParentOption = None,
    attest: AttestationOption = None,
    json: JsonOption = False,
) -> None:
    """Derive the plan again from the chains, or from a saved snapshot, and compare every field.

    It does not matter how old the plan is. Ends with 1 when anything differs, and with 4 when the plan was
    made by other code, as then a difference says nothing.
    """
    if snapshot is not None and (endpoints is not None or attest is not None):
        raise ConfigError("Give --snapshot alone, or --endpoints", where="keeper verify")
    told, rules = plan_files.load(plan), policies.load(policy)
    require_same_code(told, rules)
    extra: list[Input] = []
    if snapshot is not None:
        taken = Snapshot.load(snapshot)
    elif endpoints is not None:
        settings = load_toml(endpoints, Endpoints)
        claim = None if attest is None else Attestation.load(attest)
        taken, extra = asyncio.run(_read(told, rules, settings, claim, json=json))
    else:
        raise ConfigError("Give --endpoints or --snapshot", where="keeper verify")
    above = None if parent is None else plan_files.load(parent)
    outcome = verify_plan(told, rules, taken, from_chain=endpoints is not None, parent=above)
    inputs = (*outcome.inputs, *extra)
    data = {
        "ok": outcome.identical,
        "plan_hash": told.plan_hash,
        "inputs": inputs,
        "differences": outcome.differences,
        "reason": outcome.reason,
    }
    show(data, _text(outcome, inputs), json=json)
    if not outcome.identical:
        raise typer.Exit(1)


async def _read(
    plan: Plan, policy: Policy, settings: Endpoints, claim: Attestation | None, *, json: bool
) -> tuple[Snapshot, list[Input]]:
    hub = policy.vault.chain_id
    async with open_pools(settings, policy.chains, logged_events(json=json)) as pools:
        taken = await from_endpoints(pools, plan, policy)
        if claim is None:
            return taken, []
        seen = await attesting.again(pools[hub], claim, plan, policy, engine.calls(policy)[hub])
        said = f"{'succeeds' if seen.succeeded else 'fails'} after block {seen.head.number}"
        return taken, [Input("simulation", How.REPRODUCED, said)]


def _text(outcome: Verification, inputs: tuple[Input, ...]) -> str:
    lines = [f"plan 0x{outcome.plan_hash.hex()}"]
    lines += [f"{each.name}: {each.how.value}, {each.detail}" for each in inputs]
    if outcome.identical:
        return "\n".join([*lines, "Identical"])
    if outcome.reason:
        return "\n".join([*lines, f"No such plan follows: {outcome.reason}"])
    return "\n".join([*lines, "Differs:", *(str(each) for each in outcome.differences)])
