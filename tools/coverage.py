"""What of `contracts/src` the Forge tests reach, by file: fails when a part of it is below the marks.

Prints every line and branch that no test reaches. Forge counts both sides of a `require`, so each refusal
needs a test that meets it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = Path("contracts/src")
OTHERS = "^contracts/(test|devnet)/"
REPORT = Path("cache/coverage.lcov")
LINES = 98
BRANCHES = 95
"""Per cent of every part that tests have to reach."""

SETTINGS = {
    # Tests that aim at a line, not luck, are to reach it.
    "FOUNDRY_FUZZ_RUNS": "16",
    "FOUNDRY_INVARIANT_RUNS": "4",
    "FOUNDRY_OUT": "out/coverage",
    "FOUNDRY_CACHE_PATH": "cache/coverage",
}
BOUNDS_OF_OPTIMISED_CODE = "within_its_gas"
"""Tests so named are left out: coverage is measured without the optimiser."""

Branch = tuple[int, int, int]
"""Line, number of the condition in the file, side of it."""

RECORD = re.compile(r"^(SF|DA|BRDA):(.+)$", re.MULTILINE)


@dataclass
class File:
    """How often each line and each branch of a source has been taken."""

    path: Path
    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[Branch, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    reached: int
    total: int

    def at_least(self, percent: int) -> bool:
        return self.reached * 100 >= percent * self.total

    def __str__(self) -> str:
        tenths = self.reached * 1000 // self.total if self.total else 1000
        return f"{tenths // 10:3}.{tenths % 10} % {f'{self.reached}/{self.total}':>9}"


def main(root: Path = ROOT) -> int:
    """0 when every part reaches the marks."""
    measure(root)
    files = parse((root / REPORT).read_text())
    sources = {file.path: (root / file.path).read_text().splitlines() for file in files}
    for line in report(files, sources):
        sys.stdout.write(line + "\n")
    found = [*problems(files)]
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


def measure(root: Path) -> None:
    """Writes the report. Ends the program, with what Forge said, when a test fails."""
    forge = next(root.glob("node_modules/@foundry-rs/forge-*-*/bin/forge"))
    command = [str(forge), "coverage", "--report", "lcov", "--report-file", str(REPORT)]
    command += ["--no-match-coverage", OTHERS, "--no-match-test", BOUNDS_OF_OPTIMISED_CODE]
    done = subprocess.run(command, cwd=root, env={**os.environ, **SETTINGS}, capture_output=True, text=True)
    if done.returncode:
        failed = [line for line in done.stdout.splitlines() if line.startswith("[FAIL")]
        said = "\n".join(failed) or done.stdout + done.stderr
        raise SystemExit(f"forge coverage ended with code {done.returncode}\n{said[-4000:]}")


def parse(text: str) -> list[File]:
    """The files of an lcov report, by path. Raises ValueError when it is none."""
    files: dict[Path, File] = {}
    file: File | None = None
    for kind, value in RECORD.findall(text):
        if kind == "SF":
            file = files.setdefault(Path(value), File(Path(value)))
        elif file is None:
            raise ValueError(f"{kind}:{value} belongs to no file")
        elif kind == "DA":
            line, taken = (int(each) for each in value.split(",")[:2])
            file.lines[line] = file.lines.get(line, 0) + taken
        else:
            *place, times = value.split(",")
            line, condition, side = (int(each) for each in place)
            before = file.branches.get((line, condition, side), 0)
            file.branches[line, condition, side] = before + (0 if times == "-" else int(times))
    if not files:
        raise ValueError("the report names no file")
    return sorted(files.values(), key=lambda each: (part(each.path), each.path))


def part(path: Path) -> str:
    """`core`, or the folder that has a source of its own kind: connectors, lens, oracle."""
    folder = path.relative_to(SOURCES).parts[0]
    return folder if folder not in (path.name, "libraries", "interfaces") else "core"


def lines_of(files: Iterable[File]) -> Share:
    taken = [times for file in files for times in file.lines.values()]
    return Share(sum(times > 0 for times in taken), len(taken))


def branches_of(files: Iterable[File]) -> Share:
    taken = [times for file in files for times in file.branches.values()]
    return Share(sum(times > 0 for times in taken), len(taken))


def by_part(files: Iterable[File]) -> dict[str, list[File]]:
    return {name: list(group) for name, group in groupby(files, key=lambda file: part(file.path))}


def report(files: Iterable[File], sources: Mapping[Path, list[str]]) -> Iterator[str]:
    """A table by part and file, then what is not reached, with the line of the source."""
    parts = by_part(files)
    yield f"{'coverage':45}{'lines':>17}{'branches':>18}"
    for name, members in parts.items():
        yield f"{name:45}{lines_of(members)}  {branches_of(members)}"
        for file in members:
            yield f"  {file.path.relative_to(SOURCES)!s:43}{lines_of([file])}  {branches_of([file])}"
    for file in (file for members in parts.values() for file in members):
        for number in sorted(line for line, times in file.lines.items() if not times):
            yield f"{file.path}:{number}: not reached: {sources[file.path][number - 1].strip()}"
        for number, _, side in sorted(branch for branch, times in file.branches.items() if not times):
            yield f"{file.path}:{number}: side {side} not taken: {sources[file.path][number - 1].strip()}"


def problems(files: Iterable[File]) -> Iterator[str]:
    """The parts that are below the marks."""
    for name, members in by_part(files).items():
        if not lines_of(members).at_least(LINES):
            yield f"coverage: {name} is below {LINES} % of lines: {lines_of(members)}"
        if not branches_of(members).at_least(BRANCHES):
            yield f"coverage: {name} is below {BRANCHES} % of branches: {branches_of(members)}"


if __name__ == "__main__":
    raise SystemExit(main())
