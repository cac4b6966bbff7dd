"""One endpoint of one chain: JSON-RPC over HTTP, reads retried, sends never."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from keeper.config import public_url
from keeper.errors import (
    DecodeError,
    EndpointDownError,
    EndpointError,
    ReorganisedError,
    RpcError,
    StaleHeadError,
    UnknownBlockError,
    WrongChainError,
)

READ_ATTEMPTS: Final = 4

# Only these are repeated after a failure: asking twice changes nothing.
_READS: Final = ("eth_get", "eth_call", "eth_chainId", "eth_blockNumber", "eth_estimateGas", "eth_gasPrice")
_READS_MORE: Final = ("eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_simulateV1", "net_", "web3_")


def is_read(method: str) -> bool:
    """Whether a method may be sent again after a transport failure."""
    return method.startswith(_READS + _READS_MORE)


class Pinned(Protocol):
    """A block named by chain, number and hash."""

    @property
    def chain_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def hash(self) -> bytes: ...


@dataclass(frozen=True, order=True)
class BlockRef:
    """What is used of a header. `base_fee` is wei per gas, 0 before EIP-1559."""

    chain_id: int
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int


def quantity(text: str) -> int:
    """A JSON-RPC quantity. Raises DecodeError when it is none."""
    try:
        return int(text, 16)
    except (TypeError, ValueError) as error:
        raise DecodeError("Not a JSON-RPC quantity", expected="0x hex", seen=repr(text)) from error


def hex_bytes(text: str) -> bytes:
    """JSON-RPC data. Raises DecodeError when it is none."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise DecodeError("Not JSON-RPC data", expected="0x hex", seen=repr(text)[:80])
    try:
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise DecodeError("Not JSON-RPC data", expected="0x hex", seen=text[:80]) from error


class Endpoint:
    """A JSON-RPC endpoint that must serve `chain_id`; `async with` opens and closes its connections.

    Errors name it by scheme and host only: the rest of a URL may be a key. The first request asks for the
    chain id. `requests` counts HTTP requests, repeats included.
    """

    def __init__(self, url: str, chain_id: int, *, timeout: float = 10.0) -> None:
        """`timeout` is seconds per request. Raises ConfigError when the URL is not http or https."""
        self.public_url: Final = public_url(url)
        self.chain_id: Final = chain_id
        self.requests = 0
        self._url: Final = url
        self._timeout: Final = aiohttp.ClientTimeout(total=timeout)
        self._ids: Final = count(1)
        self._introduced = False
        self._introduction: Final = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.public_url}, chain_id={self.chain_id})"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def check(self) -> None:
        """Asks for the chain id, once. Raises WrongChainError."""
        async with self._introduction:
            if self._introduced:
                return
            seen = quantity(await self._ask("eth_chainId", ()))
            if seen != self.chain_id:
                raise WrongChainError(
                    "Endpoint serves another chain", expected=self.chain_id, seen=seen, where=self.public_url
                )
            self._introduced = True

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of a method. Reads are repeated after transport failures, 429 and 5xx; nothing else is.

        Raises RpcError on a JSON-RPC error, WrongChainError, EndpointDownError, EndpointError.
        """
        await self.check()
        return await self._ask(method, params)

    async def send_raw(self, transaction: bytes) -> bytes:
        """Sends a signed transaction once and returns its hash.

        After EndpointDownError it may or may not have arrived: look for it before sending another.
        """
        return hex_bytes(await self.rpc("eth_sendRawTransaction", ["0x" + transaction.hex()]))

    async def get_block(self, block: int | bytes | str) -> BlockRef:
        """Header by number, by hash or by tag ("latest", "safe", "finalized").

        Raises StaleHeadError when the head is below the number and UnknownBlockError for an unknown hash.
        """
        if isinstance(block, bytes):
            raw = await self.rpc("eth_getBlockByHash", ["0x" + block.hex(), False])
        else:
            raw = await self.rpc(
                "eth_getBlockByNumber", [hex(block) if isinstance(block, int) else block, False]
            )
        if raw is None:
            await self._explain_missing(block)
        return self._header(raw)

    async def canonical(self, pinned: Pinned) -> BlockRef:
        """The header at the pinned number, whose hash must be the pinned one.

        Raises StaleHeadError when the endpoint is behind and ReorganisedError when another hash is there.
        """
        if pinned.chain_id != self.chain_id:
            raise WrongChainError(
                "Block of another chain", expected=self.chain_id, seen=pinned.chain_id, where=self.public_url
            )
        seen = await self.get_block(pinned.number)
        if seen.hash != pinned.hash:
            raise ReorganisedError(
                f"Block {pinned.number} of chain {pinned.chain_id} was reorganised away",
                expected=pinned.hash,
                seen=seen.hash,
                where=self.public_url,
                hint="Take a new snapshot; if other endpoints still have the block, this one is on a fork",
            )
        return seen

    async def _explain_missing(self, block: int | bytes | str) -> None:
        if isinstance(block, int):
            head = await self.get_block("latest")
            if head.number < block:
                raise StaleHeadError(
                    f"Endpoint is behind on chain {self.chain_id}",
                    expected=f"block {block}",
                    seen=f"head {head.number}",
                    where=self.public_url,
                )
        raise UnknownBlockError(
            f"Endpoint does not know the block on chain {self.chain_id}",
            expected=block,
            where=self.public_url,
        )

    def _header(self, raw: Any) -> BlockRef:
        try:
            return BlockRef(
                chain_id=self.chain_id,
                number=quantity(raw["number"]),
                hash=hex_bytes(raw["hash"]),
                parent_hash=hex_bytes(raw["parentHash"]),
                timestamp=quantity(raw["timestamp"]),
                base_fee=quantity(raw.get("baseFeePerGas") or "0x0"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DecodeError("Not a block header", where=self.public_url, seen=repr(error)) from error

    async def _ask(self, method: str, params: Sequence[Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        if not is_read(method):
            return self._result(await self._post(body), method)
        retrying = AsyncRetrying(
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            retry=retry_if_exception_type(EndpointDownError),
            reraise=True,
        )
        return self._result(await retrying(self._post, body), method)

    async def _post(self, body: dict[str, Any]) -> Any:
        if self._session is None:
            raise EndpointError("Endpoint is not open", where=self.public_url, hint="Use it in `async with`")
        self.requests += 1
        try:
            async with self._session.post(self._url, json=body) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
            raise EndpointDownError(
                f"No answer from the endpoint of chain {self.chain_id}", where=self.public_url, seen=reason
            ) from error
        if status == 429 or status >= 500:
            raise EndpointDownError(
                f"Endpoint of chain {self.chain_id} is not serving",
                where=self.public_url,
                seen=f"HTTP {status}",
            )
        try:
            return json.loads(text)
        except ValueError as error:
            raise EndpointError(
                "Endpoint does not speak JSON-RPC",
                where=self.public_url,
                seen=f"HTTP {status}: {text[:80]!r}",
            ) from error

    def _result(self, answer: Any, method: str) -> Any:
        if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
            raise RpcError(
                f"{method} failed with {error.get('code')}: {error.get('message')}",
                code=int(error.get("code") or 0),
                data=error.get("data"),
                where=self.public_url,
            )
        if not isinstance(answer, dict) or "result" not in answer:
            raise EndpointError("Answer without result", where=f"{method} at {self.public_url}")
        return answer["result"]
