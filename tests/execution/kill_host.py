"""Keepers that are killed: a process that has everything imported forks one for each line it reads.

A line is JSON: `url` of the chain, `data`, the journal's folder, `key` of the account, `number` of the order
and its `until`; `story` to be told, or none to go on from the journal; `kill`, the step to die in, as
[before, after, "before" or "after" its commit], or after how many seconds. The answer is how it ended.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from counting import CHAIN, FINALITY, Counting, order
from scenarios import STORIES
from sqlalchemy import event
from sqlmodel import Session

from keeper.chain.rpc import Endpoint
from keeper.errors import EndpointError, RefusedError, RevertError
from keeper.execution.journal.database import FILE
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.execution.journal.tables import Transaction


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Doomed(Journal):
    """Kills its process at a step."""

    step: tuple[str | None, str, str] = (None, "", "")

    def _note(
        self, session: Session, row: Transaction, before: State | None, after: State, block: bytes | None
    ) -> None:
        super()._note(session, row, before, after, block)
        if (before, after) == self.step[:2]:
            if self.step[2] == "before":
                die()
            event.listen(session, "after_commit", die)


async def run(task: dict[str, Any]) -> None:
    wanted = order(task["number"], task["until"])
    async with Endpoint(task["url"], CHAIN) as chain, Doomed(task["data"]) as journal:
        world = await Counting.of(chain, journal, task["key"])
        if isinstance(task["kill"], list):
            journal.step = tuple(task["kill"])
        elif task["kill"] is not None:
            signal.signal(signal.SIGALRM, die)
            signal.setitimer(signal.ITIMER_REAL, task["kill"])
        if task["story"] is not None:
            await STORIES[task["story"]](world, wanted)
        else:
            await go_on(world, task)


async def go_on(world: Counting, task: dict[str, Any]) -> None:
    """As an operator who gives the order again, until it is done or given up, and final."""
    wanted = order(task["number"], task["until"])
    await world.reverting(False)
    for _ in range(4):
        try:
            await world.carried_out(wanted)
        except (RevertError, EndpointError):
            await world.mine(FINALITY)
            continue
        except RefusedError:
            if task["until"] is None:
                continue
        break
    await world.mine(FINALITY + 1)
    await world.advance()


def forked(task: dict[str, Any]) -> int:
    """The child's exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(run(task))
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        code = forked(task)
        # Its lease ends, and a new keeper starts.
        file = Path(task["data"]) / FILE
        if file.exists():
            with sqlite3.connect(file) as connection:
                connection.execute("UPDATE lease SET until = 0")
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
