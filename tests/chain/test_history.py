"""The past of a pinned block, where one of two endpoints is on another branch or behind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from local_programs import CHAIN, TIMESTAMP, place_programs

from keeper.chain.block import BlockRef
from keeper.chain.history import LogQuery, SeriesQuery, read_history
from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.contracts import address
from keeper.errors import DecodeError, EndpointError, UnknownBlockError
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

LOUD = address("0x" + "77" * 20)
LOGS = LogQuery(LOUD, (), 100)
SERIES = SeriesQuery(TIMESTAMP, b"", 2, 2)


async def grow(endpoint: Endpoint, blocks: int, *, loud: bool) -> None:
    (sender, *_) = await endpoint.rpc("eth_accounts")
    for _ in range(blocks):
        if loud:
            await endpoint.rpc("eth_sendTransaction", [{"from": sender, "to": LOUD}])
        await endpoint.rpc("evm_mine")


@dataclass
class Branches:
    """Two nodes whose chains part at block 3; logs are in all blocks of the first but the last."""

    chain: Endpoint
    branch: Endpoint
    urls: tuple[str, str]
    head: BlockRef

    @asynccontextmanager
    async def pool(self, *, branch_first: bool) -> AsyncIterator[Pool]:
        urls = self.urls[::-1] if branch_first else self.urls
        async with Pool(CHAIN, ChainEndpoints.of(urls)) as pool:
            yield pool


@pytest.fixture
def nodes() -> Iterator[tuple[Anvil, Anvil]]:
    args = ["--no-mining", "--timestamp", "1700000000"]
    with Anvil(CHAIN, args) as first, Anvil(CHAIN, args) as second:
        yield first, second


@pytest.fixture
async def branches(nodes: tuple[Anvil, Anvil]) -> AsyncIterator[Branches]:
    first, second = nodes
    async with Endpoint(first.url, CHAIN) as chain, Endpoint(second.url, CHAIN) as branch:
        for endpoint in (chain, branch):
            await endpoint.rpc("anvil_setBlockTimestampInterval", [12])
            await place_programs(endpoint)
            await endpoint.rpc("anvil_setCode", [LOUD, "0x60006000a000"])
            await grow(endpoint, 1, loud=True)
        await grow(chain, 3, loud=True)
        await branch.rpc("anvil_setNextBlockBaseFeePerGas", [hex(5 * 10**9)])
        await grow(branch, 1, loud=False)
        await grow(branch, 2, loud=True)
        for endpoint in (chain, branch):
            await grow(endpoint, 1, loud=False)
        head = await chain.latest()
        assert (await branch.get_block(2)).hash == (await chain.get_block(2)).hash
        assert (await branch.get_block(3)).hash != (await chain.get_block(3)).hash
        yield Branches(chain, branch, (first.url, second.url), head)


@pytest.mark.parametrize("query", [LOGS, SERIES])
async def test_what_is_on_another_branch_is_not_taken_for_the_pinned_blocks_past(
    branches: Branches, query: LogQuery | SeriesQuery
) -> None:
    expected = await read_history(branches.chain, branches.head, [query])
    for branch_first in (False, True):
        async with branches.pool(branch_first=branch_first) as pool:
            assert await read_history(pool, branches.head, [query]) == expected
    with pytest.raises(EndpointError, match="reorganised away"):
        await read_history(branches.branch, branches.head, [query])


async def test_one_that_is_behind_does_not_leave_out_the_last_logs(branches: Branches) -> None:
    behind = branches.head.number - 3
    expected = await read_history(branches.chain, branches.head, [LOGS])
    assert expected is not None
    assert [each.block for each in expected.logs[0].found] == [2, 3, 4, 5]
    faults = [
        Fault("eth_getLogs", change=lambda logs: [x for x in logs if int(x["blockNumber"], 16) <= behind]),
        Fault(
            "eth_getBlockByNumber",
            where=lambda p: p[0] != "latest" and int(p[0], 16) > behind,
            change=lambda _: None,
        ),
    ]
    with Proxy([branches.urls[0]], CHAIN, faults=faults) as proxy:
        settings = ChainEndpoints.of([proxy.url, branches.urls[0]])
        async with Pool(CHAIN, settings) as pool, Endpoint(proxy.url, CHAIN) as alone:
            assert await read_history(pool, branches.head, [LOGS]) == expected
            with pytest.raises(UnknownBlockError):
                await read_history(alone, branches.head, [LOGS])


@pytest.mark.parametrize("answer", [{}, "", None, 0, {"logs": []}])
async def test_what_is_no_list_is_not_an_empty_one(branches: Branches, answer: object) -> None:
    fault = Fault("eth_getLogs", change=lambda _: answer)
    with Proxy([branches.urls[0]], CHAIN, faults=[fault]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as endpoint:
            with pytest.raises(DecodeError, match="Not a list of logs"):
                await read_history(endpoint, branches.head, [LOGS])
