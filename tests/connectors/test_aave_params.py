"""What the params of an Aave account say is compared with the chain, and refused by name where it differs."""

from dataclasses import replace

import pytest
from aave_stage import MIN_HEALTH, Stage, enter_modes, indebted
from conftest import Walk

from keeper.connectors.aave_lending import AaveAccountPosition
from keeper.connectors.aave_v3 import AaveV3
from keeper.errors import ConfigError, ValuationError


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
