"""Keepers that are killed, and what is true afterwards."""

import json
import random
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counting import Counting, order
from scenarios import EXPIRING, STORIES, Story

from keeper.chain.rpc import Endpoint
from keeper.execution.journal.journal import Journal, executed

Kill = list[Any] | float | None


@dataclass
class Host:
    """The process that forks keepers (`kill_host`)."""

    process: subprocess.Popen[str]

    def run(self, task: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def hosting() -> Iterator[Host]:
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("kill_host.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Host(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


async def empty_journal(folder: Path) -> Path:
    """A journal's folder as it is at first."""
    async with Journal(str(folder)):
        return folder


@dataclass
class Case:
    """One order of a new account, its journal, and what came of it."""

    host: Host
    chain: Endpoint
    url: str
    data: Path
    key: str
    number: int
    until: int

    @classmethod
    async def new(cls, host: Host, chain: Endpoint, url: str, empty: Path, folder: Path) -> "Case":
        data = Path(shutil.copytree(empty, folder / "data"))
        key, number = "0x" + secrets.token_hex(32), secrets.randbits(200) + 1
        async with Journal(str(folder / "unused")) as journal:
            await (await Counting.of(chain, journal, key)).place()
        return cls(host, chain, url, data, key, number, (await chain.latest()).timestamp + 500)

    def play(self, story: Story, kill: Kill = None) -> int:
        """The story from its beginning."""
        return self._run(story, story.__name__, kill)

    def go_on(self, story: Story, kill: Kill = None) -> int:
        """From what the journal has, to the end."""
        return self._run(story, None, kill)

    def _run(self, story: Story, told: str | None, kill: Kill) -> int:
        until = self.until if story in EXPIRING else None
        task = {"url": self.url, "data": str(self.data), "key": self.key, "number": self.number}
        return self.host.run({**task, "until": until, "story": told, "kill": kill})

    def kill_anywhere(self, drawn: random.Random) -> Story:
        """Kills it twice, at some moment, in a story that is to be counted, and lets it end."""
        story = drawn.choice([each for each in STORIES.values() if each not in EXPIRING])
        self.play(story, drawn.uniform(0.02, 0.4))
        self.go_on(story, drawn.uniform(0.02, 0.4))
        assert self.go_on(story) == 0
        return story

    async def check(self, story: Story) -> None:
        """Counted once, or given up and not counted, and nothing left undone."""
        wanted = order(self.number)
        async with Journal(str(self.data)) as journal:
            world = await Counting.of(self.chain, journal, self.key)
            counted = sum(executed(row) for row in world.rows(wanted))
            assert await world.count(wanted) == counted
            assert counted == 1 or (counted == 0 and story in EXPIRING)
            assert journal.live(self.chain.chain_id, world.address) == []
            assert await world.nonce() == journal.spent(self.chain.chain_id, world.address)
