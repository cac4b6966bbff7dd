"""One RPC proxy for everything that a good network does not do on request: delay, faults, failover, another
order of JSON members, recording and replay. It listens on the loopback interface only.

    with Proxy([url], chain_id, delay=0.05) as proxy: ...

Upstreams stand in for each other as in `keeper.chain.pool`. With a bundle, everything is answered from the
bundle; what it lacks is fetched, recorded and then answered, or without upstreams named and refused.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiohttp import web

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import MAX_REPLY_BYTES, Endpoint
from keeper.errors import ConfigError, KeeperError, RpcError
from keeper.events import EventStream
from keeper.simulation.anvil import HOST
from keeper.simulation.bundle import TRANSACTIONS, Bundle, BundleRefusedError, MissingItemError

_NOT_FOUND: Final = -32601
_SERVER_ERROR: Final = -32000
_STOP_SECONDS: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """What happens to requests whose method begins with `method` and whose parameters satisfy `where`, for
    the first `times` of them (None: all).

    `delay` is in seconds; `drop` closes the connection before anything is done; `status` and `headers` are
    HTTP's; `twice` does what is asked two times; `error` is a JSON-RPC error (code, message); `change`
    replaces the result; `cut` closes the connection in the middle of the reply; `garble` sends half of it as
    if that were all; `pad` appends so many bytes of white space.
    """

    method: str = ""
    where: Callable[[Sequence[Any]], bool] = lambda params: True
    times: int | None = None
    delay: float = 0.0
    drop: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    twice: bool = False
    error: tuple[int, str] | None = None
    change: Callable[[Any], Any] | None = None
    cut: bool = False
    garble: bool = False
    pad: int = 0

    def fits(self, method: str, params: Sequence[Any]) -> bool:
        return method.startswith(self.method) and self.where(params)


class Proxy:
    """A running proxy, in a thread of its own so that it also serves programs that wait for it.

    `faults`, `delay` and `bundle` may be replaced at any time; `seen` counts requests by method.
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int,
        *,
        port: int = 0,
        delay: float = 0.0,
        faults: Sequence[Fault] = (),
        bundle: Bundle | None = None,
        events: EventStream | None = None,
        permuted: Random | None = None,
    ) -> None:
        """`delay` is seconds added to each request. Without `urls` only the bundle answers. `permuted` puts
        the members of every JSON object of a reply into an order of its own."""
        self.chain_id: Final = chain_id
        self.delay = delay
        self.faults: Sequence[Fault] = faults
        self.seen: Counter[str] = Counter()
        self.url = ""
        self._settings: Final = ChainEndpoints.of(urls) if urls else None
        self._port: Final = port
        self.bundle = bundle
        self._events: Final = events
        self._permuted: Final = permuted
        self._done: Counter[int] = Counter()
        self._hashless: Final[set[Endpoint]] = set()
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def upstream(self) -> Pool | None:
        """The endpoints behind it, while it runs; use them in its own loop (`run`) only."""
        return self._pool

    def start(self) -> str:
        """Starts to serve and returns the URL. Raises ConfigError when the port is taken."""
        started: Future[str] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(started)), name=f"proxy-{self.chain_id}", daemon=True
        )
        self._thread.start()
        self.url = started.result()
        return self.url

    def stop(self) -> None:
        """Stops serving; harmless when it has stopped."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns, run in the proxy's own loop."""
        if self._loop is None or self._thread is None:
            raise KeeperError("The proxy is not running", hint="Use it as a context manager")
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    async def _main(self, started: "Future[str]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                if self._settings is not None:
                    pool = Pool(self.chain_id, self._settings, self._events)
                    self._pool = await stack.enter_async_context(pool)
                app = web.Application(client_max_size=MAX_REPLY_BYTES)
                app.router.add_post("/{path:.*}", self._serve)
                runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, HOST, self._port).start()
            except OSError as error:
                where = f"{HOST}:{self._port}"
                started.set_exception(ConfigError("Cannot listen", where=where, seen=error.strerror))
                return
            except KeeperError as error:
                started.set_exception(error)
                return
            started.set_result(f"http://{HOST}:{runner.addresses[0][1]}")
            await self._stop.wait()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if self.delay:
            await asyncio.sleep(self.delay)
        if isinstance(body, list):
            return web.json_response(self._ordered([await self._reply(entry) for entry in body]))
        fault = self._fault(body["method"], body.get("params") or [])
        if fault is not None and (unserved := await self._unserved(request, fault)):
            self.seen[body["method"]] += 1
            return unserved
        text = json.dumps(self._ordered(await self._reply(body, fault))).encode()
        return await self._send(request, text, fault)

    async def _unserved(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """What is answered without asking anybody."""
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop and request.transport is not None:
            request.transport.abort()
        unserved = fault.drop or fault.status != 200
        return web.Response(status=fault.status, headers=fault.headers) if unserved else None

    async def _send(self, request: web.Request, text: bytes, fault: Fault | None) -> web.StreamResponse:
        headers = {"Content-Type": "application/json"}
        if fault is None:
            return web.Response(body=text, headers=headers)
        if fault.garble:
            text = text[: len(text) // 2]
        text += b" " * fault.pad
        if not fault.cut:
            return web.Response(body=text, headers={**headers, **fault.headers})
        response = web.StreamResponse(headers={**headers, "Content-Length": str(len(text))})
        await response.prepare(request)
        await response.write(text[: len(text) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _ordered(self, value: Any) -> Any:
        if self._permuted is None:
            return value
        if isinstance(value, list):
            return [self._ordered(each) for each in value]
        if not isinstance(value, dict):
            return value
        names = list(value)
        self._permuted.shuffle(names)
        return {name: self._ordered(value[name]) for name in names}

    def _fault(self, method: str, params: Sequence[Any]) -> Fault | None:
        for fault in self.faults:
            if fault.fits(method, params):
                self._done[id(fault)] += 1
                if fault.times is None or self._done[id(fault)] <= fault.times:
                    return fault
        return None

    async def _reply(self, entry: Mapping[str, Any], fault: Fault | None = None) -> dict[str, Any]:
        method, params = entry["method"], entry.get("params") or []
        self.seen[method] += 1
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": entry.get("id")}
        try:
            if fault is not None and fault.error is not None:
                code, message = fault.error
                raise RpcError(message, code=code)
            if fault is not None and fault.twice:
                await self._result(method, params)
            result = await self._result(method, params)
        except RpcError as error:
            data = {} if error.data is None else {"data": error.data}
            return reply | {"error": {"code": error.code, "message": error.said, **data}}
        except BundleRefusedError as error:
            return reply | {"error": {"code": _NOT_FOUND, "message": str(error)}}
        except KeeperError as error:
            return reply | {"error": {"code": _SERVER_ERROR, "message": str(error)}}
        return reply | {"result": fault.change(result) if fault is not None and fault.change else result}

    async def _result(self, method: str, params: Sequence[Any]) -> Any:
        if self.bundle is None:
            return await self._fetch(method, params)
        try:
            return self.bundle.answer(method, params)
        except MissingItemError:
            if self._pool is None and method not in TRANSACTIONS:
                raise
        found = None if self._pool is None else await self._origin(self._pool, self.bundle, method, params)
        if found is None and method in TRANSACTIONS:
            return None
        self.bundle.record(method, params, found)
        return self.bundle.answer(method, params)

    async def _origin(self, pool: Pool, bundle: Bundle, method: str, params: Sequence[Any]) -> Any:
        """What a bundle lacks. State is asked for by the hash of its block; where an endpoint takes none, by
        number, and then whether the number meant that block."""

        async def ask(endpoint: Endpoint) -> Any:
            if endpoint not in self._hashless:
                try:
                    return await endpoint.rpc(*bundle.request(method, params))
                except RpcError:
                    if not bundle.is_state(method, params):
                        raise
            found = await endpoint.rpc(*bundle.request(method, params, by_number=True))
            await endpoint.canonical(bundle.block)
            self._hashless.add(endpoint)
            return found

        ((_, found),) = await pool.witnessed(ask)
        return found

    async def _fetch(self, method: str, params: Sequence[Any]) -> Any:
        if self._pool is None:
            raise KeeperError("The proxy has no upstream", where=method)
        return await self._pool.rpc(method, params)

    def __enter__(self) -> Self:
        if self._thread is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
