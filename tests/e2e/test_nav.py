"""`keeper nav` as an operator runs it: a table, JSON, any block, and errors that name a position."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from staged import Staged

from keeper.exposures import risk_id
from keeper.ops.commands.nav import units
from keeper.simulation.market import MarketAgent
from keeper.simulation.vault import CAP
from keeper.units import Value

KEEPER = [sys.executable, "-m", "keeper.ops.cli"]
BROKEN = "0x60006000fd"
"""Code that reverts, whatever it is asked."""


@pytest.fixture
def folder(stage: Staged, tmp_path: Path) -> Path:
    """An operator's folder: the policy and the endpoints."""
    (tmp_path / "policy.toml").write_text(stage.deployment.policy_toml)
    (tmp_path / "endpoints.toml").write_text(
        f'clock = "chain"\n[[chains.{stage.devnet.chain_id}.endpoints]]\nurl = "{stage.devnet.url}"\n'
    )
    return tmp_path


def nav(folder: Path, vault: str, *options: str) -> tuple[int, str, str]:
    files = ["--policy", "policy.toml", "--endpoints", "endpoints.toml"]
    done = subprocess.run(
        [*KEEPER, "nav", vault, *files, *options], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def told(folder: Path, stage: Staged, *options: str) -> Any:
    """What it says with --json."""
    code, out, err = nav(folder, stage.deployment.vault, "--json", *options)
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def test_the_table_adds_up_and_ends_with_the_contracts_word(stage: Staged, folder: Path) -> None:
    code, out, err = nav(folder, stage.deployment.vault)
    assert code == 0, err
    low, high = stage.read(stage.portfolio, "nav")[0]
    lines = out.splitlines()
    for position in stage.policy.positions:
        value = stage.read(stage.portfolio, "positionValue", position.address, position.key)[0]
        amounts = [f"{part // 10**6:,}.{part % 10**6:06d}" for part in value]
        row = next(line.split() for line in lines if line.startswith(f"{position.venue} "))
        assert row[1:5] == [position.connector, "OK", *amounts]
    assert lines[-1].startswith(f"Proved: nav() of the contract at block 0x{stage.head.hash.hex()} is ")
    for name, value in (("NAV low", low), ("NAV high", high)):
        line = next(each for each in lines if each.startswith(name))
        assert line.split()[-1].replace(",", "").replace(".", "") == str(value)


def test_the_json_says_the_same_as_the_contracts(stage: Staged, folder: Path) -> None:
    said = told(folder, stage)
    low, high = stage.read(stage.portfolio, "nav")[0]
    assert said["ok"] is True
    assert (said["nav"]["low"], said["nav"]["high"]) == (low, high)
    assert said["nav"] == said["contract_nav"]
    assert said["gross"] - said["debt"] == said["net"] == high
    assert said["idle"] + sum(each["low"] for each in said["positions"]) == low
    for each in said["positions"]:
        assert sum(leg["low"] for leg in each["legs"]) == each["low"]
        assert each["provenance"]["block_hash"] == f"0x{stage.head.hash.hex()}"
        assert each["provenance"]["calls"] > 6
    assert said["exposures"] == [
        {
            "risk_id": each["venue"],
            "venues": [each["venue"]],
            "counted": stage.read(stage.portfolio, "exposures", risk_id(each["venue"])),
            "live": each["high"],
            "policy_cap": CAP,
            "chain_cap": CAP,
        }
        for each in said["positions"]
    ]


def test_amounts_are_shown_in_the_decimals_of_their_own_token(stage: Staged) -> None:
    tokens = stage.devnet.manifest["tokens"]
    usdc, weth, stranger = tokens["USDC"]["address"], tokens["WETH"]["address"], stage.deployment.vault
    assert units(stage.policy, usdc, 1_234_567_890) == "1,234.567890 USDC"
    assert units(stage.policy, weth, 1_234_567_890 * 10**12) == "1,234.567890000000000000 WETH"
    assert units(stage.policy, stranger, 1_234) == f"1,234 units of {stranger}"


def test_an_earlier_block_is_valued_as_it_was(stage: Staged, folder: Path) -> None:
    before, then = stage.head.number, stage.read(stage.portfolio, "nav")[0]
    market = MarketAgent(stage.devnet, 3)
    for _ in range(3):
        market.step()
        stage.devnet.warp(7_200)
    said, now = told(folder, stage, "--block", str(before)), told(folder, stage)
    assert Value(*then) == Value(said["nav"]["low"], said["nav"]["high"])
    assert said["block"]["number"] == before < now["block"]["number"]
    assert said["nav"]["low"] < now["nav"]["low"]
    digests = [[each["provenance"]["results_hash"] for each in one["positions"]] for one in (said, now)]
    assert not set(digests[0]) & set(digests[1])


def test_a_position_that_cannot_be_read_is_named_with_its_reason(stage: Staged, folder: Path) -> None:
    position = stage.policy.position("aave:USDC")
    stage.devnet.rpc("anvil_setCode", position.address, BROKEN)
    stage.devnet.rpc("evm_mine")
    code, out, _ = nav(folder, stage.deployment.vault)
    assert code == 0
    assert "  impaired: its report reverts with EmptyRevert()" in out.splitlines()
    row = next(line.split() for line in out.splitlines() if line.startswith("aave:USDC "))
    assert row[2:4] == ["impaired", "0.000000"]
    assert out.splitlines().count("  closed to new risk") == 1
    (said,) = [each for each in told(folder, stage)["positions"] if each["venue"] == "aave:USDC"]
    assert (said["status"], said["low"], said["cap"]) == ("UNAVAILABLE", 0, 0)
    assert said["high"] == stage.read(stage.portfolio, "marks", position.address, position.key)[1] > 0
    assert said["impaired"] == "its report reverts with EmptyRevert()"


def test_another_vaults_policy_is_refused(stage: Staged, folder: Path) -> None:
    code, out, err = nav(folder, stage.deployment.portfolio)
    assert (code, out) == (4, "")
    assert "The policy is another vault's [VAULT]" in err
    code, _, err = nav(folder, "vault")
    assert code == 2
    assert (
        "Not a vault's address [VAULT]: expected 20 bytes in hex, EIP-55 where mixed case, saw vault" in err
    )


def test_a_connector_that_says_something_else_than_the_protocol_ends_with_1(
    stage: Staged, folder: Path
) -> None:
    """The connector's code is replaced by one that reports another value, soundly."""
    position = stage.policy.position("morpho:WETH/USDC")
    low, high = stage.read(stage.portfolio, "positionValue", position.address, position.key)[0]
    # PUSH32 low, MSTORE at 0; PUSH32 high, MSTORE at 32; return 96 bytes, the last word being status OK.
    code = f"0x7f{high + 1:064x}600052" + f"7f{high + 1:064x}602052" + "60606000f3"
    stage.devnet.rpc("anvil_setCode", position.address, code)
    stage.devnet.rpc("evm_mine")
    code_of_exit, out, err = nav(folder, stage.deployment.vault, "--json")
    assert code_of_exit == 1
    assert json.loads(out)["error"]["where"] == "morpho:WETH/USDC"
    assert "Our valuation differs from the contract's [morpho:WETH/USDC]" in err
    assert f"saw {high + 1:,} to {high + 1:,}" in err
    assert low == high
