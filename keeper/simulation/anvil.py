"""Anvil processes that never outlive the process that started them."""

import atexit
import os
import platform
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from keeper.errors import ConfigError, EndpointDownError, WrongChainError
from keeper.simulation.jsonrpc import JsonRpc

ROOT: Final = Path(__file__).resolve().parents[2]
"""The source tree: local chains need its npm packages and contract build."""

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30
STOP_SECONDS: Final = 5
_LOG_BYTES: Final = 65_536
_LISTENING: Final = re.compile(r"Listening on [\d.]+:(\d+)")
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_SYSTEMS: Final = {"linux": "linux", "darwin": "darwin"}


def binary() -> Path:
    """Anvil's own binary for this platform. The npm shim in front of it exits before its child does.

    Raises ConfigError when the platform is not supported or the packages are not installed.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    if system not in _SYSTEMS or machine not in _ARCHITECTURES:
        raise ConfigError("No Anvil for this platform", seen=f"{system} {machine}")
    package = f"anvil-{_SYSTEMS[system]}-{_ARCHITECTURES[machine]}"
    path = ROOT / "node_modules" / "@foundry-rs" / package / "bin" / "anvil"
    if not path.is_file():
        raise ConfigError("Anvil is not installed", expected=path.relative_to(ROOT), hint="Run make setup")
    return path


class Anvil:
    """One Anvil process in its own process group, stopped on exit, on error and at interpreter exit.

    `port` 0 takes any free one.
    """

    def __init__(self, chain_id: int, args: Sequence[str] = (), *, port: int = 0) -> None:
        self.chain_id = chain_id
        self.args = tuple(args)
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._states: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """Process id. Raises EndpointDownError when it is not running."""
        if self._process is None:
            raise EndpointDownError("Anvil is not running")
        return self._process.pid

    def start(self, args: Sequence[str] = ()) -> str:
        """Starts the process and returns its URL once it answers on the right chain id.

        Raises EndpointDownError when it ends early (its port is taken, its state is damaged) or stays silent.
        """
        command = [str(binary()), "--host", HOST, "--port", str(self._wanted_port)]
        # Past states go to a disk. In its own home, those of a process that was killed would stay for ever.
        self._states = tempfile.TemporaryDirectory(prefix="omnikeeper-anvil-", ignore_cleanup_errors=True)
        command += ["--cache-path", self._states.name]
        atexit.register(self.stop)
        with tempfile.TemporaryFile() as log:
            # Its own session, so that Ctrl-C in a terminal reaches us first and we stop it in order.
            self._process = subprocess.Popen(
                [*command, "--chain-id", str(self.chain_id), *self.args, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                self.url = f"http://{HOST}:{self._announced_port(log)}"
                self._check()
            except BaseException:
                self.stop()
                raise
        return self.url

    def _announced_port(self, log: IO[bytes]) -> int:
        # Only its own announcement says that the port is its own and not another process's.
        deadline = time.monotonic() + START_SECONDS
        while True:
            ended = self._process is None or self._process.poll() is not None
            said = os.pread(log.fileno(), _LOG_BYTES, 0).decode(errors="replace")
            if found := _LISTENING.search(said):
                return int(found.group(1))
            if ended or time.monotonic() > deadline:
                raise EndpointDownError("Anvil did not start", seen=said[-500:].strip() or "no output")
            time.sleep(0.005)

    def _check(self) -> None:
        rpc = JsonRpc(self.url, timeout=START_SECONDS)
        seen = int(rpc("eth_chainId"), 16)
        if seen != self.chain_id:
            raise WrongChainError("Another chain", expected=self.chain_id, seen=seen, where=self.url)
        rpc("anvil_setLoggingEnabled", False)
        rpc.close()

    def stop(self) -> None:
        """Ends the whole process group; harmless when it has ended."""
        process, self._process = self._process, None
        states, self._states = self._states, None
        atexit.unregister(self.stop)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(STOP_SECONDS)
        if states is not None:
            states.cleanup()

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
