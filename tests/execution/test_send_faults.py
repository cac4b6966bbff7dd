"""A table of what a network does to a send, and what comes of it: the order is carried out once."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from counting import CHAIN, Counting, order

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.errors import WrongChainError
from keeper.execution.journal.journal import Journal
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

SEND, RECEIPT = "eth_sendRawTransaction", "eth_getTransactionReceipt"
ERROR = -32000

FAULTS = {
    "dropped on the way": Fault(SEND, times=3, status=502),
    "arrived, and reset during the answer": Fault(SEND, times=3, cut=True),
    "arrived, and half an answer": Fault(SEND, times=3, garble=True),
    "429 with a pause": Fault(SEND, times=1, status=429, headers={"Retry-After": "1"}),
    "nonce too low": Fault(SEND, times=3, error=(ERROR, "nonce too low")),
    "already known": Fault(SEND, times=3, error=(ERROR, "already known")),
    "underpriced": Fault(SEND, times=3, error=(ERROR, "replacement transaction underpriced")),
    "another hash than was sent": Fault(SEND, change=lambda _: "0x" + "77" * 32),
    "receipts fail": Fault(RECEIPT, times=6, status=503),
    "receipts are denied": Fault(RECEIPT, times=3, change=lambda _: None),
    "counts fail": Fault("eth_getTransactionCount", times=3, cut=True),
}


@pytest.fixture
def proxies(anvil: Anvil) -> Iterator[tuple[Proxy, Proxy]]:
    with Proxy([anvil.url], CHAIN) as one, Proxy([anvil.url], CHAIN) as other:
        yield one, other


@pytest.fixture
async def world(chain: Endpoint, journal: Journal, proxies: tuple[Proxy, Proxy]) -> AsyncIterator[Counting]:
    """The keeper sees the chain through the first proxy alone."""
    async with Endpoint(proxies[0].url, CHAIN) as source:
        made = await Counting.of(chain, journal, "0x" + secrets.token_hex(32), source=source)
        await made.place()
        yield made


async def check(world: Counting, number: int) -> None:
    """Counted once, under one nonce."""
    wanted = order(number)
    assert await world.count(wanted) == 1
    assert await world.nonce() == 1
    assert {row.nonce for row in world.rows(wanted)} == {0}
    assert len(world.rows(wanted)) <= 1 + world.sender.replacement.times


@pytest.mark.parametrize("name", FAULTS)
async def test_an_order_survives_the_network(
    world: Counting, proxies: tuple[Proxy, Proxy], name: str
) -> None:
    fault = FAULTS[name]
    proxies[0].faults = [fault]
    number = 1_000 + list(FAULTS).index(name)
    await world.carried_out(order(number))
    await check(world, number)
    assert proxies[0].seen[fault.method] > 0


async def test_a_send_reaches_the_chain_through_whichever_endpoint_is_up_and_twice_is_once(
    chain: Endpoint, journal: Journal, proxies: tuple[Proxy, Proxy]
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


async def test_a_receipt_is_looked_for_before_a_send_that_was_refused_is_sent_again(
    world: Counting, proxies: tuple[Proxy, Proxy]
) -> None:
    """Complaint 2: a mint that had landed was sent again after "nonce too low"."""
    wanted = order(3_000)
    proxies[0].faults = [Fault(SEND, times=1, error=(ERROR, "nonce too low"))]
    await world.advance(wanted)
    (row,) = world.rows(wanted)
    await world.offer(row)
    await world.mine()
    await world.carried_out(wanted)
    await check(world, 3_000)
    assert proxies[0].seen[SEND] == 1


async def test_nothing_is_sent_to_another_chain(world: Counting, proxies: tuple[Proxy, Proxy]) -> None:
    proxies[0].faults = [Fault("eth_chainId", change=lambda _: "0x1")]
    with pytest.raises(WrongChainError):
        await world.carried_out(order(4_000))
    assert world.rows(order(4_000)) == []
    assert proxies[0].seen[SEND] == 0
