"""The frame of every local node: one Anvil, one connection to it, started and stopped together."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from keeper.errors import EndpointDownError, EndpointError
from keeper.simulation.anvil import Anvil
from keeper.simulation.jsonrpc import JsonRpc


class Node:
    """A running Anvil as a context manager. What a kind of node does once it answers is its `prepare`."""

    def __init__(self, anvil: Anvil) -> None:
        self.chain_id = anvil.chain_id
        self._anvil = anvil
        self._rpc: JsonRpc | None = None

    @property
    def url(self) -> str:
        """Where the node answers; empty before the start."""
        return self._anvil.url

    @property
    def pid(self) -> int:
        """Anvil's process id. Raises EndpointDownError when it is not running."""
        return self._anvil.pid

    def start(self) -> str:
        """Starts the node and returns its URL."""
        url = self._anvil.start()
        try:
            self._rpc = JsonRpc(url)
            self.prepare(self._rpc)
        except BaseException:
            self.stop()
            raise
        return url

    def prepare(self, rpc: JsonRpc) -> None:
        """Brings the started node into the state that callers find."""

    def stop(self) -> None:
        """Ends the process; harmless when it has ended."""
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None
        self._anvil.stop()

    @property
    def connection(self) -> JsonRpc:
        """Raises EndpointDownError when the node is not running."""
        if self._rpc is None:
            raise EndpointDownError("The local chain is not running", hint="Use it as a context manager")
        return self._rpc

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC request. Raises RpcError or EndpointDownError."""
        return self.connection(method, *params)

    def block(self, number: int | str = "latest") -> dict[str, Any]:
        """Header fields of a block, as JSON-RPC gives them."""
        tag = hex(number) if isinstance(number, int) else number
        block: dict[str, Any] = self.rpc("eth_getBlockByNumber", tag, False)
        return block

    def warp(self, seconds: int) -> int:
        """Mines one block that many seconds after the head; returns its timestamp."""
        timestamp = int(self.block()["timestamp"], 16) + seconds
        self.rpc("evm_setNextBlockTimestamp", timestamp)
        self.rpc("evm_mine")
        return timestamp

    def revert(self, mark: str) -> None:
        """Puts the state back to what it was at an `evm_snapshot`. Raises EndpointError when it cannot be."""
        if self.rpc("evm_revert", mark) is not True:
            raise EndpointError("The local chain was not put back", expected="a revert", where=self.url)
        # Anvil answers before it takes what it has mined out of its pool, and would mine that again.
        self.rpc("anvil_dropAllTransactions")

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside has not happened afterwards."""
        mark = self.rpc("evm_snapshot")
        try:
            yield
        finally:
            self.revert(mark)

    def __enter__(self) -> Self:
        if self._rpc is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
