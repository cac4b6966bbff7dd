"""The same results whatever an endpoint supports, and no more requests than that needs."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from eth_hash.auto import keccak
from local_http import serving
from local_programs import BURNS, CHAIN, FLOODS, REVERTS, SLOT_ZERO, TIMESTAMP, VALUE, WIDE

from keeper.chain import lens, ways
from keeper.chain.call import Call, CallFailure
from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.contracts import artifact
from keeper.contracts.abi import encode
from keeper.errors import EndpointDownError, EndpointError, KeeperError, OversizedReplyError, PrunedStateError
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy


def _overrides(params: Sequence[Any]) -> bool:
    return len(params) > 2


def _creates(params: Sequence[Any]) -> bool:
    return "to" not in params[0]


def _pins_by_hash(params: Sequence[Any]) -> bool:
    return isinstance(params[1], dict)


NO_OVERRIDE = Fault("eth_call", where=_overrides, error=(-32602, "too many arguments, want at most 2"))
DEAF_TO_OVERRIDE = Fault("eth_call", where=_overrides, change=lambda result: "0x")
NO_CREATION = Fault("eth_call", where=_creates, error=(-32000, "missing field to"))
NO_HASH = Fault("eth_call", where=_pins_by_hash, error=(-32602, "invalid argument 1: expected a number"))
SUPPORT = {
    "everything": ((), 0),
    "no override": ((NO_OVERRIDE,), 1),
    "override ignored": ((DEAF_TO_OVERRIDE,), 1),
    "neither override nor creation": ((NO_OVERRIDE, NO_CREATION), 2),
    "nothing but numbers": ((NO_OVERRIDE, NO_CREATION, NO_HASH), 3),
}

WORD = Call(TIMESTAMP, b"", lambda data: int.from_bytes(data, "big"), "Clock.now()")


@pytest.fixture
def proxy(anvil: Anvil) -> Iterator[Proxy]:
    with Proxy([anvil.url], CHAIN) as running:
        yield running


@pytest.fixture
async def through(chain: Endpoint, proxy: Proxy) -> AsyncIterator[Endpoint]:
    """The chain with the local programs and Multicall3, by way of the proxy."""
    code = "0x" + artifact("Multicall3").runtime().hex()
    await chain.rpc("anvil_setCode", [ways.MULTICALL3, code])
    await chain.rpc("evm_mine")
    async with Endpoint(proxy.url, CHAIN) as endpoint:
        yield endpoint


@pytest.mark.parametrize("support", SUPPORT)
async def test_every_way_reads_the_same_and_is_remembered(
    chain: Endpoint, through: Endpoint, proxy: Proxy, support: str
) -> None:
    faults, way = SUPPORT[support]
    calls = [VALUE.at(place) for place in (SLOT_ZERO, REVERTS, BURNS, TIMESTAMP, FLOODS, SLOT_ZERO)]
    block = await chain.latest()
    expected = await lens.read_raw(chain, block, calls)
    proxy.faults = faults
    assert await lens.read_raw(through, block, calls) == expected
    assert through.way == way
    before = proxy.seen["eth_call"]
    await lens.read_raw(through, block, [VALUE.at(SLOT_ZERO)])
    assert proxy.seen["eth_call"] - before == 1


@pytest.mark.parametrize("fitting", [2, 3, 99])
@pytest.mark.parametrize("count", [0, 2])
async def test_one_that_claims_to_be_short_of_gas_for_none_of_the_calls_is_refused(
    anvil: Anvil, through: Endpoint, fitting: int, count: int
) -> None:
    """It would be asked for the same calls again and again."""
    block = await through.latest()
    error = keccak(b"NotEnoughGas(uint256,uint256,uint256)")[:4] + encode(("uint256",) * 3, (fitting, 1, 2))

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        if body["method"] != "eth_call":
            result = {"result": await through.rpc(body["method"], body["params"])}
        else:
            result = {"error": {"code": 3, "message": "execution reverted", "data": "0x" + error.hex()}}
        return web.json_response({"jsonrpc": "2.0", "id": body["id"]} | result)

    async with serving(answer) as url:
        calls = [VALUE.at(SLOT_ZERO)] * count
        async with Endpoint(url, CHAIN) as bad:
            with pytest.raises(EndpointError, match="gas cap is too low"):
                await lens.read_raw(bad, block, calls)
        async with Pool(CHAIN, ChainEndpoints.of([url, anvil.url])) as pool:
            assert len(await lens.read_raw(pool, block, calls)) == count


@pytest.mark.parametrize("outcomes", [0, 3, 5, 9])
async def test_a_multicall_with_another_number_of_outcomes_is_refused(
    through: Endpoint, proxy: Proxy, outcomes: int
) -> None:
    block = await through.latest()
    words = [(True, bytes(32))] * outcomes
    wrong = "0x" + encode(("(bool,bytes)[]",), (words,)).hex()
    proxy.faults = [NO_OVERRIDE, NO_CREATION, Fault("eth_call", change=lambda _: wrong)]
    with pytest.raises(KeeperError):
        await lens.read_raw(through, block, [VALUE.at(SLOT_ZERO), VALUE.at(REVERTS)])


async def test_an_endpoint_that_can_do_none_of_it_says_why(through: Endpoint, proxy: Proxy) -> None:
    block = await through.latest()
    proxy.faults = [Fault("eth_call", error=(-32601, "not on your plan"))]
    with pytest.raises(EndpointError, match=r"state override: .* not on your plan; creation code: "):
        await lens.read(through, block, [VALUE.at(SLOT_ZERO)])


async def test_an_answer_too_long_for_creation_code_is_cut_into_passes(
    through: Endpoint, proxy: Proxy
) -> None:
    block = await through.latest()
    proxy.faults = [NO_OVERRIDE]
    values = await lens.read(through, block, [WORD] * 900)
    assert set(values) == {block.timestamp}
    # The refusal, the pass that is too long, and its halves.
    assert proxy.seen["eth_call"] == 4


async def test_one_answer_too_long_for_creation_code_goes_the_next_way(
    through: Endpoint, proxy: Proxy
) -> None:
    block = await through.latest()
    proxy.faults = [NO_OVERRIDE]
    wide, now = await lens.read(through, block, [Call(WIDE, b"", len, "Wide.all()"), WORD])
    assert (wide, now) == (60_000, block.timestamp)
    assert through.way == 2


async def test_results_longer_than_a_pass_takes_are_cut_into_passes(chain: Endpoint) -> None:
    block = await chain.latest()
    before = chain.requests
    assert set(await lens.read(chain, block, [Call(WIDE, b"", len, "Wide.all()")] * 40)) == {60_000}
    # The pass that is too long, and three of it.
    assert chain.requests - before == 4


async def test_a_reply_longer_than_is_taken_is_asked_for_in_parts(chain: Endpoint, anvil: Anvil) -> None:
    block = await chain.latest()
    async with Endpoint(anvil.url, CHAIN, max_reply=10_000) as careful:
        assert set(await lens.read(careful, block, [WORD] * 200)) == {block.timestamp}
        with pytest.raises(OversizedReplyError, match="at most 10,000 bytes"):
            await lens.read(careful, block, [Call(WIDE, b"", len, "Wide.all()")])


@pytest.mark.parametrize("fault", [Fault(cut=True, times=1), Fault(garble=True, times=1)])
async def test_a_reply_cut_short_once_is_asked_for_again(
    through: Endpoint, proxy: Proxy, fault: Fault
) -> None:
    block = await through.latest()
    proxy.faults = [fault]
    assert await lens.read(through, block, [VALUE.at(SLOT_ZERO)]) == (1,)


@pytest.mark.parametrize("fault", [Fault(cut=True), Fault(garble=True)])
async def test_replies_that_are_always_cut_short_are_refused(
    through: Endpoint, proxy: Proxy, fault: Fault
) -> None:
    block = await through.latest()
    proxy.faults = [fault]
    with pytest.raises(EndpointDownError, match="Reply cut short"):
        await lens.read(through, block, [VALUE.at(SLOT_ZERO)])


async def test_padding_is_no_content(through: Endpoint, proxy: Proxy) -> None:
    proxy.faults = [Fault(pad=70_000)]
    block = await through.latest()
    assert await lens.read(through, block, [VALUE.at(SLOT_ZERO)]) == (1,)


@pytest.mark.parametrize(("states", "says"), [(None, "an unknown number of"), (3, "3")])
async def test_pruned_state_says_how_many_states_the_endpoint_keeps(states: int | None, says: str) -> None:
    with Anvil(CHAIN, ["--no-mining", "--prune-history", "3"]) as node:
        async with Endpoint(node.url, CHAIN, states=states) as endpoint:
            old = await endpoint.latest()
            await endpoint.rpc("anvil_mine", [hex(9)])
            await endpoint.latest()
            before = endpoint.requests
            with pytest.raises(PrunedStateError, match=f"this endpoint keeps {says} states"):
                await lens.read(endpoint, old, [WORD])
            # What is declared is not tried.
            assert (endpoint.requests == before) == (states is not None)


async def test_a_call_that_fails_in_multicall_is_tried_with_the_gas_it_is_owed(
    chain: Endpoint, through: Endpoint, proxy: Proxy
) -> None:
    # Each of these burns all that Multicall3 has left but a 64th.
    calls = [VALUE.at(BURNS)] * 6 + [VALUE.at(SLOT_ZERO)]
    block = await chain.latest()
    proxy.faults = [NO_OVERRIDE, NO_CREATION]
    values = await lens.read(through, block, calls)
    assert values == (*[CallFailure(b"")] * 6, 1)
