"""`keeper run --config FILE`: looks after vaults until interrupted or terminated."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.events import EventStream
from keeper.execution.loop import Loop
from keeper.ops.observing import observing
from keeper.ops.output import JsonOption, logged_events, show
from keeper.ops.running import RunConfig, opened, read_config

app = typer.Typer(add_completion=False)


@app.command()
def run(
    config: Annotated[Path, typer.Option("--config", help="The keeper's own TOML file.")],
    once: Annotated[bool, typer.Option("--once", help="One pass over every vault, and the end.")] = False,
    json: JsonOption = False,
) -> None:
    """Look after vaults: settle their epochs, move their funds, follow what was sent.

    Without a key it only says what it would do. Prints one line once it runs; what happens is logged. With
    --once it ends with 1 when something went wrong.
    """
    loaded = read_config(config)
    if not once:
        asyncio.run(_run(loaded, json=json))
    elif not asyncio.run(_once(loaded, json=json)):
        raise typer.Exit(1)


async def _once(config: RunConfig, *, json: bool) -> bool:
    events = logged_events(json=json)
    # It has nothing to be scraped for, and a keeper that runs may listen there.
    config = config.model_copy(update={"metrics": None, "heartbeat": None})
    async with observing(config, events), opened(config, events) as loop:
        well = await loop.once()
        show({"ok": well, **_looked_after(config, loop)}, "Done." if well else "Failed.", json=json)
    return well


async def _run(config: RunConfig, *, json: bool) -> None:
    events, stop, running = logged_events(json=json), asyncio.Event(), asyncio.Event()
    starting = asyncio.create_task(_until(stop, running, config, events, json=json))

    def end() -> None:
        stop.set()
        if not running.is_set():
            # It may wait for another keeper's lease.
            starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    with suppress(asyncio.CancelledError):
        await starting


async def _until(
    stop: asyncio.Event, running: asyncio.Event, config: RunConfig, events: EventStream, *, json: bool
) -> None:
    async with observing(config, events) as served, opened(config, events) as loop:
        running.set()
        facts = _looked_after(config, loop)
        text = f"The keeper looks after {', '.join(facts['vaults'])}"
        text += ". Dry run: no key." if facts["dry"] else ""
        text += f". Metrics at {served}" if served else ""
        show({"ok": True, **facts, "metrics": served}, text, json=json)
        await loop.run(stop)


def _looked_after(config: RunConfig, loop: Loop) -> dict[str, Any]:
    return {"vaults": [each.policy.vault.vault for each in loop.vaults], "dry": config.key is None}
