"""`GET /metrics` for Prometheus, and `GET /healthz`, 200 while every vault is being looked after."""

import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import field_validator

from keeper.config import StrictModel
from keeper.errors import ConfigError
from keeper.events import Event, PassEnded
from keeper.execution.loop import Schedule
from keeper.ops.metrics import Metrics

LATE_AFTER: Final = 2
"""A vault is late after so many times the `interval` and `deadline` of its schedule."""


class MetricsSettings(StrictModel):
    """`listen` is ADDRESS:PORT (port 0: any free one). Whoever reaches it may read."""

    listen: str = "127.0.0.1:9464"

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            raise ValueError("expected ADDRESS:PORT") from None
        if not port.isdecimal() or int(port) > 65_535:
            raise ValueError("expected ADDRESS:PORT")
        return listen


class Health:
    """When the last pass over each vault ended, however it ended."""

    def __init__(
        self,
        vaults: Iterable[tuple[int, str]],
        schedule: Schedule,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now: Final = now
        self._limit: Final = LATE_AFTER * (schedule.interval + schedule.deadline)
        self._last: Final[dict[tuple[int, str], float | None]] = dict.fromkeys(vaults)

    def hear(self, event: Event) -> None:
        if isinstance(event, PassEnded):
            self._last[event.chain_id, event.vault] = self._now()

    def late(self) -> list[str]:
        """The vaults without a pass within the limit, as "chain/address"."""
        now = self._now()
        return [
            f"{chain}/{vault}"
            for (chain, vault), last in self._last.items()
            if last is None or now - last > self._limit
        ]


@asynccontextmanager
async def exporting(settings: MetricsSettings, metrics: Metrics, health: Health) -> AsyncIterator[str]:
    """Serves until the block ends; where. Raises ConfigError when it cannot listen there."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def check(_: web.Request) -> web.Response:
        late = health.late()
        return web.json_response({"ok": not late, "late": late}, status=503 if late else 200)

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    app.router.add_get("/healthz", check)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    host, _, port = settings.listen.rpartition(":")
    try:
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            raise ConfigError("Cannot listen", where=settings.listen, seen=error.strerror) from error
        yield f"http://{host}:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()
