"""SIGKILL at every step of the journal's table, just before and just after it is on disk, and anywhere.

Whatever was cut off, the keeper that starts next brings it to the same end: each order counted once.
"""

import asyncio
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import Case, Host, empty_journal, hosting
from scenarios import STORIES, WHERE, Story

from keeper.chain.rpc import Endpoint
from keeper.execution.journal.states import ALLOWED, State
from keeper.simulation.anvil import Anvil

STEPS = [(before, after) for before, steps in ALLOWED.items() for after in sorted(steps)]
SEED = 20_261_121
RANDOM = 4


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as started:
        yield started


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(empty_journal(tmp_path_factory.mktemp("empty") / "data"))


@pytest.fixture
async def case(host: Host, anvil: Anvil, chain: Endpoint, empty: Path, tmp_path: Path) -> Case:
    return await Case.new(host, chain, anvil.url, empty, tmp_path)


def test_every_step_of_the_table_has_a_kill_point() -> None:
    assert set(WHERE) == set(STEPS)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("before", "after"), STEPS)
async def test_a_keeper_killed_at_this_step_loses_and_repeats_nothing(
    case: Case, before: State | None, after: State, when: str
) -> None:
    story = WHERE[before, after]
    assert case.play(story, [before, after, when]) == -signal.SIGKILL
    assert case.go_on(story) == 0
    await case.check(story)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_an_undisturbed_story_comes_to_the_same_end(case: Case, story: Story) -> None:
    assert case.play(story) == 0
    assert case.go_on(story) == 0
    await case.check(story)


@pytest.mark.parametrize("number", range(RANDOM))
async def test_a_keeper_killed_at_any_moment_and_again_loses_and_repeats_nothing(
    case: Case, number: int
) -> None:
    await case.check(case.kill_anywhere(random.Random(SEED + number)))
