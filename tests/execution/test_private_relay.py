"""Transactions that a private relay has first: a real server before the node, which holds them back."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from counting import CHAIN, FINALITY, GWEI, Counting, order
from eth_hash.auto import keccak
from local_http import serving
from planning.examples import policy_sections

from keeper.chain.block import quantity
from keeper.chain.pool import ChainEndpoints, Pool, Replacement
from keeper.chain.rpc import Endpoint
from keeper.config import parse
from keeper.errors import ConfigError, RefusedError
from keeper.events import EndpointFailed, Event
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.planning.policy import Policy
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Proxy

BLOCKS = 5
SEND = "eth_sendRawTransaction"
DEAR = 500 * GWEI


@dataclass
class Relay:
    """Keeps what it gets, and puts it into the node's pool when a test says so. `mood` is how it answers."""

    node: Endpoint
    mood: str = "takes"
    asked: list[str] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["method"])
        raw = bytes.fromhex(body["params"][0][2:])
        if self.mood == "is down":
            return web.Response(status=502)
        if self.mood == "hangs":
            await self.closing.wait()
        self.held.append(raw)
        if self.mood == "leaks":
            await self.let_in(raw)
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": body["id"], "result": "0x" + keccak(raw).hex()}
        if self.mood == "refuses":
            reply = {**reply, "error": {"code": -32000, "message": "bundle not accepted"}}
        if self.mood == "talks nonsense":
            reply["result"] = None
        return web.json_response(reply)

    async def let_in(self, raw: bytes) -> None:
        await self.node.send_raw(raw)


@pytest.fixture
async def relay(chain: Endpoint) -> AsyncIterator[Relay]:
    made = Relay(chain)
    yield made
    made.closing.set()


@dataclass
class World(Counting):
    """`public` counts what the endpoint that everybody sees was asked."""

    public: Proxy | None = None
    told: list[Event] = field(default_factory=list)

    @property
    def offered_publicly(self) -> int:
        assert self.public is not None
        return self.public.seen[SEND]

    async def waiting(self) -> int:
        """Transactions of the account in the node's pool."""
        latest = await self.nonce()
        pending = await self.chain.rpc("eth_getTransactionCount", [self.address, "pending"])
        return quantity(pending) - latest


Make = Any


@pytest.fixture
async def make(chain: Endpoint, anvil: Anvil, relay: Relay, journal: Journal) -> AsyncIterator[Make]:
    """Makes the world of an account whose chain names the relay."""
    with Proxy([anvil.url], CHAIN) as public:
        async with serving(relay.answer) as url:
            pools: list[Pool] = []

            async def made(fallback: str = "public", blocks: int = BLOCKS, **changed: Any) -> World:
                private = {"url": f"{url}/secret", "blocks": blocks, "fallback": fallback, "timeout": 1}
                settings = {"endpoints": [{"url": public.url}], "private": private}
                pool = await Pool(CHAIN, parse(settings, ChainEndpoints)).__aenter__()
                pools.append(pool)
                key = "0x" + secrets.token_hex(32)
                calm = {"replacement": Replacement(blocks=100, times=2), **changed}
                of = await Counting.of(chain, journal, key, source=pool, **calm)
                world = World(of.chain, of.sender, public=public)
                world.sender.events.subscribe(world.told.append)
                await world.place()
                return world

            yield made
            for pool in pools:
                await pool.__aexit__(None, None, None)
            relay.closing.set()


async def test_what_is_private_is_seen_by_nobody_until_the_relay_has_it_mined(
    make: Make, relay: Relay
) -> None:
    world, wanted = await make(), order(5_000)
    await world.advance(wanted)
    await world.mine()
    await world.advance()
    assert await world.waiting() == 0
    assert world.offered_publicly == 0
    (row,) = world.rows(wanted)
    assert relay.held == [row.raw, row.raw]
    await relay.let_in(row.raw)
    await world.mine(FINALITY + 1)
    await world.advance()
    assert world.states(wanted) == [State.FINAL]
    assert await world.count(wanted) == 1
    # Its bytes, and never a question.
    assert set(relay.asked) == {SEND}


MOODS = ("takes", "refuses", "is down", "hangs", "talks nonsense")


