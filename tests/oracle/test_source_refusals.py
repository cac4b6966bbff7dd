"""Every fault of a price: what its status is, and what people are told."""

from collections.abc import Iterator

import pytest
from oracle_states import (
    BURNS,
    CONSTANT_AFTER,
    DAY,
    HEARTBEAT,
    HIGHEST,
    LOWEST,
    State,
    ask,
    put_round,
    steady_feed,
    steady_pool,
    steady_sequencer,
)
from oracle_world import GRACE, World, build

from keeper.config import parse
from keeper.errors import ConfigError, PolicyError, ValuationError
from keeper.oracle.quote import Status
from keeper.oracle.routes import OraclePolicy, View, calls, look
from keeper.oracle.source import Price
from keeper.simulation.devnet import Devnet
from keeper.units import WAD


@pytest.fixture(scope="module")
def world(devnet: Devnet) -> Iterator[World]:
    return build(devnet)


def view(world: World, state: State, oracle: OraclePolicy | None = None) -> View:
    chosen = oracle or world.oracle
    return look(chosen, ask(world.devnet, state, calls(chosen)), state.at)


def price(world: World, state: State, source: str) -> Price:
    return view(world, state).sight.price(source)


def expect(seen: Price, status: Status, why: str) -> None:
    assert seen.status is status
    assert why in "; ".join(seen.why)
    if status is Status.UNAVAILABLE:
        assert (seen.low, seen.high) == (0, 2**256 - 1)
    else:
        assert 0 < seen.low <= seen.high


def test_in_a_quiet_market_every_source_and_route_may_be_used(world: World) -> None:
    seen = view(world, world.quiet())
    for name in world.oracle.sources:
        found = seen.sight.price(name)
        assert (found.status, found.why) == (Status.OK, ()), name
    assert {rate.status for rate in seen.rates} == {Status.OK}


def test_a_feed_is_stale_a_second_after_its_heartbeat(world: World) -> None:
    state = world.quiet()
    steady_feed(state, world.feed("ETH/USD"), 3000 * 10**8, HEARTBEAT)
    assert price(world, state, "ETH/USD").status is Status.OK
    steady_feed(state, world.feed("ETH/USD"), 3000 * 10**8, HEARTBEAT + 1)
    expect(price(world, state, "ETH/USD"), Status.STALE, "stale: the round is 3601 s old")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (0, "the answer is zero"),
        (-1, "the answer is negative: -1"),
        (LOWEST * 10**8 // WAD - 1, "out of bounds"),
        (HIGHEST * 10**8 // WAD + 1, "out of bounds"),
    ],
)
def test_an_answer_that_no_price_can_be_is_none(world: World, answer: int, why: str) -> None:
    state = world.quiet()
    steady_feed(state, world.feed("stETH/USD"), answer)
    expect(price(world, state, "stETH/USD"), Status.UNAVAILABLE, why)


def test_a_round_from_the_future_is_no_price(world: World) -> None:
    state = world.quiet()
    put_round(state, world.feed("stETH/USD"), 700, 3000 * 10**8, state.at + 1)
    expect(price(world, state, "stETH/USD"), Status.UNAVAILABLE, "no time in the past")


def test_a_feed_that_is_gone_is_no_price(world: World) -> None:
    state = world.quiet()
    state.code[world.feed("stETH/USD").address] = b""
    expect(price(world, state, "stETH/USD"), Status.UNAVAILABLE, "the feed cannot be read")


def test_one_answer_for_too_long_is_constant(world: World) -> None:
    state = world.quiet()
    steady_feed(state, world.feed("ETH/USD"), 3000 * 10**8, frozen=CONSTANT_AFTER)
    assert price(world, state, "ETH/USD").status is Status.OK
    steady_feed(state, world.feed("ETH/USD"), 3000 * 10**8, frozen=2 * CONSTANT_AFTER)
    expect(
        price(world, state, "ETH/USD"), Status.CONSTANT, "constant: one answer for 14400 s, more than 10800 s"
    )


