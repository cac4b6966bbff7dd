"""Vaults to measure on: the demo's, and one whose two positions are both Morpho Blue markets."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bench.stage import Parts, Stage
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment, Listing, deploy_core, deploy_vault, list_and_seal

MARKETS = ("WETH/USDC", "wstETH/USDC")


@contextmanager
def demo_vault() -> Iterator[tuple[Stage, Deployment]]:
    """The demo's vault on a chain of its own, with users in it and funds spread over its three positions."""
    with Devnet() as devnet:
        deployment = deploy_vault(devnet)
        stage = Stage(devnet, parts_of(deployment))
        stage.populate()
        yield stage, deployment


def snapshot(stage: Stage, deployment: Deployment) -> Snapshot:
    """What a keeper reads at the head."""
    chain_id, policy, now = stage.devnet.chain_id, deployment.policy, stage.now()

    async def read() -> Snapshot:
        async with Endpoint(stage.devnet.url, chain_id) as endpoint:
            return await take({chain_id: endpoint}, engine.calls(policy), now, policy.finality)

    return asyncio.run(read())


def parts_of(deployment: Deployment) -> Parts:
    """The demo's vault; positions in the policy's order."""
    return Parts(
        vault=deployment.vault,
        portfolio=deployment.portfolio,
        quorum=deployment.quorum,
        asset=deployment.asset,
        positions=tuple((each.address, each.key) for each in deployment.policy.positions),
    )


def two_morpho_markets(devnet: Devnet) -> Parts:
    """A sealed vault over two Morpho Blue markets: the case that the gas targets are written for."""
    core = deploy_core(devnet)
    morpho = devnet.manifest["morpho"]
    keys = [bytes.fromhex(morpho["markets"][name]["id"][2:]) for name in MARKETS]
    arguments = [core.portfolio, morpho["address"], keys]
    connector = devnet.deploy(devnet.key("deployer"), "MorphoBlueConnector", arguments)
    listings = [Listing(name, connector, key) for name, key in zip(MARKETS, keys, strict=True)]
    list_and_seal(devnet, core, listings)
    return Parts(core.vault, core.portfolio, core.quorum, core.asset, tuple((connector, key) for key in keys))