@pytest.mark.parametrize("mood", MOODS)
async def test_a_relay_that_does_not_deliver_loses_nothing_and_the_same_bytes_go_to_all_in_time(
    make: Make, relay: Relay, mood: str
) -> None:
    world, wanted = await make(), order(5_100 + MOODS.index(mood))
    relay.mood = mood
    await world.advance(wanted)
    for _ in range(BLOCKS - 1):
        await world.mine()
        # Only the first of them is worth a wait for an answer.
        if mood == "hangs":
            relay.mood = "takes"
        await world.advance()
    assert world.offered_publicly == 0
    await world.mine()
    await world.advance()
    assert world.offered_publicly == 1
    (row,) = world.rows(wanted)
    assert set(relay.held) <= {row.raw}
    receipt = await world.carried_out(wanted)
    assert receipt.transaction == row.hash
    assert await world.count(wanted) == 1
    failures = [each for each in world.told if isinstance(each, EndpointFailed)]
    assert bool(failures) == (mood != "takes")
    assert "secret" not in repr(failures)


async def test_the_other_fallback_spends_the_nonce_in_public_and_never_shows_the_bytes(
    make: Make, relay: Relay
) -> None:
    world, wanted = await make("cancel"), order(5_200)
    await world.advance(wanted)
    await world.mine(BLOCKS)
    await world.advance()
    await world.advance()
    assert world.offered_publicly == 1
    with pytest.raises(RefusedError, match="cancelled"):
        await world.carried_out(wanted)
    await world.mine(FINALITY + 1)
    await world.advance()
    assert world.states(wanted) == [State.CANCELLED, State.FINAL]
    old, new = world.rows(wanted)
    assert set(relay.held) == {old.raw}
    assert await world.count(wanted) == 0
    sent = await world.chain.rpc("eth_getTransactionReceipt", ["0x" + new.hash.hex()])
    assert quantity(sent["gasUsed"]) == 21_000


async def test_a_relay_that_has_it_mined_after_the_cancel_was_sent_counts_once(
    make: Make, relay: Relay
) -> None:
    world, wanted = await make("cancel"), order(5_300)
    await world.advance(wanted)
    await world.mine(BLOCKS)
    await world.advance()
    await world.advance()
    old, new = world.rows(wanted)
    assert new.at is State.BROADCAST
    await world.drop(new)
    await relay.let_in(old.raw)
    await world.mine()
    receipt = await world.carried_out(wanted)
    assert receipt.transaction == old.hash
    await world.mine(FINALITY)
    await world.advance()
    assert world.states(wanted) == [State.FINAL, State.DROPPED]
    assert (await world.count(wanted), await world.nonce()) == (1, 1)


async def test_a_relay_that_leaks_changes_nothing_but_the_secret(make: Make, relay: Relay) -> None:
    world, wanted = await make("cancel"), order(5_400)
    relay.mood = "leaks"
    await world.carried_out(wanted)
    assert (await world.count(wanted), await world.nonce(), world.offered_publicly) == (1, 1, 0)


async def test_a_dearer_offer_goes_to_the_relay_as_long_as_the_first_one_would(
    make: Make, relay: Relay
) -> None:
    world, wanted = await make(replacement=Replacement(blocks=2, times=4)), order(5_500)
    await world.advance(wanted)
    for _ in range(BLOCKS - 1):
        await world.mine()
        await world.advance()
        await world.advance()
    rows = world.rows(wanted)
    assert [row.raw for row in rows] == list(dict.fromkeys(relay.held))
    assert len(rows) == 3
    assert world.offered_publicly == 0
    await world.mine()
    await world.advance()
    assert world.offered_publicly == 1
    await world.mine()
    assert (await world.count(wanted), await world.nonce()) == (1, 1)


async def test_after_a_restart_it_still_goes_the_way_it_went(
    make: Make, relay: Relay, tmp_path: Path
) -> None:
    """The same journal, opened again: half the time is over, and then all of it."""
    world, wanted = await make(), order(5_600)
    await world.advance(wanted)
    await world.journal.__aexit__(None, None, None)
    for blocks, seen in ((BLOCKS - 1, 0), (1, 1)):
        await world.mine(blocks)
        async with Journal(str(tmp_path / "keeper")) as journal:
            world.sender = replace(world.sender, journal=journal)
            await world.advance()
        assert world.offered_publicly == seen
    assert await world.waiting() == 1


