"""A vault's duties, one pass at a time, in this process."""

import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import slow_strategy
from days import FINALITY, deeper
from eth_account import Account
from packages import install
from running import DEAD
from staged import USDC, Staged

from keeper.clock import ChainClock
from keeper.errors import PolicyError
from keeper.events import Event, EventStream, PlanBuilt, SnapshotTaken, VaultValued, Waited
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import LONGEST_EPOCH, Duties, Report, only_waits
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import EXECUTED
from keeper.execution.journal.vaults import Breaker
from keeper.execution.loop import Loop, Schedule, Tended
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.planning.bounds import FeePolicy
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval, Outcome, TooFewSignaturesError
from keeper.quorum.equivocation import Sightings
from keeper.quorum.requests import Proposer
from keeper.quorum.signer import PlanRefusedError
from keeper.simulation.proposers import proposer_key
from keeper.simulation.vault import EPOCH_SECONDS
from keeper.units import Address

MakeDuties = Callable[..., Duties]


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    """The module's vault with an epoch that waits for settlement, put back after each test."""
    with working.devnet.undone():
        working.request_deposit("user3", 500_000 * USDC)
        working.close_epoch()
        yield working


def stop_iterating() -> None:
    next(iter(()))


@pytest.fixture
async def make(stage: Staged, journal: Journal) -> AsyncIterator[MakeDuties]:
    """Duties of a keeper whose signers are at these places."""
    async with stage.endpoint() as endpoint:

        def made(signers: Sequence[str], policy: Policy = stage.policy) -> Duties:
            events, clock = EventStream(), ChainClock(endpoint)
            relayer = Relayer(endpoint, Account.from_key(stage.devnet.key("relayer")), journal, events)
            proposer = Proposer(proposer_key("proposer1"), clock)
            keeper = Keeper(policy, endpoint, clock, signers, events, relayer, proposer)
            return Duties.of(keeper, relayer, BreakerLimits(), GasLimits())

        yield made


async def test_a_plan_that_nobody_promised_makes_way_and_one_that_may_be_promised_stays_until_it_expires(
    stage: Staged, make: MakeDuties
) -> None:
    report = Report()
    await make([]).perform(report)
    assert "Too few signatures" in str(report.errors[0])
    duties = make([DEAD])
    assert duties.record.open_plan(Kind.SETTLEMENT) is None
    await duties.perform(report)
    kept = duties.record.open_plan(Kind.SETTLEMENT)
    assert kept is not None
    # Too old to be signed, and not yet expired: nobody is asked.
    stage.devnet.warp(stage.policy.time.max_reference_age + 1)
    waiting = Report()
    await duties.perform(waiting)
    assert (waiting.did, waiting.errors) == ([], [])
    assert duties.record.open_plan(Kind.SETTLEMENT) == kept
    stage.devnet.warp(kept.valid_until - stage.head.timestamp + 1)
    after = Report()
    await duties.perform(after)
    assert after.did == ["gave up an expired settlement"]
    fresh = duties.record.open_plan(Kind.SETTLEMENT)
    assert fresh is not None
    assert fresh != kept


async def test_nothing_is_planned_on_a_block_before_the_last_plan_was_carried_out(
    stage: Staged, make: MakeDuties
) -> None:
    duties = make([])
    plan = await duties.keeper.propose(Kind.SETTLEMENT)
    duties.record.begin(plan)
    duties.record.end(plan, EXECUTED, stage.head.number + 1)
    early = Report()
    await duties.perform(early)
    assert early.errors == []
    stage.devnet.rpc("evm_mine")
    late = Report()
    await duties.perform(late)
    assert len(late.errors) == 1


