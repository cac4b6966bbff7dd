"""SIGKILL at every step of the journal's table, just before and just after it is on disk, and anywhere.

Whatever was cut off, the keeper that starts next brings it to the same end: each order counted once.
"""

import asyncio
import json
import random
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from counting import Counting, order
from scenarios import EXPIRING, STORIES, WHERE, Step, Story

from keeper.chain.rpc import Endpoint
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.states import ALLOWED, State

STEPS = [(before, after) for before, steps in ALLOWED.items() for after in sorted(steps)]
SEED = 20_261_121
RANDOM = 4


@dataclass
class Host:
    """The process that forks keepers."""

    process: subprocess.Popen[str]

    def run(self, task: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return int(json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, here / "kill_host.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield Host(process)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal's folder as it is at first."""
    folder = tmp_path_factory.mktemp("empty") / "data"

    async def make() -> None:
        async with Journal(str(folder)):
            pass

    asyncio.run(make())
    return folder


@dataclass
class Case:
    """One order of a new account, its journal, and what came of it."""

    host: Host
    chain: Endpoint
    task: dict[str, Any]

    def play(self, story: Story | None, kill: list[Any] | float | None = None) -> int:
        name = None if story is None else story.__name__
        return self.host.run({**self.task, "story": name, "kill": kill})

    async def check(self, story: Story) -> None:
        """Counted once, or given up and not counted, and nothing left undone."""
        wanted = order(self.task["number"])
        async with Journal(self.task["data"]) as journal:
            world = await Counting.of(self.chain, journal, self.task["key"])
            rows = world.rows(wanted)
            counted = sum(executed(row) for row in rows)
            assert await world.count(wanted) == counted
            assert counted == 1 or (counted == 0 and story in EXPIRING)
            assert journal.live(self.chain.chain_id, world.address) == []
            assert await world.nonce() == journal.spent(self.chain.chain_id, world.address)


@pytest.fixture
async def case(host: Host, chain: Endpoint, empty: Path, tmp_path: Path) -> Case:
    data = shutil.copytree(empty, tmp_path / "data")
    key, number = "0x" + secrets.token_hex(32), secrets.randbits(200) + 1
    head = await chain.latest()
    made = Case(
        host,
        chain,
        {"url": chain._url, "data": str(data), "key": key, "number": number, "until": head.timestamp + 500},
    )
    async with Journal(str(tmp_path / "unused")) as journal:
        await (await Counting.of(chain, journal, key)).place()
    return made


def test_every_step_of_the_table_has_a_kill_point() -> None:
    assert set(WHERE) == set(STEPS)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("before", "after"), STEPS)
async def test_a_keeper_killed_at_this_step_loses_and_repeats_nothing(
    case: Case, before: State | None, after: State, when: str
) -> None:
    step: Step = (before, after)
    story = WHERE[step]
    if story not in EXPIRING:
        case.task["until"] = None
    assert case.play(story, [*step, when]) == -signal.SIGKILL
    assert case.play(None) == 0
    await case.check(story)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_an_undisturbed_story_comes_to_the_same_end(case: Case, story: Story) -> None:
    if story not in EXPIRING:
        case.task["until"] = None
    assert case.play(story) == 0
    assert case.play(None) == 0
    await case.check(story)


@pytest.mark.parametrize("number", range(RANDOM))
async def test_a_keeper_killed_at_any_moment_and_again_loses_and_repeats_nothing(
    case: Case, number: int
) -> None:
    drawn = random.Random(SEED + number)
    story = drawn.choice([each for each in STORIES.values() if each not in EXPIRING])
    case.task["until"] = None
    case.play(story, drawn.uniform(0.02, 0.4))
    case.play(None, drawn.uniform(0.02, 0.4))
    assert case.play(None) == 0
    await case.check(story)
