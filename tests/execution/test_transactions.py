"""From a nonce to finality on a chain that does everything a chain may do."""

import asyncio
import secrets
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from counting import ANYONE, CHAIN, COUNTER, FINALITY, GWEI, Counting, order
from network_faults import OFFERED, REORGANISED
from planning.examples import policy_sections

from keeper.chain.pool import Replacement
from keeper.config import parse
from keeper.errors import EndpointError, RefusedError, RevertError, StaleHeadError
from keeper.execution.journal.journal import PLAN, Journal
from keeper.execution.journal.states import EXECUTED, State
from keeper.execution.journal.tables import PlanRow
from keeper.planning.policy import Policy
from keeper.units import Address

DEAR = 500 * GWEI


async def test_an_order_is_carried_out_once_however_often_it_is_given(world: Counting) -> None:
    first = await world.carried_out(order(1))
    again = await world.carried_out(order(1))
    assert first == again
    assert await world.count(order(1)) == 1
    assert await world.nonce() == 1


async def test_every_state_on_the_way_is_written_down(world: Counting) -> None:
    wanted = order(2)
    await world.advance(wanted)
    await world.mine()
    await world.advance()
    assert world.states(wanted) == [State.MINED]
    await world.mine(FINALITY)
    await world.advance()
    steps = [(step.before, step.after) for step in world.journal.transitions()]
    assert steps == [
        (None, "drafted"),
        ("drafted", "signed"),
        ("signed", "broadcast"),
        ("broadcast", "mined"),
        ("mined", "final"),
    ]


async def test_after_a_crash_the_same_bytes_are_sent_and_not_signed_anew(world: Counting) -> None:
    wanted = order(3)
    await world.advance(wanted)
    (row,) = world.rows(wanted)
    await world.drop(row)
    await world.carried_out(wanted)
    (after,) = world.rows(wanted)
    assert (after.raw, after.nonce) == (row.raw, 0)
    assert await world.count(wanted) == 1


async def test_what_waits_is_offered_dearer_by_an_eighth_and_no_more_often_than_allowed(
    world: Counting,
) -> None:
    wanted = order(4)
    await world.advance(wanted)
    for price in (DEAR, 4 * DEAR, 20 * DEAR, 20 * DEAR):
        await world.mine(2, price=price)
        await world.advance()
        await world.advance()
    rows = world.rows(wanted)
    assert [row.at for row in rows] == [State.REPLACED, State.REPLACED, State.BROADCAST]
    assert {row.nonce for row in rows} == {0}
    for old, new in pairwise(rows):
        assert new.max_fee * 8 >= old.max_fee * 9
        assert new.tip * 8 >= old.tip * 9


async def test_a_replaced_transaction_that_is_mined_after_all_counts_once(world: Counting) -> None:
    wanted = order(5)
    await world.advance(wanted)
    await world.mine(2, price=DEAR)
    await world.advance()
    await world.advance()
    old, new = world.rows(wanted)
    await world.drop(new)
    await world.mine()
    await world.offer(old)
    await world.mine()
    await world.advance()
    assert world.states(wanted) == [State.MINED, State.REPLACED]
    await world.mine(FINALITY)
    await world.advance()
    assert world.states(wanted) == [State.FINAL, State.DROPPED]
    assert await world.count(wanted) == 1


async def test_what_expires_is_cancelled_by_an_empty_transfer(world: Counting) -> None:
    head = await world.chain.latest()
    wanted = order(6, valid_until=head.timestamp + 60)
    await world.advance(wanted)
    await world.late(100)
    await world.mine(price=DEAR)
    await world.advance()
    await world.advance()
    with pytest.raises(RefusedError, match="cancelled"):
        await world.carried_out(wanted)
    assert world.states(wanted) == [State.CANCELLED, State.FINAL]
    assert await world.count(wanted) == 0
    receipt = await world.chain.rpc(
        "eth_getTransactionReceipt", ["0x" + (world.rows(wanted)[1].hash or b"").hex()]
    )
    assert int(receipt["gasUsed"], 16) == 21_000


