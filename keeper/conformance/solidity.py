"""Compiles the Solidity that a connector's package brings, against the sources that this package ships."""

import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

from keeper.contracts import Artifact
from keeper.contracts.export import SOLIDITY, with_imports
from keeper.errors import ConfigError
from keeper.simulation.anvil import ROOT

VERSION: Final = "0.8.30"
_SECONDS: Final = 300
_SETTINGS: Final = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 200},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode", "evm.deployedBytecode.object"]}},
}
"""As our own contracts are built (`foundry.toml`)."""

_CACHE: Final = ROOT / ".devnet" / "solidity"


def compiler() -> Path:
    """A compiler of the version our contracts are built with.

    The one that SOLC_0_8_30 names, that py-solc-x or Forge has installed, or that is on the PATH; else the
    npm build of the source tree. Raises ConfigError when there is none.
    """
    home = Path.home()
    native = [
        Path(os.environ.get("SOLC_" + VERSION.replace(".", "_"), "")),
        Path(os.environ.get("SOLCX_BINARY_PATH", home / ".solcx")) / f"solc-v{VERSION}",
        home / ".svm" / VERSION / f"solc-{VERSION}",
        home / ".local" / "share" / "svm" / VERSION / f"solc-{VERSION}",
        Path(shutil.which("solc") or ""),
    ]
    for path in [*native, ROOT / "tools" / f"solc-{VERSION}"]:
        if path.is_file() and _version_of(path) == VERSION:
            return path
    raise ConfigError(
        "No Solidity compiler",
        expected=f"solc {VERSION}",
        hint=f'Install it: pip install py-solc-x; python -c "import solcx; solcx.install_solc({VERSION!r})"',
    )


def _version_of(path: Path) -> str:
    # Found by name in the places where its installers put it.
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_SECONDS)
    return done.stdout.partition("Version: ")[2].partition("+")[0]


def compiled(folder: Path, name: str) -> Artifact:
    """The contract `name` of the Solidity sources under `folder`; `path:name` where several have that name.

    They import ours as `omnikeeper/…` and OpenZeppelin's as `@openzeppelin/…`. Raises ConfigError with the
    compiler's own words when they do not compile, and when no source has such a contract.
    """
    found = _contracts(folder).get(name)
    if found is None:
        raise ConfigError("No such contract in these sources", expected=name, where=folder)
    return found


@cache
def _contracts(folder: Path) -> dict[str, Artifact]:
    own = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.sol"))]
    if not own:
        raise ConfigError("No Solidity sources", where=folder)
    if not SOLIDITY.is_dir():
        raise ConfigError("The sources to compile against are missing", where=SOLIDITY, hint="Run make build")
    shipped = ("omnikeeper/", "@openzeppelin/")
    answer = _compile(
        with_imports(own, lambda unit: (SOLIDITY if unit.startswith(shipped) else folder) / unit)
    )
    found = {}
    for unit in own:
        for name, contract in answer["contracts"].get(unit, {}).items():
            found[name] = found[f"{unit}:{name}"] = _artifact(name, contract)
    return found


def _compile(sources: dict[str, str]) -> dict[str, Any]:
    request = json.dumps(
        {
            "language": "Solidity",
            "sources": {unit: {"content": text} for unit, text in sorted(sources.items())},
            "settings": _SETTINGS,
        }
    )
    kept = _CACHE / f"{hashlib.sha256(f'{VERSION}:{request}'.encode()).hexdigest()}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    done = subprocess.run(
        [compiler(), "--standard-json"], input=request, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise ConfigError("The Solidity compiler failed", seen=done.stderr.strip()[-500:])
    answer: dict[str, Any] = json.loads(done.stdout)
    errors = [each for each in answer.get("errors", ()) if each["severity"] == "error"]
    if errors:
        raise ConfigError("The Solidity sources do not compile", seen=errors[0]["formattedMessage"].strip())
    _keep(kept, done.stdout)
    return answer


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(path)


def _artifact(name: str, contract: dict[str, Any]) -> Artifact:
    code = contract["evm"]["bytecode"]
    return Artifact(
        name=name,
        abi=tuple(contract["abi"]),
        bytecode="0x" + code["object"],
        deployed_bytecode="0x" + contract["evm"]["deployedBytecode"]["object"],
        link_references=code.get("linkReferences", {}),
    )