def test_a_sequencer_that_is_down_or_just_back_is_named(world: World) -> None:
    state = world.quiet()
    steady_sequencer(state, world.sequencer, state.at - DAY, down=True)
    expect(price(world, state, "USDC/USD"), Status.SEQUENCER_DOWN, "the sequencer is down")
    steady_sequencer(state, world.sequencer, state.at - GRACE)
    expect(price(world, state, "USDC/USD"), Status.SEQUENCER_DOWN, f"back for {GRACE} s")
    steady_sequencer(state, world.sequencer, state.at - GRACE - 1)
    assert price(world, state, "USDC/USD").status is Status.OK


def test_two_feeds_apart_are_diverged_and_the_range_covers_both(world: World) -> None:
    state = world.quiet()
    steady_feed(state, world.feed("second"), 3100 * 10**18)
    seen = price(world, state, "confirmed")
    expect(seen, Status.DIVERGED, "diverged from second by more than 200 bps")
    assert (seen.low, seen.high) == (2985 * WAD, 3100 * WAD)


def test_a_pool_with_too_little_liquidity_is_no_price(world: World) -> None:
    state = world.quiet()
    for pool, tick in world.ticks.items():
        steady_pool(state, pool, tick, 10**14)
    expect(price(world, state, "twap"), Status.UNAVAILABLE, "too little liquidity")


def test_a_pool_that_does_not_remember_the_window_is_no_price(world: World) -> None:
    state = world.quiet()
    for pool in world.ticks:
        for place in range(4):
            state.put(pool, 8 + place, state.at - 60 | 1 << 248)
    expect(price(world, state, "twap"), Status.UNAVAILABLE, "cannot give a mean over 1800 s")


def test_a_pool_with_too_little_cardinality_is_refused(world: World) -> None:
    data = world.oracle.model_dump()
    data["sources"]["twap"]["min_cardinality"] = 5
    with pytest.raises(
        PolicyError, match=r"too few observations \[oracle\.sources\.twap\.min_cardinality\].*saw 4"
    ):
        view(world, world.quiet(), OraclePolicy(**data))


def test_a_pool_away_from_the_feeds_is_diverged(world: World) -> None:
    state = world.quiet()
    tick = max(world.ticks.values())
    pool = next(pool for pool, each in world.ticks.items() if each == tick)
    steady_pool(state, pool, tick, spot=tick + 500, age=0)
    expect(price(world, state, "checked"), Status.DIVERGED, "spot price of twap")
    steady_pool(state, pool, tick, spot=tick + 500)
    expect(price(world, state, "checked"), Status.DIVERGED, "of twap")


def test_feeds_without_a_pool_are_unconfirmed(world: World) -> None:
    state = world.quiet()
    for pool in world.ticks:
        state.code[pool] = b""
    expect(price(world, state, "checked"), Status.DIVERGED, "unconfirmed: twap has no price")


@pytest.mark.parametrize("decimals", [5, 7])
def test_a_token_of_other_decimals_than_configured_is_refused(world: World, decimals: int) -> None:
    data = world.oracle.model_dump()
    data["tokens"]["USDC"]["decimals"] = decimals
    with pytest.raises(PolicyError, match=rf"tokens\.USDC\.decimals\]: expected {decimals}, saw 6"):
        view(world, world.quiet(), OraclePolicy(**data))


