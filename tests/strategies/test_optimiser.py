"""The optimiser against brute force: on its grid for any curve, after refinement for lending curves."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keeper.connectors.aave_reserve import RateCurve
from keeper.connectors.morpho_math import INITIAL_RATE_AT_TARGET, adaptive_borrow_rate
from keeper.errors import PlanError
from keeper.planning.optimiser import Venue, best_split, income
from keeper.units import RAY, WAD, YEAR


def table(points: Sequence[int]) -> Callable[[int], int]:
    """A rate curve given point by point: no shape at all."""
    return lambda assets: points[assets] * WAD // 100


def brute_force(venues: Sequence[Venue], budget: int, step: int) -> tuple[int, tuple[int, ...]]:
    """Most income, and among equals the split that gives most to the first venue, then the second."""
    options = [
        [(x, venue.income(x)) for x in range(venue.low, min(venue.high, budget) + 1, step)]
        for venue in venues
    ]
    return max(
        (sum(earned for _, earned in split), tuple(x for x, _ in split))
        for split in product(*options)
        if sum(x for x, _ in split) <= budget
    )


def aave(supplied: int, debt: int) -> Callable[[int], int]:
    """Rate of an Aave reserve where others supply `supplied`, as our deposit grows."""
    curve = RateCurve.from_bps(9_000, 0, 400, 6_000)
    return lambda ours: curve.rates(debt, supplied + ours - debt, 0, 1_000)[0] // (RAY // WAD)


def morpho(supplied: int, debt: int) -> Callable[[int], int]:
    """Rate of a Morpho market where others supply `supplied`, as our deposit grows."""

    def rate(ours: int) -> int:
        per_second, _ = adaptive_borrow_rate(supplied + ours, debt, INITIAL_RATE_AT_TARGET, 0)
        return per_second * YEAR * debt // (supplied + ours)

    return rate


@st.composite
def shapeless(draw: st.DrawFn) -> tuple[list[Venue], int]:
    venues = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        low = draw(st.integers(0, 3))
        high = low + draw(st.integers(0, 7))
        rates = draw(st.lists(st.integers(0, 9), min_size=high + 1, max_size=high + 1))
        venues.append(Venue(name, low, high, table(rates)))
    return venues, sum(venue.low for venue in venues) + draw(st.integers(0, 12))


@given(shapeless())
@settings(max_examples=300, deadline=None)
def test_any_curve_is_solved_exactly_on_the_grid_with_ties_by_venue_id(case: tuple[list[Venue], int]) -> None:
    venues, budget = case
    split = best_split(list(reversed(venues)), budget, grid=32)
    assert (split.income, tuple(split.assets.values())) == brute_force(venues, budget, 1)


@given(
    supplied=st.tuples(*[st.integers(60, 400)] * 3),
    usage=st.tuples(*[st.integers(30, 99)] * 3),
    caps=st.tuples(*[st.integers(0, 24)] * 3),
    budget=st.integers(1, 40),
    # A first step of 3 at most, so that no peak of these curves fits between two of its points.
    grid=st.just(16),
)
# The better of two peaks is higher between the points of the first grid than on them.
@example(supplied=(234, 60, 60), usage=(93, 30, 30), caps=(13, 4, 12), budget=25, grid=8)
@settings(max_examples=40, deadline=None)
def test_lending_curves_are_solved_to_the_unit_from_a_coarse_grid(
    supplied: tuple[int, ...], usage: tuple[int, ...], caps: tuple[int, ...], budget: int, grid: int
) -> None:
    curves = (aave, morpho, morpho)
    venues = [
        Venue(name, 0, cap, curve(others, others * percent // 100))
        for name, curve, others, percent, cap in zip("abc", curves, supplied, usage, caps, strict=True)
    ]
    assert best_split(venues, budget, grid=grid).income == brute_force(venues, budget, 1)[0]


def test_a_large_budget_is_placed_to_the_last_quantum() -> None:
    # A whole token: below it, the floors of a per-second rate make plateaus of their own.
    unit = 10**6
    venues = [
        Venue("aave", 0, 9_000_000 * unit, aave(20_000_000 * unit, 16_000_000 * unit)),
        Venue("blue", 0, 9_000_000 * unit, morpho(15_000_000 * unit, 13_400_000 * unit)),
        Venue("meta", 0, 1_234_567 * unit + 89, morpho(9_000_000 * unit, 8_550_000 * unit)),
    ]
    budget = 5_000_000 * unit + 7
    split = best_split(venues, budget, grid=64, quantum=unit)
    assert sum(split.assets.values()) == budget - 7
    assert split.assets["meta"] == venues[2].high - 89
    # No exchange of any power-of-two amount between two venues earns more.
    for giver, taker in (("aave", "blue"), ("blue", "aave"), ("meta", "aave"), ("meta", "blue")):
        for shift in range(23):
            moved = dict(split.assets)
            moved[giver] -= unit << shift
            moved[taker] += unit << shift
            if moved[giver] >= 0 and moved[taker] <= 9_000_000 * unit:
                assert income(venues, moved) <= split.income


def test_what_the_budget_does_not_reach_is_not_looked_at() -> None:
    asked = []

    def rate(assets: int) -> int:
        asked.append(assets)
        return WAD

    venue = Venue("a", 0, 10**12, rate)
    assert best_split([venue], 1_000, grid=64).assets == {"a": 1_000}
    assert len(asked) < 1_000


def test_targets_are_whole_quanta_above_the_lower_bound() -> None:
    venues = [Venue("a", 3, 97, aave(100, 90)), Venue("b", 0, 95, morpho(100, 90))]
    split = best_split(venues, 60, grid=4, quantum=10)
    assert (split.assets["a"] - 3) % 10 == 0
    assert split.assets["b"] % 10 == 0
    assert split.income == brute_force(venues, 60, 10)[0]


def test_what_would_lower_income_stays_idle() -> None:
    # Alone in a market with fixed debt, more supply only lowers the rate on all of it.
    venue = Venue("a", 0, 1_000, lambda assets: WAD if assets <= 400 else WAD // 4)
    assert best_split([venue], 1_000, grid=10).assets == {"a": 400}


@pytest.mark.parametrize(
    ("venues", "budget", "message"),
    [
        ([Venue("a", 5, 9, table([1] * 10))], 4, "cannot leave"),
        ([Venue("a", 5, 4, table([1] * 10))], 9, "leave no room"),
        ([Venue("a", 0, 4, table([1] * 10))] * 2, 9, "twice"),
    ],
)
def test_an_impossible_question_is_refused(venues: list[Venue], budget: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        best_split(venues, budget, grid=8)
