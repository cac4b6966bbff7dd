"""Debts that `keeper run` defends while prices fall, beside a vault that nobody keeps."""

from pathlib import Path

import pytest
from levered import FLOOR, Levered, deploy_levered, levered
from running import Post, Running
from staged import USDC

from keeper.simulation.cast import cast
from keeper.simulation.devnet import Devnet
from keeper.units import BPS, WAD

STEPS = (2_400, 2_000, 1_650)
"""Prices of ether in dollars: at the last, what was borrowed at first could be liquidated."""
DEFENDS = r"batch in block \d+: Defends levered:USDC"


@pytest.fixture(scope="module")
def kept(devnet: Devnet) -> Levered:
    """The vault that is kept, with the guardian's pause on all new risk."""
    return levered(devnet)


def pause(stage: Levered) -> None:
    registry = stage.policy.vault.registry
    stage.act("guardian", registry, "pauseRisk(address)", stage.policy.vault.vault)


async def test_a_falling_price_liquidates_who_is_not_kept_and_nobody_who_is(
    devnet: Devnet, kept: Levered, tmp_path: Path
) -> None:
    left = Levered(devnet, deploy_levered(devnet))
    await left.open_levered(500_000 * USDC, 100 * 10**18, 150_000 * USDC)
    post = Post(tmp_path, kept)
    with cast(devnet, kept.deployment, tmp_path / "signers") as players:
        post.vault(kept, players.urls, "kept")
        post.write()
        pause(kept)
        with Running(post) as keeper:
            for dollars in STEPS:
                kept.price(dollars)
                if kept.health() * BPS < FLOOR * WAD:
                    keeper.events.clear()
                    keeper.did(DEFENDS)
                assert kept.health() > WAD
                assert not kept.may_be_liquidated()
            assert [each["breaker"] for each in post.status()["vaults"][0]["breakers"]] == ["loss"]
            assert keeper.terminate() == 0
    before = left.supplied("WETH")
    left.liquidate()
    assert left.supplied("WETH") < before * 3 // 4
