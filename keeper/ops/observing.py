"""Who is told what happens in a keeper that runs: Prometheus, a webhook, and a watcher of heartbeats."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from keeper.events import EventStream
from keeper.ops.exporter import Health, exporting
from keeper.ops.metrics import Metrics
from keeper.ops.running import RunConfig, read_policies
from keeper.ops.webhook import beating, notifying


@asynccontextmanager
async def observing(config: RunConfig, events: EventStream) -> AsyncIterator[str | None]:
    """As the file says, until the block ends; where metrics are served, if they are.

    Raises ConfigError for what cannot be used.
    """
    names = [(each.vault.chain_id, each.vault.vault) for each in read_policies(config)]
    health = Health(names, config.schedule)
    events.subscribe(health.hear)
    served = None
    async with AsyncExitStack() as stack:
        if config.metrics is not None:
            metrics = Metrics()
            events.subscribe(metrics.hear)
            served = await stack.enter_async_context(exporting(config.metrics, metrics, health))
        if config.webhook is not None:
            await stack.enter_async_context(notifying(config.webhook, events))
        if config.heartbeat is not None:
            watched = beating(config.heartbeat, lambda: not health.late(), events)
            await stack.enter_async_context(watched)
        yield served
