"""Reconciliation: zero where only we acted, attributed where others did, an error where nobody did."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_account import Account
from staged import USDC, Staged

from keeper.contracts import encode_call
from keeper.errors import ReconciliationError
from keeper.execution.cycle import Keeper, Turn
from keeper.execution.reconcile import reconcile
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval
from keeper.simulation.deploy import signed
from keeper.simulation.market import MarketAgent
from keeper.simulation.vault import SIGNERS

MakeKeeper = Callable[..., Keeper]
GIFT = 1_000 * USDC
AAVE = "aave:USDC"


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
            assert (result.others, result.remainder, result.differing, result.unexplained) == (0, 0, (), 0)
            assert result.elapsed_yield > 0
            assert sum(line.after for line in result.lines) == each.book.total


async def in_one_block(stage: Staged, keeper: Keeper, plan: Plan, raw: str) -> Turn:
    """Relays the plan, adds a stranger's signed transaction, and mines both."""
    rpc, endpoint = stage.devnet.rpc, keeper.endpoint
    rpc("evm_setAutomine", False)
    try:
        task = asyncio.create_task(keeper.execute(plan, approved(stage, plan)))
        rpc("eth_sendRawTransaction", raw)
        # Each question lets the relayer go on.
        while int((await endpoint.rpc("txpool_status"))["pending"], 16) < 2:
            assert not task.done(), task.exception()
        rpc("evm_mine")
        return await task
    finally:
        rpc("evm_setAutomine", True)


def gift(stage: Staged) -> str:
    """A stranger's signed supply to Aave on behalf of our connector."""
    devnet, asset = stage.devnet, stage.deployment.asset
    pool = devnet.manifest["aave"]["pool"]
    giver = devnet.address("user5")
    stage.act("deployer", asset, "mint(address,uint256)", giver, GIFT)
    stage.act("user5", asset, "approve(address,uint256)", pool, GIFT)
    signature = "supply(address,uint256,address,uint16)"
    data = encode_call(signature, asset, GIFT, stage.policy.position(AAVE).address, 0)
    nonce = int(devnet.rpc("eth_getTransactionCount", giver, "latest"), 16)
    key = devnet.key("user5")
    assert Account.from_key(key).address == giver
    return signed(key, chain_id=devnet.chain_id, nonce=nonce, to=pool, data=data, value=0, gas=900_000)


async def test_a_second_transaction_in_the_block_is_a_third_party(
    stage: Staged, make_keeper: MakeKeeper
) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    raw = gift(stage)
    keeper = make_keeper()
    done = await in_one_block(stage, keeper, await keeper.propose(Kind.BATCH), raw)
    result = done.reconciliation
    assert (result.others, result.unexplained) == (1, 0)
    remainders = {line.name: line.remainder for line in result.lines}
    # Supplying is rounded down twice: in units of the reserve, and in the balance these give.
    assert GIFT - 2 <= remainders.pop(AAVE) <= GIFT
    assert set(remainders.values()) == {0}
    assert result.third_party == result.remainder
    alone = replace(result, others=0)
    assert alone.unexplained == result.third_party
    with pytest.raises(ReconciliationError, match=rf"nothing explains it: expected 0, saw {AAVE} \+"):
        alone.require_explained()


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
    result = reconcile([tampered], before, done.book, others=0)
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
    result = reconcile([done.plan], before, wrong, others=0)
    assert result.remainder == 0
    with pytest.raises(
        ReconciliationError, match=f"total_supply: expected {one_more - 1:,}, saw {one_more:,}"
    ):
        result.require_explained()
