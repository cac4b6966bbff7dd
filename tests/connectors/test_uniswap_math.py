"""Uniswap v3's arithmetic against its published vectors, and against what the deployed contracts answer."""

import json
from pathlib import Path

import pytest
from uniswap_stage import Draws, Stage, build, diff, slot0

from keeper.connectors.uniswap_math import (
    MAX_ROOT,
    MAX_TICK,
    MAX_UINT128,
    MAX_UINT160,
    MIN_ROOT,
    MIN_TICK,
    amount0_delta,
    amount1_delta,
    amounts_for_liquidity,
    harmonic_mean_liquidity,
    liquidity_for_amounts,
    mean_tick,
    next_root_from_input,
    next_root_from_output,
    sqrt_price_at_tick,
    tick_at_sqrt_price,
)
from keeper.contracts import Function
from keeper.errors import RpcError, ValuationError
from keeper.simulation.devnet import Devnet

VECTORS = Path(__file__).parents[2] / "contracts" / "test" / "data" / "tickmath.json"
INITIALISE = Function("initialize(uint160)")
SLOT = Function("slot0()", "(uint160,int24,uint16,uint16,uint16,uint8,bool)")
MINT = Function(
    "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))",
    "(uint256,uint128,uint256,uint256)",
)
IN = Function(
    "quoteExactInputSingle((address,address,uint256,uint24,uint160))", "(uint256,uint160,uint32,uint256)"
)
OUT = Function(
    "quoteExactOutputSingle((address,address,uint256,uint24,uint160))", "(uint256,uint160,uint32,uint256)"
)
FEE, SPACING, BOTTOM = 500, 10, 10**6
WORD = 256 * SPACING
"""Ticks that a swap takes in one step at most."""
CASES = 500


@pytest.fixture(scope="module")
def stage(devnet: Devnet) -> Stage:
    return build(devnet)


def root_of(draws: Draws) -> int:
    """Any root, each length as likely as the next, ticks' own among them."""
    tick = draws.below(2 * MAX_TICK) - MAX_TICK
    return draws.one([sqrt_price_at_tick(tick), sqrt_price_at_tick(tick) - 1, MIN_ROOT + draws.bits(159)])


# TICKS


def test_ticks_and_roots_equal_the_published_ones() -> None:
    vectors = json.loads(VECTORS.read_text())
    assert [str(sqrt_price_at_tick(tick)) for tick in vectors["ticks"]] == vectors["roots"]
    given = [int(root) for root in vectors["given_roots"]]
    assert [tick_at_sqrt_price(root) for root in given] == vectors["ticks_at_roots"]
    assert (len(given), len(vectors["ticks"])) == (13, 28)
    assert sqrt_price_at_tick(MIN_TICK) == MIN_ROOT
    assert sqrt_price_at_tick(MAX_TICK) == MAX_ROOT


def test_what_no_pool_can_be_at_is_refused() -> None:
    for tick in (MIN_TICK - 1, MAX_TICK + 1):
        with pytest.raises(ValuationError, match="tick is out of range"):
            sqrt_price_at_tick(tick)
    for root in (MIN_ROOT - 1, MAX_ROOT):
        with pytest.raises(ValuationError, match="root is out of range"):
            tick_at_sqrt_price(root)


