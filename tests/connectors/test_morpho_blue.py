"""The Morpho Blue mirror against the deployed contract: every state equal to the wei, over random walks."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import Walk

from keeper.connectors.base import EVERYTHING, PositionRef, load
from keeper.connectors.morpho_blue import MorphoBluePosition
from keeper.connectors.morpho_math import adaptive_borrow_rate
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices
from keeper.units import Address

PARAMS = "(address,address,address,address,uint256)"
MARKET = "(uint128,uint128,uint128,uint128,uint128,uint128)"
SUPPLY = f"supply({PARAMS},uint256,uint256,address,bytes)"
WITHDRAW = f"withdraw({PARAMS},uint256,uint256,address,address)"
BORROW = f"borrow({PARAMS},uint256,uint256,address,address)"
REPAY = f"repay({PARAMS},uint256,uint256,address,bytes)"
FIELDS = ("loan_token", "collateral_token", "oracle", "irm", "lltv")


def reference(walk: Walk, name: str) -> PositionRef:
    morpho = walk.devnet.manifest["morpho"]
    market = morpho["markets"][name]
    return PositionRef(
        connector="morpho_blue",
        address=walk.devnet.address("user1"),
        key=bytes.fromhex(market["id"][2:]),
        venue=f"morpho:{name}",
        params={"morpho": morpho["address"], "market": {field: market[field] for field in FIELDS}},
    )


def words(ref: PositionRef) -> tuple[Any, ...]:
    return tuple(ref.params["market"][field] for field in FIELDS)


def position(walk: Walk, ref: PositionRef) -> MorphoBluePosition:
    # As in a vault of the market's own loan token.
    prices = Prices(Address(ref.params["market"]["loan_token"]), {})
    found = load("morpho_blue").position(ref, walk.read, prices, walk.now())
    assert isinstance(found, MorphoBluePosition)
    return found


def disturb(walk: Walk, ref: PositionRef) -> None:
    """One move of somebody else."""
    morpho, market = ref.params["morpho"], words(ref)
    lender, borrower = walk.devnet.address("lender"), walk.devnet.address("borrower")
    state = position(walk, ref).market
    moves = [
        ("lender", SUPPLY, (market, walk.amount(state.supply_assets // 4), 0, lender, b"")),
        ("lender", WITHDRAW, (market, walk.amount(state.liquidity + 1), 0, lender, lender)),
        ("borrower", BORROW, (market, walk.amount(state.liquidity + 1), 0, borrower, borrower)),
        ("borrower", REPAY, (market, walk.amount(state.borrow_assets // 4), 0, borrower, b"")),
    ]
    role, signature, args = moves[walk.draw(len(moves))]
    walk.send(role, morpho, signature, *args, at=walk.later())


def move(walk: Walk, ref: PositionRef, before: MorphoBluePosition) -> None:
    """One move of ours, predicted for its block and compared with what Morpho then stores."""
    morpho, market, holder = ref.params["morpho"], words(ref), ref.address
    at = walk.later()
    value, most = before.report(at).low, before.max_withdraw(at)
    if most == 0 or walk.draw(2):
        delta = walk.amount(walk.balance(market[0], holder) // 4)
        predicted = before.after_supply(delta, at)
        assert walk.send("user1", morpho, SUPPLY, market, delta, 0, holder, b"", at=at)
    elif walk.draw(4) == 0 and most == value:
        predicted, received = before.after_withdraw(EVERYTHING, at)
        delta = -received
        assert received == value
        assert walk.send("user1", morpho, WITHDRAW, market, 0, before.shares, holder, holder, at=at)
    else:
        delta = -walk.amount(most)
        predicted, _ = before.after_withdraw(-delta, at)
        assert walk.send("user1", morpho, WITHDRAW, market, -delta, 0, holder, holder, at=at)
    after = position(walk, ref)
    assert after == predicted
    assert before.supply_rate(delta, at) == after.supply_rate(0, at)


def check_views(walk: Walk, ref: PositionRef, before: MorphoBluePosition) -> None:
    """Value and borrow rate some time later, against what the contracts answer then."""
    morpho, market, holder = ref.params["morpho"], words(ref), ref.address
    at = walk.devnet.warp(1 + walk.draw(10**6))
    stored = before.market
    rate, _ = adaptive_borrow_rate(
        stored.supply_assets, stored.borrow_assets, stored.rate_at_target, at - stored.last_update
    )
    raw = walk.view(morpho, "market(bytes32)", (ref.key,), MARKET)
    assert rate == walk.view(market[3], f"borrowRateView({PARAMS},{MARKET})", (market, raw), "(uint256)")
    if before.shares and before.max_withdraw(at) == before.report(at).low:
        # What a full exit pays now is what the position is worth now.
        exit_ = (market, 0, before.shares, holder, holder)
        paid, _ = walk.view(morpho, WITHDRAW, exit_, "(uint256,uint256)", sender=holder)
        assert before.report(at).low == before.report(at).high == paid


@pytest.mark.parametrize(("name", "states"), [("WETH/USDC", 100), ("wstETH/USDC", 30), ("wstETH/WETH", 30)])
def test_value_rates_and_moves_equal_morphos_to_the_wei(walk: Walk, name: str, states: int) -> None:
    ref = reference(walk, name)
    token = Address(ref.params["market"]["loan_token"])
    for role in ("user1", "borrower"):
        walk.fund(role, token, ref.params["morpho"])
    for _ in range(states):
        disturb(walk, ref)
        before = position(walk, ref)
        check_views(walk, ref, before)
        try:
            move(walk, ref, before)
        except PlanError:
            # A share has come to be worth more than a unit: our connector then refuses what Morpho takes.
            assert before.market.assets_down(1)
    assert {"supply", "withdraw", "borrow", "repay"} <= set(walk.done)
    assert walk.refused < states // 2


def test_a_market_that_nobody_borrows_from_still_adapts_its_rate(walk: Walk) -> None:
    ref = reference(walk, "WETH/USDC")
    market, borrower = words(ref), walk.devnet.address("borrower")
    walk.fund("borrower", market[0], ref.params["morpho"])
    shares = walk.view(
        ref.params["morpho"], "position(bytes32,address)", (ref.key, borrower), "(uint256,uint128,uint128)"
    )[1]
    assert walk.send(
        "borrower", ref.params["morpho"], REPAY, market, 0, shares, borrower, b"", at=walk.now() + 60
    )
    before = position(walk, ref)
    at = walk.now() + 10**6
    assert before.supply_rate(0, at) == 0
    walk.fund("user1", market[0], ref.params["morpho"])
    predicted = before.after_supply(10**9, at)
    assert walk.send("user1", ref.params["morpho"], SUPPLY, market, 10**9, 0, ref.address, b"", at=at)
    assert position(walk, ref) == predicted
    assert predicted.market.rate_at_target < before.market.rate_at_target


def test_more_than_the_market_holds_is_refused(walk: Walk) -> None:
    ref = reference(walk, "WETH/USDC")
    walk.fund("user1", ref.params["market"]["loan_token"], ref.params["morpho"])
    at = walk.now() + 1
    assert walk.send("user1", ref.params["morpho"], SUPPLY, words(ref), 10**13, 0, ref.address, b"", at=at)
    lender = walk.devnet.address("lender")
    free = position(walk, ref).market.liquidity
    args = (words(ref), free - 10**12, 0, lender, lender)
    assert walk.send("lender", ref.params["morpho"], WITHDRAW, *args, at=at + 12)
    stuck = position(walk, ref)
    most = stuck.max_withdraw(at + 24)
    assert most == 10**12
    with pytest.raises(PlanError, match="refuse"):
        stuck.after_withdraw(most + 1, at + 24)
    args = (words(ref), most + 1, 0, ref.address, ref.address)
    assert not walk.send("user1", ref.params["morpho"], WITHDRAW, *args, at=at + 24)


def test_who_owns_nearly_all_of_a_market_can_leave(walk: Walk) -> None:
    ref = reference(walk, "WETH/USDC")
    morpho, market, holder = ref.params["morpho"], words(ref), ref.address
    walk.fund("user1", market[0], morpho)
    scaled = 0
    for _ in range(6):
        most = walk.balance(market[0], holder)
        assert walk.send("user1", morpho, SUPPLY, market, most, 0, holder, b"", at=walk.later())
        before, at = position(walk, ref), walk.now() + 10**6
        predicted, received = before.after_withdraw(EVERYTHING, at)
        assert walk.send("user1", morpho, WITHDRAW, market, 0, before.shares, holder, holder, at=at)
        assert (position(walk, ref), received) == (predicted, before.report(at).low)
        # The rounding of what is left, for as many shares as have left it.
        scaled += predicted.market.assets_down(before.shares) > received + 1
    assert scaled


def test_a_key_that_is_not_the_markets_id_is_refused(walk: Walk) -> None:
    ref = reference(walk, "WETH/USDC")
    with pytest.raises(ValuationError, match="Market id differs"):
        walk.position(replace(ref, key=reference(walk, "wstETH/USDC").key))


def test_the_reads_are_stored_state_only(walk: Walk) -> None:
    calls = load("morpho_blue").calls(reference(walk, "WETH/USDC"))
    assert [call.label.partition("(")[0] for call in calls] == [
        "Morpho.market",
        "Morpho.position",
        "AdaptiveCurveIrm.rateAtTarget",
    ]
