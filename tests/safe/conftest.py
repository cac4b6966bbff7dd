"""A vault whose keeper is a 2-of-3 Safe, as its factory makes it, on the real protocols."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from eth_account import Account
from safe_world import DEPOSIT, Carry, MakeOwner
from staged import Staged

from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.cycle import Keeper
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.record import Promises
from keeper.quorum.signer import Signer
from keeper.safe import execution
from keeper.safe.envelope import Envelope
from keeper.safe.owner import Owner
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import SIGNERS, deploy_vault


@pytest.fixture(scope="module")
def deployed(devnet: Devnet) -> Staged:
    """Two million USDC ask to be let in, and their epoch is closed."""
    stage = Staged(devnet, deploy_vault(devnet, safe=True))
    stage.request_deposit("user1", DEPOSIT)
    stage.close_epoch()
    return stage


@pytest.fixture
def stage(deployed: Staged) -> Iterator[Staged]:
    """The same vault, put back after the test."""
    with deployed.devnet.undone():
        yield deployed


@pytest_asyncio.fixture
async def hub(deployed: Staged) -> AsyncIterator[Endpoint]:
    async with deployed.endpoint() as opened:
        yield opened


@pytest.fixture
def relayer(deployed: Staged, hub: Endpoint, journal: Journal) -> Relayer:
    """Somebody without any role."""
    return Relayer(hub, Account.from_key(deployed.devnet.key("user6")), journal, EventStream())


@pytest.fixture
def keeper(deployed: Staged, hub: Endpoint, relayer: Relayer) -> Keeper:
    return Keeper(deployed.policy, hub, ChainClock(hub), (), EventStream(), relayer)


@pytest.fixture
def make_owner(deployed: Staged, hub: Endpoint, tmp_path: Path) -> MakeOwner:
    """An owner of the Safe in this process, with a record of its own."""

    def make(role: str, policy: Policy = deployed.policy) -> Owner:
        signer = Signer(
            policy=policy,
            engine=engine,
            endpoints={deployed.devnet.chain_id: hub},
            clock=ChainClock(hub),
            promises=Promises(tmp_path / f"{role}.sqlite"),
            account=Account.from_key(deployed.devnet.key(role)),
        )
        return Owner(signer, hub)

    return make


@pytest.fixture
def carry(deployed: Staged, hub: Endpoint, keeper: Keeper, relayer: Relayer, make_owner: MakeOwner) -> Carry:
    """Proposes, signs by the first two owners, sends and reconciles the plans of those kinds."""

    async def through(*kinds: Kind) -> Envelope:
        plans = [await deployed.propose(kind) for kind in kinds]
        envelope = await execution.propose(plans, deployed.policy, hub)
        for role in SIGNERS[:2]:
            envelope = envelope.with_signatures([await make_owner(role).sign(envelope)])
        receipt = await execution.send(envelope, deployed.policy, relayer)
        result, _ = await keeper.reconcile(plans, receipt)
        assert result.others == 0, "so nothing but the plans may explain the outcome"
        return envelope

    return through
