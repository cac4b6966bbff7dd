"""`keeper price explain` on a local chain's vault."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keeper.oracle.quote import Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment, deploy_vault

KEEPER = str(Path(sys.executable).with_name("keeper"))


@dataclass
class Desk:
    """A vault, and the files that an operator has of it."""

    devnet: Devnet
    deployment: Deployment
    folder: Path

    def explain(self, token: str, *options: str) -> subprocess.CompletedProcess[str]:
        files = ("--policy", "policy.toml", "--endpoints", "endpoints.toml")
        command = (KEEPER, "price", "explain", token, *files, *options)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def data(self, token: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.explain(token, "--json", *options).stdout)
        return found

    def later(self, seconds: int) -> int:
        """Mines a block so much later; its number."""
        head = int(self.devnet.block()["timestamp"], 16)
        self.devnet.rpc("evm_setNextBlockTimestamp", head + seconds)
        self.devnet.rpc("evm_mine")
        return int(self.devnet.block()["number"], 16)


@pytest.fixture(scope="module")
def desk(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    deployment = deploy_vault(devnet)
    (folder / "policy.toml").write_text(deployment.policy_toml)
    endpoints = f'clock = "chain"\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{devnet.url}"\n'
    (folder / "endpoints.toml").write_text(endpoints)
    return Desk(devnet, deployment, folder)


def test_a_price_is_told_hop_by_hop_and_is_the_routers(desk: Desk) -> None:
    seen = desk.data("WETH")
    weth = desk.devnet.manifest["tokens"]["WETH"]["address"]
    low, high, status = desk.devnet.call(
        desk.deployment.oracle,
        "value(address,address,uint256)",
        (weth, desk.deployment.asset, 10**18),
        "(uint256,uint256,uint8)",
    )
    assert (seen["low"], seen["high"], seen["status"]) == (low, high, Status(status).name)
    assert seen["ok"]
    assert seen["verdict"] == "usable"
    assert [(hop["source"], hop["inverse"]) for hop in seen["hops"]] == [
        ("ETH/USD", False),
        ("USDC/USD", True),
    ]
    details = seen["hops"][0]["details"]
    assert details["answer"] == 3000 * 10**8
    assert details["heartbeat"] == 3600
    assert details["sequencer"]["state"] == "up"
    assert seen["block"]["timestamp"] - details["updated_at"] == details["age"]


def test_people_are_told_the_same_in_lines(desk: Desk) -> None:
    done = desk.explain("weth")
    assert done.returncode == 0, done.stderr
    for text in (
        "WETH in USDC at block",
        "OK: usable",
        "1. ETH/USD  WETH → USD  chainlink",
        "2. USDC/USD  USD → USDC (read backwards)",
        "heartbeat 3,600 s",
        "deviation   50 bps",
        "sequencer   up since",
    ):
        assert text in done.stdout


def test_a_token_may_be_named_by_address(desk: Desk) -> None:
    weth = desk.devnet.manifest["tokens"]["WETH"]["address"]
    assert desk.data(weth.lower())["token"] == "WETH"


def test_a_stale_price_ends_with_one_and_an_older_block_is_still_fine(desk: Desk) -> None:
    before = int(desk.devnet.block()["number"], 16)
    after = desk.later(2 * 3600)
    done = desk.explain("WETH", "--json")
    seen = json.loads(done.stdout)
    assert done.returncode == 1
    assert (seen["status"], seen["ok"], seen["block"]["number"]) == ("STALE", False, after)
    assert any("ETH/USD: stale: the round is" in why for why in seen["why"])
    assert "stale: the round is" in desk.explain("WETH").stdout
    assert desk.data("WETH", "--block", str(before))["status"] == "OK"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("USDC", "the vault's own asset"),
        ("DOGE", "The policy has no route for this token: expected WETH, saw DOGE"),
    ],
)
def test_a_token_without_a_route_is_refused(desk: Desk, token: str, message: str) -> None:
    done = desk.explain(token)
    assert done.returncode == 4
    assert message in done.stderr
    assert not done.stdout


def test_a_policy_without_an_oracle_is_refused(desk: Desk) -> None:
    text = desk.deployment.policy_toml
    (desk.folder / "bare.toml").write_text(text[: text.index("[oracle]")])
    done = desk.explain("WETH", "--policy", "bare.toml")
    assert done.returncode == 2
    assert "no oracle section" in done.stderr
