"""A vault on a local chain for its guardian, put back after each test."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from guardian_post import Post

from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault


@pytest.fixture(scope="module")
def deployed(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Post:
    folder = tmp_path_factory.mktemp("post")
    deployment = deploy_vault(devnet)
    (folder / "policy.toml").write_text(deployment.policy_toml)
    (folder / "endpoints.toml").write_text(
        f'clock = "chain"\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{devnet.url}"\n'
    )
    return Post(devnet, deployment, folder, folder / "data")


@pytest.fixture
def post(deployed: Post, tmp_path: Path) -> Iterator[Post]:
    """The same vault, put back after the test."""
    with deployed.devnet.undone():
        yield replace(deployed, journal=tmp_path / "data")
