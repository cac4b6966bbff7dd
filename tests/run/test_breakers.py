"""Circuit breakers: what trips them, what they stop, and what they do not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from staged import USDC, Staged

from keeper import engine
from keeper.book import Book
from keeper.errors import DisagreementError, EndpointError, KeeperError, ReconciliationError, RefusedError
from keeper.events import BreakerTripped, Event, EventStream
from keeper.execution.breakers import BreakerLimits, Breakers
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.planning import exits
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind, Plan


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    """The module's vault, put back after each test."""
    with working.devnet.undone():
        yield working


@pytest.fixture
def record(stage: Staged, journal: Journal) -> VaultRecord:
    return VaultRecord(journal, stage.devnet.chain_id, stage.deployment.vault)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def breakers(record: VaultRecord, told: list[Event]) -> Breakers:
    events = EventStream()
    events.subscribe(told.append)
    return Breakers(BreakerLimits(loss_bps=50, failures=3, passes=5), record, events)


async def test_a_loss_trips_once_and_is_measured_anew_when_resumed(
    stage: Staged, breakers: Breakers, record: VaultRecord, told: list[Event]
) -> None:
    book = await stage.book()

    def fallen(per_mille: int) -> Book:
        """The same funds for more shares."""
        supply = book.accounting.total_supply * 1000 // (1000 - per_mille)
        return replace(book, accounting=replace(book.accounting, total_supply=supply))

    breakers.look(fallen(4))
    assert breakers.open == ()
    for per_mille in (7, 20):
        breakers.look(fallen(per_mille))
        assert breakers.open == (Breaker.LOSS,)
    assert [type(each) for each in told] == [BreakerTripped]
    record.resume("known, and paid for", {Breaker.LOSS})
    breakers.look(fallen(8))
    assert breakers.open == ()
    breakers.look(fallen(14))
    assert breakers.open == (Breaker.LOSS,)


@pytest.mark.parametrize(
    ("error", "breaker"),
    [
        (ReconciliationError("The chain differs"), Breaker.DIVERGENCE),
        (DisagreementError("Two say different things"), Breaker.DISAGREEMENT),
    ],
)
def test_an_error_that_leaves_the_keeper_in_the_dark_trips_at_once_and_is_still_there_after_a_restart(
    breakers: Breakers, record: VaultRecord, tmp_path: Path, error: KeeperError, breaker: Breaker
) -> None:
    breakers.judge(EndpointError("Down"))
    assert breakers.open == ()
    breakers.judge(error)
    again = replace(record, journal=Journal(str(tmp_path / "keeper")))
    assert set(again.tripped()) == {breaker}
    with pytest.raises(RefusedError, match=f"not what you were shown.*saw {breaker}"):
        again.resume("seen to", {Breaker.LOSS})
    assert breakers.open == (breaker,)
    again.resume("seen to", {breaker})
    assert breakers.open == ()


def test_failures_trip_when_too_many_of_the_last_passes_failed(breakers: Breakers) -> None:
    for failed in (True, True, False, False, False, False, True, True, False):
        breakers.count(failed=failed)
        assert breakers.open == ()
    breakers.count(failed=True)
    assert breakers.open == (Breaker.ERRORS,)


async def exiting(stage: Staged) -> Plan:
    """The batch of a keeper whose breakers have tripped."""
    evidence = exits.evidence("tripped: loss", stage.head.timestamp)
    return engine.derive(await stage.snapshot(), stage.policy, Kind.BATCH, (evidence,))


async def test_exits_only_adds_nothing_to_a_venue_and_frees_what_redemptions_need(stage: Staged) -> None:
    stage.request_deposit("user3", 500_000 * USDC)
    await stage.settle()
    assert any(call.function == "supply" for call in (await stage.propose(Kind.BATCH)).batch.calls)
    with pytest.raises(NothingToDoError):
        await exiting(stage)
    stage.request_redeem("user1", stage.shares("user1"))
    book = await stage.book()
    assert book.idle < book.reserve
    plan = await exiting(stage)
    assert {call.function for call in plan.batch.calls} == {"withdraw"}
    assert Plan.from_bytes(plan.to_bytes()) == plan
    stage.submit(plan)
    after = await stage.book()
    assert after.idle >= book.reserve
    assert all(held <= book.allocation[venue] + USDC for venue, held in after.allocation.items())