def test_a_real_pool_opened_at_a_root_is_at_the_tick_we_say(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    """At a tick's root it is at that tick, and a unit below it at the one before: that pins every root."""
    draws = Draws(request.node.name)
    pool = stage.ref("USDC/WETH").params["pool"]
    roots = [min(root_of(draws), MAX_ROOT - 1) for _ in range(CASES)]
    roots += [sqrt_price_at_tick(sign << k) - less for k in range(20) for sign in (1, -1) for less in (0, 1)]
    closed = {pool: diff({0: 0})}
    ticks = set()
    for root in (each for each in roots if MIN_ROOT <= each < MAX_ROOT):
        _, (opened, data) = stage.many([(pool, INITIALISE.encode(root)), (pool, SLOT.encode())], closed)
        assert opened
        assert SLOT.decode(data)[:2] == (root, tick_at_sqrt_price(root))
        ticks.add(tick_at_sqrt_price(root))
    assert len(ticks) > CASES // 2


# AMOUNTS


def test_a_mint_gives_the_liquidity_and_takes_the_amounts_we_say(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    draws, trader = Draws(request.node.name), stage.devnet.address("trader")
    params = stage.ref("USDC/WETH").params
    sides = {"in": 0, "below": 0, "above": 0}
    # What the trader has.
    widths = (40, 62) if params["token0"] == stage.core.asset else (62, 40)
    for _ in range(CASES):
        middle = draws.below(2 * 400_000) - 400_000
        root = sqrt_price_at_tick(middle) + draws.below(1_000)
        lower = (middle + draws.below(2 * 6_000) - 9_000) // SPACING * SPACING
        upper = lower + SPACING * (1 + draws.below(600))
        wanted = tuple(draws.below(1 << 1 + draws.below(bits)) for bits in widths)
        order = (params["token0"], params["token1"], FEE, lower, upper, *wanted, 0, 0, trader, 2**40)
        request_ = {
            "from": trader,
            "to": stage.manager,
            "data": "0x" + MINT.encode(order).hex(),
            "gas": hex(5_000_000),
        }
        edges = (sqrt_price_at_tick(lower), sqrt_price_at_tick(upper))
        expected = liquidity_for_amounts(root, *edges, *wanted)
        state = {params["pool"]: diff({0: slot0(root, tick_at_sqrt_price(root)), 4: 0})}
        try:
            answer = stage.devnet.rpc("eth_call", request_, "latest", state)
        except RpcError:
            # Nothing to mint, or more than a tick may have.
            assert expected == 0 or expected > MAX_UINT128 // (2 * MAX_TICK // SPACING + 1)
            continue
        _, liquidity, *taken = MINT.decode(bytes.fromhex(answer[2:]))
        assert liquidity == expected
        assert tuple(taken) == amounts_for_liquidity(root, *edges, liquidity, up=True)
        sides["below" if root <= edges[0] else "above" if root >= edges[1] else "in"] += 1
    assert min(sides.values()) > CASES // 20, sides


def test_a_swap_inside_one_step_ends_at_the_root_we_say(stage: Stage, request: pytest.FixtureRequest) -> None:
    """`SqrtPriceMath` both ways, fee as in `SwapMath.computeSwapStep`, as QuoterV2 answers."""
    draws = Draws(request.node.name)
    params = stage.ref("USDC/WETH").params
    pair = (params["token0"], params["token1"])
    quoter = stage.devnet.manifest["uniswap"]["quoter"]
    compared = {(exact_in, zero): 0 for exact_in in (True, False) for zero in (True, False)}
    for _ in range(3 * CASES):
        # Not at the end of a step, and with room to the next.
        tick = WORD * (draws.below(300) - 150) + WORD // 2
        root, liquidity = sqrt_price_at_tick(tick) + draws.below(10**6), 1 << 40 | draws.bits(110)
        exact_in, zero = bool(draws.below(2)), bool(draws.below(2))
        amount = 1 + draws.below(1 << 1 + draws.below(60))
        tokens = pair if zero else pair[::-1]
        given = amount * (BOTTOM - FEE) // BOTTOM if exact_in else amount
        follow = next_root_from_input if exact_in else next_root_from_output
        try:
            ended = follow(root, liquidity, given, zero_for_one=zero)
        except ValuationError:
            continue
        if not MIN_ROOT <= ended < MAX_ROOT or abs(tick_at_sqrt_price(ended) - tick) > WORD // 3:
            continue
        call = (IN if exact_in else OUT).encode((*tokens, amount, FEE, 0))
        state = {params["pool"]: diff({0: slot0(root, tick_at_sqrt_price(root)), 4: liquidity})}
        ((success, data),) = stage.many([(quoter, call)], state)
        if not success:
            # More than lies in the pool cannot be paid out, nor nothing.
            continue
        other, after, crossed, _ = (IN if exact_in else OUT).decode(data)
        if crossed:
            continue
        assert after == ended
        taken = amount0_delta if zero else amount1_delta
        paid = amount1_delta if zero else amount0_delta
        if exact_in:
            assert other == paid(root, ended, liquidity, up=False)
        else:
            less = taken(root, ended, liquidity, up=True)
            assert other == less - (-less * FEE // (BOTTOM - FEE))
        compared[exact_in, zero] += 1
    assert min(compared.values()) > CASES // 10, compared


def test_where_products_overflow_the_pool_rounds_up_twice() -> None:
    root, liquidity, amount = MAX_UINT160, 1 << 100, 1 << 120
    exact = (liquidity << 96) * root // ((liquidity << 96) + amount * root)
    ended = next_root_from_input(root, liquidity, amount, zero_for_one=True)
    # floor(2^196 / (2^160 - 1)) is 2^36, which 2^120 is added to.
    assert ended == -(-(1 << 196) // ((1 << 36) + (1 << 120)))
    assert exact <= ended <= exact + 1


def test_liquidity_does_not_give_more_than_it_has() -> None:
    root, liquidity = 1 << 96, 10**18
    with pytest.raises(ValuationError, match="does not hold"):
        next_root_from_output(root, liquidity, liquidity, zero_for_one=True)
    with pytest.raises(ValuationError, match="does not hold"):
        next_root_from_output(root, liquidity, liquidity, zero_for_one=False)


# AVERAGES


def test_the_mean_tick_is_rounded_toward_negative_infinity() -> None:
    assert mean_tick((0, -1), 3_600) == -1
    assert mean_tick((0, -3_600), 3_600) == -1
    assert mean_tick((0, -3_601), 3_600) == -2
    assert mean_tick((5, 3_604), 3_600) == 0
    assert mean_tick((0, 3_600 * 7 + 3_599), 3_600) == 7


def test_sums_that_wrapped_in_between_give_the_same_means() -> None:
    top = 2**55
    assert mean_tick((top - 1_000, -top + 6_200), 3_600) == 2
    assert mean_tick((-top + 1_000, top - 6_201), 3_600) == -3
    assert harmonic_mean_liquidity((MAX_UINT160 - 99, 100), 3_600) == (3_600 << 128) // 200
    assert harmonic_mean_liquidity((7, 7), 3_600) == 0


def test_means_equal_those_of_a_real_pool_at_one_price(stage: Stage) -> None:
    """Nobody trades in between: the mean tick is the pool's, and the mean liquidity is what is in range."""
    observe = Function("observe(uint32[])", "(int56[],uint160[])")
    pool = stage.ref("USDC/WETH").params["pool"]
    now = stage.devnet.block()
    later = stage.devnet.warp(7_200)
    assert later > int(now["timestamp"], 16)
    ticks, seconds = stage.devnet.call(pool, observe.signature, ([3_600, 0],), observe.outputs)
    slot = stage.devnet.call(pool, SLOT.signature, (), SLOT.outputs)
    liquidity = stage.devnet.call(pool, "liquidity()", (), "(uint128)")
    assert mean_tick((ticks[0], ticks[1]), 3_600) == slot[1]
    # Seconds per liquidity are rounded down, so that their inverse comes out a little high.
    mean = harmonic_mean_liquidity((seconds[0], seconds[1]), 3_600)
    assert liquidity <= mean <= liquidity + liquidity // 10**6
