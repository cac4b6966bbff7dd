"""The MetaMorpho mirror against the deployed vault in drawn states: its views, our connector's report and
moves, to the wei."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import Walk
from eth_hash.auto import keccak
from morpho_states import FIELDS, MarketState, draw_feeds, draw_market, part
from states import REPORT, Stage, State, magnitude, reported, slot, word

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import EVERYTHING, PositionRef, Read, key_of, load
from keeper.connectors.metamorpho import MetaMorphoPosition
from keeper.connectors.morpho_market import NO_ADDRESS, MarketParams
from keeper.contracts import Function, encode_call
from keeper.errors import PlanError, ValuationError
from keeper.units import WAD, Address

STATES = 500
NAMES = ("wstETH/USDC", "WBTC/USDC", "WETH/USDC")
UINT184 = 2**184 - 1
MAX_FEE = WAD // 2
MARKET_PARAMS_SLOT = 8
METAMORPHO = load("metamorpho")


@dataclass(frozen=True)
class Slots:
    """Where a MetaMorpho vault keeps what: its first slots are OpenZeppelin's."""

    balances: int = 0
    total_supply: int = 2
    config: int = 6
    supply_queue: int = 8
    withdraw_queue: int = 9
    fee: int = 10
    last_total_assets: int = 11
    lost_assets: int | None = None


@dataclass
class Drawn:
    """A state of the vault: markets by name, and its queues as names."""

    state: State
    markets: dict[str, MarketState]
    ref: PositionRef
    queues: tuple[list[str], list[str]]


