"""An independent node that follows a local chain by executing its signed transactions again.

A replica shares no process and no state with its origin beyond the built chain both were loaded from, so a
signer that reads it has an endpoint of its own. Every block it makes must hash to what the origin made.

    python -m keeper.simulation.replica --origin URL --chain-id N --port P
"""

import argparse
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from keeper.errors import KeeperError, ReorganisedError
from keeper.simulation.anvil import Anvil
from keeper.simulation.devnet import CACHE, check_loaded, ensure_built, load_args
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.node import Node

POLL_SECONDS: Final = 0.05
_ATTEMPTS: Final = 16
_DRAWS: Final = 64
"""Blocks that may be mined in place of one: see `_reproduce`."""


class ReplicaError(KeeperError):
    """The origin's block cannot be reproduced."""


class _OriginMovedError(Exception):
    """The origin reorganised between two reads: start again from the new ancestor."""


class Replica(Node):
    """A second Anvil that follows `origin` (a URL) block by block.

    With `omit`, transactions of those senders are skipped: the chain as it would have been without them,
    whose hashes are its own. Reorganisations of the origin are followed.
    """

    def __init__(
        self, origin: str, chain_id: int, *, port: int = 0, omit: Iterable[str] = (), cache: Path = CACHE
    ) -> None:
        self.omit = frozenset(address.lower() for address in omit)
        self._origin = JsonRpc(origin)
        self._chain = ensure_built(chain_id, cache=cache)
        super().__init__(Anvil(chain_id, [*load_args(self._chain), "--no-mining"], port=port))
        self._followed: dict[int, str] = {}
        self._base = int(self._chain.manifest["block"]["number"])
        self._syncing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: KeeperError | None = None

    def prepare(self, rpc: JsonRpc) -> None:
        """Catches up. Raises ReplicaError when a block cannot be reproduced."""
        check_loaded(rpc, self._chain)
        self._followed = {self._base: self._chain.manifest["block"]["hash"]}
        self.sync()

    def stop(self) -> None:
        """Ends the following thread and the node; harmless when they have ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._origin.close()
        super().stop()

    def follow(self) -> None:
        """Keeps in step from a thread of its own until `stop`; a failure is raised by the next `sync`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._follow, name=f"replica-{self.chain_id}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Follows in this thread until the origin ends or `stop_soon` is called.

        Raises ReplicaError when a block cannot be reproduced.
        """
        while not self._stopping.wait(POLL_SECONDS):
            self.sync()

    def stop_soon(self) -> None:
        """Makes `wait` return; safe in a signal handler."""
        self._stopping.set()

    def sync(self) -> int:
        """Catches up with the origin's head and returns its number.

        Raises ReplicaError naming the block that cannot be reproduced.
        """
        with self._syncing:
            if self._failure is not None:
                raise self._failure
            for _ in range(_ATTEMPTS):
                try:
                    return self._catch_up()
                except _OriginMovedError:
                    continue
            raise ReplicaError("The origin keeps reorganising while it is read", seen=f"{_ATTEMPTS} attempts")

    def _catch_up(self) -> int:
        head = int(self._origin("eth_blockNumber"), 16)
        self._leave_orphans(head)
        for number in range(max(self._followed) + 1, head + 1):
            self._take(number)
        return max(self._followed)

    def _follow(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.sync()
            except KeeperError as error:
                self._failure = error
                return

    def _block(self, number: int) -> dict[str, Any]:
        block: dict[str, Any] | None = self._origin("eth_getBlockByNumber", hex(number), True)
        if block is None:
            raise _OriginMovedError
        return block

    def _leave_orphans(self, head: int) -> None:
        """Rolls back to the last block both chains share."""
        shared = min(head, max(self._followed))
        while shared > self._base and self._block(shared)["hash"] != self._followed[shared]:
            shared -= 1
        if shared < self._base or self._block(shared)["hash"] != self._followed[shared]:
            raise ReorganisedError(
                "The origin left the built chain", expected=self._followed[self._base], seen=head
            )
        depth = max(self._followed) - shared
        if depth:
            self._roll_back(depth)
            self._followed = {number: hash_ for number, hash_ in self._followed.items() if number <= shared}

    def _take(self, number: int) -> None:
        block = self._block(number)
        if block["parentHash"] != self._followed[number - 1]:
            raise _OriginMovedError
        wanted = [entry for entry in block["transactions"] if entry["from"].lower() not in self.omit]
        raw = [self._raw(entry["hash"], block) for entry in wanted]
        if self.omit:
            self._mine(block, raw)
        else:
            self._reproduce(block, raw)
        self._followed[number] = block["hash"]

    def _raw(self, hash_: str, block: dict[str, Any]) -> str:
        raw: str | None = self._origin("eth_getRawTransactionByHash", hash_)
        if raw is not None:
            return raw
        number = int(block["number"], 16)
        if self._block(number)["hash"] != block["hash"]:
            raise _OriginMovedError
        raise ReplicaError(f"Block {number}: the origin has no raw bytes of a transaction", seen=hash_)

    def _reproduce(self, block: dict[str, Any], raw: list[str]) -> None:
        """Mines until the hash is the origin's.

        Anvil draws a block's prevRandao from a sequence seeded at its start, and blocks that the origin has
        since lost took draws too. Mining and leaving a block takes one here.
        """
        number = int(block["number"], 16)
        for _ in range(_DRAWS):
            made = self._mine(block, raw)
            if made["hash"] == block["hash"]:
                return
            if made["mixHash"] == block["mixHash"]:
                break
            self._roll_back(1)
        differing = sorted(
            key for key in made if key in block and key != "transactions" and made[key] != block[key]
        )
        raise ReplicaError(
            f"Block {number} is not what the origin made: {', '.join(differing)} differ",
            expected=block["hash"],
            seen=made["hash"],
        )

    def _mine(self, block: dict[str, Any], raw: list[str]) -> dict[str, Any]:
        self.rpc("anvil_setNextBlockBaseFeePerGas", block["baseFeePerGas"])
        self.rpc("evm_setBlockGasLimit", block["gasLimit"])
        self.rpc("evm_setNextBlockTimestamp", int(block["timestamp"], 16))
        for transaction in raw:
            self.rpc("eth_sendRawTransaction", transaction)
        self.rpc("evm_mine")
        made: dict[str, Any] = self.rpc("eth_getBlockByNumber", "latest", False)
        if len(made["transactions"]) != len(raw):
            raise ReplicaError(
                f"Block {int(block['number'], 16)}: transactions were left out",
                expected=len(raw),
                seen=len(made["transactions"]),
            )
        return made

    def _roll_back(self, depth: int) -> None:
        self.rpc("anvil_rollback", depth)
        self.rpc("anvil_dropAllTransactions")


def main(arguments: list[str] | None = None) -> int:
    """Runs one replica until the origin ends, a block differs, or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m keeper.simulation.replica")
    parser.add_argument("--origin", required=True, help="URL of the chain to follow")
    parser.add_argument("--chain-id", type=int, required=True)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--omit", action="append", default=[], metavar="SENDER", help="skip its transactions")
    options = parser.parse_args(arguments)
    replica = Replica(options.origin, options.chain_id, port=options.port, omit=options.omit)

    def on_signal(number: int, frame: FrameType | None) -> None:
        replica.stop_soon()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        with replica:
            sys.stdout.write(f"{replica.url}\n")
            sys.stdout.flush()
            replica.wait()
    except KeeperError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
