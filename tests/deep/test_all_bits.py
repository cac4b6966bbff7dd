"""Every bit of every input of a plan; each of the ten rounds takes a tenth of them."""

import pytest
from bits import differ, inputs
from staged import USDC, Staged

from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault

ROUNDS = 10


@pytest.mark.deep
@pytest.mark.timeout(0)
async def test_one_bit_of_any_input_is_another_plan_or_none(seed: str) -> None:
    first = int(seed.rpartition("/")[2]) % ROUNDS
    with Devnet() as devnet:
        stage = Staged(devnet, deploy_vault(devnet))
        await stage.open(2_000_000 * USDC)
        given = await inputs(stage)
    for name, cases in given.groups().items():
        others, _ = differ(given, cases[first::ROUNDS])
        assert others, name
