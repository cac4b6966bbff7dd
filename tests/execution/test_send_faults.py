"""What a network does to a keeper, row by row (`network_faults`), and what comes of it: an order is carried
out once, and becomes final."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from counting import CHAIN, FINALITY, Counting, order
from network_faults import ROWS, TIMEOUT

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint, Source
from keeper.config import parse
from keeper.errors import EndpointError, WrongChainError
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.execution.transactions import FOREIGN
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

SEND = "eth_sendRawTransaction"
ERROR = -32000

Proxies = tuple[Proxy, Proxy]


@pytest.fixture
def proxies(anvil: Anvil) -> Iterator[Proxies]:
    with Proxy([anvil.url], CHAIN) as one, Proxy([anvil.url], CHAIN) as other:
        yield one, other


@asynccontextmanager
async def reached(proxies: Sequence[Proxy], agreement: int) -> AsyncIterator[Source]:
    """The chain through the proxies, of which so many have to agree."""
    endpoints = [{"url": proxy.url, "timeout": TIMEOUT} for proxy in proxies]
    settings = parse({"endpoints": endpoints, "agreement": agreement}, ChainEndpoints)
    async with Pool(CHAIN, settings) as pool:
        yield pool


@pytest.fixture
async def world(chain: Endpoint, journal: Journal, proxies: Proxies) -> AsyncIterator[Counting]:
    """The keeper sees the chain through the first proxy alone."""
    async with Endpoint(proxies[0].url, CHAIN) as source:
        made = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=source)
        await made.place()
        yield made


async def check(world: Counting, number: int, nonces: int = 1) -> None:
    """Counted once, under one nonce."""
    wanted = order(number)
    assert await world.count(wanted) == 1
    assert await world.nonce() == nonces
    assert {row.nonce for row in world.rows(wanted)} == {nonces - 1}
    assert len(world.rows(wanted)) <= 1 + world.sender.replacement.times


@pytest.mark.parametrize("name", ROWS)
async def test_an_order_survives_the_network(
    chain: Endpoint, journal: Journal, proxies: Proxies, name: str
) -> None:
    row, number = ROWS[name], 1_000 + list(ROWS).index(name)
    async with reached(proxies[: 1 + row.beside], row.agreement) as source:
        world = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=source)
        await world.place()
        fault = row.fault(await chain.rpc("eth_getBlockByNumber", ["latest", False]))
        proxies[0].faults = [fault]
        await world.carried_out(order(number))
        await check(world, number, row.nonces)
        assert any(seen for method, seen in proxies[0].seen.items() if method.startswith(fault.method))
        await world.mine(FINALITY + 1)
        for _ in range(3):
            await world.advance()
        assert State.FINAL in world.states(order(number))
        assert journal.live(CHAIN, world.address) == []
        await check(world, number, row.nonces)


async def test_a_send_reaches_the_chain_through_whichever_endpoint_is_up_and_twice_is_once(
    chain: Endpoint, journal: Journal, proxies: Proxies
) -> None:
    proxies[0].faults = [Fault(SEND, times=1, status=502)]
    async with Pool(CHAIN, ChainEndpoints.of([proxy.url for proxy in proxies])) as pool:
        world = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=pool)
        await world.place()
        for number in (2_000, 2_001):
            await world.carried_out(order(number))
            assert await world.count(order(number)) == 1
    assert min(proxy.seen[SEND] for proxy in proxies) >= 2
    assert await world.nonce() == 2


async def test_complaint_02_a_receipt_is_looked_for_before_what_was_refused_is_sent_again(
    world: Counting, proxies: Proxies
) -> None:
    wanted = order(3_000)
    proxies[0].faults = [Fault(SEND, times=1, error=(ERROR, "nonce too low"))]
    await world.advance(wanted)
    (row,) = world.rows(wanted)
    await world.offer(row)
    await world.mine()
    await world.carried_out(wanted)
    await check(world, 3_000)
    assert proxies[0].seen[SEND] == 1


async def test_complaint_02_what_is_said_of_a_transaction_is_no_fault_of_the_endpoint(
    chain: Endpoint, journal: Journal, proxies: Proxies
) -> None:
    for proxy in proxies:
        proxy.faults = [Fault(SEND, error=(ERROR, "nonce too low"))]
    async with Pool(CHAIN, ChainEndpoints.of([proxy.url for proxy in proxies])) as pool:
        world = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=pool)
        await world.place()
        await world.advance(order(3_001))
        assert min(proxy.seen[SEND] for proxy in proxies) == 1
        assert [each.failures for each in pool.health()] == [0, 0]


async def test_nothing_is_sent_to_another_chain(world: Counting, proxies: Proxies) -> None:
    proxies[0].faults = [Fault("eth_chainId", change=lambda _: "0x1")]
    with pytest.raises(WrongChainError):
        await world.carried_out(order(4_000))
    assert world.rows(order(4_000)) == []
    assert proxies[0].seen[SEND] == 0


# AN ENDPOINT THAT LIES


@pytest.fixture
async def two(chain: Endpoint, journal: Journal, proxies: Proxies) -> AsyncIterator[Counting]:
    """The keeper sees the chain through both proxies, which have to agree."""
    async with reached(proxies, 2) as source:
        made = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=source)
        await made.place()
        yield made


@pytest.mark.parametrize("lie", [100, 2**40])
async def test_one_that_invents_waiting_transactions_gets_no_empty_transfers(
    chain: Endpoint, journal: Journal, proxies: Proxies, lie: int
) -> None:
    invented = Fault("eth_getTransactionCount", where=_of_the_pool, change=lambda _: hex(lie))
    proxies[0].faults = [invented]
    async with Endpoint(proxies[0].url, CHAIN) as alone:
        world = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=alone)
        await world.place()
        with pytest.raises(EndpointError, match=f"a next nonce of at most {FOREIGN}, saw {lie}"):
            await world.advance(order(50))
    assert world.rows(order(50)) == []
    async with reached(proxies, 2) as source:
        world.sender = replace(world.sender, source=source)
        await world.advance(order(50))
    assert [row.nonce for row in world.rows(order(50))] == [0]


async def test_one_of_two_that_names_another_as_spender_of_a_nonce_is_not_believed(
    two: Counting, proxies: Proxies
) -> None:
    wanted = order(51)
    await two.advance(wanted)
    await two.mine(FINALITY + 2)
    stranger = {"from": two.address.lower(), "nonce": "0x0", "hash": "0x" + "66" * 32}
    for liar in proxies:
        liar.faults = [
            Fault("eth_getTransactionReceipt", change=lambda _: None),
            Fault(
                "eth_getBlockByNumber",
                where=lambda p: p[1],
                change=lambda raw: {**raw, "transactions": [stranger]},
            ),
        ]
        await two.advance()
        assert two.states(wanted) == [State.BROADCAST]
        liar.faults = []
    await two.advance()
    assert State.FINAL in two.states(wanted)


async def test_a_receipt_that_one_of_two_invents_is_not_believed(two: Counting, proxies: Proxies) -> None:
    wanted, failed = order(52), lambda raw: raw and {**raw, "status": "0x0"}
    await two.advance(wanted)
    await two.mine()
    for liar in proxies:
        liar.faults = [Fault("eth_getTransactionReceipt", change=failed)]
        await two.advance()
        assert two.states(wanted) == [State.BROADCAST]
        liar.faults = []
    await two.advance()
    assert two.states(wanted) == [State.MINED]


async def test_what_two_know_of_a_cost_may_differ_and_one_that_lacks_a_receipt_undoes_nothing(
    two: Counting, proxies: Proxies
) -> None:
    wanted = order(53)
    await two.advance(wanted)
    await two.mine()
    dearer = Fault("eth_getTransactionReceipt", change=lambda raw: raw and {**raw, "l1Fee": "0x7"})
    proxies[1].faults = [dearer]
    await two.advance()
    (row,) = two.rows(wanted)
    assert (row.at, row.data_fee) == (State.MINED, 7)
    for proxy in proxies:
        proxy.faults = [Fault("eth_getTransactionReceipt", change=lambda _: None)]
        await two.advance()
        assert two.states(wanted) == [State.MINED]
        proxy.faults = []


def _of_the_pool(params: Any) -> bool:
    return bool(params[1] == "pending")
