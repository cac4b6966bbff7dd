"""The journal on both databases, which are real: what it keeps, what it refuses, and who may write."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from counting import CHAIN, COUNTER
from hypothesis import given
from hypothesis import strategies as st
from postgresql_server import database
from sqlmodel import SQLModel, select

from keeper.chain.transaction import Signed
from keeper.errors import ConfigError, KeeperError, LeaseError
from keeper.execution.fees import Fees
from keeper.execution.journal.database import open_engine
from keeper.execution.journal.journal import Journal, JournalError
from keeper.execution.journal.states import ALLOWED, ENDED, State, check
from keeper.execution.journal.tables import Intent, Lease, Uint256
from keeper.execution.journal.vaults import Breaker, VaultRecord

WHO = COUNTER
LEASE = 1.0
FEE = Fees(2, 1)
MOST = 2**256 - 1


def intent(key: str = "one", **changed: Any) -> Intent:
    values = {"chain_id": CHAIN, "account": WHO, "purpose": "test", "target": COUNTER, "data": b"\x01"}
    return Intent(**{"key": key, "gas": 21_000, **values, **changed})


def engine(place: str) -> sa.Engine:
    return open_engine(place, lease_seconds=LEASE)


@contextmanager
def connected(place: str) -> Iterator[sa.Connection]:
    opened = engine(place)
    with opened.begin() as connection:
        yield connection
    opened.dispose()


# WHAT IT KEEPS


async def test_an_intent_has_one_transaction_however_often_it_is_drafted(place: str) -> None:
    async with Journal(place) as journal:
        for _ in range(3):
            journal.draft(intent(), nonce=7, fee=FEE, since=1)
        journal.draft(intent("two"), nonce=7, fee=FEE, since=1)
        assert [row.nonce for row in journal.transactions("one")] == [7]
        assert [row.nonce for row in journal.transactions("two")] == [8]


async def test_what_was_written_is_there_after_a_restart(place: str) -> None:
    async with Journal(place) as journal:
        journal.draft(intent(), nonce=0, fee=FEE, since=MOST)
        ((row,),) = journal.live(CHAIN, WHO)
        journal.sign(row, Signed(b"raw", b"hash"))
    async with Journal(place) as journal:
        ((row,),) = journal.live(CHAIN, WHO)
        assert (row.at, row.raw, row.hash, row.since) == (State.SIGNED, b"raw", b"hash", MOST)
        first, second = journal.transitions()
        assert (first.before, first.after, second.before, second.after) == (
            None,
            "drafted",
            "drafted",
            "signed",
        )
        assert first.token == second.token == 1
        assert first.moment <= second.moment


async def test_transitions_are_only_added_to(place: str) -> None:
    async with Journal(place) as journal:
        journal.draft(intent(), nonce=0, fee=FEE, since=1)
    for statement in ("UPDATE transitions SET token = 9", "DELETE FROM transitions"):
        with pytest.raises(sa.exc.SQLAlchemyError, match="only added to"), connected(place) as connection:
            connection.execute(sa.text(statement))


async def test_only_listed_steps_are_taken_and_only_from_where_a_transaction_is(place: str) -> None:
    async with Journal(place) as journal:
        journal.draft(intent(), nonce=0, fee=FEE, since=1)
        ((row,),), ((copy,),) = journal.live(CHAIN, WHO), journal.live(CHAIN, WHO)
        with pytest.raises(KeeperError, match="no such transition"):
            journal.move(row, State.FINAL)
        journal.sign(row, Signed(b"raw", b"hash"))
        with pytest.raises(JournalError, match="Another has moved"):
            journal.sign(copy, Signed(b"other", b"other"))
        assert [step.after for step in journal.transitions()] == ["drafted", "signed"]


def test_every_state_can_be_reached_and_the_last_ones_are_left_by_nothing() -> None:
    reached = {after for steps in ALLOWED.values() for after in steps}
    assert reached == set(State)
    assert {State.FINAL, State.CANCELLED, State.DROPPED} == ENDED
    for end in ENDED:
        for after in State:
            with pytest.raises(KeeperError):
                check(end, after)


@given(value=st.integers(0, MOST) | st.sampled_from([2**63 - 1, 2**63, 2**64, 2**128, MOST]))
def test_a_uint256_keeps_every_digit_and_its_order_in_sqlite(value: int) -> None:
    memory = sa.create_engine("sqlite://")
    table = sa.Table("words", sa.MetaData(), sa.Column("word", Uint256))
    with memory.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"word": value}, {"word": MOST}, {"word": 0}])
        assert list(connection.execute(sa.select(table.c.word).order_by(table.c.word)).scalars()) == [
            0,
            value,
            MOST,
        ]


async def test_complaint_15_a_uint256_keeps_every_digit_and_its_order(place: str) -> None:
    words = [0, 1, 2**53 + 1, 2**63, 2**64 + 1, 10**77 + 1, MOST - 1, MOST]
    async with Journal(place) as journal:
        for number, word in enumerate(reversed(words)):
            journal.draft(intent(f"{number}", account=f"{number}"), nonce=word, fee=Fees(word, word), since=0)
    with connected(place) as connection:
        table = SQLModel.metadata.tables["transactions"]
        rows = connection.execute(sa.select(table.c.nonce, table.c.max_fee).order_by(table.c.nonce)).all()
    assert [tuple(row) for row in rows] == [(word, word) for word in words]
    for wrong in (-1, MOST + 1):
        async with Journal(place) as journal:
            with pytest.raises(JournalError, match="Not a uint256"):
                journal.draft(intent("wrong"), nonce=0, fee=Fees(wrong, 1), since=0)


async def test_nobodys_words_keep_a_row_from_being_written(place: str) -> None:
    said = "no\x00 such\ud800 é\nline\x1b[2J"
    async with Journal(place) as journal:
        record = VaultRecord(journal, 1, WHO)
        record.beat(WHO, said, said)
        record.trip(Breaker.ERRORS, said)
        heartbeat = record.heartbeat()
        assert heartbeat is not None
        shown = "no\\x00 such\\ud800 é\\nline\\x1b[2J"
        assert [heartbeat.did, heartbeat.trouble, record.tripped()[Breaker.ERRORS].reason] == [shown] * 3


async def test_whoever_looks_keeps_nobody_from_writing(place: str) -> None:
    async with Journal(place) as journal:
        with Journal(place).read() as session:
            assert session.exec(select(Intent)).all() == []
            journal.draft(intent(), nonce=0, fee=FEE, since=1)
        assert journal.transactions("one")


def test_options_of_the_url_are_kept(postgresql_url: str) -> None:
    with database(postgresql_url) as url:
        with connected(url) as connection:
            connection.execute(sa.text("CREATE SCHEMA keeper_a"))
        with connected(f"{url}?options=-csearch_path%3Dkeeper_a") as connection:
            found = connection.execute(sa.text("SELECT schemaname FROM pg_tables WHERE tablename = 'lease'"))
            assert set(found.scalars()) == {"public", "keeper_a"}
            assert connection.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"


def test_the_system_is_told_to_give_up_a_silent_network_within_a_lease(postgresql_url: str) -> None:
    with database(postgresql_url) as url, connected(url) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as wire:
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1_000 * LEASE
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1


# WHAT IT REFUSES


def test_the_schema_after_all_migrations_is_that_of_the_tables(place: str) -> None:
    with connected(place) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, SQLModel.metadata) == []


def test_a_database_of_a_newer_schema_is_refused(place: str) -> None:
    with connected(place) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer version.*expected schema 0004.*saw schema 9999"):
        Journal(place)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to its data folder"):
        Journal(str(tmp_path / "file"))


def test_the_file_is_its_owners_alone_and_survives_a_power_cut(tmp_path: Path) -> None:
    with connected(str(tmp_path / "data")) as connection:
        pragmas = ("journal_mode", "synchronous")
        seen = [connection.execute(sa.text(f"PRAGMA {name}")).scalar() for name in pragmas]
    assert seen == ["wal", 2]
    assert stat.S_IMODE((tmp_path / "data" / "journal.sqlite").stat().st_mode) == 0o600


def test_a_journal_that_is_opened_twice_in_a_process_keeps_its_log_when_another_process_leaves(
    tmp_path: Path,
) -> None:
    place = tmp_path / "data"
    with connected(str(place)) as connection:
        connection.execute(sa.text("UPDATE lease SET holder = 'somebody'"))
        connection.commit()
        open_engine(str(place), lease_seconds=1).dispose()
        leave = "c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM lease'); c.close()"
        command = [sys.executable, "-c", f"import sqlite3, sys; {leave}", place / "journal.sqlite"]
        subprocess.run(command, check=True)
        assert (place / "journal.sqlite-wal").exists()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://keeper:word@host/x",
        "postgresql://keeper:word@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=keeper&password=word",
        "postgresql://127.0.0.1:1/x?sslpassword=word",
        "postgresql://keeper:a@word@127.0.0.1:1/x",
        "postgresql://keeper:a@b:word@127.0.0.1/x",
        "postgresql://keeper:a@b/word@127.0.0.1:1/x",
        "postgresql://keeper:a@b?word@127.0.0.1:1/x",
        "postgresql://keeper:12/word@127.0.0.1:1/x",
        "postgresql://keeper:word@127.0.0.1:port/x",
        "://word",
    ],
)
def test_a_password_in_the_url_is_never_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Journal(url)
    assert "word" not in str(caught.value).replace("password", "")


async def test_complaint_05_a_lock_that_another_holds_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    place = str(tmp_path / "data")
    async with Journal(place) as journal:
        holder = held(tmp_path / "data" / "journal.sqlite")
        journal.draft(intent(), nonce=0, fee=FEE, since=1)
        assert holder.wait(10) == 0
        assert journal.transactions("one")


def held(file: Path) -> subprocess.Popen[str]:
    """A process that holds the write lock for half a second."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


