"""Endpoints that stand in for each other, and endpoints that have to agree."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from local_http import serving
from local_programs import CALLS, CHAIN, REVERTS, SLOT_ZERO, VALUE, set_slot_zero
from pydantic import ValidationError

from keeper.chain import lens
from keeper.chain.block import HASHED_OTHERWISE, BlockRef
from keeper.chain.limits import LONGEST_REST, rest_seconds
from keeper.chain.pool import ChainEndpoints, EndpointSettings, Pool
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import take
from keeper.config import EndpointUrl
from keeper.errors import (
    DisagreementError,
    EndpointDownError,
    EndpointError,
    HeaderError,
    RateLimitedError,
    ReorganisedError,
    RpcError,
    StaleHeadError,
)
from keeper.events import Event, EventStream
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

NOW = 2**40
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.fixture
def two(anvil: Anvil) -> Iterator[tuple[Proxy, Proxy]]:
    """Two ways to the same node, each with faults of its own."""
    with Proxy([anvil.url], CHAIN) as first, Proxy([anvil.url], CHAIN) as second:
        yield first, second


@asynccontextmanager
async def pooled(*urls: str, **more: Any) -> AsyncIterator[tuple[Pool, list[Event]]]:
    events, heard = EventStream(), []
    events.subscribe(heard.append)
    async with Pool(CHAIN, ChainEndpoints.of(urls, **more), events) as pool:
        yield pool, heard


async def test_a_pass_goes_on_elsewhere_when_an_endpoint_dies_in_the_middle(
    chain: Endpoint, two: tuple[Proxy, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One slow answer, on a machine that is busy, would have the other asked first.
    monkeypatch.setattr("keeper.chain.pool._LATENCY_STEP", 3_600.0)
    first, second = two
    first.faults = [Fault("eth_call", status=503)]
    expected = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    async with pooled(first.url, second.url) as (pool, heard):
        taken = await take({CHAIN: pool}, CALLS, NOW, {CHAIN: 0})
        assert taken.hash == expected.hash
        assert (first.seen["eth_getBlockByNumber"], second.seen["eth_call"]) == (1, 1)
        assert [type(event).__name__ for event in heard] == ["EndpointFailed"]
        # From now on the other one is asked first.
        assert [each.endpoint for each in pool.health()] == [second.url, first.url]
        await pool.latest()
        assert second.seen["eth_getBlockByNumber"] == 1


async def test_when_nobody_answers_everyone_is_named_and_no_key_is(two: tuple[Proxy, Proxy]) -> None:
    for proxy in two:
        proxy.faults = [Fault(status=500)]
    urls = [f"{proxy.url}/v2/topsecret" for proxy in two]
    async with pooled(*urls) as (pool, heard):
        with pytest.raises(EndpointDownError) as caught:
            await pool.latest()
        shown = f"{caught.value} {heard} {pool.health()} {pool.public_url}"
    assert all(proxy.url in str(caught.value) for proxy in two)
    assert "topsecret" not in shown


async def test_a_rate_limited_endpoint_is_left_alone_for_as_long_as_it_asks(
    chain: Endpoint, two: tuple[Proxy, Proxy]
) -> None:
    first, second = two
    first.faults = [Fault(status=429, headers={"Retry-After": "3600"})]
    async with pooled(first.url, second.url) as (pool, _):
        for _ in range(3):
            await pool.latest()
        assert first.seen["eth_getBlockByNumber"] == 1
        assert second.seen["eth_getBlockByNumber"] == 3
        assert 3_590 < pool.health()[-1].rests <= 3_600


@pytest.mark.parametrize("where", ["http://..", "http://[bad", "/elsewhere"])
async def test_an_endpoint_that_points_elsewhere_is_not_followed(
    chain: Endpoint, two: tuple[Proxy, Proxy], where: str
) -> None:
    first, second = two
    first.faults = [Fault(status=307, headers={"Location": where})]
    async with pooled(first.url, second.url) as (pool, heard):
        assert await pool.latest() == await chain.latest()
        assert "HTTP 307" in str(heard)
        assert second.seen["eth_getBlockByNumber"] == 1


async def test_alone_it_waits_out_a_short_pause_and_refuses_a_long_one(
    chain: Endpoint, two: tuple[Proxy, Proxy]
) -> None:
    first, _ = two
    async with Endpoint(first.url, CHAIN) as endpoint:
        first.faults = [Fault(status=429, headers={"Retry-After": "0.2"}, times=1)]
        assert await endpoint.latest() == await chain.latest()
        first.faults = [Fault(headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "60"}, times=1)]
        await endpoint.latest()
        before = endpoint.requests
        with pytest.raises(RateLimitedError, match="out of requests"):
            await endpoint.latest()
        assert endpoint.requests == before


async def test_a_limit_told_as_json_rpc_error_is_a_limit(two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    first.faults = [Fault(error=(-32005, "daily request count exceeded"))]
    async with pooled(first.url, second.url) as (pool, _):
        await pool.latest()
    async with Endpoint(first.url, CHAIN) as endpoint:
        with pytest.raises(RateLimitedError, match="daily request count exceeded"):
            await endpoint.latest()


@pytest.mark.parametrize(
    ("status", "headers", "rest"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "7"}, 7.0),
        (200, {"retry-after": "7"}, None),
        (
            429,
            {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE},
            30.0,
        ),
        (429, {"retry-after": "tomorrow"}, None),
        (429, {}, None),
        (200, {"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12.0),
        (200, {"ratelimit-remaining": "3", "ratelimit-reset": "12"}, None),
        (429, {"x-ratelimit-reset": "12"}, 12.0),
        (
            200,
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1792567700",
                "date": DATE,
            },
            20.0,
        ),
        (
            200,
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1792567700000",
                "date": DATE,
            },
            20.0,
        ),
        (429, {"retry-after": "31536000"}, LONGEST_REST),
        (429, {"retry-after": "9" * 400, "date": DATE}, LONGEST_REST),
        (429, {"retry-after": "Mon, 99999999999 Jan 2024 00:00:00 GMT", "date": DATE}, None),
        (200, {"ratelimit": "limit=100, remaining=0, reset=5"}, 5.0),
        (200, {"ratelimit": '"default";r=0;t=9'}, 9.0),
        (200, {"ratelimit": '"default";r=4;t=9'}, None),
    ],
)
def test_every_way_to_ask_for_a_pause_is_understood(
    status: int, headers: dict[str, str], rest: float | None
) -> None:
    assert rest_seconds(status, headers) == rest


async def test_an_endpoint_far_behind_comes_last(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    old = await chain.rpc("eth_getBlockByNumber", ["latest", False])
    await chain.rpc("anvil_mine", [hex(9)])
    first.faults = [Fault("eth_getBlockByNumber", change=lambda result: old)]
    async with pooled(first.url, second.url, max_lag=8) as (pool, _):
        assert (await pool.latest()).number == int(old["number"], 16)
        first.faults = [*first.faults, Fault(status=500)]
        second.faults = []
        assert (await pool.get_block(int(old["number"], 16) + 9)).number == int(old["number"], 16) + 9
        lags = {each.endpoint: each.lag for each in pool.health()}
        assert lags == {first.url: 9, second.url: 0}
        assert pool.health()[0].endpoint == second.url


async def test_a_slow_endpoint_comes_after_a_quick_one(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    slow, quick = two
    slow.delay = 1.0
    async with pooled(slow.url, quick.url) as (pool, _):
        await pool.get_block(0)
        await pool.get_block(0)
        assert [proxy.seen["eth_getBlockByNumber"] for proxy in two] == [1, 1]
        first, last = pool.health()
        assert (first.endpoint, last.endpoint) == (quick.url, slow.url)
        assert (last.latency or 0) >= slow.delay > (first.latency or 1)


async def test_an_endpoint_of_another_chain_is_not_asked_again(
    anvil: Anvil, two: tuple[Proxy, Proxy]
) -> None:
    with Anvil(5, ["--no-mining"]) as stranger:
        async with pooled(stranger.url, two[0].url) as (pool, heard):
            await pool.rpc("eth_blockNumber")
            await pool.rpc("eth_blockNumber")
            assert len(heard) == 1
            assert f"expected {CHAIN}, saw 5" in heard[0].reason


GONE = Fault("eth_call", error=(-32000, "missing trie node 5ca1ab1e"))


@pytest.mark.parametrize("states", [None, 3])
async def test_an_old_block_is_read_where_the_state_is_kept(
    chain: Endpoint, two: tuple[Proxy, Proxy], states: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the first would seem slow, and come second.
    monkeypatch.setattr("keeper.chain.pool._LATENCY_STEP", 60.0)
    first, second = two
    old = await chain.latest()
    await chain.rpc("anvil_mine", [hex(9)])
    first.faults = [GONE]
    short = EndpointSettings(url=EndpointUrl(first.url), states=states)
    members = ChainEndpoints(endpoints=(short, EndpointSettings(url=EndpointUrl(second.url))))
    async with Pool(CHAIN, members) as pool:
        await pool.latest()
        assert await lens.read(pool, old, [VALUE.at(SLOT_ZERO)]) == (1,)
    # What it declares not to have is not asked for.
    assert (first.seen["eth_call"] == 0) == (states is not None)


async def test_what_two_operators_say_must_be_the_same(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    calls = {CHAIN: [VALUE.at(SLOT_ZERO, owner="Store")]}
    expected = await take({CHAIN: chain}, calls, NOW, {CHAIN: 0})
    async with pooled(first.url, second.url, agreement=2) as (pool, _):
        assert (await take({CHAIN: pool}, calls, NOW, {CHAIN: 0})).hash == expected.hash
        # Header and call.
        assert [sum(proxy.seen.values()) for proxy in two] == [2, 2]
        second.faults = [Fault("eth_call", change=lambda result: result[:-1] + "7")]
        with pytest.raises(DisagreementError, match=r"Store\.value\(\)") as caught:
            await take({CHAIN: pool}, calls, NOW, {CHAIN: 0})
    assert f"{first.url} says 0x{1:064x}" in str(caught.value)
    assert f"{second.url} says 0x{7:064x}" in str(caught.value)


async def test_agreement_needs_two_who_answer(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    second.faults = [Fault("eth_call", status=500)]
    async with pooled(first.url, second.url, agreement=2) as (pool, _):
        with pytest.raises(EndpointError, match="Too few endpoints"):
            await take({CHAIN: pool}, CALLS, NOW, {CHAIN: 0})


async def test_a_third_steps_in_for_agreement(
    chain: Endpoint, anvil: Anvil, two: tuple[Proxy, Proxy]
) -> None:
    first, second = two
    first.faults = [Fault("eth_call", status=500)]
    async with pooled(first.url, second.url, anvil.url, agreement=2) as (pool, _):
        await take({CHAIN: pool}, CALLS, NOW, {CHAIN: 0})
        assert second.seen["eth_call"] == 1


def test_two_endpoints_of_one_operator_are_no_witnesses() -> None:
    one = EndpointSettings(url=EndpointUrl("https://a.example"), operator="acme")
    other = EndpointSettings(url=EndpointUrl("https://b.example"), operator="acme")
    with pytest.raises(ValidationError, match="two operators"):
        ChainEndpoints(endpoints=(one, other), agreement=2)


async def test_a_header_that_was_changed_is_caught(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    first.faults = [Fault("eth_getBlock", change=lambda raw: raw | {"timestamp": hex(7)})]
    async with Endpoint(first.url, CHAIN) as endpoint:
        with pytest.raises(HeaderError, match="does not hash to its hash"):
            await endpoint.latest()
    async with pooled(first.url, second.url) as (pool, heard):
        assert await pool.latest() == await chain.latest()
        assert "does not hash" in heard[0].reason


@pytest.mark.parametrize("by", ["number", "hash"])
async def test_another_block_than_asked_for_is_caught(
    chain: Endpoint, two: tuple[Proxy, Proxy], by: str
) -> None:
    first, _ = two
    other = await chain.rpc("eth_getBlockByNumber", ["0x0", False])
    first.faults = [Fault("eth_getBlock", change=lambda raw: other)]
    head = await chain.latest()
    async with Endpoint(first.url, CHAIN) as endpoint:
        with pytest.raises(HeaderError, match="another block"):
            await endpoint.get_block(head.number if by == "number" else head.hash)


async def test_a_call_answered_at_another_block_is_caught(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    first, _ = two
    early = await chain.latest()
    answers: list[str] = []
    first.faults = [Fault("eth_call", change=lambda result: answers.append(result) or answers[0])]
    async with Endpoint(first.url, CHAIN) as endpoint:
        await lens.read(endpoint, early, [VALUE.at(SLOT_ZERO)])
        await set_slot_zero(chain, 2)
        with pytest.raises(ReorganisedError, match="read another block"):
            await lens.read(endpoint, await chain.latest(), [VALUE.at(SLOT_ZERO)])


async def test_a_send_goes_through_every_endpoint_once(chain: Endpoint, two: tuple[Proxy, Proxy]) -> None:
    for proxy in two:
        proxy.faults = [Fault("eth_sendRawTransaction", status=502)]
    async with pooled(*(proxy.url for proxy in two)) as (pool, _):
        with pytest.raises(EndpointDownError):
            await pool.send_raw(b"\x01")
    assert [proxy.seen["eth_sendRawTransaction"] for proxy in two] == [1, 1]


async def test_a_head_too_old_for_the_reference_time_is_stale(chain: Endpoint, anvil: Anvil) -> None:
    head = await chain.latest()
    async with pooled(anvil.url, max_head_age=60) as (pool, _):
        await take({CHAIN: pool}, CALLS, head.timestamp + 60, {CHAIN: 0})
        with pytest.raises(StaleHeadError, match="61 s before the reference time"):
            await take({CHAIN: pool}, CALLS, head.timestamp + 61, {CHAIN: 0})


OLD = Fault("eth_getBlockByNumber", where=lambda params: params[0] == "latest")


@pytest.fixture
async def stalled(chain: Endpoint, two: tuple[Proxy, Proxy]) -> BlockRef:
    """The head, nine blocks and about 108 seconds after the one that the first of the two still gives."""
    old = await chain.ask("eth_getBlockByNumber", ["latest", False])
    await chain.rpc("anvil_mine", [hex(9), "0xc"])
    two[0].faults = [replace(OLD, change=lambda result: old)]
    return await chain.latest()


async def test_a_stale_head_is_passed_over(stalled: BlockRef, two: tuple[Proxy, Proxy]) -> None:
    first, second = two
    async with pooled(first.url, second.url, max_head_age=60) as (pool, heard):
        taken = await take({CHAIN: pool}, CALLS, stalled.timestamp + 7, {CHAIN: 0})
        assert taken.block(CHAIN) == stalled
        (failed,) = heard
        assert f"{first.url}]: expected at most 60 s before the reference time" in failed.reason


async def test_when_all_heads_are_stale_each_is_named(
    stalled: BlockRef, chain: Endpoint, two: tuple[Proxy, Proxy]
) -> None:
    first, second = two
    old = await chain.ask("eth_getBlockByNumber", [hex(stalled.number - 9), False])
    age = stalled.timestamp + 61 - int(old["timestamp"], 16)
    async with pooled(first.url, second.url, max_head_age=60) as (pool, _):
        with pytest.raises(StaleHeadError) as caught:
            await take({CHAIN: pool}, CALLS, stalled.timestamp + 61, {CHAIN: 0})
    ages = re.findall(r"\[(\S+)\]: expected at most 60 s [^;]*?, saw (\d+) s", str(caught.value))
    assert sorted(ages, key=lambda each: int(each[1])) == [(second.url, "61"), (first.url, str(age))]


async def test_those_who_have_to_agree_do_so_on_a_block_that_all_have(
    stalled: BlockRef, two: tuple[Proxy, Proxy]
) -> None:
    async with pooled(*(proxy.url for proxy in two), agreement=2) as (pool, _):
        taken = await take({CHAIN: pool}, CALLS, stalled.timestamp, {CHAIN: 0})
    assert taken.block(CHAIN).number == stalled.number - 9


async def test_a_base_fee_that_no_hash_proves_is_what_two_say(anvil: Anvil) -> None:
    elsewhere = 43_114
    assert elsewhere in HASHED_OTHERWISE
    with Anvil(elsewhere) as node, Proxy([node.url], elsewhere) as liar:
        liar.faults = [Fault("eth_getBlock", change=lambda raw: raw | {"baseFeePerGas": hex(10**15)})]
        for urls in ([liar.url, node.url], [node.url, liar.url]):
            async with Pool(elsewhere, ChainEndpoints.of(urls, agreement=2)) as pool:
                await pool.rpc("evm_mine")
                with pytest.raises(DisagreementError, match="about the header of block"):
                    await take({elsewhere: pool}, {elsewhere: []}, NOW, {elsewhere: 0})


@pytest.mark.parametrize(
    "error",
    [
        {"code": -32603, "message": "Internal error", "data": "database is locked"},
        {"code": -32000, "message": "header not found", "data": ""},
        {"code": 3, "message": "busy"},
        {"code": -32603, "message": "Internal error", "data": "0x"},
    ],
)
async def test_an_error_that_only_looks_like_the_chains_own_is_the_endpoints(
    chain: Endpoint, anvil: Anvil, error: dict[str, Any]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "error": error})

    async with serving(answer) as url, pooled(url, anvil.url) as (pool, heard):
        assert await pool.latest() == await chain.latest()
        assert [type(event).__name__ for event in heard] == ["EndpointFailed"]


async def test_what_the_chain_itself_says_is_not_asked_for_again(
    chain: Endpoint, two: tuple[Proxy, Proxy]
) -> None:
    first, second = two
    async with pooled(first.url, second.url) as (pool, heard):
        with pytest.raises(RpcError) as caught:
            await pool.rpc("eth_call", [{"to": REVERTS}, "latest"])
    assert (caught.value.data, second.seen["eth_call"], heard) == ("0xdeadbeef", 0, [])


@pytest.mark.parametrize("word", ["state ", "response ", "exceeds "])
async def test_an_error_as_long_as_a_reply_may_be_is_not_searched_for_ever(word: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        said = {"code": -32000, "message": word * 300_000}
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "error": said})

    async with serving(answer) as url, Endpoint(url, CHAIN) as endpoint:
        with pytest.raises(EndpointError) as caught:
            await lens.read(endpoint, BlockRef(CHAIN, 1, b"\1" * 32, b"\0" * 32, 1, 0), [VALUE.at(SLOT_ZERO)])
    assert len(str(caught.value)) < 5_000


async def test_an_answer_to_another_request_is_refused() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": 999, "result": "0x1"})

    async with serving(answer) as url, Endpoint(url, CHAIN) as endpoint:
        with pytest.raises(EndpointError, match="another request"):
            await endpoint.rpc("eth_blockNumber")
