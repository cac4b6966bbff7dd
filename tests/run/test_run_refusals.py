"""What `keeper run` says it would do, and what it refuses to start or go on with."""

import asyncio
import sqlite3
from collections.abc import Iterator

import pytest
from running import DEAD, Post
from staged import USDC, Staged

from keeper.config import public_url
from keeper.errors import ConfigError
from keeper.execution.journal.database import FILE
from keeper.execution.journal.journal import Journal
from keeper.ops.running import read_config, read_policies
from keeper.simulation.vault import EPOCH_SECONDS

DEPOSIT = 2_000_000 * USDC


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    """The module's vault, put back after each test."""
    with working.devnet.undone():
        yield working


def test_complaint_11_without_a_key_it_says_what_it_would_do_and_does_nothing(
    stage: Staged, post: Post
) -> None:
    post.vault(stage, [], "vault")
    post.write(key=False)
    stage.request_deposit("user2", DEPOSIT)
    stage.devnet.warp(EPOCH_SECONDS)
    before = stage.state()
    said = post.keeper("run", "--once", "--json")
    assert said.returncode == 0, said.stderr
    assert f"would close epoch {before.accounting.current_epoch}" in said.stderr
    assert '"dry": true' in said.stdout
    assert stage.state() == before
    assert not (post.folder / "data").exists()


async def test_a_second_keeper_waits_for_the_lease_and_gives_up(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write("lease = 1.0\n")
    async with Journal(str(post.folder / "data"), holder="the first"):
        said = await asyncio.to_thread(post.keeper, "run", "--once")
    assert said.returncode == 4
    assert "Another keeper holds the lease" in said.stderr
    assert "the first" in said.stderr


def test_a_clock_that_is_off_is_refused(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write()
    post.endpoints('clock = "system"\n')
    said = post.keeper("run", "--once")
    assert said.returncode == 1
    assert "The keeper's clock and the chain's time differ" in said.stderr


def test_too_few_independent_endpoints_are_refused(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write()
    chain = stage.devnet.chain_id
    post.endpoints('clock = "chain"\n', f"[chains.{chain}]\nagreement = 2\n")
    said = post.keeper("run", "--once")
    assert said.returncode == 2
    assert "agreement needs endpoints of two operators" in said.stderr
    assert public_url(stage.devnet.url) not in said.stdout


def test_a_folder_that_cannot_be_written_is_refused(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write()
    (post.folder / "data").write_text("A file where the folder would be.")
    said = post.keeper("run", "--once")
    assert said.returncode == 2
    assert "The keeper cannot write to its data folder" in said.stderr
    assert str(post.folder / "data") in said.stderr


async def test_a_database_of_a_newer_schema_is_refused(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write()
    async with Journal(str(post.folder / "data")):
        pass
    with sqlite3.connect(post.folder / "data" / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = await asyncio.to_thread(post.keeper, "run", "--once")
    assert said.returncode == 2
    assert "newer version of the keeper" in said.stderr
    assert "saw schema 9999" in said.stderr


def test_a_vault_that_is_listed_twice_is_refused(stage: Staged, post: Post) -> None:
    for _ in range(2):
        post.vault(stage, [DEAD], "vault")
    post.write()
    said = post.keeper("run", "--once")
    assert said.returncode == 2
    assert "A vault is listed twice" in said.stderr


def test_gas_of_a_chain_without_a_vault_is_refused(stage: Staged, post: Post) -> None:
    post.vault(stage, [DEAD], "vault")
    post.write("[gas.1]\nlow = 1\n")
    with pytest.raises(ConfigError, match=r"Gas of a chain without a vault: saw gas\.1"):
        read_policies(read_config(post.folder / "keeper.toml"))