async def test_a_revert_is_told_and_not_tried_again_before_it_is_final(world: Counting) -> None:
    wanted = order(7)
    await world.advance(wanted)
    await world.reverting()
    await world.mine()
    with pytest.raises(RevertError):
        await world.sender.send(wanted)
    await world.reverting(False)
    with pytest.raises(RevertError):
        await world.sender.send(wanted)
    assert world.states(wanted) == [State.REVERTED]
    await world.mine(FINALITY)
    await world.carried_out(wanted)
    assert world.states(wanted)[0] is State.FINAL
    assert await world.count(wanted) == 1
    assert await world.nonce() == 2


@pytest.mark.parametrize("name", REORGANISED)
@pytest.mark.parametrize("depth", range(1, 13))
async def test_reorganised_blocks_get_the_same_bytes_again(world: Counting, depth: int, name: str) -> None:
    world.sender = replace(world.sender, finality=12)
    wanted = order(100 + depth + 100 * (name == OFFERED))
    await world.advance(wanted)
    await world.mine(depth)
    await world.advance()
    (before,) = world.rows(wanted)
    assert before.at is State.MINED
    await world.reorganise(depth)
    assert await world.count(wanted) == 0
    if name == OFFERED:
        await world.offer(before)
    await world.advance()
    assert world.states(wanted) == [State.BROADCAST]
    await world.mine(13)
    await world.advance()
    (after,) = world.rows(wanted)
    assert after.at is State.FINAL
    assert after.raw == before.raw
    assert await world.count(wanted) == 1
    assert await world.nonce() == 1


async def test_what_is_reorganised_away_is_offered_again_at_the_head_at_which_it_was_offered_first(
    world: Counting,
) -> None:
    wanted, desk = order(26), world.desk()
    await desk.advance(world.intent(wanted))
    await world.mine()
    await desk.advance()
    assert world.states(wanted) == [State.MINED]
    await world.chain.rpc("anvil_rollback", [1])
    await desk.advance()
    await world.mine()
    await desk.advance()
    assert world.states(wanted) == [State.MINED]
    assert await world.count(wanted) == 1


async def test_what_is_reorganised_away_and_has_expired_meanwhile_is_cancelled(world: Counting) -> None:
    wanted = order(30, valid_until=(await world.chain.latest()).timestamp + 60)
    await world.advance(wanted)
    await world.mine()
    await world.advance()
    await world.reorganise(1)
    await world.late(120)
    await world.mine()
    await world.advance()
    assert world.states(wanted) == [State.REPLACED, State.DRAFTED]
    await world.carried_out(order(31))
    assert (await world.count(wanted), await world.count(order(31))) == (0, 1)


@pytest.mark.parametrize(("number", "price", "offers"), [(32, DEAR, 2), (39, 4 * DEAR, 3)])
async def test_after_a_reorganisation_the_dearest_is_offered_and_what_replaces_it_is_dearer_still(
    world: Counting, number: int, price: int, offers: int
) -> None:
    world.sender = replace(world.sender, replacement=Replacement(blocks=2, times=9))
    wanted = order(number)
    await world.advance(wanted)
    await world.mine(2, price=DEAR)
    await world.advance()
    await world.advance()
    first, second = world.rows(wanted)
    # The miner has only the first, and then even that is undone.
    await world.drop(second)
    await world.mine()
    await world.offer(first)
    await world.mine()
    await world.advance()
    assert world.states(wanted) == [State.MINED, State.REPLACED]
    await world.reorganise(1)
    await world.advance()
    # What stands is too cheap at either price; the dearest is good enough at the first.
    await world.mine(2, price=price)
    await world.advance()
    await world.advance()
    prices = [row.max_fee for row in world.rows(wanted)]
    assert len(prices) == offers
    assert prices == sorted(set(prices))
    await world.carried_out(wanted)
    assert await world.count(wanted) == 1


