"""SIGKILL, and requests to stop, through whole days of a vault: each comes to what it comes to undisturbed.

To the smallest unit, as the chain moves only where a day's script says; with the same transactions in the
same blocks; and with everything that was meant to be done, done once.
"""

from collections.abc import Iterator
from functools import partial

import pytest
from campaign import Campaign
from killed import STOP_SECONDS
from postgresql_server import database, postgresql
from scripts import plain, rough
from sqlmodel import SQLModel

from keeper.execution.journal.states import ALLOWED, State
from keeper.simulation.devnet import BuiltChain, Devnet

pytestmark = pytest.mark.timeout(1800)

SEED = 20_261_122
AT_WRITES, ANY_MOMENT, COLD, POSTGRESQL = 110, 50, 20, 20
"""Kills, 200 in all."""
STOPS = 24
ELSEWHERE = {
    (State.DRAFTED, State.REPLACED),
    (State.SIGNED, State.REPLACED),
    (State.REPLACED, State.REVERTED),
    (State.REVERTED, State.REORGED),
}
"""Steps that a day has only by an accident in an accident: `test_kills` has a story for each."""
STEPS = {
    f"{before}-{after}"
    for before, steps in ALLOWED.items()
    for after in steps
    if (before, after) not in ELSEWHERE
}
IN_STEPS = {"intents", "transactions", "transitions", "plans"}


@pytest.fixture(scope="module")
def campaign(built_chain: BuiltChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("days")
    with Devnet(built_chain.manifest["chain_id"]) as devnet, Campaign.of(devnet, folder, SEED) as made:
        made.undisturbed()
        yield made


def test_the_days_write_every_table_of_the_journal_and_take_every_step(campaign: Campaign) -> None:
    written = {part for what, _ in campaign.points for part in what.split(", ")}
    assert (set(SQLModel.metadata.tables) - IN_STEPS) | STEPS <= written


def test_a_keeper_killed_before_and_after_any_write_loses_and_repeats_nothing(campaign: Campaign) -> None:
    campaign.every_point()
    assert campaign.points <= campaign.tally.touched
    campaign.days(AT_WRITES - len(campaign.points), campaign.at_writes)


def test_a_keeper_killed_at_any_moment_loses_and_repeats_nothing(campaign: Campaign) -> None:
    campaign.days(ANY_MOMENT, campaign.at_any_moment, (plain, rough))


def test_nor_does_one_whose_every_start_is_a_cold_one(campaign: Campaign) -> None:
    campaign.days(COLD, partial(campaign.at_any_moment, cold=True), (plain, rough))


def test_nor_does_one_that_keeps_its_journal_in_postgresql(campaign: Campaign) -> None:
    with postgresql() as server:
        campaign.days(POSTGRESQL, campaign.at_writes, (rough,), partial(database, server))


def test_a_keeper_told_to_stop_at_any_moment_stops_soon_and_loses_nothing(campaign: Campaign) -> None:
    campaign.days(STOPS, campaign.told_to_stop, (rough,))
    assert max(campaign.tally.stops) < STOP_SECONDS
