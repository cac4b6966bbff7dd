"""What a network does to a keeper, row by row (`network_faults`), and what comes of it: an order is carried
out once, and becomes final."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from counting import CHAIN, FINALITY, Counting, order
from network_faults import ROWS, TIMEOUT, Row

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint, Source
from keeper.config import parse
from keeper.errors import WrongChainError
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
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
async def reached(proxies: Proxies, row: Row) -> AsyncIterator[Source]:
    """The chain as a row of the table has it: by one endpoint, or by two."""
    urls = [proxy.url for proxy in proxies[: 1 + row.beside]]
    endpoints = [{"url": url, "timeout": TIMEOUT} for url in urls]
    settings = parse({"endpoints": endpoints, "agreement": row.agreement}, ChainEndpoints)
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
    async with reached(proxies, row) as source:
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
