"""A Safe transaction service, where owners leave signatures for each other. Nothing it says is believed.

The API is that of docs.safe.global (Safe Transaction Service): the queue and proposals under
`/api/v2/safes/{safe}/multisig-transactions/`, one transaction under `/api/v2/multisig-transactions/{hash}/`,
confirmations under `/api/v1/multisig-transactions/{hash}/confirmations/`; an API key goes into the
`Authorization` header. Every hash is recomputed from the data beside it and every signature recovered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from keeper.chain.block import hex_bytes
from keeper.config import EndpointUrl
from keeper.contracts.abi import address
from keeper.errors import (
    ConfigError,
    DecodeError,
    DisagreementError,
    EndpointDownError,
    EndpointError,
    OversizedReplyError,
    QuorumError,
    RateLimitedError,
    RefusedError,
)
from keeper.json_input import parse_json
from keeper.quorum.typed_data import Signature, check
from keeper.safe.nonces import Queued
from keeper.safe.transaction import Operation, SafeTransaction, transaction_hash
from keeper.units import Address

MAX_ORIGIN: Final = 200
"""Characters, by the API's schema."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
PAGE: Final = 100
MAX_PAGES: Final = 10
TIMEOUT_SECONDS: Final = 20
READ_ATTEMPTS: Final = 4
_WORD: Final = 1 << 256
_SAID: Final = 300


class TransactionService:
    """One service for one chain, opened by `async with`. Reads are tried again, nothing else is."""

    def __init__(self, url: EndpointUrl, chain_id: int, *, api_key: str = "") -> None:
        """`url` is what comes before `/api/`. The documented rates are kept: 5 requests a second with a key,
        2 without."""
        self.url: Final = url
        self.chain_id: Final = chain_id
        self._headers: Final = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._interval: Final = 0.2 if api_key else 0.5
        self._turn: Final = asyncio.Lock()
        self._free_at = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> TransactionService:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def queue(self, safe: Address, chain_nonce: int) -> tuple[Queued, ...]:
        """What is not executed, from the chain's nonce on.

        Raises DisagreementError for an entry whose hash is not that of its data or that is of another Safe,
        and EndpointError when the service cannot be used.
        """
        path = f"/api/v2/safes/{safe}/multisig-transactions/"
        found: list[Queued] = []
        for page in range(MAX_PAGES):
            query = {
                "executed": "false",
                "nonce__gte": str(chain_nonce),
                "ordering": "nonce",
                "limit": str(PAGE),
                "offset": str(page * PAGE),
            }
            answer = await self._read(path, query)
            entries = _member(answer, "results", list)
            found += [self.queued(each, safe) for each in entries]
            # Its link is not followed: it could lead anywhere.
            if answer.get("next") is None or not entries:
                return tuple(each for each in found if each.nonce >= chain_nonce)
        raise EndpointError(
            "The queue is too long", expected=f"at most {MAX_PAGES * PAGE}", where=str(self.url)
        )

    async def known(self, transaction: SafeTransaction) -> bool:
        """Whether the service has it. Raises as `confirmations`."""
        return await self._entry(transaction) is not None

    async def confirmations(
        self, transaction: SafeTransaction, owners: Collection[Address]
    ) -> tuple[tuple[Signature, ...], tuple[str, ...]]:
        """The owners' signatures over the transaction, by owner, and why each other one does not count.

        Raises DisagreementError when the service has other data under its hash.
        """
        entry = await self._entry(transaction)
        if entry is None:
            raise EndpointError(
                "The service does not know the transaction", seen=transaction.hash, where=str(self.url)
            )
        good: dict[Address, Signature] = {}
        bad: list[str] = []
        for each in _member(entry, "confirmations", list, default=[]):
            try:
                signature = confirmation(each)
                check(transaction.hash, signature)
                if signature.signer not in owners:
                    raise QuorumError("Signature of no owner", seen=signature.signer)
                good[signature.signer] = signature
            except (ConfigError, DecodeError, QuorumError) as error:
                bad.append(str(error))
        return tuple(sorted(good.values(), key=lambda each: int(each.signer, 16))), tuple(bad)

    async def propose(self, transaction: SafeTransaction, signature: Signature, origin: str) -> None:
        """Leaves the transaction with the first owner's signature. `origin` is a note for people.

        Raises RefusedError with what the service said, ConfigError for a note that is too long.
        """
        if len(origin) > MAX_ORIGIN:
            raise ConfigError("The note is too long", expected=f"{MAX_ORIGIN} characters", seen=len(origin))
        check(transaction.hash, signature)
        message = transaction.message
        body = {
            **message,
            "safe": transaction.safe,
            "data": "0x" + transaction.data.hex(),
            "contractTransactionHash": "0x" + transaction.hash.hex(),
            "sender": signature.signer,
            "signature": "0x" + signature.data.hex(),
            "origin": origin,
        }
        await self._post(f"/api/v2/safes/{transaction.safe}/multisig-transactions/", body)

    async def confirm(self, transaction: SafeTransaction, signature: Signature) -> None:
        """Leaves a further owner's signature. Raises RefusedError with what the service said."""
        check(transaction.hash, signature)
        path = f"/api/v1/multisig-transactions/0x{transaction.hash.hex()}/confirmations/"
        await self._post(path, {"signature": "0x" + signature.data.hex()})

    # ENTRIES

    async def _entry(self, transaction: SafeTransaction) -> Mapping[str, Any] | None:
        name = "0x" + transaction.hash.hex()
        try:
            entry = await self._read(f"/api/v2/multisig-transactions/{name}/", {})
        except _NotFoundError:
            return None
        queued = self.queued(entry, transaction.safe)
        if queued.transaction != transaction:
            raise DisagreementError(
                "The service answers with another transaction than was asked for",
                expected=transaction.hash,
                seen=queued.hash,
                where=str(self.url),
            )
        return entry

    def queued(self, entry: object, safe: Address) -> Queued:
        """One entry as the service gives it, by its own data. Raises DecodeError when it is none, and
        DisagreementError when its hash is not that of its data."""
        if not isinstance(entry, Mapping):
            raise DecodeError("Not a transaction", expected="an object", seen=type(entry).__name__)
        message = _message(entry)
        seen = transaction_hash(self.chain_id, safe, message)
        named = hex_bytes(_member(entry, "safeTxHash", str))
        if (seen, safe) != (named, address(_member(entry, "safe", str))):
            raise DisagreementError(
                "The service shows other data under a transaction's hash",
                expected=seen,
                seen=named,
                where=str(self.url),
                hint="Sign nothing that this service shows.",
            )
        made = SafeTransaction(
            self.chain_id,
            safe,
            message["to"],
            message["data"],
            message["nonce"],
            Operation(message["operation"]),
        )
        return Queued(message["nonce"], seen, made if made.message == message else None)

    # HTTP

    async def _read(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(EndpointDownError),
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            reraise=True,
        )
        status, answer = 0, None
        async for attempt in retrying:
            with attempt:
                status, answer = await self._ask("GET", path, params=dict(query))
        if status == 404:
            raise _NotFoundError("Not found", where=str(self.url))
        if status != 200 or not isinstance(answer, Mapping):
            raise EndpointError(
                "Not an answer of a transaction service", seen=_said(status, answer), where=str(self.url)
            )
        return answer

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        status, answer = await self._ask("POST", path, json=dict(body))
        if status not in (200, 201):
            raise RefusedError(
                "The transaction service refuses it", seen=_said(status, answer), where=str(self.url)
            )

    async def _ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON, where there is some. Raises EndpointDownError for what may pass."""
        if self._session is None:
            raise EndpointError("The service is not open", where=str(self.url))
        target = self.url.secret().rstrip("/") + path
        try:
            async with (
                self._paced(),
                self._session.request(method, target, allow_redirects=False, **more) as response,
            ):
                status, body = response.status, await _bounded(response, str(self.url))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Not the error's own words: they may quote the URL.
            raise EndpointDownError(
                "The transaction service does not answer", seen=type(error).__name__, where=str(self.url)
            ) from None
        if status == 429:
            raise RateLimitedError("The transaction service asks for a pause", rest=None, where=str(self.url))
        if status >= 500:
            raise EndpointDownError("The transaction service fails", seen=status, where=str(self.url))
        return status, _json(body)

    @asynccontextmanager
    async def _paced(self) -> AsyncIterator[None]:
        """One request at a time, and a rest after each answer: one that was long on its way does not come
        closer to the next."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._free_at - loop.time())
            try:
                yield
            finally:
                self._free_at = loop.time() + self._interval


