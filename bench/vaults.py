"""Vaults to measure on: the demo's, and one whose two positions are both Morpho Blue markets."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eth_hash.auto import keccak

from bench.stage import Parts, Stage
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take
from keeper.contracts import Contract
from keeper.simulation.deploy import created_address
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import (
    CAP,
    PARAMS,
    SIGNERS,
    THRESHOLD,
    TIMELOCK,
    Deployment,
    deploy_vault,
    risk_id,
)
from keeper.units import Address

MARKETS = ("WETH/USDC", "wstETH/USDC")
CONNECTOR_FUNCTIONS = (b"supply(bytes32,uint256)", b"withdraw(bytes32,uint256)")


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
    deployer, manifest = devnet.key("deployer"), devnet.manifest
    asset = Address(manifest["tokens"]["USDC"]["address"])
    registry = devnet.deploy(deployer, "Registry")
    sender = devnet.address("deployer")
    # The vault is the fourth contract from here, and the other three know it beforehand.
    nonce = int(devnet.rpc("eth_getTransactionCount", sender, "latest"), 16)
    vault = created_address(sender, nonce + 3)
    signers = sorted((devnet.address(role) for role in SIGNERS), key=lambda each: int(each, 16))
    quorum = devnet.deploy(deployer, "KeeperQuorum", [registry, vault, signers, THRESHOLD])
    escrow = devnet.deploy(deployer, "Escrow", [vault, asset])
    portfolio = devnet.deploy(deployer, "Portfolio", [vault, registry, asset, escrow])
    roles = [devnet.address("governor"), devnet.address("guardian"), quorum]
    params = (devnet.address("treasury"), *PARAMS)
    heads = [asset, "Two Morpho markets", "TWO", registry, portfolio, escrow]
    devnet.deploy(deployer, "Vault", [*heads, *roles, params])
    morpho = manifest["morpho"]
    keys = [bytes.fromhex(morpho["markets"][name]["id"][2:]) for name in MARKETS]
    connector = devnet.deploy(deployer, "MorphoBlueConnector", [portfolio, morpho["address"], keys])
    _permit(devnet, Contract(registry, "Registry"), vault, connector, keys)
    return Parts(vault, portfolio, quorum, asset, tuple((connector, key) for key in keys))


def _permit(
    devnet: Devnet, registry: Contract, vault: Address, connector: Address, keys: list[bytes]
) -> None:
    def govern(function: str, *args: Any) -> None:
        devnet.send(devnet.key("governor"), registry.address, registry.encode(function, *args))

    for name, key in zip(MARKETS, keys, strict=True):
        govern("listPosition", vault, connector, key, [risk_id(name)])
        govern("setCap", vault, risk_id(name), CAP)
    for function in CONNECTOR_FUNCTIONS:
        govern("setSelector", vault, connector, keccak(function)[:4], True)
    govern("seal", vault, TIMELOCK)
