"""A real vault on a local chain, its guardian's folder, and its governor's changes."""

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from keeper.contracts import Contract
from keeper.contracts.abi import encode
from keeper.ops.cli import main
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment
from keeper.units import Address

GOVERNED = ("Registry", "Vault", "Portfolio", "KeeperQuorum")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Post:
    """A guardian at work: a vault, the files of its policy and endpoints, and its journal, which is a new one
    where the chain is put back."""

    devnet: Devnet
    deployment: Deployment
    folder: Path
    journal: Path

    @property
    def registry(self) -> Contract:
        return Contract(self.deployment.registry, "Registry")

    def run(self, command: str, *options: str, key: str | None = None) -> Said:
        """`keeper guardian`, in this process; `key` is the role whose key the environment holds."""
        files = ("--policy", "policy.toml", "--endpoints", "endpoints.toml")
        named = () if key is None else ("--key-env", "GUARDIAN_KEY", "--data", str(self.journal))
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            if key is not None:
                patch.setenv("GUARDIAN_KEY", self.devnet.key(key))
            with pytest.raises(SystemExit) as ended:
                main(["guardian", command, *files, *options, *named])
        return Said(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def data(self, command: str, *options: str, key: str | None = None, code: int = 0) -> Any:
        """What it says with --json."""
        done = self.run(command, *options, "--json", key=key)
        assert done.returncode == code, done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def refused(self, command: str, *options: str, key: str | None = None, code: int = 4) -> str:
        """What it says on stderr when it refuses, having sent nothing."""
        before = self.devnet.block()["hash"]
        done = self.run(command, *options, key=key)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert self.devnet.block()["hash"] == before
        return done.stderr

    def read(self, function: str, *args: Any) -> Any:
        """A view of the registry about the vault."""
        call = self.registry.call(function, self.deployment.vault, *args)
        answer = self.devnet.rpc("eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, "latest")
        return call.decode(bytes.fromhex(answer[2:]))

    def submit(self, function: str, *args: Any) -> bytes:
        """The governor announces a call of the registry about the vault; the id of the change."""
        data = self.registry.encode(function, self.deployment.vault, *args)
        return self.submit_call(self.registry.address, data)

    def submit_call(self, target: Address, data: bytes) -> bytes:
        self.govern(self.registry.encode("submit", self.deployment.vault, target, data))
        return keccak(encode(("address", "bytes"), (target, data)))

    def accept(self, function: str, *args: Any) -> None:
        """The governor makes an announced change."""
        self.govern(self.registry.encode(function, self.deployment.vault, *args))

    def govern(self, data: bytes) -> None:
        self.devnet.send(self.devnet.key("governor"), self.registry.address, data, errors=GOVERNED)

    def later(self, seconds: int) -> None:
        """Mines a block so much later."""
        self.devnet.warp(seconds)
