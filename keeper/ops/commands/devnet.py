"""`keeper devnet`: local chains with the real protocols."""

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from keeper.ops.ending import on_signal
from keeper.ops.output import JsonOption, show
from keeper.simulation.devnet import FIRST_CHAIN_ID, Devnet, ensure_built

app = typer.Typer(help="Local chains with the real protocols.", no_args_is_help=True)


@app.command()
def build(json: JsonOption = False) -> None:
    """Builds chain 31337 where the cache lacks it; `up`, the demo and the tests load it from there."""
    chain = ensure_built()
    data = {"chain_id": chain.manifest["chain_id"], "path": str(chain.path), "block": chain.manifest["block"]}
    show(data, f"chain {data['chain_id']}  {data['path']}", json=json)


@app.command()
def up(
    chains: Annotated[int, typer.Option(min=1, max=16, help="How many chains to start.")] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65_000, help="Port of the first; 0 takes free ones.")
    ] = 8545,
    json: JsonOption = False,
) -> None:
    """Starts chains 31337, 31338, … and keeps them up until Ctrl-C."""
    ended = on_signal()
    with ExitStack() as running:
        started = [
            running.enter_context(Devnet(FIRST_CHAIN_ID + index, port=port + index if port else 0))
            for index in range(chains)
        ]
        described = [_describe(chain) for chain in started]
        show({"chains": described}, _text(described), json=json)
        ended.wait()


def _describe(chain: Devnet) -> dict[str, Any]:
    return {
        "chain_id": chain.chain_id,
        "url": chain.url,
        "pid": chain.pid,
        "block": chain.manifest["block"]["number"],
        "manifest": str(chain.path / "manifest.json"),
    }


def _text(chains: list[dict[str, Any]]) -> str:
    lines = [
        f"chain {chain['chain_id']}  {chain['url']}  block {chain['block']}  {chain['manifest']}"
        for chain in chains
    ]
    return "\n".join([*lines, "Ctrl-C stops them."])
