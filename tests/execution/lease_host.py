"""Keepers that pause, and whose clocks are wrong: a process with everything imported forks one for each line.

A line is JSON: `place` of the journal, `ahead`, by how many seconds the keeper's clock is wrong, and `act`,
one of the functions below. A keeper that pauses says its process id first; every keeper says how it ended.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable

from planning.examples import example_basis, example_policy
from sqlalchemy import Engine, event

from keeper.chain.transaction import Signed
from keeper.errors import KeeperError
from keeper.execution.fees import Fees
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.execution.journal.tables import Intent, Transaction
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.planning.build import build_settlement
from keeper.units import Address

WHO = Address("0x" + "c0" * 20)
LEASE = 1.5
FEE = Fees(2, 1)


def intent(key: str) -> Intent:
    return Intent(key=key, chain_id=1, account=WHO, purpose="", target=WHO, data=b"\x01", gas=21_000)


def drafted(journal: Journal, key: str) -> Transaction:
    journal.draft(intent(key), nonce=0, fee=FEE, since=0)
    (row,) = journal.transactions(key)
    return row


def sent(journal: Journal, key: str) -> Transaction:
    row = drafted(journal, key)
    journal.sign(row, Signed(key.encode(), key.encode()))
    journal.move(row, State.BROADCAST)
    return row


def write_points(journal: Journal) -> dict[str, Callable[[], object]]:
    """Every way to write to a journal, ready to be gone."""
    record = VaultRecord(journal, 1, WHO)
    plan = build_settlement(example_policy(), 3, 10**27, example_basis())
    record.begin(plan)
    unsigned = drafted(journal, "unsigned")
    waiting, moving, late = (sent(journal, name) for name in ("waiting", "moving", "late"))
    return {
        "draft": lambda: drafted(journal, "another"),
        "fill": lambda: journal.fill(intent("hole"), nonce=99, fee=FEE, since=0),
        "supersede": lambda: journal.supersede([waiting], fee=FEE, since=0, cancels=True),
        "sign": lambda: journal.sign(unsigned, Signed(b"raw", b"hash")),
        "move": lambda: journal.move(moving, State.MINED, block_hash=b"block", succeeded=True),
        "include": lambda: journal.include(late, State.MINED, [], block=1, since=0, succeeded=True),
        "give_up": lambda: journal.give_up("waiting", 1),
        "begin": lambda: record.begin(plan),
        "end": lambda: record.end(plan, "executed", 7),
        "trip": lambda: record.trip(Breaker.LOSS, "a test of it"),
        "beat": lambda: record.beat(WHO, "nothing", ""),
    }


def say(words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def pause() -> None:
    say(os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)


def tried(write: Callable[[], object]) -> str:
    try:
        write()
    except KeeperError as error:
        return type(error).__name__
    return "written"


async def wakes_up(place: str) -> None:
    """Pauses between two writes, and goes on at every one that there is."""
    async with Journal(place, lease_seconds=LEASE, holder="paused") as journal:
        points = write_points(journal)
        pause()
        say({name: tried(write) for name, write in points.items()})


async def wakes_up_inside(place: str) -> None:
    """Pauses in the middle of a write."""

    def write() -> None:
        with journal.write() as session:
            session.add(intent("inside"))
            session.flush()
            pause()

    async with Journal(place, lease_seconds=LEASE, holder="paused") as journal:
        say(tried(write))


async def takes(place: str) -> None:
    """Takes the lease if it may, writes once, and ends without a word to the database."""
    journal = Journal(place, lease_seconds=LEASE, holder="skewed")
    outcome = tried(journal.take)
    say(tried(lambda: drafted(journal, "skewed")) if outcome == "written" else outcome)


ACTS = {act.__name__: act for act in (wakes_up, wakes_up_inside, takes)}


def skew(ahead: float) -> None:
    """Every clock that a keeper of this process can ask, SQLite's included, but not a server's."""
    real = time.time
    time.time = lambda: real() + ahead

    def connected(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.create_function("julianday", 1, lambda _: 2_440_587.5 + time.time() / 86_400)

    event.listen(Engine, "connect", connected)


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            skew(task["ahead"])
            try:
                asyncio.run(ACTS[task["act"]](task["place"]))
            except KeeperError:
                # Its lease is gone when it would give it back.
                pass
            finally:
                os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
