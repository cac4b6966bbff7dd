"""Compiled contracts, as `python -m keeper.contracts.export` left them in the package."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from keeper.contracts import abi as codec
from keeper.errors import ConfigError
from keeper.units import Address

ARTIFACTS: Final = Path(__file__).parent / "artifacts"


@dataclass(frozen=True, eq=False)
class Artifact:
    """One compiled contract.

    `bytecode` (creation) and `deployed_bytecode` (runtime) are hex with 0x and, where a library is not
    linked yet, its placeholder. `link_references` maps file and library to the byte ranges of `bytecode`.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    deployed_bytecode: str
    link_references: Mapping[str, Mapping[str, list[Mapping[str, int]]]]

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries its bytecode must be linked with, sorted."""
        return tuple(sorted({name for names in self.link_references.values() for name in names}))

    def runtime(self) -> bytes:
        """Runtime code. Raises ConfigError when it is not linked or there is none."""
        return self._code(self.deployed_bytecode)

    def creation_code(self, *args: Any, libraries: Mapping[str, Address] | None = None) -> bytes:
        """Creation bytecode, linked, followed by the encoded constructor arguments.

        Raises ConfigError when a library is missing or an argument does not fit.
        """
        constructor = next((entry for entry in self.abi if entry["type"] == "constructor"), {"inputs": ()})
        types = [codec.type_of(parameter) for parameter in constructor["inputs"]]
        return self._code(self._linked(libraries or {})) + codec.encode(types, args)

    def _linked(self, libraries: Mapping[str, Address]) -> str:
        code = self.bytecode
        for names in self.link_references.values():
            for name, places in names.items():
                if name not in libraries:
                    raise ConfigError(f"{self.name} is not linked", expected=f"address of library {name}")
                for place in places:
                    start, end = 2 + 2 * place["start"], 2 + 2 * (place["start"] + place["length"])
                    code = code[:start] + libraries[name][2:].lower() + code[end:]
        return code

    def _code(self, text: str) -> bytes:
        digits = text.removeprefix("0x")
        if not digits or "_" in digits:
            what = "linked bytecode" if digits else "bytecode, not an interface or abstract contract"
            raise ConfigError(f"{self.name} cannot be used as code", expected=what)
        return bytes.fromhex(digits)


@cache
def artifact(name: str) -> Artifact:
    """The exported artifact of that contract name.

    Raises ConfigError when the build has not exported it.
    """
    try:
        raw = json.loads((ARTIFACTS / f"{name}.json").read_text())
    except FileNotFoundError as error:
        raise ConfigError(
            f"No artifact of contract {name}",
            hint="Run make build; contracts outside this repository also need a line in contracts/export.py",
        ) from error
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        bytecode=raw["bytecode"],
        deployed_bytecode=raw["deployedBytecode"],
        link_references=raw["linkReferences"],
    )
