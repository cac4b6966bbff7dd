"""What people want: canonical bytes that nobody can bend, and one allocation whatever the order."""

from dataclasses import fields, replace
from random import Random

import pytest
from examples import AT, UNIT, example_basis, example_policy, holding, policy_sections
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper import canonical
from keeper.book import Book
from keeper.config import parse as parse_model
from keeper.connectors.base import EVERYTHING
from keeper.contracts import address
from keeper.errors import DecodeError, PlanError, PolicyError
from keeper.exposures import Exposure
from keeper.ledger import vault
from keeper.planning import intents as module
from keeper.planning.build import build_batch
from keeper.planning.evidence import Evidence, EvidenceKind, decide
from keeper.planning.intents import (
    Harvest,
    Hold,
    Intent,
    Intents,
    Move,
    Target,
    Unwind,
    allocate,
    parse,
    resolve,
)
from keeper.planning.policy import Policy

A, B, IDLE = "morpho:A", "morpho:B", "idle"
STRICT = example_policy()
POLICY = parse_model(policy_sections() | {"strategy": {"name": "yield_allocation", "intents": True}}, Policy)


def book(a: int = 3_000, b: int = 5_000, idle: int = 1_000, reserve: int = 0, cap: int = 900_000) -> Book:
    held = holding(POLICY, {A: a * UNIT, B: b * UNIT}, idle * UNIT)
    return Book(
        at=AT,
        idle=held.idle,
        positions=held.positions,
        marks=held.marks,
        caps={A: cap * UNIT, B: 900_000 * UNIT},
        reserve=reserve * UNIT,
        accounting=vault.Accounting(*(0 for _ in fields(vault.Accounting))),
        params=vault.Params(address("0x" + "11" * 20), *(0 for _ in fields(vault.Params)[1:])),
        nonce=0,
        signer_set_version=1,
        healthy=True,
        risk_paused_until=0,
    )


def wish(*intents: Intent) -> Intents:
    return Intents(intents=intents, reason="The market moved.", author="desk", issued_at=AT)


def targets(*intents: Intent, of: Book | None = None) -> dict[str, int]:
    return dict(allocate(intents, of or book()).targets)


HELD = book().allocation