async def test_a_plan_is_where_its_transaction_is_after_a_reorganisation(world: Counting) -> None:
    name = secrets.token_bytes(32)
    wanted = replace(order(33), key=PLAN + name.hex())
    row = PlanRow(plan_hash=name, chain_id=CHAIN, vault=ANYONE, kind="batch", body=b"")

    def ended_in(block: int) -> None:
        row.ended, row.block = EXECUTED, block
        with world.journal.write() as session:
            session.merge(row)

    def block() -> int | None:
        with world.journal.read() as session:
            return session.get_one(PlanRow, name).block

    await world.advance(wanted)
    await world.mine()
    await world.advance()
    ended_in((await world.chain.latest()).number)
    await world.reorganise(1)
    await world.mine()
    await world.advance()
    assert block() is None
    (sent,) = world.rows(wanted)
    await world.drop(sent)
    await world.offer(sent)
    await world.mine()
    await world.advance()
    assert block() == (await world.chain.latest()).number
    assert await world.count(wanted) == 1


async def test_a_plan_that_another_has_carried_out_stays_where_it_is(world: Counting) -> None:
    """As when our own transaction for it reverts, or is cancelled."""
    head = await world.chain.latest()
    for number, until in ((37, None), (38, head.timestamp + 60)):
        name = secrets.token_bytes(32)
        wanted = replace(order(number, valid_until=until), key=PLAN + name.hex())
        row = PlanRow(plan_hash=name, chain_id=CHAIN, vault=ANYONE, kind="batch", body=b"")
        await world.advance(wanted)
        row.ended, row.block = EXECUTED, 7
        with world.journal.write() as session:
            session.merge(row)
        if until is None:
            await world.reverting()
        else:
            await world.mine(price=DEAR)
            await world.late(120)
            await world.mine(price=DEAR)
        for _ in range(3):
            await world.advance()
            await world.mine()
        await world.advance()
        await world.reverting(False)
        assert {State.REVERTED, State.MINED, State.FINAL} & set(world.states(wanted))
        assert await world.count(wanted) == 0
        with world.journal.read() as session:
            assert session.get_one(PlanRow, name).block == 7


async def test_a_transaction_keeps_to_its_own_vaults_policy_whoever_carries_it_on(world: Counting) -> None:
    sections = policy_sections()

    def policy(vault: Address, ceiling: int) -> Policy:
        fees = {"max_fee_per_gas": ceiling, "max_priority_fee_per_gas": ceiling}
        return parse(sections | {"vault": {**sections["vault"], "vault": vault}, "fees": fees}, Policy)

    lavish, frugal = policy(ANYONE, 10_000 * GWEI), policy(COUNTER, 10 * GWEI)
    wanted = order(34, valid_until=(await world.chain.latest()).timestamp + 1_000)
    world.sender = replace(world.sender, policy=frugal)
    await world.advance(wanted)
    await world.mine(2, price=DEAR)
    world.sender = replace(world.sender, policy=lavish, policies=(lavish, frugal))
    await world.advance()
    assert world.states(wanted) == [State.BROADCAST]
    # Once it has expired, it is in everybody's way.
    await world.late(2_000)
    await world.mine(price=DEAR)
    await world.advance()
    assert world.states(wanted) == [State.REPLACED, State.DRAFTED]
    await world.carried_out(order(35))
    assert (await world.count(wanted), await world.count(order(35))) == (0, 1)


async def test_what_never_expires_is_in_every_vaults_way(world: Counting) -> None:
    frugal = parse(
        policy_sections() | {"fees": {"max_fee_per_gas": 10 * GWEI, "max_priority_fee_per_gas": GWEI}}, Policy
    )
    wanted = order(36)
    world.sender = replace(world.sender, policy=frugal)
    await world.advance(wanted)
    await world.mine(2, price=DEAR)
    world.sender = replace(world.sender, policy=None, policies=(frugal,))
    await world.advance()
    assert world.states(wanted) == [State.REPLACED, State.DRAFTED]


async def test_complaint_01_a_hole_in_the_nonces_stops_new_sends_and_is_filled(world: Counting) -> None:
    await world.chain.send_raw(world.foreign(0).raw)
    await world.mine()
    first = order(8)
    await world.advance(first)
    assert world.rows(first)[0].nonce == 1
    # The stranger's transaction disappears with its block, and ours waits behind its nonce.
    await world.reorganise(1)
    second = order(9)
    await world.advance(second)
    assert world.rows(second) == []
    await world.mine(2)
    await world.advance(second)
    assert world.rows(second) == []
    await world.carried_out(second)
    assert [await world.count(each) for each in (first, second)] == [1, 1]
    assert await world.nonce() == 3


