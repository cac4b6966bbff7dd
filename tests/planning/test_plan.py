"""The plan's bytes: one encoding, strictly parsed, differences named."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from examples import UNIT, account, example_basis, example_policy, holding
from hypothesis import given
from hypothesis import strategies as st

from keeper import canonical
from keeper.errors import PlanError
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.comparison import explain
from keeper.planning.plan import DOMAIN, SCHEMA, PinnedBlock, Plan, PlannedCall, difference
from keeper.planning.strategy import Allocation

POLICY = example_policy()
GOLDEN = "5b0e80ad021d9fd84a9445e0b67ac423bd028eef161127f59ca6fa2157a4e1cc"


QUOTE = {"kind": "quote", "source": "a desk", "observed_at": 1, "data": b"1 for 2"}


def batch() -> Plan:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    return build_batch(POLICY, book, wanted, example_basis())


@pytest.mark.parametrize("plan", [batch(), build_settlement(POLICY, 3, 10**27, example_basis())])
def test_a_plan_survives_its_encoding(plan: Plan) -> None:
    again = Plan.from_bytes(plan.to_bytes())
    assert again == plan
    assert again.plan_hash == plan.plan_hash


def test_the_hash_is_the_one_recorded() -> None:
    assert batch().plan_hash.hex() == GOLDEN


@pytest.mark.parametrize(
    ("seed", "zone", "locale"),
    [("0", "UTC", "C"), ("1", "Asia/Kolkata", "C.UTF-8"), ("77", "America/Lima", "POSIX")],
)
def test_the_hash_is_the_same_in_every_process(seed: str, zone: str, locale: str) -> None:
    folder = Path(__file__).parent
    code = "import test_plan; print(test_plan.batch().plan_hash.hex())"
    given_environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parents[1])]),
        "PYTHONHASHSEED": seed,
        "TZ": zone,
        "LC_ALL": locale,
    }
    told = subprocess.run(
        [sys.executable, "-c", code], env=given_environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == GOLDEN


@given(st.data())
def test_every_change_of_a_byte_is_refused_or_another_plan(data: st.DataObject) -> None:
    plan = batch()
    raw = bytearray(plan.to_bytes())
    i = data.draw(st.integers(0, len(raw) - 1))
    raw[i] ^= data.draw(st.integers(1, 255))
    try:
        changed = Plan.from_bytes(bytes(raw))
    except PlanError:
        return
    assert changed.plan_hash != plan.plan_hash
    assert difference(plan, changed)


@given(st.binary(max_size=200))
def test_strange_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(PlanError):
        Plan.from_bytes(raw)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body.pop("vault"), "missing"),
        (lambda body: body.update(extra=1), "unknown"),
        (lambda body: body.update(vault=body["vault"][:-1]), "plan.vault"),
        (lambda body: body.update(valid_until=-1), "plan.valid_until"),
        (lambda body: body.update(valid_until=2**256), "plan.valid_until"),
        (lambda body: body.update(valid_until=True), "plan.valid_until"),
        (lambda body: body.update(policy_hash=b"short"), "plan.policy_hash"),
        (lambda body: body.update(kind="loan"), "plan.kind"),
        (lambda body: body.update(kind="settlement"), "plan.terms"),
        (lambda body: body.update(schema=1), "schema"),
        (lambda body: body.update(evidence=[b"quote"]), "plan.evidence"),
        (lambda body: body.update(evidence=[{**QUOTE, "kind": "rumour"}]), "evidence.0..kind"),
        (lambda body: body.update(evidence=[{**QUOTE, "data": b""}]), "empty"),
        (lambda body: body.update(evidence=[{**QUOTE, "data": bytes(64 * 1024 + 1)}]), "too large"),
        (lambda body: body.update(parent=b"short"), "plan.parent"),
        (lambda body: body["terms"].update(reason="x" * 2_049), "terms.reason"),
        (lambda body: body["terms"]["predicted_until"].update(idle=-1), "predicted_until.idle"),
        (lambda body: body.update(blocks=[]), "hub chain"),
        (lambda body: body.update(blocks=body["blocks"] * 2), "sorted by chain"),
        (lambda body: body.update(valid_after=body["valid_until"] + 1), "ends after"),
        (lambda body: body["terms"].update(calls=body["terms"]["calls"] * 40), "plan.terms.calls"),
        (lambda body: body["terms"]["calls"][0].update(data=b""), "Not a call of"),
        (lambda body: body["terms"]["calls"][0]["decoded"]["args"].update(assets=6), "do not say"),
        (lambda body: body["terms"]["calls"][0]["decoded"]["args"].update(more=1), "do not say"),
        (lambda body: body["terms"]["calls"][0]["decoded"].update(args=[]), "a map"),
        (lambda body: body["terms"]["calls"][0]["decoded"].update(function="drain"), "No such action"),
        (lambda body: body["terms"]["calls"][0]["decoded"].update(venue="a\nb"), "printable"),
    ],
)
def test_a_malformed_body_is_refused_naming_the_field(change: object, says: str) -> None:
    body = batch().body()
    assert callable(change)
    change(body)
    with pytest.raises(PlanError, match=says):
        Plan.from_bytes(canonical.encode(body, domain=DOMAIN, version=SCHEMA))


def test_a_plan_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(PlanError, match="too large"):
        Plan.from_bytes(bytes(300_000))


def test_differences_are_named_causes_first() -> None:
    plan = batch()
    block = plan.blocks[0]
    other = replace(
        plan,
        blocks=(replace(block, number=block.number + 1),),
        terms=replace(plan.batch, calls=plan.batch.calls[:1], min_nav_after=5),
    )
    seen = difference(plan, other)
    assert [each.path for each in seen] == ["blocks[0].number", "terms.calls[1]", "terms.min_nav_after"]
    assert explain(seen).startswith(
        "blocks[0].number: expected 1,234, saw 1,235 (also different: terms.calls[1]"
    )
    assert seen[1].seen == "nothing"
    assert difference(plan, plan) == ()


def test_call_bytes_have_to_say_what_the_plan_says() -> None:
    call = PlannedCall.supply(target=account(1), token=account(2), venue="v", key=bytes(32), assets=5)
    with pytest.raises(PlanError, match="do not say"):
        replace(call, args={**call.args, "assets": 6})


def test_the_hub_block_is_pinned() -> None:
    with pytest.raises(PlanError, match="hub chain"):
        replace(batch(), blocks=(PinnedBlock(1, 1, bytes(32), 1),))
