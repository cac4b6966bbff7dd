"""Three signers agree on the plans of random vault states: 200 of them, with ten rounds of 2,000 steps."""

import os
from pathlib import Path

import pytest
from staged import USDC, Staged
from vault_states import agreements

from keeper.planning.plan import Kind
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault

STEPS_OF_ONE_STATE = 100


@pytest.mark.deep
@pytest.mark.timeout(0)
async def test_three_signers_derive_one_plan(seed: str, tmp_path: Path) -> None:
    states = max(20, int(os.environ.get("OMNIKEEPER_STEPS", "1000")) // STEPS_OF_ONE_STATE)
    with Devnet() as devnet:
        stage = Staged(devnet, deploy_vault(devnet))
        await stage.open(2_000_000 * USDC)
        agreed = await agreements(stage, tmp_path, states, seed)
    assert agreed["snapshots"] == states
    assert agreed[Kind.BATCH]
    assert agreed[Kind.SETTLEMENT]
