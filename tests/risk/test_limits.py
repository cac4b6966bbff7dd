"""The vectors of the requirements R01 to R29 that the book alone decides, each under its number."""

from dataclasses import replace
from typing import Any

import pytest
from planning.examples import AT, UNIT, account, example_basis, example_policy, holding, policy_sections
from risk.books import MILLION, book, policy, position

from keeper.book import Book
from keeper.config import parse
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import address
from keeper.errors import ConfigError, PolicyError
from keeper.oracle.quote import Status
from keeper.planning.build import build_batch
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import BatchTerms, Plan
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation
from keeper.risk import limits
from keeper.risk.slots import REQUIREMENTS, RiskPolicy


def batch(rules: Policy, *moves: tuple[str, int], idle: int = 0) -> Plan:
    """A plan that moves so much into venues, or out where negative, and leaves `idle`."""
    basis, calls = example_basis(), []
    for venue, assets in moves:
        entry = rules.position(venue)
        said = {"target": entry.address, "venue": venue, "key": entry.key, "assets": abs(assets)}
        make = PlannedCall.supply if assets > 0 else PlannedCall.withdraw
        calls.append(make(token=rules.vault.asset, **said))
    return Plan(
        vault=rules.vault.vault,
        chain_id=rules.vault.chain_id,
        snapshot_hash=basis.snapshot_hash,
        blocks=basis.blocks,
        reference_time=basis.reference_time,
        policy_hash=rules.hash,
        code=basis.code,
        signer_set_version=1,
        valid_after=basis.reference_time,
        valid_until=basis.reference_time + rules.time.validity,
        terms=BatchTerms(
            nonce_key=0,
            nonce=1,
            executor=account(0),
            calls=tuple(calls),
            predicted=(("idle", idle),),
            predicted_until=(("idle", idle),),
            min_nav_after=0,
            max_loss=0,
        ),
    )


def found(seen: Book, rules: Policy, plan: Plan | None = None) -> list[tuple[str, str]]:
    return [(each.requirement, each.where) for each in limits.check(seen, rules, plan)]


def in_doubt(rules: Policy, status: Status) -> Book:
    """A book whose position A has a price nobody may use for new risk."""
    a = position(rules, "morpho:A", 10 * MILLION)
    return book(
        replace(a, stated=replace(a.stated, status=status)),
        position(rules, "morpho:B", 10 * MILLION),
        idle=MILLION,
    )


# R01


def test_R01_530_borrowed_on_reserves_of_170_is_refused_at_any_configuration() -> None:
    for slots in ({}, {"R01": {"max_bps": 40_000}}):
        rules = policy(**slots)
        looped = book(
            position(rules, "morpho:A", 170 * MILLION, debt=530 * MILLION), position(rules, "morpho:B", 0)
        )
        assert found(looped, rules) == [("R01", "vault")]
        assert "4.1176 (700,000,000,000,000 over 170,000,000,000,000)" in str(limits.check(looped, rules)[0])


def test_R01_twice_the_equity_is_allowed_and_a_unit_more_is_not() -> None:
    rules = example_policy()
    for debt, breaches in ((100 * MILLION, []), (100 * MILLION + 1, [("R01", "vault")])):
        positions = position(rules, "morpho:A", 60 * MILLION, debt=debt), position(rules, "morpho:B", 0)
        assert found(book(*positions, idle=40 * MILLION), rules) == breaches


def test_R01_gross_assets_over_no_equity_are_refused() -> None:
    rules = example_policy()
    assert found(book(position(rules, "morpho:A", 0, debt=1), position(rules, "morpho:B", 0)), rules) == [
        ("R01", "vault")
    ]


def test_R01_no_file_may_say_more_than_four() -> None:
    policy(R01={"max_bps": 40_000})
    with pytest.raises(ConfigError, match=r"R01\.max_bps"):
        policy(R01={"max_bps": 40_001})


# R04


