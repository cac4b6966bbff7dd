"""Many random swaps: with ten rounds of 2,000 steps, two thousand."""

import os
import sys
from pathlib import Path

import pytest
from slippage import MINIMUM, ORACLE, PARTLY, RECEIVED, Campaign
from stage import staged

STEPS_PER_SWAP = 10


@pytest.mark.deep
@pytest.mark.timeout(0)
async def test_random_swaps_bring_both_minimums_or_move_nothing(
    seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with staged() as stage:
        campaign = Campaign(stage, f"{seed}/slippage", tmp_path)
        await campaign.run(int(os.environ.get("OMNIKEEPER_STEPS", "1000")) // STEPS_PER_SWAP)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(campaign.lines()) + "\n")
    for route in ("LiFi", "Uniswap"):
        seen = {outcome for by, _, outcome in campaign.table if by == route}
        assert {RECEIVED, PARTLY, MINIMUM, ORACLE} <= seen