HOLDS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(0.5)
connection.execute("COMMIT")
"""


# WHO MAY WRITE


async def test_two_keepers_do_not_write_to_one_journal(place: str) -> None:
    async with Journal(place, holder="first"):
        second = Journal(place, lease_seconds=0.05, holder="second")
        with pytest.raises(LeaseError, match=r"Another keeper holds the lease.*saw first, for another"):
            async with second:
                pass
        with pytest.raises(LeaseError, match="not open for writing"):
            second.draft(intent(), nonce=0, fee=FEE, since=1)


async def test_a_lease_is_kept_for_as_long_as_its_holder_lives(place: str) -> None:
    seen: set[int] = set()
    other = Journal(place)
    # Long enough for a busy machine. Renewed every third of it: five ends are later than one lease.
    async with Journal(place, lease_seconds=3) as first, asyncio.timeout(60):
        while len(seen) < 5:
            with other.read() as session:
                seen.add(session.exec(select(Lease.until)).one())
            await asyncio.sleep(0.05)
        with pytest.raises(LeaseError):
            other.take()
        first.draft(intent(), nonce=0, fee=FEE, since=1)


async def test_a_keeper_that_ends_leaves_the_lease_at_once(place: str) -> None:
    async with Journal(place) as first:
        first.draft(intent(), nonce=0, fee=FEE, since=1)
    async with Journal(place) as second:
        second.draft(intent("two"), nonce=0, fee=FEE, since=1)
        assert [step.token for step in second.transitions()] == [1, 2]


KEEPER = """
import asyncio, sys, time
ahead = float(sys.argv[2])
real = time.time
time.time = lambda: real() + ahead
from keeper.execution.fees import Fees
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import Intent