def test_each_intent_does_what_it_says() -> None:
    assert targets(Move(source=A, destination=B, assets=UNIT)) == {A: HELD[A] - UNIT, B: HELD[B] + UNIT}
    assert targets(Move(source=A, destination=B, assets=EVERYTHING)) == {A: 0, B: sum(HELD.values())}
    assert targets(Move(source=IDLE, destination=B, assets=UNIT)) == {A: HELD[A], B: HELD[B] + UNIT}
    assert targets(Move(source=B, destination=IDLE, assets=UNIT)) == {A: HELD[A], B: HELD[B] - UNIT}
    assert targets(Target(venue=A, assets=17 * UNIT)) == {A: 17 * UNIT, B: HELD[B]}
    assert targets(Target(venue=A, share_bps=1_000)) == {A: book().total // 10, B: HELD[B]}
    assert targets(Unwind(venue=A)) == {A: 0, B: HELD[B]}
    assert targets(Hold(until=AT + 1)) == HELD


def test_all_that_is_idle_is_what_redemptions_spare() -> None:
    spare = book(reserve=400)
    assert targets(Move(source=IDLE, destination=B, assets=EVERYTHING), of=spare)[B] == HELD[B] + 600 * UNIT


@pytest.mark.parametrize(
    ("intents", "message"),
    [
        ([Move(source=A, destination=B, assets=4_000 * UNIT)], "More is moved than there is"),
        ([Move(source=IDLE, destination=B, assets=1_001 * UNIT)], "More is moved than there is"),
        ([Move(source="venus", destination=B, assets=UNIT)], "an unknown venue"),
        ([Unwind(venue=IDLE)], "an unknown venue"),
        ([Target(venue=A, assets=1), Unwind(venue=A)], "the same venue"),
        ([Target(venue=A, assets=1), Move(source=B, destination=A, assets=1)], "the same venue"),
        (
            [Move(source=A, destination=B, assets=EVERYTHING), Move(source=A, destination=IDLE, assets=1)],
            "All of a venue is moved, and more",
        ),
        ([Hold(until=AT + 9), Unwind(venue=A)], "goes with no other"),
        ([Hold(until=AT)], "The hold is over"),
        ([Target(venue=A, assets=4_001 * UNIT)], "spend what redemptions need"),
    ],
)
def test_what_cannot_be_is_refused(intents: list[Intent], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        allocate(intents, book())


def test_a_harvest_names_its_venue_and_changes_no_target() -> None:
    allocation = allocate([Harvest(venue=A, reason="It has piled up."), Unwind(venue=B)], book())
    assert dict(allocation.targets) == {A: HELD[A], B: 0}
    assert allocation.harvests == (A,)
    assert allocation.reason == f"harvest {A} (It has piled up.); leave {B}"
    resolved = resolve(wish(Harvest(venue=A)), book(), POLICY)
    assert resolved.harvests == (A,)
    with pytest.raises(PlanError, match="the same venue"):
        allocate([Harvest(venue=A), Harvest(venue=A)], book())


def test_redemptions_caps_and_liquidity_come_first() -> None:
    with pytest.raises(PlanError, match="More is moved than there is"):
        targets(Move(source=IDLE, destination=B, assets=601 * UNIT), of=book(reserve=400))
    with pytest.raises(PlanError, match="spend what redemptions need"):
        targets(Target(venue=A, assets=3_700 * UNIT), of=book(reserve=400))
    with pytest.raises(PolicyError, match="Above the venue's cap"):
        targets(Move(source=B, destination=A, assets=UNIT), of=book(cap=3_000))
    # Over its cap or not, a venue can be left.
    assert targets(Unwind(venue=A), of=book(cap=0))[A] == 0
    shared = Exposure("both", (A, B), 0, 8_000 * UNIT, 8_000 * UNIT, 8_500 * UNIT, 8_500 * UNIT)
    both = replace(book(), exposures=(shared,))
    assert targets(Move(source=IDLE, destination=B, assets=499 * UNIT), of=both)[B] > HELD[B]
    with pytest.raises(PolicyError, match="Above the cap of a risk id"):
        targets(Move(source=IDLE, destination=B, assets=501 * UNIT), of=both)
    lent = holding(POLICY, {A: 3_000 * UNIT, B: 5_000 * UNIT}, 0, lent_out=10**6 * UNIT + 2_000 * UNIT)
    with pytest.raises(PlanError, match="does not let that much go now"):
        targets(Unwind(venue=A), of=replace(book(), positions=lent.positions))


moves = st.builds(
    Move,
    source=st.just(A),
    destination=st.sampled_from([B, IDLE]),
    assets=st.integers(1, 700 * UNIT),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_says_nothing_and_nothing_is_lost(wanted: list[Intent], random: Random) -> None:
    shuffled = sorted(wanted, key=lambda _: random.random())
    first, second = allocate(wanted, book()), allocate(shuffled, book())
    assert first == second
    out = sum(each.assets for each in wanted if isinstance(each, Move))
    into = sum(each.assets for each in wanted if isinstance(each, Move) and each.destination == B)
    assert dict(first.targets) == {A: HELD[A] - out, B: HELD[B] + into}


def test_the_plan_does_what_the_intents_say() -> None:
    allocation = resolve(
        wish(Move(source=B, destination=A, assets=EVERYTHING, reason="B is risky")), book(), POLICY
    )
    assert "desk: The market moved." in allocation.reason
    assert "(B is risky)" in allocation.reason
    plan = build_batch(POLICY, book(), allocation, example_basis())
    assert [call.function for call in plan.batch.calls] == ["withdraw", "supply"]
    assert plan.batch.calls[1].amount == HELD[B]


def test_without_the_policys_leave_nobody_decides_in_the_strategys_place() -> None:
    with pytest.raises(PolicyError, match="only the strategy decide"):
        resolve(wish(Unwind(venue=A)), book(), STRICT)
    assert STRICT.hash != POLICY.hash
    with pytest.raises(PolicyError, match="smaller than the policy's least one"):
        resolve(wish(Move(source=A, destination=B, assets=UNIT - 1)), book(), POLICY)


def test_evidence_of_intents_decides_in_the_strategys_place() -> None:
    wanted = wish(Unwind(venue=A))
    evidence = Evidence(EvidenceKind.INTENT, "desk", AT, wanted.to_bytes())
    assert decide([evidence], book(), POLICY) == resolve(wanted, book(), POLICY)
    for wrong in (replace(evidence, source="another"), replace(evidence, observed_at=AT + 1)):
        with pytest.raises(PlanError, match="not what its bytes say"):
            decide([wrong], book(), POLICY)


ALL = wish(
    Move(source=A, destination=B, assets=5, reason="why"),
    Target(venue=A, share_bps=7),
    Unwind(venue=B),
    Harvest(venue=B),
    Hold(until=9),
)


def test_canonical_bytes_come_back_as_the_same_intents() -> None:
    assert parse(ALL.to_bytes()) == ALL


def encoded(**changes: object) -> bytes:
    return canonical.encode(
        ALL.model_dump(mode="python") | changes, domain=module.DOMAIN, version=module.SCHEMA
    )


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (encoded(extra=1), "extra"),
        (encoded(issued_at=-1), "issued_at"),
        (encoded(issued_at=True), "issued_at"),
        (encoded(author="two\nlines"), "author"),
        (encoded(intents=[]), "intents"),
        (
            encoded(intents=[{"kind": "move", "source": A, "destination": A, "assets": 1, "reason": ""}]),
            "same",
        ),
        (encoded(intents=[{"kind": "steal", "venue": A}]), "intents.0"),
        (encoded(intents=[{"kind": "target", "venue": A, "reason": ""}]), "either assets or share_bps"),
        (encoded(intents=[{"kind": "unwind", "venue": A}]), "Not the canonical form"),
        (encoded(intents=[Unwind(venue=A).model_dump()] * 33), "intents"),
        (canonical.encode([1], domain=module.DOMAIN, version=module.SCHEMA), "are a map"),
        (canonical.encode({}, domain="another", version=1), "another kind"),
    ],
)
def test_other_bytes_are_refused_by_name(data: bytes, named: str) -> None:
    with pytest.raises(DecodeError, match=named):
        parse(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ALL.to_bytes()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_says_something_else(place: int, change: int) -> None:
    data = bytearray(ALL.to_bytes())
    data[place] ^= change
    try:
        again = parse(bytes(data))
    except DecodeError:
        return
    assert again != ALL
