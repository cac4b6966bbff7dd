"""Which tokens are harvested by themselves: one that may not be takes no other one down with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from planning.examples import account, example_policy
from risk.books import book as book_of

from keeper.book import Book
from keeper.connectors.base import Leg, PositionRef, Report, key_of
from keeper.connectors.token import TokenPosition
from keeper.errors import PlanError
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.planning.actions import SWAP
from keeper.planning.bounds import HarvestPolicy
from keeper.planning.harvest import by_itself, due, harvest
from keeper.planning.policy import Policy
from keeper.swap.market import Market, PoolState
from keeper.swap.policy import Hop, SoldToken, SwapPolicy
from keeper.units import Address

VENUE = "earning"
MILLION = 10**12
NATIVE = account(79)
TOKENS = {"A": (account(77), account(9)), "B": (account(78), account(10))}
"""Each with its pool."""


@dataclass(frozen=True)
class Earning:
    """A position that has earned so much of each token."""

    ref: PositionRef
    earned: Mapping[Address, int]

    def report(self, at: int) -> Report:
        return Report(1_000, 1_000)

    def claimable(self, at: int) -> Mapping[Address, int]:
        return self.earned

    def after_claim(self, reward: Address, at: int) -> "tuple[Earning, int]":
        return self, self.earned[reward]

    def legs(self, at: int) -> tuple[Leg, ...]:
        return ()


def selling() -> Policy:
    example = example_policy()
    tokens = {
        name: SoldToken(
            address=token,
            venue=f"held:{name}",
            max_slippage_bps=300,
            path=(Hop(pool=pool, fee=500, to=example.vault.asset),),
        )
        for name, (token, pool) in TOKENS.items()
    }
    swap = SwapPolicy(
        handler=account(50), router=account(51), native=NATIVE, slippage_bps=30, max_loss=5, tokens=tokens
    )
    return example.model_copy(update={"harvest": HarvestPolicy(min_worth=MILLION // 2), "swap": swap})


def earned(policy: Policy, amounts: Mapping[str, int], statuses: Mapping[str, Status]) -> Book:
    """A vault that has earned of both tokens, and holds none; one is worth what one of the asset is."""
    rates = {
        token: RouteRate(ROUTE_SCALE * 99 // 100, ROUTE_SCALE, statuses.get(name, Status.OK))
        for name, (token, _) in TOKENS.items()
    }
    prices = Prices(policy.vault.asset, {**rates, NATIVE: RouteRate(0, 1, Status.OK)})
    ref = PositionRef("earning", account(1), b"\1" * 32, VENUE, {})
    held = [
        TokenPosition(
            PositionRef("token", account(20 + i), key_of(token), f"held:{name}", {}), token, prices, 0
        )
        for i, (name, (token, _)) in enumerate(TOKENS.items())
    ]
    pools = {pool: PoolState(2**96, 10**20) for _, pool in TOKENS.values()}
    made = book_of(Earning(ref, {TOKENS[name][0]: amount for name, amount in amounts.items()}), *held)
    return replace(
        made,
        market=Market(prices, 1, pools),
        caps={each.ref.venue: 2**128 for each in made.positions},
        params=replace(made.params, min_redeem=1),
    )


BOTH = {"A": MILLION, "B": MILLION}


def sold(book: Book, policy: Policy) -> list[str]:
    """The names of what is sold, which is what quotes are asked for."""
    calls = by_itself(book, policy).calls
    tokens = [call.token for call in calls if call.venue == SWAP]
    assert len(calls) == 3 * len(tokens), "claim, sale, and what is kept"
    names = [name for name, (token, _) in TOKENS.items() if token in tokens]
    assert [each.name for each in due(book, policy)[1]] == names
    return names


def test_every_token_that_is_worth_it_is_sold() -> None:
    policy = selling()
    assert sold(earned(policy, BOTH, {}), policy) == ["A", "B"]
    assert sold(earned(policy, {"A": MILLION, "B": MILLION // 2}, {}), policy) == ["A"]
    assert sold(earned(policy, {"A": 0, "B": 0}, {}), policy) == []


@pytest.mark.parametrize("status", [Status.STALE, Status.DIVERGED, Status.UNAVAILABLE])
def test_a_price_in_doubt_leaves_the_venues_other_reward_to_be_sold(status: Status) -> None:
    policy = selling()
    book = earned(policy, BOTH, {"B": status})
    assert sold(book, policy) == ["A"]
    # Who asks for a harvest is told.
    with pytest.raises(PlanError, match=r"A token in doubt is not sold \[B\]"):
        harvest(book, policy, (VENUE,))


def test_a_token_whose_venue_may_not_grow_is_left_out() -> None:
    policy = selling()
    book = earned(policy, BOTH, {})
    assert sold(replace(book, caps={**book.caps, "held:A": 0}), policy) == ["B"]


def test_nothing_is_harvested_while_exits_are_overdue_or_will_be_before_the_plan_ends() -> None:
    policy = selling()
    book = earned(policy, BOTH, {})
    since = replace(book.accounting, queued_shares=1, queued_since=book.at)
    for age, names in ((policy.time.validity, ["A", "B"]), (policy.time.validity - 1, [])):
        late = replace(book, accounting=since, params=replace(book.params, max_age=age))
        assert sold(late, policy) == names