def write(journal, number):
    intent = Intent(key=f"child-{number}", chain_id=1, account="a", purpose="", target="", data=b"", gas=1)
    journal.draft(intent, nonce=0, fee=Fees(1, 1), since=0)

async def main():
    async with Journal(sys.argv[1], lease_seconds=1.0, holder="child") as journal:
        write(journal, 0)
        print("writing", flush=True)
        number = 0
        while True:
            await asyncio.sleep(0.02)
            number += 1
            write(journal, number)

asyncio.run(main())
"""


def child(place: str, ahead: float = 0.0) -> subprocess.Popen[str]:
    """A keeper that writes without end, with a clock that is so many seconds ahead."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER, place, str(ahead)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n", process.stderr
    return process


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0])
async def test_clocks_that_differ_by_a_day_agree_who_may_write_and_who_follows_within_one_lease(
    place: str, ahead: float
) -> None:
    process = child(place, ahead)
    try:
        with pytest.raises(LeaseError, match="saw child, for another"):
            Journal(place).take()
    finally:
        process.kill()
        process.communicate()
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Journal(place, lease_seconds=LEASE) as journal:
        assert loop.time() - started < LEASE * 1.5
        journal.draft(intent(), nonce=0, fee=FEE, since=0)
        assert journal.transactions("child-0")
