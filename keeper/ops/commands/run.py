"""`keeper run --config FILE`: looks after vaults until interrupted or terminated."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

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
    if not asyncio.run(_run(read_config(config), once=once, json=json)):
        raise typer.Exit(1)


async def _run(config: RunConfig, *, once: bool, json: bool) -> bool:
    events = logged_events(json=json)
    if once:
        # It has nothing to be scraped for, and a keeper that runs may listen there.
        config = config.model_copy(update={"metrics": None, "heartbeat": None})
    async with observing(config, events) as served, opened(config, events) as loop:
        vaults = [each.policy.vault.vault for each in loop.vaults]
        dry = config.key is None
        if once:
            well = await loop.once()
            show({"ok": well, "vaults": vaults, "dry": dry}, "Done." if well else "Failed.", json=json)
            return well
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        text = f"The keeper looks after {', '.join(vaults)}" + (". Dry run: no key." if dry else "")
        text += f". Metrics at {served}" if served else ""
        show({"ok": True, "vaults": vaults, "dry": dry, "metrics": served}, text, json=json)
        await loop.run(stop)
    return True
