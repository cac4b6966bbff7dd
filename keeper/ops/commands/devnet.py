"""`keeper devnet`: local chains with the real protocols."""

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Any

import typer

from keeper.ops.ending import on_signal
from keeper.ops.output import JsonOption, show
from keeper.simulation.devnet import FIRST_CHAIN_ID, Devnet, ensure_built
from keeper.simulation.lifi_process import LiFiService

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
    lifi_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the local LiFi service; 0 takes a free one.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Starts chains 31337, 31338, … with a LiFi service for them, and keeps them up until Ctrl-C."""
    ended = on_signal()
    with ExitStack() as running:
        started = [
            running.enter_context(Devnet(FIRST_CHAIN_ID + index, port=port + index if port else 0))
            for index in range(chains)
        ]
        service = running.enter_context(LiFiService(started, port=lifi_port))
        described = [_describe(chain) for chain in started]
        lifi = _describe_lifi(service)
        show({"chains": described, "lifi": lifi}, _text(described, lifi), json=json)
        ended.wait()


def _describe(chain: Devnet) -> dict[str, Any]:
    return {
        "chain_id": chain.chain_id,
        "url": chain.url,
        "pid": chain.pid,
        "block": chain.manifest["block"]["number"],
        "manifest": str(chain.path / "manifest.json"),
    }


def _describe_lifi(service: LiFiService) -> dict[str, Any]:
    contracts = {str(chain_id): asdict(each.deployment) for chain_id, each in service.contracts.items()}
    return {"url": service.url, "pid": service.pid, "contracts": contracts}


def _text(chains: list[dict[str, Any]], lifi: dict[str, Any]) -> str:
    lines = [
        f"chain {chain['chain_id']}  {chain['url']}  block {chain['block']}  {chain['manifest']}"
        for chain in chains
    ]
    diamonds = [f"  diamond {each['diamond']} on {chain}" for chain, each in lifi["contracts"].items()]
    return "\n".join([*lines, f"LiFi         {lifi['url']}", *diamonds, "Ctrl-C stops them."])
