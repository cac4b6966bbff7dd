"""Fixtures: a real local chain per test, and the endpoint of one with the local programs on it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from local_programs import CHAIN, place_programs

from keeper.chain.rpc import Endpoint
from keeper.simulation.anvil import Anvil


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    with Anvil(CHAIN, ["--no-mining"]) as node:
        yield node


@pytest.fixture
async def endpoint(anvil: Anvil) -> AsyncIterator[Endpoint]:
    async with Endpoint(anvil.url, CHAIN) as opened:
        yield opened


@pytest.fixture
async def chain(endpoint: Endpoint) -> Endpoint:
    """The endpoint of a chain with the local programs on it; its slot zero holds 1."""
    await place_programs(endpoint)
    return endpoint
