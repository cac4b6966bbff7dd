"""From a new block to the broadcast of what it calls for, in the loop itself, all of it on this machine.

Each of five signers is a process with a node of its own; three must sign. A user asks for assets, and the
loop withdraws them from a position: it sees the block (it looks every 100 ms), reads, plans, writes down,
collects, rehearses, and sends. `whole` begins where the block is seen. The journal's writes are part of other
stages.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from eth_account import Account
from sqlmodel import Session

from bench.quorum import SEATS, funded
from bench.registry import Group, Metric, Number
from bench.stage import USDC, Stage
from bench.timing import milliseconds
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import Event, EventStream, PassFailed, PassFinished, PlanBuilt, PlanSigned, SnapshotTaken
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties
from keeper.execution.journal.journal import Journal
from keeper.execution.loop import Loop, Schedule, Tended
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.quorum.requests import Proposer
from keeper.simulation.cast import Cast, cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.simulation.vault import Deployment

ASKED = 10_000 * USDC
WARMUPS, REPEATS = 2, 20
STAGES = ("seen", "snapshot", "plan", "signatures", "rehearsal", "broadcast", "journal", "whole")


@dataclass
class Marks:
    """When things happened."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    spans: list[tuple[str, float, float]] = field(default_factory=list)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        started = perf_counter()
        try:
            yield
        finally:
            self.spans.append((name, started, perf_counter()))

    def last(self, kind: type[Event]) -> float:
        return next(at for at, event in reversed(self.events) if isinstance(event, kind))


class Watched(Endpoint):
    """Takes note of how long each request takes."""

    marks: Marks

    async def ask(self, method: str, params: Sequence[Any] = ()) -> Any:
        with self.marks.span(method):
            return await super().ask(method, params)


class Timed(Journal):
    """Takes note of how long each write takes."""

    marks: Marks

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self.marks.span("write"), super().write() as session:
            yield session


def measure() -> dict[str, Number]:
    """Medians of the stages and of the whole, and the whole's 95th percentile."""
    with Devnet() as devnet, TemporaryDirectory(prefix="omnikeeper-") as folder:
        deployment, stage = funded(devnet)
        with cast(devnet, deployment, Path(folder), SEATS.roles) as players:
            rounds = asyncio.run(_measure(stage, deployment, players, str(Path(folder) / "journal")))
    by_stage = dict(zip(STAGES, zip(*rounds, strict=True), strict=True))
    return {f"loop.{name}_ms": milliseconds(median(taken)) for name, taken in by_stage.items()} | {
        "loop.whole_p95_ms": milliseconds(quantiles(by_stage["whole"], n=20)[-1])
    }


async def _measure(
    stage: Stage, deployment: Deployment, players: Cast, place: str
) -> list[tuple[float, ...]]:
    user, devnet = Account.from_key(stage.devnet.key("user1")), stage.devnet
    shares = stage.read("Vault", "convertToShares", ASKED)
    rounds: list[tuple[float, ...]] = []
    async with _running(devnet, deployment, players, place) as (marks, heard):
        await _until_still(heard)
        while len(rounds) < WARMUPS + REPEATS:
            marks.events.clear()
            marks.spans.clear()
            stage.request_redeem(user, shares)
            mined = perf_counter()
            did = await _until_still(heard)
            # Where the epoch was over, it was closed and settled besides.
            if len(did) == 1 and did[0].startswith("batch"):
                rounds.append(_stages(marks, mined))
    return rounds[WARMUPS:]


@asynccontextmanager
async def _running(
    devnet: Devnet, deployment: Deployment, players: Cast, place: str
) -> AsyncIterator[tuple[Marks, "asyncio.Queue[Event]"]]:
    marks, heard, events = Marks(), asyncio.Queue[Event](), EventStream()
    events.subscribe(lambda event: marks.events.append((perf_counter(), event)))
    events.subscribe(heard.put_nowait)
    Watched.marks = Timed.marks = marks
    async with Watched(devnet.url, devnet.chain_id) as endpoint, Timed(place) as journal:
        clock = ChainClock(endpoint)
        relayer = Relayer(endpoint, Account.from_key(devnet.key("relayer")), journal, events)
        proposer = Proposer(proposer_key(PROPOSERS[0]), clock)
        keeper = Keeper(deployment.policy, endpoint, clock, players.urls, events, relayer, proposer)
        duties = Duties.of(keeper, relayer, BreakerLimits(), GasLimits())
        stop = asyncio.Event()
        loop = Loop([Tended(keeper, duties)], Schedule(poll=0.1), events)
        running = asyncio.create_task(loop.run(stop))
        try:
            yield marks, heard
        finally:
            stop.set()
            await running


async def _until_still(heard: "asyncio.Queue[Event]") -> list[str]:
    """What passes do until one finds nothing to do."""
    did: list[str] = []
    while True:
        event = await heard.get()
        if isinstance(event, PassFailed):
            raise RuntimeError(event.trouble)
        if isinstance(event, PassFinished):
            if not event.did and (did or heard.empty()):
                return did
            did += event.did


def _stages(marks: Marks, mined: float) -> tuple[float, ...]:
    """Seconds, in the order of STAGES, of the pass that sent."""
    (sent,) = [(start, end) for name, start, end in marks.spans if name == "eth_sendRawTransaction"]
    built, signed = marks.last(PlanBuilt), marks.last(PlanSigned)
    read = max(at for at, event in marks.events if isinstance(event, SnapshotTaken) and at < built)
    begun = next(
        at - event.seconds for at, event in marks.events if isinstance(event, PassFinished) and event.did
    )
    rehearsed = sum(
        end - start
        for name, start, end in marks.spans
        if name == "eth_simulateV1" and signed < start < sent[0]
    )
    written = sum(
        end - start for name, start, end in marks.spans if name == "write" and begun < start < sent[0]
    )
    whole = sent[1] - begun
    return (
        begun - mined,
        read - begun,
        built - read,
        signed - built,
        rehearsed,
        sent[1] - signed - rehearsed,
        written,
        whole,
    )


GROUP = Group(
    metrics=(
        *(Metric(f"loop.{name}_ms", "ms") for name in STAGES[:-1]),
        Metric("loop.whole_ms", "ms", target=1_200),
        Metric("loop.whole_p95_ms", "ms"),
    ),
    measure=measure,
)
