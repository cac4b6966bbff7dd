"""The Uniswap v3 mirror against the deployed pools, position manager and connector, to the wei."""

import json
from dataclasses import replace
from typing import Any

import pytest
from uniswap_stage import (
    Draws,
    FixedRate,
    Overrides,
    Stage,
    Words,
    answering,
    build,
    diff,
    drawn_quote,
    holding_words,
    nft_words,
    pool_words,
    range_words,
    tick_words,
)

from keeper.chain.call import CallFailure
from keeper.connectors.base import Report, Role, load
from keeper.connectors.uniswap_math import MAX_TICK, MIN_ROOT, MIN_TICK, sqrt_price_at_tick
from keeper.connectors.uniswap_pool import Nft, Pool, Range
from keeper.connectors.uniswap_v3 import PRICED, UniswapV3Position
from keeper.errors import ConfigError, ValuationError
from keeper.oracle.quote import Prices, Quote, Status
from keeper.simulation.devnet import Devnet
from keeper.units import MAX_UINT256, Address

STATES = 500
POOL_IDS = {"USDC/WETH": 1, "WBTC/WETH": 5}


@pytest.fixture
def stage(fresh_devnet: Devnet) -> Stage:
    return build(fresh_devnet)


def pair(draws: Draws, bits: int) -> tuple[int, int]:
    return draws.bits(bits), draws.bits(bits)


def drawn_ticks(draws: Draws) -> tuple[int, int]:
    """Any range, narrow ones and the widest most of all."""
    lower = draws.one([MIN_TICK, draws.below(2 * MAX_TICK) - MAX_TICK, draws.below(401) - 200])
    width = draws.one([1, 10, draws.below(1_000) + 1, MAX_TICK - lower])
    return lower, min(max(lower + width, lower + 1), MAX_TICK)


