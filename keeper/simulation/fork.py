"""A fork of a live chain: Anvil over the proxy, so that upstreams may fail and what was fetched can be kept.

    with Fork(chain_id, urls) as fork:
        fork.warp(3_600)
        fork.push_price(feed, 1_800 * 10**8)
        fork.save(path)

    with Fork.replay(path) as fork: ...      # the same calls, logs and block hashes, without a network

Anvil's own cache on disk is off: it would hide from the bundle what was fetched before. A fork's state root
is zero; "the same" means equal calls, logs and block hashes after equal requests.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import BlockRef, hex_bytes, quantity
from keeper.chain.rpc import Endpoint
from keeper.chain.simulate import ZERO
from keeper.chain.ways import LENS_ADDRESS
from keeper.contracts import artifact, encode_call
from keeper.errors import ConfigError, DecodeError, EndpointDownError, EndpointError, RevertError, RpcError
from keeper.events import EventStream
from keeper.simulation.anvil import Anvil
from keeper.simulation.bundle import Bundle
from keeper.simulation.deploy import BLOCK_SECONDS, view
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.node import Node
from keeper.simulation.proxy import Proxy
from keeper.units import Address

_TRANSMITTER: Final = Address("0x" + keccak(b"omnikeeper/transmitter")[12:].hex())
_RICH: Final = hex(10**24)
_DESCRIPTION_SLOT, _ROUND_SLOT = 0, 1
"""Storage of PriceAggregator (contracts/devnet)."""


async def chain_id_of(urls: Sequence[str]) -> int:
    """The chain that the first endpoint to answer serves. Raises EndpointDownError when none does."""
    failures = []
    for url in urls:
        try:
            async with Endpoint(url, 0) as endpoint:
                return quantity(await endpoint.ask("eth_chainId"))
        except EndpointError as error:
            failures.append(str(error))
    raise EndpointDownError("No endpoint answers", seen="; ".join(failures))


class Fork(Node):
    """A local node that starts from a block of another chain and goes its own way from there.

    Each transaction is mined at once, in a block `interval` seconds after the last.
    """

    def __init__(
        self,
        chain_id: int,
        urls: Sequence[str],
        *,
        block: int | None = None,
        bundle: Bundle | None = None,
        port: int = 0,
        interval: int = BLOCK_SECONDS,
        events: EventStream | None = None,
    ) -> None:
        """Forks at `block`, or the upstreams' head. With `bundle` at its block: what it lacks is fetched, or
        without `urls` refused. Raises ConfigError without either."""
        if not urls and bundle is None:
            raise ConfigError("A fork needs an endpoint or a bundle")
        self.bundle = bundle
        self._urls: Final = tuple(urls)
        self._number: Final = block
        self._port: Final = port
        self._interval: Final = interval
        self._events: Final = events
        self._proxy: Proxy | None = None
        super().__init__(Anvil(chain_id, port=port))

    @classmethod
    def replay(cls, path: Path, *, expected: bytes | None = None, port: int = 0) -> "Fork":
        """A fork of what a file holds, offline. Raises DecodeError when its hash does not match."""
        bundle = Bundle.load(path, expected)
        return cls(bundle.block.chain_id, (), bundle=bundle, port=port)

    @property
    def origin(self) -> BlockRef:
        """The block it was forked at. Raises EndpointError before the start."""
        if self.bundle is None:
            raise EndpointError("The fork is not running", hint="Use it as a context manager")
        return self.bundle.block

    @property
    def proxy(self) -> Proxy:
        """What stands between Anvil and the upstreams. Raises EndpointError before the start."""
        if self._proxy is None:
            raise EndpointError("The fork is not running", hint="Use it as a context manager")
        return self._proxy

    def start(self) -> str:
        """Starts proxy and node and returns the node's URL.

        Raises EndpointError when no upstream has the block, WrongChainError, MissingItemError's message as
        EndpointDownError when the bundle lacks what Anvil starts from.
        """
        try:
            self._proxy = Proxy(self._urls, self.chain_id, events=self._events)
            url = self._proxy.start()
            if self.bundle is None:
                self.bundle = Bundle(self._head(self._proxy))
            self._proxy.bundle = self.bundle
            source = ["--fork-url", url, "--fork-block-number", str(self.bundle.block.number)]
            limits = ["--no-storage-caching", "--no-rate-limit", "--retries", "0"]
            self._anvil = Anvil(self.chain_id, [*source, *limits], port=self._port)
            return super().start()
        except BaseException:
            self.stop()
            raise

    def prepare(self, rpc: JsonRpc) -> None:
        """Fixes the time between blocks, and checks that the head is the block that was asked for."""
        rpc("anvil_setBlockTimestampInterval", self._interval)
        for who in (LENS_ADDRESS, ZERO):
            # Whatever reads the fork later needs these; so they are in every bundle.
            rpc("eth_getBalance", who, "latest")
        if self.origin.number > 0:
            rpc("eth_getBlockByNumber", hex(self.origin.number - 1), False)
        head = hex_bytes(rpc("eth_getBlockByNumber", "latest", False)["hash"])
        if head != self.origin.hash:
            raise EndpointError(
                "The fork does not start from its block", expected=self.origin.hash, seen=head
            )

    def stop(self) -> None:
        """Ends node and proxy; the bundle stays."""
        super().stop()
        if self._proxy is not None:
            self._proxy.stop()

    def save(self, path: Path) -> bytes:
        """Writes what was fetched so far to a file and returns its hash."""
        bundle = self.bundle
        if bundle is None:
            raise EndpointError("Nothing was fetched: the fork was never started")

        async def write() -> bytes:
            return bundle.save(path)

        return (
            self._proxy.run(write) if self._proxy is not None and self._rpc is not None else bundle.save(path)
        )

    def send_as(self, sender: str, to: str, data: bytes, value: int = 0) -> dict[str, Any]:
        """Sends a transaction in the name of any account and returns its receipt, reverted or not.

        The account gets ether for gas.
        """
        self.rpc("anvil_setBalance", sender, _RICH)
        self.rpc("anvil_impersonateAccount", sender)
        request = {"from": sender, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        # Without an estimate a transaction that reverts is mined like any other. Mined by hand, as Anvil asks
        # its upstream about a transaction that it has not mined yet.
        self.rpc("evm_setAutomine", False)
        try:
            name = self.rpc("eth_sendTransaction", request | {"gas": self.block()["gasLimit"]})
            self.rpc("evm_mine")
        finally:
            self.rpc("evm_setAutomine", True)
            self.rpc("anvil_stopImpersonatingAccount", sender)
        receipt: dict[str, Any] = self.rpc("eth_getTransactionReceipt", name)
        return receipt

    def push_price(self, feed: str, answer: int) -> dict[str, Any]:
        """Makes a Chainlink feed answer `answer` (in the feed's decimals), as of the next block.

        The code of the feed's aggregator, or of the feed where it has none, becomes our PriceAggregator,
        which goes on from its round. Earlier rounds of that phase are no longer there. Raises RevertError or
        DecodeError when the address is no feed.
        """
        target = self._aggregator(feed)
        if self.rpc("eth_getCode", target, "latest") != self._pushed_code(target):
            latest = view(self.connection, target, "latestRound()", (), "(uint256)")
            text = view(self.connection, target, "description()", (), "(string)").encode()[:31]
            self.rpc("anvil_setCode", target, self._pushed_code(target))
            word = text.ljust(31, b"\0") + bytes([2 * len(text)])
            for slot, content in ((_DESCRIPTION_SLOT, word), (_ROUND_SLOT, latest.to_bytes(32, "big"))):
                self.rpc("anvil_setStorageAt", target, f"0x{slot:064x}", "0x" + content.hex())
        return self.send_as(_TRANSMITTER, target, encode_call("push(int256)", answer))

    def _aggregator(self, feed: str) -> str:
        try:
            return str(view(self.connection, feed, "aggregator()", (), "(address)"))
        except (RpcError, RevertError, DecodeError):
            return feed

    def _pushed_code(self, target: str) -> str:
        """Runtime code of a PriceAggregator with the target's decimals, found by running its constructor."""
        decimals = view(self.connection, target, "decimals()", (), "(uint8)")
        code = artifact("PriceAggregator").creation_code(decimals, "", _TRANSMITTER)
        return str(self.rpc("eth_call", {"data": "0x" + code.hex()}, "latest"))

    def _head(self, proxy: Proxy) -> BlockRef:
        """The block to fork at, from the upstreams, whose header hashes to its hash."""
        pool = proxy.upstream
        if pool is None:
            raise ConfigError("A fork needs an endpoint or a bundle")

        async def ask() -> BlockRef:
            # The header does not say which chain it is of.
            await pool.rpc("eth_chainId")
            return await (pool.latest() if self._number is None else pool.get_block(self._number))

        return proxy.run(ask)
