"""A real HTTP server to which a keeper's webhook speaks, and which may treat it badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from local_http import serving

SECRET_PATH = "/hooks/topsecret"
SECRET = "correct horse battery staple"


@dataclass
class Inbox:
    """What arrived, by path, with its headers; `manner` is how it is answered."""

    url: str = ""
    manner: str = "takes"
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.got.append((request.path, dict(request.headers), body))
        self.arrived.put_nowait(body)
        match self.manner:
            case "fails":
                return web.Response(status=500, text="no")
            case "redirects":
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            case "hangs":
                await self.released.wait()
            case "talks":
                return await self._talk(request)
        return web.Response(status=204)

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        """A body without an end."""
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            self.cut_off.set()
        return response


@asynccontextmanager
async def inbox() -> AsyncIterator[Inbox]:
    made = Inbox()
    async with serving(made.answer) as url:
        made.url = url + SECRET_PATH
        try:
            yield made
        finally:
            made.released.set()
