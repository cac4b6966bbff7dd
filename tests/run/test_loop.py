"""One process, several vaults on several chains: what one of them does is not felt by the others."""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
import slow_strategy
from eth_account import Account
from packages import install

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.errors import KeeperError
from keeper.events import Event, EventStream, PassFailed, PassFinished, SnapshotTaken
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties
from keeper.execution.journal.database import FILE
from keeper.execution.journal.journal import Journal
from keeper.execution.loop import Loop, Schedule, Tended
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.execution.worker import Worker
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import Deployment, deploy_vault

SECOND = 31_338
LEASE_SECONDS = 2
PATIENCE = 60.0
HANG = 3_600.0


@pytest.fixture(scope="module")
def vault(devnet: Devnet) -> Deployment:
    """A vault on the first chain, without deposits: there is nothing to do."""
    return deploy_vault(devnet)


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[Devnet, Deployment]]:
    """A second chain, and a vault on it."""
    with Devnet(SECOND) as devnet:
        yield devnet, deploy_vault(devnet)


@pytest.fixture
def slow(vault: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Policy]:
    """The vault's policy with the slow strategy."""
    install(tmp_path, "slow", slow_strategy.BRINGS)
    monkeypatch.syspath_prepend(tmp_path)
    yield slow_strategy.under(vault.policy)
    slow_strategy.waits.clear()


# WHAT TAKES LONG


async def test_a_lease_is_kept_however_long_a_plan_takes(
    devnet: Devnet, slow: Policy, tmp_path: Path
) -> None:
    def until() -> int:
        with sqlite3.connect(tmp_path / FILE) as connection:
            (value,) = connection.execute("SELECT until FROM lease").fetchone()
        return int(value)

    def outlast_a_lease() -> None:
        begun, patience = until(), monotonic() + 20
        while until() < begun + 1_000 * LEASE_SECONDS and monotonic() < patience:
            pass

    slow_strategy.waits.append(outlast_a_lease)
    async with (
        Endpoint(devnet.url, devnet.chain_id) as endpoint,
        Journal(str(tmp_path), lease_seconds=LEASE_SECONDS) as journal,
    ):
        keeper = Keeper(slow, endpoint, ChainClock(endpoint), (), EventStream())
        with pytest.raises(NothingToDoError):
            await keeper.propose(Kind.BATCH)
        with journal.write():
            pass


async def test_a_computation_that_does_not_end_is_waited_for_by_its_own_vault_alone() -> None:
    worker, go = Worker(), threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await worker.run("one", go.wait)
    assert await worker.run("another", lambda: 7) == 7
    with pytest.raises(KeeperError, match="has not ended"):
        await worker.run("one", lambda: 7)
    go.set()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await worker.run("one", lambda: 7) == 7
            except KeeperError:
                continue
            break


async def test_a_computation_that_takes_long_holds_others_up_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keeper.execution.worker.TURN_SECONDS", 0.05)
    worker, go = Worker(), threading.Event()
    long = asyncio.create_task(worker.run("one", go.wait, PATIENCE))
    # It takes its turn before this goes on.
    await asyncio.sleep(0)
    assert await worker.run("another", lambda: 7) == 7
    assert not long.done()
    go.set()
    assert await long
    assert await worker.run("one", lambda: 7) == 7


