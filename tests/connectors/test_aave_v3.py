"""The Aave v3 mirror against the deployed pool: every state equal to the wei, over random walks."""

from dataclasses import replace

import pytest
from conftest import Walk

from keeper.connectors.aave_v3 import AavePosition, AaveV3
from keeper.connectors.base import EVERYTHING, PositionRef, Report, key_of
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices, RouteRate, Status
from keeper.units import Address

SUPPLY = "supply(address,uint256,address,uint16)"
WITHDRAW = "withdraw(address,uint256,address)"
BORROW = "borrow(address,uint256,uint256,uint16,address)"
REPAY = "repay(address,uint256,uint256,address)"
VARIABLE = 2


def reference(walk: Walk, symbol: str) -> PositionRef:
    aave = walk.devnet.manifest["aave"]
    reserve = aave["reserves"][symbol]
    return PositionRef(
        connector="aave_v3",
        address=walk.devnet.address("user1"),
        key=key_of(reserve["asset"]),
        venue=f"aave:{symbol}",
        params={
            "pool": aave["pool"],
            "asset": reserve["asset"],
            "a_token": reserve["a_token"],
            "variable_debt_token": reserve["variable_debt_token"],
            "rate_strategy": aave["rate_strategy"],
        },
    )


def position(walk: Walk, ref: PositionRef) -> AavePosition:
    """The mirror at the head, for a vault of the reserve's own asset."""
    prices = Prices(Address(ref.params["asset"]), {})
    found = AaveV3().position(ref, walk.read, prices, walk.now())
    assert isinstance(found, AavePosition)
    return found


