"""Several strategies over one vault: the weighted mean of what they want, within all that bounds each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from test_intents import HELD, A, B, book

from keeper.book import Book
from keeper.errors import ConfigError, PlanError
from keeper.planning import composition
from keeper.planning.composition import Composition
from keeper.planning.intents import Intent, Target, Unwind
from keeper.planning.strategy import Allocation, load
from keeper.units import BPS

YIELD = "yield_allocation"


class Empty(BaseModel):
    """No parameters."""


@dataclass(frozen=True)
class Fixed:
    """Wants the same whatever the book says."""

    decision: Allocation | Sequence[Intent]
    name: str = "fixed"
    version: str = "1"
    params: Empty = field(default_factory=Empty)

    def decide(self, book: Book) -> Allocation | Sequence[Intent]:
        return self.decision


def of(a: int, b: int) -> Fixed:
    return Fixed(Allocation.of({A: a, B: b}, f"{a} and {b}"))


def composed(monkeypatch: pytest.MonkeyPatch, *members: tuple[Fixed, int]) -> Composition:
    """A composition of strategies that no entry point names."""
    made = dict(enumerate(strategy for strategy, _ in members))
    monkeypatch.setattr(composition, "load", lambda name, params: made[int(name)])
    each = [{"name": str(i), "share_bps": share} for i, (_, share) in enumerate(members)]
    return Composition(composition.Params.model_validate({"members": each}))


@st.composite
def wanted(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(target of A, target of B, share) of each member; targets together within 1,000."""
    cuts = sorted(draw(st.sets(st.integers(1, BPS - 1), max_size=4)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, BPS], strict=True)]
    members = []
    for share in shares:
        a = draw(st.integers(0, 1_000))
        members.append((a, draw(st.integers(0, 1_000 - a)), share))
    return members


@settings(max_examples=200, deadline=None)
@given(wanted())
def test_no_member_is_exceeded_and_the_sum_stays_theirs(members: list[tuple[int, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = composed(patch, *((of(a, b), share) for a, b, share in members))
        mean = dict(made.decide(book()).targets)
    for venue, column in ((A, 0), (B, 1)):
        assert min(each[column] for each in members) <= mean[venue] <= max(each[column] for each in members)
        exact = sum(each[column] * each[2] for each in members)
        assert mean[venue] * BPS <= exact < (mean[venue] + 1) * BPS
    # What bounds the sum of every member's targets, as the reserve does, bounds the sum here.
    assert sum(mean.values()) <= max(a + b for a, b, _ in members)
    if len({(a, b) for a, b, _ in members}) == 1:
        assert (mean[A], mean[B]) == members[0][:2]


def test_the_example_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made = composed(monkeypatch, (of(8_000, 1_000), 7_500), (of(0, 10_000), 2_500))
    assert made.decide(book()).targets == ((A, 6_000), (B, 3_250))


def test_members_may_answer_with_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = Fixed([Unwind(venue=A)])
    made = composed(monkeypatch, (leaving, 5_000), (Fixed([Target(venue=A, assets=HELD[A])]), 5_000))
    assert dict(made.decide(book()).targets) == {A: HELD[A] // 2, B: HELD[B]}


def test_a_member_that_leaves_out_a_venue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = composed(monkeypatch, (Fixed(Allocation.of({A: 1}, "")), BPS))
    with pytest.raises(PlanError, match="every venue once"):
        made.decide(book())


def two(first: int, second: int, **params: object) -> dict[str, object]:
    """The parameters of a composition of two."""
    return {
        "members": [
            {"name": YIELD, "share_bps": first, "params": params},
            {"name": YIELD, "share_bps": second, "params": {"venue_caps_bps": {A: 0}}},
        ]
    }


def test_the_strategies_that_ship_compose_within_the_reserve() -> None:
    short = replace(book(), reserve=4_000 * 10**6)
    made = load("composition", two(6_000, 4_000))
    decided = made.decide(short)
    assert isinstance(decided, Allocation)
    assert short.total - decided.total >= short.reserve
    alone = load(YIELD, {}).decide(short)
    assert (
        load("composition", two(6_000, 4_000) | {"members": [{"name": YIELD, "share_bps": BPS}]})
        .decide(short)
        .targets
        == alone.targets
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (two(6_000, 3_999), "sum to 9,999, not to 10,000"),
        (two(6_000, 4_001), "sum to 10,001, not to 10,000"),
        (two(10_000, 0), "greater than 0"),
        ({"members": []}, "at least 1"),
        ({"members": [{"name": "composition", "share_bps": BPS}]}, "cannot be a member of one"),
        ({"members": [{"name": "unheard_of", "share_bps": BPS}]}, "no such strategy"),
        (two(6_000, 4_000, grid=0), "parameter of the strategy does not fit"),
    ],
)
def test_a_composition_that_does_not_add_up_is_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("composition", params)


def test_plans_pin_every_member() -> None:
    pinned = load("composition", two(6_000, 4_000)).params.model_dump(mode="json")["members"]
    assert [each["share_bps"] for each in pinned] == [6_000, 4_000]
    assert [each["name"] for each in pinned] == [YIELD, YIELD]
    assert pinned[0]["source_digest"] == pinned[1]["source_digest"]
    assert pinned[0]["params"]["grid"] == 64
    assert pinned[1]["params"]["venue_caps_bps"] == {A: 0}