def test_R04_520_claimed_against_160_is_an_alert_at_once_with_gross_beside_net() -> None:
    rules = policy(R04={"tolerance_bps": 100})
    positions = position(rules, "morpho:A", 160 * MILLION, debt=10 * MILLION), position(rules, "morpho:B", 0)
    assert found(book(*positions, claimed=520 * MILLION), rules) == [("R04", "vault")]
    said = str(limits.check(book(*positions, claimed=520 * MILLION), rules)[0])
    assert "160,000,000,000,000 net" in said
    assert "520,000,000,000,000 claimed, gross 170,000,000,000,000" in said
    assert found(book(*positions, claimed=161_600_000 * UNIT), rules) == []
    assert found(book(*positions, claimed=161_600_000 * UNIT + 1), rules) == [("R04", "vault")]


# R07


def market_id(entry: dict[str, Any]) -> str:
    return "0x" + MarketParams(**entry["params"]["market"]).id.hex()


def test_R07_a_position_in_an_unlisted_market_is_refused_with_the_file() -> None:
    listed = [market_id(each) for each in policy_sections()["positions"]]
    policy(R07={"ids": listed})
    with pytest.raises(ConfigError, match=rf"morpho:A.*{listed[0]}.*{listed[1]}"):
        policy(R07={"ids": listed[:1]})


def test_R07_markets_behind_a_vault_are_looked_at_too() -> None:
    sections = policy_sections()
    markets = [each["params"].pop("market") for each in sections["positions"]]
    sections["positions"][0]["params"]["markets"] = markets
    ids = ["0x" + MarketParams(**each).id.hex() for each in markets]
    parse(sections | {"risk": {"R07": {"ids": ids}}}, Policy)
    with pytest.raises(ConfigError, match=ids[1]):
        parse(sections | {"risk": {"R07": {"ids": ids[:1]}}}, Policy)


def test_R07_a_plan_into_another_key_is_a_breach() -> None:
    rules = policy(R07={"ids": [market_id(each) for each in policy_sections()["positions"]]})
    seen = book(position(rules, "morpho:A", MILLION), position(rules, "morpho:B", MILLION), idle=MILLION)
    plan = batch(rules, ("morpho:A", MILLION))
    assert found(seen, rules, plan) == []
    (call,) = plan.batch.calls
    other = PlannedCall.supply(
        target=call.target, token=call.token, venue=call.venue, key=b"\x09" * 32, assets=call.amount
    )
    assert found(seen, rules, replace(plan, terms=replace(plan.batch, calls=(other,)))) == [
        ("R07", "morpho:A")
    ]


# R08


def test_R08_an_oracle_that_stands_still_halts_new_risk_and_no_exit() -> None:
    rules = policy(R08={})
    seen = in_doubt(rules, Status.CONSTANT)
    with pytest.raises(PolicyError, match=r"R08 \[morpho:A\]: expected OK, saw CONSTANT"):
        limits.allowed(seen, rules, batch(rules, ("morpho:B", MILLION)))
    leaving = batch(rules, ("morpho:A", -MILLION))
    assert limits.allowed(seen, rules, leaving) is leaving


def test_R08_what_rests_on_a_quarantined_oracle_may_not_grow() -> None:
    oracle = policy_sections()["positions"][1]["params"]["market"]["oracle"]
    rules = policy(R08={"quarantined": [oracle]})
    seen = book(position(rules, "morpho:A", MILLION), position(rules, "morpho:B", MILLION), idle=MILLION)
    assert found(seen, rules, batch(rules, ("morpho:A", MILLION))) == [("R08", "morpho:A")]
    assert found(seen, rules, batch(rules, ("morpho:B", MILLION))) == []


def test_R08_an_oracle_is_the_same_however_it_is_written() -> None:
    sections, oracle = policy_sections(), "0x" + "ab" * 20
    sections["positions"][1]["params"]["market"]["oracle"] = oracle
    sections["caps"] = dict.fromkeys(sections["caps"], 10**9 * MILLION)
    rules = parse(sections | {"risk": {"R08": {"quarantined": [address(oracle)]}}}, Policy)
    seen = book(position(rules, "morpho:A", MILLION), position(rules, "morpho:B", MILLION), idle=MILLION)
    assert found(seen, rules, batch(rules, ("morpho:A", MILLION))) == [("R08", "morpho:A")]


# R09


