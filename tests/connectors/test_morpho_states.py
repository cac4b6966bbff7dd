"""The Morpho Blue mirror against the deployed contracts in drawn states: our connector's report, the accrual
and every action, to the wei."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from conftest import Walk
from morpho_states import (
    BORROWABLE,
    SUPPLY_ONLY,
    Lender,
    MarketState,
    draw_feeds,
    draw_market,
    draw_oracle,
)
from states import REPORT, Stage, State, magnitude, reported

from keeper.connectors.base import PositionRef, Report, Role, load
from keeper.connectors.equity import MAX_DEBT, MAX_HEALTH
from keeper.connectors.morpho_blue import MorphoBluePosition, read_market
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import Function, encode_call
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Status
from keeper.units import MAX_UINT256, WAD

STATES = 500
PARAMS = "(address,address,address,address,uint256)"
MARKET = Function("market(bytes32)", "(uint128,uint128,uint128,uint128,uint128,uint128)")
RATE_AT_TARGET = Function("rateAtTarget(bytes32)", "(int256)")
MORPHO_BLUE = load("morpho_blue")


@dataclass
class Campaign:
    """Drawn states of one connector, and how often each kind of them was met."""

    walk: Walk
    stage: Stage = field(init=False)
    lender: Lender = field(init=False)
    met: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.stage = Stage.open(self.walk)
        self.lender = Lender.open(self.stage)

    def draw(self, name: str) -> tuple[State, MarketState, PositionRef]:
        """A state of the market called `name`, of its oracle and of the feeds."""
        walk, ref = self.walk, self.lender.ref(name)
        state = State(at=walk.now() + magnitude(walk, 10**9))
        market = draw_market(walk, state.at)
        if name == SUPPLY_ONLY:
            market.debt_shares = 0
        params = ref.params["market"]
        market.write(state, self.lender.morpho, params["irm"], ref.key, ref.address)
        draw_feeds(walk, self.stage, state)
        draw_oracle(walk, state, params["oracle"])
        return state, market, ref

    def position(self, ref: PositionRef, read: Any, at: int) -> MorphoBluePosition:
        prices = self.stage.prices(read, MORPHO_BLUE.tokens(ref))
        found = MORPHO_BLUE.position(ref, read, prices, at)
        assert isinstance(found, MorphoBluePosition)
        return found

    def reads(self, ref: PositionRef) -> list[Any]:
        return [*MORPHO_BLUE.calls(ref), *self.stage.value_calls(MORPHO_BLUE.tokens(ref))]


def or_refusal(run: Any) -> Any:
    """What `run` returns, or the error with which it refuses."""
    try:
        return run()
    except (PlanError, ValuationError) as error:
        return error


def check_report(campaign: Campaign) -> None:
    """The three words of a report, and the legs they come from."""
    walk = campaign.walk
    name = (SUPPLY_ONLY, *BORROWABLE)[walk.draw(5)]
    state, market, ref = campaign.draw(name)
    report = REPORT.at(ref.address, ref.key)
    read = campaign.stage.read(state, [*campaign.reads(ref), report])
    theirs = reported(read(report))
    # Whatever the block it was read at, between the last accrual and the one it is asked about.
    seen_at = market.last_update + walk.draw(state.at - market.last_update + 1)
    ours = or_refusal(lambda: campaign.position(ref, read, seen_at).report(state.at))
    if theirs is None:
        assert isinstance(ours, ValuationError), (name, state, market, ours)
        campaign.met["a revert"] += 1
        return
    assert ours == theirs, (name, state, market, ours, theirs)
    _count(campaign.met, theirs)
    check_legs(campaign.position(ref, read, seen_at), state.at, theirs)


def check_legs(position: MorphoBluePosition, at: int, report: Report) -> None:
    """What is owned less what is owed is the report."""
    legs = position.legs(at)
    owned = [leg for leg in legs if leg.role is not Role.BORROWED]
    owed = [leg for leg in legs if leg.role is Role.BORROWED]
    assert report.low == max(
        0, min(MAX_UINT256, sum(leg.low for leg in owned)) - sum(leg.high for leg in owed)
    )
    assert all(leg.amount for leg in legs)
    assert report.status == max((leg.status for leg in legs), default=Status.OK)


def _count(met: Counter[str], report: Report) -> None:
    met[report.status.name] += 1
    met["a debt"] += report.debt > 0
    met["a debt that does not fit"] += report.debt == MAX_DEBT
    met["a health that does not fit"] += report.health == MAX_HEALTH
    met["no health in debt"] += report.debt > 0 == report.health
    met["a loan to be liquidated"] += 0 < report.health < WAD
    met["a healthy loan"] += WAD <= report.health < MAX_HEALTH
    met["more owed than owned"] += report.debt > 0 == report.high
    met["a value"] += report.low > 0


def check_accrual(campaign: Campaign) -> None:
    """`Morpho.accrueInterest`: the whole market and the memory of its rate model afterwards."""
    name = (SUPPLY_ONLY, *BORROWABLE)[campaign.walk.draw(5)]
    state, market, ref = campaign.draw(name)
    params = ref.params["market"]
    words = tuple(params.values())
    after = [
        MARKET.at(campaign.lender.morpho, ref.key),
        RATE_AT_TARGET.at(params["irm"], ref.key),
    ]
    data = encode_call(f"accrueInterest({PARAMS})", words)
    before = campaign.stage.read(state, MORPHO_BLUE.calls(ref))
    done, read = campaign.stage.act(state, campaign.lender.morpho, data, after)
    decoded, _ = read_market(
        campaign.lender.morpho, MarketParams.model_validate(params), ref.address, before, ref
    )
    ours = or_refusal(lambda: decoded.accrue(state.at))
    if done is None:
        assert isinstance(ours, ValuationError), (name, state, market, ours)
        campaign.met["a revert"] += 1
        return
    rate_at_target = read(after[1])
    stored = (ours.supply_assets, ours.supply_shares, ours.borrow_assets, ours.borrow_shares)
    assert (*stored, ours.last_update, ours.fee) == read(after[0]), (name, state, market, ours)
    assert ours.rate_at_target == rate_at_target, (name, state, market, ours)
    campaign.met["accruals"] += 1


def run_reports(walk: Walk, states: int) -> Campaign:
    campaign = Campaign(walk)
    for _ in range(states):
        check_report(campaign)
    return campaign


def run_accruals(walk: Walk, states: int) -> Campaign:
    campaign = Campaign(walk)
    for _ in range(states):
        check_accrual(campaign)
    return campaign


def test_reports_of_drawn_states_are_the_connectors_to_the_wei(walk: Walk) -> None:
    met = run_reports(walk, STATES).met
    wanted = {
        "OK",
        "STALE",
        "UNAVAILABLE",
        "a debt",
        "a debt that does not fit",
        "a health that does not fit",
        "no health in debt",
        "a loan to be liquidated",
        "a healthy loan",
        "more owed than owned",
        "a revert",
        "a value",
    }
    assert all(met[kind] > 3 for kind in wanted), met


def test_accruals_of_drawn_states_are_morphos_to_the_wei(walk: Walk) -> None:
    met = run_accruals(walk, STATES).met
    assert met["accruals"] > STATES // 2
    assert met["a revert"] > 3
