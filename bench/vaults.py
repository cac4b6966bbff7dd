"""Vaults to measure on: the demo's, and one whose two positions are both Morpho Blue markets."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eth_hash.auto import keccak

from bench.stage import USDC, Parts, Stage
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take
from keeper.contracts import encode_call
from keeper.simulation.deploy import encoded
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import (
    Deployment,
    Listing,
    deploy_core,
    deploy_vault,
    lending_terms,
    list_and_seal,
)
from keeper.units import WAD

MARKETS = ("WETH/USDC", "wstETH/USDC")
ORIGINAL = "wstETH/USDC"
SUPPLIED, BORROWED, PLEDGED = 1_000_000 * USDC, 900_000 * USDC, 600 * WAD
_PARAMS = "(address,address,address,address,uint256)"


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
    markets = devnet.manifest["morpho"]["markets"]
    return parts_over(devnet, [bytes.fromhex(markets[name]["id"][2:]) for name in MARKETS])


def parts_over(devnet: Devnet, keys: Sequence[bytes]) -> Parts:
    """A sealed vault over Morpho Blue markets, each under a cap of its own."""
    core = deploy_core(devnet)
    arguments = [core.portfolio, devnet.manifest["morpho"]["address"], lending_terms(keys)]
    connector = devnet.deploy(devnet.key("deployer"), "MorphoBlueConnector", arguments)
    list_and_seal(devnet, core, [Listing(f"morpho:{key.hex()}", connector, key) for key in keys])
    return Parts(core.vault, core.portfolio, core.quorum, core.asset, tuple((connector, key) for key in keys))


def equal_markets(devnet: Devnet, count: int) -> list[bytes]:
    """Ids of new Morpho Blue markets of USDC against wstETH that differ in nothing but their LLTV, by a
    hundredth of a basis point each, with 90 % of their supply borrowed."""
    morpho = devnet.manifest["morpho"]
    original = morpho["markets"][ORIGINAL]
    fixed = tuple(original[name] for name in ("loan_token", "collateral_token", "oracle", "irm"))
    lender, borrower = devnet.address("lender"), devnet.address("borrower")

    def send(role: str, signature: str, *args: Any) -> None:
        devnet.send(devnet.key(role), morpho["address"], encode_call(signature, *args), errors=["Morpho"])

    ids = []
    for number in range(count):
        params = (*fixed, original["lltv"] + (number + 1) * WAD // 10**6)
        send("deployer", "enableLltv(uint256)", params[-1])
        send("deployer", f"createMarket({_PARAMS})", params)
        send("lender", f"supply({_PARAMS},uint256,uint256,address,bytes)", params, SUPPLIED, 0, lender, b"")
        pledge = f"supplyCollateral({_PARAMS},uint256,address,bytes)"
        send("borrower", pledge, params, PLEDGED, borrower, b"")
        borrow = f"borrow({_PARAMS},uint256,uint256,address,address)"
        send("borrower", borrow, params, BORROWED, 0, borrower, borrower)
        ids.append(keccak(encoded(_PARAMS[1:-1], *params)))
    return ids
