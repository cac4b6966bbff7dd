"""Keepers killed at any moment, thousands of times: each order is counted once."""

import os
import random
from pathlib import Path

import pytest
from counting import CHAIN
from killing import Case, empty_journal, hosting

from keeper.chain.rpc import Endpoint
from keeper.simulation.anvil import Anvil

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

CASES = int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
"""Each is killed twice."""


async def test_keepers_killed_at_any_moment_lose_and_repeat_nothing(tmp_path: Path, seed: str) -> None:
    drawn = random.Random(seed)
    empty = await empty_journal(tmp_path / "empty")
    with Anvil(CHAIN, ["--no-mining", "--slots-in-an-epoch", "1"]) as anvil, hosting() as host:
        async with Endpoint(anvil.url, CHAIN) as chain:
            for number in range(CASES):
                folder = tmp_path / str(number)
                folder.mkdir()
                case = await Case.new(host, chain, anvil.url, empty, folder)
                await case.check(case.kill_anywhere(drawn))
