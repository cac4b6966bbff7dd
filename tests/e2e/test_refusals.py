"""What must not happen does not, says why, and leaves everything as it was."""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from staged import USDC, Staged

from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import take_at
from keeper.config import parse
from keeper.engine import calls
from keeper.errors import (
    EndpointDownError,
    KeeperError,
    PolicyError,
    QuorumError,
    RefusedError,
    ReorganisedError,
    RevertError,
    StaleHeadError,
    WrongChainError,
)
from keeper.events import TransactionMined
from keeper.execution.cycle import Keeper
from keeper.execution.journal.journal import Journal
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval
from keeper.quorum.signer import PlanRefusedError, Signer
from keeper.quorum.typed_data import Signature, artefact, verify
from keeper.simulation.anvil import Anvil
from keeper.simulation.replica import Replica
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

MakeKeeper = Callable[..., Keeper]
MakeSigner = Callable[..., Signer]
NOBODY = Address("0x00000000000000000000000000000000DeaDBeef")


@contextmanager
def refused(stage: Staged, kind: type[KeeperError], *says: str) -> Iterator[None]:
    """The block raises `kind` with each of `says` in its text, and changes nothing of the vault."""
    before = stage.state()
    with pytest.raises(kind) as caught:
        yield
    told = str(caught.value)
    assert not [part for part in says if part not in told], told
    assert stage.state() == before


async def rebalance(stage: Staged) -> Plan:
    """A plan for new money in the vault."""
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    return await stage.propose(Kind.BATCH)


# ENDPOINTS


async def test_an_endpoint_that_is_down(stage: Staged, make_keeper: MakeKeeper) -> None:
    with Anvil(stage.devnet.chain_id) as anvil:
        url = anvil.url
    async with stage.endpoint(url) as down:
        with refused(stage, EndpointDownError, "No answer from the endpoint of chain 31337", url):
            await make_keeper(down).propose(Kind.BATCH)


async def test_an_endpoint_of_another_chain(stage: Staged, make_keeper: MakeKeeper) -> None:
    with Anvil(31_338) as other:
        async with stage.endpoint(other.url) as wrong:
            says = ("Endpoint serves another chain", "expected 31337", "saw 31338", other.url)
            with refused(stage, WrongChainError, *says):
                await make_keeper(wrong).propose(Kind.BATCH)


async def test_an_endpoint_that_is_behind(stage: Staged, make_signer: MakeSigner) -> None:
    # This replica follows only when it is told to.
    with Replica(stage.devnet.url, stage.devnet.chain_id) as node:
        head = stage.head.number
        plan = await rebalance(stage)
        pinned = stage.head
        says = ("Endpoint is behind on chain 31337", f"expected block {pinned.number}", f"saw head {head}")
        late = ("Pinned block is not final [chain 31337]", f"saw block {pinned.number}, head {head}")
        async with stage.endpoint(node.url) as behind:
            with refused(stage, StaleHeadError, *says, node.url):
                await stage.snapshot(node.url, pinned)
            with refused(stage, PlanRefusedError, *late):
                await make_signer(behind).approve(plan.to_bytes())
            node.sync()
            assert (await make_signer(behind).approve(plan.to_bytes())).signer


# VAULTS


def edited(stage: Staged, change: Callable[[dict[str, Any]], None]) -> Policy:
    body = tomllib.loads(stage.deployment.policy_toml)
    change(body)
    return parse(body, Policy)


async def test_a_policy_for_a_vault_that_is_not_there(stage: Staged, make_keeper: MakeKeeper) -> None:
    elsewhere = edited(stage, lambda body: body["vault"].update(vault=NOBODY))
    says = ("The policy names an unknown vault [chain 31337]", f"saw none at {NOBODY}")
    with refused(stage, PolicyError, *says):
        await make_keeper(policy=elsewhere).propose(Kind.BATCH)


async def test_a_policy_whose_portfolio_is_not_there(stage: Staged, make_keeper: MakeKeeper) -> None:
    elsewhere = edited(stage, lambda body: body["vault"].update(portfolio=NOBODY))
    says = ("disagree on the portfolio", f"expected {NOBODY}", f"saw {stage.deployment.portfolio}")
    with refused(stage, PolicyError, *says):
        await make_keeper(policy=elsewhere).propose(Kind.BATCH)


