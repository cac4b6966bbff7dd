"""The page's strategy, found by its entry point, puts a real vault's funds to work."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packages import install
from pages import blocks, text
from staged import USDC, Staged

from keeper import engine
from keeper.config import load_toml
from keeper.errors import ConfigError
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_vault

MODULE = "equal_split"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with the page's module and its entry point, as an installer leaves them."""
    (source,) = [each for each in blocks(text("strategy-authors.md")) if each.file == f"{MODULE}.py"]
    (tmp_path / f"{MODULE}.py").write_text(source.text)
    install(tmp_path, MODULE, {"keeper.strategies": {MODULE: f"{MODULE}:EqualSplit"}})
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def naming(section: str, policy_toml: str, folder: Path) -> Policy:
    """The policy with another strategy section."""
    start = policy_toml.index("[strategy]")
    end = policy_toml.index("\n[", start)
    path = folder / "policy.toml"
    path.write_text(policy_toml[:start] + section + policy_toml[end:])
    return load_toml(path, Policy)


async def test_it_splits_a_vault_on_the_real_protocols(installed: Path, fresh_devnet: Devnet) -> None:
    (section,) = [
        each.text
        for each in blocks(text("strategy-authors.md"))
        if each.language == "toml" and each.file is None
    ]
    deployment = deploy_vault(fresh_devnet)
    policy = naming(section, deployment.policy_toml, installed)
    stage = Staged(fresh_devnet, replace(deployment, policy=policy))
    await stage.open(1_000_000 * USDC)
    book = await stage.book()
    held = sorted(book.allocation.values())
    assert len(held) == 3
    assert held[-1] - held[0] <= 100
    assert abs(book.idle - 50_000 * USDC) <= 100


def test_a_parameter_it_does_not_know_is_refused_by_name(installed: Path, devnet: Devnet) -> None:
    deployment = deploy_vault(devnet)
    section = '[strategy]\nname = "equal_split"\nparams = { idle = 1 }\n'
    with pytest.raises(ConfigError, match=r"equal_split\.idle"):
        engine.load_strategy(naming(section, deployment.policy_toml, installed))
