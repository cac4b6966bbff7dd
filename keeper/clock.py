"""The one injected clock. On local chains the clock is the chain."""

import time
from dataclasses import dataclass
from typing import Literal, Protocol

from keeper.chain.rpc import Source


class Clock(Protocol):
    """Asynchronous because asking a chain is I/O."""

    async def now(self) -> int:
        """Seconds since the epoch."""
        ...


ClockName = Literal["system", "chain"]


class SystemClock:
    """Wall time."""

    async def now(self) -> int:
        return int(time.time())


@dataclass(frozen=True)
class FixedClock:
    """Always `at`: replay and tests."""

    at: int

    async def now(self) -> int:
        return self.at


@dataclass(frozen=True)
class ChainClock:
    """Timestamp of the endpoint's latest block. Raises EndpointError when it cannot be had."""

    endpoint: Source

    async def now(self) -> int:
        return (await self.endpoint.latest()).timestamp


def named(name: ClockName, hub: Source) -> Clock:
    """Wall time, or the time of the hub chain."""
    return SystemClock() if name == "system" else ChainClock(hub)