async def test_a_signer_asked_for_another_vault(stage: Staged, make_signer: MakeSigner) -> None:
    plan = replace(await rebalance(stage), vault=NOBODY)
    says = ("This signer does not keep that vault", f"expected {stage.deployment.vault}", f"saw {NOBODY}")
    with refused(stage, PlanRefusedError, *says):
        await make_signer().approve(plan.to_bytes())


async def test_a_plan_for_another_vault_on_chain(stage: Staged, make_keeper: MakeKeeper) -> None:
    plan = replace(await rebalance(stage), vault=NOBODY)
    with refused(stage, RevertError, "WrongVault", stage.deployment.vault, NOBODY):
        await submit(stage, make_keeper, plan, stage.sign(plan, *SIGNERS[:2]))


# TIME AND NONCES


async def submit(stage: Staged, make_keeper: MakeKeeper, plan: Plan, signatures: list[Signature]) -> None:
    relayer = make_keeper().relayer
    assert relayer is not None
    await relayer.submit(plan, Approval(tuple(signatures), ()), stage.policy)


async def test_an_expired_plan(stage: Staged, make_keeper: MakeKeeper, make_signer: MakeSigner) -> None:
    plan = await rebalance(stage)
    stage.devnet.warp(stage.policy.time.validity + 1)
    with refused(stage, RevertError, "Expired", str(plan.valid_until)):
        await submit(stage, make_keeper, plan, stage.sign(plan, *SIGNERS[:2]))
    says = ("Plan has expired", f"expected until {plan.valid_until}", f"saw {stage.head.timestamp}")
    with refused(stage, PlanRefusedError, *says):
        await make_signer().approve(plan.to_bytes())


async def test_a_plan_that_expires_before_it_is_mined(stage: Staged, make_keeper: MakeKeeper) -> None:
    plan = await rebalance(stage)
    relayer, heard = make_keeper().relayer, []
    assert relayer is not None
    relayer.events.subscribe(heard.append)
    stage.devnet.rpc("evm_setNextBlockTimestamp", plan.valid_until + 1)
    with refused(stage, RevertError, "Expired", str(plan.valid_until)):
        await relayer.submit(plan, Approval(tuple(stage.sign(plan, *SIGNERS[:2])), ()), stage.policy)
    assert [event.succeeded for event in heard if isinstance(event, TransactionMined)] == [False]


async def test_an_expired_settlement(stage: Staged, make_keeper: MakeKeeper) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    stage.close_epoch()
    plan = await stage.propose(Kind.SETTLEMENT)
    stage.devnet.warp(stage.policy.time.validity + 1)
    with refused(stage, RevertError, "Expired", str(plan.valid_until)):
        await submit(stage, make_keeper, plan, stage.sign(plan, *SIGNERS[:2]))


async def test_a_plan_that_was_used(
    stage: Staged, make_keeper: MakeKeeper, make_signer: MakeSigner, tmp_path: Path
) -> None:
    plan = await rebalance(stage)
    relayer, approval = make_keeper().relayer, Approval(tuple(stage.sign(plan, *SIGNERS[:2])), ())
    assert relayer is not None
    receipt = await relayer.submit(plan, approval, stage.policy)
    # By whoever knows of it nothing is sent again, and by anybody else in vain.
    before = stage.state()
    assert await relayer.submit(plan, approval, stage.policy) == receipt
    assert stage.state() == before
    async with Journal(str(tmp_path / "another")) as journal:
        with refused(stage, RevertError, "NonceUsed"):
            await replace(relayer, journal=journal).submit(plan, approval, stage.policy)
    with refused(stage, PlanRefusedError, "The plan reverts: NonceUsed(nonceKey=0, expected=2, seen=1)"):
        await make_signer().approve(plan.to_bytes())


async def test_a_settlement_that_was_used(stage: Staged, make_keeper: MakeKeeper) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    plan = await stage.settle()
    with refused(stage, RevertError, "EpochNotClosed"):
        await submit(stage, make_keeper, plan, stage.sign(plan, *SIGNERS[:2]))


# SIGNATURES


def by_one(stage: Staged, plan: Plan) -> list[Signature]:
    return stage.sign(plan, "signer1")


def by_a_stranger(stage: Staged, plan: Plan) -> list[Signature]:
    return stage.sign(plan, "signer1", "user1")


def twice(stage: Staged, plan: Plan) -> list[Signature]:
    return stage.sign(plan, "signer1", "signer1")


