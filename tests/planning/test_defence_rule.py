"""The pure rule that defends debts, on drawn books: what it may do, and what it never does."""

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from planning.examples import AT, LOAN, UNIT, policy_sections, position_section
from risk.books import book

from keeper.book import Book
from keeper.config import parse
from keeper.connectors.base import Indebted, at_venue
from keeper.connectors.morpho_blue import MorphoBlueParams, MorphoBluePosition
from keeper.connectors.morpho_market import Market
from keeper.connectors.morpho_position import ORACLE_SCALE
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.planning.actions import REDUCING
from keeper.planning.defence import Defence, closed, defend, weak
from keeper.planning.outcome import after_calls
from keeper.planning.policy import Policy
from keeper.units import BPS, WAD

OWES, LENDS = "morpho:A", "morpho:B"
ETHER = 10**18
FLOOR, TARGET = 12_000, 15_000


def rules(names: str = "BA", **limits: int) -> Policy:
    """The example policy over these markets, of which "A" may be borrowed from, with floors of health."""
    sections = policy_sections()
    sections["positions"] = [
        position_section(f"morpho:{name}", "ABCDEFGHIJ".index(name) + 1) for name in names
    ]
    sections["caps"] = {each["venue"]: 900_000 * UNIT for each in sections["positions"]}
    sections["limits"] |= limits
    for each in sections["positions"]:
        if each["venue"] == OWES:
            each["params"] = {**each["params"], "borrowable": True}
            each["functions"] = ["repay", "withdrawCollateral"]
    health = {"floor_bps": FLOOR, "target_bps": TARGET, "nonce_key": 1}
    return parse(sections | {"health": health}, Policy)


POLICY = rules()


