"""The connector keeps every promise that a vault relies on."""

import pytest

from keeper.conformance.suite import CHECKS, conform
from keeper.simulation.devnet import Devnet


@pytest.mark.parametrize("check", CHECKS)
def test_it_conforms(check: str) -> None:
    with Devnet() as devnet:
        (score,) = conform("savings", devnet, only=[check])
    assert score.passed, score.reason
