"""From a new block to three of five signatures, with everything on this machine.

Each signer is a process with a node of its own, from which it reads, plans and signs for itself. The clock
starts when every node has the block; then the proposer reads, derives its plan, and collects. Nothing is
executed: each block comes after the last plan's validity, so that signers may sign another for its slot.
"""

import asyncio
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from eth_account import Account

from bench.registry import Group, Metric, Number
from bench.stage import USDC, Stage
from bench.timing import milliseconds
from bench.vaults import parts_of
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.cycle import Keeper
from keeper.planning.plan import Kind
from keeper.quorum.requests import Proposer
from keeper.simulation.cast import Cast, cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.simulation.vault import Deployment, Seats, deploy_vault

SEATS = Seats(("signer1", "signer2", "signer3", "signer4", "user6"), 3)
DEPOSIT = 2_000_000 * USDC
WARMUPS, REPEATS = 3, 40
STAGES = ("read", "derive", "collect", "signatures")


def measure() -> dict[str, Number]:
    """Medians of the stages and of the whole, and the whole's 95th percentile."""
    with Devnet() as devnet, TemporaryDirectory(prefix="omnikeeper-") as folder:
        deployment, _ = funded(devnet)
        with cast(devnet, deployment, Path(folder), SEATS.roles) as players:
            rounds = asyncio.run(_measure(devnet, deployment, players))
    by_stage = dict(zip(STAGES, zip(*rounds, strict=True), strict=True))
    return {f"quorum.{name}_ms": milliseconds(median(taken)) for name, taken in by_stage.items()} | {
        "quorum.signatures_p95_ms": milliseconds(quantiles(by_stage["signatures"], n=20)[-1])
    }


def funded(devnet: Devnet) -> tuple[Deployment, Stage]:
    """The demo's vault for five signers, with a deposit settled, claimed and idle; and who acts on it."""
    deployment = deploy_vault(devnet, seats=SEATS)
    stage = Stage(devnet, parts_of(deployment), SEATS.roles[: SEATS.threshold])
    user = Account.from_key(devnet.key("user1"))
    stage.provide(user, DEPOSIT)
    stage.request_deposit(user, DEPOSIT)
    stage.close_epoch()
    stage.settle()
    stage.claim_shares(user)
    return deployment, stage


async def _measure(devnet: Devnet, deployment: Deployment, players: Cast) -> list[tuple[float, ...]]:
    rounds = []
    async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
        clock = ChainClock(endpoint)
        keeper = Keeper(
            policy=deployment.policy,
            endpoint=endpoint,
            clock=clock,
            signers=players.urls,
            events=EventStream(),
            proposer=Proposer(proposer_key(PROPOSERS[0]), clock),
        )
        for _ in range(WARMUPS + REPEATS):
            devnet.warp(deployment.policy.time.validity + 1)
            await players.caught_up(int(devnet.block()["number"], 16))
            rounds.append(await _round(keeper))
    return rounds[WARMUPS:]


async def _round(keeper: Keeper) -> tuple[float, ...]:
    started = perf_counter()
    taken = await keeper.snapshot()
    read = perf_counter()
    plan = engine.derive(taken, keeper.policy, Kind.BATCH)
    derived = perf_counter()
    approval = await keeper.approve(plan)
    signed = perf_counter()
    if len(approval.signatures) != SEATS.threshold:
        raise RuntimeError("too few signatures")
    return read - started, derived - read, signed - derived, signed - started


GROUP = Group(
    metrics=(
        Metric("quorum.read_ms", "ms"),
        Metric("quorum.derive_ms", "ms"),
        Metric("quorum.collect_ms", "ms"),
        Metric("quorum.signatures_ms", "ms", target=1_000),
        Metric("quorum.signatures_p95_ms", "ms", target=2_000),
    ),
    measure=measure,
)
