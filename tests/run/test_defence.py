"""Debts that `keeper run` defends while prices fall, beside a vault that nobody keeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from levered import DEBT, FLOOR, LANE, TARGET, Levered, deploy_levered, levered
from running import Post, Running
from staged import USDC

from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.config import parse
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.planning import budgets, exits
from keeper.planning.actions import SWAP
from keeper.planning.calls import PlannedCall
from keeper.planning.defence import weak
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Hold, Intents
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.signer import PlanRefusedError
from keeper.simulation.cast import cast
from keeper.simulation.devnet import Devnet
from keeper.units import BPS, WAD

STEPS = (2_400, 2_000, 1_650)
"""Prices of ether in dollars: at the last, what was borrowed at first could be liquidated."""
DEFENDS = r"batch in block \d+: Defends levered:USDC"


@pytest.fixture(scope="module")
def kept(devnet: Devnet) -> Levered:
    """The vault that is kept, with the guardian's pause on all new risk."""
    return levered(devnet)


def pause(stage: Levered) -> None:
    registry = stage.policy.vault.registry
    stage.act("guardian", registry, "pauseRisk(address)", stage.policy.vault.vault)


async def test_where_there_is_no_cash_collateral_is_sold_in_steps_and_what_redemptions_wait_for_comes_last(
    kept: Levered,
) -> None:
    with kept.devnet.undone():
        await kept.spend()
        kept.price(2_000)
        book = await kept.book()
        assert book.idle == 0
        plan = await kept.propose(Kind.BATCH)
        names = [call.function for call in plan.batch.calls]
        assert names == ["withdraw", "swapUniswap", "repay"] * (len(names) // 3)
        assert plan.batch.nonce_key == LANE
        ether = kept.supplied("WETH")
        kept.submit(plan)
        assert kept.health() * BPS >= FLOOR * WAD
        after = await kept.book()
        assert after.debt < book.debt
        sold = sum(call.amount for call in plan.batch.calls if call.venue == SWAP)
        # It earns, too.
        assert 0 <= sold - (ether - kept.supplied("WETH")) < 10**13


async def test_a_defence_waits_for_no_other_plan(kept: Levered) -> None:
    with kept.devnet.undone():
        kept.price(1_900)
        plan = await kept.propose(Kind.BATCH)
        assert plan.slot[0] == LANE != kept.policy.nonce_key
        assert weak(await kept.book(), kept.policy) == (DEBT,)
        nonce, lent = kept.state().nonce, kept.policy.position("metamorpho:USDC")
        args = {
            "target": lent.address,
            "token": kept.policy.vault.asset,
            "venue": lent.venue,
            "key": lent.key,
        }
        await kept.carry_out(PlannedCall.withdraw(**args, assets=USDC))
        assert kept.state().nonce == nonce + 1
        kept.submit(plan)
        assert kept.health() * BPS >= TARGET * WAD


@pytest.mark.parametrize("used_up", [False, True])
async def test_a_defence_is_signed_however_little_the_days_budgets_leave(
    devnet: Devnet, kept: Levered, tmp_path: Path, used_up: bool
) -> None:
    budget = {"moved": 38_600 * USDC if used_up else 0, "plans": 1}
    policy = parse(kept.policy.model_dump() | {"budgets": budget}, Policy)
    held = Levered(devnet, replace(kept.deployment, policy=policy))
    with devnet.undone():
        async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
            signer = held.signer(endpoint, tmp_path / "signer1.sqlite")
            if used_up:
                held.request_deposit("user2", 50_000 * USDC)
                await held.settle()
                ordinary = await held.propose(Kind.BATCH)
                assert 0 < budgets.spent(policy, [ordinary]).moved <= budget["moved"]
                await signer.approve(ordinary.to_bytes())
            held.price(1_900)
            defence = await held.propose(Kind.BATCH)
            assert {call.function for call in defence.batch.calls} == {"withdraw", "repay"}
            assert (await signer.approve(defence.to_bytes())).signer == signer.address


async def test_of_one_defence_no_second_plan_is_signed_that_carries_what_nothing_rests_on(
    kept: Levered, tmp_path: Path
) -> None:
    devnet = kept.devnet
    with devnet.undone():
        kept.price(1_900)
        defence = await kept.propose(Kind.BATCH)
        at = defence.reference_time
        wish = Intents(intents=(Hold(until=at + 1),), reason="to wait", author="risk officer", issued_at=at)
        carried = (
            exits.evidence("tripped: loss", at),
            Evidence(EvidenceKind.INTENT, wish.author, at, wish.to_bytes()),
            Evidence(EvidenceKind.INTENT, wish.author, at, b"no intents"),
            Evidence(EvidenceKind.PROOF, "a desk", at, b"1 for 2"),
        )
        variants = [replace(defence, evidence=(each,)) for each in carried]
        variants += [replace(defence, parent=bytes([i]) * 32) for i in range(2)]
        async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
            signer = kept.signer(endpoint, tmp_path / "signer1.sqlite")
            for each in variants:
                with pytest.raises(PlanRefusedError) as caught:
                    await signer.approve(each.to_bytes())
                assert caught.value.code == "different_plan"
            assert (await signer.approve(defence.to_bytes())).signer == signer.address


async def test_a_defence_carries_none_of_the_evidence_that_others_rest_on(kept: Levered) -> None:
    with kept.devnet.undone():
        kept.price(1_900)
        taken = await kept.snapshot()
        stops = exits.evidence("tripped: loss", taken.reference_time)
        alone, stopped = (engine.derive(taken, kept.policy, Kind.BATCH, each) for each in ((), (stops,)))
        assert stopped.to_bytes() == alone.to_bytes()
        assert alone.batch.nonce_key == LANE


async def test_a_falling_price_liquidates_who_is_not_kept_and_nobody_who_is(
    devnet: Devnet, kept: Levered, tmp_path: Path
) -> None:
    left = Levered(devnet, deploy_levered(devnet))
    await left.open_levered(500_000 * USDC, 100 * 10**18, 150_000 * USDC)
    post = Post(tmp_path, kept)
    with cast(devnet, kept.deployment, tmp_path / "signers") as players:
        post.vault(kept, players.urls, "kept")
        post.write()
        pause(kept)
        async with Journal(str(tmp_path / "data")) as journal:
            record = VaultRecord(journal, devnet.chain_id, kept.deployment.vault)
            record.trip(Breaker.DIVERGENCE, "a test of it")
        with Running(post) as keeper:
            for dollars in STEPS:
                kept.price(dollars)
                if kept.health() * BPS < FLOOR * WAD:
                    keeper.events.clear()
                    keeper.did(DEFENDS)
                    assert kept.health() * BPS >= TARGET * WAD
                assert kept.health() > WAD
                assert not kept.may_be_liquidated()
            assert [each["breaker"] for each in post.status()["vaults"][0]["breakers"]] == ["divergence"]
            assert keeper.terminate() == 0
    before = left.supplied("WETH")
    left.liquidate()
    assert left.supplied("WETH") < before * 3 // 4
