"""A local chain with an empty vault and its signers in processes of their own, shared by a module."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Post
from staged import USDC, Staged

from keeper.simulation.cast import Cast, cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault


@pytest.fixture(scope="module")
def working(devnet: Devnet) -> Staged:
    """The module's vault: two million USDC settled, claimed, and at work."""
    made = Staged(devnet, deploy_vault(devnet))
    asyncio.run(made.open(2_000_000 * USDC))
    return made


@pytest.fixture
def stage(devnet: Devnet) -> Staged:
    """A vault of the test's own."""
    return Staged(devnet, deploy_vault(devnet))


@pytest.fixture
def players(stage: Staged, tmp_path: Path) -> Iterator[Cast]:
    """The vault's signers."""
    with cast(stage.devnet, stage.deployment, tmp_path / "signers") as running:
        yield running


@pytest.fixture
def post(stage: Staged, tmp_path: Path) -> Post:
    """An operator's folder without vaults yet."""
    return Post(tmp_path, stage)
