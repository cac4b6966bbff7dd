"""Goes through a page as a reader would, from top to bottom, in a folder of its own."""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pages import Block, blocks, text

from keeper.simulation.devnet import Devnet

PORT = 8545
SECONDS = 120

SERVERS = {
    r"keeper devnet up( --chains \d+)?( --lifi-port \d+)?": r"Ctrl-C stops them\.",
    r"SIGNER_PASSWORD=\S+ keeper signer --config signer\.toml": r"Signer 0x\w{40} serves .*",
    r"keeper sim (fork|replay) .*": r"Ctrl-C stops it\.",
    r"keeper sim proxy .*": r"chain \d+  http://127\.0\.0\.1:\d+",
    r"python -m keeper\.simulation\.replica .*": r"http://127\.0\.0\.1:\d+",
}
"""Commands that run until they are stopped, and the line that says that they are ready."""

ELSEWHERE = {"keeper demo --json": "tests/e2e/test_demo.py"}
"""Commands that another test executes, as they take long."""


@dataclass
class Server:
    """A command that keeps running, in a process group of its own."""

    pattern: str
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """Ends it as Ctrl-C in a terminal would; returns its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode


@dataclass
class Walk:
    """State of a reader's session. `port` stands for the page's 8545, which may be taken."""

    folder: Path
    port: int
    servers: list[Server] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    def block(self, block: Block) -> None:
        if block.file is not None:
            (self.folder / block.file).write_text(block.text)
        elif block.language == "python":
            script = self.folder / f"line_{block.line}.py"
            script.write_text(block.text)
            self.names = runpy.run_path(str(script), init_globals=self.names)
        elif block.language == "console":
            for command, shown in block.commands():
                self.command(command, shown)

    def command(self, command: str, shown: list[str]) -> None:
        self.executed.append(command)
        if command in ELSEWHERE:
            return
        for pattern, ready in SERVERS.items():
            if re.fullmatch(pattern, command):
                _compare(command, shown, self._serve(pattern, command, ready))
                return
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        _compare(command, shown, done.stdout)

    def _serve(self, pattern: str, command: str, ready: str) -> str:
        """Starts a server once another of its kind has been stopped; returns what it said until ready."""
        for other in [each for each in self.servers if each.pattern == pattern]:
            self._stop(other)
        if command.startswith("keeper devnet up"):
            command += f" --port {self.port}"
        errors = self.folder / "stderr"
        with errors.open("w") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec env {command}"],
                cwd=self.folder,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.servers.append(Server(pattern, process))
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if re.fullmatch(ready, line.strip()):
                return said
        raise AssertionError(f"{command} ended before it was ready\n{said}{errors.read_text()}")

    def _stop(self, server: Server) -> None:
        self.servers.remove(server)
        assert server.stop() == 0, server.pattern

    def leave(self) -> None:
        """Stops what still runs, the last one first."""
        while self.servers:
            self._stop(self.servers[-1])

    def _environment(self) -> dict[str, str]:
        site = self.folder / "site"
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            # A reader installs into the environment; a test must leave it as it is.
            "PIP_TARGET": str(site),
            "PYTHONPATH": str(site),
        }


@contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    """A session whose servers are stopped however it ends."""
    with ExitStack() as stack:
        walk = Walk(folder, _free_port())
        stack.callback(lambda: [server.stop() for server in walk.servers])
        stack.callback(lambda: [each.stop() for each in walk.names.values() if isinstance(each, Devnet)])
        yield walk
        walk.leave()


def read_page(page: str, walk: Walk) -> None:
    """Does everything the page says, in its order."""
    content = text(page)
    for offset in range(2):
        content = content.replace(str(PORT + offset), str(walk.port + offset))
    for block in blocks(content):
        walk.block(block)


def _compare(command: str, shown: list[str], said: str) -> None:
    """Every line the page shows is one that was said; an ellipsis stands for anything."""
    lines = said.splitlines()
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        assert any(re.fullmatch(pattern, each) for each in lines), f"{command}\nshown: {line}\nsaid: {said}"


def _free_port() -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
