"""Uniswap v3's random states and lives, over as many as asked for and a seed of the day."""

import os
from collections.abc import Iterator

import pytest
import test_uniswap_actions as actions
import test_uniswap_v3 as states
from uniswap_stage import Draws, Stage, build

from keeper.simulation.devnet import Devnet

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

STEPS = int(os.environ.get("OMNIKEEPER_STEPS", "1000"))


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Devnet() as devnet:
        yield build(devnet)


def test_uniswap_v3_reports_to_the_wei(stage: Stage, seed: str) -> None:
    assert states.compare(stage, Draws(f"{seed}/reports"), STEPS)


def test_uniswap_v3_moves_to_the_wei(stage: Stage, seed: str) -> None:
    assert actions.live(stage, f"{seed}/moves", STEPS // 10)
