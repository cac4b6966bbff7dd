"""Many blocks drawn at random, of what we do among others, are split to the wei."""

import asyncio
import os
from random import Random

import pytest
from staged import USDC, Staged
from strangers import Street

from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

BLOCKS = int(os.environ.get("OMNIKEEPER_STEPS", "1000")) // 5
"""Each takes as long as several steps elsewhere."""
BLOCKS_OF_ONE_CHAIN = 100


def test_blocks_drawn_at_random_are_split_to_the_wei(seed: str) -> None:
    succeeded = asyncio.run(campaign(Random(seed)))
    assert succeeded > BLOCKS // 2


async def campaign(drawn: Random) -> int:
    """How many blocks were split; in the others something of ours failed for what came before it."""
    succeeded = 0
    for first in range(0, BLOCKS, BLOCKS_OF_ONE_CHAIN):
        with Devnet() as devnet:
            stage = Staged(devnet, deploy_vault(devnet))
            await stage.open(2_000_000 * USDC)
            street = Street(stage)
            street.prepare("user4", "user5")
            async with stage.endpoint() as endpoint:
                for _ in range(min(BLOCKS_OF_ONE_CHAIN, BLOCKS - first)):
                    with devnet.undone():
                        stage.request_deposit("user2", drawn.randrange(300_000, 600_000) * USDC)
                        await stage.settle()
                        scene = await street.draw(drawn)
                        if scene.succeeded:
                            await scene.check(endpoint)
                            succeeded += 1
    return succeeded
