"""A month of a keeper that runs by itself: it neither grows nor loses its place."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression, median

import pytest
from running import Post, Running, Said
from sqlmodel import select
from staged import USDC, Staged

from keeper.chain.block import quantity
from keeper.execution.journal.database import FILE
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.tables import Transaction
from keeper.simulation.cast import Cast, cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.market import MarketAgent
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import deploy_vault

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

TICKS = int(os.environ.get("OMNIKEEPER_STEPS", "2000"))
TICK_SECONDS = 1_300
"""Two thousand of them are a month."""
QUIET_SECONDS = 3
"""Of real time without a block, after which the chain makes an empty one."""
RESTARTS = 5
SETTINGS = "lease = 10.0\n[schedule]\npoll = 0.1\ninterval = 0.5\n[breakers]\nfailures = 20\n"
USERS = ("user1", "user2", "user3")
GROWTH = 16 * 2**20
"""Bytes beyond which memory is not flat, once the keeper is no longer young."""
WAL_BYTES = 5 * 2**20
"""SQLite takes it back into the database from 1,000 pages on."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """A keeper after a tick. Sizes in bytes."""

    tick: int
    memory: int
    files: int
    wal: int
    journal: int

    @classmethod
    def of(cls, tick: int, pid: int, data: Path) -> "Sample":
        proc = Path("/proc") / str(pid)
        wal = data / f"{FILE}-wal"
        return cls(
            tick,
            int((proc / "statm").read_text().split()[1]) * PAGE,
            len(list((proc / "fd").iterdir())),
            wal.stat().st_size if wal.exists() else 0,
            (data / FILE).stat().st_size,
        )


@dataclass
class Month:
    """The vault's users and market, and the endpoint between chain and keeper."""

    stage: Staged
    market: MarketAgent
    proxy: Proxy
    drawn: random.Random
    faults: list[Fault] = field(default_factory=list)

    def tick(self, number: int) -> int:
        """What people do until the next tick's block; its number."""
        user = self.drawn.choice(USERS)
        match number % 8:
            case 0:
                self.stage.request_deposit(user, self.drawn.randrange(1_000, 200_000) * USDC)
            case 3:
                self.stage.claim(user)
            case 5:
                if shares := self.stage.shares(user):
                    self.stage.request_redeem(user, shares // self.drawn.randrange(2, 9) + 1)
            case 7:
                self._take_assets(user)
        self.market.step()
        if number % 25 == 24:
            self._fault()
        self.stage.devnet.warp(TICK_SECONDS)
        return self.stage.head.number

    def _take_assets(self, user: str) -> None:
        who = self.stage.devnet.address(user)
        if due := self.stage.read(self.stage.vault, "maxWithdraw", who):
            vault = self.stage.deployment.vault
            self.stage.act(user, vault, "withdraw(uint256,address,address)", due, who, who)

    def _fault(self) -> None:
        sending = "eth_sendRawTransaction"
        made = self.drawn.choice(
            [
                Fault(status=503, times=self.drawn.randrange(1, 9)),
                Fault(status=429, headers={"Retry-After": "1"}, times=2),
                Fault(garble=True, times=self.drawn.randrange(1, 6)),
                Fault("eth_call", cut=True, times=5),
                Fault(sending, cut=True, times=1),
                Fault(sending, status=503, times=1),
            ]
        )
        # All are kept: the proxy counts by identity.
        self.faults.append(made)
        self.proxy.faults = [made]


@pytest.fixture
def stage(devnet: Devnet) -> Iterator[Staged]:
    with going_on(devnet):
        yield Staged(devnet, deploy_vault(devnet))


@contextmanager
def going_on(devnet: Devnet) -> Iterator[None]:
    """A chain makes blocks whatever happens: at the next one a lost transaction is offered again."""
    ended = threading.Event()

    def mine() -> None:
        before = ""
        while not ended.wait(QUIET_SECONDS):
            head = devnet.rpc("eth_blockNumber")
            if head == before:
                devnet.rpc("evm_mine")
            before = head

    thread = threading.Thread(target=mine, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def players(stage: Staged, tmp_path: Path) -> Iterator[Cast]:
    with cast(stage.devnet, stage.deployment, tmp_path / "signers") as running:
        yield running


@pytest.fixture
def month(stage: Staged, seed: str) -> Iterator[Month]:
    with Proxy([stage.devnet.url], stage.devnet.chain_id) as proxy:
        drawn = random.Random(seed)
        yield Month(stage, MarketAgent(stage.devnet, drawn.randrange(2**32)), proxy, drawn)


@pytest.fixture
def post(stage: Staged, players: Cast, month: Month, tmp_path: Path) -> Post:
    made = Post(tmp_path, stage)
    made.endpoints('clock = "chain"\n', url=month.proxy.url)
    made.vault(stage, players.urls, "month")
    made.write(SETTINGS)
    return made


def until_still(keeper: Running, block: int) -> None:
    """Waits for a pass that has read that block or a later one, and found nothing to do."""

    def reads(said: Said) -> bool:
        return said["event"] == "SnapshotTaken" and any(number >= block for _, number in said["blocks"])

    keeper.until(reads)
    keeper.until(lambda said: said["event"] == "PassFinished" and not said["did"])


async def test_a_month_leaves_no_trace_but_its_rows(stage: Staged, month: Month, post: Post) -> None:
    restarts = {number * TICKS // 20 for number in range(1, RESTARTS + 1)}
    data, samples = post.folder / "data", []
    with ExitStack() as stack:
        keeper = stack.enter_context(Running(post))
        for number in range(TICKS):
            if number in restarts:
                # In turns as an operator ends it, and as a machine does.
                if len(samples) % 2:
                    assert keeper.terminate() == 0
                stack.pop_all().close()
                keeper = stack.enter_context(Running(post))
                samples.clear()
            until_still(keeper, month.tick(number))
            samples.append(Sample.of(number, keeper.pid, data))
            keeper.events.clear()
        assert keeper.terminate() == 0
    require_flat(samples)
    require_no_drift(stage, Journal(str(data)))


def require_flat(samples: list[Sample]) -> None:
    """Of a keeper that has not been restarted; its first quarter is its youth."""
    grown = samples[len(samples) // 4 :]
    slope = linear_regression([each.tick for each in grown], [each.memory for each in grown]).slope
    assert slope * len(grown) < GROWTH, f"{grown[0]} to {grown[-1]}"
    # Connections to signers come and go.
    assert max(each.files for each in grown[-50:]) <= max(each.files for each in grown[:50]) + 2
    assert max(each.wal for each in samples) < WAL_BYTES
    thirds = [grown[len(grown) * part // 3].journal for part in range(3)] + [grown[-1].journal]
    steps = [after - before for before, after in pairwise(thirds)]
    assert max(steps) < 2 * median(steps) + 64 * 1024


def require_no_drift(stage: Staged, journal: Journal) -> None:
    """What the journal says was carried out is on the chain, once, and nothing else is."""
    chain, relayer = stage.devnet.chain_id, stage.devnet.address("relayer")
    assert journal.under_way() == []
    nonce = quantity(stage.devnet.rpc("eth_getTransactionCount", relayer, "latest"))
    assert nonce == journal.spent(chain, relayer)
    with journal.read() as session:
        done = [row for row in session.exec(select(Transaction)) if executed(row)]
    hashes = {row.hash for row in done if row.hash is not None}
    assert len(hashes) == len({row.intent for row in done}) == len(done)
    for name in hashes:
        receipt = stage.devnet.rpc("eth_getTransactionReceipt", "0x" + name.hex())
        assert (receipt["status"], receipt["from"]) == ("0x1", relayer.lower())
    a, batches = stage.accounting(), stage.state().nonce
    assert journal.executions("plan/") == batches + a.settled_epoch
    assert journal.executions("close/") == a.current_epoch - 1
    assert batches > TICKS // 20
    assert a.settled_epoch > TICKS // 20
