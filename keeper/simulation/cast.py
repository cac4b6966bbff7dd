"""Signers as so many would run them: each a process with its own key, node, policy copy and record."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from keeper.errors import EndpointError, KeeperError
from keeper.simulation.devnet import Devnet
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.vault import SIGNERS, Deployment

CATCH_UP_SECONDS: Final = 30
STOP_SECONDS: Final = 60
"""A node that has to be killed leaves its Anvil behind: it gets all the time that a busy machine may need."""
KEY_VARIABLE: Final = "OMNIKEEPER_SIGNER_KEY"


@dataclass(frozen=True)
class SignerProcess:
    """A running signer: where it listens, and where its own node answers."""

    role: str
    url: str
    node: str


@dataclass(frozen=True)
class Cast:
    """The signers of one vault."""

    signers: tuple[SignerProcess, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(signer.url for signer in self.signers)

    async def caught_up(self, number: int) -> None:
        """Waits until every signer's node has made block `number` itself. Raises EndpointError if one stays
        behind."""
        for signer in self.signers:
            rpc = JsonRpc(signer.node)
            for _ in range(CATCH_UP_SECONDS * 20):
                if int(rpc("eth_blockNumber"), 16) >= number:
                    break
                await asyncio.sleep(0.05)
            else:
                raise EndpointError("A signer's node stays behind", expected=number, where=signer.role)
            rpc.close()


@contextmanager
def cast(
    devnet: Devnet, deployment: Deployment, folder: Path, roles: Sequence[str] = SIGNERS
) -> Iterator[Cast]:
    """Starts a node and a signer for each role; ends all of them, whatever happens."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node(devnet)) for _ in roles]
        node_urls = [_line(node, "a signer's node") for node in nodes]
        processes = [
            stack.enter_context(_signer(devnet, deployment, folder / role, role, node))
            for role, node in zip(roles, node_urls, strict=True)
        ]
        ready = [json.loads(_line(process, "a signer")) for process in processes]
        yield Cast(
            tuple(
                SignerProcess(role, answer["url"], node)
                for role, answer, node in zip(roles, ready, node_urls, strict=True)
            )
        )


def _node(devnet: Devnet) -> "_Process":
    arguments = ["--origin", devnet.url, "--chain-id", str(devnet.chain_id)]
    return _Process(["keeper.simulation.replica", *arguments], dict(os.environ))


def _signer(devnet: Devnet, deployment: Deployment, folder: Path, role: str, node: str) -> "_Process":
    folder.mkdir(parents=True)
    (folder / "policy.toml").write_text(deployment.policy_toml)
    config = folder / "signer.toml"
    config.write_text(
        'listen = "127.0.0.1:0"\npolicy = "policy.toml"\nrecord = "promises.sqlite"\n'
        f'endpoints = "endpoints.toml"\n\n[key]\nenv = "{KEY_VARIABLE}"\n'
    )
    (folder / "endpoints.toml").write_text(
        f'clock = "chain"\n\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{node}"\n'
    )
    environment = {**os.environ, KEY_VARIABLE: devnet.key(role)}
    return _Process(["keeper.ops.cli", "signer", "--config", str(config), "--json"], environment)


class _Process:
    """A Python module as a child process that says one line when it is ready."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", *arguments]
        self._environment = environment
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> "_Process":
        self._child = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    @property
    def output(self) -> IO[str]:
        if self._child is None or self._child.stdout is None:
            raise KeeperError("The process is not running", where=" ".join(self._command))
        return self._child.stdout


def _line(process: _Process, what: str) -> str:
    started = time.monotonic()
    line = process.output.readline().strip()
    if not line:
        raise KeeperError(
            f"Could not start {what}",
            expected="one line when it is ready",
            seen=f"its end after {time.monotonic() - started:.1f} s",
        )
    return line
