"""Never two writers: keepers that pause, anywhere, and keepers whose clocks are wrong (`lease_host`)."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lease_host import LEASE, drafted, write_points
from postgresql_server import database
from sqlmodel import SQLModel

from keeper.errors import LeaseError
from keeper.execution.journal.database import open_engine
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import VaultRecord

DAY = 86_400.0


@dataclass
class Host:
    """The process that forks keepers."""

    process: subprocess.Popen[str]

    def start(self, act: str, place: str, ahead: float = 0.0) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"act": act, "place": place, "ahead": ahead}) + "\n")
        self.process.stdin.flush()

    def said(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("lease_host.py")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Host(process)
    process.communicate()


def content(place: str) -> dict[str, list[Any]]:
    """Every row of every table but the lease."""
    engine = open_engine(place, lease_seconds=LEASE)
    with engine.begin() as connection:
        tables = [table for name, table in sorted(SQLModel.metadata.tables.items()) if name != "lease"]
        rows = {table.name: connection.execute(sa.select(table)).all() for table in tables}
    engine.dispose()
    return {name: sorted(map(repr, found)) for name, found in rows.items()}


async def test_a_keeper_that_wakes_up_after_its_lease_writes_at_no_point(place: str, host: Host) -> None:
    host.start("wakes_up", place)
    paused = await asyncio.to_thread(host.said)
    async with Journal(place, lease_seconds=LEASE) as journal:
        drafted(journal, "mine")
        before = content(place)
        os.kill(paused, signal.SIGCONT)
        outcomes = await asyncio.to_thread(host.said)
        assert set(outcomes.values()) == {"LeaseError"}
        assert content(place) == before
        tokens = [step.token for step in journal.transitions()]
    assert tokens == sorted(tokens)
    assert set(tokens) == {1, 2}


async def test_every_way_to_write_to_a_journal_is_such_a_point(tmp_path: Path) -> None:
    ways = {
        name
        for kind in (Journal, VaultRecord)
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if "write" in function.__code__.co_names and name != "_renew"
    }
    async with Journal(str(tmp_path)) as journal:
        assert set(write_points(journal)) == ways


async def test_a_keeper_that_pauses_in_the_middle_of_a_write_holds_nobody_up_and_the_write_is_void(
    postgresql_url: str, host: Host
) -> None:
    """In PostgreSQL, which machines share. In SQLite such a keeper holds the lock, and the other waits."""
    with database(postgresql_url) as place:
        host.start("wakes_up_inside", place)
        paused = await asyncio.to_thread(host.said)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with Journal(place, lease_seconds=LEASE) as journal:
            assert loop.time() - started < LEASE * 2.5
            drafted(journal, "mine")
            os.kill(paused, signal.SIGCONT)
            assert await asyncio.to_thread(host.said) in {"LeaseError", "JournalError"}
            assert [row.intent for row in journal.under_way()] == ["mine"]
        assert len(content(place)["intents"]) == 1


@pytest.mark.parametrize("ahead", [-DAY, DAY])
async def test_a_keeper_whose_clock_is_a_day_off_is_no_second_writer_and_stops_nobody_once_it_is_gone(
    place: str, host: Host, ahead: float
) -> None:
    """PostgreSQL's own clock counts. SQLite's is the machine's: whoever sees another time there takes over,
    and the other is out."""
    taken = not place.startswith("postgresql")
    async with Journal(place) as first:
        drafted(first, "before")
        host.start("takes", place, ahead)
        assert await asyncio.to_thread(host.said) == ("written" if taken else "LeaseError")
        if taken:
            with pytest.raises(LeaseError, match="of skewed"):
                drafted(first, "after")
        else:
            drafted(first, "after")
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Journal(place, lease_seconds=LEASE) as journal:
        assert loop.time() - started < LEASE * 2
        drafted(journal, "last")
        tokens = [step.token for step in journal.transitions()]
    assert tokens == sorted(tokens)
