"""Prices in random states of feeds, pools and rates, as many as asked for, with a seed of the day."""

import os

import pytest
from oracle_world import build
from test_differential import compare

from keeper.simulation.devnet import Devnet

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]


def test_prices_to_the_wei(fresh_devnet: Devnet, seed: str) -> None:
    compare(build(fresh_devnet), seed, int(os.environ.get("OMNIKEEPER_STEPS", "1000")))