class _NotFoundError(EndpointError):
    """The service has nothing there."""


async def _bounded(response: aiohttp.ClientResponse, where: str) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise OversizedReplyError(
                "Answer too long", expected=f"at most {MAX_ANSWER_BYTES} bytes", where=where
            )
    return body


def _json(body: bytes) -> Any:
    try:
        return parse_json(body) if body else None
    except DecodeError:
        return body[:_SAID].decode(errors="replace")


def _said(status: int, answer: object) -> str:
    return f"status {status}: {json.dumps(answer)[:_SAID]}"


def _member(entry: Mapping[str, Any], name: str, kind: type, *, default: Any = None) -> Any:
    value = entry.get(name)
    if value is None:
        value = default
    if not isinstance(value, kind):
        raise DecodeError(
            "Not an answer of a transaction service",
            expected=f"{name}: {kind.__name__}",
            seen=type(value).__name__,
        )
    return value


def _message(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `SafeTx`. Amounts come as numbers or as decimal text, absent addresses as null."""
    try:
        return {
            "to": address(_member(entry, "to", str)),
            "value": _number(entry, "value"),
            "data": hex_bytes(_member(entry, "data", str, default="0x")),
            "operation": int(Operation(_number(entry, "operation"))),
            **{name: _number(entry, name) for name in ("safeTxGas", "baseGas", "gasPrice")},
            **{
                name: address(_member(entry, name, str, default="0x" + "0" * 40))
                for name in ("gasToken", "refundReceiver")
            },
            "nonce": _number(entry, "nonce"),
        }
    except (ConfigError, ValueError) as error:
        raise DecodeError("Not a Safe transaction", seen=str(error)) from error


def _number(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 78:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _WORD:
        raise DecodeError("Not a number of 256 bits", expected=name, seen=repr(value)[:80])
    return value


def confirmation(entry: object) -> Signature:
    """An owner's signature as the service gives it; not verified. Raises DecodeError or ConfigError."""
    if not isinstance(entry, Mapping):
        raise DecodeError("Not a confirmation", expected="an object", seen=type(entry).__name__)
    signer = address(_member(entry, "owner", str))
    return Signature(signer, hex_bytes(_member(entry, "signature", str)))
