"""A journal of the schema before, with everything in it, opened by this version: on both databases."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from keeper.errors import ConfigError
from keeper.execution.journal import database
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import Uint256
from keeper.execution.treasury import Spent, by_purpose

BEFORE = "0002"
VAULT, OTHER = "0x" + "Aa" * 20, "0x" + "Bb" * 20
PLAN = b"\xab" * 32
CHAIN = 2**70


def before(place: str) -> sa.Engine:
    """The database with the schema before."""
    if "://" not in place:
        Path(place).mkdir()
        place = f"sqlite:///{place}/{database.FILE}"
    engine = sa.create_engine(place.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    return engine


def insert(connection: sa.Connection, name: str, **values: object) -> None:
    words = {"chain_id", "gas", "valid_until", "nonce", "max_fee", "tip", "since", "block"}
    columns = [sa.column(key, Uint256()) if key in words else sa.column(key) for key in values]
    connection.execute(sa.insert(sa.table(name, *columns)).values(**values))


async def test_the_schema_is_left_alone_while_a_keeper_of_an_older_version_works(place: str) -> None:
    engine = before(place)
    held = sa.text("UPDATE lease SET holder = 'old', until = :until")
    with engine.begin() as connection:
        connection.execute(held, {"until": int((time.time() + 60) * 1_000)})
    with pytest.raises(ConfigError, match=r"older version holds the lease.*its lease lasts for another"):
        Journal(place)
    with engine.begin() as connection:
        version = sa.text("SELECT version_num FROM alembic_version")
        assert connection.execute(version).scalar_one() == BEFORE
        connection.execute(held, {"until": 0})
    engine.dispose()
    Journal(place)


async def test_what_was_there_is_there_and_is_attributed(place: str) -> None:
    engine = before(place)
    keys = {
        f"plan/{PLAN.hex()}": VAULT,
        f"plan/{'cd' * 32}": None,
        f"close/1/{OTHER}/7": OTHER,
        "hole/1/0x00/3": None,
    }
    with engine.begin() as connection:
        insert(
            connection, "plans", plan_hash=PLAN, chain_id=CHAIN, vault=VAULT, kind="batch", body=b"b", block=9
        )
        for nonce, key in enumerate(keys):
            insert(
                connection,
                "intents",
                key=key,
                chain_id=CHAIN,
                account="a",
                purpose="p",
                target="t",
                data=b"\x00\xff",
                gas=2**255,
            )
            insert(
                connection,
                "transactions",
                intent=key,
                chain_id=CHAIN,
                account="a",
                nonce=nonce,
                attempt=0,
                cancels=False,
                max_fee=2**256 - 1,
                tip=1,
                since=4,
                state="final",
                hash=bytes([nonce]) * 32,
                raw=b"raw",
                succeeded=True,
            )
        row_id = connection.execute(sa.text("SELECT min(id) FROM transactions")).scalar_one()
        insert(connection, "transitions", transaction_id=row_id, after="drafted", moment=5, token=1)
        connection.execute(sa.text("UPDATE lease SET token = 41"))
    engine.dispose()
    async with Journal(place) as journal:
        for nonce, (key, vault) in enumerate(keys.items()):
            intent, (row,) = journal.intent(key), journal.transactions(key)
            assert (intent.vault, intent.gas, intent.data) == (vault, 2**255, b"\x00\xff")
            assert (row.nonce, row.max_fee, row.raw, row.hash) == (
                nonce,
                2**256 - 1,
                b"raw",
                bytes([nonce]) * 32,
            )
            assert (row.gas_used, row.gas_price, row.cost, row.mined_at) == (None,) * 4
        assert [(each.after, each.token) for each in journal.transitions()] == [("drafted", 1)]
        assert by_purpose(GasRecord(journal, CHAIN).charges()) == {}
        # What has no cost yet is not taken for what cost nothing.
        with journal.write() as session:
            row.gas_used, row.gas_price, row.data_fee, row.mined_at = 2**200, 2**50, 3, 2**256 - 1
            session.merge(row)
        paid = by_purpose(GasRecord(journal, CHAIN).charges())
        assert paid == {(None, "p"): Spent(1, 2**250 + 3)}
