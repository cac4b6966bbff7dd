"""Reconciliation of blocks in which others act: split to the wei, and nothing of theirs hides a theft."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from staged import USDC, Staged
from strangers import AAVE, MORPHO, VAULT, Block, Street, play, put_skimming, receipt_of

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.errors import DisagreementError, ReconciliationError
from keeper.events import Event, NotReplayed, Reconciled
from keeper.execution.cycle import Keeper
from keeper.planning.outcome import IDLE
from keeper.planning.plan import Kind, Plan
from keeper.simulation.deploy import MAX_FEE_PER_GAS
from keeper.simulation.proxy import Fault, Proxy

MakeKeeper = Callable[..., Keeper]
GIFT = 1_000 * USDC
ROUNDED = 2
"""Supplying is rounded down twice: in units of the reserve, and in the balance these give."""


@pytest.fixture(scope="module", autouse=True)
def street(deployed: Staged) -> Street:
    """Strangers with positions in every market, and new money for the vault to put to work."""
    street = Street(deployed)
    street.prepare("user4", "user5")
    deployed.request_deposit("user2", 300_000 * USDC)
    asyncio.run(deployed.settle())
    return street


@pytest.fixture
async def batch(stage: Staged) -> Plan:
    """What puts the new money to work."""
    return await stage.propose(Kind.BATCH)


async def test_what_others_do_before_and_after_us_is_split_to_the_wei(
    stage: Staged, street: Street, batch: Plan, endpoint: Endpoint
) -> None:
    block = Block(stage)
    street.borrow(block, 900_000 * USDC)
    street.lend(block, "user5", GIFT, gift=AAVE)
    street.lend_on_morpho(block, "user4", 90_000 * USDC)
    place = len(block.raw)
    block.carry_out(batch)
    street.borrow_on_morpho(block, 50_000 * USDC)
    street.leave(block, "user4", 70_000 * USDC)
    street.deposit(block, "user5", 2 * GIFT, gift=VAULT)
    street.redeem(block, "user4", 10_000 * USDC)
    street.lend_on_morpho(block, "user5", 3 * GIFT, gift=MORPHO)
    street.give(block, "user5", GIFT)
    scene = await play(block, (place, (batch,)))
    result = await scene.check(endpoint)
    lines = {line.name: line for line in result.lines}
    assert GIFT - ROUNDED <= lines[AAVE].earlier <= GIFT
    assert 2 * GIFT - ROUNDED <= lines[VAULT].later <= 2 * GIFT
    assert 3 * GIFT - ROUNDED <= lines[MORPHO].later <= 3 * GIFT
    # What is given to the portfolio itself counts for nothing until it is taken in.
    assert (lines[IDLE].earlier, lines[IDLE].later) == (0, 0)
    assert (lines[VAULT].earlier, lines[AAVE].later) == (0, 0)
    assert result.others == 9


@pytest.mark.parametrize("first", [True, False])
async def test_a_request_in_the_block_of_the_settlement_is_split_from_it(
    stage: Staged, street: Street, endpoint: Endpoint, first: bool
) -> None:
    stage.request_deposit("user3", 300_000 * USDC)
    stage.close_epoch()
    plan = await stage.propose(Kind.SETTLEMENT)
    block = Block(stage)
    acts: list[Callable[[], None]] = [
        lambda: street.request(block, "user4", 40_000 * USDC),
        lambda: street.lend(block, "user5", GIFT, gift=AAVE),
    ]
    for act in acts if first else []:
        act()
    block.carry_out(plan)
    for act in [] if first else acts:
        act()
    scene = await play(block, (2 if first else 0, (plan,)))
    result = await scene.check(endpoint)
    aave = next(line for line in result.lines if line.name == AAVE)
    assert GIFT - ROUNDED <= (aave.earlier if first else aave.later) <= GIFT
    assert (aave.later if first else aave.earlier) == 0
    assert stage.accounting().open_deposits == 40_000 * USDC


async def test_two_of_ours_with_others_around_each(stage: Staged, street: Street, endpoint: Endpoint) -> None:
    stage.request_deposit("user3", 100_000 * USDC)
    stage.close_epoch()
    batch, settlement = await stage.propose(Kind.BATCH), await stage.propose(Kind.SETTLEMENT)
    block = Block(stage)
    street.lend(block, "user5", GIFT, gift=AAVE)
    block.carry_out(batch)
    street.lend(block, "user5", 2 * GIFT, gift=AAVE)
    block.carry_out(settlement)
    street.lend(block, "user5", 4 * GIFT, gift=AAVE)
    scene = await play(block, (1, (batch,)), (3, (settlement,)))
    result = await scene.check(endpoint)
    aave, idle = (next(line for line in result.lines if line.name == name) for name in (AAVE, IDLE))
    assert GIFT - ROUNDED <= aave.earlier <= GIFT
    assert 6 * GIFT - 2 * ROUNDED <= aave.later <= 6 * GIFT
    assert (idle.earlier, idle.later) == (0, 0)


async def test_transactions_of_other_kinds_and_ones_that_fail_are_replayed(
    stage: Staged, street: Street, batch: Plan, endpoint: Endpoint
) -> None:
    devnet, block = stage.devnet, Block(stage)
    pool = devnet.manifest["aave"]["pool"]
    street.lend(block, "user4", GIFT, gasPrice=MAX_FEE_PER_GAS)
    listed = [{"address": pool, "storageKeys": ["0x" + "00" * 32]}]
    street.lend(block, "user4", GIFT, gasPrice=MAX_FEE_PER_GAS, accessList=listed)
    # More than anybody has: it reverts.
    street.leave(block, "user4", 10**15)
    block.carry_out(batch)
    scene = await play(block, (3, (batch,)))
    mined = devnet.rpc("eth_getBlockByNumber", "latest", True)["transactions"]
    assert [each["type"] for each in mined] == ["0x0", "0x1", "0x2", "0x2"]
    await scene.check(endpoint)


# THEFT


async def test_what_is_taken_in_our_own_call_is_unexplained_whatever_others_do(
    stage: Staged, street: Street, batch: Plan, make_keeper: MakeKeeper, endpoint: Endpoint
) -> None:
    # The portfolio bounds what a batch may lose by the plan's roundings; below that only the mirror sees it.
    taken = batch.batch.max_loss - ROUNDED * len(batch.batch.calls)
    assert taken > 2 * ROUNDED
    (supply,) = [call for call in batch.batch.calls if (call.venue, call.function) == (AAVE, "supply")]
    a_token, thief = stage.policy.position(AAVE).params["a_token"], stage.devnet.address("user6")
    put_skimming(stage.devnet, supply.target, a_token, thief, taken)
    block = Block(stage)
    street.lend(block, "user5", GIFT, gift=AAVE)
    block.carry_out(batch)
    street.lend(block, "user4", 9 * GIFT)
    name = block.mine()[1]
    assert stage.devnet.call(a_token, "balanceOf(address)", [thief], "(uint256)") >= taken - ROUNDED
    told: list[Event] = []
    keeper = make_keeper()
    keeper.events.subscribe(told.append)
    with pytest.raises(
        ReconciliationError, match=rf"nothing explains it: expected 0, saw {AAVE} -"
    ) as caught:
        await keeper.reconcile((batch,), await receipt_of(endpoint, name))
    seen = int(str(caught.value.seen).removeprefix(f"{AAVE} -").replace(",", ""))
    assert taken - ROUNDED <= seen <= taken + ROUNDED
    (said,) = [each for each in told if isinstance(each, Reconciled)]
    assert (said.unexplained, GIFT - ROUNDED <= said.third_party <= GIFT) == (seen, True)


# WHERE NOTHING IS REPLAYED


def other_logs(answer: Any) -> Any:
    """Another amount in the first log of the first call."""
    log = answer[0]["calls"][0]["logs"][0]
    log["data"] = "0x" + "11" * (len(log["data"]) // 2 - 1)
    return answer


def other_gas(answer: Any) -> Any:
    answer[0]["calls"][0]["gasUsed"] = "0x5208"
    return answer


def other_status(answer: Any) -> Any:
    answer[0]["calls"][1]["status"] = "0x0"
    return answer


def other_state(answer: Any) -> Any:
    """Another last byte of the last read."""
    state = answer[0]["calls"][-1]
    state["returnData"] = state["returnData"][:-2] + f"{int(state['returnData'][-2:], 16) ^ 1:02x}"
    return answer


def other_time(answer: Any) -> Any:
    """As if the block's own time had been ignored: the third word is the lens's clock."""
    state = answer[0]["calls"][-1]
    head, rest = state["returnData"][: 2 + 3 * 64 - 1], state["returnData"][2 + 3 * 64 :]
    state["returnData"] = head + ("0" if state["returnData"][len(head)] != "0" else "1") + rest
    return answer


def calls(count: int) -> Callable[[Any], bool]:
    """Simulations of so many calls."""
    return lambda params: len(params[0]["blockStateCalls"][0]["calls"]) == count


FAILURES = {
    "no method": (Fault("eth_simulateV1", error=(-32601, "no such method")), "no such method"),
    "no receipts": (Fault("eth_getBlockReceipts", error=(-32601, "not served")), "not served"),
    "other receipts": (Fault("eth_getBlockReceipts", change=lambda all_: all_[:-1]), "other transactions"),
    "not an answer": (Fault("eth_simulateV1", change=lambda answer: []), "IndexError"),
    "logs": (Fault("eth_simulateV1", calls(3), change=other_logs), "ends otherwise"),
    "gas": (Fault("eth_simulateV1", calls(3), change=other_gas), "21,000 gas"),
    "status": (Fault("eth_simulateV1", calls(3), change=other_status), "failure with"),
    "time": (Fault("eth_simulateV1", change=other_time), "read another block"),
    "state": (Fault("eth_simulateV1", calls(3), change=other_state), "ends in another state"),
}


async def test_where_the_replay_fails_nothing_is_put_down_to_others(
    stage: Staged, street: Street, batch: Plan, make_keeper: MakeKeeper
) -> None:
    block = Block(stage)
    street.lend(block, "user5", GIFT, gift=AAVE)
    block.carry_out(batch)
    name = block.mine()[1]
    with Proxy([stage.devnet.url], stage.devnet.chain_id) as proxy:
        async with stage.endpoint(proxy.url) as endpoint:
            for fault, words in FAILURES.values():
                proxy.faults, told = [fault], list[Event]()
                keeper = make_keeper(endpoint)
                keeper.events.subscribe(told.append)
                with pytest.raises(ReconciliationError, match="others did in the block is unknown") as caught:
                    await keeper.reconcile((batch,), await receipt_of(endpoint, name))
                assert f"saw {AAVE} +" in str(caught.value)
                (said,) = [each for each in told if isinstance(each, NotReplayed)]
                assert words in said.reason
                (whole,) = [each for each in told if isinstance(each, Reconciled)]
                assert (whole.third_party, GIFT - ROUNDED <= whole.unexplained <= GIFT) == (0, True)


async def test_where_the_replay_fails_and_nothing_is_left_nothing_halts(
    stage: Staged, street: Street, batch: Plan, make_keeper: MakeKeeper
) -> None:
    block = Block(stage)
    block.carry_out(batch)
    street.give(block, "user5", GIFT)
    name = block.mine()[0]
    fault, words = FAILURES["no method"]
    with Proxy([stage.devnet.url], stage.devnet.chain_id, faults=[fault]) as proxy:
        async with stage.endpoint(proxy.url) as endpoint:
            result, _ = await make_keeper(endpoint).reconcile((batch,), await receipt_of(endpoint, name))
    assert (result.unexplained, result.third_party, result.others) == (0, 0, 1)
    assert words in result.not_replayed


async def test_endpoints_that_have_to_agree_replay_each_for_itself(
    stage: Staged, street: Street, batch: Plan
) -> None:
    block = Block(stage)
    block.carry_out(batch)
    street.lend(block, "user5", GIFT, gift=AAVE)
    scene = await play(block, (0, (batch,)))
    chain, url = stage.devnet.chain_id, stage.devnet.url
    lie = Fault("eth_simulateV1", calls(2), change=other_state)
    for faults in ([], [lie]):
        with Proxy([url], chain, faults=faults) as proxy:
            settings = ChainEndpoints.model_validate(
                {
                    "agreement": 2,
                    "endpoints": [{"url": url, "operator": "a"}, {"url": proxy.url, "operator": "b"}],
                }
            )
            async with Pool(chain, settings) as pool:
                if not faults:
                    await scene.check(pool)
                    continue
                with pytest.raises(DisagreementError):
                    await scene.reconciled(pool)


async def test_blocks_drawn_at_random_are_split_to_the_wei(
    stage: Staged, street: Street, endpoint: Endpoint
) -> None:
    drawn, found = Random(9), 0
    for _ in range(4):
        with stage.devnet.undone():
            scene = await street.draw(drawn)
            if scene.succeeded:
                await scene.check(endpoint)
                found += 1
    assert found >= 2
