"""What a new block costs a keeper that looks after 1, 10 or 50 vaults of one chain and finds nothing to do.

The vaults are one and the same, looked after as often: what is read and computed for each is the same as for
as many of their own. Figures are of a tick, one pass over every vault.
"""

import asyncio
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import aiohttp
from eth_account import Account

from bench.registry import Group, Metric, Number
from bench.stage import Stage
from bench.timing import milliseconds
from bench.vaults import demo_vault, snapshot
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties
from keeper.execution.journal.journal import Journal
from keeper.execution.loop import Loop, Schedule, Tended
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.planning.plan import Kind
from keeper.quorum.typed_data import artefact
from keeper.simulation.vault import Deployment

COUNTS = (1, 10, 50)
WARMUPS, REPEATS = 1, 5


class Weighed(Endpoint):
    """Counts the bytes of its replies."""

    received = 0

    async def _limited(self, response: aiohttp.ClientResponse) -> bytes:
        data = await super()._limited(response)
        self.received += len(data)
        return data


def measure() -> dict[str, Number]:
    """Medians for every number of vaults."""
    with demo_vault() as (stage, deployment):
        plan = engine.derive(snapshot(stage, deployment.policy), deployment.policy, Kind.BATCH)
        stage.submit(artefact(plan))
        return {
            f"ticks.{_vaults(count)}_{name}": value
            for count in COUNTS
            for name, value in asyncio.run(_ticks(stage, deployment, count)).items()
        }


async def _ticks(stage: Stage, deployment: Deployment, count: int) -> dict[str, Number]:
    devnet, policy, events = stage.devnet, deployment.policy, EventStream()
    rounds = []
    with TemporaryDirectory(prefix="omnikeeper-") as folder:
        async with Weighed(devnet.url, devnet.chain_id) as endpoint, Journal(folder) as journal:
            relayer = Relayer(endpoint, Account.from_key(devnet.key("relayer")), journal, events)
            keeper = Keeper(policy, endpoint, ChainClock(endpoint), (), events, relayer)
            duties = Duties.of(keeper, relayer, BreakerLimits(), GasLimits())
            loop = Loop([Tended(keeper, duties)] * count, Schedule(), events)
            for _ in range(WARMUPS + REPEATS):
                devnet.rpc("evm_mine")
                before = (perf_counter(), process_time(), endpoint.requests, endpoint.received)
                if not await loop.once():
                    raise RuntimeError("a pass failed")
                after = (perf_counter(), process_time(), endpoint.requests, endpoint.received)
                rounds.append([end - begin for begin, end in zip(before, after, strict=True)])
    wall, processor, requests, received = (median(taken) for taken in zip(*rounds[WARMUPS:], strict=True))
    return {
        "wall_ms": milliseconds(wall),
        "cpu_ms": milliseconds(processor),
        "requests": round(requests),
        "received_kb": round(received / 1_000),
    }


def _vaults(count: int) -> str:
    return f"{count}_vault{'' if count == 1 else 's'}"


GROUP = Group(
    metrics=tuple(
        Metric(f"ticks.{_vaults(count)}_{name}", unit)
        for count in COUNTS
        for name, unit in (
            ("wall_ms", "ms"),
            ("cpu_ms", "ms"),
            ("requests", "requests"),
            ("received_kb", "kB"),
        )
    ),
    measure=measure,
)
