"""Fixtures every test may use. The chain is real: Anvil with the protocols, loaded from the cache."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from keeper.execution.journal.journal import Journal
from keeper.simulation.devnet import BuiltChain, Devnet, ensure_built
from keeper.simulation.market import MarketAgent

LONGEST = ("test_kills_in_days.py", "test_faults.py", "test_demo.py", "test_commands.py")
"""Modules that take minutes begin first: whichever is last has a worker, and a processor, to itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def built_chain() -> BuiltChain:
    """The cached chain 31337, built first where its inputs are new."""
    return ensure_built()


@pytest.fixture(scope="module")
def devnet(built_chain: BuiltChain) -> Iterator[Devnet]:
    """A chain of its own for each test module; tests in one module share and move it."""
    with Devnet(built_chain.manifest["chain_id"]) as chain:
        yield chain


@pytest.fixture
def fresh_devnet(built_chain: BuiltChain) -> Iterator[Devnet]:
    """A chain of its own for one test, at the built head."""
    with Devnet(built_chain.manifest["chain_id"]) as chain:
        yield chain


@pytest.fixture
def market(devnet: Devnet) -> MarketAgent:
    """The market agent on this module's chain, with seed 7."""
    return MarketAgent(devnet, 7)


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """A journal of one test, in a folder, with its lease."""
    async with Journal(str(tmp_path / "keeper")) as opened:
        yield opened
