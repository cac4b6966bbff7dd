"""The connectors' drawn states, over as many as asked for and a seed of the day."""

import os
from collections.abc import Iterator

import pytest
import test_erc4626 as erc4626
import test_metamorpho_states as metamorpho
import test_morpho_states as morpho_blue
from conftest import Walk

from keeper.simulation.devnet import Devnet

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

STATES = int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
"""Nothing is mined in a drawn state, so one chain serves them all."""


@pytest.fixture
def drawing(request: pytest.FixtureRequest, seed: str) -> Iterator[Walk]:
    with Devnet() as devnet:
        yield Walk(devnet, f"{seed}/{request.node.name}")


def test_morpho_blue_reports(drawing: Walk) -> None:
    assert morpho_blue.run_reports(drawing, STATES).met["a debt"]


def test_morpho_blue_accruals(drawing: Walk) -> None:
    assert morpho_blue.run_accruals(drawing, STATES).met["accruals"]


def test_morpho_blue_actions(drawing: Walk) -> None:
    assert morpho_blue.run_actions(drawing, STATES).met["borrow"]


def test_metamorpho_views(drawing: Walk) -> None:
    assert metamorpho.run_views(metamorpho.open_campaign(drawing), STATES)["a value"]


def test_metamorpho_moves(drawing: Walk) -> None:
    assert metamorpho.run_moves(metamorpho.open_campaign(drawing), STATES)["supply"]


def test_erc4626_reports(drawing: Walk) -> None:
    assert erc4626.run_reports(drawing, STATES)["OK"]