def disturb(walk: Walk, ref: PositionRef) -> None:
    """One move of somebody else, or a pause."""
    pool, asset = ref.params["pool"], ref.params["asset"]
    lender, borrower = walk.devnet.address("lender"), walk.devnet.address("borrower")
    liquidity = position(walk, ref).reserve.virtual_balance
    moves = [
        ("lender", SUPPLY, (asset, walk.amount(liquidity), lender, 0)),
        ("lender", WITHDRAW, (asset, walk.amount(liquidity // 2), lender)),
        ("borrower", BORROW, (asset, walk.amount(liquidity // 2), VARIABLE, 0, borrower)),
        ("borrower", REPAY, (asset, walk.amount(liquidity), VARIABLE, borrower)),
    ]
    role, signature, args = moves[walk.draw(len(moves))]
    walk.send(role, pool, signature, *args, at=walk.later())


def move(walk: Walk, ref: PositionRef, before: AavePosition) -> None:
    """One move of ours, predicted for its block and compared with what the pool then stores."""
    pool, asset, holder = ref.params["pool"], ref.params["asset"], ref.address
    at = walk.later()
    leaving = before.scaled and walk.draw(2)
    if not leaving:
        # Ten units at least: less than an index's worth mints nothing, and the pool refuses that.
        delta = 10 + walk.amount(walk.balance(asset, holder) // 4)
        predicted = before.after_supply(delta, at)
        assert walk.send("user1", pool, SUPPLY, asset, delta, holder, 0, at=at)
    else:
        most = before.max_withdraw(at)
        everything = walk.draw(4) == 0 and most == before.report(at).low
        assets = EVERYTHING if everything else walk.amount(most)
        predicted, received = before.after_withdraw(assets, at)
        delta = -received
        assert walk.send("user1", pool, WITHDRAW, asset, assets, holder, at=at)
    after = position(walk, ref)
    assert after == predicted
    assert before.supply_rate(delta, at) == after.reserve.liquidity_rate // 10**9


@pytest.mark.parametrize(("symbol", "states"), [("USDC", 100), ("WETH", 25), ("WBTC", 25)])
def test_value_rates_and_moves_equal_the_pools_to_the_wei(walk: Walk, symbol: str, states: int) -> None:
    ref = reference(walk, symbol)
    token = Address(ref.params["asset"])
    for role in ("user1", "lender", "borrower"):
        walk.fund(role, token, ref.params["pool"])
    for _ in range(states):
        disturb(walk, ref)
        before = position(walk, ref)
        at = walk.devnet.warp(1 + walk.draw(10**6))
        balance = walk.view(ref.params["a_token"], "balanceOf(address)", (ref.address,), "(uint256)")
        assert before.report(at).low == before.report(at).high == balance
        income = walk.view(ref.params["pool"], "getReserveNormalizedIncome(address)", (token,), "(uint256)")
        assert before.reserve.income_index(at) == income
        move(walk, ref, before)
    # The walk went through every kind of move, and most of them took place.
    assert {"supply", "withdraw", "borrow", "repay"} <= set(walk.done)
    assert walk.refused < states // 2


def test_max_supply_is_the_last_amount_under_the_cap(walk: Walk) -> None:
    ref = reference(walk, "USDC")
    before = position(walk, ref)
    tokens = walk.view(ref.params["a_token"], "totalSupply()", (), "(uint256)")
    cap = tokens // 10**6 + 1_000
    configurator = walk.devnet.manifest["aave"]["configurator"]
    assert walk.send(
        "deployer",
        configurator,
        "setSupplyCap(address,uint256)",
        ref.params["asset"],
        cap,
        at=walk.now() + 1,
    )
    walk.fund("user1", ref.params["asset"], ref.params["pool"])
    capped = position(walk, ref)
    at = walk.now() + 100
    most = capped.max_supply(at)
    assert 0 < most < before.max_supply(at)
    with pytest.raises(PlanError, match="refuse"):
        capped.after_supply(most + 1, at)
    args = (ref.params["asset"], most + 1, ref.address, 0)
    assert not walk.send("user1", ref.params["pool"], SUPPLY, *args, at=at)
    at = walk.now() + 100
    args = (ref.params["asset"], capped.max_supply(at), ref.address, 0)
    assert walk.send("user1", ref.params["pool"], SUPPLY, *args, at=at)


def test_params_that_name_another_token_are_refused(walk: Walk) -> None:
    ref = reference(walk, "USDC")
    other = reference(walk, "DAI")
    mixed = replace(ref, params={**ref.params, "a_token": other.params["a_token"]})
    with pytest.raises(ValuationError, match="aToken of the reserve differs"):
        walk.position(mixed)


def test_a_flash_loan_feeds_the_treasury_and_liquidity_but_not_the_index(walk: Walk) -> None:
    ref = reference(walk, "USDC")
    pool, asset = ref.params["pool"], Address(ref.params["asset"])
    premium, amount = 9, 12_345_678_901_234
    configurator = walk.devnet.manifest["aave"]["configurator"]
    walk.send("deployer", configurator, "updateFlashloanPremium(uint128)", premium, at=walk.now() + 1)
    walk.fund("user2", asset, pool)
    receiver = walk.devnet.address("user2")
    # From here on the account answers every call with one word, 1: it lets the pool take back its loan.
    walk.devnet.rpc("anvil_setCode", receiver, "0x600160005260206000f3")
    before = position(walk, ref).reserve
    at = walk.now() + 100_000
    signature = "flashLoanSimple(address,address,uint256,bytes,uint16)"
    assert walk.send("lender", pool, signature, receiver, asset, amount, b"", 0, at=at)
    after = position(walk, ref).reserve
    assert after == before.flash_loan(amount, premium, at)
    untouched = before.accrue(at)
    assert after.liquidity_index == untouched.liquidity_index
    assert after.virtual_balance - untouched.virtual_balance == -(-amount * premium // 10_000)
    assert after.accrued_to_treasury > untouched.accrued_to_treasury
    assert after.liquidity_rate < untouched.liquidity_rate


def test_a_key_without_a_price_route_has_no_value(walk: Walk) -> None:
    ref = reference(walk, "WETH")
    walk.fund("user1", ref.params["asset"], ref.params["pool"])
    pool, asset = ref.params["pool"], ref.params["asset"]
    prices = Prices(Address(reference(walk, "USDC").params["asset"]), {})
    empty = AaveV3().position(ref, walk.read, prices, walk.now())
    assert empty.report(walk.now()) == Report(0, 0)
    assert walk.send("user1", pool, SUPPLY, asset, 10**18, ref.address, 0, at=walk.now() + 1)
    held = AaveV3().position(ref, walk.read, prices, walk.now())
    with pytest.raises(ValuationError, match="no price route"):
        held.report(walk.now())
    rate = RouteRate(3 * 10**30, 4 * 10**30, Status.STALE)
    priced = AaveV3().position(ref, walk.read, Prices(prices.asset, {asset: rate}), walk.now())
    balance = priced.legs(walk.now())[0].amount
    assert priced.report(walk.now()) == Report(balance * 3 // 10**10, -(-balance * 4 // 10**10), Status.STALE)


def test_a_full_exit_takes_what_is_at_hand_and_leaves_the_rest(walk: Walk) -> None:
    ref = reference(walk, "USDC")
    pool, asset = ref.params["pool"], Address(ref.params["asset"])
    walk.fund("user1", asset, pool)
    amount = walk.balance(asset, ref.address)
    assert walk.send("user1", pool, SUPPLY, asset, amount, ref.address, 0, at=walk.now() + 1)
    before = position(walk, ref)
    at = walk.now() + 10
    scarce = replace(before, reserve=replace(before.reserve, virtual_balance=amount // 3))
    left, received = scarce.after_withdraw(EVERYTHING, at)
    assert received == amount // 3
    assert left.reserve.virtual_balance == 0
    assert 0 < left.report(at).low <= before.report(at).low - received
    whole, received = before.after_withdraw(EVERYTHING, at)
    assert (whole.scaled, received) == (0, before.report(at).low)


def test_an_account_without_code_in_the_params_is_a_failed_read(walk: Walk) -> None:
    ref = reference(walk, "USDC")
    stranger = walk.devnet.address("user3")
    wrong = replace(ref, params={**ref.params, "rate_strategy": stranger})
    with pytest.raises(ValuationError, match="read that the value rests on failed"):
        walk.position(wrong)
    wrong = replace(ref, params={**ref.params, "decimals": 18})
    with pytest.raises(ValuationError, match="Decimals of the reserve"):
        walk.position(wrong)
