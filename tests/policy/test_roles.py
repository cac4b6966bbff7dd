"""The Zodiac role: its conditions, read from their flat form, let through the policy's plans and no other.

`holds` follows the operators of the modifier's PermissionChecker over the words of real calldata.
"""

from dataclasses import replace
from typing import Any

import pytest
from planning.examples import UNIT, account, example_basis, example_policy, holding, policy_sections
from policy.zodiac import lets

from keeper.config import parse
from keeper.errors import PolicyError
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.calls import PlannedCall
from keeper.planning.policy import Policy
from keeper.planning.roles import role
from keeper.planning.strategy import Allocation

POLICY = example_policy()


def batch() -> Any:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    return build_batch(POLICY, book, wanted, example_basis())


def with_call(**changes: Any) -> Any:
    plan = batch()
    withdrawal, supply = plan.batch.calls
    said = {name: getattr(supply, name) for name in ("target", "token", "venue", "key", "assets")}
    calls = (withdrawal, PlannedCall.supply(**(said | changes)))
    return replace(plan, terms=replace(plan.batch, calls=calls))


def test_the_policys_plans_pass() -> None:
    assert lets(POLICY, batch())
    assert lets(POLICY, with_call())
    assert lets(POLICY, build_settlement(POLICY, 3, 10**21, example_basis()))


@pytest.mark.parametrize(
    "plan",
    [
        replace(batch(), vault=account(99)),
        replace(build_settlement(POLICY, 3, 10**21, example_basis()), vault=account(99)),
        with_call(target=account(99)),
        with_call(token=account(99)),
        with_call(key=bytes(32)),
        with_call(key=b"\x01" * 31 + b"\x02"),
        with_call(key=b"\x02" * 32),
        replace(batch(), terms=replace(batch().batch, nonce_key=1)),
        replace(batch(), terms=replace(batch().batch, executor=account(9))),
        replace(batch(), terms=replace(batch().batch, max_loss=13)),
    ],
)
def test_what_the_policy_does_not_name_is_stopped(plan: Any) -> None:
    assert not lets(POLICY, plan)


def test_a_function_that_is_not_listed_is_stopped() -> None:
    sections = policy_sections()
    sections["positions"][1]["functions"] = ["withdraw"]
    assert not lets(parse(sections, Policy), batch())


def test_the_flat_form_is_breadth_first_and_names_its_parents() -> None:
    for target in role(POLICY, "keeper", [])["targets"]:
        flat = target["functions"][0]["conditionsFlat"]
        parents = [each["parent"] for each in flat]
        assert parents == sorted(parents)
        assert all(parent < i for i, parent in enumerate(parents[1:], 1))
        assert (flat[0]["paramType"], flat[0]["operator"], flat[0]["parent"]) == (5, 5, 0)
        assert (target["clearance"], target["executionOptions"]) == (2, 0)


def test_twenty_positions_of_one_connector_fit_and_of_forty_do_not() -> None:
    def many(count: int, connectors: int) -> Policy:
        sections = policy_sections()
        template = sections["positions"][0]
        sections["positions"] = [
            {
                **template,
                "venue": f"v{n}",
                "key": "0x" + bytes([n + 1] * 32).hex(),
                "address": account(500 + n % connectors),
            }
            for n in range(count)
        ]
        sections["caps"] = {f"v{n}": 1 for n in range(count)}
        return parse(sections, Policy)

    assert role(many(20, 4), "keeper", [])
    with pytest.raises(PolicyError, match="more conditions than the modifier takes"):
        role(many(40, 40), "keeper", [])
    with pytest.raises(PolicyError, match="1 to 32 bytes"):
        role(POLICY, "k" * 33, [])
