"""Moves of a connector with debts at the real pool: what is predicted is what the pool then stores."""

from dataclasses import replace
from typing import Any

import pytest
from aave_stage import (
    BORROW,
    BORROWABLE,
    ETHER,
    KEYS,
    MIN_HEALTH,
    REPAY,
    SUPPLY,
    USDC,
    WITHDRAW,
    Stage,
    enter_modes,
    indebted,
    key,
    stage,
)
from aave_states import RESERVES, slot
from conftest import Walk

from keeper.connectors.aave_lending import AaveAccountPosition
from keeper.connectors.base import EVERYTHING, Report, Role, key_of
from keeper.errors import PlanError
from keeper.units import MAX_UINT256, WAD

MOVES = 60


def after(staged: Stage, before: AaveAccountPosition, action: str, symbol: str, amount: int, at: int) -> Any:
    """The predicted position, or None where the mirror refuses."""
    asset = staged.asset(symbol)
    try:
        if action == SUPPLY:
            return before.after_supply(amount, at)
        if action == WITHDRAW:
            return before.after_withdraw(amount, at)[0]
        if action == BORROW:
            return before.after_borrow(asset, amount, at)
        return before.after_repay(asset, amount, at)[0]
    except PlanError:
        return None


def told(staged: Stage, symbol: str) -> Report:
    """What the connector reports of a key at the head."""
    call = staged.report_calls()[staged.keys.index(symbol)]
    return staged.reported(staged.ask([call], staged.walk.now()).read(call))


def drawn(walk: Walk, before: AaveAccountPosition, staged: Stage) -> tuple[str, str, int]:
    """An action, the reserve it is of, and an amount that is sometimes too much."""
    action = (SUPPLY, WITHDRAW, BORROW, BORROW, REPAY)[walk.draw(5)]
    if action in (SUPPLY, WITHDRAW):
        symbol = "WETH" if before.params.asset == staged.asset("WETH") else "USDC"
        most = {"WETH": 50 * ETHER, "USDC": 100_000 * USDC}[symbol]
    else:
        symbol = BORROWABLE[walk.draw(2)]
        most = {"USDC": 100_000 * USDC, "DAI": 100_000 * ETHER}[symbol]
    if action == WITHDRAW and walk.draw(4) == 0:
        return action, symbol, EVERYTHING
    if action == WITHDRAW and walk.draw(3) == 0:
        return action, symbol, max(1, before.max_withdraw(walk.now()) - walk.draw(3))
    return action, symbol, 10 + walk.amount(most)


def disturb(walk: Walk, staged: Stage) -> None:
    """Somebody else borrows or repays; and now and then the account changes its mode or collateral."""
    pool, asset = staged.aave["pool"], staged.asset(BORROWABLE[walk.draw(2)])
    borrower = walk.devnet.address("borrower")
    amount = walk.amount(10**12)
    if walk.draw(2):
        signature = "borrow(address,uint256,uint256,uint16,address)"
        walk.send("borrower", pool, signature, asset, amount, 2, 0, borrower, at=walk.later())
    else:
        signature = "repay(address,uint256,uint256,address)"
        walk.send("borrower", pool, signature, asset, amount, 2, borrower, at=walk.later())
    if walk.draw(8) == 0:
        staged.act("setEMode(uint8)", walk.draw(2), at=walk.now() + 1)
    if walk.draw(8) == 0:
        used = bool(walk.draw(2))
        staged.act("setCollateral(bytes32,bool)", key(staged, KEYS[walk.draw(2)]), used, at=walk.now() + 1)


def configuration(staged: Stage, symbol: str) -> int:
    """The word of a reserve's terms."""
    asked = staged.aave["pool"], "getConfiguration(address)", (staged.asset(symbol),), "(uint256)"
    return int(staged.walk.view(*asked))


def configure(staged: Stage, symbol: str, word: int) -> None:
    """Puts other terms where the pool keeps a reserve's."""
    place = f"0x{slot(RESERVES, staged.asset(symbol)):064x}"
    staged.walk.devnet.rpc("anvil_setStorageAt", staged.aave["pool"], place, f"0x{word:064x}")


def govern_reserves(walk: Walk, staged: Stage, words: dict[str, int]) -> None:
    """Other terms for the reserves in play: flags, caps, isolation, a loan to value of 0."""

    def one_in(times: int) -> bool:
        return walk.draw(times) == 0

    for symbol, word in words.items():
        for bit, odds in ((56, 40), (57, 12), (58, 12), (60, 12), (61, 2), (62, 8)):
            word ^= int(one_in(odds)) << bit
        if one_in(8):
            word &= ~0xFFFF
        for bit, width, odds, most in ((80, 36, 6, 10**8), (116, 36, 6, 10**9), (212, 40, 4, 10**8)):
            limit = walk.amount(most) if one_in(odds) else 0
            word = word & ~((1 << width) - 1 << bit) | limit << bit
        configure(staged, symbol, word)


