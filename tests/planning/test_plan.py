"""The plan's bytes: one encoding, strictly parsed, differences named."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from examples import UNIT, account, example_basis, example_policy, holding
from hypothesis import given
from hypothesis import strategies as st

from keeper.contracts.handle import functions
from keeper.errors import PlanError
from keeper.planning.actions import ACTIONS
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.calls import PlannedCall
from keeper.planning.comparison import explain
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.plan import DOMAIN, SCHEMA, Plan, difference
from keeper.planning.stamps import PinnedBlock
from keeper.planning.strategy import Allocation

POLICY = example_policy()
GOLDEN = "ad65f744ca6330cfde8744c5a19a1f14d9545382164a6aa9f715c1d7ba880257"


QUOTE = {"kind": "quote", "source": "a desk", "observed_at": 1, "data": b"1 for 2"}


def batch() -> Plan:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    return build_batch(POLICY, book, wanted, example_basis())


def said(value: object) -> bytes:
    """Under the plans' domain, also what our own encoder refuses to write."""
    return cbor2.dumps([DOMAIN, SCHEMA, value], canonical=True)


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


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**257), 2**257),
    st.binary(max_size=40),
    st.text(max_size=20),
    st.sampled_from([b"\x01" * 32, account(9), "supply", "mint", "quote", 2**256 - 1]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every value in the tree but its root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, each in inner for place in ((*path, name), *_places(each, (*path, name)))]


@given(st.data())
def test_any_values_in_any_places_are_refused_or_are_the_plan_they_say(data: st.DataObject) -> None:
    plan = replace(batch(), evidence=(Evidence(EvidenceKind.QUOTE, "a desk", 1, b"1 for 2"),))
    body: Any = plan.body()
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(_places(body)))
        inner = body
        for step in way:
            inner = inner[step]
        inner[last] = data.draw(TREES)
    raw = said(body)
    try:
        parsed = Plan.from_bytes(raw)
    except PlanError:
        return
    assert parsed.to_bytes() == raw
    assert (parsed == plan) == (raw == plan.to_bytes())


@given(TREES)
def test_any_tree_under_the_plans_domain_is_refused(tree: Any) -> None:
    with pytest.raises(PlanError):
        Plan.from_bytes(said(tree))


ARGUMENTS = {
    "bytes32": b"\x07" * 32,
    "bytes": b"path",
    "address": account(8),
    "bool": True,
    "int24": -60,
    "uint8": 1,
    "uint128": 2**128 - 1,
    "uint256": 2**256 - 1,
}


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_action_is_decoded_and_encoded_by_name(name: str) -> None:
    action = ACTIONS[name]
    args = {
        argument: ARGUMENTS[kind]
        for argument, kind in zip(action.arguments, action.function.input_types(), strict=True)
    }
    call = PlannedCall.of(name, target=account(1), token=account(2), venue="v", args=args)
    assert call.amount == (0 if action.pushes is None else args[action.pushes])
    plan = replace(batch(), terms=replace(batch().batch, calls=(call,)))
    assert Plan.from_bytes(plan.to_bytes()) == plan
    (again,) = Plan.from_bytes(plan.to_bytes()).batch.calls
    assert dict(again.args) == args
    with pytest.raises(PlanError):
        replace(call, data=call.data + bytes(32))
    with pytest.raises(PlanError, match="Other arguments"):
        PlannedCall.of(name, target=account(1), token=account(2), venue="v", args={**args, "more": 1})


def test_every_action_is_one_of_our_contracts() -> None:
    contracts = (
        "AaveV3Connector",
        "MorphoBlueConnector",
        "ERC4626Connector",
        "UniswapV3Connector",
        "SwapHandler",
    )
    known = {each.signature for name in contracts for each in functions(name)}
    assert {action.function.signature for action in ACTIONS.values()} <= known


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body.pop("vault"), "missing"),
        (lambda body: body.update(extra=1), "unknown"),
        (lambda body: body.update(vault=body["vault"][:-1]), "plan.vault"),
        (lambda body: body.update(valid_until=-1), "plan.valid_until"),
        (lambda body: body.update(valid_until=2**256), "bignum of at most 32 bytes"),
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
        Plan.from_bytes(said(body))


@pytest.mark.parametrize("place", ["schema", "chain_id", "parent", "kind", "terms", "code"])
def test_a_number_of_too_many_digits_to_be_shown_is_refused_like_any_other(place: str) -> None:
    body = batch().body()
    changed = body | {place: {**body[place], "name": 10**5_000} if place in ("terms", "code") else 10**5_000}
    with pytest.raises(PlanError, match="bignum of at most 32 bytes"):
        Plan.from_bytes(said(changed))


def test_a_strategys_parameter_of_too_many_digits_is_refused_before_it_is_compared() -> None:
    body = batch().body()
    body["code"]["strategy"]["params"] = {"weight": -(10**5_000)}
    with pytest.raises(PlanError, match="bignum of at most 32 bytes"):
        Plan.from_bytes(said(body))


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


@pytest.mark.parametrize("text", ["a\nb", "x" * 2_049])
def test_what_could_not_be_parsed_again_is_not_built(text: str) -> None:
    with pytest.raises(PlanError, match="no plan can carry"):
        replace(batch().batch, reason=text)
    with pytest.raises(PlanError, match="no plan can carry"):
        Evidence(EvidenceKind.QUOTE, text, 1, b"1 for 2")


def test_the_hub_block_is_pinned() -> None:
    with pytest.raises(PlanError, match="hub chain"):
        replace(batch(), blocks=(PinnedBlock(1, 1, bytes(32), 1),))
