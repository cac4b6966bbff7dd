"""The queue's mirror beside the contract and an exact rational model; and the rules it must not have."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from exact_queue import Chooser, Fill, History, Join, random_history

from keeper.contracts import Contract
from keeper.errors import ValuationError
from keeper.ledger.queue import MAX_UINT128, RESCALE, RESCALE_BELOW, Claim, Queue, QueuePoint
from keeper.ledger.vault import PPS_ONE, Accounting, Params, settle
from keeper.simulation.devnet import Devnet
from keeper.units import WAD, Value, mul_div_down, mul_div_up

HISTORIES_ON_CHAIN = 240
MOST_STEPS_ON_CHAIN = 120
HISTORIES = 10_000
STEPS = 14
KINDS = ("tiny", "near total", "dust", "ordinary", "ten percent", "total")

FillRule = Callable[[Queue, int, int], Queue]


# THE CONTRACT


@pytest.fixture(scope="module")
def harness(devnet: Devnet) -> Contract:
    return Contract(devnet.deploy(devnet.key("deployer"), "QueueHarness"), "QueueHarness")


def _steps(seed: int) -> list[Join | Fill]:
    """A history within the settlement's rule on dust or, one in four, with remainders far below it."""
    choose, queue = Chooser(seed), Queue()
    steps: list[Join | Fill] = []
    while len(steps) < MOST_STEPS_ON_CHAIN and choose.draws.between(0, 20):
        chosen: list[Join | Fill] = [choose.join()]
        if queue.shares and seed % 4 == 0 and queue.product >= RESCALE_BELOW and choose.draws.coin():
            chosen = [Fill(queue.shares - 1 - queue.shares // 10**12, choose.draws.between(0, 10**20))]
        elif queue.shares and (choose.draws.between(0, 4) or queue.shares > 10**38):
            chosen = [fill for _, fill in choose.fills(queue.shares)]
        for step in chosen:
            after = _after(queue, step, queue.generation + 1)
            # A point with product 0 cannot be claimed from, and a queue that is gone not be filled.
            if after.product and (isinstance(step, Join) or queue.shares >= step.shares > 0):
                steps.append(step)
                queue = after
    return steps


def _after(queue: Queue, step: Join | Fill, epoch: int) -> Queue:
    """Recorded for the epoch that follows."""
    after = queue.join(step.shares) if isinstance(step, Join) else queue.fill(step.shares, step.assets)
    return after.record(epoch)


def _encoded(step: Join | Fill) -> tuple[int, int, int]:
    return (step.shares, 0, 0) if isinstance(step, Join) else (0, step.shares, step.assets)


@pytest.mark.parametrize("part", range(4))
def test_the_mirror_equals_the_contract_after_every_step(
    devnet: Devnet, harness: Contract, part: int
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part, HISTORIES_ON_CHAIN, 4):
        steps = _steps(seed)
        call = harness.call("run", [_encoded(step) for step in steps])
        answer = devnet.rpc("eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, "latest")
        traces = call.decode(bytes.fromhex(answer[2:]))
        assert len(traces) == len(steps)
        _compare(steps, traces, seen)
    assert min(seen["joined"], seen["filled"], seen["rescaled"], seen["new generation"]) > 10, seen
    assert bool(seen["product below 1e27"]) == (part == 0), seen


def _compare(steps: list[Join | Fill], traces: tuple[tuple[object, ...], ...], seen: Counter[str]) -> None:
    """Every field of every trace with the mirror's."""
    queue = Queue()
    members: list[tuple[int, QueuePoint]] = []
    recorded = enumerate(zip(steps, traces, strict=True), 2)
    for epoch, (step, (point, shares, total, claims)) in recorded:
        before = queue
        if isinstance(step, Join):
            members.append((step.shares, queue.point))
        queue = _after(queue, step, epoch)
        mirror = queue.point
        assert point == (mirror.product, mirror.scale, mirror.generation, mirror.sum)
        assert shares == queue.shares
        assert total == queue.sums.get((before.generation, before.scale), 0)
        claimed = [queue.claim(*member) for member in members]
        assert claims == tuple((each.assets, each.pending) for each in claimed)
        seen["joined" if isinstance(step, Join) else "filled"] += 1
        seen["rescaled"] += queue.scale > before.scale
        seen["new generation"] += queue.generation > before.generation
        seen["product below 1e27"] += queue.product < RESCALE_BELOW


# THE EXACT MODEL


def test_random_histories_stay_within_a_rounding_of_the_exact_model() -> None:
    """Claims and pending shares never above exact, and below it by no more than `History.bounds`."""
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        seen += random_history(seed, STEPS).seen
    assert min(seen[kind] for kind in KINDS) > HISTORIES // 2, seen
    assert min(seen["rescaled"], seen["forgotten"], seen["pieces beat one claim"], seen["near the bound"]), (
        seen
    )


def test_the_order_of_claiming_does_not_matter() -> None:
    for seed in range(100):
        there, back = (_touched(seed, reverse) for reverse in (False, True))
        assert there.queue == back.queue
        assert [m.pieces(there.queue) for m in there.members] == [m.pieces(back.queue) for m in back.members]


def _touched(seed: int, reverse: bool) -> History:
    """A history in which everyone claims after every step, in one order or the other."""
    history = History()
    for step in _steps(4 * seed + 1):
        if isinstance(step, Join):
            history.join(step.shares)
        else:
            history.fill(step.shares, step.assets)
        for member in history.members[:: -1 if reverse else 1]:
            history.touch(member)
    return history


def test_a_new_generation_owes_nothing_to_the_old() -> None:
    old = Queue().join(100)
    new = old.fill(100, 50).record(2).join(100)
    assert new.claim(100, old.point) == Claim(50, 0)
    assert new.claim(100, new.point) == Claim(0, 100)


@pytest.mark.parametrize("shares", [-1, 101])
def test_a_fill_of_more_than_is_queued_is_refused(shares: int) -> None:
    with pytest.raises(ValuationError, match="More than is queued"):
        Queue().join(100).fill(shares, 1)


@pytest.mark.parametrize("shares", [-1, MAX_UINT128])
def test_a_join_that_does_not_fit_is_refused(shares: int) -> None:
    with pytest.raises(ValuationError, match="do not fit"):
        Queue().join(1).join(shares)


def test_an_empty_queue_cannot_be_filled() -> None:
    with pytest.raises(ValuationError):
        Queue().fill(0, 1)


# WRONG VARIANTS


def _fill_in_plain_wad(queue: Queue, shares: int, assets: int) -> Queue:
    """Without scales; for a queue whose product began as 1e18."""
    product = mul_div_down(queue.product, queue.shares - shares, queue.shares)
    total = queue.point.sum + mul_div_down(assets, queue.product, queue.shares)
    return replace(queue, product=product, shares=queue.shares - shares, sums={(0, 0): total})


def _ten_percent(queue: Queue, fill: FillRule, times: int) -> Queue:
    for _ in range(times):
        queue = fill(queue, queue.shares // 10, queue.shares // 10)
    return queue


def test_wrong_variant_a_plain_wad_product_is_0_after_378_fills_of_ten_percent() -> None:
    start = Queue(product=WAD).join(10**24)
    assert _ten_percent(start, _fill_in_plain_wad, 377).product == 1
    queue = _ten_percent(start, _fill_in_plain_wad, 378)
    assert (queue.product, queue.shares) == (0, 5_054_392)
    # What is still queued has vanished for its only owner, who is never paid for it.
    claim = queue.claim(10**24, start.point)
    assert claim.pending == 0
    paid_out = _fill_in_plain_wad(queue, queue.shares, queue.shares)
    assert paid_out.claim(10**24, start.point) == claim
    start = Queue().join(10**24)
    queue = _ten_percent(start, Queue.fill, 378)
    assert queue.claim(10**24, start.point).pending in range(queue.shares - 1, queue.shares + 1)
    paid_out = queue.fill(queue.shares, queue.shares)
    assert paid_out.claim(10**24, start.point).assets in range(10**24 - 1, 10**24 + 1)


def _fill_rounding_up(queue: Queue, shares: int, assets: int) -> Queue:
    after = queue.fill(shares, assets)
    if not after.shares:
        return after
    product, scale = mul_div_up(queue.product, after.shares, queue.shares), queue.scale
    if product < RESCALE_BELOW:
        product, scale = product * RESCALE, scale + 1
    return replace(after, product=product, scale=scale)


def _near_total_twice(fill: FillRule) -> tuple[int, int]:
    """(pending over queued, claims over payments) of two requests: two near-total fills at a price of almost
    nothing, a touch of both, and all the rest at 1."""
    first, second = 3 * 10**30, 10**35
    queue = Queue().join(first)
    members = [(first, queue.point)]
    queue = fill(queue, queue.shares - queue.shares // 10**9 - 1, 1)
    members.append((second, queue.point))
    queue = queue.join(second)
    queue = fill(queue, queue.shares - 2 * (queue.shares // 10**9), 1)
    claims = [queue.claim(*member) for member in members]
    rest, point = queue.shares, queue.point
    queue = fill(queue, rest, rest)
    fetched = sum(each.assets + queue.claim(each.pending, point).assets for each in claims)
    return sum(each.pending for each in claims) - rest, fetched - (rest + 2)


def test_wrong_variant_rounding_the_product_up_pays_more_than_there_is() -> None:
    assert _near_total_twice(_fill_rounding_up) == (99_933_333, 99_933_331)
    assert _near_total_twice(Queue.fill) == (-66_667, -66_669)


UNIT = 10**6
MIN_REDEEM = 10**12
NO_FEES = Params("", 0, 0, 0, 10**10, WAD // 20, WAD // 200, 0, "", 10 * UNIT, 10**15, MIN_REDEEM, 0)


def _filled_below_minimum(queued: int, available: int, pps: int) -> int:
    """Shares to fill where a remainder below the smallest request counts as filled."""
    filled = min(queued, mul_div_down(available, PPS_ONE, pps))
    return queued if queued - filled < MIN_REDEEM else filled


def test_wrong_variant_a_remainder_below_the_minimum_is_burned_for_nothing() -> None:
    """A queue of the smallest request, of which 2 % can be paid."""
    pps, idle = PPS_ONE // 10**6, 20_000
    accounts = Accounting(
        3, 1, 0, 0, 0, 0, 0, 0, 0, MIN_REDEEM, 100 * 10**12, 100 * UNIT, pps, pps, pps, 0, 0, 0, 0
    )
    outcome = settle(accounts, NO_FEES, idle=idle, nav=Value(100 * UNIT, 100 * UNIT), healthy=True, at=0)
    assert (outcome.filled, outcome.paid) == (MIN_REDEEM // 50, idle)
    start = Queue().join(MIN_REDEEM)
    right = start.fill(outcome.filled, outcome.paid).claim(MIN_REDEEM, start.point)
    assert right == Claim(idle, MIN_REDEEM * 98 // 100)
    burned = _filled_below_minimum(MIN_REDEEM, idle, outcome.redeem_pps)
    wrong = start.fill(burned, outcome.paid).record(2).claim(MIN_REDEEM, start.point)
    # 0.98 of a share are gone, and nobody has been paid for them.
    assert (burned, wrong) == (MIN_REDEEM, Claim(idle, 0))
