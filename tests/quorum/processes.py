"""Signers as processes of their own: their files, their environment, their start and their end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vault_world import World

KEEPER = [sys.executable, "-m", "keeper.ops.cli", "signer", "--json", "--config"]
PATIENCE = 60


def write_config(
    folder: Path,
    world: World,
    key: str,
    urls: Sequence[str] = (),
    listen: str | None = None,
    tls: str = "",
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(world.deployment.policy_toml)
    path = folder / "signer.toml"
    path.write_text(
        f"""
listen = "{listen or "127.0.0.1:0"}"
policy = "policy.toml"
record = "promises.sqlite"
endpoints = "endpoints.toml"
max_request_bytes = 100000

[key]
{key}
{tls}
"""
    )
    members = "".join(
        f'[[chains.{world.devnet.chain_id}.endpoints]]\nurl = "{url}"\n' for url in urls or [world.devnet.url]
    )
    (folder / "endpoints.toml").write_text(f'clock = "chain"\n{members}')
    return path


def environment(**secrets: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **secrets}


@contextmanager
def running(config: Path, logs: Path, *options: str, **secrets: str) -> Iterator[dict[str, str]]:
    """A signer process; yields the line it prints once it serves. Its stderr goes to `logs`."""
    with (
        logs.open("wb") as errors,
        subprocess.Popen(
            [*KEEPER, str(config), *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(**secrets),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, logs.read_text()
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert process.returncode == 0


def failing(config: Path, *options: str, **secrets: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KEEPER, str(config), *options],
        env=environment(**secrets),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
