"""One endpoint of one chain: JSON-RPC over HTTP, reads retried, sends never."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from json import JSONDecodeError
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, TypeVar

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from keeper.chain.block import BlockRef, Pinned, header, hex_bytes, quantity
from keeper.chain.limits import rest_seconds
from keeper.config import public_url
from keeper.errors import (
    DecodeError,
    DisagreementError,
    EndpointDownError,
    EndpointError,
    HeaderError,
    OversizedReplyError,
    RateLimitedError,
    ReorganisedError,
    RpcError,
    StaleHeadError,
    UnknownBlockError,
    WrongChainError,
)
from keeper.json_input import parse_json

READ_ATTEMPTS: Final = 4
MAX_REPLY_BYTES: Final = 64 * 2**20
REST_PATIENCE: Final = 5.0
"""Longest pause in seconds that a rate-limited endpoint is waited for."""

_LATENCY_MEMORY: Final = 0.8
_LONGEST_MESSAGE: Final = 500
"""Characters of an error's message that are read: it is searched for words, and may be as long as a reply."""
_EXECUTING: Final = frozenset({"eth_call", "eth_estimateGas", "eth_simulateV1"})

# Only these are repeated after a failure: asking twice changes nothing.
_READS: Final = ("eth_get", "eth_call", "eth_chainId", "eth_blockNumber", "eth_estimateGas", "eth_gasPrice")
_READS_MORE: Final = ("eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_simulateV1", "net_", "web3_")
_LIMIT_CODES: Final = frozenset({-32005, -32029, 429})
_LIMIT_WORDS: Final = ("rate limit", "too many requests", "request limit", "compute units")

T = TypeVar("T")


def is_read(method: str) -> bool:
    """Whether a method may be sent again after a transport failure."""
    return method.startswith(_READS + _READS_MORE)


class Source(Protocol):
    """Where a chain is read: one endpoint, or several that stand in for each other (`keeper.chain.pool`)."""

    @property
    def chain_id(self) -> int: ...
    @property
    def public_url(self) -> str:
        """Scheme and host, for people."""
        ...

    @property
    def private(self) -> "PrivateRelay | None":
        """Where transactions are offered before everybody sees them, if there is such a place."""
        ...

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any: ...
    async def send_raw(self, transaction: bytes) -> bytes: ...
    async def get_block(self, block: int | bytes) -> BlockRef: ...
    async def latest(self, reference_time: int | None = None) -> BlockRef: ...
    async def canonical(self, pinned: Pinned) -> BlockRef: ...
    async def witnessed(self, read: Callable[["Endpoint"], Awaitable[T]]) -> tuple[tuple["Endpoint", T], ...]:
        """What each endpoint that has to agree says, with the endpoint."""
        ...


