"""Reconciliation of blocks in which nobody else acted: zero, or an error. `test_others.py` has the rest."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from staged import USDC, Staged

from keeper.errors import ReconciliationError
from keeper.execution.cycle import Keeper, Turn
from keeper.execution.reconcile import Step, reconcile
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval
from keeper.simulation.market import MarketAgent
from keeper.simulation.vault import SIGNERS

MakeKeeper = Callable[..., Keeper]


def approved(stage: Staged, plan: Plan) -> Approval:
    return Approval(tuple(stage.sign(plan, *SIGNERS[:2])), ())


async def new_money(stage: Staged) -> Plan:
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    return await stage.propose(Kind.BATCH)


async def turn(stage: Staged, keeper: Keeper, kind: Kind) -> Turn:
    plan = await keeper.propose(kind)
    return await keeper.execute(plan, approved(stage, plan))


async def test_a_day_of_plans_reconciles_to_zero(stage: Staged, make_keeper: MakeKeeper) -> None:
    keeper, market = make_keeper(), MarketAgent(stage.devnet, 3)
    for user, assets in (("user2", 700_000 * USDC), ("user3", 90_000 * USDC)):
        stage.request_deposit(user, assets)
        stage.request_redeem("user1", stage.shares("user1") // 4)
        stage.close_epoch()
        turns = [await turn(stage, keeper, Kind.BATCH), await turn(stage, keeper, Kind.SETTLEMENT)]
        for _ in range(4):
            market.step()
            stage.devnet.warp(7_200)
        turns.append(await turn(stage, keeper, Kind.BATCH))
        for each in turns:
            result = each.reconciliation
            assert (result.others, result.third_party, result.differing, result.unexplained) == (0, 0, (), 0)
            assert result.elapsed_yield > 0
            assert sum(line.after for line in result.lines) == each.book.total


async def test_a_tampered_batch_expectation_is_an_error(stage: Staged, make_keeper: MakeKeeper) -> None:
    plan = await new_money(stage)
    parent = stage.head
    keeper = make_keeper()
    done = await keeper.execute(plan, approved(stage, plan))
    before = await stage.book(at=parent)
    first, *rest = plan.batch.calls
    less = PlannedCall.supply(
        target=first.target,
        token=first.token,
        venue=first.venue,
        key=first.key,
        assets=first.assets - 5 * USDC,
    )
    tampered = replace(plan, terms=replace(plan.batch, calls=(less, *rest)))
    result = reconcile(before, before, [Step((tampered,), (), before, done.book)], done.book)
    assert 5 * USDC - 2 <= result.unexplained // 2 <= 5 * USDC + 2
    with pytest.raises(ReconciliationError) as caught:
        result.require_explained()
    told = str(caught.value)
    assert f"{first.venue} +" in told
    assert "idle -5,000,000" in told
    assert "New risk halts until the cause is known" in told


async def test_a_differing_number_of_the_accounting_is_an_error(
    stage: Staged, make_keeper: MakeKeeper
) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    stage.close_epoch()
    keeper = make_keeper()
    parent = stage.head
    done = await turn(stage, keeper, Kind.SETTLEMENT)
    before, after = await stage.book(at=parent), done.book
    one_more = after.accounting.total_supply + 1
    wrong = replace(after, accounting=replace(after.accounting, total_supply=one_more))
    result = reconcile(before, before, [Step((done.plan,), (), before, wrong)], wrong)
    assert result.unexplained == 0
    with pytest.raises(
        ReconciliationError, match=f"total_supply: expected {one_more - 1:,}, saw {one_more:,}"
    ):
        result.require_explained()