async def test_one_computes_at_a_time_and_an_error_is_the_callers() -> None:
    worker, active, most = Worker(), threading.Semaphore(1), 10

    def alone() -> None:
        assert active.acquire(blocking=False)
        sum(range(100_000))
        active.release()

    await asyncio.gather(*(worker.run(number, alone) for number in range(most)))
    with pytest.raises(ZeroDivisionError):
        await worker.run("one", lambda: 1 // 0)
    for ended in (lambda: next(iter(())), sys.exit):
        with pytest.raises(KeeperError, match="ended by what is no error"):
            await worker.run("one", ended)
    assert await worker.run("one", lambda: 7) == 7


# CHAINS


@dataclass
class Heard:
    """What a loop says, one event after another."""

    queue: "asyncio.Queue[Event]"

    async def until(self, wanted: Callable[[Event], bool]) -> tuple[Event, list[Event]]:
        """The next such event, and those before it."""
        before: list[Event] = []
        async with asyncio.timeout(PATIENCE):
            while not wanted(event := await self.queue.get()):
                before.append(event)
        return event, before

    async def a_pass_at(self, chain_id: int, block: int) -> list[Event]:
        """Waits for a pass of the chain that has read this block or a later one; what was said before."""
        _, before = await self.until(
            lambda event: (
                isinstance(event, SnapshotTaken)
                and any(chain == chain_id and number >= block for chain, number in event.blocks)
            )
        )
        _, more = await self.until(
            lambda event: isinstance(event, PassFinished) and event.chain_id == chain_id
        )
        return before + more


def failed(chain_id: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, PassFailed) and event.chain_id == chain_id


@asynccontextmanager
async def looking_after(
    vaults: Sequence[tuple[Deployment, str, str]], journal: Journal, schedule: Schedule
) -> AsyncIterator[Heard]:
    """A loop over vaults, each with the URL of its chain, and that of its clock's."""
    heard, events, worker = Heard(asyncio.Queue()), EventStream(), Worker()
    events.subscribe(heard.queue.put_nowait)
    async with AsyncExitStack() as stack:
        tended = []
        for deployment, url, time in vaults:
            policy = deployment.policy
            chain = policy.vault.chain_id
            endpoint = await stack.enter_async_context(Endpoint(url, chain))
            clock = ChainClock(await stack.enter_async_context(Endpoint(time, chain)))
            relayer = Relayer(endpoint, Account.create(), journal, events)
            keeper = Keeper(policy, endpoint, clock, (), events, relayer, worker=worker)
            tended.append(Tended(keeper, Duties.of(keeper, relayer, BreakerLimits(), GasLimits())))
        stop = asyncio.Event()
        running = asyncio.create_task(Loop(tended, schedule, events).run(stop))
        try:
            yield heard
        finally:
            stop.set()
            await running


def mine(devnet: Devnet) -> int:
    devnet.rpc("evm_mine")
    return int(devnet.block()["number"], 16)


def down(proxy: Proxy) -> None:
    proxy.faults = [Fault(status=503)]


def rests_beyond_time(proxy: Proxy) -> None:
    forever = {"Retry-After": "Mon, 99999999999 Jan 2024 00:00:00 GMT"}
    proxy.faults = [Fault(status=429, headers=forever)]


def points_nowhere(proxy: Proxy) -> None:
    proxy.faults = [Fault(status=307, headers={"Location": "http://.."})]


def lies(proxy: Proxy) -> None:
    proxy.faults = [Fault("eth_getBlockByNumber", change=lambda block: {**block, "number": "0x0"})]


def lags(proxy: Proxy) -> None:
    upstream = proxy.upstream
    assert upstream is not None
    newest = "eth_getBlockByNumber", ["latest", False]
    head = proxy.run(lambda: upstream.rpc(*newest))
    proxy.faults = [Fault(newest[0], lambda params: params[0] == "latest", change=lambda block: head)]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (down, "HTTP 503"),
        (rests_beyond_time, "HTTP 429"),
        (points_nowhere, "HTTP 307"),
        (lies, "does not hash"),
        (lags, "time differ"),
    ],
)
async def test_a_chain_that_fails_does_not_hold_up_another(
    devnet: Devnet,
    vault: Deployment,
    other: tuple[Devnet, Deployment],
    journal: Journal,
    fault: Callable[[Proxy], None],
    words: str,
) -> None:
    second, ill = other
    with Proxy([second.url], SECOND) as proxy:
        both = [(vault, devnet.url, devnet.url), (ill, proxy.url, second.url)]
        async with looking_after(both, journal, Schedule(poll=0.05, interval=0.5)) as heard:
            await heard.a_pass_at(SECOND, 0)
            fault(proxy)
            # More than the policy's clocks may differ by.
            second.warp(100)
            said, before = await heard.until(failed(SECOND))
            assert isinstance(said, PassFailed)
            assert words in said.trouble
            assert said.vault == ill.vault
            for _ in range(3):
                before += await heard.a_pass_at(devnet.chain_id, mine(devnet))
            assert not any(failed(devnet.chain_id)(event) for event in before)
            proxy.faults = []
            await heard.a_pass_at(SECOND, mine(second))


async def test_a_chain_that_hangs_does_not_hold_up_another(
    devnet: Devnet, vault: Deployment, other: tuple[Devnet, Deployment], journal: Journal
) -> None:
    second, ill = other
    with Proxy([second.url], SECOND, delay=HANG) as proxy:
        both = [(vault, devnet.url, devnet.url), (ill, proxy.url, second.url)]
        async with looking_after(both, journal, Schedule(poll=0.05, interval=PATIENCE)) as heard:
            for _ in range(3):
                before = await heard.a_pass_at(devnet.chain_id, mine(devnet))
                assert not any(isinstance(event, PassFailed | PassFinished) for event in before)


async def test_a_pass_that_hangs_ends_at_its_deadline_and_comes_again(
    other: tuple[Devnet, Deployment], journal: Journal
) -> None:
    second, ill = other
    with Proxy([second.url], SECOND, delay=HANG) as proxy:
        schedule = Schedule(poll=0.05, interval=0.05, deadline=2.0)
        async with looking_after([(ill, proxy.url, second.url)], journal, schedule) as heard:
            said, _ = await heard.until(failed(SECOND))
            assert isinstance(said, PassFailed)
            assert "took too long" in said.trouble
            proxy.delay = 0.0
            await heard.a_pass_at(SECOND, mine(second))
