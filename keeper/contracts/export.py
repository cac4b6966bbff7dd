"""Copies what Python needs of the build into the package: `python -m keeper.contracts.export [--root DIR]`.

From `out/` come all contracts whose source is in `contracts/`, the protocol contracts listed below and the
libraries these link with; from `node_modules` the listed contracts that their authors publish compiled.
Tests and the interfaces of others stay out.

The sources that a connector inherits from, and what they import, are copied as well: a connector in another
package is compiled against them.
"""

import json
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from keeper.contracts.artifact import ARTIFACTS
from keeper.errors import ConfigError, KeeperError

SOLIDITY: Final = ARTIFACTS.parent / "solidity"
"""Sources for connectors in other packages, by import path: `omnikeeper/` is `contracts/src/`."""

_SOURCE_ROOTS: Final = {"omnikeeper/": "contracts/src/", "@openzeppelin/": "node_modules/@openzeppelin/"}
_FIRST_SOURCES: Final = ("connectors", "interfaces")
_IMPORT: Final = re.compile(r'^import\s[^"]*"([^"]+)";', re.MULTILINE)

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


def sources(root: Path) -> dict[str, str]:
    """Text by import path: our connectors and interfaces, and whatever these import.

    Raises ConfigError when an import leads to no file of a package that is shipped.
    """
    ours = root / _SOURCE_ROOTS["omnikeeper/"]
    first = (path for folder in _FIRST_SOURCES for path in (ours / folder).glob("*.sol"))

    def file_of(unit: str) -> Path:
        for prefix, folder in _SOURCE_ROOTS.items():
            if unit.startswith(prefix):
                return root / folder / unit.removeprefix(prefix)
        return root / unit

    return with_imports((f"omnikeeper/{path.relative_to(ours)}" for path in sorted(first)), file_of)


def with_imports(first: Iterable[str], file_of: Callable[[str], Path]) -> dict[str, str]:
    """Text by import path of these sources and whatever they import, each read from `file_of` its path.

    Raises ConfigError when an import leads to no file.
    """
    waiting = list(first)
    found: dict[str, str] = {}
    while waiting:
        unit = waiting.pop()
        if unit in found:
            continue
        path = file_of(unit)
        if not path.is_file():
            raise ConfigError("A Solidity import leads nowhere", seen=unit)
        found[unit] = path.read_text()
        waiting += [_resolved(unit, named) for named in _IMPORT.findall(found[unit])]
    return found


def _resolved(unit: str, named: str) -> str:
    """The import path that `named` in the source `unit` means."""
    if not named.startswith("."):
        return named
    parts = unit.split("/")[:-1]
    for part in named.split("/"):
        parts = parts[:-1] if part == ".." else parts if part == "." else [*parts, part]
    return "/".join(parts)


def export_sources(root: Path, target: Path = SOLIDITY) -> None:
    """Writes those sources to `target` and removes others. One that stays the same is not written again."""
    wanted = {target / unit: text for unit, text in sources(root).items()}
    for file in target.rglob("*.sol"):
        if file not in wanted:
            file.unlink()
    for file, text in wanted.items():
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def main() -> None:
    parser = ArgumentParser(prog="python -m keeper.contracts.export", description="Copy built contracts.")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository")
    try:
        root = parser.parse_args().root
        names = export(root)
        export_sources(root)
    except KeeperError as error:
        parser.exit(error.exit_code, f"{error}\n")
    parser.exit(0, f"Exported {len(names)} contracts\n")


if __name__ == "__main__":
    main()
