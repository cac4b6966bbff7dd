"""LiFi's API. What it answers is believed about nothing: a quote is bytes until it is checked."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
from eth_hash.auto import keccak
from pydantic import BaseModel, Field
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential
from yarl import URL

from keeper.clock import Clock
from keeper.config import StrictModel, Url, api_key
from keeper.errors import DecodeError, EndpointDownError
from keeper.swap import models
from keeper.swap.budget import RateBudget
from keeper.swap.models import ReceivedQuote, SwapRequest
from keeper.swap.refusals import Action, LiFiError

KEY_HEADER: Final = "x-lifi-api-key"
_TOO_MANY: Final = 429
_OK: Final = 200
_OWN_BUDGETS: Final = ("quote", "advanced/routes", "advanced/stepTransaction")
"""Endpoints that without a key have a budget of their own."""

M = TypeVar("M", bound=BaseModel)


class LiFiConfig(StrictModel):
    """Where LiFi is and how patient we are with it. `api_key_env` names an environment variable; without
    a key the budgets are small."""

    url: Url
    api_key_env: str | None = Field(default=None, min_length=1)
    budget_file: Path
    integrator: str = Field(default="omnikeeper", min_length=1, max_length=23)
    timeout_seconds: int = Field(default=20, gt=0)
    attempts: int = Field(default=3, gt=0)
    wait_milliseconds: int = Field(default=500, ge=0)
    """Before the second attempt; doubles with each."""

    def beside(self, folder: Path) -> "LiFiConfig":
        """With a relative path meant from a folder: elsewhere, the budget would be another one."""
        return self.model_copy(update={"budget_file": folder / self.budget_file})


class LiFi:
    """A connection to LiFi as an asynchronous context manager.

    Made without its key it raises ConfigError. Every method raises RateBudgetError when no request is left,
    LiFiError when LiFi says no, with the action that follows, EndpointDownError when it does not answer, and
    DecodeError when the answer lacks a field.
    """

    def __init__(self, config: LiFiConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._budget = RateBudget(config.budget_file)
        self._session: aiohttp.ClientSession | None = None
        self._key: Final = api_key(config.api_key_env, "LiFi's API key")
        # The budget belongs to the key. Its hash tells keys apart in a file that anyone may read.
        self._account = keccak(self._key.encode())[:8].hex() if self._key else ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={KEY_HEADER: self._key} if self._key else {},
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def quote(self, request: SwapRequest) -> ReceivedQuote:
        """A swap with its transaction. The bytes parse as a quote; nothing else is known of them."""
        query = {
            "fromChain": str(request.chain_id),
            "toChain": str(request.chain_id),
            "fromToken": request.token_in,
            "toToken": request.token_out,
            "fromAmount": str(request.amount_in),
            "fromAddress": request.sender,
            "toAddress": request.sender,
            "slippage": _fraction(request.slippage_bps),
            "integrator": self._config.integrator,
            "skipSimulation": "true",
        }
        if request.exchanges:
            query["allowExchanges"] = ",".join(request.exchanges)
        return await self._evidence("GET", "quote", query=query)

    async def routes(self, request: SwapRequest) -> models.Routes:
        """Ways of doing a swap, without transactions."""
        options: dict[str, Any] = {
            "slippage": request.slippage_bps / 10_000,
            "integrator": self._config.integrator,
        }
        if request.exchanges:
            options["exchanges"] = {"allow": list(request.exchanges)}
        body = {
            "fromChainId": request.chain_id,
            "toChainId": request.chain_id,
            "fromTokenAddress": request.token_in,
            "toTokenAddress": request.token_out,
            "fromAmount": str(request.amount_in),
            "fromAddress": request.sender,
            "toAddress": request.sender,
            "options": options,
        }
        return await self._ask("POST", "advanced/routes", models.Routes, body=body)

    async def step_transaction(self, step: Mapping[str, Any]) -> ReceivedQuote:
        """A step of a route, as it was received, with its transaction."""
        return await self._evidence("POST", "advanced/stepTransaction", body=step)

    async def status(self, tx_hash: str) -> models.Status:
        """Where a transfer is by the hash of its transaction."""
        return await self._ask("GET", "status", models.Status, query={"txHash": tx_hash})

    async def chains(self) -> models.Chains:
        """Every chain LiFi serves."""
        return await self._ask("GET", "chains", models.Chains)

    async def tokens(self, chain_id: int) -> models.Tokens:
        """The tokens of a chain."""
        return await self._ask("GET", "tokens", models.Tokens, query={"chains": str(chain_id)})

    async def tools(self) -> models.Tools:
        """Exchanges and bridges."""
        return await self._ask("GET", "tools", models.Tools)

    async def gas_prices(self) -> models.GasPrices:
        """Gas prices of every chain, in wei."""
        return await self._ask("GET", "gas/prices", models.GasPrices)

    async def gas_price(self, chain_id: int) -> models.GasPrice:
        """Gas price of a chain, in wei."""
        return await self._ask("GET", f"gas/prices/{chain_id}", models.GasPrice)

    async def gas_suggestion(self, chain_id: int) -> models.GasSuggestion:
        """Whether and how much of a chain's coin can be brought along."""
        return await self._ask("GET", f"gas/suggestion/{chain_id}", models.GasSuggestion)

    async def gas_status(self, tx_hash: str) -> models.Status:
        """Where a delivery of a chain's coin is, by the hash of the transaction that asked for it."""
        return await self._ask("GET", "gas/status", models.Status, query={"txHash": tx_hash})

    async def _ask(
        self,
        method: str,
        path: str,
        model: type[M],
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> M:
        return models.parse(await self._read(method, path, query, body), model, where=path)

    async def _evidence(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> ReceivedQuote:
        # The age of a quote runs from when it was asked for: its answer may have been long on the way.
        asked = await self._clock.now()
        data = await self._read(method, path, query, body)
        models.parse(data, models.Quote, where=path)
        return ReceivedQuote(data, asked)

    async def _read(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> bytes:
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._config.attempts),
            wait=wait_exponential(multiplier=self._config.wait_milliseconds / 1_000),
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        # Nothing here changes anything at LiFi, a transaction for a step included: all may be asked again.
        return await attempts(self._once, method, path, query, body)

    async def _once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> bytes:
        if self._session is None:
            raise EndpointDownError("The client is not open", where=path, hint="Use it with `async with`")
        name, now = self._budget_name(path), await self._clock.now()
        self._budget.take(name, now)
        url = URL(self._config.url.secret().rstrip("/") + "/v1/" + path)
        try:
            async with self._session.request(
                method, url, params=query, json=body, allow_redirects=False
            ) as response:
                data = await _limited(response.content, path)
                status, headers = response.status, response.headers
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Its text may hold the URL, and that a key.
            raise EndpointDownError(
                "LiFi does not answer", seen=type(error).__name__, where=f"{self._config.url} {path}"
            ) from None
        if status == _TOO_MANY:
            raise self._budget.exhaust(name, now, headers)
        self._budget.observe(name, now, headers)
        self._require_no_key(status, data, path)
        if status != _OK:
            raise _refusal(status, data, path)
        return data

    def _require_no_key(self, status: int, data: bytes, path: str) -> None:
        # Refusals are logged and quotes are kept in plans, for anyone to read.
        if self._key and self._key.encode() in data:
            said = "LiFi's answer repeats the API key, and is not shown"
            raise LiFiError(said, status=status, code=None, tools=(), where=path)

    def _budget_name(self, path: str) -> str:
        if self._account:
            return f"{self._config.url} key {self._account}"
        return f"{self._config.url} {path if path in _OWN_BUDGETS else 'other'}"


async def _limited(content: aiohttp.StreamReader, path: str) -> bytes:
    chunks, length = [], 0
    async for chunk in content.iter_chunked(65_536):
        length += len(chunk)
        if length > models.MAX_BYTES:
            raise DecodeError("The answer is too long", expected=models.MAX_BYTES, seen=length, where=path)
        chunks.append(chunk)
    return b"".join(chunks)


def _refusal(status: int, data: bytes, path: str) -> LiFiError:
    try:
        failure = models.parse(data, models.Failure, where=path)
    except DecodeError:
        # What stands between us and LiFi answers in its own way.
        return LiFiError("LiFi refuses without a reason", status=status, code=None, tools=(), where=path)
    said = failure.message[:300]
    return LiFiError(
        f"LiFi refuses: {said}", status=status, code=failure.code, tools=failure.tools(), where=path
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, LiFiError):
        return error.action is Action.RETRY
    return isinstance(error, EndpointDownError)


def _fraction(bps: int) -> str:
    """Basis points as the decimal fraction LiFi takes."""
    return f"{bps // 10_000}.{bps % 10_000:04d}"
