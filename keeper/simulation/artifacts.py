"""Compiled contracts a local chain is made of: our build, and the builds that come with npm packages."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from keeper.contracts import Artifact
from keeper.errors import ConfigError
from keeper.simulation.anvil import ROOT

_OUT: Final = ("omnikeeper", "aave", "morpho")
_UNISWAP: Final = "node_modules/@uniswap"
_PERIPHERY: Final = f"{_UNISWAP}/v3-periphery/artifacts/contracts"
_SAFE: Final = "node_modules/@safe-global/safe-smart-account/build/artifacts/contracts"

PUBLISHED: Final = {
    "UniswapV3Factory": f"{_UNISWAP}/v3-core/artifacts/contracts/UniswapV3Factory.sol",
    "UniswapV3Pool": f"{_UNISWAP}/v3-core/artifacts/contracts/UniswapV3Pool.sol",
    "SwapRouter": f"{_PERIPHERY}/SwapRouter.sol",
    "NonfungiblePositionManager": f"{_PERIPHERY}/NonfungiblePositionManager.sol",
    "NonfungibleTokenPositionDescriptor": (f"{_PERIPHERY}/NonfungibleTokenPositionDescriptor.sol"),
    "NFTDescriptor": f"{_PERIPHERY}/libraries/NFTDescriptor.sol",
    "QuoterV2": f"{_PERIPHERY}/lens/QuoterV2.sol",
    "Safe": f"{_SAFE}/Safe.sol",
    "SafeL2": f"{_SAFE}/SafeL2.sol",
    "SafeProxyFactory": f"{_SAFE}/proxies/SafeProxyFactory.sol",
    "MultiSend": f"{_SAFE}/libraries/MultiSend.sol",
    "MultiSendCallOnly": f"{_SAFE}/libraries/MultiSendCallOnly.sol",
    "CompatibilityFallbackHandler": f"{_SAFE}/handler/CompatibilityFallbackHandler.sol",
}
"""Contracts used as their authors compiled them."""


def _path(name: str) -> Path:
    if name in PUBLISHED:
        return ROOT / PUBLISHED[name] / f"{name}.json"
    for out in _OUT:
        path = ROOT / "out" / out / f"{name}.sol" / f"{name}.json"
        if path.is_file():
            return path
    raise ConfigError(f"Contract {name} is not built", expected=f"out/*/{name}.sol", hint="Run make build")


@cache
def built(name: str) -> Artifact:
    """The artifact of a contract, from Forge's output or from an npm package.

    Raises ConfigError when it is not built or not installed.
    """
    path = _path(name)
    if not path.is_file():
        raise ConfigError(f"Contract {name} is not installed", hint="Run make setup")
    raw: dict[str, Any] = json.loads(path.read_text())
    nested = isinstance(raw["bytecode"], dict)
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        bytecode=raw["bytecode"]["object"] if nested else raw["bytecode"],
        deployed_bytecode=raw["deployedBytecode"]["object"] if nested else raw["deployedBytecode"],
        link_references=raw["bytecode"]["linkReferences"] if nested else raw["linkReferences"],
    )