def walk_account(walk: Walk, moves: int, *, governed: bool) -> None:
    """So many moves, each predicted before and compared with the whole account after."""
    staged = stage(walk, KEYS, BORROWABLE, rewarded=True)
    enter_modes(walk, staged)
    staged.give("WETH", 2_000 * ETHER)
    staged.give("USDC", 5_000_000 * USDC)
    staged.give("DAI", 5_000_000 * ETHER)
    assert staged.act(SUPPLY, key(staged, "WETH"), 100 * ETHER, at=walk.now() + 1)
    words = {symbol: configuration(staged, symbol) for symbol in ("WETH", "USDC", "DAI")}
    for _ in range(moves):
        disturb(walk, staged)
        if governed:
            govern_reserves(walk, staged, words)
        name = KEYS[walk.draw(2)]
        before = staged.position(name)
        action, symbol, amount = drawn(walk, before, staged)
        at = walk.now() + 1 + walk.draw(10 ** (1 + walk.draw(5)))
        predicted = after(staged, before, action, symbol, amount, at)
        done = staged.act(action, key(staged, symbol), amount, at=at)
        assert done == (predicted is not None), (action, symbol, amount, at)
        if done:
            found = staged.position(name)
            assert replace(predicted, prices=found.prices) == found, (action, symbol, amount, at)


@pytest.mark.parametrize("governed", [False, True], ids=["at rest", "under changing terms"])
def test_every_move_leaves_what_was_predicted_or_is_refused_by_both(walk: Walk, governed: bool) -> None:
    walk_account(walk, MOVES, governed=governed)
    for name in ("our supply", "our withdraw", "our borrow", "our repay", "refused withdraw"):
        assert walk.done.get(name), walk.done


def test_max_withdraw_leaves_the_floor_of_health_and_not_one_unit_less(walk: Walk) -> None:
    staged = indebted(walk)
    before = staged.position("WETH")
    at = walk.now() + 1_000
    most = before.max_withdraw(at)
    assert 0 < most < 10 * ETHER
    with pytest.raises(PlanError, match="too little health"):
        before.after_withdraw(most + 1, at)
    assert not staged.act(WITHDRAW, key(staged, "WETH"), most + 1, at=at)
    at += 1_000
    most = before.max_withdraw(at)
    left, received = before.after_withdraw(most, at)
    assert received == most
    data = left.account_data(at)
    assert data is not None
    assert MIN_HEALTH <= data.health < MIN_HEALTH + 10**9
    assert staged.act(WITHDRAW, key(staged, "WETH"), most, at=at)


def test_a_debt_is_repaid_in_full_and_the_account_is_free_again(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 1_000 * USDC)
    before = staged.position("WETH")
    at = walk.now() + 10**6
    freed, repaid = before.after_repay(staged.asset("USDC"), EVERYTHING, at)
    assert 15_000 * USDC < repaid < 16_000 * USDC
    assert freed.max_withdraw(at) == freed.pool.balances(at)[0][staged.asset("WETH")]
    # All of it was pushed, and more: what the debt does not take goes back.
    pushed = repaid + 12_345
    staged.give("USDC", pushed)
    lies_there = walk.balance(staged.asset("USDC"), staged.connector)
    assert staged.act(REPAY, key(staged, "USDC"), EVERYTHING, at=at)
    assert replace(freed, prices=before.prices) == replace(staged.position("WETH"), prices=before.prices)
    back = walk.balance(staged.asset("USDC"), staged.core.portfolio)
    assert back == 15_000 * USDC + lies_there - repaid
    assert freed.after_repay(staged.asset("USDC"), EVERYTHING, at) == (freed, 0)