async def test_complaint_03_what_was_stuck_before_a_restart_is_replaced_after_it(
    world: Counting, tmp_path: Path
) -> None:
    wanted = order(16)
    await world.advance(wanted)
    await world.journal.__aexit__(None, None, None)
    await world.mine(3, price=DEAR)
    async with Journal(str(tmp_path / "keeper")) as journal:
        world.sender = replace(world.sender, journal=journal)
        await world.carried_out(wanted)
        first, second = world.rows(wanted)
        assert {first.nonce, second.nonce} == {0}
        assert second.max_fee * 8 >= first.max_fee * 9
        assert (await world.count(wanted), await world.nonce()) == (1, 1)


async def test_complaint_04_an_order_that_fails_stops_neither_the_others_nor_its_own_repair(
    world: Counting,
) -> None:
    failing, other = order(17), order(18)
    await world.advance(failing)
    await world.reverting()
    await world.mine()
    with pytest.raises(RevertError):
        await world.sender.send(failing)
    await world.reverting(False)
    await world.carried_out(other)
    await world.mine(FINALITY)
    await world.carried_out(failing)
    assert [await world.count(each) for each in (failing, other)] == [1, 1]
    assert await world.nonce() == 3


async def test_complaint_12_orders_at_the_same_time_never_share_a_nonce(world: Counting) -> None:
    """Not of one process, and not after one that ended with its order half done."""
    half = order(19)
    await world.desk()._draft(world.intent(half), await world.desk().advance())
    orders = [order(number) for number in range(20, 24)]
    await asyncio.gather(*(world.advance(each) for each in orders))
    rows = [row for each in (half, *orders) for row in world.rows(each)]
    assert sorted(row.nonce for row in rows) == [0, 1, 2, 3, 4]
    await world.mine()
    assert [await world.count(each) for each in (half, *orders)] == [1] * 5
    assert await world.nonce() == 5


async def test_a_nonce_that_a_stranger_has_spent_is_found_out_and_the_order_goes_on_under_another(
    world: Counting,
) -> None:
    wanted = order(10)
    await world.advance(wanted)
    await world.drop(world.rows(wanted)[0])
    await world.chain.send_raw(world.foreign(0).raw)
    await world.mine()
    with pytest.raises(RefusedError, match="not in the journal"):
        await world.carried_out(wanted)
    assert set(world.states(wanted)) == {State.DROPPED}
    await world.carried_out(wanted)
    assert await world.count(wanted) == 1
    assert await world.nonce() == 2


async def test_a_transaction_of_a_stranger_that_waits_is_left_its_nonce(world: Counting) -> None:
    await world.chain.send_raw(world.foreign(0).raw)
    await world.carried_out(order(11))
    assert world.rows(order(11))[0].nonce == 1
    assert await world.nonce() == 2


async def test_a_chain_behind_what_was_final_stops_everything(world: Counting) -> None:
    mark = await world.chain.rpc("evm_snapshot")
    await world.carried_out(order(12))
    await world.mine(FINALITY)
    await world.advance()
    assert await world.chain.rpc("evm_revert", [mark])
    with pytest.raises(StaleHeadError, match="behind what was final"):
        await world.advance(order(13))
    assert world.rows(order(13)) == []


async def test_an_account_that_cannot_pay_takes_no_nonce(world: Counting) -> None:
    await world.chain.rpc("anvil_setBalance", [world.address, "0x1"])
    with pytest.raises(RefusedError, match="cannot pay for the gas"):
        await world.carried_out(order(14))
    assert world.rows(order(14)) == []


async def test_what_is_not_mined_in_time_says_so_and_is_found_later(world: Counting) -> None:
    world.sender = replace(world.sender, patience=0.3, replacement=Replacement(blocks=5, times=0))
    with pytest.raises(EndpointError, match=r"not mined yet.*the same order, given again"):
        await world.sender.send(order(15))
    await world.carried_out(order(15))
    assert await world.count(order(15)) == 1
    assert await world.nonce() == 1
