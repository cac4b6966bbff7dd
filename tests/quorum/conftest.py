"""A real vault on a local chain with the real protocols, and signers that keep it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from eth_account import Account
from vault_world import DEPOSIT, World

from keeper import engine
from keeper.chain.rpc import Endpoint, Source
from keeper.clock import ChainClock, Clock
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.record import Promises
from keeper.quorum.signer import Signer
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import EPOCH_SECONDS, SIGNERS, deploy_vault


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A vault whose first epoch is closed and holds one deposit."""
    with Devnet() as devnet:
        deployment = deploy_vault(devnet)
        made = World(devnet, deployment)
        user, vault = devnet.address("user1"), deployment.vault
        made.act("lender", deployment.asset, "transfer(address,uint256)", user, DEPOSIT)
        made.act("user1", deployment.asset, "approve(address,uint256)", vault, DEPOSIT)
        made.act("user1", vault, "requestDeposit(uint256,address,address)", DEPOSIT, user, user)
        devnet.warp(EPOCH_SECONDS)
        made.act("user1", vault, "closeEpoch()")
        devnet.rpc("evm_mine")
        yield made


@pytest.fixture
def rewind(world: World) -> Iterator[World]:
    """The same vault, put back as it was after the test."""
    with world.devnet.undone():
        yield world


@pytest_asyncio.fixture
async def settled(rewind: World) -> World:
    """A vault with its deposit settled and idle."""
    plan = await rewind.propose(Kind.SETTLEMENT)
    rewind.submit(plan, rewind.sign(plan, *SIGNERS[:2]))
    rewind.devnet.rpc("evm_mine")
    return rewind


@pytest_asyncio.fixture
async def make_signer(world: World, tmp_path: Path) -> AsyncIterator[Callable[..., Signer]]:
    """Builds a signer in this process, with an endpoint of its own."""
    endpoint = Endpoint(world.devnet.url, world.devnet.chain_id)

    def make(
        role: str = "signer1",
        source: Source = endpoint,
        clock: Clock | None = None,
        policy: Policy = world.policy,
    ) -> Signer:
        return Signer(
            policy=policy,
            engine=engine,
            endpoints={world.devnet.chain_id: source},
            clock=clock or ChainClock(source),
            promises=Promises(tmp_path / f"{role}.sqlite"),
            account=Account.from_key(world.devnet.key(role)),
        )

    async with endpoint:
        yield make