@pytest.mark.parametrize(
    "status", [Status.DIVERGED, Status.UNAVAILABLE, Status.SEQUENCER_DOWN, Status.MARKET_CLOSED]
)
def test_R09_sources_that_diverge_halt_risk_in_every_venue(status: Status) -> None:
    rules = policy(R09={"max_tolerance_bps": 200})
    seen = in_doubt(rules, status)
    for venue in ("morpho:A", "morpho:B"):
        with pytest.raises(PolicyError, match=rf"R09 \[morpho:A\].*{status.name}"):
            limits.allowed(seen, rules, batch(rules, (venue, MILLION)))
    assert found(in_doubt(rules, Status.OK), rules) == []


# R14


def test_R14_65_percent_in_one_counterparty_is_refused() -> None:
    rules = policy(R14={"max_bps": {"morpho:A": 6_000}})
    seen = book(
        position(rules, "morpho:A", 50 * MILLION),
        position(rules, "morpho:B", 10 * MILLION),
        idle=40 * MILLION,
    )
    assert found(seen, rules) == []
    with pytest.raises(
        PolicyError, match=r"R14 \[morpho:A\]: expected at most 60.00 %, saw 65,000,000,000,000 of"
    ):
        limits.allowed(seen, rules, batch(rules, ("morpho:A", 15 * MILLION), idle=25 * MILLION))
    exact = batch(rules, ("morpho:A", 10 * MILLION), idle=30 * MILLION)
    assert limits.allowed(seen, rules, exact) is exact


def test_R14_counts_debts_in_and_names_only_risk_ids_of_the_policy() -> None:
    rules = policy(R14={"max_bps": {"morpho:A": 6_000}})
    seen = book(
        position(rules, "morpho:A", 50 * MILLION, debt=15 * MILLION),
        position(rules, "morpho:B", 50 * MILLION),
    )
    assert found(seen, rules) == [("R14", "morpho:A")]
    with pytest.raises(ConfigError, match="saw casino"):
        policy(R14={"max_bps": {"casino": 1}})


# R23


def test_R23_a_block_past_its_age_limit_takes_no_new_risk_and_exits_go_on() -> None:
    rules = policy(R23={"max_block_age": {"31337": 60}})
    seen = book(position(rules, "morpho:A", MILLION), position(rules, "morpho:B", MILLION), idle=MILLION)
    fresh = batch(rules, ("morpho:A", MILLION))
    silent = replace(fresh, reference_time=AT + 61)
    assert limits.allowed(seen, rules, replace(fresh, reference_time=AT + 60))
    with pytest.raises(PolicyError, match=r"R23 \[chain 31337\]: expected at most 60 s, saw 61 s"):
        limits.allowed(seen, rules, silent)
    assert limits.allowed(
        seen, rules, replace(batch(rules, ("morpho:A", -MILLION)), reference_time=AT + 10**6)
    )
    with pytest.raises(ConfigError, match="A chain without an age limit"):
        policy(R23={"max_block_age": {"1": 60}})


def test_R23_staleness_only_adds_breaches() -> None:
    rules = policy(R23={"max_block_age": {"31337": 60}}, R14={"max_bps": {"morpho:A": 5_000}})
    plan = batch(rules, ("morpho:A", MILLION))
    before: set[tuple[str, str]] = set()
    for seen, age in (
        (in_doubt(rules, Status.OK), 0),
        (in_doubt(rules, Status.STALE), 0),
        (in_doubt(rules, Status.STALE), 99),
    ):
        now = set(found(seen, rules, replace(plan, reference_time=AT + age)))
        assert now > before
        before = now


# R26


def test_R26_a_ladder_with_5_percent_within_a_day_is_refused() -> None:
    rules = policy(R26={"daily_bps": 1_000})
    positions = (
        position(rules, "morpho:A", 90 * MILLION, free=0),
        position(rules, "morpho:B", 5 * MILLION, free=0),
    )
    seen = book(*positions, idle=5 * MILLION)
    assert found(seen, rules) == [("R26", "vault")]
    assert str(limits.check(seen, rules)[0]).endswith(
        "expected 10,000,000,000,000 within a day, saw 5,000,000,000,000"
    )
    for free, breaches in ((5 * MILLION, []), (5 * MILLION - 1, [("R26", "vault")])):
        freed = book(positions[0], replace(positions[1], free=free), idle=5 * MILLION)
        assert found(freed, rules) == breaches