@pytest.mark.parametrize(
    ("source", "field", "value"),
    [
        ("ETH/USD", "heartbeat", HEARTBEAT + 1),
        ("ETH/USD", "decimals", 9),
        ("ETH/USD", "maximum", HIGHEST - 1),
        ("ETH/USD", "deviation_bps", 49),
        ("ETH/USD", "grace_period", GRACE + 1),
        ("ETH/USD", "constant_after", 0),
        ("ETH/USD", "aggregator", "0x" + "11" * 20),
        ("ETH/USD", "description", "ETH / EUR"),
        ("confirmed", "tolerance_bps", 201),
        ("confirmed", "cross_check", "zero"),
        ("twap", "window", 1801),
        ("twap", "min_liquidity", 10**15 + 1),
        ("checked", "tolerance_bps", 201),
        ("shares", "max_growth", WAD // 999),
    ],
)
def test_a_source_configured_otherwise_than_on_the_chain_is_refused(
    world: World, source: str, field: str, value: object
) -> None:
    data = world.oracle.model_dump()
    data["sources"][source][field] = value
    with pytest.raises(PolicyError, match=rf"disagree on the oracle \[oracle\.sources\.{source}\.{field}\]"):
        view(world, world.quiet(), OraclePolicy(**data))


def test_a_route_of_other_hops_than_the_routers_is_refused(world: World) -> None:
    data = world.oracle.model_dump()
    route = next(each for each in data["routes"] if each["base"] == "aUSDC" and each["quote"] == "WETH")
    route["hops"] = ({"source": "aUSDC/USDC"}, {"source": "twap back"})
    with pytest.raises(PolicyError, match=r"oracle\.routes\[\d+\]\.hops"):
        view(world, world.quiet(), OraclePolicy(**data))


def test_a_source_at_an_address_without_code_is_refused(world: World) -> None:
    data = world.oracle.model_dump()
    data["sources"]["ETH/USD"]["address"] = "0x" + "11" * 20
    with pytest.raises(PolicyError, match=r"does not answer \[oracle\.sources\.ETH/USD\.base\]"):
        view(world, world.quiet(), OraclePolicy(**data))


def test_a_contract_that_makes_another_price_is_named(world: World) -> None:
    state = world.quiet()
    # The contract of another deviation, at the address of this one.
    other = world.oracle.sources["stETH/USD"].address
    code = bytes.fromhex(world.devnet.rpc("eth_getCode", other, "latest")[2:])
    assert (50).to_bytes(32) in code
    state.code[other] = code.replace((50).to_bytes(32), (51).to_bytes(32))
    answers = ask(world.devnet, state, calls(world.oracle))
    fact = next(
        f for f in world.oracle.sources["stETH/USD"].facts(world.oracle.names) if f.field == "deviation_bps"
    )

    def read(call: object) -> object:
        return 50 if call == fact.call else answers(call)

    with pytest.raises(
        ValuationError, match=r"Our price differs from the contract's \[oracle\.sources\.stETH/USD\]"
    ):
        look(world.oracle, read, state.at)


def test_reads_that_burn_their_gas_make_no_other_price_of_a_frozen_feed(world: World) -> None:
    state = world.quiet()
    state.code[world.sequencer] = BURNS
    feed = world.feed("ETH/USD")
    steady_feed(state, feed, feed.usual * 10**feed.decimals, frozen=DAY)
    seen = view(world, state)
    for name in ("ETH/USD", "checked"):
        expect(seen.sight.price(name), Status.SEQUENCER_DOWN, "constant: one answer for")
        expect(seen.sight.price(name), Status.SEQUENCER_DOWN, "does not say since when")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": {"ETH/USD": {"sequencer": "0x" + "0" * 40}}}, "a grace_period a sequencer"),
        ({"sources": {"ETH/USD": {"minimum": HIGHEST + 1}}}, "minimum exceeds maximum"),
        ({"sources": {"ETH/USD": {"base": "BTC"}}}, "no such token"),
        ({"sources": {"confirmed": {"cross_check": "third"}}}, "no such source"),
        ({"sources": {"confirmed": {"cross_check": "USDC/USD"}}}, "needs the same pair"),
        ({"sources": {"confirmed": {"cross_check": "confirmed"}}}, "rest on each other"),
        ({"sources": {"checked": {"market": "bitcoin"}}}, "no uniswap_v3_twap of WETH/USDC"),
        ({"sources": {"checked": {"hops": [{"source": "ETH/USD"}]}}}, "ends at USD"),
        ({"tokens": {"USDC": {"decimals": None}}}, "decimals of this token are needed"),
        ({"tokens": {"USDC": {"decimals": 37}}}, "expected 0 to 36"),
    ],
)
def test_a_section_that_cannot_be_is_refused(
    world: World, change: dict[str, dict[str, dict[str, object]]], message: str
) -> None:
    data = world.oracle.model_dump()
    for part, entries in change.items():
        for name, fields in entries.items():
            data[part][name].update(fields)
    with pytest.raises(ConfigError, match=message):
        parse(data, OraclePolicy)


def test_hops_that_do_not_meet_are_refused(world: World) -> None:
    data = world.oracle.model_dump()
    data["routes"] = [{"base": "WETH", "quote": "USDC", "hops": [{"source": "USDC/USD"}]}]
    with pytest.raises(ConfigError, match="USDC/USD starts at USDC, not at WETH"):
        parse(data, OraclePolicy)
