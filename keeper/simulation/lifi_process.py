"""The local LiFi service next to local chains, started and stopped with them."""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from keeper.errors import EndpointDownError
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi import described
from keeper.simulation.lifi_diamond import LocalLiFi, deploy

_STOP_SECONDS: Final = 5


class LiFiService:
    """LiFi's contracts on running chains and the service that quotes them, as a context manager.

    `port` 0 takes any free one. The process ends with this one, however that ends: it reads from it.
    """

    def __init__(self, chains: Sequence[Devnet], *, port: int = 0) -> None:
        self._chains = tuple(chains)
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.contracts: dict[int, LocalLiFi] = {}
        self.url = ""

    @property
    def pid(self) -> int:
        """The service's process id. Raises EndpointDownError when it is not running."""
        if self._process is None:
            raise EndpointDownError("The local LiFi service is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        self.contracts = {chain.chain_id: deploy(chain) for chain in self._chains}
        rows = [
            described(
                chain.url,
                chain.chain_id,
                chain.path / "manifest.json",
                self.contracts[chain.chain_id].deployment,
                chain.address("deployer"),
            )
            for chain in self._chains
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "keeper.simulation.lifi", json.dumps(rows), str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = self._process.stdout.readline() if self._process.stdout else ""
        if not said:
            self._stop()
            raise EndpointDownError("The local LiFi service did not start", seen="it ended at once")
        self.url = json.loads(said)["url"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def behave(self, **mode: Any) -> None:
        """Sets how the service behaves (`keeper.simulation.lifi.Mode`); nothing given is honest and quick."""
        self._post("/local/mode", mode)

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != http.client.OK:
            raise EndpointDownError("The local LiFi service refuses the mode", seen=status, where=body)

    def _stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
