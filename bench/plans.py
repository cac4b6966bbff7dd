"""From a snapshot in memory to a plan and its hash: what keeper and signers compute, without any I/O.

The vault's funds are spread evenly over three positions; the plan moves them to where they earn most.
"""

import asyncio

from bench.registry import Group, Metric, Number
from bench.stage import Stage
from bench.timing import milliseconds, seconds
from bench.vaults import parts_of
from keeper import engine
from keeper.book import open_book
from keeper.chain import snapshot
from keeper.chain.rpc import Endpoint
from keeper.planning.plan import Kind
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment, deploy_vault

WARMUPS, REPEATS = 2, 15


def measure() -> dict[str, Number]:
    """All figures, on the demo's vault."""
    with Devnet() as devnet:
        deployment = deploy_vault(devnet)
        stage = Stage(devnet, parts_of(deployment))
        stage.populate()
        taken = asyncio.run(_snapshot(devnet, deployment, stage.now()))
    policy = deployment.policy
    data = taken.to_bytes()

    # From bytes each time: a snapshot keeps what it has computed once.
    def book() -> None:
        open_book(snapshot.Snapshot.from_bytes(data), policy)

    def derive() -> None:
        plan = engine.derive(snapshot.Snapshot.from_bytes(data), policy, Kind.BATCH)
        if len(plan.plan_hash) != 32:
            raise RuntimeError("a plan without a hash")

    return {
        "plans.book_ms": milliseconds(seconds(book, warmups=WARMUPS, repeats=REPEATS)),
        "plans.derive_ms": milliseconds(seconds(derive, warmups=WARMUPS, repeats=REPEATS)),
    }


async def _snapshot(devnet: Devnet, deployment: Deployment, now: int) -> snapshot.Snapshot:
    policy = deployment.policy
    async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
        endpoints = {devnet.chain_id: endpoint}
        return await snapshot.take(endpoints, engine.calls(policy), now, policy.finality)


GROUP = Group(
    metrics=(Metric("plans.book_ms", "ms"), Metric("plans.derive_ms", "ms")),
    measure=measure,
)
