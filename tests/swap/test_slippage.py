"""A swap brings at least what was signed and what the oracle says it is worth, or it does nothing."""

import sys
from pathlib import Path

import pytest
from slippage import MINIMUM, ORACLE, PARTLY, RECEIVED, Campaign
from stage import Stage

CASES = 100


async def test_swaps_bring_the_signed_minimum_and_the_oracle_s_or_move_nothing(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(stage, "slippage", tmp_path)
    await campaign.run(CASES)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(campaign.lines()) + "\n")
    for route in ("LiFi", "Uniswap"):
        assert campaign.table[route, "honest", RECEIVED]
        assert campaign.table[route, "generous", MINIMUM]
        assert campaign.table[route, "mean", RECEIVED]
        assert campaign.table[route, "mean", ORACLE]
    assert any(campaign.table["LiFi", kind, PARTLY] for kind in ("honest", "mean"))
