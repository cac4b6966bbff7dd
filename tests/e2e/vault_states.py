"""Random states of a vault at work, and three signers that derive their plans from each.

The signers are processes that differ in the salt of str hashes, in zone and in locale. One reads the origin,
one a fork of it, and one a proxy that permutes JSON members.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from staged import USDC, Staged

from keeper.chain.block import BlockRef
from keeper.errors import PlanError, PolicyError, RevertError
from keeper.planning.plan import Kind
from keeper.simulation.anvil import Anvil
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.market import MarketAgent
from keeper.simulation.proxy import Proxy

SCRIPT = Path(__file__).with_name("deriving.py")
MACHINES = tuple(
    {"PATH": os.environ["PATH"], **differing}
    for differing in (
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "1234", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"},
        {"PYTHONHASHSEED": "4294967295", "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8"},
    )
)
"""Environments that differ in the salt of str hashes, in the zone and in the locale."""
DAY = 86_400
USERS = ("user1", "user2", "user3")


@dataclass
class Walk:
    """Users, quorum, market and time, one after the other as the seed has it."""

    stage: Staged
    random: Random
    market: MarketAgent

    async def step(self) -> None:
        """A few moves; those that the contracts or the policy refuse change nothing."""
        for _ in range(self.random.randint(1, 4)):
            try:
                await self._move()
            except (RevertError, PlanError, PolicyError):
                continue
        self.stage.devnet.rpc("evm_mine")

    async def _move(self) -> None:
        random, stage, role = self.random, self.stage, self.random.choice(USERS)
        match random.randrange(9):
            case 0 | 1:
                self.market.step()
            case 2:
                stage.devnet.warp(random.randint(1, random.choice((60, DAY, 30 * DAY))))
            case 3:
                stage.request_deposit(role, random.randint(10, 10 ** random.randint(2, 6)) * USDC)
            case 4:
                stage.request_redeem(role, random.randint(1, max(1, stage.shares(role))))
            case 5:
                stage.claim(role)
            case 6:
                stage.close_epoch()
            case 7:
                stage.submit(await stage.propose(Kind.SETTLEMENT))
            case _:
                stage.submit(await stage.propose(Kind.BATCH))


@dataclass
class Signers:
    """Three processes, and the fork that one of them reads."""

    stage: Staged
    fork: Anvil
    processes: list[subprocess.Popen[str]]

    def plans(self) -> list[dict[str, str]]:
        """What each derives from the origin's head."""
        head = self.stage.head
        self._fork_at(head)
        line = json.dumps([head.number, head.hash.hex(), head.timestamp]) + "\n"
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in self.processes if process.stdout]

    def _fork_at(self, head: BlockRef) -> None:
        origin = {"jsonRpcUrl": self.stage.devnet.url, "blockNumber": head.number}
        with closing(JsonRpc(self.fork.url)) as rpc:
            rpc("anvil_reset", {"forking": origin})


@contextmanager
def three_signers(stage: Staged, folder: Path, random: Random) -> Iterator[Signers]:
    policy = folder / "policy.toml"
    # With any gain a reason to move there is a plan for most states.
    eager = stage.deployment.policy_toml.replace("min_gain_bps = 5", "min_gain_bps = 0")
    assert eager != stage.deployment.policy_toml
    policy.write_text(eager)
    chain_id, origin = stage.devnet.chain_id, stage.devnet.url
    with ExitStack() as stack:
        fork = stack.enter_context(Anvil(chain_id, ["--fork-url", origin]))
        proxy = stack.enter_context(Proxy([origin], chain_id, permuted=random))
        processes = []
        for url, machine in zip((origin, fork.url, proxy.url), MACHINES, strict=True):
            command = [sys.executable, str(SCRIPT), url, str(chain_id), str(policy)]
            started = subprocess.Popen(
                command, env=machine, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(started)
            stack.callback(started.wait, 60)
            assert started.stdin is not None
            stack.callback(started.stdin.close)
        yield Signers(stage, fork, processes)


async def agreements(stage: Staged, folder: Path, states: int, seed: str) -> Counter[str]:
    """How many plans of each kind the three agreed on over so many states. Raises AssertionError where they
    do not, or say different reasons for there being none."""
    random = Random(seed)
    walk = Walk(stage, random, MarketAgent(stage.devnet, random.randrange(2**32)))
    agreed: Counter[str] = Counter()
    with three_signers(stage, folder, Random(seed)) as signers:
        for state in range(states):
            await walk.step()
            said = signers.plans()
            # The processes did differ: str hashes are salted by the seed.
            assert len({each.pop("salted") for each in said}) == len(MACHINES)
            assert said[0] == said[1] == said[2], f"{seed}, state {state}: {said}"
            agreed.update(kind.value for kind in Kind if len(said[0][kind]) == 2 * 32)
            agreed["snapshots"] += 1
    return agreed
