"""Daily budgets over signed plans, and the sections of a policy that are not positions or caps."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from planning.examples import AT, UNIT, account, example_basis, example_policy, holding, policy_sections

from keeper.config import parse
from keeper.errors import ConfigError, PolicyError
from keeper.planning import budgets
from keeper.planning.actions import REPAY
from keeper.planning.bounds import DAY
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation

GWEI = 10**9
KEY = "0x" + "ab" * 32


def policy(**sections: Any) -> Policy:
    return parse(policy_sections() | sections, Policy)


def plan(nonce: int = 7, *, a: int = 3_000, later: int = 0) -> Plan:
    """Moves `a` whole tokens into A, `later` seconds after the example."""
    rules = example_policy()
    book = holding(rules, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": a * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    basis = replace(example_basis(), nonce=nonce, reference_time=AT + 5 + later)
    return build_batch(rules, book, wanted, basis)


def test_plans_that_are_signed_count_until_they_are_a_day_old() -> None:
    rules = policy(budgets={"moved": 6_000 * UNIT, "plans": 9})
    now = plan(9, later=DAY)
    budgets.check(rules, now, [plan(1, later=1)])
    budgets.check(rules, now, [plan(1), plan(2)])
    with pytest.raises(
        PolicyError, match=r"budgets\.moved\]: expected at most 6,000,000,000, saw 9,000,000,000"
    ):
        budgets.check(rules, now, [plan(1, later=1), plan(2, later=2)])


def test_the_refusal_says_from_when_the_plan_fits() -> None:
    rules = policy(budgets={"moved": 6_000 * UNIT, "plans": 9})
    signed = [plan(n, later=n) for n in (3, 1, 2)]
    now = plan(9, later=600)
    with pytest.raises(PolicyError) as caught:
        budgets.check(rules, now, signed)
    said = re.search(r"Fits from reference time (\d+) on", str(caught.value))
    assert said is not None
    fits = int(said[1])
    assert fits == signed[2].reference_time + DAY
    budgets.check(rules, replace(now, reference_time=fits), signed)
    with pytest.raises(PolicyError, match="daily budget"):
        budgets.check(rules, replace(now, reference_time=fits - 1), signed)


def test_a_plan_that_is_too_large_by_itself_never_fits() -> None:
    rules = policy(budgets={"moved": 3_000 * UNIT - 1, "plans": 9})
    for signed in ([], [plan(1), plan(2)]):
        with pytest.raises(PolicyError, match="it never fits"):
            budgets.check(rules, plan(), signed)


def test_what_was_signed_for_another_vault_does_not_count() -> None:
    rules = policy(budgets={"moved": 3_000 * UNIT, "plans": 1})
    budgets.check(rules, plan(), [replace(plan(1), vault=account(77))])


def test_a_plan_that_has_not_expired_counts_however_old_it_is() -> None:
    rules = policy(budgets={"moved": 5_000 * UNIT, "plans": 9})
    old = plan(1)
    now = plan(9, later=2 * DAY)
    budgets.check(rules, now, [old])
    with pytest.raises(PolicyError, match="daily budget"):
        budgets.check(rules, now, [replace(old, valid_until=now.reference_time)])


def test_the_same_plan_signed_again_counts_once() -> None:
    rules = policy(budgets={"moved": 3_000 * UNIT, "plans": 1})
    budgets.check(rules, plan(), [plan(), plan()])
    with pytest.raises(PolicyError, match=r"budgets\.plans\]: expected at most 1, saw 2"):
        budgets.check(rules, plan(), [plan(8)])


def test_gas_counts_at_the_ceilings_of_every_plan() -> None:
    fees = {"max_fee_per_gas": 100 * GWEI, "max_priority_fee_per_gas": GWEI}
    one = 3_000_000 * 100 * GWEI
    rules = policy(fees=fees, budgets={"moved": 10**15, "plans": 9, "gas": 2 * one})
    assert rules.gas_ceiling == one
    budgets.check(rules, plan(1), [plan(2)])
    with pytest.raises(PolicyError, match=rf"budgets\.gas\]: expected at most {2 * one:,}, saw {3 * one:,}"):
        budgets.check(rules, plan(1), [plan(2), plan(3)])


def test_a_venue_has_its_part_of_the_budget() -> None:
    parts = {"morpho:A": 4_000 * UNIT, "morpho:B": 1_000 * UNIT}
    rules = policy(budgets={"moved": 5_000 * UNIT, "plans": 9, "venues": parts})
    budgets.check(rules, plan(1), [])
    with pytest.raises(PolicyError, match=r"budgets\.venues\.morpho:A"):
        budgets.check(rules, plan(1, a=4_500), [])


def test_leaving_and_paying_out_are_refused_for_no_budget() -> None:
    rules = policy(budgets={"moved": 0, "plans": 1})
    mixed = plan()
    leaving = replace(mixed, terms=replace(mixed.batch, calls=mixed.batch.calls[:1]))
    budgets.check(rules, leaving, [plan(n) for n in range(5)])
    budgets.check(rules, build_settlement(example_policy(), 3, 10**21, example_basis()), [plan()])
    with pytest.raises(PolicyError, match=r"budgets\.moved"):
        budgets.check(rules, mixed, [])


def repaying(assets: int) -> PlannedCall:
    args = {"key": b"\x01" * 32, "assets": assets}
    return PlannedCall.of(REPAY.name, target=account(11), token=account(6), venue="morpho:A", args=args)


def test_a_debts_repayment_is_refused_for_no_budget_and_uses_none_up() -> None:
    rules = policy(budgets={"moved": 3_000 * UNIT, "plans": 3, "venues": {"morpho:A": 3_000 * UNIT}})
    mixed = plan()
    out, supply = mixed.batch.calls
    defence = replace(mixed, terms=replace(mixed.batch, calls=(out, repaying(4_000 * UNIT))))
    assert budgets.spent(rules, [defence]).moved == 0
    budgets.check(rules, defence, [plan(n) for n in range(5)])
    both = replace(mixed, terms=replace(mixed.batch, calls=(supply, repaying(1))))
    assert budgets.spent(rules, [both]).venues == (("morpho:A", 3_000 * UNIT),)
    budgets.check(rules, both, [defence])
    with pytest.raises(PolicyError, match=r"budgets\.moved"):
        budgets.check(rules, both, [plan(1)])


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        (
            {"budgets": {"moved": 10, "plans": 1, "venues": {"morpho:A": 4, "morpho:B": 5}}},
            "venues sum to 9, and moved is 10",
        ),
        ({"budgets": {"moved": 4, "plans": 1, "venues": {"casino": 4}}}, "there is no casino"),
        ({"budgets": {"moved": 4, "plans": 1, "gas": 4}}, "budgets.gas needs the fees section"),
        (
            {
                "fees": {"max_fee_per_gas": 2, "max_priority_fee_per_gas": 0},
                "budgets": {"moved": 4, "plans": 1, "gas": 5_999_999},
            },
            "does not pay for one plan of 6,000,000",
        ),
        ({"fees": {"max_fee_per_gas": 1, "max_priority_fee_per_gas": 2}}, "exceeds max_fee_per_gas"),
        ({"fees": {"max_fee_per_gas": 1, "max_priority_fee_per_gas": 1, "value": 1}}, "unknown key 'value'"),
        ({"proposers": {"keys": [KEY, KEY], "patience": 1}}, "a proposer is named twice"),
        ({"proposers": {"keys": [], "patience": 1}}, "proposers.keys"),
        ({"proposers": {"keys": ["0x12"], "patience": 1}}, "Ed25519 public key"),
        ({"guardian": {"address": "0x12"}}, "guardian.address"),
        ({"governor": {"address": account(1)}}, "governor.delay"),
        ({"code": {account(1): "0x12"}}, "64 hex digits"),
    ],
)
def test_a_section_that_does_not_hold_is_refused(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        policy(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"fees": {"max_fee_per_gas": 1, "max_priority_fee_per_gas": 1}},
        {"budgets": {"moved": 1, "plans": 1}},
        {"proposers": {"keys": [KEY], "patience": 1}},
        {"guardian": {"address": account(1)}},
        {"governor": {"address": account(1), "delay": 1}},
        {"risk": {}},
        {"code": {account(1): KEY}},
    ],
)
def test_the_hash_covers_every_optional_section(sections: dict[str, Any]) -> None:
    assert policy(**sections).hash != example_policy().hash


def bounded(bounds: dict[str, Any]) -> Policy:
    """The example with these bounds on what venue A is supplied with."""
    sections = policy_sections()
    sections["positions"][1]["arguments"] = {"supply": {"assets": bounds}}
    return parse(sections, Policy)


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ({"max": 3_000 * UNIT}, True),
        ({"max": 3_000 * UNIT - 1}, False),
        ({"min": 3_000 * UNIT}, True),
        ({"min": 3_000 * UNIT + 1}, False),
        ({"values": [1, 3_000 * UNIT]}, True),
        ({"values": [1, 2]}, False),
    ],
)
def test_an_argument_keeps_within_its_bound(bounds: dict[str, Any], allowed: bool) -> None:
    rules = bounded(bounds)
    assert rules.hash != example_policy().hash
    if allowed:
        rules.check(plan())
        return
    with pytest.raises(
        PolicyError, match=r"terms\.calls\[1\]\.supply\.assets\]: expected .*, saw 3,000,000,000"
    ):
        rules.check(plan())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.update(arguments={"supply": {"assets": {}}}), "bounds nothing"),
        (lambda p: p.update(arguments={"supply": {"assets": {"min": 2, "max": 1}}}), "min 2 exceeds max 1"),
        (lambda p: p.update(arguments={"supply": {"assets": {"max": 1, "values": [2]}}}), "do not allow"),
        (lambda p: p.update(arguments={"supply": {"to": {"max": 1}}}), "supply has no to"),
        (
            lambda p: p.update(functions=["withdraw"], arguments={"supply": {"assets": {"max": 1}}}),
            "arguments of supply, which may not be called",
        ),
    ],
)
def test_bounds_that_bound_nothing_are_refused(change: Callable[[Any], None], says: str) -> None:
    sections = policy_sections()
    change(sections["positions"][0])
    with pytest.raises(ConfigError, match=says):
        parse(sections, Policy)
