"""Default-deny: what no entry allows is refused; the hash covers every value."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from examples import UNIT, account, example_basis, example_policy, holding, policy_sections

from keeper.config import parse
from keeper.errors import ConfigError, PolicyError
from keeper.planning.build import build_batch
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation

POLICY = example_policy()
MIXED = "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa"
"""An address with letters, in its checksum's spelling."""
WORD = "0x" + "11" * 32
HEALTH = {"floor_bps": 11_000, "target_bps": 12_000, "nonce_key": 1}


def batch() -> Plan:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    return build_batch(POLICY, book, wanted, example_basis())


def with_call(**changes: object) -> Plan:
    """The batch with another supply, whose bytes say what it says."""
    plan = batch()
    withdrawal, supply = plan.batch.calls
    said = {name: getattr(supply, name) for name in ("target", "token", "venue", "key", "assets")}
    return replace(
        plan, terms=replace(plan.batch, calls=(withdrawal, PlannedCall.supply(**(said | changes))))
    )


def test_the_plan_that_was_built_is_allowed() -> None:
    POLICY.check(batch())
    POLICY.check(with_call())


@pytest.mark.parametrize(
    ("plan", "where"),
    [
        (replace(batch(), vault=account(99)), "vault"),
        (replace(batch(), valid_until=batch().valid_until + 1), "valid_until"),
        (replace(batch(), valid_after=batch().valid_after - 1), "valid_after"),
        (with_call(target=account(99)), "target"),
        (with_call(key=bytes(32)), "key"),
        (with_call(token=account(99)), "token"),
        (with_call(venue="casino"), "casino"),
        (with_call(assets=0), "moves nothing"),
        (
            replace(
                batch(), terms=replace(batch().batch, calls=(replace(batch().batch.calls[0], amount=1),) * 2)
            ),
            "amount",
        ),
        (replace(batch(), terms=replace(batch().batch, calls=batch().batch.calls * 3)), "terms.calls"),
        (replace(batch(), terms=replace(batch().batch, max_loss=99)), "terms.max_loss"),
        (replace(batch(), terms=replace(batch().batch, nonce_key=1)), "terms.nonce_key"),
        (replace(batch(), terms=replace(batch().batch, executor=account(9))), "terms.executor"),
        (replace(batch(), terms=replace(batch().batch, predicted=())), "predicts no value"),
    ],
)
def test_what_no_entry_allows_is_refused(plan: Plan, where: str) -> None:
    with pytest.raises(PolicyError, match=where):
        POLICY.check(plan)


def test_a_function_that_is_not_listed_is_refused() -> None:
    sections = policy_sections()
    sections["positions"][1]["functions"] = ["withdraw"]
    with pytest.raises(PolicyError, match="does not allow this function"):
        parse(sections, Policy).check(batch())


def test_what_counts_under_one_risk_id_is_capped_together() -> None:
    sections = policy_sections()
    for position in sections["positions"]:
        position["risk_ids"] = [position["venue"], "both"]
    total = sum(value for venue, value in batch().batch.predicted if venue != "idle")
    sections["caps"]["both"] = total
    parse(sections, Policy).check(batch())
    sections["caps"]["both"] = total - 1
    tight = parse(sections, Policy)
    assert tight.members("both") == ("morpho:A", "morpho:B")
    with pytest.raises(PolicyError, match=r"predicted\.morpho:A under caps\.both\]: expected at most"):
        tight.check(batch())
    # Nothing is said against leaving.
    plan = batch()
    tight.check(replace(plan, terms=replace(plan.batch, calls=plan.batch.calls[:1], max_loss=3)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.update(nmae="x"), "did you mean 'name'"),
        (lambda s: s["limits"].update(max_gas=1.5), "limits.max_gas"),
        (lambda s: s["limits"].update(min_move="12"), "limits.min_move"),
        (lambda s: s["limits"].update(pps_tolerance_bps=10_000), "pps_tolerance_bps"),
        (lambda s: s["signers"].update(threshold=4), "exceeds the 3 signers"),
        (lambda s: s["signers"].update(addresses=[account(1), account(1)]), "named twice"),
        (lambda s: s["time"].update(validity=10), "max_reference_age exceeds validity"),
        (lambda s: s.update(chains={"1": {"finality": 0}}), "lacks the hub chain"),
        (
            lambda s: s["chains"].update({f"0{each}": {"finality": 0} for each in s["chains"]}),
            "chains: two keys say the same",
        ),
        (lambda s: s.update(code={MIXED: WORD, MIXED.lower(): WORD}), "code: two keys say the same"),
        (
            lambda s: s.update(risk={"R23": {"max_block_age": {"31337": 60, " 31337": 10**9}}}),
            "R23.max_block_age: two keys say the same",
        ),
        (lambda s: s["positions"].append(s["positions"][0]), "listed twice"),
        (lambda s: s["positions"][0].update(venue="idle"), "not a venue"),
        (lambda s: s["positions"][0].pop("venue"), "positions.0.venue"),
        (lambda s: s["positions"][0].update(risk_ids=[]), "positions.0.risk_ids"),
        (lambda s: s["positions"][0].update(risk_ids=["x", "x"]), "risk id is named twice"),
        (lambda s: s["positions"][0].update(risk_ids=["x"]), "no cap for x"),
        (lambda s: s["caps"].update(x=1), "a cap that no position counts under: x"),
        (lambda s: s["caps"].update({"morpho:A": -1}), "caps.morpho:A"),
        (lambda s: s.pop("caps"), "caps"),
        (lambda s: s["positions"][0].update(functions=["sweep"]), "no such function"),
        (lambda s: s["positions"][0].update(key="0x12"), "64 hex digits"),
        (lambda s: s["positions"][0].update(key=WORD[:-2] + "  "), "64 hex digits"),
        (lambda s: s["positions"][0].update(key=WORD[:-1] + "\uff11"), "64 hex digits"),
        (lambda s: s.update(proposers={"keys": [WORD[:-2] + "  "], "patience": 1}), "64 hex digits"),
        (lambda s: s["positions"][0].update(address="0x12"), "positions.0.address"),
        (lambda s: s["strategy"].update(params={"gain": 0.5}), "No canonical encoding"),
        (lambda s: s.update(health=HEALTH | {"floor_bps": 10_000}), "health.floor_bps"),
        (lambda s: s.update(health=HEALTH | {"target_bps": 11_000}), "above floor_bps"),
        (lambda s: s.update(health=HEALTH | {"nonce_key": 0}), "a defence would wait for them"),
        (lambda s: s.update(health=HEALTH) or s["limits"].update(max_calls=2), "max_calls of at least 3"),
    ],
)
def test_a_file_that_does_not_hold_is_refused_naming_the_key(
    change: Callable[[Any], None], says: str
) -> None:
    sections = policy_sections()
    change(sections)
    with pytest.raises(ConfigError, match=says):
        parse(sections, Policy)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["caps"].update({"morpho:A": 1}),
        lambda s: s["positions"][0].update(risk_ids=["morpho:B", "morpho:A"]),
        lambda s: s["limits"].update(max_gas=1),
        lambda s: s["time"].update(max_clock_skew=1),
        lambda s: s["positions"][0]["params"]["market"].update(lltv=1),
        lambda s: s["chains"][str(31337)].update(finality=1),
        lambda s: s.update(nonce_key=1),
    ],
)
def test_the_hash_covers_every_value(change: Callable[[Any], None]) -> None:
    sections = policy_sections()
    change(sections)
    assert parse(sections, Policy).hash != POLICY.hash
    assert example_policy().hash == POLICY.hash
