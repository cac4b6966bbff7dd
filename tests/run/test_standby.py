"""Two `keeper run` on one PostgreSQL journal: when the first is gone, the second goes on within one lease."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from postgresql_server import database, postgresql
from running import DEAD, SCHEDULE, Post, Running, is_a
from staged import USDC, Staged

from keeper.execution.journal.journal import Journal
from keeper.simulation.vault import EPOCH_SECONDS

LEASE = 4.0
MARGIN = 1.5
"""For a machine that is busy."""


@pytest.fixture
def shared() -> Iterator[str]:
    with postgresql() as server, database(server) as url:
        yield url


def test_a_standby_goes_on_with_what_the_first_had_sent_and_sends_nothing_twice(
    stage: Staged, post: Post, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    devnet, relayer = stage.devnet, stage.devnet.address("relayer")
    post.vault(stage, [DEAD], "vault")
    post.write(f"lease = {LEASE}\n{SCHEDULE}")
    file = post.folder / "keeper.toml"
    file.write_text(file.read_text().replace('data = "data"', f'data = "{shared}"'))
    stage.request_deposit("user1", 1_000 * USDC)
    devnet.warp(EPOCH_SECONDS)
    nonce = int(devnet.rpc("eth_getTransactionCount", relayer, "latest"), 16)
    devnet.rpc("evm_setAutomine", False)
    journal = Journal(shared)
    with Running(post) as first:
        first.until(is_a("TransactionSent"))
        former = journal.holder()
        monkeypatch.setenv("PGAPPNAME", "standby")
        with Running(post) as second:
            while not waits(shared):
                assert journal.holder() == former
            first._child.kill()
            killed = time.monotonic()
            while (holder := journal.holder()) in {former, None}:
                assert time.monotonic() - killed < LEASE + MARGIN
            assert str(holder).endswith(f":{second._child.pid}")
            devnet.rpc("evm_mine")
            second.until(is_a("TransactionMined"))
            assert second.terminate() == 0
    assert stage.accounting().closed_epoch == 1
    assert journal.executions("close/") == 1
    assert int(devnet.rpc("eth_getTransactionCount", relayer, "latest"), 16) == nonce + 1
    tokens = [step.token for step in journal.transitions()]
    assert tokens == sorted(tokens)
    assert set(tokens) == {1, 2}


def waits(url: str) -> bool:
    """Whether the second keeper is at the database."""
    with psycopg.connect(url) as connection:
        others = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
        return connection.execute(others, ["standby"]).fetchone() is not None
