"""A vault at work on the real protocols, shared by a module and put back after each test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from eth_account import Account
from selling import Selling
from staged import USDC, Staged

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.cycle import Keeper
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.policy import Policy
from keeper.quorum.signer import Signer
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.swaps import deploy_selling_vault, push_prices
from keeper.simulation.vault import deploy_vault

FIRST_DEPOSIT = 2_000_000 * USDC
HOUR = 3_600
MakeKeeper = Callable[..., Keeper]
MakeSigner = Callable[..., Signer]


@pytest.fixture(scope="module")
def deployed(devnet: Devnet) -> Staged:
    """The module's vault: two million USDC settled, claimed, and at work."""
    stage = Staged(devnet, deploy_vault(devnet))
    asyncio.run(stage.open(FIRST_DEPOSIT))
    return stage


@pytest.fixture
def stage(deployed: Staged) -> Iterator[Staged]:
    """The same vault, put back after the test."""
    with deployed.devnet.undone():
        yield deployed


@pytest_asyncio.fixture
async def endpoint(deployed: Staged) -> AsyncIterator[Endpoint]:
    """An open endpoint on the origin."""
    async with deployed.endpoint() as opened:
        yield opened


@pytest.fixture
def make_keeper(deployed: Staged, endpoint: Endpoint, journal: Journal) -> MakeKeeper:
    """Builds a keeper; nobody signs but what tests hand it."""

    def make(at: Endpoint = endpoint, policy: Policy | None = None) -> Keeper:
        events = EventStream()
        account = Account.from_key(deployed.devnet.key("relayer"))
        return Keeper(
            policy=policy or deployed.policy,
            endpoint=at,
            clock=ChainClock(at),
            signers=(),
            events=events,
            relayer=Relayer(at, account, journal, events),
        )

    return make


@pytest.fixture
def make_signer(deployed: Staged, endpoint: Endpoint, tmp_path: Path) -> MakeSigner:
    """Builds a signer in this process."""

    def make(at: Endpoint = endpoint, role: str = "signer1") -> Signer:
        return deployed.signer(at, tmp_path / f"{role}.sqlite", role)

    return make


@pytest.fixture(scope="module")
def running(devnet: Devnet) -> Iterator[tuple[Staged, LiFiService]]:
    """A vault with two million dollars at work, an hour of rewards, and prices that are fresh."""
    with LiFiService([devnet]) as service:
        stage = Staged(devnet, deploy_selling_vault(devnet, service.contracts[devnet.chain_id]))
        asyncio.run(stage.open(2_000_000 * USDC))
        devnet.warp(HOUR)
        push_prices(devnet)
        yield stage, service


@pytest.fixture
def selling(running: tuple[Staged, LiFiService], tmp_path: Path) -> Iterator[Selling]:
    """The same vault and an honest service, put back after the test."""
    stage, service = running
    service.behave(fee_bps=0)
    mark = stage.devnet.rpc("evm_snapshot")
    yield Selling(stage, service, tmp_path)
    stage.devnet.revert(mark)
