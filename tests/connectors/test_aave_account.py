"""Moves of a connector with debts at the real pool: what is predicted is what the pool then stores."""

from dataclasses import replace
from typing import Any

import pytest
from aave_stage import MIN_HEALTH, Stage, stage
from aave_states import RESERVES, slot
from conftest import Walk

from keeper.connectors.aave_lending import AaveAccountPosition
from keeper.connectors.aave_v3 import AaveV3
from keeper.connectors.base import EVERYTHING, Role
from keeper.errors import ConfigError, PlanError, ValuationError
from keeper.units import MAX_UINT256

KEYS, BORROWABLE = ("WETH", "USDC"), ("USDC", "DAI")
SUPPLY, WITHDRAW = "supply(bytes32,uint256)", "withdraw(bytes32,uint256)"
BORROW, REPAY = "borrow(bytes32,uint256)", "repay(bytes32,uint256)"
MOVES = 60
ETHER, USDC = 10**18, 10**6


def key(staged: Stage, symbol: str) -> bytes:
    return staged.ref(symbol).key


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


def enter_modes(walk: Walk, staged: Stage) -> None:
    """Mode 1 has ether as collateral and both borrowable assets; the second is without its own."""
    configurator = staged.aave["configurator"]
    for signature, symbols in (
        ("setAssetCollateralInEMode(address,uint8,bool)", ("WETH",)),
        ("setAssetBorrowableInEMode(address,uint8,bool)", ("USDC", "DAI")),
    ):
        for symbol in symbols:
            args = (staged.asset(symbol), 1, True)
            assert walk.send("deployer", configurator, signature, *args, at=walk.now() + 1)


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
        place = f"0x{slot(RESERVES, staged.asset(symbol)):064x}"
        walk.devnet.rpc("anvil_setStorageAt", staged.aave["pool"], place, f"0x{word:064x}")


def walk_account(walk: Walk, moves: int, *, governed: bool) -> None:
    """So many moves, each predicted before and compared with the whole account after."""
    staged = stage(walk, KEYS, BORROWABLE, rewarded=True)
    enter_modes(walk, staged)
    staged.give("WETH", 2_000 * ETHER)
    staged.give("USDC", 5_000_000 * USDC)
    staged.give("DAI", 5_000_000 * ETHER)
    assert staged.act(SUPPLY, key(staged, "WETH"), 100 * ETHER, at=walk.now() + 1)
    reads = (
        (symbol, staged.aave["pool"], "getConfiguration(address)", (staged.asset(symbol),))
        for symbol in ("WETH", "USDC", "DAI")
    )
    words = {symbol: walk.view(*asked, "(uint256)") for symbol, *asked in reads}
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


def indebted(walk: Walk) -> Stage:
    """Ten ether supplied, and twenty thousand dollars borrowed against it."""
    staged = stage(walk, KEYS, BORROWABLE)
    staged.give("WETH", 10 * ETHER)
    assert staged.act(SUPPLY, key(staged, "WETH"), 10 * ETHER, at=walk.now() + 1)
    assert staged.act(BORROW, key(staged, "USDC"), 15_000 * USDC, at=walk.now() + 1)
    return staged


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


def changed(staged: Stage, field: str, value: object) -> AaveAccountPosition:
    """The position read with one field of its account's params changed."""
    ref = staged.ref("WETH")
    account = {**ref.params["account"], field: value}
    ref = replace(ref, params={**ref.params, "account": account})
    walk = staged.walk
    answers = staged.ask(AaveV3().calls(ref), walk.now())
    found = AaveV3().position(ref, answers.read, staged.prices(walk.now()), walk.now())
    assert isinstance(found, AaveAccountPosition)
    return found


def test_params_that_differ_from_the_chain_are_refused_by_name(walk: Walk) -> None:
    staged = indebted(walk)
    ref = staged.ref("WETH")
    reserves = ref.params["account"]["reserves"]
    stranger = walk.devnet.address("user1")
    wrong: list[tuple[str, object, str]] = [
        ("min_health", MIN_HEALTH + 1, "Floor of health differs"),
        ("borrowable", [staged.asset("USDC")], "Debt token of the connector's asset"),
        ("keys", [staged.asset("WETH")], "aToken of the connector's key"),
        ("oracle", stranger, "Price oracle of the pool differs"),
        ("sentinel", stranger, "Price sentinel of the pool differs"),
        ("addresses_provider", stranger, "Addresses provider of the pool differs|A read that the value"),
        ("reserves", [{**each, "decimals": 7} for each in reserves], "Decimals of the reserve"),
        ("reserves", [{**each, "a_token": stranger} for each in reserves], "aToken|read that the value"),
    ]
    for field, value, message in wrong:
        with pytest.raises(ValuationError, match=message):
            changed(staged, field, value)
    for field, value, message in (
        ("keys", [staged.asset("DAI")], "own asset"),
        ("keys", [staged.asset("WETH")] * 2, "there twice"),
        ("reserves", reserves[1:], "not described"),
        ("reserves", [*reserves, reserves[0]], "there twice"),
        ("rewards", [staged.asset("DAI")], "rewards_controller"),
    ):
        with pytest.raises(ConfigError, match=message):
            changed(staged, field, value)


def test_a_reserve_that_params_do_not_describe_is_named(walk: Walk) -> None:
    staged = indebted(walk)
    walk.fund("user1", staged.asset("DAI"), staged.aave["pool"])
    supply = "supply(address,uint256,address,uint16)"
    args = (staged.asset("DAI"), 10**20, staged.connector, 0)
    # A stranger's gift of a reserve that is no key: it secures the debts, and health counts it.
    assert walk.send("user1", staged.aave["pool"], supply, *args, at=walk.now() + 1)
    assert staged.position("WETH").account_data(walk.now()) is not None
    ref = staged.ref("WETH")
    reserves = ref.params["account"]["reserves"]
    walk.fund("user1", staged.asset("USDT"), staged.aave["pool"])
    args = (staged.asset("USDT"), 10**8, staged.connector, 0)
    assert walk.send("user1", staged.aave["pool"], supply, *args, at=walk.now() + 1)
    rest = [each for each in reserves if each["asset"] != staged.asset("USDT")]
    with pytest.raises(ValuationError, match="reserves that params do not describe"):
        changed(staged, "reserves", rest)


def test_a_mode_that_params_do_not_list_is_named(walk: Walk) -> None:
    staged = indebted(walk)
    enter_modes(walk, staged)
    assert staged.act("setEMode(uint8)", 1, at=walk.now() + 1)
    assert staged.position("WETH").pool.account.mode.threshold == 9_300
    with pytest.raises(ValuationError, match="efficiency mode that params do not list"):
        changed(staged, "e_modes", [2])


def test_debts_that_params_say_nothing_of_are_refused(walk: Walk) -> None:
    staged = indebted(walk)
    ref = staged.ref("WETH")
    params = {name: value for name, value in ref.params.items() if name != "account"}
    with pytest.raises(ValuationError, match="has debts"):
        walk.position(replace(ref, params=params))


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