def unsorted(stage: Staged, plan: Plan) -> list[Signature]:
    return stage.sign(plan, *SIGNERS[:2])[::-1]


def in_another_name(stage: Staged, plan: Plan) -> list[Signature]:
    first, second = stage.sign(plan, *SIGNERS[:2])
    return [first, Signature(second.signer, first.data)]


def of_another_plan(stage: Staged, plan: Plan) -> list[Signature]:
    return stage.sign(replace(plan, valid_until=plan.valid_until + 1), *SIGNERS[:2])


@pytest.mark.parametrize("kind", [Kind.BATCH, Kind.SETTLEMENT])
@pytest.mark.parametrize(
    ("signed", "on_chain", "here"),
    [
        (by_one, "TooFewSignatures", "Signed by too few: expected 2 of 3, saw 1"),
        (by_a_stranger, "UnknownSigner", "Signed by a stranger"),
        (twice, "SignersNotAscending", "Signed twice by the same signer"),
        (unsorted, "SignersNotAscending", "Signatures are not sorted by signer"),
        (in_another_name, "InvalidSignature", "Signature of someone else"),
        (of_another_plan, "InvalidSignature", "or of another digest"),
    ],
)
async def test_signatures_that_do_not_count(
    stage: Staged,
    make_keeper: MakeKeeper,
    signed: Callable[[Staged, Plan], list[Signature]],
    on_chain: str,
    here: str,
    kind: Kind,
) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    if kind is Kind.BATCH:
        await stage.settle()
    else:
        stage.close_epoch()
    plan = await stage.propose(kind)
    signatures = signed(stage, plan)
    with refused(stage, RevertError, on_chain):
        await submit(stage, make_keeper, plan, signatures)
    digest = artefact(plan).digest(plan.chain_id, stage.policy.vault.quorum)
    rules = stage.policy.signers
    with refused(stage, QuorumError, here):
        verify(digest, signatures, signers=rules.addresses, threshold=rules.threshold)
    await submit(stage, make_keeper, plan, stage.sign(plan, *SIGNERS[1:]))


async def test_nobody_can_go_round_the_quorum(stage: Staged) -> None:
    plan = await rebalance(stage)
    data, relayer = artefact(plan).execute_data(), stage.devnet.key("relayer")
    with refused(stage, RevertError, "NotKeeper", Account.from_key(relayer).address):
        stage.devnet.send(relayer, stage.deployment.portfolio, data, errors=("Portfolio",))


async def test_without_a_key_nothing_is_sent(stage: Staged, make_keeper: MakeKeeper) -> None:
    plan = await rebalance(stage)
    approval = Approval(tuple(stage.sign(plan, *SIGNERS[:2])), ())
    with refused(stage, RefusedError, "Dry run: no relayer key is configured", plan.plan_hash.hex()):
        await replace(make_keeper(), relayer=None).execute(plan, approval)


async def test_a_call_dearer_than_the_policy_allows(stage: Staged, make_keeper: MakeKeeper) -> None:
    thrifty = edited(stage, lambda body: body["limits"].update(max_gas=100_000))
    plan = await rebalance(stage)
    relayer = make_keeper().relayer
    assert relayer is not None
    with refused(stage, RefusedError, "more gas than is allowed", "expected at most 100,000"):
        await relayer.submit(plan, Approval(tuple(stage.sign(plan, *SIGNERS[:2])), ()), thrifty)


# REORGANISATIONS


async def test_a_snapshot_block_that_was_reorganised_away(
    stage: Staged, endpoint: Endpoint, make_signer: MakeSigner
) -> None:
    await rebalance(stage)
    mark = stage.devnet.rpc("evm_snapshot")
    stage.devnet.rpc("evm_mine")
    gone = stage.head
    plan = await stage.propose(Kind.BATCH)
    stage.devnet.revert(mark)
    stage.devnet.warp(7)
    now = stage.head
    assert (now.number, now.hash != gone.hash) == (gone.number, True)
    says = (
        f"Block {gone.number} of chain 31337 was reorganised away",
        f"expected 0x{gone.hash.hex()}",
        f"saw 0x{now.hash.hex()}",
    )
    with refused(stage, ReorganisedError, *says):
        await take_at({31_337: endpoint}, calls(stage.policy), [gone], gone.timestamp)
    with refused(stage, PlanRefusedError, *says):
        await make_signer().approve(plan.to_bytes())