class Endpoint:
    """A JSON-RPC endpoint that must serve `chain_id`; `async with` opens and closes its connections.

    Errors name it by scheme and host only: the rest of a URL may be a key. `requests` counts HTTP requests,
    repeats included. `way` is which of `keeper.chain.ways` it is known to support.
    """

    private: Final = None

    def __init__(
        self,
        url: str,
        chain_id: int,
        *,
        timeout: float = 10.0,
        attempts: int = READ_ATTEMPTS,
        states: int | None = None,
        max_head_age: int | None = None,
        max_reply: int = MAX_REPLY_BYTES,
    ) -> None:
        """`timeout` is seconds per request, `attempts` how often a read is tried, `states` of how many recent
        blocks the endpoint declares to keep the state (None: all), `max_head_age` how many seconds its head
        may lie before a reference time (None: any), `max_reply` the longest reply in bytes.

        Raises ConfigError when the URL is not http or https.
        """
        self.public_url: Final = public_url(url)
        self.chain_id: Final = chain_id
        self.states: Final = states
        self.requests = 0
        self.way = 0
        self.head = 0
        self.latency: float | None = None
        self.rests_until = 0.0
        self._url: Final = url
        self._attempts: Final = attempts
        self._max_head_age: Final = max_head_age
        self._max_reply: Final = max_reply
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
        """Asks for the chain id, unless it is known. Raises WrongChainError."""
        async with self._introduction:
            if not self._introduced:
                self.introduce(quantity(await self.ask("eth_chainId")))

    def introduce(self, seen: int) -> None:
        """Takes note of the chain id that an answer shows. Raises WrongChainError."""
        if seen != self.chain_id:
            raise WrongChainError(
                "Endpoint serves another chain", expected=self.chain_id, seen=seen, where=self.public_url
            )
        self._introduced = True

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of a method. Reads are repeated after transport failures, 429 and 5xx; nothing else is.

        The first request asks for the chain id. Raises RpcError on a JSON-RPC error, WrongChainError,
        EndpointDownError, EndpointError.
        """
        await self.check()
        return await self.ask(method, params)

    async def send_raw(self, transaction: bytes) -> bytes:
        """Sends a signed transaction once and returns its hash.

        After EndpointDownError it may or may not have arrived: look for it before sending another.
        """
        return hex_bytes(await self.rpc("eth_sendRawTransaction", ["0x" + transaction.hex()]))

    async def witnessed(self, read: Callable[["Endpoint"], Awaitable[T]]) -> tuple[tuple["Endpoint", T], ...]:
        """What `read` says here."""
        return ((self, await read(self)),)

    async def get_block(self, block: int | bytes) -> BlockRef:
        """Header by number or by hash.

        It does not show the chain: what is read at the block does. Raises StaleHeadError when the head is
        below the number, UnknownBlockError for an unknown hash, HeaderError when the header is another one
        than was asked for or does not hash to its hash.
        """
        if isinstance(block, bytes):
            raw = await self.ask("eth_getBlockByHash", ["0x" + block.hex(), False])
        else:
            raw = await self.ask("eth_getBlockByNumber", [hex(block), False])
        if raw is None:
            await self._explain_missing(block)
        seen = self._header(raw)
        if block not in (seen.number, seen.hash):
            raise HeaderError(
                "Endpoint answered for another block",
                expected=block,
                seen=seen.hash if isinstance(block, bytes) else seen.number,
                where=self.public_url,
            )
        return seen

    async def latest(self, reference_time: int | None = None) -> BlockRef:
        """The newest header. Raises StaleHeadError when it is too old for the reference time, and as
        `get_block`."""
        seen = self._header(await self.ask("eth_getBlockByNumber", ["latest", False]))
        age = 0 if reference_time is None else reference_time - seen.timestamp
        if self._max_head_age is not None and age > self._max_head_age:
            raise StaleHeadError(
                f"Head of chain {self.chain_id} is stale",
                expected=f"at most {self._max_head_age} s before the reference time",
                seen=f"{age} s before the reference time",
                where=self.public_url,
            )
        return seen

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
            # Before calling a block an orphan: is it this chain at all?
            await self.check()
            raise ReorganisedError(
                f"Block {pinned.number} of chain {pinned.chain_id} was reorganised away",
                expected=pinned.hash,
                seen=seen.hash,
                where=self.public_url,
                hint="Take a new snapshot; if other endpoints still have the block, this one is on a fork",
            )
        return seen

    async def ask(self, method: str, params: Sequence[Any] = ()) -> Any:
        """As `rpc`, without asking for the chain id: for reads that show it, or precede one."""
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        if not is_read(method):
            return self._result(await self._post(body), body)
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            retry=retry_if_exception_type(EndpointDownError),
            reraise=True,
        )
        return self._result(await retrying(self._post, body), body)

    def _header(self, raw: Any) -> BlockRef:
        seen = header(raw, self.chain_id, self.public_url)
        self.head = max(self.head, seen.number)
        return seen

    async def _explain_missing(self, block: int | bytes) -> None:
        await self.check()
        if isinstance(block, int):
            head = await self.latest()
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

    async def _post(self, body: dict[str, Any]) -> Any:
        if self._session is None:
            raise EndpointError("Endpoint is not open", where=self.public_url, hint="Use it in `async with`")
        loop = asyncio.get_running_loop()
        await self._rest(self.rests_until - loop.time())
        self.requests += 1
        started = loop.time()
        try:
            # Where it points instead is no endpoint of the operator's, and may be no address at all.
            async with self._session.post(self._url, json=body, allow_redirects=False) as response:
                data = await self._limited(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
            cut = isinstance(error, aiohttp.ClientPayloadError)
            raise EndpointDownError(
                f"Reply cut short on chain {self.chain_id}"
                if cut
                else f"No answer from the endpoint of chain {self.chain_id}",
                where=self.public_url,
                seen=reason,
            ) from error
        took = loop.time() - started
        self.latency = took if self.latency is None else took + _LATENCY_MEMORY * (self.latency - took)
        rest = rest_seconds(response.status, {name.lower(): text for name, text in response.headers.items()})
        if rest is not None:
            self.rests_until = loop.time() + rest
        return self._parsed(response.status, data, rest)

    async def _rest(self, seconds: float) -> None:
        if seconds > REST_PATIENCE:
            raise RateLimitedError(
                f"Endpoint of chain {self.chain_id} is out of requests", rest=seconds, where=self.public_url
            )
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def _limited(self, response: aiohttp.ClientResponse) -> bytes:
        parts, length = [], 0
        async for part in response.content.iter_any():
            length += len(part)
            if length > self._max_reply:
                raise OversizedReplyError(
                    f"Reply of the endpoint of chain {self.chain_id} is too long",
                    expected=f"at most {self._max_reply:,} bytes",
                    where=self.public_url,
                )
            parts.append(part)
        return b"".join(parts)

    def _parsed(self, status: int, data: bytes, rest: float | None) -> Any:
        if status == 429:
            raise RateLimitedError(
                f"Endpoint of chain {self.chain_id} limits requests: HTTP 429",
                rest=rest,
                where=self.public_url,
            )
        if 300 <= status < 400:
            raise EndpointError(
                f"Endpoint of chain {self.chain_id} points elsewhere",
                where=self.public_url,
                seen=f"HTTP {status}",
                hint="Nothing is followed: name the address that it means.",
            )
        if status >= 500:
            raise EndpointDownError(
                f"Endpoint of chain {self.chain_id} is not serving",
                where=self.public_url,
                seen=f"HTTP {status}",
            )
        try:
            return parse_json(data, where=self.public_url)
        except DecodeError as error:
            if data.lstrip().startswith(b'{"') and isinstance(error.__cause__, JSONDecodeError):
                raise EndpointDownError(
                    f"Reply cut short on chain {self.chain_id}",
                    where=self.public_url,
                    seen=f"{len(data):,} bytes",
                ) from error
            raise EndpointError(
                "Endpoint does not speak JSON-RPC",
                where=self.public_url,
                seen=f"HTTP {status}: {data[:80]!r}",
                hint=str(error),
            ) from error

    def _result(self, answer: Any, body: dict[str, Any]) -> Any:
        method = body["method"]
        # An error may come without id, where the request was not understood.
        if isinstance(answer, dict) and answer.get("id", body["id"]) not in (body["id"], None):
            raise EndpointError(
                "Answer to another request", expected=body["id"], seen=answer["id"], where=self.public_url
            )
        if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
            told, message = error.get("code"), str(error.get("message"))[:_LONGEST_MESSAGE]
            code = told if isinstance(told, int) else 0
            if code in _LIMIT_CODES or any(words in message.lower() for words in _LIMIT_WORDS):
                raise RateLimitedError(
                    f"Endpoint of chain {self.chain_id} limits requests: {code}: {message}",
                    rest=None,
                    where=self.public_url,
                )
            raise RpcError(
                f"{method} failed with {code}: {message}",
                code=code,
                data=error.get("data"),
                said=message,
                where=self.public_url,
                executes=method in _EXECUTING,
            )
        if not isinstance(answer, dict) or "result" not in answer:
            raise EndpointError("Answer without result", where=f"{method} at {self.public_url}")
        return answer["result"]


@dataclass(frozen=True)
class PrivateRelay:
    """Has transactions mined without showing them before; asked for nothing else. `fallback` is what becomes
    of one that is not in a block `blocks` heads after it was first offered: the same bytes are offered to
    all, or its nonce is spent by an empty transfer."""

    endpoint: Endpoint
    blocks: int
    fallback: Literal["public", "cancel"]

    async def send_raw(self, transaction: bytes) -> bytes:
        """As `Endpoint.send_raw`, without asking for the chain id: the bytes are good for one chain only."""
        return hex_bytes(await self.endpoint.ask("eth_sendRawTransaction", ["0x" + transaction.hex()]))


async def agreed(
    source: Source, read: Callable[[Endpoint], Awaitable[T]], what: str, shown: Callable[[T], object] = str
) -> T:
    """What all endpoints that have to agree say alike; `what` names it. Raises DisagreementError, with what
    each has, as `shown`."""
    (endpoint, found), *others = await source.witnessed(read)
    for other, seen in others:
        if seen != found:
            raise DisagreementError(
                f"Endpoints disagree about {what} of chain {source.chain_id}",
                seen=f"{endpoint.public_url} has {shown(found)}, {other.public_url} has {shown(seen)}",
            )
    return found
