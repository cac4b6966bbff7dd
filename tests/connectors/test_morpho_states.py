"""The Morpho Blue mirror against the deployed contracts in drawn states: our connector's report, the accrual
and every action, to the wei."""

from collections import Counter
from collections.abc import Callable
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
    part,
)
from states import FIRST_WORD, REPORT, Stage, State, magnitude, reported, slot

from keeper.connectors.base import EVERYTHING, PositionRef, Report, Role, load
from keeper.connectors.equity import MAX_DEBT, MAX_HEALTH
from keeper.connectors.morpho_blue import MorphoBluePosition, read_market
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import Function, encode_call
from keeper.errors import DecodeError, PlanError, ValuationError
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


def or_refusal(run: Callable[..., Any], *args: Any) -> Any:
    """What `run` returns, or the error with which it refuses."""
    try:
        return run(*args)
    except (DecodeError, PlanError, ValuationError) as error:
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
        assert isinstance(ours, ValuationError | DecodeError), (name, state, market, ours)
        campaign.met["a revert"] += 1
        campaign.met["an oracle without a number"] += isinstance(ours, DecodeError)
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
        "an oracle without a number",
        "a value",
    }
    assert all(met[kind] > 3 for kind in wanted), met


def test_accruals_of_drawn_states_are_morphos_to_the_wei(walk: Walk) -> None:
    met = run_accruals(walk, STATES).met
    assert met["accruals"] > STATES // 2
    assert met["a revert"] > 3


