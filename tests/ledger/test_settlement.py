"""The settlement mirror beside the deployed vault: random days, and positions that report strange things."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, replace
from operator import itemgetter
from typing import Any

import pytest
from eth_hash.auto import keccak
from staged import USDC, Staged

from keeper.contracts.abi import decode
from keeper.errors import PlanError
from keeper.ledger.pocket import WHOLE, Pocket
from keeper.ledger.queue import Queue, QueuePoint
from keeper.ledger.vault import Accounting, Params, Settled, pps_low, redeem_limit, settle
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind, Plan
from keeper.simulation.devnet import Devnet
from keeper.simulation.market import Draws, MarketAgent
from keeper.simulation.vault import EPOCH_SECONDS, PARAMS, deploy_vault
from keeper.units import WAD, Value

USERS = ("user1", "user2", "user3", "user4")
DAY = 86_400
STEPS = 40
FOREVER = 2**40
ANY_PRICE = 2**200
NOBODY = "0x" + 40 * "0"
LIMITS = (EPOCH_SECONDS, NOBODY, 10 * USDC, 50_000_000 * USDC, 10**12, 2 * DAY)
FEES: dict[str, tuple[int | str, ...]] = {
    "as shipped": PARAMS,
    # High fees that do not divide, the last two at their bounds; prices move freely.
    "dear": (WAD * 14 // 1_000 + 7, WAD * 3 // 10, WAD // 100, 10**12, WAD, WAD // 100, *LIMITS),
    # Fees that do not divide; redemptions grow by 10.1 % a year at most, the deposit price never falls.
    "tight": (0, WAD * 2 // 10 + 7, 3_333_333_333_333_333, 3_200_000_000, 0, WAD // 20, *LIMITS),
}


class Ledger:
    """One vault, settled beside its mirror. `seen` counts what the settlements have been through."""

    def __init__(self, stage: Staged, template: Plan) -> None:
        self.stage = stage
        self.seen: Counter[str] = Counter()
        self._template = template

    def settle(self, max_pps: int = ANY_PRICE) -> Settled:
        """Settles the closed epoch and compares every number of it with the mirror's."""
        stage = self.stage
        epoch = stage.accounting().settled_epoch + 1
        terms = replace(self._template.settlement, epoch=epoch, min_pps=0, max_pps=max_pps)
        plan = replace(self._template, valid_after=0, valid_until=FOREVER, terms=terms)
        receipt = stage.submit(plan)
        number = int(receipt["blockNumber"], 16)
        at = int(stage.devnet.block(number)["timestamp"], 16)
        nav, healthy = self._nav(number - 1, at)
        before, params = stage.accounting(number - 1), self._params(number - 1)
        idle = stage.read(stage.portfolio, "idle", at=number - 1)
        mirror = settle(before, params, idle=idle, nav=nav, healthy=healthy, at=at, max_pps=max_pps)
        assert mirror.accounting == stage.accounting(number)
        assert idle + mirror.idle_change == stage.read(stage.portfolio, "idle", at=number)
        if mirror.opens_window:
            assert _window_event(receipt) == (mirror.redeem_pps, mirror.accounting.window_ends_at)
            self.seen["loss window"] += 1
            return mirror
        assert _settled_event(receipt) == (*astuple(mirror)[1:7], mirror.accounting.stored_nav)
        assert _fees_event(receipt) == (mirror.management_shares, mirror.performance_shares)
        self._count(before, params, mirror, nav, at)
        return mirror

    def _nav(self, number: int, at: int) -> tuple[Value, bool]:
        """The contract's own NAV of a block's state at a later time."""
        call = self.stage.portfolio.call("nav")
        request = {"to": call.target, "data": "0x" + call.data.hex()}
        answer = self.stage.devnet.rpc("eth_call", request, hex(number), {}, {"time": hex(at)})
        (low, high), healthy = call.decode(bytes.fromhex(answer[2:]))
        return Value(low, high), healthy

    def _params(self, number: int) -> Params:
        return Params.from_abi(self.stage.read(self.stage.vault, "params", at=number))

    def _count(self, before: Accounting, params: Params, mirror: Settled, nav: Value, at: int) -> None:
        supply = before.total_supply + mirror.management_shares + mirror.performance_shares
        limit = redeem_limit(before, params, nav.low, at)
        self.seen += Counter(
            {
                "settled": 1,
                "accepted": mirror.accepted > 0,
                "rolled": before.closed_deposits > 0 and mirror.accepted == 0,
                "filled": 0 < mirror.filled == before.queued_shares,
                "filled in part": 0 < mirror.filled < before.queued_shares,
                "management fee": mirror.management_shares > 0,
                "performance fee": mirror.performance_shares > 0,
                "exit fee": mirror.filled > 0 and params.exit_fee > 0,
                "growth limited": limit is not None and limit < pps_low(nav.low, supply),
            }
        )


