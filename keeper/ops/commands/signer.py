"""`keeper signer --config FILE`: one signer, until interrupted or terminated."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from keeper import engine
from keeper.config import load_toml
from keeper.ops.output import JsonOption, logged_events, show
from keeper.quorum.signer import Engine
from keeper.quorum.signer_service import SignerConfig, serving

app = typer.Typer(add_completion=False)


@app.command()
def signer(
    config: Annotated[Path, typer.Option("--config", help="The signer's own TOML file.")],
    debug: Annotated[bool, typer.Option("--debug", help="Log what the libraries do, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Serve approvals: recompute every plan from own endpoints, sign only what matches.

    Prints one line once it serves: with --json {"ok", "url", "signer", "policy_hash"}.
    """
    if debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    loaded = load_toml(config, SignerConfig).beside(config.resolve().parent)
    asyncio.run(_serve(loaded, engine, json=json))


async def _serve(config: SignerConfig, engine: Engine, *, json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(config, engine, logged_events(json=json)) as running:
        ready = {
            "ok": True,
            "url": running.url,
            "signer": running.address,
            "policy_hash": running.policy_hash,
        }
        show(ready, f"Signer {running.address} serves {running.url}", json=json)
        await stop.wait()