def draw_loan(campaign: Campaign) -> tuple[State, MarketState, PositionRef]:
    """A market as honest ones are, and a position whose health is near what matters."""
    walk = campaign.walk
    name = (*BORROWABLE[:3], SUPPLY_ONLY)[min(3, walk.draw(8) // 2)]
    state, market, ref = campaign.draw(name)
    if walk.draw(6) == 0:
        return state, market, ref
    params = ref.params["market"]
    market.supply_assets = 10**6 + walk.amount(10**28)
    market.supply_shares = market.supply_assets * (10**6 - walk.draw(10**5))
    market.borrow_assets = market.supply_assets * walk.draw(101) // 100
    market.borrow_shares = market.borrow_assets * (10**6 - walk.draw(10**5))
    market.last_update = state.at - min(state.at - 1, magnitude(walk, 10**7))
    market.shares = walk.draw(market.supply_shares + 1) // (1 + walk.draw(4))
    borrowable = name != SUPPLY_ONLY
    market.debt_shares = part(walk, market.borrow_shares // (1 + walk.draw(20))) if borrowable else 0
    price = walk.amount(10**48)
    owed = market.debt_shares * (market.borrow_assets + 1) // (market.borrow_shares + 10**6)
    pledged = owed * 10**36 // price * WAD // params["lltv"] * (95 + walk.draw(60)) // 100
    market.collateral = min(2**127, pledged + walk.draw(3))
    if walk.draw(12):
        state.code[params["oracle"]] = FIRST_WORD
        state.put(params["oracle"], 0, price)
    market.write(state, campaign.lender.morpho, params["irm"], ref.key, ref.address)
    return state, market, ref


def some(walk: Walk, whole: int) -> int:
    """Mostly a part of what there is, now and then too much or nothing."""
    return (0, whole, whole + 1, walk.draw(whole + 1), walk.draw(whole + 1), walk.amount(whole + 1))[
        walk.draw(6)
    ]


Move = tuple[str, tuple[int, ...], Callable[[MorphoBluePosition], Any], str, int]
"""Function of our connector, its arguments after the key, the mirror's answer, and what is pushed before."""


def draw_move(campaign: Campaign, name: str, market: MarketState, at: int) -> Move:
    """Any action that the portfolio may order."""
    walk, everything = campaign.walk, campaign.walk.draw(4) == 0
    listed = campaign.stage.devnet.manifest["morpho"]["markets"][name]
    loan, pledge = listed["loan"], listed["collateral"]
    held = market.shares * (market.supply_assets + 1) // (market.supply_shares + 10**6)
    owed = market.debt_shares * (market.borrow_assets + 1) // (market.borrow_shares + 10**6)
    free = market.supply_assets - market.borrow_assets
    kind = walk.draw(7)
    if kind == 0:
        assets = some(walk, 10**30)
        return "supply(bytes32,uint256)", (assets,), lambda p: p.after_supply(assets, at), loan, assets
    if kind == 1:
        assets = EVERYTHING if everything else some(walk, min(held, free))
        return "withdraw(bytes32,uint256)", (assets,), lambda p: p.after_withdraw(assets, at), loan, 0
    if kind == 2:
        assets = some(walk, 10**30)
        move = "supplyCollateral(bytes32,uint256)"
        return move, (assets,), lambda p: p.after_supply_collateral(assets, at), pledge, assets
    if kind == 3:
        assets = EVERYTHING if everything else some(walk, market.collateral // (1 + walk.draw(20)))
        move = "withdrawCollateral(bytes32,uint256)"
        return move, (assets,), lambda p: p.after_withdraw_collateral(assets, at), pledge, 0
    if kind == 4:
        assets = some(walk, min(free, owed // (1 + walk.draw(20))))
        return "borrow(bytes32,uint256)", (assets,), lambda p: p.after_borrow(assets, at), loan, 0
    pushed = some(walk, 2 * owed)
    if kind == 5:
        return "repay(bytes32,uint256)", (pushed,), lambda p: p.after_repay(pushed, at), loan, pushed
    shares = EVERYTHING if everything else some(walk, market.debt_shares)
    move = "repayShares(bytes32,uint256,uint256)"
    return move, (shares, pushed), lambda p: p.after_repay_shares(shares, pushed, at), loan, pushed


def check_action(campaign: Campaign) -> None:
    """One action: what is stored and returned after it, or that both refuse it."""
    state, market, ref = draw_loan(campaign)
    name = ref.venue.partition(":")[2]
    signature, args, mirror, token, pushed = draw_move(campaign, name, market, state.at)
    listed = campaign.stage.devnet.manifest["morpho"]["markets"][name]
    for symbol in (listed["loan"], listed["collateral"]):
        campaign.stage.fund(state, symbol, campaign.lender.morpho, 2**140)
        campaign.stage.fund(state, symbol, ref.address, pushed if symbol == token else 0)
    before = campaign.stage.read(state, [*campaign.reads(ref), REPORT.at(ref.address, ref.key)])
    position = or_refusal(lambda: campaign.position(ref, before, market.last_update))
    if isinstance(position, DecodeError):
        # What has no value is not moved by us, whatever the contract lets others do.
        assert reported(before(REPORT.at(ref.address, ref.key))) is None
        return
    ours = position if isinstance(position, ValuationError) else or_refusal(lambda: mirror(position))
    data = encode_call(signature, ref.key, *args)
    returned, after = campaign.stage.act(state, ref.address, data, campaign.reads(ref))
    verb = signature.partition("(")[0]
    shown = (name, verb, args, state, market, position, ours)
    if returned is None:
        assert isinstance(ours, (PlanError, ValuationError)), shown
        campaign.met[f"{verb} refused"] += 1
        return
    assert not isinstance(ours, (PlanError, ValuationError)), shown
    moved, received = ours if isinstance(ours, tuple) else (ours, None)
    assert moved == campaign.position(ref, after, moved.market.last_update), shown
    assert returned == (b"" if received is None else received.to_bytes(32, "big")), shown
    campaign.met[verb] += 1


def run_actions(walk: Walk, states: int) -> Campaign:
    campaign = Campaign(walk)
    for _ in range(states):
        check_action(campaign)
    return campaign


def test_actions_in_drawn_states_end_as_on_the_chain_or_are_refused_by_both(walk: Walk) -> None:
    met = run_actions(walk, STATES).met
    verbs = ("supply", "withdraw", "supplyCollateral", "withdrawCollateral", "borrow", "repay", "repayShares")
    for verb in verbs:
        assert met[verb] > 3, met
        assert met[f"{verb} refused"] > 3, met


def test_bad_debt_is_a_loss_of_the_suppliers_at_once(walk: Walk) -> None:
    campaign = Campaign(walk)
    portfolio, morpho = campaign.stage.portfolio, campaign.lender.morpho
    losses = 0
    for _ in range(STATES // 5):
        state, market, ref = draw_loan(campaign)
        params = ref.params["market"]
        if params["loan_token"] != campaign.stage.asset or not market.debt_shares:
            continue
        # Nothing is left to seize, and what there was is worth more than the debt: all the rest is bad.
        market.collateral = 0
        state.code[params["oracle"]] = FIRST_WORD
        state.put(params["oracle"], 0, 2**254)
        market.write(state, morpho, params["irm"], ref.key, ref.address)
        campaign.stage.fund(state, "USDC", portfolio, 2**140)
        state.put(campaign.stage.asset, slot(1, portfolio, morpho), 2**256 - 1)
        repaid = walk.draw(market.debt_shares) + 1
        args = (tuple(params.values()), ref.address, 0, repaid, b"")
        data = encode_call(f"liquidate({PARAMS},address,uint256,uint256,bytes)", *args)
        before = campaign.position(ref, campaign.stage.read(state, campaign.reads(ref)), market.last_update)
        ours = or_refusal(before.market.liquidate, repaid, market.debt_shares - repaid, state.at)
        returned, read = campaign.stage.act(state, morpho, data, campaign.reads(ref))
        if returned is None:
            assert isinstance(ours, ValuationError), (state, market, ours)
            continue
        after, loss = ours
        seen = campaign.position(ref, read, state.at)
        assert (seen.market, seen.debt_shares) == (after, 0), (state, market, ours)
        had, has = (each.market.accrue(state.at).assets_down(seen.shares) for each in (before, seen))
        assert has <= had
        losses += loss > 0 and has < had
    assert losses > 10
