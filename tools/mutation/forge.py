"""A copy of the project in which one contract at a time is faulty.

Tests deploy by artifact (`dynamic_test_linking`), so a mutant costs one call of the compiler for the
contracts it touches: their code is put into Forge's artifacts, and nothing else is compiled again.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mutation.compiler import Codes, Configuration

STAGE_SECONDS = 600
"""A mutant that keeps the tests going for so long has changed what they see."""
NAME = re.compile(r"\]\s(\w+)\(")
FAILURE = re.compile(r"^Encountered \d+ failing tests? in (\S+):\w+\n(\[FAIL.*)", re.MULTILINE)
PIECES = 8
PIECE = 32
"""Hexadecimal digits: what another contract has the same of, it does not have in all of these places."""
STATE = ".devnet"
"""What `make devnet` builds, and some tests load."""


def pieces(code: str) -> list[str]:
    """Some of a contract's code, from its middle on, but for what is linked. None of one that is too short to
    be told from others."""
    step = len(code) // 2 // PIECES
    if step < PIECE:
        return []
    found = [code[at : at + PIECE] for at in range(len(code) // 2, len(code) - PIECE, step)]
    return [piece for piece in found if "_" not in piece]


class ForgeError(Exception):
    """Forge failed without a failing test: this says nothing about a mutant."""


class Tree:
    """A scratch copy of a project with its artifacts. Nothing outside of `folder` is written."""

    def __init__(
        self, forge: str, root: Path, folder: Path, configuration: Configuration, linked: bool = True
    ) -> None:
        """Copies the sources. `linked` tests deploy by artifact, others hold the code they deploy. Raises
        OSError."""
        self.folder = folder
        self._linked = linked
        self._forge = forge
        self._configuration = configuration
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "foundry.toml", folder / "foundry.toml")
        parts = [configuration.source, configuration.test, configuration.script]
        if not Path(configuration.solc).is_absolute():
            parts.append(str(Path(configuration.solc).parent))
        for part in dict.fromkeys(parts):
            if (root / part).is_dir():
                shutil.rmtree(folder / part, ignore_errors=True)
                shutil.copytree(root / part, folder / part, symlinks=True)
        for part in (*configuration.libraries, STATE):
            link = folder / part
            link.unlink(missing_ok=True)
            if (root / part).exists():
                link.symlink_to((root / part).resolve(), target_is_directory=True)

        answers = folder.parent / "answers"
        recall = (sys.executable, Path(__file__).with_name("recall.py"), folder / configuration.solc, answers)
        self._solc = folder / "solc"
        self._solc.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, recall))} "$@"\n')
        self._solc.chmod(0o755)

    def build(self) -> None:
        """Compiles everything, tests included. Raises ForgeError."""
        done = self._run(["build"], {})
        if done.returncode:
            raise ForgeError(done.stdout + done.stderr)

    def share(self, other: "Tree") -> None:
        """Gives another copy of the same sources this one's artifacts."""
        for part in ("cache", Path(self._configuration.output).parts[0]):
            shutil.rmtree(other.folder / part, ignore_errors=True)
            shutil.copytree(self.folder / part, other.folder / part)

    def install(self, codes: Codes) -> None:
        """Puts bytecode into Forge's artifacts. Raises KeyError when one is not Forge's."""
        for (file, name), code in codes.items():
            path = self.folder / self._configuration.output / Path(file).name / f"{name}.json"
            artifact = json.loads(path.read_text())
            for part in ("bytecode", "deployedBytecode"):
                artifact[part].update(code[part])
                text = code[part]["object"]
                artifact[part]["object"] = f"0x{text}"
            path.write_text(json.dumps(artifact))

    def holders(self, codes: Codes) -> list[str]:
        """The test files that hold a source's code although tests deploy by artifact: Forge leaves some
        constructions as they are. What is installed does not reach them."""
        source = Path(self._configuration.source)
        texts = [
            code["deployedBytecode"]["object"]
            for (file, _), code in codes.items()
            if source in Path(file).parents
        ]
        wanted = [found for found in map(pieces, texts) if found]
        tests = self.folder / self._configuration.test
        return [
            path.relative_to(self.folder).as_posix()
            for path in sorted(tests.rglob("*.sol"))
            if any(all(piece in held for piece in each) for held in self._held(path) for each in wanted)
        ]

    def _held(self, path: Path) -> list[str]:
        artifacts = (self.folder / self._configuration.output / path.name).glob("*.json")
        return [json.loads(each.read_text())["bytecode"]["object"] for each in sorted(artifacts)]

    def failure_with(
        self, file: str, text: str, tests: Sequence[str], environment: Mapping[str, str]
    ) -> str | None:
        """As `failure`, with another text for a source, which Forge compiles."""
        path = self.folder / file
        original = path.read_bytes()
        path.write_text(text)
        try:
            return self.failure(tests, environment)
        finally:
            path.write_bytes(original)

    def failure(self, tests: Sequence[str], environment: Mapping[str, str]) -> str | None:
        """The first test that fails as file:name, or None. `tests` are Forge's filters. Raises ForgeError."""
        # What failed for another mutant would be tried again for this one.
        for part in ("fuzz", "invariant", "test-failures"):
            for found in (self.folder / "cache").rglob(part):
                if found.is_dir():
                    shutil.rmtree(found)
                else:
                    found.unlink()
        try:
            done = self._run(["test", "--fail-fast", *tests], environment)
        except subprocess.TimeoutExpired:
            return f"no end after {STAGE_SECONDS} s"
        if done.returncode == 0:
            return None
        failed = FAILURE.search(done.stdout)
        if failed is None:
            raise ForgeError(done.stdout + done.stderr)
        names = NAME.findall(failed[2])
        return f"{failed[1]}:{names[-1] if names else failed[2]}"

    def _run(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FOUNDRY_")}
        return subprocess.run(
            [self._forge, *arguments, "--root", str(self.folder)],
            cwd=self.folder,
            env={
                **clean,
                "FOUNDRY_DYNAMIC_TEST_LINKING": str(self._linked).lower(),
                "FOUNDRY_SOLC": str(self._solc),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=STAGE_SECONDS,
        )