@dataclass(frozen=True)
class Drawn:
    """A book, in whose first market dollars are owed against ten ether at `price` dollars, `off` bps to
    either side at the vault's oracle, so that the market's own health is `bps`."""

    bps: int
    price: int
    off: int
    lent: int
    cash: int
    idle: int
    reserve: int
    status: Status
    policy: Policy = POLICY

    @property
    def debt(self) -> int:
        return 10 * self.price * UNIT * 86 * BPS // (100 * self.bps)

    @property
    def book(self) -> Book:
        loan = self.policy.vault.asset
        found = []
        for ref in self.policy.refs():
            params = MorphoBlueParams(**ref.params)
            free = LOAN if ref.venue == OWES else self.cash
            market = Market(LOAN, LOAN * 10**6, LOAN - free, (LOAN - free) * 10**6, AT, 0, 10**9)
            low = self.price * (BPS - self.off) * UNIT * ROUTE_SCALE // (BPS * ETHER)
            high = self.price * (BPS + self.off) * UNIT * ROUTE_SCALE // (BPS * ETHER)
            prices = Prices(loan, {params.market.collateral_token: RouteRate(low, high, self.status)})
            oracle = self.price * UNIT * ORACLE_SCALE // ETHER
            position = MorphoBluePosition(ref, params, prices, market, 0, 0, 0, oracle, 105 * WAD // 100)
            if ref.venue == OWES:
                shares = self.debt * 10**6
                owed = replace(market, borrow_assets=self.debt, borrow_shares=shares)
                position = replace(position, market=owed, debt_shares=shares, collateral=10 * ETHER)
            else:
                position = replace(position, shares=self.lent * 10**6)
            found.append(position)
        made = book(*found, idle=self.idle, reserve=self.reserve)
        return replace(made, caps={ref.venue: 2**100 for ref in self.policy.refs()})


amounts = st.just(0) | st.integers(min_value=0, max_value=8_000 * UNIT)
drawn = st.builds(
    Drawn,
    bps=st.integers(min_value=8_500, max_value=12_400),
    price=st.integers(min_value=1_000, max_value=6_000),
    off=st.integers(min_value=0, max_value=100),
    lent=amounts,
    cash=amounts,
    idle=amounts,
    reserve=amounts,
    status=st.sampled_from([Status.OK, Status.OK, Status.DIVERGED]),
)


def health(of: Book) -> int:
    position = at_venue(of.positions, OWES)
    assert isinstance(position, Indebted)
    return position.worst_health(of.at)


def after(of: Book, done: Defence) -> Book:
    positions, idle = after_calls(of, done.calls, of.at)
    return replace(of, positions=positions, idle=idle)


def paid(done: Defence) -> int:
    return sum(call.assets for call in done.calls if call.function == "repay")


@settings(max_examples=150, deadline=None)
@given(drawn)
def test_a_defence_raises_health_up_to_the_target_and_not_a_unit_further(world: Drawn) -> None:
    before = world.book
    done = defend(before, POLICY)
    if health(before) >= FLOOR * WAD // BPS:
        assert (weak(before, POLICY), done) == ((), None)
        return
    assert weak(before, POLICY) == (OWES,)
    if done is None:
        under_water = at_venue(before.positions, OWES).report(AT).low == 0
        nothing = max(before.idle, min(world.lent, world.cash)) < UNIT
        assert under_water or nothing or world.status is not Status.OK
        return
    assert {call.function for call in done.calls} <= REDUCING
    assert len(done.calls) <= POLICY.limits.max_calls
    left = after(before, done)
    assert health(left) >= health(before)
    assert left.idle >= 0
    if amount := paid(done):
        # One unit less would have left it short of the target.
        less = replace(done, calls=(*done.calls[:-1], done.calls[-1].having(assets=max(1, amount - 1))))
        assert amount == 1 or health(after(before, less)) < TARGET * WAD // BPS
        assert abs(left.total - before.total) <= POLICY.limits.rounding_loss_per_call * len(done.calls)


@settings(max_examples=150, deadline=None)
@given(drawn)
@example(Drawn(10_500, 2_000, 50, 0, 0, 3_000 * UNIT, 8_000 * UNIT, Status.OK))
def test_what_redemptions_wait_for_is_touched_last_and_for_the_floor_alone(world: Drawn) -> None:
    before = world.book
    done = defend(before, POLICY)
    if done is None:
        return
    left = after(before, done)
    if left.idle >= min(before.idle, before.reserve):
        return
    # Nothing was spare, no venue had a move's worth, and it is lifted to the floor and no further.
    assert [call.function for call in done.calls] == ["repay"]
    assert before.idle - before.reserve < UNIT
    assert min(world.lent, world.cash) < UNIT
    less = replace(done, calls=(done.calls[0].having(assets=max(1, paid(done) - 1)),))
    assert health(after(before, less)) < FLOOR * WAD // BPS


@settings(max_examples=60, deadline=None)
@given(drawn)
@example(Drawn(10_500, 2_000, 50, 9_000 * UNIT, 9_000 * UNIT, 500 * UNIT, 0, Status.DIVERGED))
def test_beside_a_position_in_doubt_nothing_else_is_done(world: Drawn) -> None:
    before = replace(world, status=Status.DIVERGED).book
    done = defend(before, POLICY)
    if done is not None and paid(done):
        assert len(done.calls) == 1, done.reason


def test_what_no_venue_has_alone_several_have_together() -> None:
    policy = rules("ABCDEFGHIJ", min_move=1_000 * UNIT, max_calls=16)
    world = Drawn(11_000, 2_000, 0, 900 * UNIT, 900 * UNIT, 0, 0, Status.OK, policy)
    done = defend(world.book, policy)
    assert done is not None
    assert [call.function for call in done.calls] == [*["withdraw"] * 5, "repay"]
    assert health(after(world.book, done)) >= TARGET * WAD // BPS


def test_cash_in_another_market_of_an_isolated_connector_is_free_and_its_collateral_is_not_touched() -> None:
    world = Drawn(11_000, 2_000, 50, 8_000 * UNIT, 8_000 * UNIT, 0, 0, Status.OK)
    address = at_venue(world.book.positions, OWES).ref.address
    at_one_address = tuple(
        replace(each, ref=replace(each.ref, address=address)) for each in world.book.positions
    )
    before = replace(world.book, positions=at_one_address, isolated=frozenset({address}))
    done = defend(before, POLICY)
    assert done is not None
    assert [(call.venue, call.function) for call in done.calls] == [(LENDS, "withdraw"), (OWES, "repay")]
    # One account for both is another matter: what is lent there secures the debt.
    assert defend(replace(before, isolated=frozenset()), POLICY) is None


def test_while_a_debt_is_in_danger_no_venue_may_grow() -> None:
    world = Drawn(11_000, 2_000, 50, 5_000 * UNIT, 0, 0, 0, Status.OK)
    assert weak(world.book, POLICY) == (OWES,)
    assert closed(world.book).caps == world.book.allocation
