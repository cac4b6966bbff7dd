"""A service with LiFi's answers for local chains, as a process of its own.

It quotes real swaps on the local Uniswap v3. `/local/mode` tells it how to behave; nobody who talks to it
under `/v1` can see that it is not LiFi.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from keeper.contracts.abi import address
from keeper.errors import ConfigError
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.lifi_lies import LIES, promise
from keeper.simulation.lifi_quotes import BPS, EXCHANGE, Ask, Draft, Market, draft
from keeper.swap.deployments import Deployment

HOST: Final = "127.0.0.1"
_WINDOW: Final = 7_200
_NATIVE: Final = "0x" + "00" * 20
_SLIPPAGE: Final = "0.005"


class Mode(BaseModel):
    """How the service behaves. `statuses` are what `/status` says, one after the other, before the truth."""

    model_config = ConfigDict(extra="forbid")

    slow_milliseconds: int = 0
    remaining: int = 10_000
    """Requests that are still answered."""
    reset_seconds: int = _WINDOW
    stale: bool = False
    """Whether the first quote for a pair and amount is given for ever."""
    lie: str | None = None
    error: tuple[int, int, str] | None = None
    """HTTP status, code and message of the next answer."""
    fee_bps: int = Field(default=25, ge=0, lt=BPS)
    promise_bps: int = Field(default=BPS, ge=0)
    """Of what the pools pay: what a quote promises and, less slippage, enforces."""
    unspent_bps: int = Field(default=0, ge=0, lt=BPS)
    """Of the amount: what a quote with a fee leaves unsold."""
    statuses: list[tuple[str, str | None]] = []


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Service:
    """LiFi's endpoints over local markets, by chain id."""

    def __init__(self, markets: Mapping[int, Market]) -> None:
        self._markets = markets
        self._mode = Mode()
        self._old: dict[str, dict[str, Any]] = {}

    def application(self) -> web.Application:
        """Routes for an aiohttp server."""
        app = web.Application(middlewares=[self._frame])
        app.router.add_post("/local/mode", self._set_mode)
        app.router.add_get("/v1/quote", self._quote)
        app.router.add_post("/v1/advanced/routes", self._routes)
        app.router.add_post("/v1/advanced/stepTransaction", self._step_transaction)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/chains", self._chains)
        app.router.add_get("/v1/tokens", self._tokens)
        app.router.add_get("/v1/tools", self._tools)
        app.router.add_get("/v1/gas/prices", self._gas_prices)
        app.router.add_get("/v1/gas/prices/{chain}", self._gas_price)
        app.router.add_get("/v1/gas/suggestion/{chain}", self._gas_suggestion)
        app.router.add_get("/v1/gas/status", self._gas_status)
        return app

    @web.middleware
    async def _frame(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Patience, budget and errors, the same for every endpoint."""
        if not request.path.startswith("/v1/"):
            answer: web.StreamResponse = await handler(request)
            return answer
        mode = self._mode
        if mode.slow_milliseconds:
            await asyncio.sleep(mode.slow_milliseconds / 1_000)
        if mode.remaining <= 0:
            return self._refused(429, 1005, "Rate limit exceeded")
        mode.remaining -= 1
        if mode.error is not None:
            error, mode.error = mode.error, None
            return self._refused(*error)
        try:
            answer = await handler(request)
        except RefusalError as refusal:
            return self._refused(refusal.status, refusal.code, refusal.message)
        answer.headers.update(self._budget())
        return answer

    def _refused(self, status: int, code: int, message: str) -> web.Response:
        body = {"message": message, "code": code, "errors": {"filteredOut": [], "failed": []}}
        return web.json_response(body, status=status, headers=self._budget())

    def _budget(self) -> dict[str, str]:
        return {
            "ratelimit-limit": "10000",
            "ratelimit-remaining": str(max(0, self._mode.remaining)),
            "ratelimit-reset": str(self._mode.reset_seconds),
        }

    async def _set_mode(self, request: web.Request) -> web.Response:
        self._mode = Mode.model_validate(await request.json())
        return web.json_response({})

    def _market(self, chain: object) -> Market:
        for market in self._markets.values():
            if str(chain) == str(market.chain_id):
                return market
        raise RefusalError(400, 1011, f"Chain {chain} is not supported")

    def _ask(self, market: Market, asked: Mapping[str, Any]) -> Ask:
        sold, bought = (market.token(str(asked[name])) for name in ("fromToken", "toToken"))
        amount = str(asked["fromAmount"])
        if sold is None or bought is None or sold == bought or not amount.isdecimal() or not int(amount):
            raise RefusalError(400, 1011, "Tokens or amount are invalid")
        try:
            slippage = Decimal(str(asked.get("slippage", _SLIPPAGE)))
            sender = address(str(asked["fromAddress"]))
            receiver = address(str(asked.get("toAddress", sender)))
        except (InvalidOperation, ConfigError) as error:
            raise RefusalError(400, 1011, f"Slippage or addresses are invalid: {error}") from error
        if not 0 <= slippage < 1:
            raise RefusalError(400, 1011, "Slippage is invalid")
        integrator = str(asked.get("integrator", "lifi-api"))
        costs = self._mode.fee_bps, self._mode.unspent_bps
        return Ask(sold, bought, int(amount), sender, receiver, slippage, integrator, *costs)

    def _draft(self, asked: Mapping[str, Any]) -> Draft:
        missing = [
            each for each in ("fromToken", "toToken", "fromAmount", "fromAddress") if each not in asked
        ]
        if missing:
            raise RefusalError(400, 1011, f"{missing[0]} is required")
        if str(asked.get("fromChain")) != str(asked.get("toChain")):
            raise RefusalError(404, 1002, "No available quotes for the requested transfer")
        market = self._market(asked.get("fromChain"))
        found = draft(market, self._ask(market, asked))
        if found is None:
            raise RefusalError(404, 1002, "No available quotes for the requested transfer")
        return found

    def _told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The quote as the mode has it."""
        key = " ".join(str(asked.get(name)) for name in ("fromToken", "toToken", "fromAmount"))
        if not self._mode.stale:
            made = promise(self._mode.promise_bps, BPS)(self._draft(asked))
            if self._mode.lie is not None:
                made = LIES[self._mode.lie](made)
            self._old[key] = made.written()
        elif key not in self._old:
            self._old[key] = self._draft(asked).written()
        return self._old[key]

    async def _quote(self, request: web.Request) -> web.Response:
        return web.json_response(self._told(request.query))

    async def _routes(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = {
            **body,
            **body.get("options", {}),
            "fromChain": body.get("fromChainId"),
            "toChain": body.get("toChainId"),
            "fromToken": body.get("fromTokenAddress"),
            "toToken": body.get("toTokenAddress"),
        }
        step = {key: each for key, each in self._told(asked).items() if key != "transactionRequest"}
        action, estimate = step["action"], step["estimate"]
        route = {
            "id": step["id"],
            **{name: action[name] for name in ("fromChainId", "fromAmount", "fromToken")},
            **{name: action[name] for name in ("toChainId", "toToken")},
            **{name: estimate[name] for name in ("toAmount", "toAmountMin")},
            "fromAmountUSD": "0",
            "toAmountUSD": "0",
            "steps": [step],
        }
        return web.json_response({"routes": [route], "unavailableRoutes": []})

    async def _step_transaction(self, request: web.Request) -> web.Response:
        body = await request.json()
        action = body.get("action", {})
        asked = {
            **action,
            "integrator": body.get("integrator", "lifi-api"),
            "fromChain": action.get("fromChainId"),
            "toChain": action.get("toChainId"),
            "fromToken": action.get("fromToken", {}).get("address"),
            "toToken": action.get("toToken", {}).get("address"),
        }
        return web.json_response(self._told(asked))

    async def _status(self, request: web.Request) -> web.Response:
        wanted = _wanted(request)
        told: tuple[str, str | None]
        for market in self._markets.values():
            receipt = market.rpc("eth_getTransactionReceipt", wanted)
            if receipt is not None:
                told = ("DONE", "COMPLETED") if receipt["status"] == "0x1" else ("FAILED", "UNKNOWN_ERROR")
                break
        else:
            market, told = next(iter(self._markets.values())), ("NOT_FOUND", None)
        if self._mode.statuses:
            told = self._mode.statuses.pop(0)
        token = market.token("WETH")
        sending = {
            "txHash": wanted,
            "txLink": "",
            "amount": "0",
            "token": token,
            "chainId": market.chain_id,
        }
        body = {"status": told[0], "tool": EXCHANGE, "sending": sending, "receiving": sending}
        if told[1] is not None:
            body["substatus"] = told[1]
        return web.json_response(body)

    async def _chains(self, request: web.Request) -> web.Response:
        chains = [
            {
                "id": market.chain_id,
                "key": f"local{market.chain_id}",
                "chainType": "EVM",
                "name": f"Local {market.chain_id}",
                "coin": "ETH",
                "mainnet": False,
            }
            for market in self._markets.values()
        ]
        return web.json_response({"chains": chains})

    async def _tokens(self, request: web.Request) -> web.Response:
        wanted = request.query.get("chains", "")
        markets = [
            each for each in self._markets.values() if not wanted or str(each.chain_id) in wanted.split(",")
        ]
        found = {
            str(market.chain_id): [market.token(symbol) for symbol in market.manifest["tokens"]]
            for market in markets
        }
        return web.json_response({"tokens": found})

    async def _tools(self, request: web.Request) -> web.Response:
        exchange = {"key": EXCHANGE, "name": "Uniswap", "logoURI": "", "supportedChains": ""}
        return web.json_response({"exchanges": [exchange], "bridges": []})

    def _price(self, market: Market) -> dict[str, int]:
        wei = int(market.rpc("eth_gasPrice"), 16)
        return {"standard": wei, "fast": wei, "fastest": wei, "lastUpdated": market.now()}

    async def _gas_prices(self, request: web.Request) -> web.Response:
        return web.json_response({str(each.chain_id): self._price(each) for each in self._markets.values()})

    async def _gas_price(self, request: web.Request) -> web.Response:
        return web.json_response(self._price(self._market(request.match_info["chain"])))

    async def _gas_suggestion(self, request: web.Request) -> web.Response:
        market = self._market(request.match_info["chain"])
        ether = {"symbol": "ETH", "decimals": 18, "name": "ETH"}
        coin = {"address": _NATIVE, "chainId": market.chain_id, **ether}
        recommended = {"token": coin, "amount": str(self._price(market)["fast"] * 10**6), "amountUsd": "0"}
        return web.json_response({"available": True, "recommended": recommended})

    async def _gas_status(self, request: web.Request) -> web.Response:
        # Nobody delivers coins here.
        _wanted(request)
        return web.json_response({"status": "NOT_FOUND"})


def _wanted(request: web.Request) -> str:
    """The transaction that is asked about."""
    wanted = request.query.get("txHash", "")
    if len(wanted) != 66 or not wanted.startswith("0x"):
        raise RefusalError(400, 1011, "txHash is invalid")
    return wanted


async def serve(service: Service, port: int) -> None:
    """Serves until standard input ends: whoever started the process holds its other end."""
    runner = web.AppRunner(service.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        bound = runner.addresses[0][1]
        sys.stdout.write(json.dumps({"url": f"http://{HOST}:{bound}"}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        await runner.cleanup()


def described(
    url: str, chain_id: int, manifest: Path, deployment: Deployment, recipient: str
) -> dict[str, Any]:
    """One chain as the process takes it."""
    return {
        "url": url,
        "chain_id": chain_id,
        "manifest": str(manifest),
        "deployment": asdict(deployment),
        "fee_recipient": recipient,
    }


def main(chains: str, port: str) -> None:
    """`python -m keeper.simulation.lifi CHAINS PORT`, with a JSON list of `described` chains."""
    with ExitStack() as open_:
        markets = {}
        for row in json.loads(chains):
            rpc = JsonRpc(row["url"])
            open_.callback(rpc.close)
            markets[row["chain_id"]] = Market(
                rpc,
                row["chain_id"],
                json.loads(Path(row["manifest"]).read_text()),
                Deployment(**row["deployment"]),
                row["fee_recipient"],
            )
        asyncio.run(serve(Service(markets), int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
