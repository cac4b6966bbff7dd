"""`keeper intend` as an operator runs it, against signers that run on their own."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from staged import USDC, Staged

from keeper.config import load_toml
from keeper.planning.policy import Policy
from keeper.simulation.cast import cast
from keeper.simulation.proposers import proposer_key

KEY, PROPOSER = "RELAYER_KEY", "PROPOSER_KEY"
SECONDS = 120


@dataclass
class Desk:
    """An operator's folder: the policy, the endpoints and a file of intents."""

    folder: Path
    stage: Staged

    def write(self, *intents: str) -> None:
        tables = "\n".join(f"[[intents]]\n{each}" for each in intents)
        head = 'author = "desk"\nreason = "The other market pays more."\n'
        (self.folder / "intents.toml").write_text(head + tables)

    def asking(self, *options: str) -> subprocess.Popen[str]:
        files = ["--policy", "policy.toml", "--endpoints", "endpoints.toml", "--data", "data"]
        return subprocess.Popen(
            [sys.executable, "-m", "keeper.ops.cli", "intend", "intents.toml", *files, *options],
            cwd=self.folder,
            env={
                **os.environ,
                KEY: self.stage.devnet.key("relayer"),
                PROPOSER: proposer_key("proposer1").private_bytes_raw().hex(),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def intend(self, *options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        with self.asking(*options) as process:
            out, err = process.communicate(answer, timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def venues(self) -> tuple[str, str]:
        first, second, *_ = sorted(position.venue for position in self.stage.policy.positions)
        return first, second


@pytest.fixture
def desk(stage: Staged, tmp_path: Path) -> Desk:
    allowed = stage.deployment.policy_toml.replace("[strategy]\n", "[strategy]\nintents = true\n")
    (tmp_path / "policy.toml").write_text(allowed)
    (tmp_path / "endpoints.toml").write_text(
        f'clock = "chain"\n[[chains.{stage.devnet.chain_id}.endpoints]]\nurl = "{stage.devnet.url}"\n'
    )
    policy = load_toml(tmp_path / "policy.toml", Policy)
    deployment = replace(stage.deployment, policy=policy, policy_toml=allowed)
    return Desk(tmp_path, Staged(stage.devnet, deployment))


async def test_a_move_is_planned_signed_sent_and_reconciled(desk: Desk) -> None:
    source, destination = desk.venues
    before = (await desk.stage.book()).allocation
    taker = max((source, destination), key=lambda venue: -before[venue])
    giver = source if taker == destination else destination
    desk.write(f'kind = "move"\nsource = "{giver}"\ndestination = "{taker}"\namount = "1000.5"\n')
    with cast(desk.stage.devnet, desk.stage.deployment, desk.folder / "signers") as players:
        await players.caught_up(desk.stage.head.number)
        signers = [word for url in players.urls for word in ("--signer", url)]
        refused = desk.intend(*signers, "--relayer-env", KEY, "--proposer-env", PROPOSER, answer="n\n")
        assert refused.returncode == 4
        assert "Not confirmed" in refused.stderr
        with desk.asking(*signers, "--relayer-env", KEY, "--proposer-env", PROPOSER) as asked:
            assert asked.stderr is not None
            while asked.stderr.read(1) not in ("", "?"):
                pass
            asked.send_signal(signal.SIGINT)
            assert asked.wait(SECONDS) == 4
            assert "Not confirmed" in asked.stderr.read()
        done = desk.intend(*signers, "--relayer-env", KEY, "--proposer-env", PROPOSER, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ok"]
    assert said["sent"]
    assert said["intents"] == [f"move 1,000,500,000 from {giver} to {taker}"]
    assert len(said["signers"]) == desk.stage.policy.signers.threshold
    after = (await desk.stage.book()).allocation
    assert after == {venue: said["allocation"][venue] for venue in after}
    # Interest of a few blocks, and rounding.
    assert abs(after[giver] - before[giver] + 1_000_500_000) < USDC
    assert abs(after[taker] - before[taker] - 1_000_500_000) < USDC


async def test_without_a_relayers_key_nothing_is_asked_or_sent(desk: Desk) -> None:
    source, _ = desk.venues
    desk.write(f'kind = "unwind"\nvenue = "{source}"\nreason = "An audit is out."\n')
    before = desk.stage.state()
    shown = desk.intend()
    assert shown.returncode == 0, shown.stderr
    assert f"  leave {source}: An audit is out.\n" in shown.stdout
    assert f"  withdraw everything from {source}\n" in shown.stdout
    assert shown.stdout.endswith("Dry run: no relayer key. Nothing was asked or sent.\n")
    assert desk.stage.state() == before


@pytest.mark.parametrize(
    ("intent", "code", "message"),
    [
        ('kind = "unwind"\nvenue = "venus"', 4, "an unknown venue"),
        ('kind = "hold"\nuntil = 2999-01-01T00:00:00Z', 4, "Held until 32472144000"),
        ('kind = "target"\nvenue = "a"\namount = 1.5', 2, "Not an amount"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, intent: str, code: int, message: str) -> None:
    desk.write(intent)
    said = desk.intend()
    assert said.returncode == code, said.stderr
    assert message in said.stderr


def test_a_policy_that_allows_no_intents_is_obeyed(desk: Desk) -> None:
    (desk.folder / "policy.toml").write_text(
        (desk.folder / "policy.toml").read_text().replace("intents = true\n", "")
    )
    desk.write(f'kind = "unwind"\nvenue = "{desk.venues[0]}"')
    said = desk.intend()
    assert said.returncode == 4
    assert "The policy lets only the strategy decide" in said.stderr