def test_isolated_debt_grows_with_loans_under_its_ceiling_and_shrinks_with_repayments(walk: Walk) -> None:
    staged = stage(walk, KEYS, BORROWABLE)
    staged.give("WETH", 10 * ETHER)
    assert staged.act(SUPPLY, key(staged, "WETH"), 10 * ETHER, at=walk.now() + 1)
    ceiling = 12_000 * 100
    configure(staged, "WETH", configuration(staged, "WETH") | ceiling << 212)
    configure(staged, "USDC", configuration(staged, "USDC") | 1 << 61)
    ether, dollars = staged.asset("WETH"), staged.asset("USDC")
    before = staged.position("WETH")
    at = walk.now() + 1_000
    with pytest.raises(PlanError, match="isolated collateral"):
        before.after_borrow(staged.asset("DAI"), ETHER, at)
    with pytest.raises(PlanError, match="isolated collateral"):
        before.after_borrow(dollars, 12_000 * USDC + 10_000, at)
    predicted = before.after_borrow(dollars, 12_000 * USDC + 9_999, at)
    assert staged.act(BORROW, key(staged, "USDC"), 12_000 * USDC + 9_999, at=at)
    borrowed = staged.position("WETH")
    assert predicted.pool == borrowed.pool
    assert borrowed.pool.reserves[ether].isolation_debt == ceiling
    staged.give("USDC", 7_000 * USDC)
    at = walk.now() + 10**6
    predicted, repaid = borrowed.after_repay(dollars, 5_000 * USDC, at)
    assert staged.act(REPAY, key(staged, "USDC"), 5_000 * USDC, at=at)
    found = staged.position("WETH")
    assert (predicted.pool, repaid) == (found.pool, 5_000 * USDC)
    assert found.pool.reserves[ether].isolation_debt == ceiling - 5_000 * 100
    # A first supply of another reserve does not join isolated collateral.
    at = walk.now() + 1
    predicted = staged.position("USDC").after_supply(1_000 * USDC, at)
    assert staged.act(SUPPLY, key(staged, "USDC"), 1_000 * USDC, at=at)
    assert predicted.pool == staged.position("USDC").pool
    assert not predicted.pool.account.uses_as_collateral(predicted.pool.reserves[dollars])


def test_collateral_that_has_lost_its_loan_to_value_leaves_first(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 20_000 * USDC)
    assert staged.act(SUPPLY, key(staged, "USDC"), 20_000 * USDC, at=walk.now() + 1)
    configure(staged, "USDC", configuration(staged, "USDC") & ~0xFFFF)
    ether, dollars = staged.position("WETH"), staged.position("USDC")
    at = walk.now() + 10
    with pytest.raises(PlanError, match="must leave first"):
        ether.after_withdraw(10**6, at)
    assert ether.max_withdraw(at) == 0
    assert not staged.act(WITHDRAW, key(staged, "WETH"), 10**6, at=at)
    at = walk.now() + 10
    freed, _ = dollars.after_withdraw(EVERYTHING, at)
    assert staged.act(WITHDRAW, key(staged, "USDC"), EVERYTHING, at=at)
    assert freed.pool == staged.position("USDC").pool
    assert staged.position("WETH").max_withdraw(walk.now()) > 0


def test_what_secures_nothing_may_leave_whatever_the_health(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 1_000 * USDC)
    assert staged.act(SUPPLY, key(staged, "USDC"), 1_000 * USDC, at=walk.now() + 1)
    assert staged.act("setCollateral(bytes32,bool)", key(staged, "USDC"), False, at=walk.now() + 1)
    # The price of ether falls until the account is under its floor of health, and not yet liquidated.
    feed = walk.devnet.manifest["feeds"]["ETH/USD"]["aggregator"]
    data = staged.position("USDC").account_data(walk.now())
    assert data is not None
    price = walk.view(feed, "latestRoundData()", (), "(uint80,int256,uint256,uint256,uint80)")[1]
    assert walk.send(
        "oracle", feed, "push(int256)", price * 102 * WAD // (100 * data.health), at=walk.now() + 1
    )
    dollars, ether = staged.position("USDC"), staged.position("WETH")
    at = walk.now() + 10
    assert WAD < (dollars.account_data(at) or data).health < MIN_HEALTH
    # A few units of 1e18 move no digit of health.
    assert ether.max_withdraw(at) < 10**9
    left, received = dollars.after_withdraw(400 * USDC, at)
    assert staged.act(WITHDRAW, key(staged, "USDC"), 400 * USDC, at=at)
    assert (left.pool, received) == (staged.position("USDC").pool, 400 * USDC)


