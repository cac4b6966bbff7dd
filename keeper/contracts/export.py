"""Copies what Python needs of the build into the package: `python -m keeper.contracts.export [--root DIR]`.

From `out/` come all contracts whose source is in `contracts/`, the protocol contracts listed below and the
libraries these link with; from `node_modules` the listed contracts that their authors publish compiled.
Tests and the interfaces of others stay out.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from keeper.contracts.artifact import ARTIFACTS
from keeper.errors import ConfigError, KeeperError

PROFILES: Final = ("omnikeeper", "aave", "morpho")

PROTOCOL_CONTRACTS: Final = frozenset(
    {
        "ACLManager",
        "ATokenInstance",
        "AaveOracle",
        "AaveProtocolDataProvider",
        "DefaultReserveInterestRateStrategyV2",
        "EmissionManager",
        "InitializableImmutableAdminUpgradeabilityProxy",
        "Morpho",
        "PoolAddressesProvider",
        "PoolAddressesProviderRegistry",
        "PoolConfiguratorInstance",
        "PoolInstance",
        "PullRewardsTransferStrategy",
        "RewardsController",
        "VariableDebtTokenInstance",
        "WETH9",
    }
)

_V3_CORE: Final = "@uniswap/v3-core/artifacts/contracts"
_V3_PERIPHERY: Final = "@uniswap/v3-periphery/artifacts/contracts"
_SAFE: Final = "@safe-global/safe-smart-account/build/artifacts/contracts"

PUBLISHED: Final = (
    f"{_V3_CORE}/UniswapV3Factory.sol/UniswapV3Factory.json",
    f"{_V3_CORE}/UniswapV3Pool.sol/UniswapV3Pool.json",
    f"{_V3_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json",
    f"{_V3_PERIPHERY}/NonfungibleTokenPositionDescriptor.sol/NonfungibleTokenPositionDescriptor.json",
    f"{_V3_PERIPHERY}/SwapRouter.sol/SwapRouter.json",
    f"{_V3_PERIPHERY}/libraries/NFTDescriptor.sol/NFTDescriptor.json",
    f"{_V3_PERIPHERY}/lens/Quoter.sol/Quoter.json",
    f"{_V3_PERIPHERY}/lens/QuoterV2.sol/QuoterV2.json",
    f"{_V3_PERIPHERY}/lens/TickLens.sol/TickLens.json",
    f"{_SAFE}/Safe.sol/Safe.json",
    f"{_SAFE}/SafeL2.sol/SafeL2.json",
    f"{_SAFE}/handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json",
    f"{_SAFE}/libraries/MultiSend.sol/MultiSend.json",
    f"{_SAFE}/libraries/MultiSendCallOnly.sol/MultiSendCallOnly.json",
    f"{_SAFE}/libraries/SignMessageLib.sol/SignMessageLib.json",
    f"{_SAFE}/proxies/SafeProxy.sol/SafeProxy.json",
    f"{_SAFE}/proxies/SafeProxyFactory.sol/SafeProxyFactory.json",
)

Record = dict[str, Any]


def _record(raw: Mapping[str, Any]) -> Record:
    """Forge nests code and link references, Hardhat does not; the record is the same for both."""
    code, deployed = raw["bytecode"], raw["deployedBytecode"]
    nested = isinstance(code, dict)
    return {
        "abi": raw["abi"],
        "bytecode": code["object"] if nested else code,
        "deployedBytecode": deployed["object"] if nested else deployed,
        "linkReferences": code.get("linkReferences", {}) if nested else raw.get("linkReferences", {}),
    }


def _built(folder: Path) -> Iterator[tuple[str, str, Record]]:
    """(contract, source path, record) of one Forge profile."""
    for file in sorted(folder.glob("*.sol/*.json")):
        raw = json.loads(file.read_text())
        for source, name in raw.get("metadata", {}).get("settings", {}).get("compilationTarget", {}).items():
            yield name, source, _record(raw)


def _is_ours(source: str) -> bool:
    return source.startswith("contracts/") and not source.startswith("contracts/test/")


def _from_profile(folder: Path) -> dict[str, Record]:
    built = list(_built(folder))
    chosen = {name: r for name, source, r in built if _is_ours(source) or name in PROTOCOL_CONTRACTS}
    linked = {
        name
        for record in chosen.values()
        for libraries in record["linkReferences"].values()
        for name in libraries
    }
    return chosen | {name: record for name, _, record in built if name in linked}


def collect(root: Path) -> dict[str, Record]:
    """Everything to export from the repository at `root`, by contract name.

    Raises ConfigError when nothing of ours is built, or two different contracts have one name.
    """
    found: dict[str, Record] = {}
    sources = [_from_profile(root / "out" / profile) for profile in PROFILES]
    if not sources[0]:
        raise ConfigError("No built contracts", where=root / "out" / PROFILES[0], hint="Run make build")
    published = [root / "node_modules" / path for path in PUBLISHED]
    sources.append({p.stem: _record(json.loads(p.read_text())) for p in published if p.exists()})
    for source in sources:
        for name, record in source.items():
            if found.setdefault(name, record) != record:
                raise ConfigError("Two different contracts have one name", seen=name)
    return found


def export(root: Path, target: Path = ARTIFACTS) -> tuple[str, ...]:
    """Writes the artifacts to `target`, removes those that are no longer built, and returns the names.

    A file whose content stays the same is not written again, so that caches by time stay valid.
    """
    records = collect(root)
    target.mkdir(parents=True, exist_ok=True)
    for file in target.glob("*.json"):
        if file.stem not in records:
            file.unlink()
    for name, record in records.items():
        text = json.dumps(record, separators=(",", ":"), sort_keys=True)
        file = target / f"{name}.json"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
    return tuple(sorted(records))


def main() -> None:
    parser = ArgumentParser(prog="python -m keeper.contracts.export", description="Copy built contracts.")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository")
    try:
        names = export(parser.parse_args().root)
    except KeeperError as error:
        parser.exit(error.exit_code, f"{error}\n")
    parser.exit(0, f"Exported {len(names)} contracts\n")


if __name__ == "__main__":
    main()