async def test_what_a_keeper_had_only_written_down_when_it_ended_is_private_all_the_same(
    make: Make, relay: Relay
) -> None:
    world, wanted = await make("cancel"), order(5_700)
    head = await world.chain.latest()
    desk = world.desk()
    seen = await desk.advance()
    await desk._draft(world.intent(wanted), seen)
    assert world.states(wanted) == [State.DRAFTED]
    await world.mine(2 * BLOCKS)
    await world.advance()
    assert world.states(wanted) == [State.BROADCAST]
    assert len(relay.held) == 1
    assert world.offered_publicly == 0
    assert world.rows(wanted)[0].since == head.number + 2 * BLOCKS


async def test_what_was_in_a_block_is_no_secret_any_more(make: Make, relay: Relay) -> None:
    world, wanted = await make("cancel"), order(5_800)
    await world.advance(wanted)
    (row,) = world.rows(wanted)
    await relay.let_in(row.raw)
    await world.mine()
    await world.advance()
    await world.reorganise(1)
    await world.drop(row)
    await world.advance()
    assert len(relay.held) == world.offered_publicly == 1
    await world.mine(BLOCKS)
    await world.advance()
    assert world.states(wanted)[0] in {State.MINED, State.FINAL}
    assert await world.count(wanted) == 1


async def test_empty_transfers_hide_nothing_and_go_to_all(make: Make, relay: Relay) -> None:
    world, wanted = await make(), order(5_900)
    late = (await world.chain.latest()).timestamp + 60
    await world.advance(replace(wanted, valid_until=late))
    await world.late(100)
    await world.mine()
    await world.advance()
    await world.advance()
    assert len(relay.held) == world.offered_publicly == 1
    await world.mine()
    assert (await world.count(wanted), await world.nonce()) == (0, 1)


async def test_a_hole_is_filled_in_public_at_once(make: Make, relay: Relay) -> None:
    world, wanted = await make(replacement=Replacement(blocks=2, times=0)), order(5_950)
    await world.chain.send_raw(world.foreign(0).raw)
    await world.advance(wanted)
    assert world.rows(wanted)[0].nonce == 1
    await world.chain.rpc("anvil_dropTransaction", ["0x" + world.foreign(0).hash.hex()])
    await world.mine(2)
    await world.advance()
    await world.mine()
    assert (await world.nonce(), world.offered_publicly) == (1, 1)


async def test_an_order_waits_for_as_long_as_the_relay_has_it(make: Make, relay: Relay) -> None:
    world, wanted = await make(blocks=40, replacement=Replacement(blocks=1, times=0)), order(5_960)
    await world.carried_out(wanted)
    assert world.offered_publicly > 0
    assert await world.count(wanted) == 1


async def test_a_price_at_its_ceiling_does_not_keep_a_nonce_for_ever(make: Make, relay: Relay) -> None:
    """Nothing dearer is allowed, and nobody but the relay knows what the cancel replaces."""
    head = await (await make()).chain.latest()
    ceiling = 2 * head.base_fee
    fees = {"max_fee_per_gas": ceiling, "max_priority_fee_per_gas": GWEI}
    world = await make("cancel", policy=parse(policy_sections() | {"fees": fees}, Policy))
    wanted = order(6_000)
    await world.advance(wanted)
    assert world.rows(wanted)[0].max_fee == ceiling
    await world.mine(BLOCKS, price=2 * ceiling)
    await world.advance()
    # Above the ceiling nothing new is sent, and the bytes stay where they were.
    assert (world.states(wanted), world.offered_publicly) == ([State.BROADCAST], 0)
    await world.mine()
    await world.advance()
    await world.advance()
    await world.mine()
    assert [row.max_fee for row in world.rows(wanted)] == [ceiling, ceiling]
    assert (await world.count(wanted), await world.nonce()) == (0, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"url": "ftp://host/secret"}, {"blocks": 0}, {"fallback": "secret"}, {"fall_back": "public"}],
)
def test_settings_of_a_relay_are_strict_and_say_no_secret(wrong: dict[str, Any]) -> None:
    private = {"url": "https://relay.example/secret", **wrong}
    with pytest.raises(ConfigError) as caught:
        parse({"endpoints": [{"url": "http://127.0.0.1:9"}], "private": private}, ChainEndpoints)
    assert "private" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_relay_s_url_is_shown_by_its_host() -> None:
    private = {"url": "https://relay.example/secret"}
    made = parse({"endpoints": [{"url": "http://127.0.0.1:9"}], "private": private}, ChainEndpoints)
    assert "relay.example" in repr(made)
    assert "secret" not in repr(made)