async def test_a_plan_that_somebody_else_relayed_is_reconciled_and_not_tried_again(
    stage: Staged, make: MakeDuties
) -> None:
    duties = make([DEAD])
    plan = await stage.propose(Kind.SETTLEMENT)
    duties.record.begin(plan)
    stage.submit(plan)
    block = stage.head.number
    stage.devnet.rpc("evm_mine")
    report = Report()
    await duties.perform(report)
    assert report.did[0] == f"settlement in block {block}: epoch {plan.settlement.epoch}"
    assert duties.record.open_plan(Kind.SETTLEMENT) is None
    assert (duties.record.last_block(), stage.accounting().settled_epoch) == (block, plan.settlement.epoch)


async def test_a_plan_whose_block_another_policy_cannot_read_ends_when_it_is_too_late_and_stops_risk(
    stage: Staged, make: MakeDuties
) -> None:
    duties = make([DEAD])
    plan = await stage.propose(Kind.SETTLEMENT)
    duties.record.begin(plan)
    stage.submit(plan)
    signers = stage.policy.signers
    more = signers.model_copy(update={"threshold": signers.threshold + 1})
    other = stage.policy.model_copy(update={"signers": more})
    changed = replace(duties, keeper=replace(duties.keeper, policy=other))
    report = Report()
    with pytest.raises(PolicyError):
        await changed.perform(report)
    assert (len(report.errors), duties.record.open_plan(Kind.SETTLEMENT)) == (1, plan)
    stage.devnet.warp(plan.valid_until - stage.head.timestamp + 1)
    late = Report()
    with pytest.raises(PolicyError):
        await changed.perform(late)
    assert "could not be read in time" in str(late.errors[0])
    assert duties.record.open_plan(Kind.SETTLEMENT) is None
    assert set(duties.record.tripped()) == {Breaker.DIVERGENCE}


async def test_what_one_vault_waits_for_all_of_an_accounts_vaults_wait_for(
    stage: Staged, make: MakeDuties
) -> None:
    relayer, deep = make([]).relayer, deeper(stage).policy
    assert relayer.finality(stage.policy) == 0
    both = replace(relayer, policies=(stage.policy, deep))
    assert both.finality(stage.policy) == both.finality(deep) == FINALITY


async def test_where_blocks_have_to_lie_deep_a_plan_is_examined_alike_when_the_head_has_moved_on(
    stage: Staged, tmp_path: Path
) -> None:
    deep, devnet = deeper(stage), stage.devnet
    for _ in range(FINALITY):
        devnet.rpc("evm_mine")
    async with stage.endpoint() as endpoint:
        clock = ChainClock(endpoint)
        signer = deep.signer(endpoint, tmp_path / "promises.sqlite")
        plan = await Keeper(deep.policy, endpoint, clock, (), EventStream()).propose(Kind.SETTLEMENT)
        for _ in range(FINALITY):
            devnet.rpc("evm_mine")
            own, _, _ = await signer.examine(plan.to_bytes())
            assert own == plan


async def test_where_blocks_have_to_lie_deep_a_second_plan_begins_after_the_first_one_has_expired(
    stage: Staged, make: MakeDuties, tmp_path: Path
) -> None:
    deep, devnet = deeper(stage), stage.devnet
    for _ in range(FINALITY):
        devnet.rpc("evm_mine")
    async with stage.endpoint() as endpoint:
        duties = make([DEAD])
        duties = replace(duties, keeper=replace(duties.keeper, policy=deep.policy))
        signer = deep.signer(endpoint, tmp_path / "promises.sqlite")

        async def one_pass() -> Plan:
            await duties.perform(Report())
            plan = duties.record.open_plan(Kind.SETTLEMENT)
            assert plan is not None
            return plan

        first = await one_pass()
        signature = await signer.approve(first.to_bytes())
        devnet.warp(first.valid_until - stage.head.timestamp - FINALITY)
        for _ in range(FINALITY):
            devnet.warp(2)
        assert stage.head.timestamp > first.valid_until
        early = await duties.keeper.propose(Kind.SETTLEMENT)
        with pytest.raises(PlanRefusedError, match=first.plan_hash.hex()):
            await signer.approve(early.to_bytes())
        assert await one_pass() == first
        for _ in range(FINALITY):
            devnet.rpc("evm_mine")
        second = await one_pass()
        sightings, quorum = Sightings(tmp_path / "seen.sqlite"), deep.policy.vault.quorum
        assert sightings.see(first, signature, quorum) is None
        assert sightings.see(second, await signer.approve(second.to_bytes()), quorum) is None