@dataclass
class Campaign:
    """Drawn states of one vault, held by our connector."""

    walk: Walk
    vault: Address
    slots: Slots = Slots()
    stage: Stage = field(init=False)
    address: Address = field(init=False)
    met: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.stage = Stage.open(self.walk)
        self.address = self.stage.deploy("ERC4626Connector", [key_of(self.vault)], [])

    @property
    def morpho(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.stage.devnet.manifest["morpho"]
        return found

    def params(self, name: str) -> dict[str, Any]:
        """A market's params; the idle market has nothing but the loan token."""
        if name == "idle":
            nobody = dict.fromkeys(FIELDS[1:4], NO_ADDRESS)
            return {"loan_token": self.stage.asset, **nobody, "lltv": 0}
        return {each: self.morpho["markets"][name][each] for each in FIELDS}

    def key(self, name: str) -> bytes:
        return MarketParams.model_validate(self.params(name)).id

    def draw(self) -> Drawn:
        """Markets of any state; queues in any order, with markets twice, left out or removed; caps; fee."""
        walk, state = self.walk, State(at=self.walk.now() + magnitude(self.walk, 10**8))
        names = sorted((*NAMES, "idle"), key=lambda _: walk.draw(1 << 32))
        listed = names[: 1 + walk.draw(len(names))]
        lent_out = walk.draw(8) == 0
        markets = {name: self._draw_market(state, name, lent_out) for name in names}
        queue = [names[walk.draw(len(names))] for _ in range(walk.draw(len(listed) + 1))]
        for name in listed:
            cap = (0, UINT184, magnitude(walk, 10**30))[walk.draw(3)] or int(name in queue)
            state.put(self.vault, slot(self.slots.config, self.key(name)), cap | 1 << 184)
        for name in set(names) - set(listed):
            # Removed from the withdraw queue: not configured any more, though the supply queue may name it.
            state.put(self.vault, slot(self.slots.config, self.key(name)), 0)
            # The local chain's vault accrues and values such a market before it passes it over; the original
            # does not.
            markets[name].last_update, markets[name].shares = state.at, 0
            markets[name].write(
                state, self.morpho["address"], self.params(name)["irm"], self.key(name), self.vault
            )
        self._write_queue(state, self.slots.supply_queue, queue)
        self._write_queue(state, self.slots.withdraw_queue, listed)
        self._draw_vault(state, sum(markets[name].supply_assets for name in listed))
        draw_feeds(walk, self.stage, state)
        self.stage.fund(state, "USDC", self.morpho["address"], 2**140)
        params = {
            "vault": self.vault,
            "morpho": self.morpho["address"],
            "markets": [self.params(name) for name in listed],
        }
        ref = PositionRef("metamorpho", self.address, key_of(self.vault), "metamorpho:USDC", params)
        return Drawn(state, markets, ref, (queue, listed))

    def _draw_market(self, state: State, name: str, lent_out: bool) -> MarketState:
        walk, key, params = self.walk, self.key(name), self.params(name)
        market = draw_market(walk, state.at)
        if walk.draw(6):
            # As markets are: otherwise most vaults would have outgrown themselves.
            market.supply_assets = walk.amount(10**18)
            market.supply_shares = market.supply_assets * (10**6 - walk.draw(10**5))
            market.borrow_assets = market.supply_assets * walk.draw(101) // 100
            market.last_update = state.at - magnitude(walk, 10**7)
            market.shares = part(walk, market.supply_shares)
        elif walk.draw(4) == 0:
            # All its bits are ours: rounding such a holding up exceeds a word.
            market.supply_assets = market.supply_shares = market.shares = 2**128 - 1
            market.borrow_assets = 0
        if lent_out:
            market.borrow_assets = market.supply_assets
        market.debt_shares = market.collateral = 0
        if name == "idle":
            market.borrow_assets = market.rate_at_target = 0
            place = slot(MARKET_PARAMS_SLOT, key)
            for offset, value in enumerate(params.values()):
                state.put(self.morpho["address"], place + offset, int.from_bytes(word(value)))
        market.write(state, self.morpho["address"], params["irm"], key, self.vault)
        return market

    def _write_queue(self, state: State, base: int, names: list[str]) -> None:
        state.put(self.vault, base, len(names))
        first = int.from_bytes(keccak(word(base)))
        for offset, name in enumerate(names):
            state.put(self.vault, first + offset, int.from_bytes(self.key(name)))

    def _draw_vault(self, state: State, assets: int) -> None:
        walk = self.walk
        supply = (assets * 10**12, magnitude(walk, 10**36))[walk.draw(4) == 0]
        state.put(self.vault, self.slots.total_supply, supply)
        state.put(self.vault, slot(self.slots.balances, self.address), part(walk, supply))
        recipient = int(self.stage.devnet.address("treasury"), 16) << 96
        fee = (0, MAX_FEE, walk.draw(MAX_FEE))[walk.draw(3)]
        state.put(self.vault, self.slots.fee, fee | recipient)
        last = (assets, magnitude(walk, assets + 10), assets + magnitude(walk, assets + 1))[walk.draw(3)]
        state.put(self.vault, self.slots.last_total_assets, last)
        if self.slots.lost_assets is not None:
            state.put(self.vault, self.slots.lost_assets, (0, magnitude(walk, last + 1))[walk.draw(2)])

    def calls(self, ref: PositionRef) -> list[Call[Any]]:
        return [*METAMORPHO.calls(ref), *self.stage.value_calls(METAMORPHO.tokens(ref))]

    def position(self, ref: PositionRef, read: Read, at: int) -> MetaMorphoPosition:
        prices = self.stage.prices(read, METAMORPHO.tokens(ref))
        found = METAMORPHO.position(ref, read, prices, at)
        assert isinstance(found, MetaMorphoPosition)
        return found


def check_views(campaign: Campaign) -> None:
    """Our connector's report, and all that the vault says of itself."""
    drawn = campaign.draw()
    at, ref = drawn.state.at, drawn.ref
    views = {
        name: Function(f"{name}(address)", "(uint256)").at(campaign.vault, ref.address)
        for name in ("maxDeposit", "maxWithdraw", "maxRedeem")
    }
    total = Function("totalAssets()", "(uint256)").at(campaign.vault)
    report = REPORT.at(ref.address, ref.key)
    read = campaign.stage.read(drawn.state, [*campaign.calls(ref), *views.values(), total, report])
    theirs = reported(read(report))
    try:
        position = campaign.position(ref, read, at)
    except ValuationError:
        position = None
    if position is None:
        # A vault that fails as a whole; our connector reports nothing of it, or none of its shares.
        assert isinstance(read(total), CallFailure), drawn
        assert theirs is None or theirs.low == 0, (drawn, theirs)
        campaign.met["a revert"] += 1
        return
    if theirs is None:
        with pytest.raises(ValuationError):
            position.report(at)
        campaign.met["worth nothing"] += 1
    else:
        assert position.report(at) == theirs, (drawn, position, theirs)
    said = {name: read(view) for name, view in views.items()}
    try:
        most = position.max_supply(at)
    except PlanError:
        # A holding so large that rounding it up exceeds a word.
        assert isinstance(said.pop("maxDeposit"), CallFailure), (drawn, position)
        campaign.met["beyond counting"] += 1
    else:
        assert said.pop("maxDeposit") == most, (drawn, position)
    seen = {
        "maxWithdraw": position.max_withdraw(at),
        "maxRedeem": position.vault.redeemable(position.shares, at),
    }
    assert seen == said, (drawn, position)
    campaign.met["a fee"] += position.vault.accrue_fee(at).total_supply > position.vault.total_supply
    campaign.met["a loss"] += position.vault.total_assets(at) < position.vault.last_total_assets
    campaign.met["nothing liquid"] += 0 == position.max_withdraw(at) < position.assets(at)
    campaign.met["partly liquid"] += 0 < position.max_withdraw(at) < position.assets(at)
    campaign.met["removed"] += not set(drawn.queues[0]) <= set(drawn.queues[1])
    campaign.met["twice"] += len(drawn.queues[0]) > len(set(drawn.queues[0]))
    campaign.met["idle"] += "idle" in drawn.queues[1]
    campaign.met["a value"] += position.assets(at) > 0


def check_move(campaign: Campaign) -> None:
    """A supply or a withdrawal: every market and the vault afterwards, or that both refuse it."""
    walk, drawn = campaign.walk, campaign.draw()
    state, ref = drawn.state, drawn.ref
    try:
        before = campaign.position(ref, campaign.stage.read(state, campaign.calls(ref)), state.at)
    except ValuationError:
        return
    out = walk.draw(2)
    try:
        most = before.max_withdraw(state.at) if out else before.max_supply(state.at)
    except PlanError:
        most = 10**20
    assets = (1, most, most + 1, *[1 + walk.draw(min(most, 10**20) + 1)] * 4)[walk.draw(7)]
    if out and walk.draw(3) == 0:
        assets = EVERYTHING
    assets = min(assets, EVERYTHING if out else 10**30)
    campaign.stage.fund(state, "USDC", ref.address, 0 if out else assets)
    verb = "withdraw" if out else "supply"
    try:
        predicted, received = (
            before.after_withdraw(assets, state.at) if out else (before.after_supply(assets, state.at), None)
        )
    except (PlanError, ValuationError):
        predicted, received = None, None
    data = encode_call(f"{verb}(bytes32,uint256)", ref.key, assets)
    returned, read = campaign.stage.act(state, ref.address, data, campaign.calls(ref))
    if returned is None or predicted is None:
        assert returned is None, (drawn, verb, assets, before)
        assert predicted is None, (drawn, verb, assets, before, predicted)
        campaign.met[f"{verb} refused"] += 1
        return
    if received == 0:
        # The original accrues the first market before it sees that nothing is asked for; this one does not.
        campaign.met["nothing received"] += 1
        return
    after = campaign.position(ref, read, state.at)
    assert after == predicted, (drawn, verb, assets, before)
    assert returned == (b"" if received is None else word(received)), (drawn, verb, assets, received)
    campaign.met[verb] += 1


def open_campaign(walk: Walk) -> Campaign:
    return Campaign(walk, Address(walk.devnet.manifest["metamorpho"]["vault"]))


def run_views(campaign: Campaign, states: int) -> Counter[str]:
    for _ in range(states):
        check_views(campaign)
    return campaign.met


def run_moves(campaign: Campaign, states: int) -> Counter[str]:
    for _ in range(states):
        check_move(campaign)
    return campaign.met


def test_reports_and_views_of_drawn_states_are_the_vaults_to_the_wei(walk: Walk) -> None:
    met = run_views(open_campaign(walk), STATES)
    kinds = (
        "a fee",
        "a loss",
        "nothing liquid",
        "partly liquid",
        "removed",
        "twice",
        "idle",
        "a revert",
        "beyond counting",
    )
    assert all(met[kind] > 3 for kind in (*kinds, "a value")), met


def test_moves_in_drawn_states_end_as_on_the_chain_or_are_refused_by_both(walk: Walk) -> None:
    met = run_moves(open_campaign(walk), STATES // 2)
    assert all(met[kind] > 10 for kind in ("supply", "withdraw", "supply refused", "withdraw refused")), met
