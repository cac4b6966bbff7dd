"""The mirror of any ERC-4626 vault against our connector's report, for whatever a vault may answer, and
against moves in real vaults: MetaMorpho, and our own, which works on request."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import Walk
from states import FAILURE, REPORT, Stage, State, magnitude, reported, slot, word

from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import retake, take, take_at
from keeper.connectors.base import EVERYTHING, PositionRef, Role, key_of, load
from keeper.connectors.erc4626 import ERC4626
from keeper.connectors.erc4626_position import ERC4626Position
from keeper.contracts import Function, encode_call
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices
from keeper.simulation.vault import deploy_core, list_and_seal
from keeper.units import MAX_UINT256, Address

STATES = 500
ANSWERS = "0x5f3560e01c806401000000001754602757806402000000001754600435029054015f5260205ff35b5f5ffd"
"""Code of a vault that answers by selector: the word in that slot, plus the argument times the word in slot
2^33 + selector; it fails where slot 2^32 + selector is not empty."""
TARGETS_SLOT = 1
ASSET_DUST_SLOT = 2
VIEWS = (
    "balanceOf(address)",
    "maxDeposit(address)",
    "maxMint(address)",
    "maxWithdraw(address)",
    "maxRedeem(address)",
    "pendingDepositRequest(uint256,address)",
    "pendingRedeemRequest(uint256,address)",
    "totalAssets()",
    "totalSupply()",
)
READY = {
    "claimableDepositRequest(uint256,address)": ("maxDeposit(address)", "maxMint(address)"),
    "claimableRedeemRequest(uint256,address)": ("maxRedeem(address)", "maxWithdraw(address)"),
}
"""What a vault has ready, and the limits by which it counts."""
CONVERSIONS = ("previewRedeem(uint256)", "convertToAssets(uint256)", "previewDeposit(uint256)")


def mirror() -> ERC4626:
    found = load("erc4626")
    assert isinstance(found, ERC4626)
    return found


@dataclass
class Holder:
    """Our connector, over one vault."""

    walk: Walk
    vault: Address
    symbol: str = "USDC"
    stage: Stage = field(init=False)
    address: Address = field(init=False)

    def __post_init__(self) -> None:
        self.stage = Stage.open(self.walk)
        self.address = self.stage.deploy("ERC4626Connector", [key_of(self.vault)], [])

    @property
    def ref(self) -> PositionRef:
        params = {"vault": self.vault, "asset": self.stage.token(self.symbol)}
        return PositionRef("erc4626", self.address, key_of(self.vault), "erc4626:test", params)

    def open(self, state: State) -> tuple[Any, Prices]:
        """Every read of the position, and prices."""
        tokens, report = mirror().tokens(self.ref), REPORT.at(self.address, self.ref.key)
        read = self.stage.read(state, [*mirror().calls(self.ref), *self.stage.value_calls(tokens), report])
        return read, self.stage.prices(read, tokens)

    def act(self, state: State, signature: str, *args: Any) -> tuple[bytes | None, ERC4626Position | None]:
        """What an action of the portfolio returns, and the position that it leaves."""
        data = encode_call(signature, self.ref.key, *args)
        tokens = mirror().tokens(self.ref)
        calls = [*mirror().calls(self.ref), *self.stage.value_calls(tokens)]
        returned, read = self.stage.act(state, self.address, data, calls)
        if returned is None:
            return None, None
        prices = self.stage.prices(read, tokens)
        return returned, mirror().position(self.ref, read, prices, state.at)

    def position(self, state: State) -> ERC4626Position:
        read, prices = self.open(state)
        return mirror().position(self.ref, read, prices, state.at)


def metamorpho(walk: Walk) -> Holder:
    """Over the real vault, which charges no fee from here on: its shares then follow from its totals."""
    vault = Address(walk.devnet.manifest["metamorpho"]["vault"])
    assert walk.send("deployer", vault, "setFee(uint256)", 0, at=walk.now() + 60)
    return Holder(walk, vault)


def selector(signature: str) -> int:
    return int.from_bytes(Function(signature).selector)


def draw_vault(walk: Walk, holder: Holder, state: State) -> None:
    """A vault that answers anything, of any kind and in any token."""
    vault = holder.vault
    state.code[vault] = ANSWERS
    holder.symbol = ("USDC", "WETH", "USDT")[max(0, walk.draw(6) - 3)]
    kind, token = walk.draw(4), int(holder.stage.token(holder.symbol), 16)
    stored = token | (kind & 1) << 160 | (kind >> 1) << 168 | magnitude(walk, 2**80 - 1) << 176
    state.put(holder.address, slot(TARGETS_SLOT, key_of(vault)), stored)
    state.put(holder.address, slot(ASSET_DUST_SLOT, key_of(vault)), magnitude(walk, 10**24))
    state.put(vault, selector("asset()"), token)
    state.put(vault, selector("decimals()"), walk.draw(30))
    for signature in (*VIEWS, *READY, *CONVERSIONS):
        most = (10**12, 10**30, MAX_UINT256)[walk.draw(25) // 12]
        state.put(vault, selector(signature), magnitude(walk, most))
        if signature in CONVERSIONS:
            state.put(vault, 2**33 + selector(signature), magnitude(walk, 10**6))
        if walk.draw(12) == 0:
            state.put(vault, 2**32 + selector(signature), 1)
    for signature, limits in READY.items():
        draw_ready(walk, state, vault, signature, limits)


def draw_ready(walk: Walk, state: State, vault: Address, signature: str, limits: tuple[str, str]) -> None:
    """Most vaults let all of it go, or have nothing ready."""
    if walk.draw(3) == 0:
        state.put(vault, selector(signature), 0)
    elif walk.draw(3):
        amount = magnitude(walk, 10**30)
        state.put(vault, selector(signature), amount)
        state.put(vault, selector(limits[0]), max(0, amount - magnitude(walk, 10**24) * walk.draw(2)))


def check_report(holder: Holder, met: Counter[str]) -> None:
    """The three words of a report, whatever the vault answers."""
    walk = holder.walk
    state = State(at=walk.now() + magnitude(walk, 10**5))
    draw_vault(walk, holder, state)
    report = REPORT.at(holder.address, holder.ref.key)
    theirs = reported(holder.stage.read(state, [report])(report))
    if theirs is None:
        with pytest.raises(ValuationError) as refusal:
            holder.position(state).report(state.at)
        met["a revert"] += 1
        met["held back"] += "holds back" in str(refusal.value)
        return
    position = holder.position(state)
    ours = position.report(state.at)
    assert ours == theirs, (state, position, theirs)
    assert position.report(state.at + 10**6) == ours
    met[ours.status.name] += 1
    met["entering"] += position.requests.entering > 0
    met["leaving"] += position.requests.leaving > 0
    met["ready"] += position.requests.ready > 0
    met["a range"] += ours.low < ours.high < MAX_UINT256
    met["unsound"] += not position.sound


def run_reports(walk: Walk, states: int) -> Counter[str]:
    met: Counter[str] = Counter()
    holder = Holder(walk, Address(walk.devnet.manifest["metamorpho"]["vault"]))
    for _ in range(states):
        check_report(holder, met)
    return met


def test_reports_are_the_connectors_whatever_a_vault_answers(walk: Walk) -> None:
    met = run_reports(walk, STATES)
    kinds = ("OK", "STALE", "UNAVAILABLE", "entering", "leaving", "ready", "a range", "unsound", "a revert")
    assert met["held back"] > 3, met
    assert all(met[kind] > 3 for kind in kinds), met


def test_moves_in_a_real_vault_cost_the_shares_that_were_foretold(walk: Walk) -> None:
    holder = metamorpho(walk)
    state = State(at=walk.now() + 3600)
    shares = slot(0, holder.address)
    for _ in range(60):
        state.put(holder.vault, shares, walk.amount(10**25))
        before = holder.position(state)
        assert before.proportion is not None
        delta = walk.amount(10**12)
        holder.stage.fund(state, "USDC", holder.address, delta)
        predicted = before.after_supply(delta, state.at)
        _, after = holder.act(state, "supply(bytes32,uint256)", delta)
        assert after is not None
        compare(predicted, after)
        most = before.max_withdraw(state.at)
        for assets in {1, walk.amount(most), most, EVERYTHING} if most else set():
            predicted, received = before.after_withdraw(assets, state.at)
            returned, after = holder.act(state, "withdraw(bytes32,uint256)", assets)
            assert after is not None
            assert returned == word(received)
            compare(predicted, after)


def compare(predicted: ERC4626Position, after: ERC4626Position) -> None:
    """Shares to the wei; assets but for a unit in each of the three markets that the vault lends to."""
    assert predicted.shares == after.shares
    assert abs(predicted.quoted - after.quoted) <= 3, (predicted, after)


def test_what_the_vault_does_not_admit_is_refused(walk: Walk) -> None:
    holder = metamorpho(walk)
    state = State(at=walk.now() + 60)
    state.put(holder.vault, slot(0, holder.address), 10**24)
    before = holder.position(state)
    most, out = before.max_supply(state.at), before.max_withdraw(state.at)
    for move, assets in ((before.after_supply, most + 1), (before.after_withdraw, out + 1)):
        for refused in (assets, 0):
            with pytest.raises(PlanError, match="would refuse"):
                move(refused, state.at)
    holder.stage.fund(state, "USDC", holder.address, most + 1)
    assert holder.act(state, "supply(bytes32,uint256)", most + 1)[0] is None
    assert holder.act(state, "supply(bytes32,uint256)", most)[0] is not None
    assert holder.act(state, "withdraw(bytes32,uint256)", out + 10)[0] is None
    with pytest.raises(PlanError, match="read later"):
        before.report(state.at - 1)


def test_of_a_vault_whose_shares_do_not_follow_from_its_totals_only_an_exit_is_foretold(walk: Walk) -> None:
    # A fee that has accrued is in what shares are worth, and not yet in their number.
    vault = Address(walk.devnet.manifest["metamorpho"]["vault"])
    holder = Holder(walk, vault)
    state = State(at=walk.now() + 10**6)
    state.put(vault, slot(0, holder.address), 10**24)
    before = holder.position(state)
    assert before.proportion is None
    assert before.max_supply(state.at) == 0
    with pytest.raises(PlanError, match="see its own mirror"):
        before.after_supply(10**6, state.at)
    with pytest.raises(PlanError, match="cannot be foretold"):
        before.after_withdraw(10**6, state.at)
    predicted, received = before.after_withdraw(EVERYTHING, state.at)
    returned, after = holder.act(state, "withdraw(bytes32,uint256)", EVERYTHING)
    assert after is not None
    assert returned == word(received)
    assert predicted.report(state.at) == after.report(state.at)


def test_a_locked_vault_is_worth_what_it_says_and_lets_nothing_go(walk: Walk) -> None:
    holder = Holder(walk, Address(walk.devnet.manifest["metamorpho"]["vault"]))
    state = State(at=walk.now(), code={holder.vault: ANSWERS})
    state.put(holder.vault, selector("asset()"), int(holder.stage.asset, 16))
    state.put(holder.vault, selector("balanceOf(address)"), 10**9)
    state.put(holder.vault, selector("previewRedeem(uint256)"), 10**6)
    locked = holder.position(state)
    assert locked.report(state.at).low == 10**6
    assert locked.max_withdraw(state.at) == 0
    for assets in (1, EVERYTHING):
        with pytest.raises(PlanError, match="would refuse"):
            locked.after_withdraw(assets, state.at)
    assert holder.act(state, "withdraw(bytes32,uint256)", 1)[0] is None


def test_a_request_to_one_of_our_own_vaults_counts_from_the_start(walk: Walk) -> None:
    core = deploy_core(walk.devnet)
    list_and_seal(walk.devnet, core, [])
    holder = Holder(walk, core.vault)
    state = State(at=walk.now() + 60)
    before = holder.position(state)
    assert (before.requests.deposits, before.requests.redemptions) == (True, True)
    assets = 500 * 10**6
    holder.stage.fund(state, "USDC", holder.address, assets)
    predicted = before.after_supply(assets, state.at)
    returned, after = holder.act(state, "supply(bytes32,uint256)", assets)
    assert returned == b""
    assert after == predicted
    assert after.report(state.at).low == assets
    (leg,) = after.legs(state.at)
    assert (leg.role, leg.amount) == (Role.HELD, assets)
    with pytest.raises(PlanError, match="would refuse"):
        after.after_withdraw(EVERYTHING, state.at)


def test_what_a_paused_vault_has_ready_is_not_worth_nothing(walk: Walk) -> None:
    # A vault that redeems on request: what it has ready, and its limits in shares and in assets.
    holder = Holder(walk, Address(walk.devnet.manifest["metamorpho"]["vault"]))
    state = State(at=walk.now(), code={holder.vault: ANSWERS})
    stored = int(holder.stage.asset, 16) | 1 << 168 | 1000 << 176
    state.put(holder.address, slot(TARGETS_SLOT, key_of(holder.vault)), stored)
    state.put(holder.vault, selector("asset()"), int(holder.stage.asset, 16))
    claimable, limits = list(READY.items())[1]
    for ready, limit, worth, held_back in (
        (10**9, 10**9, 10**9, False),
        (10**9, 10**9 - 1000, 10**9, False),
        (10**9, 10**9 - 1001, 10**9, True),
        (10**9, 0, 0, True),
        (10**9, 10**9, 0, True),
        (1001, 0, 0, True),
        (1000, 0, 0, False),
    ):
        for signature, answer in ((claimable, ready), (limits[0], limit), (limits[1], worth)):
            state.put(holder.vault, selector(signature), answer)
        report = REPORT.at(holder.address, holder.ref.key)
        theirs = reported(holder.stage.read(state, [report])(report))
        if held_back:
            assert theirs is None
            with pytest.raises(ValuationError, match="holds back"):
                holder.position(state)
        else:
            assert holder.position(state).report(state.at) == theirs
            assert theirs is not None
            assert theirs.low == worth


def test_no_step_of_a_request_changes_the_value(walk: Walk) -> None:
    holder = Holder(walk, deploy_core(walk.devnet).vault)
    state = State(at=walk.now() + 60)
    empty = holder.position(state)
    waiting = replace(empty.requests, mintable=7 * 10**12, ready=3 * 10**6)
    began = replace(empty, requests=waiting, shares=10**12, quoted=8 * 10**6)
    value = began.report(state.at)
    assert began.after_request_redeem(EVERYTHING, state.at).report(state.at) == value
    claimed, minted, received = began.after_claim(state.at)
    assert (minted, received, claimed.shares) == (7 * 10**12, 3 * 10**6, 8 * 10**12)
    assert claimed.report(state.at).low == value.low - received
    with pytest.raises(PlanError, match="No request is ready"):
        claimed.after_claim(state.at)


def test_another_vault_than_the_reference_names_is_refused(walk: Walk) -> None:
    holder = Holder(walk, Address(walk.devnet.manifest["metamorpho"]["vault"]))
    holder.symbol = "WETH"
    with pytest.raises(ValuationError, match="Asset of the vault differs"):
        holder.position(State(at=walk.now()))


async def test_a_snapshot_reads_all_that_a_position_needs_in_its_one_pass(walk: Walk) -> None:
    holder = metamorpho(walk)
    walk.fund("user1", holder.stage.asset, holder.vault)
    args = (10**9, holder.address)
    assert walk.send("user1", holder.vault, "deposit(uint256,address)", *args, at=walk.now() + 60)
    chain, ref = walk.devnet.chain_id, holder.ref
    async with Endpoint(walk.devnet.url, chain) as endpoint:
        taken = await take({chain: endpoint}, {chain: mirror().calls(ref)}, walk.now(), {chain: 0})
        assert (await retake({chain: endpoint}, taken)).hash == taken.hash
        again = await take_at({chain: endpoint}, {chain: mirror().calls(ref)}, taken.blocks, walk.now())
    assert again.hash == taken.hash
    at = taken.block(chain).timestamp
    prices = Prices(holder.stage.asset, {})
    position = mirror().position(ref, lambda call: taken.result(chain, call), prices, at)
    assert position.shares
    assert position.report(at) == reported(walk.read(REPORT.at(holder.address, ref.key)))


async def test_a_vault_that_answers_nothing_impairs_its_position_and_not_the_snapshot(walk: Walk) -> None:
    holder = metamorpho(walk)
    walk.devnet.rpc("anvil_setCode", holder.vault, FAILURE)
    chain = walk.devnet.chain_id
    async with Endpoint(walk.devnet.url, chain) as endpoint:
        taken = await take({chain: endpoint}, {chain: mirror().calls(holder.ref)}, walk.now(), {chain: 0})
    with pytest.raises(ValuationError, match="failed"):
        mirror().position(
            holder.ref, lambda call: taken.result(chain, call), Prices(holder.stage.asset, {}), walk.now()
        )