@pytest.mark.parametrize("code", ["bad_answer", "bad_signature", "equivocation", "key_unavailable"])
async def test_a_plan_that_a_signer_may_have_promised_is_not_replaced(
    stage: Staged, make: MakeDuties, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    duties = make([])
    outcomes = (Outcome(DEAD, code=code, reason="so it says"),)

    async def refuse(self: Keeper, plan: Plan, **_: bool) -> Approval:
        raise TooFewSignaturesError(Approval((), outcomes), stage.policy)

    monkeypatch.setattr(Keeper, "approve", refuse)
    await duties.perform(Report())
    assert duties.record.open_plan(Kind.SETTLEMENT) is not None


async def test_a_batch_that_is_under_way_waits_while_a_breaker_forbids_risk(
    stage: Staged, make: MakeDuties
) -> None:
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    duties = make([DEAD])
    first = Report()
    await duties.perform(first)
    plan = duties.record.open_plan(Kind.BATCH)
    assert plan is not None
    assert len(first.errors) == 1
    duties.record.trip(Breaker.LOSS, "a test of it")
    second = Report()
    await duties.perform(second)
    assert (second.did, second.errors) == ([], [])
    duties.record.resume("enough", {Breaker.LOSS})
    third = Report()
    await duties.perform(third)
    assert len(third.errors) == 1


@pytest.mark.parametrize("defect", [lambda: 1 // 0, stop_iterating, sys.exit])
async def test_a_strategy_with_a_defect_keeps_nobody_from_leaving(
    stage: Staged,
    make: MakeDuties,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    defect: Callable[[], object],
) -> None:
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    stage.claim("user3")
    stage.request_redeem("user3", stage.shares("user3") // 2)
    stage.devnet.warp(2 * EPOCH_SECONDS)
    install(tmp_path, "slow", slow_strategy.BRINGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(slow_strategy, "waits", [defect])
    report = Report()
    await make([DEAD], slow_strategy.under(stage.policy)).perform(report)
    (error,) = report.errors
    assert re.match(r"The strategy fails \[slow, \S+:\d+\]: saw ", str(error))
    assert report.did == ["closed epoch 3"]


async def test_a_plan_that_nobody_ends_reserves_gas_until_it_expires(stage: Staged, make: MakeDuties) -> None:
    """As that of a vault which is no longer in the keeper's file."""
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    plan, devnet = await stage.propose(Kind.BATCH), stage.devnet
    duties = make([])
    replace(duties.record, vault=Address(devnet.address("user1"))).begin(plan)
    base_fee = stage.head.base_fee
    one = stage.policy.limits.max_gas * (2 * base_fee + 10**9)
    treasury = replace(duties.treasury, limits=GasLimits(daily_cap=2 * one - 1))
    await treasury.look()
    assert not treasury.allows(stage.policy)
    devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
    devnet.warp(plan.valid_until - stage.head.timestamp + 1)
    await treasury.look()
    assert treasury.allows(stage.policy)


async def test_what_only_time_can_end_is_told_and_is_no_failure(stage: Staged, make: MakeDuties) -> None:
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    stage.claim("user3")
    stage.request_redeem("user3", stage.shares("user3"))
    stage.devnet.warp(EPOCH_SECONDS)
    free = make([])
    told: list[Event] = []
    free.keeper.events.subscribe(told.append)
    ceiling = FeePolicy(max_fee_per_gas=1, max_priority_fee_per_gas=0)
    dear = replace(
        free, keeper=replace(free.keeper, policy=stage.policy.model_copy(update={"fees": ceiling}))
    )
    report = Report()
    await dear.perform(report)
    assert [type(each).__name__ for each in report.waits] == ["FeeCeilingError"]
    # Nobody signs what funds the queue, which is a failure: nobody is there.
    assert ["Too few signatures" in str(each) for each in report.errors] == [True]
    assert [type(each) for each in told if isinstance(each, Waited)] == [Waited]
    after = Report()
    await free.perform(after)
    assert after.did == ["closed epoch 3"]


@pytest.mark.parametrize(
    ("codes", "waits"),
    [
        (["slot_taken", "over_budget", "not_final"], True),
        (["slot_taken", "unreachable"], False),
        (["different_plan"], False),
        ([], False),
    ],
)
def test_a_quorum_only_waits_where_everybody_who_refuses_says_so(
    working: Staged, codes: Sequence[str], waits: bool
) -> None:
    outcomes = tuple(Outcome(DEAD, code=code, reason="so they say") for code in codes)
    assert only_waits(TooFewSignaturesError(Approval((), outcomes), working.policy)) is waits


async def test_an_hour_above_the_fee_ceiling_trips_nothing(stage: Staged, make: MakeDuties) -> None:
    duties = make([])
    ceiling = FeePolicy(max_fee_per_gas=1, max_priority_fee_per_gas=0)
    policy = stage.policy.model_copy(update={"fees": ceiling})
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    await stage.allocate()
    stage.request_deposit("user3", 500_000 * USDC)
    stage.devnet.warp(EPOCH_SECONDS)
    keeper = replace(duties.keeper, policy=policy)
    breakers = replace(duties.breakers, limits=BreakerLimits(failures=2, passes=4))
    loop = Loop(
        [Tended(keeper, replace(duties, keeper=keeper, breakers=breakers))], Schedule(), keeper.events
    )
    for _ in range(4):
        assert await loop.once()
    assert breakers.open == ()
    beat = duties.record.heartbeat()
    assert beat is not None
    assert "above the policy's ceiling" in beat.trouble


async def test_fees_are_charged_while_nobody_comes_or_goes(stage: Staged, make: MakeDuties) -> None:
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    await stage.allocate()
    idle = Report()
    await make([]).perform(idle)
    assert (idle.did, idle.errors) == ([], [])
    treasury = stage.shares("treasury")
    stage.devnet.warp(LONGEST_EPOCH)
    report = Report()
    await make([]).perform(report)
    assert report.did == ["closed epoch 3"]
    stage.devnet.rpc("evm_mine")
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    assert stage.shares("treasury") > treasury


async def test_no_epoch_ends_right_behind_a_late_settlement(stage: Staged, make: MakeDuties) -> None:
    stage.devnet.warp(EPOCH_SECONDS)
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    await stage.allocate()
    stage.request_deposit("user3", 500_000 * USDC)
    early, late = Report(), Report()
    await make([]).perform(early)
    assert (early.did, early.errors) == ([], [])
    stage.devnet.warp(EPOCH_SECONDS)
    await make([]).perform(late)
    assert late.did == ["closed epoch 3"]


async def test_a_pass_goes_by_one_state_whatever_happens_meanwhile(stage: Staged, make: MakeDuties) -> None:
    stage.submit(await stage.propose(Kind.SETTLEMENT))
    stage.request_deposit("user3", 500_000 * USDC)
    stage.devnet.warp(EPOCH_SECONDS)
    duties, told = make([]), list[Event]()

    def close(event: Event) -> None:
        told.append(event)
        if isinstance(event, VaultValued):
            # From here on a settlement has to come before any batch.
            stage.close_epoch()

    duties.keeper.events.subscribe(close)
    await duties.perform(Report())
    (taken,) = [each for each in told if isinstance(each, SnapshotTaken)]
    (planned,) = [each for each in told if isinstance(each, PlanBuilt)]
    assert (planned.kind, planned.snapshot) == ("batch", taken.snapshot)