def test_what_secures_nothing_may_leave_while_the_pool_misses_a_price(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 1_000 * USDC)
    assert staged.act(SUPPLY, key(staged, "USDC"), 1_000 * USDC, at=walk.now() + 1)
    assert staged.act("setCollateral(bytes32,bool)", key(staged, "USDC"), False, at=walk.now() + 1)
    feed = walk.devnet.manifest["feeds"]["ETH/USD"]["aggregator"]
    assert walk.send("oracle", feed, "push(int256)", 0, at=walk.now() + 1)
    ether, dollars = staged.position("WETH"), staged.position("USDC")
    at = walk.now() + 10
    assert dollars.account_data(at) is None
    with pytest.raises(PlanError, match="a price is missing"):
        ether.after_withdraw(1, at)
    assert not staged.act(WITHDRAW, key(staged, "WETH"), 1, at=at)
    at = walk.now() + 10
    left, received = dollars.after_withdraw(400 * USDC, at)
    assert staged.act(WITHDRAW, key(staged, "USDC"), 400 * USDC, at=at)
    assert (left.pool, received) == (staged.position("USDC").pool, 400 * USDC)


def test_a_move_of_one_key_is_seen_from_the_other(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 3_000 * USDC)
    ether, dollars = staged.position("WETH"), staged.position("USDC")
    at = walk.now() + 10**6
    assert ether.accrued(at).report(at) == ether.report(at)
    assert ether.accrued(at).account_data(at) == ether.account_data(at)
    predicted = ether.with_shared(dollars.after_supply(3_000 * USDC, at).shared())
    assert staged.act(SUPPLY, key(staged, "USDC"), 3_000 * USDC, at=at)
    found = staged.position("WETH")
    assert predicted.pool == found.pool
    later = at + 1_000
    assert replace(predicted, prices=found.prices).report(later) == found.report(later)
    assert found.report(later).health > ether.report(later).health


def test_nothing_is_lent_while_the_pools_sentinel_says_no(walk: Walk) -> None:
    before = indebted(walk).position("WETH")
    asset, at = before.terms.borrowable[0], walk.now() + 1
    assert before.after_borrow(asset, USDC, at).pool.account.owed[asset] > before.pool.account.owed[asset]
    closed = replace(before, pool=replace(before.pool, may_borrow=False))
    with pytest.raises(PlanError, match="sequencer is down"):
        closed.after_borrow(asset, USDC, at)
    with pytest.raises(PlanError, match="does not borrow this asset"):
        before.after_borrow(before.params.asset, USDC, at)


def test_a_debt_that_only_the_high_end_of_a_key_bears_comes_with_the_accounts_health(walk: Walk) -> None:
    staged = stage(walk, KEYS, BORROWABLE)
    for symbol, amount in (("WETH", 10), ("USDC", 10_000 * USDC)):
        staged.give(symbol, amount)
        assert staged.act(SUPPLY, key(staged, symbol), amount, at=walk.now() + 1)
    assert staged.act(BORROW, key(staged, "USDC"), 1_000 * USDC, at=walk.now() + 1)
    at = walk.now()
    seen = told(staged, "WETH")
    data = staged.position("WETH").account_data(at)
    # Ten units of 1e18 are worth from nothing to one unit.
    assert data is not None
    assert (seen.low, seen.debt, seen.health) == (0, 1, data.health)
    assert staged.position("WETH").report(at) == seen


def test_a_strangers_gift_counts_in_health_until_anyone_drops_it(walk: Walk) -> None:
    staged = indebted(walk)
    alone = staged.position("WETH")
    gift, stranger, pool = staged.asset("DAI"), "whale", staged.aave["pool"]
    approve, supply = "approve(address,uint256)", "supply(address,uint256,address,uint16)"
    assert walk.send(stranger, gift, approve, pool, 1_000 * ETHER, at=walk.now() + 1)
    assert walk.send(stranger, pool, supply, gift, 1_000 * ETHER, staged.connector, 0, at=walk.now() + 1)
    with_gift = staged.position("WETH")
    assert told(staged, "WETH") == with_gift.report(walk.now())
    assert with_gift.pool.account.uses_as_collateral(with_gift.pool.reserves[gift])
    drop = "dropGift(bytes32)"
    assert not walk.send(stranger, staged.connector, drop, key(staged, "WETH"), at=walk.now() + 1)
    assert walk.send(stranger, staged.connector, drop, key_of(gift), at=walk.now() + 1)
    dropped = staged.position("WETH")
    at = walk.now()
    assert dropped.pool.account.configuration == alone.pool.account.configuration
    assert dropped.report(at).health == alone.report(at).health < with_gift.report(at).health
    assert told(staged, "WETH") == dropped.report(at)


