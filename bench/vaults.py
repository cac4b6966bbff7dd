"""Vaults to measure on: the demo's, and vaults over Morpho Blue markets."""

import asyncio
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eth_hash.auto import keccak

from bench.stage import USDC, Parts, Stage
from keeper import engine
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take
from keeper.config import parse
from keeper.contracts import encode_call
from keeper.planning.policy import Policy
from keeper.simulation.deploy import encoded
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import (
    CAP,
    Core,
    Deployment,
    Listing,
    deploy_core,
    deploy_vault,
    lending_terms,
    list_and_seal,
)
from keeper.units import WAD, Address

MARKETS = ("WETH/USDC", "wstETH/USDC")
ORIGINAL = "wstETH/USDC"
HOLDERS = 2
SUPPLIED, BORROWED, PLEDGED = 1_000_000 * USDC, 900_000 * USDC, 600 * WAD
_PARAM_NAMES = ("loan_token", "collateral_token", "oracle", "irm", "lltv")
_PARAMS = "(address,address,address,address,uint256)"


@contextmanager
def demo_vault() -> Iterator[tuple[Stage, Deployment]]:
    """The demo's vault on a chain of its own, with users in it and funds spread over its three positions."""
    with Devnet() as devnet:
        deployment = deploy_vault(devnet)
        stage = Stage(devnet, parts_of(deployment))
        stage.populate()
        yield stage, deployment


def snapshot(stage: Stage, policy: Policy) -> Snapshot:
    """What a keeper reads at the head."""
    chain_id, now = stage.devnet.chain_id, stage.now()

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
    connector = _seal_over(devnet, core, keys)
    return Parts(core.vault, core.portfolio, core.quorum, core.asset, tuple((connector, key) for key in keys))


def wide_vault(devnet: Devnet, count: int) -> tuple[Stage, Policy]:
    """A vault over so many equal Morpho Blue markets, with users in it and a sixth of its funds idle; and
    the demo's policy for it."""
    demo = tomllib.loads(deploy_vault(devnet).policy_toml)
    # Nothing here needs a price, and the registry knows no oracle.
    del demo["oracle"]
    markets = equal_markets(devnet, count)
    core = deploy_core(devnet)
    connector = _seal_over(devnet, core, list(markets))
    morpho = devnet.manifest["morpho"]["address"]
    venues = {_venue(key): dict(zip(_PARAM_NAMES, params, strict=True)) for key, params in markets.items()}
    changes = {
        "vault": {**demo["vault"], **vars(core)},
        "limits": {**demo["limits"], "max_calls": 2 * count, "max_gas": 1_000_000 * count},
        "caps": dict.fromkeys(venues, CAP),
        "positions": [
            {
                "venue": venue,
                "connector": "morpho_blue",
                "address": connector,
                "key": f"0x{key.hex()}",
                "risk_ids": [venue],
                "params": {"morpho": morpho, "market": params},
            }
            for key, (venue, params) in zip(markets, venues.items(), strict=True)
        ],
    }
    positions = tuple((connector, key) for key in markets)
    stage = Stage(devnet, Parts(core.vault, core.portfolio, core.quorum, core.asset, positions))
    stage.populate(HOLDERS)
    return stage, parse({**demo, **changes}, Policy)


def _seal_over(devnet: Devnet, core: Core, keys: Sequence[bytes]) -> Address:
    """Allow-lists the markets for a connector of their own, and ends the set-up."""
    arguments = [core.portfolio, devnet.manifest["morpho"]["address"], lending_terms(keys)]
    connector = devnet.deploy(devnet.key("deployer"), "MorphoBlueConnector", arguments)
    list_and_seal(devnet, core, [Listing(_venue(key), connector, key) for key in keys])
    return connector


def _venue(key: bytes) -> str:
    return f"morpho:{key.hex()}"


def equal_markets(devnet: Devnet, count: int) -> dict[bytes, tuple[Any, ...]]:
    """Parameters, by id, of new Morpho Blue markets of USDC against wstETH that differ in nothing but their
    LLTV, by a hundredth of a basis point each, with 90 % of their supply borrowed."""
    morpho = devnet.manifest["morpho"]
    original = morpho["markets"][ORIGINAL]
    fixed = tuple(original[name] for name in _PARAM_NAMES[:-1])
    lender, borrower = devnet.address("lender"), devnet.address("borrower")

    def send(role: str, signature: str, *args: Any) -> None:
        devnet.send(devnet.key(role), morpho["address"], encode_call(signature, *args), errors=["Morpho"])

    markets = {}
    for number in range(count):
        params = (*fixed, original["lltv"] + (number + 1) * WAD // 10**6)
        send("deployer", "enableLltv(uint256)", params[-1])
        send("deployer", f"createMarket({_PARAMS})", params)
        send("lender", f"supply({_PARAMS},uint256,uint256,address,bytes)", params, SUPPLIED, 0, lender, b"")
        pledge = f"supplyCollateral({_PARAMS},uint256,address,bytes)"
        send("borrower", pledge, params, PLEDGED, borrower, b"")
        borrow = f"borrow({_PARAMS},uint256,uint256,address,address)"
        send("borrower", borrow, params, BORROWED, 0, borrower, borrower)
        markets[keccak(encoded(_PARAMS[1:-1], *params))] = params
    return markets
