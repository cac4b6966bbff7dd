"""Static analysis of `contracts/src`: every finding of slither is fixed, or explained in one line.

`docs/security/slither.toml` has the explanations, by detector and function. A finding without one fails, and
so does an explanation without a finding. A function slither could not read counts as a finding, `unread`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SOURCES = "contracts/src"
EXPLANATIONS = Path("docs/security/slither.toml")
SLITHER = Path(".venv-slither/bin/slither")
"""Its own environment: slither and the keeper need different versions of web3."""
OUT = Path("out/slither")
CACHE = Path("cache/slither")
BUILD_INFO = OUT / "build-info"
REPORT = OUT / "findings.json"

UNREAD = re.compile(r"Impossible to generate IR for (?:top level function )?([\w.]+)")


class Finding(NamedTuple):
    """Where a detector found something: `Contract.function`, or `Contract.variable`."""

    detector: str
    place: str


class Seen(NamedTuple):
    """A finding and slither's own words for it."""

    finding: Finding
    text: str


def main(root: Path = ROOT) -> int:
    """0 when findings and explanations are one to one."""
    build(root)
    seen = analyse(root)
    explained = load(root / EXPLANATIONS)
    problems = [*compare(seen, explained)]
    for problem in problems:
        sys.stderr.write(problem + "\n")
    sys.stdout.write(f"slither: {len({each.finding for each in seen})} findings, {len(problems)} to answer\n")
    return 1 if problems else 0


def build(root: Path) -> None:
    """Compiles the sources alone, as our own shim has it, into a folder that nothing else reads.

    From nothing: slither takes every build it finds for a part of the whole.
    """
    for folder in (OUT, CACHE):
        shutil.rmtree(root / folder, ignore_errors=True)
    _run(["forge", "build", "--build-info", "--quiet", SOURCES], root)


def analyse(root: Path) -> list[Seen]:
    """All that slither finds in what has been built. Ends the program when it cannot tell."""
    done = _run(
        [
            str(SLITHER),
            ".",
            "--foundry-ignore-compile",
            *("--foundry-build-info-directory", str(BUILD_INFO)),
            *("--filter-paths", "node_modules"),
            *("--json", str(REPORT)),
            "--no-fail-pedantic",
        ],
        root,
    )
    report = json.loads((root / REPORT).read_text())
    if not report["success"]:
        raise SystemExit(f"slither: {report['error']}")
    unreadable = [Seen(Finding("unread", place), line) for place, line in unread(done.stdout + done.stderr)]
    return [*(found(each) for each in report["results"].get("detectors", [])), *unreadable]


def found(result: dict[str, Any]) -> Seen:
    """One result as slither's report has it."""
    element = result["elements"][0]
    names = []
    while element:
        if element["type"] in ("contract", "function", "variable"):
            names.append(element["name"])
        element = element.get("type_specific_fields", {}).get("parent")
    return Seen(Finding(result["check"], ".".join(reversed(names))), result["description"].strip())


def unread(log: str) -> Iterator[tuple[str, str]]:
    """Functions that slither's log says it could not read, and that in our words."""
    for match in UNREAD.finditer(log):
        yield match[1], f"slither cannot read {match[1]}, so its detectors have not looked at it"


def load(path: Path) -> list[Finding]:
    """What is explained. Raises KeyError for an entry that lacks a field, ValueError for a `why` that is not
    one line."""
    explained = []
    for entry in tomllib.loads(path.read_text())["finding"]:
        why = entry["why"]
        if not why.strip() or "\n" in why:
            raise ValueError(f"{path}: {entry['detector']} {entry['places']} needs one line that says why")
        explained += [Finding(entry["detector"], place) for place in entry["places"]]
    return explained


def compare(seen: Iterable[Seen], explained: Sequence[Finding]) -> Iterator[str]:
    """What is wrong: findings not explained, explanations of nothing, explanations given twice."""
    texts: dict[Finding, list[str]] = {}
    for finding, text in seen:
        texts.setdefault(finding, []).append(text)
    for finding in sorted(texts.keys() - set(explained)):
        head = f"{finding.detector} in {finding.place} is not explained in {EXPLANATIONS}:"
        yield "\n".join([head, *texts[finding]]).replace("\n", "\n  ")
    for finding in sorted(set(explained)):
        if finding not in texts:
            yield f"{EXPLANATIONS}: {finding.detector} in {finding.place} is found no more, it has to go"
        if explained.count(finding) > 1:
            yield f"{EXPLANATIONS}: {finding.detector} in {finding.place} is explained twice"


def _run(command: Sequence[str], root: Path) -> subprocess.CompletedProcess[str]:
    """Runs with our Forge ahead of any other: slither asks it for the project's settings."""
    forge = next(root.glob("node_modules/@foundry-rs/forge-*-*/bin"))
    environment = {
        **os.environ,
        "PATH": f"{forge}{os.pathsep}{os.environ['PATH']}",
        "FOUNDRY_PROFILE": "unoptimised",
        "FOUNDRY_OUT": str(OUT),
        "FOUNDRY_CACHE_PATH": str(CACHE),
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


if __name__ == "__main__":
    raise SystemExit(main())