def test_legs_show_each_debt_once_over_all_keys(walk: Walk) -> None:
    staged = indebted(walk)
    staged.give("USDC", 7 * USDC)
    assert staged.act(SUPPLY, key(staged, "USDC"), 7 * USDC, at=walk.now() + 1)
    assert staged.act(BORROW, key(staged, "DAI"), 2_000 * ETHER, at=walk.now() + 1)
    at = walk.now()
    positions = [staged.position(symbol) for symbol in KEYS]
    legs = [leg for position in positions for leg in position.legs(at)]
    owed = positions[0].pool.balances(at)[1]
    for symbol in BORROWABLE:
        asset = staged.asset(symbol)
        parts = [leg.amount for leg in legs if leg.role is Role.BORROWED and leg.token == asset]
        assert sum(parts) == owed[asset] > 0
    assert {leg.token for leg in legs if leg.role is Role.COLLATERAL} == {
        staged.asset("WETH"),
        staged.asset("USDC"),
    }
    # What the legs are worth is what the reports say, but for a unit of rounding in each part of a debt.
    for position in positions:
        report = position.report(at)
        own = sum(leg.low for leg in position.legs(at) if leg.role is Role.COLLATERAL)
        debt = sum(leg.high for leg in position.legs(at) if leg.role is Role.BORROWED)
        assert abs(own - debt - report.low) <= len(BORROWABLE)


def test_rewards_count_at_the_high_end_only(walk: Walk) -> None:
    staged = stage(walk, ("USDC",), (), rewarded=True)
    staged.give("USDC", 1_000_000 * USDC)
    assert staged.act(SUPPLY, key(staged, "USDC"), 1_000_000 * USDC, at=walk.now() + 1)
    position = staged.position("USDC")
    at = walk.now() + 86_400
    report = position.report(at)
    rewards = [leg for leg in position.legs(at) if leg.role is Role.REWARDS]
    # The first reward has no route, so that it counts nothing, but it is shown.
    assert [leg.token for leg in rewards] == list(staged.rewards)
    assert rewards[0].high == 0 < rewards[0].amount
    assert report.high - report.low == rewards[1].high > 0


def test_a_claim_brings_what_the_mirror_says_for_all_keys_and_leaves_what_it_says(walk: Walk) -> None:
    staged = stage(walk, KEYS, BORROWABLE, rewarded=True)
    walk.fund("treasury", staged.asset("WBTC"), staged.aave["reward"]["strategy"])
    staged.give("USDC", 1_000_000 * USDC)
    staged.give("WETH", 10 * ETHER)
    assert staged.act(SUPPLY, key(staged, "USDC"), 1_000_000 * USDC, at=walk.now() + 1)
    assert staged.act(SUPPLY, key(staged, "WETH"), 10 * ETHER, at=walk.now() + 1)
    assert staged.act(BORROW, key(staged, "USDC"), 15_000 * USDC, at=walk.now() + 1)
    position, at = staged.position("WETH"), walk.now() + 3_600
    claimable = position.claimable(at)
    assert set(claimable) == set(staged.rewards)
    for reward in staged.rewards:
        before = walk.balance(reward, staged.core.portfolio)
        position, paid = position.after_claim(reward, at)
        assert paid == claimable[reward] > 0
        assert staged.act("claimRewards(address)", reward, at=at)
        assert walk.balance(reward, staged.core.portfolio) - before == paid
        assert reward not in position.claimable(at)
        # The other reward goes on, counted up to here.
        position = staged.position("WETH")
        at = walk.now() + 1
        claimable = position.claimable(at)
    for symbol in KEYS:
        seen = staged.position(symbol)
        assert seen.pool.account.streams == staged.position("WETH").pool.account.streams
    with pytest.raises(PlanError, match="does not claim this reward"):
        position.after_claim(staged.asset("DAI"), at)


def test_a_missing_price_of_the_pool_is_the_worst_health_and_stops_moves(walk: Walk) -> None:
    staged = indebted(walk)
    feed = walk.devnet.manifest["feeds"]["USDC/USD"]["aggregator"]
    assert walk.send("oracle", feed, "push(int256)", 0, at=walk.now() + 1)
    position = staged.position("WETH")
    assert position.account_data(walk.now()) is None
    at = walk.now() + 1
    with pytest.raises(PlanError, match="price is missing"):
        position.after_withdraw(1, at)
    assert position.max_withdraw(at) == 0
    assert not staged.act(WITHDRAW, key(staged, "WETH"), 10**6, at=at)


def test_a_free_account_has_the_greatest_health(walk: Walk) -> None:
    staged = stage(walk, KEYS, BORROWABLE)
    data = staged.position("WETH").account_data(walk.now())
    assert data is not None
    assert data.health == MAX_UINT256
