"""When the strategy keeps, moves or is forced, on real mirrors in a book without a chain."""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product

import pytest

from keeper.book import Book
from keeper.connectors.aave_reserve import RateCurve, Reserve, ReserveSettings
from keeper.connectors.aave_v3 import AaveParams, AavePosition
from keeper.connectors.base import Position, PositionRef, after_move
from keeper.connectors.metamorpho import MetaMorphoParams, MetaMorphoPosition
from keeper.connectors.metamorpho_vault import Allocated, Vault
from keeper.connectors.morpho_blue import MorphoBlueParams, MorphoBluePosition
from keeper.connectors.morpho_market import Market, MarketParams
from keeper.connectors.morpho_math import INITIAL_RATE_AT_TARGET
from keeper.contracts import address
from keeper.errors import PolicyError
from keeper.exposures import Exposure
from keeper.ledger.vault import Accounting, Params
from keeper.oracle.quote import Prices
from keeper.units import RAY, WAD
from strategies.yield_allocation import Params as StrategyParams
from strategies.yield_allocation import YieldAllocation

AT = 1_800_000_000
USDC = 10**6
MILLION = 10**6 * USDC
ONE = address("0x" + "11" * 20)
PRICES = Prices(ONE, {})
MARKET = MarketParams(loan_token=ONE, collateral_token=ONE, oracle=ONE, irm=ONE, lltv=WAD // 2)


def ref(connector: str, venue: str) -> PositionRef:
    return PositionRef(connector, ONE, b"\0" * 32, venue, {})


def aave(ours: int, *, others: int = 40 * MILLION, debt: int = 30 * MILLION) -> AavePosition:
    reserve = Reserve(
        id=0,
        settings=ReserveSettings.from_word(6 << 48 | 1 << 56 | 1_000 << 64),
        curve=RateCurve.from_bps(9_000, 0, 550, 6_000),
        liquidity_index=RAY,
        liquidity_rate=0,
        variable_borrow_index=RAY,
        variable_borrow_rate=0,
        last_update=AT,
        accrued_to_treasury=0,
        virtual_balance=others + ours - debt,
        deficit=0,
        scaled_variable_debt=debt,
        scaled_supply=others + ours,
    )
    params = AaveParams(pool=ONE, asset=ONE, a_token=ONE, variable_debt_token=ONE, rate_strategy=ONE)
    return AavePosition(ref("aave_v3", "aave:USDC"), params, reserve, ours, Prices(ONE, {}))


def market(supplied: int, debt: int) -> Market:
    return Market(supplied, supplied * 10**6, debt, debt * 10**6, AT, 0, INITIAL_RATE_AT_TARGET)


def blue(ours: int, *, supplied: int = 40 * MILLION, debt: int = 35 * MILLION) -> MorphoBluePosition:
    params = MorphoBlueParams(morpho=ONE, market=MARKET)
    return MorphoBluePosition(
        ref("morpho_blue", "morpho:WETH"), params, PRICES, market(supplied + ours, debt), ours * 10**6
    )


def meta(held: Market) -> MetaMorphoPosition:
    """An entered vault that lends in one market and owns none of our money yet."""
    params = MetaMorphoParams(vault=ONE, morpho=ONE, markets=(MARKET,))
    vault = Vault(
        total_supply=MILLION * 10**12,
        last_total_assets=MILLION,
        fee=0,
        decimals_offset=12,
        supply_queue=(0,),
        markets=(Allocated(held, MILLION * 10**6, 20 * MILLION),),
    )
    return MetaMorphoPosition(ref("metamorpho", "metamorpho:USDC"), params, PRICES, vault, 0)


def book(*positions: Position, idle: int, reserve: int = 0, caps: Mapping[str, int] | None = None) -> Book:
    venues = {position.ref.venue: 100 * MILLION for position in positions}
    return Book(
        at=AT,
        idle=idle,
        positions=tuple(sorted(positions, key=lambda position: position.ref.venue)),
        marks={position.ref.venue: position.report(AT).low for position in positions},
        caps=venues if caps is None else venues | dict(caps),
        reserve=reserve,
        accounting=Accounting(*(0 for _ in fields(Accounting))),
        params=Params(ONE, *(0 for _ in fields(Params)[1:])),
        nonce=0,
        signer_set_version=1,
        healthy=True,
        risk_paused_until=0,
    )


def strategy(**params: object) -> YieldAllocation:
    shown = {"asset": "USDC", "decimals": 6, "quantum": USDC, **params}
    return YieldAllocation(StrategyParams.model_validate(shown))


def test_idle_assets_go_where_the_rates_meet() -> None:
    allocation = strategy().decide(book(aave(0), blue(0), idle=10 * MILLION))
    targets = dict(allocation.targets)
    assert sum(targets.values()) == 10 * MILLION
    assert min(targets.values()) > MILLION
    # At the optimum, the marginal thousand earns nearly the same in both.
    thousand = 1_000 * USDC
    marginal = [
        venue.supply_rate(assets + thousand, AT) * (assets + thousand)
        - venue.supply_rate(assets, AT) * assets
        for venue, assets in ((aave(0), targets["aave:USDC"]), (blue(0), targets["morpho:WETH"]))
    ]
    assert abs(marginal[0] - marginal[1]) < marginal[0] // 1_000
    assert allocation.reason.startswith("Moved: gains over 10 bps.")
    assert "10,000,000.00 USDC" in allocation.reason


def test_a_gain_below_the_threshold_is_not_worth_a_move() -> None:
    placed = dict(strategy().decide(book(aave(0), blue(0), idle=10 * MILLION)).targets)
    near = book(aave(placed["aave:USDC"] - 1_000 * USDC), blue(placed["morpho:WETH"] + 1_000 * USDC), idle=0)
    allocation = strategy().decide(near)
    assert dict(allocation.targets) == near.allocation
    assert allocation.reason.startswith("Kept: no split gains over 10 bps.")
    moved = strategy(min_gain_bps=0).decide(near)
    assert dict(moved.targets) != near.allocation


def test_redemptions_come_before_yield() -> None:
    before = book(aave(6 * MILLION), blue(4 * MILLION), idle=MILLION, reserve=3 * MILLION)
    allocation = strategy(min_gain_bps=10_000).decide(before)
    assert allocation.total == 8 * MILLION
    assert allocation.reason.startswith(
        "Forced: redemptions need 3,000,000.00 USDC idle and 1,000,000.00 USDC is."
    )


def test_redemptions_get_what_liquidity_allows_and_the_rest_is_said() -> None:
    lent_out = aave(6 * MILLION, debt=45 * MILLION)
    allocation = strategy().decide(book(lent_out, idle=0, reserve=3 * MILLION))
    assert dict(allocation.targets) == {"aave:USDC": 5 * MILLION}
    assert "Still short of redemptions by 2,000,000.00 USDC." in allocation.reason


def test_caps_of_policy_and_strategy_hold() -> None:
    before = book(aave(0), blue(0), idle=10 * MILLION, caps={"aave:USDC": MILLION})
    assert dict(strategy().decide(before).targets)["aave:USDC"] <= MILLION
    capped = strategy(venue_caps_bps={"morpho:WETH": 500}).decide(before)
    assert dict(capped.targets)["morpho:WETH"] <= MILLION // 2


def test_a_venue_far_over_its_cap_must_shrink_and_one_just_over_may_stay() -> None:
    over = book(blue(5 * MILLION), idle=0, caps={"morpho:WETH": 4 * MILLION})
    assert dict(strategy().decide(over).targets) == {"morpho:WETH": 4 * MILLION}
    grown = book(blue(4 * MILLION + 10_000 * USDC), idle=0, caps={"morpho:WETH": 4 * MILLION})
    assert strategy().decide(grown).reason.startswith("Kept")


def test_a_cap_of_zero_stops_growth_and_forces_nothing() -> None:
    paused = book(blue(4 * MILLION), idle=6 * MILLION, caps={"morpho:WETH": 0})
    allocation = strategy().decide(paused)
    assert dict(allocation.targets) == {"morpho:WETH": 4 * MILLION}


def together(before: Book, most: int) -> Book:
    """The book with one risk id that all of its venues count under."""
    venues = tuple(before.allocation)
    live = sum(before.allocation.values())
    return replace(before, exposures=(Exposure("all", venues, live, live, live, most, 100 * MILLION),))


def test_a_cap_that_venues_share_is_filled_where_it_earns_most() -> None:
    free = book(aave(0), blue(0), idle=10 * MILLION)
    assert sum(dict(strategy().decide(free).targets).values()) == 10 * MILLION
    targets = dict(strategy().decide(together(free, 4 * MILLION)).targets)
    smaller = strategy().decide(book(aave(0), blue(0), idle=4 * MILLION))
    # As if no more were there to be lent.
    assert targets == dict(smaller.targets)
    assert sum(targets.values()) == 4 * MILLION
    assert all(targets.values())


def test_venues_far_over_their_shared_cap_must_shrink_and_just_over_it_may_stay() -> None:
    held = book(aave(2 * MILLION), blue(3 * MILLION), idle=0)
    allocation = strategy().decide(together(held, 4 * MILLION))
    assert sum(dict(allocation.targets).values()) == 4 * MILLION
    assert "aave:USDC and morpho:WETH hold 5,000,000.00 USDC, their cap is 4,000,000.00" in allocation.reason
    kept = strategy(min_gain_bps=1_000).decide(together(held, 5 * MILLION - USDC))
    assert kept.reason.startswith("Kept")
    # No room at all: what is there may stay, and move.
    closed = replace(together(held, 0), idle=MILLION)
    assert sum(dict(strategy().decide(closed).targets).values()) <= 5 * MILLION


def test_the_idle_share_is_kept() -> None:
    allocation = strategy(idle_bps=1_000).decide(book(blue(0), idle=10 * MILLION))
    assert allocation.total == 9 * MILLION


def test_a_venue_without_a_cap_is_refused() -> None:
    listed = book(aave(0), idle=MILLION)
    with pytest.raises(PolicyError, match="no cap"):
        strategy().decide(replace(listed, caps={}))


def test_an_empty_book_asks_for_nothing() -> None:
    allocation = strategy().decide(book(aave(0), idle=0))
    assert allocation.targets == (("aave:USDC", 0),)


def test_venues_that_share_a_market_are_judged_together() -> None:
    held = market(10 * MILLION, 9 * MILLION)
    direct = MorphoBluePosition(
        ref("morpho_blue", "morpho:WETH"), MorphoBlueParams(morpho=ONE, market=MARKET), PRICES, held, 0
    )
    shared = book(aave(0, others=12 * MILLION, debt=9 * MILLION), direct, meta(held), idle=6 * MILLION)
    quantum = 250_000 * USDC
    targets = dict(strategy(quantum=quantum, min_gain_bps=0).decide(shared).targets)

    def earned(assets: Mapping[str, int]) -> int:
        positions = shared.positions
        for venue, amount in assets.items():
            if amount:
                positions, _ = after_move(positions, venue, amount, AT)
        return sum(assets[p.ref.venue] * p.supply_rate(0, AT) for p in positions)

    steps = range(0, 6 * MILLION + 1, quantum)
    best = max(
        earned(dict(zip(targets, split, strict=True)))
        for split in product(steps, repeat=3)
        if sum(split) <= 6 * MILLION
    )
    assert earned(targets) * 1_000 >= best * 999
