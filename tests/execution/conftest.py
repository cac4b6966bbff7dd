"""A local chain for each module, a journal in a folder, and the account that uses both."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from counting import CHAIN, Counting
from postgresql_server import database, postgresql

from keeper.chain.rpc import Endpoint
from keeper.execution.journal.journal import Journal
from keeper.simulation.anvil import Anvil


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(CHAIN, ["--no-mining", "--slots-in-an-epoch", "1"]) as node:
        yield node


@pytest.fixture
async def chain(anvil: Anvil) -> AsyncIterator[Endpoint]:
    async with Endpoint(anvil.url, CHAIN) as opened:
        yield opened


@pytest.fixture
async def world(chain: Endpoint, journal: Journal) -> Counting:
    """An account that nobody has used."""
    made = await Counting.of(chain, journal, "0x" + secrets.token_hex(32))
    await made.place()
    return made


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a journal may be: both databases, for real."""
    if request.param == "sqlite":
        yield str(tmp_path / "data")
        return
    with database(request.getfixturevalue("postgresql_url")) as url:
        yield url
