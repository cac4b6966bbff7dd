"""What gas costs, to the wei, whatever becomes of a transaction; and when an account is said to be low."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from counting import CHAIN, COUNTER, Counting, order
from hypothesis import given
from hypothesis import strategies as st
from scenarios import STORIES, strange

from keeper.chain.block import quantity
from keeper.chain.rpc import Endpoint
from keeper.config import parse
from keeper.errors import ConfigError, DecodeError
from keeper.events import Event, EventStream, GasLow
from keeper.execution.journal.costs import Charge, GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.execution.journal.tables import Intent, Transaction
from keeper.execution.treasury import DAY, Day, GasLimits, Treasury, by_purpose, day, parse_wei
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

PAID = [story for story in STORIES.values() if story is not strange]
FULL = 10**20


async def balance(world: Counting) -> int:
    return quantity(await world.chain.rpc("eth_getBalance", [world.address, "latest"]))


def total(world: Counting) -> int:
    return sum(each.wei for each in by_purpose(GasRecord(world.journal, CHAIN).charges()).values())


# TO THE WEI


@pytest.mark.parametrize("story", PAID, ids=lambda story: story.__name__)
async def test_what_the_journal_says_was_paid_is_what_the_account_lacks(world: Counting, story: Any) -> None:
    await story(world, order(1_000 + PAID.index(story), (await world.chain.latest()).timestamp + 500))
    assert total(world) == FULL - await balance(world) > 0


async def test_what_a_stranger_spends_from_the_account_is_not_the_keepers(world: Counting) -> None:
    await strange(world, order(1_100))
    assert FULL - await balance(world) > total(world) == 0


async def test_a_cost_goes_with_its_block_and_comes_back_with_the_next(world: Counting) -> None:
    wanted = order(1_101)
    await world.advance(wanted)
    await world.mine()
    await world.advance()
    (mined,) = world.rows(wanted)
    assert mined.cost == FULL - await balance(world)
    assert mined.mined_at == (await world.chain.latest()).timestamp
    await world.reorganise(1)
    await world.advance()
    (gone,) = world.rows(wanted)
    assert (gone.cost, gone.gas_used, gone.gas_price, gone.data_fee, gone.mined_at) == (None,) * 5
    assert await balance(world) == FULL
    await world.mine(price=2 * 10**9)
    await world.advance()
    (again,) = world.rows(wanted)
    assert again.cost == FULL - await balance(world)
    assert again.gas_price != mined.gas_price


@asynccontextmanager
async def receipts_with(world: Counting, anvil: Anvil, **changed: Any) -> AsyncIterator[Counting]:
    """The same account, whose endpoint says so of receipts."""
    told = Fault("eth_getTransactionReceipt", change=lambda said: said and said | changed)
    with Proxy([anvil.url], CHAIN, faults=[told]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as source:
            yield replace(world, sender=replace(world.sender, source=source))


async def test_what_a_rollup_charges_for_data_is_part_of_it(world: Counting, anvil: Anvil) -> None:
    async with receipts_with(world, anvil, l1Fee="0x7") as charged:
        await charged.carried_out(order(1_104))
    assert total(world) == FULL - await balance(world) + 7


@pytest.mark.parametrize("wrong", [hex(2**256), "0x", None, "-0x1"])
async def test_a_price_that_is_no_uint256_is_not_taken_down(
    world: Counting, anvil: Anvil, wrong: Any
) -> None:
    wanted = order(1_105)
    await world.advance(wanted)
    await world.mine()
    async with receipts_with(world, anvil, effectiveGasPrice=wrong) as lying:
        with pytest.raises(DecodeError):
            await lying.advance()
    assert world.states(wanted) == [State.BROADCAST]


async def test_each_purpose_has_its_own_sum(world: Counting) -> None:
    await STORIES["expires"](world, order(1_102, (await world.chain.latest()).timestamp + 500))
    await world.carried_out(order(1_103))
    paid = by_purpose(GasRecord(world.journal, CHAIN).charges())
    assert {purpose: each.transactions for (_, purpose), each in paid.items()} == {
        "cancel count 1102": 1,
        "count 1103": 1,
    }


# A DAY


def charge(nonce: int, state: State, *, mined_at: int | None = None, fee: int = 10, **changed: Any) -> Charge:
    made = Intent(
        key=f"{nonce}", chain_id=1, account="a", purpose="p", target=COUNTER, data=b"", gas=100_000, vault="v"
    )
    used = {} if mined_at is None else {"gas_used": 50_000, "gas_price": 2, "data_fee": 7}
    row = Transaction(
        intent=made.key,
        chain_id=1,
        account="a",
        nonce=nonce,
        attempt=0,
        max_fee=fee,
        tip=1,
        since=0,
        state=state,
        mined_at=mined_at,
        **{"cancels": False, **used, **changed},
    )
    return Charge(made, row)


def test_a_day_has_what_was_mined_in_it_and_the_most_that_what_is_under_way_can_cost() -> None:
    today = 20_000 * DAY
    charges = [
        charge(0, State.FINAL, mined_at=today - 1),
        charge(1, State.FINAL, mined_at=today),
        charge(2, State.REVERTED, mined_at=today + DAY - 1),
        charge(3, State.FINAL, mined_at=today + DAY),
        # Of one nonce's transactions only one is mined: the dearest, or the one that was.
        charge(4, State.REPLACED, fee=10),
        charge(4, State.BROADCAST, fee=30),
        charge(5, State.REPLACED, fee=1),
        charge(5, State.BROADCAST, fee=10, cancels=True),
        charge(6, State.REPLACED, fee=10),
        charge(6, State.MINED, mined_at=today + 5, fee=20),
        charge(7, State.DROPPED),
    ]
    one = 100_007
    assert day(charges, today + 60) == Day(3 * one, 100_000 * 30 + 21_000 * 10)
    assert day(charges, today - DAY).spent == one
    assert day(charges, today + DAY).spent == one


# AMOUNTS


@given(wei=st.integers(0, 2**256 - 1), unit=st.sampled_from([("wei", 0), ("gwei", 9), ("ether", 18)]))
def test_an_amount_is_read_to_the_last_digit(wei: int, unit: tuple[str, int]) -> None:
    name, digits = unit
    whole, part = divmod(wei, 10**digits)
    written = f"{whole}.{part:0{digits}d} {name}" if digits else f"{whole} {name}"
    if len(str(whole)) <= 60:
        assert parse_wei(written) == wei
    assert parse_wei(wei) == wei


@pytest.mark.parametrize(
    ("written", "wei"),
    [("0.05 ether", 5 * 10**16), ("30 gwei", 30 * 10**9), ("30gwei", 30 * 10**9), ("1.50 gwei", 15 * 10**8)],
)
def test_amounts_as_people_write_them(written: str, wei: int) -> None:
    assert parse_wei(written) == wei


NO_AMOUNTS = (-1, 0.05, True, 2**256, "", "1", "0.05", "-1 ether", "1e3 gwei", "1,000 gwei", "0.5 wei")


@pytest.mark.parametrize(
    "written", [*NO_AMOUNTS, "1.0000000001 gwei", "1 finney", "\u0661 ether", " 1 ether", "1 ether\n"]
)
def test_what_is_no_amount_is_refused(written: object) -> None:
    with pytest.raises(ConfigError):
        parse({"low": written}, GasLimits)


# A FLOAT


async def test_an_account_that_falls_below_its_float_is_told_of_once_until_it_is_filled(
    world: Counting, tmp_path: Any
) -> None:
    said: list[Event] = []
    events = EventStream()
    events.subscribe(said.append)
    limits = parse({"low": "1 ether"}, GasLimits)

    async def passes(journal: Journal, wei: int) -> int:
        """How often it is told in two passes of a process that has just started."""
        said.clear()
        await world.chain.rpc("anvil_setBalance", [world.address, hex(wei)])
        treasury = Treasury(limits, world.chain, world.address, GasRecord(journal, CHAIN), events)
        for _ in range(2):
            await treasury.look()
        return len(said)

    assert await passes(world.journal, 10**18) == 0
    assert await passes(world.journal, 10**18 - 1) == 1
    assert said == [GasLow(chain_id=CHAIN, account=world.address, wei=10**18 - 1, low=10**18)]
    assert await passes(world.journal, 5) == 0
    assert await passes(world.journal, 10**18) == 0
    assert await passes(world.journal, 5) == 1


async def test_an_account_without_a_float_is_not_watched(world: Counting) -> None:
    await world.chain.rpc("anvil_setBalance", [world.address, "0x0"])
    record = GasRecord(world.journal, CHAIN)
    await Treasury(GasLimits(), world.chain, world.address, record, EventStream()).look()
    assert not record.said(world.address).low
