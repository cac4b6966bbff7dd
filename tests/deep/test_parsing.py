"""Mutated input to every parser: with ten rounds of 2,000 steps, more than a million."""

import os
from pathlib import Path

import pytest
from answers import node_outcomes, signer_outcomes
from local_programs import CHAIN, place_programs
from parsers import outcomes, parsers

from keeper.chain.rpc import Endpoint
from keeper.simulation.anvil import Anvil

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

STEPS = int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
ANSWERS = 2
"""In a step."""


def test_almost_valid_bytes(seed: str, tmp_path: Path) -> None:
    for parser in parsers(tmp_path):
        assert outcomes(parser, STEPS * parser.share, seed).keys() == {"parsed", "refused"}, parser.name


async def test_almost_valid_answers_of_nodes(seed: str) -> None:
    with Anvil(CHAIN, ["--no-mining"]) as node:
        async with Endpoint(node.url, CHAIN) as endpoint:
            await place_programs(endpoint)
        assert len(await node_outcomes(node.url, ANSWERS * STEPS, seed)) == 2


async def test_almost_valid_answers_of_signers(seed: str) -> None:
    assert len(await signer_outcomes(ANSWERS * STEPS, seed)) == 3
