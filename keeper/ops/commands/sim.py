"""`keeper sim`: forks of live chains, their bundles, and the RPC proxy."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.config import public_url
from keeper.errors import ConfigError
from keeper.ops.ending import on_signal
from keeper.ops.output import JsonOption, logged_events, show
from keeper.simulation.bundle import Bundle
from keeper.simulation.fork import Fork, chain_id_of
from keeper.simulation.proxy import Proxy

app = typer.Typer(help="Forks of live chains, their bundles, and the RPC proxy.", no_args_is_help=True)

RpcOption = Annotated[str, typer.Option("--rpc", help="URL[,URL…]: endpoints, the preferred one first.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes any free one.")]


@app.command()
def fork(
    rpc: RpcOption,
    block: Annotated[int | None, typer.Option(min=0, help="Block to fork at; the head if left out.")] = None,
    save: Annotated[Path | None, typer.Option(help="Where to save the bundle at the end.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle to go on from.")] = None,
    port: PortOption = 0,
    json: JsonOption = False,
) -> None:
    """Fork a live chain and keep the fork up until Ctrl-C; then save what was fetched."""
    urls = _urls(rpc)
    if save is not None:
        _require_place(save, bundle)
    known = None if bundle is None else Bundle.load(bundle)
    if known is not None and block not in (None, known.block.number):
        raise ConfigError("The bundle is of another block", expected=block, seen=known.block.number)
    chain_id = asyncio.run(chain_id_of(urls))
    started = Fork(chain_id, urls, block=block, bundle=known, port=port, events=logged_events(json=json))
    ended = on_signal()
    with started:
        _announce(started, json=json)
        ended.wait()
        if save is not None:
            typer.echo(f"bundle 0x{started.save(save).hex()}  {save}", err=True)


def _require_place(save: Path, bundle: Path | None) -> None:
    """Before anything is fetched that could not be saved."""
    if not os.access(save.resolve().parent, os.W_OK) or save.is_dir():
        raise ConfigError("The bundle cannot be saved", where=save, expected="a folder that can be written")
    if save.exists() and (bundle is None or not save.samefile(bundle)):
        hint = "Go on from it with --bundle, or name another."
        raise ConfigError("There is a file in that place", where=save, hint=hint)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A saved bundle.")],
    port: PortOption = 0,
    json: JsonOption = False,
) -> None:
    """Start the fork that a bundle was saved from, without any network, until Ctrl-C."""
    ended = on_signal()
    with Fork.replay(file, port=port) as started:
        _announce(started, json=json)
        ended.wait()


@app.command()
def proxy(
    rpc: RpcOption,
    delay: Annotated[int, typer.Option(min=0, help="Milliseconds added to each request.")] = 0,
    port: PortOption = 0,
    json: JsonOption = False,
) -> None:
    """Stand in front of endpoints, with failover and delay, until Ctrl-C."""
    urls = _urls(rpc)
    chain_id = asyncio.run(chain_id_of(urls))
    ended = on_signal()
    with Proxy(urls, chain_id, port=port, delay=delay / 1_000, events=logged_events(json=json)) as running:
        show({"chain_id": chain_id, "url": running.url}, f"chain {chain_id}  {running.url}", json=json)
        ended.wait()


def _announce(started: Fork, *, json: bool) -> None:
    origin = started.origin
    data: dict[str, Any] = {
        "chain_id": started.chain_id,
        "url": started.url,
        "pid": started.pid,
        "block": origin.number,
        "block_hash": origin.hash,
    }
    text = f"chain {started.chain_id}  {started.url}  forked at block {origin.number}\nCtrl-C stops it."
    show(data, text, json=json)


def _urls(text: str) -> list[str]:
    urls = [each.strip() for each in text.split(",") if each.strip()]
    for url in urls:
        public_url(url)
    if not urls:
        raise ConfigError("No endpoint", expected="URL[,URL…]", where="--rpc")
    return urls