def test_R26_an_allocation_the_queue_cannot_fund_is_refused() -> None:
    rules = policy(R26={"daily_bps": 1_000})
    positions = position(rules, "morpho:A", 80 * MILLION, free=0), position(rules, "morpho:B", 0, free=0)
    seen = book(*positions, idle=20 * MILLION, reserve=15 * MILLION)
    assert found(seen, rules) == []
    with pytest.raises(PolicyError, match="R26"):
        limits.allowed(seen, rules, batch(rules, ("morpho:A", 6 * MILLION), idle=14 * MILLION))


def test_R26_a_venue_with_a_week_of_notice_frees_nothing_within_a_day() -> None:
    for seconds, breaches in ((86_400, []), (7 * 86_400, [("R26", "vault")])):
        rules = policy(R26={"daily_bps": 1_000, "notice": {"morpho:A": seconds}})
        seen = book(position(rules, "morpho:A", 100 * MILLION), position(rules, "morpho:B", 0))
        assert found(seen, rules) == breaches


def test_R26_cash_of_a_real_market_counts_as_far_as_it_is_not_lent_out() -> None:
    rules = policy(R26={"daily_bps": 1_000})
    for lent, breaches in ((0, []), (1_999_999 * UNIT, [("R26", "vault")])):
        held = holding(rules, {"morpho:A": 1_000_000 * UNIT, "morpho:B": 0}, 0, lent_out=0)
        market = replace(held.positions[0].market, borrow_assets=lent, borrow_shares=lent * 10**6)
        lending = replace(held.positions[0], market=market)
        assert found(book(lending, held.positions[1]), rules) == breaches


# R29


def regimes(**rows: dict[str, int]) -> dict[str, Any]:
    names = sorted(rows)
    return {
        "weights": rows,
        "ranges": [{"low": 50 * i, "high": 50 * (i + 1), "regime": name} for i, name in enumerate(names)],
    }


def test_R29_a_row_that_sums_to_105_is_refused() -> None:
    rows = {"risk_off": {"a": 80, "b": 20}, "risk_on": {"a": 60, "b": 40}}
    policy(R29=regimes(**rows))
    with pytest.raises(ConfigError, match="the weights of risk_on sum to 105, not to 100"):
        policy(R29=regimes(**rows | {"risk_on": {"a": 65, "b": 40}}))


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (((0, 51), (50, 100)), "ranges overlap from 50 to 51"),
        (((0, 49), (50, 100)), "no range covers 49 to 50"),
        (((50, 100), (0, 49)), "no range covers 49 to 50"),
        (((0, 0), (0, 100)), "the range 0 to 0 is empty"),
    ],
)
def test_R29_ranges_neither_overlap_nor_leave_holes(bounds: tuple[tuple[int, int], ...], says: str) -> None:
    slot = regimes(a={"x": 100}, b={"x": 100})
    slot["ranges"] = [
        {"low": low, "high": high, "regime": name} for (low, high), name in zip(bounds, "ab", strict=True)
    ]
    with pytest.raises(ConfigError, match=says):
        policy(R29=slot)


# THE TABLE


@pytest.mark.parametrize("slot", sorted(set(REQUIREMENTS) - set(RiskPolicy.model_fields)))
def test_a_slot_that_nothing_enforces_is_refused_and_not_ignored(slot: str) -> None:
    with pytest.raises(ConfigError, match=rf"{slot} \({REQUIREMENTS[slot]}\) is not yet enforced"):
        policy(**{slot: {}})


def test_every_requirement_has_a_slot_and_every_slot_counts_in_the_hash() -> None:
    assert list(REQUIREMENTS) == [f"R{n:02d}" for n in range(1, 30)]
    assert policy(R08={}).hash != policy().hash != policy(R01={"max_bps": 15_000}).hash


def test_a_plan_that_the_builder_makes_is_judged_where_it_ends() -> None:
    rules = policy(R14={"max_bps": {"morpho:A": 5_000}})
    held = holding(rules, {"morpho:A": 1_000 * UNIT, "morpho:B": 4_000 * UNIT}, 1_000 * UNIT)
    seen = book(*held.positions, idle=held.idle)
    for share, breaches in ((2_999, []), (3_001, [("R14", "morpho:A")])):
        wanted = Allocation.of({"morpho:A": share * UNIT, "morpho:B": (6_000 - share) * UNIT}, "")
        plan = build_batch(rules, held, wanted, example_basis())
        assert found(seen, rules, plan) == breaches
