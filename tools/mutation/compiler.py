"""The project's Solidity compiler, called for a few files at a time, with sources changed in memory."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

IMPORT = re.compile(r"""^\s*import\s[^"';]*["']([^"']+)["']""", re.MULTILINE)
Codes = Mapping[tuple[str, str], Mapping[str, Any]]
"""By file and contract: `bytecode` and `deployedBytecode`, as the compiler gives them."""


class CompilationError(Exception):
    """Carries the compiler's first error."""


@dataclass(frozen=True)
class Configuration:
    """What Forge makes of foundry.toml. Folders are relative to the root."""

    solc: str
    source: str
    test: str
    script: str
    output: str
    libraries: tuple[str, ...]
    remappings: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, forge: str, root: Path) -> "Configuration":
        """Raises CalledProcessError when Forge refuses the file."""
        command = [forge, "config", "--json"]
        told = json.loads(
            subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
        )
        pairs = [each.partition("=")[::2] for each in told["remappings"]]
        return cls(
            solc=told["solc"],
            source=told["src"],
            test=told["test"],
            script=told["script"],
            output=told["out"],
            libraries=tuple(told["libs"]),
            # The longest prefix wins, as with the compiler.
            remappings=tuple(sorted(((a, b) for a, b in pairs), key=lambda pair: -len(pair[0]))),
            settings={
                "optimizer": {"enabled": told["optimizer"], "runs": told["optimizer_runs"]},
                "viaIR": told["via_ir"],
                "evmVersion": told["evm_version"],
                "metadata": {"bytecodeHash": told["bytecode_hash"], "appendCBOR": told["cbor_metadata"]},
                "remappings": list(told["remappings"]),
            },
        )


class Compiler:
    """Reads the sources of a tree once: they must not change meanwhile."""

    def __init__(self, root: Path, configuration: Configuration) -> None:
        self._root = root
        self._configuration = configuration
        self._solc = str(root / configuration.solc)
        self._texts: dict[str, str] = {}
        self._imports: dict[str, tuple[str, ...]] = {}

    def text(self, file: str) -> str:
        """A source as it is in the tree. Raises OSError when there is none."""
        if file not in self._texts:
            self._texts[file] = (self._root / file).read_text()
        return self._texts[file]

    def imports(self, file: str) -> tuple[str, ...]:
        """The files that a file names, relative to the root."""
        if file not in self._imports:
            self._imports[file] = tuple(self._resolve(file, name) for name in IMPORT.findall(self.text(file)))
        return self._imports[file]

    def closure(self, files: Sequence[str]) -> set[str]:
        """The files, and everything they import."""
        seen: set[str] = set()
        todo = list(files)
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo += self.imports(file)
        return seen

    def dependents(self, file: str) -> list[str]:
        """The files whose bytecode may change with a file's: all of the sources and scripts that import it,
        however indirectly, and the test files that hold its code (tests deploy the rest by artifact)."""
        name = Path(file).stem
        library = re.search(rf"^library\s+{name}\b", self.text(file), re.MULTILINE)
        holds = re.compile(
            rf"\b{name}\.|\busing\s+{name}\b" if library else rf"\bcontract\s+\w+\s+is\s[^{{]*\b{name}\b"
        )
        found = []
        for folder in (self._configuration.source, self._configuration.script, self._configuration.test):
            for path in sorted((self._root / folder).rglob("*.sol")):
                each = path.relative_to(self._root).as_posix()
                if each in found or file not in self.closure([each]):
                    continue
                if folder == self._configuration.test and not holds.search(self.text(each)):
                    continue
                found.append(each)
        return found

    def trees(self, files: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Syntax trees, by file."""
        answer = self._run(files, {"": ["ast"]}, {})
        return {file: answer["sources"][file]["ast"] for file in files}

    def codes(self, files: Sequence[str], changed: Mapping[str, str]) -> Codes:
        """Bytecode of every contract in `files`, with other texts for some. Raises CompilationError."""
        parts = [
            f"evm.{code}.{part}"
            for code in ("bytecode", "deployedBytecode")
            for part in ("object", "linkReferences")
        ]
        answer = self._run(files, {"*": [*parts, "evm.deployedBytecode.immutableReferences"]}, changed)
        return {
            (file, name): contract["evm"]
            for file, contracts in answer["contracts"].items()
            for name, contract in contracts.items()
        }

    def _run(
        self, files: Sequence[str], selection: Mapping[str, Sequence[str]], changed: Mapping[str, str]
    ) -> Mapping[str, Any]:
        request = {
            "language": "Solidity",
            "sources": {
                each: {"content": changed.get(each) or self.text(each)}
                for each in sorted(self.closure(files))
            },
            "settings": {
                **self._configuration.settings,
                "outputSelection": {file: selection for file in files},
            },
        }
        done = subprocess.run(
            [self._solc, "--standard-json"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=True,
            cwd=self._root,
        )
        answer: Mapping[str, Any] = json.loads(done.stdout)
        errors = [each for each in answer.get("errors", ()) if each["severity"] == "error"]
        if errors:
            raise CompilationError(errors[0]["formattedMessage"])
        return answer

    def _resolve(self, file: str, name: str) -> str:
        if name.startswith("."):
            return os.path.normpath(PurePosixPath(file).parent / name)
        for prefix, target in self._configuration.remappings:
            if name.startswith(prefix):
                return target + name[len(prefix) :]
        return name
