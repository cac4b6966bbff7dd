"""One whole turn of the keeper on a local chain, with two signers in this process.

A turn reads, plans, has both signers read and plan for themselves and sign, sends, waits for the receipt (the
relayer asks every 100 ms) and reconciles. Each turn starts from the same block.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from eth_account import Account

from bench.registry import Group, Metric, Number
from bench.stage import Stage
from bench.timing import milliseconds
from bench.vaults import demo_vault
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.cycle import Keeper
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval
from keeper.quorum.record import Promises
from keeper.quorum.signer import Signer
from keeper.simulation.vault import SIGNERS, THRESHOLD, Deployment

WARMUPS, REPEATS = 2, 9


def measure() -> dict[str, Number]:
    """The turn's median and that of its first part, reading and planning."""
    with demo_vault() as (stage, deployment), TemporaryDirectory(prefix="omnikeeper-") as folder:
        return asyncio.run(_measure(stage, deployment, Path(folder)))


async def _measure(stage: Stage, deployment: Deployment, folder: Path) -> dict[str, Number]:
    devnet = stage.devnet
    turns, proposals = [], []
    async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
        events = EventStream()
        keeper = Keeper(
            policy=deployment.policy,
            endpoint=endpoint,
            clock=ChainClock(endpoint),
            signers=(),
            events=events,
        )
        account = Account.from_key(devnet.key("relayer"))
        for number in range(WARMUPS + REPEATS):
            # A signer keeps its promises; going back to an old block needs signers that made none.
            signers = _signers(stage, deployment, endpoint, folder / str(number))
            # So does a journal, which finds a chain that goes back behind what was final.
            async with Journal(str(folder / f"{number}-keeper")) as journal:
                relayer = Relayer(endpoint, account, journal, events)
                with stage.devnet.undone():
                    started = perf_counter()
                    plan = await keeper.propose(Kind.BATCH)
                    proposals.append(perf_counter() - started)
                    approval = await _approve(signers, plan)
                    await replace(keeper, relayer=relayer).execute(plan, approval)
                    turns.append(perf_counter() - started)
    return {
        "keeper.propose_ms": milliseconds(median(proposals[WARMUPS:])),
        "keeper.turn_ms": milliseconds(median(turns[WARMUPS:])),
    }


def _signers(stage: Stage, deployment: Deployment, endpoint: Endpoint, folder: Path) -> list[Signer]:
    folder.mkdir()
    return [
        Signer(
            policy=deployment.policy,
            engine=engine,
            endpoints={stage.devnet.chain_id: endpoint},
            clock=ChainClock(endpoint),
            promises=Promises(folder / f"{role}.sqlite"),
            account=Account.from_key(stage.devnet.key(role)),
        )
        for role in SIGNERS[:THRESHOLD]
    ]


async def _approve(signers: list[Signer], plan: Plan) -> Approval:
    data = plan.to_bytes()
    made = await asyncio.gather(*(signer.approve(data) for signer in signers))
    return Approval(tuple(sorted(made, key=lambda each: int(each.signer, 16))), ())


GROUP = Group(
    metrics=(Metric("keeper.propose_ms", "ms"), Metric("keeper.turn_ms", "ms")),
    measure=measure,
)
