"""`keeper policy` on a local chain's vault: agreement, and every way in which two sides can part."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from keeper.config import parse
from keeper.contracts import Contract
from keeper.exposures import risk_id
from keeper.planning.actions import WITHDRAW
from keeper.planning.policy import Policy
from keeper.simulation import vault
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import CAP, TIMELOCK, Core, Deployment, Listing, govern

KEEPER = str(Path(sys.executable).with_name("keeper"))


@dataclass
class Desk:
    """A vault, and the files that an operator has of it."""

    devnet: Devnet
    deployment: Deployment
    folder: Path

    def run(
        self, command: str, *options: str, more: str = "", **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """A `keeper policy` command on the deployed policy, with `more` in front and texts changed in it."""
        text = self.deployment.policy_toml
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (self.folder / "policy.toml").write_text(text + more)
        line = (KEEPER, "policy", command, *options)
        return subprocess.run(line, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def diff(self, *options: str, **changes: Any) -> tuple[int, dict[str, Any]]:
        files = ("--policy", "policy.toml", "--endpoints", "endpoints.toml", "--json")
        done = self.run("diff", *files, *options, **changes)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def differences(self, **changes: Any) -> dict[str, str]:
        """Field to who allows more; empty exactly when the command says that they agree."""
        code, seen = self.diff(**changes)
        assert code == (1 if seen["differences"] else 0)
        return {each["field"]: each["wider"].split(" allows")[0] for each in seen["differences"]}

    def act(self, role: str, function: str, *args: Any) -> Mapping[str, Any]:
        data = Contract(self.deployment.registry, "Registry").encode(function, self.deployment.vault, *args)
        return self.devnet.send(self.devnet.key(role), self.deployment.registry, data, errors=("Registry",))

    def submit(self, function: str, *args: Any) -> bytes:
        """Announces a call of the registry; that call."""
        registry = self.deployment.registry
        data = Contract(registry, "Registry").encode(function, self.deployment.vault, *args)
        govern(self.devnet, self.deployment, "submit", self.deployment.vault, registry, data)
        return data


@pytest.fixture(scope="module")
def deployed(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    endpoints = f'clock = "chain"\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{devnet.url}"\n'
    (folder / "endpoints.toml").write_text(endpoints)
    return Desk(devnet, vault.deploy_vault(devnet), folder)


@pytest.fixture
def desk(deployed: Desk) -> Iterator[Desk]:
    """The same vault, put back after the test."""
    with deployed.devnet.undone():
        yield deployed


def roles_of(desk: Desk, delay: int = TIMELOCK) -> str:
    guardian, governor = (desk.devnet.address(role) for role in ("guardian", "governor"))
    return f'\n[guardian]\naddress = "{guardian}"\n[governor]\naddress = "{governor}"\ndelay = {delay}\n'


def test_what_was_deployed_agrees_and_says_what_it_leaves_out(desk: Desk) -> None:
    code, seen = desk.diff()
    assert (code, seen["ok"], seen["differences"], seen["queue"]) == (0, True, [], [])
    assert seen["not_stated"] == ["guardian", "governor", "code"]
    assert seen["policy_hash"] == "0x" + desk.deployment.policy.hash.hex()
    code, seen = desk.diff(more=roles_of(desk))
    assert (code, seen["not_stated"]) == (0, ["code"])


def test_what_the_chain_allows_and_the_policy_does_not_is_named(desk: Desk) -> None:
    assert desk.differences(**{f"= {CAP}": f"= {CAP - 1}"}) == {
        f"cap of {each.venue}": "the chain" for each in desk.deployment.policy.positions
    }
    venue = 'venue = "aave:USDC"'
    (aave,) = [each for each in desk.deployment.policy.positions if each.venue == "aave:USDC"]
    fewer = desk.differences(**{venue: f'{venue}\nfunctions = ["withdraw"]'})
    assert fewer == {f"function aave_v3 {aave.address} supply": "the chain"}
    assert desk.differences(more=roles_of(desk, TIMELOCK + 1)) == {"delay": "the chain"}


def test_what_the_policy_allows_and_the_chain_does_not_is_named(desk: Desk) -> None:
    assert desk.differences(**{f"= {CAP}": f"= {CAP + 1}"}) == {
        f"cap of {each.venue}": "the policy" for each in desk.deployment.policy.positions
    }
    position = desk.deployment.policy.position("aave:USDC")
    more = desk.differences(**{'key = "0x' + position.key.hex(): 'key = "0x' + (b"\x07" * 32).hex()})
    assert more == {
        "position aave:USDC": "the policy",
        f"position {position.address} key 0x{position.key.hex()}": "the chain",
    }
    desk.act("guardian", "setExitOnly", position.address)
    desk.act("guardian", "lowerCap", risk_id("aave:USDC"), 5)
    desk.act("guardian", "pauseRisk")
    assert desk.differences() == {
        "cap of aave:USDC": "the policy",
        "exit only": "the policy",
        "risk": "the policy",
    }


def test_other_roles_signers_and_parts_are_named(desk: Desk) -> None:
    stranger = desk.devnet.address("user2")
    signer = desk.deployment.policy.signers.addresses[0]
    said = desk.differences(**{signer: stranger, "threshold = 2": "threshold = 3"})
    assert set(said) == {"signers", "threshold"}
    assert set(desk.differences(more=roles_of(desk).replace(desk.devnet.address("guardian"), stranger))) == {
        "guardian"
    }
    escrow = desk.deployment.escrow
    assert set(desk.differences(**{f'escrow = "{escrow}"': f'escrow = "{stranger}"'})) == {"escrow"}


def test_code_is_compared_where_the_policy_says_what_it_is(desk: Desk) -> None:
    portfolio = desk.deployment.portfolio
    code = bytes.fromhex(desk.devnet.rpc("eth_getCode", portfolio, "latest")[2:])
    pinned = f'\n[code]\n"{portfolio}" = "0x{keccak(code).hex()}"\n'
    assert desk.differences(more=pinned) == {}
    other = desk.differences(more=pinned.replace(keccak(code).hex(), "11" * 32))
    assert set(other) == {f"code of {portfolio}"}
    desk.devnet.rpc("anvil_setCode", desk.deployment.policy.position("aave:USDC").address, "0x")
    assert f"code of {desk.deployment.policy.position('aave:USDC').address}" in desk.differences()


def test_changes_that_wait_are_listed_until_they_are_made_vetoed_or_too_old(desk: Desk) -> None:
    aave = desk.deployment.policy.position("aave:USDC")
    withdraw = aave.address, WITHDRAW.selector, True
    made = desk.submit("setSelector", *withdraw)
    raised = desk.submit("setCap", risk_id("aave:USDC"), CAP * 2)
    desk.submit("terminate")
    code, seen = desk.diff()
    assert code == 0, "what waits is no difference yet"
    assert {(each["function"], each["foreign"], each["vetoable"]) for each in seen["queue"]} == {
        ("setSelector", False, True),
        ("setCap", True, True),
        ("terminate", True, False),
    }
    text = desk.run("diff", "--policy", "policy.toml", "--endpoints", "endpoints.toml").stdout
    assert f"riskId=0x{risk_id('aave:USDC').hex()}, cap={CAP * 2})\n  may be made from " in text
    assert f"  {CAP * 2:,} is above the policy's {CAP:,}\n" in text
    change = keccak(
        b"".join((bytes(12), bytes.fromhex(desk.deployment.registry[2:]), (64).to_bytes(32), _bytes(raised)))
    )
    desk.act("guardian", "veto", change)
    desk.devnet.warp(TIMELOCK + 1)
    desk.devnet.send(desk.devnet.key("governor"), desk.deployment.registry, made)
    _, seen = desk.diff()
    assert [each["function"] for each in seen["queue"]] == ["terminate"]
    desk.devnet.warp(14 * 86_400)
    desk.devnet.rpc("evm_mine")
    _, seen = desk.diff()
    assert seen["queue"] == []


def _bytes(data: bytes) -> bytes:
    """ABI encoding of `bytes`: length, then whole words."""
    return len(data).to_bytes(32) + data.ljust(-(-len(data) // 32) * 32, b"\0")


def test_the_generated_calls_make_a_bare_registry_agree(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_bare(devnet: Devnet, core: Core, listings: Sequence[Listing]) -> None:
        """Nothing is listed or sealed."""

    monkeypatch.setattr(vault, "list_and_seal", leave_bare)
    bare = Desk(desk.devnet, vault.deploy_vault(desk.devnet), desk.folder)
    told = roles_of(bare)
    unsealed = bare.differences(more=told)
    assert len([field for field in unsealed if field.startswith("position ")]) == 3
    assert len([field for field in unsealed if field.startswith("function ")]) == 6
    done = bare.run("permissions", "--policy", "policy.toml", "--json", more=told)
    for each in json.loads(done.stdout)["calls"]:
        data = bytes.fromhex(each["data"][2:])
        bare.devnet.send(bare.devnet.key("governor"), bare.deployment.registry, data, errors=("Registry",))
    assert bare.differences(more=told) == {}


def test_a_valid_policy_is_shown_and_an_invalid_one_refused(desk: Desk) -> None:
    done = desk.run("check", "policy.toml", "--json", more='\n[risk.R14.max_bps]\n"aave:USDC" = 5000\n')
    seen = json.loads(done.stdout)
    assert (done.returncode, seen["limits"]) == (0, ["R01", "R14"])
    assert seen["policy_hash"] != "0x" + parse(tomllib.loads(desk.deployment.policy_toml), Policy).hash.hex()
    done = desk.run("check", "policy.toml", more="\n[risk.R13]\nmax = 1\n")
    assert done.returncode == 2
    assert "R13 (exit depth) is not yet enforced" in done.stderr
