"""From an allocation to exact calls."""

from dataclasses import replace

import pytest
from examples import (
    AT,
    LOAN,
    UNIT,
    Holding,
    account,
    example_basis,
    example_policy,
    holding,
    policy_sections,
    position_section,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keeper.config import parse
from keeper.connectors.base import Report
from keeper.connectors.morpho_blue import MorphoBluePosition
from keeper.contracts import encode_call
from keeper.errors import PlanError, PolicyError
from keeper.ledger.portfolio import nav_for_batch, touched
from keeper.oracle.quote import Status
from keeper.planning.build import NothingToDoError, build_batch, build_settlement
from keeper.planning.outcome import predict
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation
from keeper.units import MAX_UINT256

POLICY = example_policy()
KEYS = {"morpho:A": b"\x01" * 32, "morpho:B": b"\x02" * 32}


def built(book: Holding, **targets: int) -> Plan:
    wanted = Allocation.of({f"morpho:{name}": assets for name, assets in targets.items()}, "because")
    return build_batch(POLICY, book, wanted, example_basis())


def test_withdrawals_come_before_supplies_and_an_exit_takes_everything() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    nav = book.idle + sum(position.report(AT).low for position in book.positions)
    plan = built(book, A=5_500 * UNIT, B=0)
    first, second = plan.batch.calls
    assert first.data == encode_call("withdraw(bytes32,uint256)", KEYS["morpho:B"], MAX_UINT256)
    assert (first.target, first.token, first.amount) == (account(12), account(6), 0)
    assert second.data == encode_call("supply(bytes32,uint256)", KEYS["morpho:A"], 5_500 * UNIT)
    assert (second.target, second.token, second.amount) == (account(11), account(6), 5_500 * UNIT)
    assert plan.batch.max_loss == 2 * POLICY.limits.rounding_loss_per_call
    assert plan.batch.min_nav_after == nav - plan.batch.max_loss
    assert dict(plan.batch.predicted)["morpho:B"] == 0
    assert (plan.valid_after, plan.valid_until) == (AT + 5, AT + 5 + POLICY.time.validity)
    assert plan.batch.nonce == 7
    assert first.explain() == "withdraw everything from morpho:B"


def test_a_batch_reads_the_positions_it_names_and_all_of_one_account() -> None:
    book = holding(POLICY, {"morpho:A": 1_000 * UNIT, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    shared = tuple(replace(each, ref=replace(each.ref, address=account(11))) for each in book.positions)
    marked = replace(book, positions=shared, marks={"morpho:A": 70 * UNIT, "morpho:B": 4_990 * UNIT})
    calls = [(account(11), encode_call("supply(bytes32,uint256)", KEYS["morpho:A"], 1))]
    other = [(account(11), encode_call("collect(address)", account(1)))]
    both, alone = frozenset({"morpho:A", "morpho:B"}), frozenset({"morpho:A"})
    assert touched(calls, shared, frozenset()) == both
    assert touched(calls, shared, {account(11)}) == alone
    assert touched(other, shared, {account(11)}) == both
    assert touched([(account(12), calls[0][1])], shared, {account(12)}) == frozenset()
    worth = [position.report(AT).low for position in shared]
    assert nav_for_batch(0, shared, marked.marks, both, AT) == sum(worth)
    assert nav_for_batch(0, shared, marked.marks, alone, AT) == worth[0] + 4_990 * UNIT


def test_the_floor_counts_venues_that_are_not_called_at_their_marks() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    marked = replace(book, marks={"morpho:A": 70 * UNIT, "morpho:B": 4_990 * UNIT})
    # What is called counts what it is worth, whatever its mark.
    plan = built(marked, A=500 * UNIT, B=book.positions[1].report(AT).low)
    assert plan.batch.min_nav_after == (1_000 + 4_990) * UNIT - plan.batch.max_loss


@settings(max_examples=60, deadline=None)
@given(
    held=st.tuples(*[st.integers(0, 400_000 * UNIT)] * 2),
    idle=st.integers(0, 400_000 * UNIT),
    split=st.tuples(*[st.integers(0, 1000)] * 2),
)
@example(held=(1001, 0), idle=1_000_999, split=(1, 1000))
def test_what_is_predicted_is_the_nav_to_the_rounding_allowed(
    held: tuple[int, int], idle: int, split: tuple[int, int]
) -> None:
    book = holding(POLICY, {"morpho:A": held[0], "morpho:B": held[1]}, idle)
    nav = book.idle + sum(position.report(AT).low for position in book.positions)
    cap = POLICY.caps["morpho:A"]
    targets = [min((nav * part) // (sum(split) + 1), cap) for part in split]
    try:
        plan = built(book, A=targets[0], B=targets[1])
    except NothingToDoError:
        # Only moves below the least one were wanted, and no exit; a supply also lacks what the withdrawals
        # that are left out do not bring.
        values = [position.report(AT).low for position in book.positions]
        unpaid = sum(max(0, value - target) for value, target in zip(values, targets, strict=True))
        for value, target in zip(values, targets, strict=True):
            assert value - target < POLICY.limits.min_move
            assert target - value - unpaid < POLICY.limits.min_move
            assert value == 0 or target > 0 or value == target
        return
    terms = plan.batch
    for at, values in ((plan.valid_after, terms.predicted), (plan.valid_until, terms.predicted_until)):
        then = book.idle + sum(position.report(at).low for position in book.positions)
        assert then - terms.max_loss <= sum(assets for _, assets in values) <= then
    for at in range(plan.valid_after, plan.valid_until + 1, 100):
        assert sum(predict(book, terms.calls, at).values()) >= terms.min_nav_after
    kinds = [call.function for call in plan.batch.calls]
    assert kinds == sorted(kinds, reverse=True)
    assert Plan.from_bytes(plan.to_bytes()) == plan


class Doubtful(MorphoBluePosition):
    """A position whose value nobody vouches for."""

    def report(self, at: int) -> Report:
        return replace(super().report(at), status=Status.STALE)


def in_doubt(book: Holding, venue: str) -> Holding:
    """The book with one position in doubt."""
    positions = tuple(Doubtful(**vars(each)) if each.ref.venue == venue else each for each in book.positions)
    return replace(book, positions=positions)


def test_a_position_in_doubt_is_left_last_and_alone() -> None:
    held = holding(POLICY, {"morpho:A": 3_000 * UNIT, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    assert len(built(held, A=0, B=0).batch.calls) == 2
    book = in_doubt(held, "morpho:B")
    (first,) = built(book, A=0, B=0).batch.calls
    assert first.explain() == "withdraw everything from morpho:A"
    kept = book.positions[0].report(AT).low
    (second,) = built(book, A=kept, B=0).batch.calls
    assert second.explain() == "withdraw everything from morpho:B"
    # What it does not bring is not spent either.
    worth = book.positions[1].report(AT).low
    (third,) = built(book, A=kept + worth + 1_000 * UNIT, B=0).batch.calls
    assert (third.function, third.assets) == ("supply", 1_000 * UNIT)
    # Of several in doubt, one.
    (fourth,) = built(in_doubt(book, "morpho:A"), A=0, B=0).batch.calls
    assert fourth.explain() == "withdraw everything from morpho:A"


def test_moves_below_the_least_one_are_left_out() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 0}, idle=UNIT)
    with pytest.raises(NothingToDoError, match="because"):
        built(book, A=UNIT - 1, B=0)


NAMES = "ABCDEFG"


def wide_policy(**limits: int) -> Policy:
    """The example policy over seven markets."""
    sections = policy_sections()
    sections["positions"] = [position_section(f"morpho:{name}", 1 + i) for i, name in enumerate(NAMES)]
    sections["caps"] = {f"morpho:{name}": 10**9 * UNIT for name in NAMES}
    sections["limits"] |= {"min_move": 100 * UNIT, "max_calls": 16} | limits
    return parse(sections, Policy)


def moved(policy: Policy, idle: int, reserve: int, **changes: int) -> Plan:
    """From 5,000 in each venue, to as much more or less."""
    book = holding(policy, {f"morpho:{name}": 5_000 * UNIT for name in NAMES}, idle, reserve=reserve)
    targets = {each.ref.venue: each.report(AT).low for each in book.positions}
    for name, change in changes.items():
        targets[f"morpho:{name}"] += change * UNIT
    return build_batch(policy, book, Allocation.of(targets, "because"), example_basis())


def test_what_redemptions_need_is_taken_however_many_venues_give_little() -> None:
    plan = moved(wide_policy(), 0, 250 * UNIT, A=-99, B=-98, C=-97, D=-96)
    assert [call.venue for call in plan.batch.calls] == ["morpho:A", "morpho:B", "morpho:C"]
    assert dict(plan.batch.predicted)["idle"] >= 250 * UNIT
    # Beside what is worth a call by itself, and no more of it than is needed.
    plan = moved(wide_policy(), 0, 250 * UNIT, A=-99, B=-200, C=-97, D=-96)
    assert [call.venue for call in plan.batch.calls] == ["morpho:A", "morpho:B"]
    with pytest.raises(NothingToDoError):
        moved(wide_policy(), 250 * UNIT, 250 * UNIT, A=-99, B=-98)
    # What has been taken out and is paid with the next settlement is no reason for a call at each block.
    with pytest.raises(NothingToDoError):
        moved(wide_policy(), 250 * UNIT, 250 * UNIT + 249_999, A=-99, B=-98)
    plan = moved(wide_policy(), 250 * UNIT, 250 * UNIT + 251_000, A=-99, B=-98)
    assert [call.venue for call in plan.batch.calls] == ["morpho:A"]


def test_what_is_left_out_is_taken_from_one_supply_after_another() -> None:
    plan = moved(wide_policy(), 0, 0, A=-1_000, B=-99, C=-99, D=-99, E=640, F=650)
    assert [(call.venue, call.assets) for call in plan.batch.calls] == [
        ("morpho:A", 1_000 * UNIT),
        ("morpho:E", 640 * UNIT),
        ("morpho:F", 353 * UNIT),
    ]
    plan = moved(wide_policy(), 0, 1_000 * UNIT, A=-1_000, B=-99, C=-99, D=-99, E=149, F=148)
    assert [(call.venue, call.assets) for call in plan.batch.calls] == [("morpho:A", 1_000 * UNIT)]


def test_where_fewer_calls_are_allowed_the_largest_moves_are_made_and_who_leaves_comes_first() -> None:
    plan = moved(wide_policy(max_calls=3), 0, 0, A=-500, B=-400, C=250, D=650)
    assert [call.venue for call in plan.batch.calls] == ["morpho:A", "morpho:B", "morpho:D"]
    plan = moved(wide_policy(max_calls=2), 0, 2_000 * UNIT, A=-500, B=-900, C=-600)
    assert [call.venue for call in plan.batch.calls] == ["morpho:B", "morpho:C"]


def test_a_venue_that_is_lent_out_is_not_overdrawn() -> None:
    book = holding(POLICY, {"morpho:A": 5_000 * UNIT, "morpho:B": 0}, 0, lent_out=LOAN + 4_000 * UNIT)
    with pytest.raises(PlanError, match="more than the venue lets go"):
        built(book, A=0, B=0)


def test_what_the_queue_needs_stays_idle() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 0}, 1_000 * UNIT, reserve=300 * UNIT)
    with pytest.raises(PlanError, match="does not have at hand"):
        built(book, A=701 * UNIT, B=0)
    assert dict(built(book, A=700 * UNIT, B=0).batch.predicted)["idle"] == 300 * UNIT


def test_a_target_above_the_cap_is_refused_by_the_policy() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 0}, 2_000_000 * UNIT)
    with pytest.raises(PolicyError, match=r"terms\.predicted\.morpho:A"):
        built(book, A=900_010 * UNIT, B=0)


def test_an_allocation_over_other_venues_is_refused() -> None:
    book = holding(POLICY, {"morpho:A": 0, "morpho:B": 0}, UNIT)
    with pytest.raises(PlanError, match="every venue once"):
        built(book, A=UNIT)


@given(pps=st.integers(10**20, 10**30))
def test_a_settlement_allows_the_tolerance_and_no_more(pps: int) -> None:
    plan = build_settlement(POLICY, 3, pps, example_basis())
    terms = plan.settlement
    assert terms.min_pps * 10_000 <= pps * 9_975 < (terms.min_pps + 1) * 10_000
    assert (terms.max_pps - 1) * 10_000 < pps * 10_025 <= terms.max_pps * 10_000
    wider = replace(plan, terms=replace(terms, max_pps=terms.max_pps + pps // 1_000))
    with pytest.raises(PolicyError, match="max_pps"):
        POLICY.check(wider)


def test_a_settlement_needs_a_price() -> None:
    with pytest.raises(PlanError, match="above 0"):
        build_settlement(POLICY, 3, 0, example_basis())