def _event(receipt: Mapping[str, Any], signature: str) -> bytes:
    topic = "0x" + keccak(signature.encode()).hex()
    (data,) = [log["data"] for log in receipt["logs"] if log["topics"][0] == topic]
    return bytes.fromhex(data[2:])


def _settled_event(receipt: Mapping[str, Any]) -> tuple[int, ...]:
    words = ["uint256"] * 7
    return tuple(decode(words, _event(receipt, f"Settled(uint256,bytes32,{','.join(words)})")))


def _window_event(receipt: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(decode(["uint256"] * 2, _event(receipt, "LossWindowOpened(uint256,uint256,uint256)")))


def _fees_event(receipt: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(decode(["uint256"] * 2, _event(receipt, "FeesAccrued(uint256,uint256)")))


async def open_ledger(devnet: Devnet, params: tuple[int | str, ...], assets: int) -> Ledger:
    """A new vault with a first settlement behind it and its funds at work."""
    stage = Staged(devnet, deploy_vault(devnet, params))
    stage.request_deposit("user1", assets)
    template = await stage.settle()
    stage.claim("user1")
    await stage.allocate()
    return Ledger(stage, template)


class Walk:
    """A seeded day: each step is one act of a user, of the market, of time or of the keeper."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self._draws = Draws(seed)
        self._market = MarketAgent(ledger.stage.devnet, seed)
        self._acts: tuple[Callable[[], None], ...] = (
            self._deposit,
            self._redeem,
            self._redeem,
            self._time,
            self._settle,
            self._settle,
        )

    async def step(self) -> None:
        if self._draws.between(0, 8) == 0:
            await self._rebalance()
        else:
            self._draws.pick(self._acts)()

    def _deposit(self) -> None:
        assets = self._draws.between(10 * USDC, 400_000 * USDC)
        self.ledger.stage.request_deposit(self._draws.pick(USERS), assets)

    def _redeem(self) -> None:
        stage, role = self.ledger.stage, self._draws.pick(USERS)
        stage.claim(role)
        shares = stage.shares(role) * self._draws.between(1, 101) // 100
        if shares >= 10**12:
            stage.request_redeem(role, shares)

    def _time(self) -> None:
        self._market.step()
        self.ledger.stage.devnet.warp(self._draws.between(1, 20 * DAY))

    def _settle(self) -> None:
        stage = self.ledger.stage
        if stage.accounting().closed_epoch is None:
            stage.close_epoch()
            if self._draws.coin():
                return
        # Now and then the price that deposits would pay is above what the quorum allows.
        tight = self._draws.between(0, 4) == 0
        self.ledger.settle(self._redeem_price() if tight else ANY_PRICE)

    def _redeem_price(self) -> int:
        """The most that the next settlement can pay for a share: deposits are dearer, or roll."""
        stage = self.ledger.stage
        nav, _ = stage.read(stage.portfolio, "nav")
        price = pps_low(nav[1], stage.accounting().total_supply)
        return price + price // 1_000

    async def _rebalance(self) -> None:
        stage = self.ledger.stage
        try:
            stage.submit(await stage.propose(Kind.BATCH))
        except NothingToDoError:
            self.ledger.seen["nothing to do"] += 1
        else:
            self.ledger.seen["batch"] += 1


@pytest.mark.parametrize("fees", FEES)
async def test_a_random_walk_settles_as_the_mirror_says(devnet: Devnet, fees: str) -> None:
    params = FEES[fees]
    ledger = await open_ledger(devnet, params, 2_000_000 * USDC)
    walk = Walk(ledger, seed=11)
    for _ in range(STEPS):
        await walk.step()
    seen = ledger.seen
    assert seen["settled"] >= 8, seen
    assert min(seen["accepted"], seen["filled"], seen["filled in part"]) > 0, seen
    assert bool(seen["management fee"]) == (params[0] > 0), seen
    assert seen["performance fee"], seen
    assert bool(seen["exit fee"]) == (params[2] > 0), seen
    assert seen["growth limited"] == 0 or fees == "tight", seen


async def test_a_queue_is_paid_in_parts_until_nothing_is_left(devnet: Devnet) -> None:
    ledger = await open_ledger(devnet, FEES["dear"], 1_000_000 * USDC)
    stage = ledger.stage
    stage.request_redeem("user1", stage.shares("user1"))
    for deposit in (100_001 * USDC, 333_333_333_333, 10 * USDC):
        stage.request_deposit("user2", deposit)
        stage.close_epoch()
        # All is at work but what has just come in, and that goes to whoever waits.
        assert ledger.settle().paid <= deposit
    assert ledger.seen["filled in part"] == 3
    await stage.allocate()
    for _ in range(2):
        stage.close_epoch()
        last = ledger.settle()
    assert ledger.seen["filled"] == 1
    assert last.accounting.queued_shares == 0


@pytest.fixture
def rewound(devnet: Devnet) -> Iterator[Devnet]:
    """The chain, put back after the test."""
    mark = devnet.rpc("evm_snapshot")
    yield devnet
    devnet.revert(mark)


def _reports(low: int, high: int, status: int) -> str:
    """Runtime that answers any call with three words, as a connector's report is."""
    code = b"".join(
        b"\x7f" + value.to_bytes(32, "big") + b"\x60" + bytes([32 * place]) + b"\x52"
        for place, value in enumerate((low, high, status))
    )
    return "0x" + (code + bytes.fromhex("60606000f3")).hex()


STRANGE: dict[str, tuple[Callable[[int], str], str]] = {
    "within the spread": (lambda value: _reports(value, value + value // 1_000, 0), "accepted"),
    "beyond the spread": (lambda value: _reports(value, value + value // 2, 0), "rolled"),
    "not healthy": (lambda value: _reports(value, value, 1), "rolled"),
    # The deposit price falls by a step at a time, and nobody pays more than a redemption gets.
    "a loss": (lambda value: _reports(value // 2, value // 2, 0), "rolled"),
    "reverting": (lambda _: "0x60006000fd", "rolled"),
}


OPENS_A_WINDOW = ("a loss", "reverting")


@pytest.mark.parametrize("case", STRANGE)
async def test_a_position_that_reports_something_strange(rewound: Devnet, case: str) -> None:
    runtime, becomes = STRANGE[case]
    ledger = await open_ledger(rewound, PARAMS, 1_000_000 * USDC)
    stage = ledger.stage
    position = max(stage.policy.positions, key=lambda each: stage.read(*_value(stage, each))[0][0])
    (low, _), _ = stage.read(*_value(stage, position))
    rewound.rpc("anvil_setCode", position.address, runtime(low))
    stage.request_deposit("user2", 50_000 * USDC)
    stage.request_redeem("user1", stage.shares("user1") // 100)
    stage.close_epoch()
    mirror = ledger.settle()
    if mirror.opens_window:
        rewound.warp(DAY)
        mirror = ledger.settle()
    assert ledger.seen["loss window"] == (case in OPENS_A_WINDOW)
    assert ledger.seen[becomes] == 1
    assert mirror.redeem_pps <= mirror.deposit_pps


async def test_one_share_and_a_gain_left_behind_settle_as_the_mirror_says(rewound: Devnet) -> None:
    ledger = await open_ledger(rewound, (0, WAD // 5, 0, *FEES["tight"][3:]), 1_000_000 * USDC)
    stage = ledger.stage
    # Fees are shares as well: there are none before the first gain.
    assert stage.accounting().total_supply == stage.shares("user1")
    stage.request_redeem("user1", stage.shares("user1") - 1)
    stage.close_epoch()
    while ledger.settle().accounting.queued_shares:
        await stage.allocate()
        stage.close_epoch()
    position = next(each for each in stage.policy.positions if stage.read(*_value(stage, each))[0][0] == 0)
    rewound.rpc("anvil_setCode", position.address, _reports(5 * USDC, 5 * USDC, 0))
    stage.request_deposit("user2", 1_000 * USDC)
    stage.close_epoch()
    assert ledger.settle().accepted == 1_000 * USDC
    assert ledger.seen["growth limited"] == 0
    # Now there is somebody whose gains are held back, and charged no sooner than they may be redeemed.
    rewound.rpc("anvil_setCode", position.address, _reports(500 * USDC, 500 * USDC, 0))
    stage.close_epoch()
    settled = ledger.settle()
    assert ledger.seen["growth limited"] == 1
    assert settled.accounting.high_water_mark == settled.accounting.last_pps_low


async def test_a_high_in_doubt_is_left_out_as_the_mirror_says(rewound: Devnet) -> None:
    ledger = await open_ledger(rewound, FEES["tight"], 1_000_000 * USDC)
    stage = ledger.stage
    position = max(stage.policy.positions, key=lambda each: stage.read(*_value(stage, each))[0][0])
    (low, _), _ = stage.read(*_value(stage, position))
    rewound.rpc("anvil_setCode", position.address, _reports(low, 2 * low, 1))
    high = stage.accounting().last_pps_high
    stage.close_epoch()
    settled = ledger.settle()
    assert settled.accounting.last_pps_high == high < settled.deposit_pps


def _value(stage: Staged, position: Any) -> tuple[Any, ...]:
    return stage.portfolio, "positionValue", position.address, position.key


class Leavers:
    """Requests of two users in the queue and a pocket, followed by the mirrors beside the chain."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.pocket = Pocket()
        self.queue = Queue(generation=ledger.stage.accounting().settled_epoch + 1)
        self.requests: list[tuple[str, int, int]] = []
        self._points: dict[int, QueuePoint] = {}
        self._record()

    def request(self, role: str, shares: int) -> None:
        stage = self.ledger.stage
        self.requests.append((role, shares, stage.accounting().current_epoch))
        stage.request_redeem(role, shares)

    def settle(self) -> Settled:
        """Closes and settles an epoch, after its loss window where one opens, and compares."""
        stage = self.ledger.stage
        self.queue = self.queue.join(stage.accounting().open_redeems)
        stage.close_epoch()
        settled = self.ledger.settle()
        if settled.opens_window:
            stage.devnet.warp(DAY)
            settled = self.ledger.settle()
        self.pocket = self.pocket.issue(self.queue, settled.burned, settled.supply)
        self.queue = self.queue.fill(settled.filled, settled.paid)
        self._record()
        self.compare()
        return settled

    def _record(self) -> None:
        epoch = self.ledger.stage.accounting().settled_epoch + 1
        self.queue = self.queue.record(epoch)
        self.pocket = self.pocket.record(self.queue, epoch)
        self._points[epoch] = self.queue.point

    def units(self, role: str) -> int:
        """Of requests that were never touched since."""
        return sum(
            self.pocket.units(shares, epoch, self._points[epoch])
            for each, shares, epoch in self.requests
            if each == role and epoch in self._points
        )

    def compare(self) -> None:
        stage, ours = self.ledger.stage, self.pocket
        assert stage.read(stage.vault, "pocket", 1) == (ours.owed, ours.total, ours.until)
        for role in {role for role, _, _ in self.requests}:
            units = self.units(role)
            theirs = stage.read(stage.vault, "residualOf", 1, stage.devnet.address(role))
            assert theirs == (units, ours.worth(units))


async def test_a_pocket_is_issued_closed_and_paid_as_the_mirror_says(rewound: Devnet) -> None:
    ledger = await open_ledger(rewound, FEES["dear"], 10_000_000 * USDC)
    stage = ledger.stage
    # The least of those that hold anything: the others have to pay everyone who leaves.
    held = [(stage.read(*_value(stage, each))[0][0], each) for each in stage.policy.positions]
    value, position = min((each for each in held if each[0]), key=itemgetter(0))
    runtime = stage.devnet.rpc("eth_getCode", position.address, "latest")
    portfolio = stage.deployment.portfolio
    rewound.rpc("anvil_setCode", position.address, "0x60006000fd")
    stage.act("user1", portfolio, "announce()")
    rewound.warp(1_800)
    stage.act("guardian", portfolio, "splitOff(address,bytes32)", position.address, position.key)
    leavers = Leavers(ledger)
    who = stage.devnet.address("user2")
    stage.act("user1", stage.deployment.vault, "transfer(address,uint256)", who, stage.shares("user1") // 3)
    leavers.request("user1", stage.shares("user1") // 2)
    await stage.allocate()
    leavers.request("user2", stage.shares("user2"))
    leavers.settle()
    assert ledger.seen["filled in part"] == 1
    book = await stage.book()
    pocketed = next(each for each in book.positions if each.ref.address == position.address)
    assert pocketed.report(book.at).value == Value(
        0, stage.read(stage.portfolio, "marks", *_key(position))[1]
    )
    assert not book.healthy
    assert book.caps[position.venue] == pocketed.max_withdraw(book.at) == pocketed.max_supply(book.at) == 0
    with pytest.raises(PlanError, match="split off"):
        pocketed.after_withdraw(1, book.at)
    await stage.allocate()
    leavers.settle()
    assert ledger.seen["filled"] == 1
    # What the vault still has beside the pocket went to both; what it has not, nobody can take yet.
    assert 0 < leavers.units("user1") + leavers.units("user2") <= leavers.pocket.owed < WHOLE
    rewound.rpc("anvil_setCode", position.address, runtime)
    rewound.warp(DAY)
    stage.act("user1", portfolio, "announce()")
    rewound.warp(1_800)
    idle = stage.read(stage.portfolio, "idle")
    receipt = stage.act("user1", portfolio, "closePocket()")
    total, owed = decode(["uint256"] * 2, _event(receipt, "PocketClosed(address,bytes32,uint256,uint256)"))
    assert total >= value
    leavers.pocket = leavers.pocket.close(total, stage.accounting().settled_epoch + 1)
    assert owed == leavers.pocket.pot
    assert stage.read(stage.portfolio, "idle") == max(0, idle - owed)
    leavers.compare()
    for role in ("user1", "user2"):
        expected = leavers.pocket.worth(leavers.units(role))
        account = stage.devnet.address(role)
        before = rewound.call(stage.deployment.asset, "balanceOf(address)", [account], "(uint256)")
        function = "claimResidual(uint256,address,address)"
        stage.act(role, stage.deployment.vault, function, 1, account, account)
        after = rewound.call(stage.deployment.asset, "balanceOf(address)", [account], "(uint256)")
        assert after - before == expected > 0


def _key(position: Any) -> tuple[str, bytes]:
    return position.address, position.key
