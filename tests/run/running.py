"""`keeper run` as an operator starts it, with what it logs; and the commands beside it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from staged import Staged

from keeper.simulation.proposers import proposer_key

KEY, PROPOSER = "RELAYER_KEY", "PROPOSER_KEY"
DEAD = "http://127.0.0.1:9"
"""Where no signer is."""
SCHEDULE = "[schedule]\npoll = 0.2\ninterval = 1.0\n"
Said = Mapping[str, Any]


@dataclass
class Post:
    """An operator's folder: a vault's policy, its endpoints, and the keeper's file."""

    folder: Path
    stage: Staged
    data: str = "data"
    vaults: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    """Variables of the test's own."""

    def __post_init__(self) -> None:
        self.endpoints('clock = "chain"\n')

    def endpoints(self, head: str, rules: str = "", url: str = "") -> None:
        chain = self.stage.devnet.chain_id
        entry = f'{rules}[[chains.{chain}.endpoints]]\nurl = "{url or self.stage.devnet.url}"\n'
        (self.folder / "endpoints.toml").write_text(head + entry)

    def vault(self, stage: Staged, signers: Sequence[str], name: str) -> None:
        (self.folder / f"{name}.toml").write_text(stage.deployment.policy_toml)
        self.vaults.append(f'[[vaults]]\npolicy = "{name}.toml"\nsigners = {json.dumps(list(signers))}\n')

    def write(self, rest: str = SCHEDULE, *, key: bool = True) -> None:
        head = f'endpoints = "endpoints.toml"\ndata = "{self.data}"\n'
        head += f'proposer_env = "{PROPOSER}"\nkey = {{ env = "{KEY}" }}\n' if key else ""
        (self.folder / "keeper.toml").write_text("\n".join([head, rest, *self.vaults]))

    @property
    def place(self) -> str:
        """Of the journal."""
        return self.data if "://" in self.data else str(self.folder / self.data)

    @property
    def environment(self) -> dict[str, str]:
        devnet = self.stage.devnet
        proposer = proposer_key("proposer1").private_bytes_raw().hex()
        return {**os.environ, KEY: devnet.key("relayer"), PROPOSER: proposer, **self.secrets}

    def keeper(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keeper.ops.cli", *arguments, "--config", "keeper.toml"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> Said:
        said: Said = json.loads(self.keeper("status", "--json").stdout)
        return said


class Running:
    """A keeper that runs; ended when the block ends."""

    def __init__(self, post: Post) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "keeper.ops.cli", "run", "--config", "keeper.toml", "--json"],
            cwd=post.folder,
            env=post.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[Said] = []
        self.log = ""
        self._started: Said = {}

    @property
    def started(self) -> Said:
        """What it printed once it ran."""
        if not self._started:
            assert self._child.stdout is not None
            self._started = json.loads(self._child.stdout.readline())
        return self._started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def until(self, wanted: Callable[[Said], bool]) -> Said:
        """The next event of that kind."""
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self.log += line
            if not line.startswith("{"):
                raise AssertionError(f"{line} after {self.events[-3:]}")
            said: Said = json.loads(line)
            self.events.append(said)
            if wanted(said):
                return said
        raise AssertionError(f"the keeper ended before: {self.events[-5:]}")

    def did(self, pattern: str) -> None:
        """Waits for a pass that did something of that pattern, if none has."""

        def matches(said: Said) -> bool:
            return any(re.match(pattern, each) for each in said.get("did", ()))

        if not any(matches(said) for said in self.events):
            self.until(matches)

    def terminate(self) -> int:
        self._child.terminate()
        assert self._child.stderr is not None
        rest = self._child.stderr.read()
        self.log += rest
        self.events += [json.loads(line) for line in rest.splitlines() if line.startswith("{")]
        return self._child.wait(timeout=60)


def is_a(name: str) -> Callable[[Said], bool]:
    """Events of that class."""
    return lambda said: said["event"] == name