class State:
    """A drawn state of a pool, its ticks, its manager and our connector, where it hurts: growth that wraps,
    liquidity of nothing, of one and of all bits, prices of nothing, ticks at either end of a range."""

    def __init__(self, draws: Draws, stage: Stage, name: str) -> None:
        self.ref = stage.ref(name)
        ranges = [drawn_ticks(draws) for _ in range(draws.below(4))]
        if len(ranges) > 1 and draws.below(4) == 0:
            ranges[1] = ranges[0]
        edges = [edge + away for each in ranges for edge in each for away in (-1, 0, 1)]
        tick = draws.one([draws.below(2 * MAX_TICK) - MAX_TICK, *edges])
        self.growth = pair(draws, 256)
        self.outside = {
            each: (draws.one([0, self.growth[0], draws.bits(256)]), draws.bits(256))
            for each in sorted({edge for ticks in ranges for edge in ticks})
        }
        self.held = pair(draws, 128)
        self.entries = {ticks: Range(draws.bits(128), pair(draws, 256), pair(draws, 128)) for ticks in ranges}
        self.nfts = tuple(self._nft(draws, 1 + 7 * i, ticks) for i, ticks in enumerate(ranges))
        root = sqrt_price_at_tick(min(max(tick, MIN_TICK), MAX_TICK))
        self.pool_words = pool_words(root, tick, self.growth)
        self.pool_id, self.manager = POOL_IDS[name], stage.manager
        self.quotes = self._quotes(draws, stage.core.asset)
        self.router = stage.oracle

    def _nft(self, draws: Draws, token_id: int, ticks: tuple[int, int]) -> Nft:
        liquidity = draws.bits(128)
        lower, upper = (self.outside[each] if liquidity else (0, 0) for each in ticks)
        roots = (sqrt_price_at_tick(ticks[0]), sqrt_price_at_tick(ticks[1]))
        last, owed = pair(draws, 256), pair(draws, 128)
        return Nft(token_id, ticks, *roots, liquidity, last, owed, lower, upper)

    def _quotes(self, draws: Draws, asset: Address) -> dict[Address, Quote]:
        tokens = (Address(self.ref.params["token0"]), Address(self.ref.params["token1"]))
        quotes = {token: drawn_quote(draws) for token in tokens}
        if draws.below(6) == 0:
            # Where the root loses digits, and where it is the greatest there is.
            worth = 1 << 95 | draws.below(1 << draws.one([1, 100]))
            times = worth << draws.one([61, 62, 63, 125, 126, 127])
            for token, each in zip(tokens, (times + draws.below(times), worth), strict=True):
                quotes[token] = Quote(each, each + draws.below(each), Status.OK)
        elif draws.below(2):
            # Prices near one another, so that the range between them has a root inside some range of ticks.
            at = sqrt_price_at_tick(draws.below(2 * MAX_TICK) // 4 - MAX_TICK // 4)
            worth = (1 << 100) * at * at >> 192
            wide = worth // draws.one([10**9, 1_000, 50, 3])
            quotes[tokens[0]] = Quote(worth, worth + wide, Status.OK)
            quotes[tokens[1]] = Quote(1 << 100, (1 << 100) + draws.below(1 << 98), Status.OK)
        return quotes

    def prices(self, asset: Address) -> Prices:
        return Prices(asset, {token: FixedRate(quote) for token, quote in self.quotes.items()})

    def overrides(self) -> Overrides:
        pool: Words = dict(self.pool_words)
        manager: Words = {}
        for tick, outside in self.outside.items():
            pool |= tick_words(tick, outside)
        for ticks, entry in self.entries.items():
            pool |= range_words(self.manager, ticks, entry.liquidity, entry.inside_last, entry.owed)
        for nft in self.nfts:
            manager |= nft_words(
                nft.token_id, self.pool_id, nft.ticks, nft.liquidity, nft.inside_last, nft.owed
            )
        ids = [nft.token_id for nft in self.nfts]
        return {
            self.ref.params["pool"]: diff(pool),
            self.manager: diff(manager),
            self.ref.address: diff(holding_words(self.ref.key, self.held, ids)),
            self.router: {"code": answering(self.quotes)},
        }

    def __str__(self) -> str:
        return json.dumps(vars(self), default=str, indent=1)


def compare(stage: Stage, draws: Draws, states: int) -> dict[str, int]:
    """Draws states and compares each; what kinds of them there were."""
    seen: dict[str, int] = {}
    for number in range(states):
        state = State(draws, stage, ("USDC/WETH", "WBTC/WETH")[number % 2])
        position, (low, high, word) = stage.look(state.ref, state.prices(stage.core.asset), state.overrides())
        assert (position.nfts, position.held) == (state.nfts, state.held), state
        assert position.ranges == state.entries, state
        report = position.report(number)
        assert (report.low, report.high, report.status) == (low, high, word), state
        assert (report.debt, report.health) == (0, 0)
        check_legs(position, state)
        for kind in (f"{len(state.nfts)} NFTs", report.status.name, "0" if low == 0 else "worth"):
            seen[kind] = seen.get(kind, 0) + 1
        seen["range"] = seen.get("range", 0) + (low < high < MAX_UINT256)
    return seen


def check_legs(position: UniswapV3Position, state: State) -> None:
    """They add up to the report, but for a unit each."""
    report, legs = position.report(0), position.legs(0)
    assert all(leg.amount and leg.status <= report.status for leg in legs), state
    held = sum(leg.amount for leg in legs if leg.role is Role.HELD)
    assert held == sum(position.held), state
    if report.low < MAX_UINT256 and report.status is not Status.UNAVAILABLE:
        low = sum(leg.low for leg in legs)
        assert low <= report.low <= low + len(legs), state


def test_reports_of_random_states_equal_the_connectors_to_the_wei(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    seen = compare(stage, Draws(request.node.name), STATES)
    kinds = {f"{count} NFTs" for count in range(4)} | {status.name for status in Status}
    assert kinds <= set(seen), seen
    assert seen["worth"] > STATES // 2, seen
    assert seen["range"] > STATES // 4, seen


def prices(stage: Stage) -> Prices:
    """One of either token for one of the asset."""
    rate = FixedRate(Quote(PRICED, PRICED, Status.OK))
    return Prices(stage.core.asset, dict.fromkeys(load("uniswap_v3").tokens(stage.ref("WBTC/WETH")), rate))


def test_nothing_is_worth_nothing_and_asks_for_no_price(stage: Stage) -> None:
    position, reported = stage.look(stage.ref("WBTC/WETH"), Prices(stage.core.asset, {}), {})
    assert position.report(0) == Report(0, 0)
    assert reported == (0, 0, 0)
    assert position.legs(0) == ()


def test_without_a_route_there_is_no_value(stage: Stage) -> None:
    ref = stage.ref("WBTC/WETH")
    held = {ref.address: diff(holding_words(ref.key, (1, 0), ()))}
    position, _ = stage.look(ref, prices(stage), held)
    with pytest.raises(ValuationError, match="no price route"):
        replace(position, prices=Prices(stage.core.asset, {})).report(0)


def test_a_pool_that_is_not_what_the_policy_says_is_refused(stage: Stage) -> None:
    ref, other = stage.ref("USDC/WETH"), stage.ref("WBTC/WETH")
    swapped = {"token0": ref.params["token1"], "token1": ref.params["token0"]}
    with pytest.raises(ValuationError, match="Tokens of the pool differs"):
        stage.look(replace(ref, params={**ref.params, **swapped}), prices(stage), {})
    with pytest.raises(ValuationError, match="Key differs"):
        load("uniswap_v3").position(replace(ref, key=other.key), {}.__getitem__, prices(stage), 0)
    with pytest.raises(ConfigError, match="params do not fit"):
        load("uniswap_v3").calls(replace(ref, params={"pool": ref.params["pool"]}))


def test_a_read_that_fails_impairs_the_position(stage: Stage) -> None:
    ref = stage.ref("USDC/WETH")
    calls = load("uniswap_v3").calls(ref)
    answers = stage.many([(call.target, call.data) for call in calls], {})
    results: dict[Any, Any] = {
        call: call.decode(data) for call, (_, data) in zip(calls, answers, strict=True)
    }
    for call in calls:
        broken = results | {call: CallFailure(b"")}
        with pytest.raises(ValuationError, match="A read that the value rests on failed"):
            load("uniswap_v3").position(ref, broken.__getitem__, prices(stage), 0)


def test_a_pool_that_moves_changes_nothing_but_fees(stage: Stage) -> None:
    """The newest state of the pool reaches every position in it."""
    draws, asset = Draws("moves"), stage.core.asset
    state = next(
        each
        for each in (State(draws, stage, "USDC/WETH") for _ in range(100))
        if any(nft.liquidity for nft in each.nfts)
    )
    position, _ = stage.look(state.ref, state.prices(asset), state.overrides())
    growth = (position.pool.growth[0] + 1, (position.pool.growth[1] + (5 << 128)) % (1 << 256))
    moved = Pool(MIN_ROOT, MIN_TICK, growth)
    state.pool_words = pool_words(MIN_ROOT, MIN_TICK, growth)
    after, (low, high, status) = stage.look(state.ref, state.prices(asset), state.overrides())
    assert position.with_shared({("uniswap_v3", state.ref.params["pool"]): moved}) == after
    assert position.with_shared({("uniswap_v3", "another"): moved}) == position
    assert dict(after.shared()) == {("uniswap_v3", state.ref.params["pool"]): moved}
    report = after.report(0)
    assert (report.low, report.high, report.status) == (low, high, status)
    assert after.accrued(10**9) == after
    assert after.report(10**9) == report
    assert after.supply_rate(10**9, 0) == 0


def test_the_reads_are_stored_state_and_known_before_anything_is_read(stage: Stage) -> None:
    calls = load("uniswap_v3").calls(stage.ref("USDC/WETH"))
    assert [call.label.partition("(")[0] for call in calls] == [
        "Pool.token0",
        "Pool.token1",
        "Pool.slot0",
        "Pool.feeGrowthGlobal0X128",
        "Pool.feeGrowthGlobal1X128",
        "UniswapV3Connector.holdings",
        "UniswapV3Connector.stored",
    ]
