"""Which test, or which mechanism, answers every known fault: makes `docs/security/audit-coverage.md`.

A test answers a fault, or a class of faults, by its name: `test_H_04_…`, `test_class_Q_…`. That is the
spelling to use; `H04` and lower case count too, and one name may carry several. With `--check` nothing is
written.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FAULTS = Path("docs/security/faults.toml")
REPORT = Path("docs/security/audit-coverage.md")
SOLIDITY_TESTS = Path("contracts/test")
PYTHON_TESTS = Path("tests")

NUMBERED = {"H": 23, "M": 63, "D": 20}
"""How many faults of each kind there are: none may be left out."""

FAULT_IN_NAME = re.compile(r"(?:^|_)([HMD])_?(\d\d)(?=_|$)", re.IGNORECASE)
CLASS_IN_NAME = re.compile(r"(?:^|_)class_([a-z])(?=_|$)", re.IGNORECASE)
SOLIDITY_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
SOLIDITY_TEST = re.compile(r"\bfunction\s+((?:test|invariant)\w*)\s*\(")


DOCUMENT = """\
# Known faults, and what answers each

Made by `tools/audit_coverage.py` from `faults.toml` and the names of the tests; do not edit.

H and M are the high and medium findings of a public audit of a comparable design, D what reading and running
that code has shown besides. Each has a test named after it, or a reason why it cannot arise here.

{faults} faults: **{tested} tested, {reasoned} cannot arise.**

| Id | Class | Fault | Answer |
|---|---|---|---|
{rows}

## By class

Tests named after a class hold for its faults in general, whatever the protocol.

| Class | What it is about | Tests named after it |
|---|---|---|
{class_rows}
"""


class Test(NamedTuple):
    """A test by its file, relative to the root, and its name."""

    file: str
    name: str

    def answers(self) -> Iterator[str]:
        """The faults (`H-04`) and classes (`Q`) in its name."""
        for kind, number in FAULT_IN_NAME.findall(self.name):
            yield f"{kind.upper()}-{number}"
        for letter in CLASS_IN_NAME.findall(self.name):
            yield letter.upper()


@dataclass(frozen=True)
class Entry:
    """A fault, or a class of them, as the file has it; `reason` says why it cannot arise."""

    id: str
    letter: str
    title: str
    reason: str = ""


@dataclass(frozen=True)
class Catalogue:
    """What the file of faults holds."""

    classes: tuple[Entry, ...]
    faults: tuple[Entry, ...]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """0 when every fault is answered and, with `--check`, when the report is up to date."""
    parser = argparse.ArgumentParser(prog="tools/audit_coverage.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when the report is stale")
    options = parser.parse_args(arguments)
    catalogue = load(root / FAULTS)
    answers = by_answer(tests_under(root))
    found = problems(catalogue, answers)
    text = report(catalogue, answers)
    path = root / REPORT
    if not options.check:
        path.write_text(text)
    elif not path.is_file() or path.read_text() != text:
        found.append(f"{REPORT} is stale: run python tools/audit_coverage.py")
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


def load(path: Path) -> Catalogue:
    """Raises KeyError or TypeError when an entry lacks a field or has one that is unknown."""
    content = tomllib.loads(path.read_text())
    classes = [Entry(id=letter, letter=letter, **rest) for letter, rest in content["classes"].items()]
    faults = [Entry(letter=fault.pop("class"), **fault) for fault in content["fault"]]
    return Catalogue(tuple(sorted(classes, key=lambda each: each.id)), tuple(faults))


def tests_under(root: Path) -> list[Test]:
    """All Forge and pytest tests, by file and name."""
    found = set()
    for path in (root / SOLIDITY_TESTS).rglob("*.sol"):
        source = SOLIDITY_COMMENT.sub("", path.read_text())
        found |= {Test(path.relative_to(root).as_posix(), name) for name in SOLIDITY_TEST.findall(source)}
    for path in (root / PYTHON_TESTS).rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                found.add(Test(path.relative_to(root).as_posix(), node.name))
    return sorted(found)


def by_answer(tests: Iterable[Test]) -> dict[str, list[Test]]:
    """The tests of every fault and class that any of them names, in order."""
    answers: dict[str, list[Test]] = {}
    for test in tests:
        for name in sorted(set(test.answers())):
            answers.setdefault(name, []).append(test)
    return answers


def problems(catalogue: Catalogue, answers: Mapping[str, Sequence[Test]]) -> list[str]:
    """What is wrong with the file of faults, given the tests there are."""
    entries = (*catalogue.classes, *catalogue.faults)
    known = [entry.id for entry in entries]
    wanted = [f"{kind}-{number:02}" for kind, last in NUMBERED.items() for number in range(1, last + 1)]
    wanted += [entry.id for entry in catalogue.classes]
    found = [f"{name}: not in {FAULTS}" for name in wanted if name not in known]
    found += [f"{name}: twice in {FAULTS}" for name in wanted if known.count(name) > 1]
    found += [f"{name}: no such fault" for name in known if name not in wanted]
    for name, tests in answers.items():
        if name not in known:
            found.append(f"{tests[0].file}: {tests[0].name} names {name}, which is unknown")
    for entry in entries:
        found += _entry_problems(entry, catalogue, bool(answers.get(entry.id)))
    return found


def _entry_problems(entry: Entry, catalogue: Catalogue, tested: bool) -> Iterator[str]:
    if entry.letter not in {each.id for each in catalogue.classes}:
        yield f"{entry.id}: class {entry.letter} is unknown"
    if tested and entry.reason:
        yield f"{entry.id}: has a test, so its reason has to go"
    if not (tested or entry.reason):
        yield f"{entry.id}: neither a test nor a reason"


def report(catalogue: Catalogue, answers: Mapping[str, Sequence[Test]]) -> str:
    """The document, the same for the same faults and tests."""
    tested = sum(entry.id in answers for entry in catalogue.faults)
    reasoned = sum(bool(entry.reason) for entry in catalogue.faults)
    return DOCUMENT.format(
        faults=len(catalogue.faults),
        tested=tested,
        reasoned=reasoned,
        rows="\n".join(
            f"| {entry.id} | {entry.letter} | {entry.title} | {_answer(entry, answers)} |"
            for entry in catalogue.faults
        ),
        class_rows="\n".join(
            f"| {entry.id} | {entry.title} | {_class_answer(entry, answers)} |" for entry in catalogue.classes
        ),
    )


def _answer(entry: Entry, answers: Mapping[str, Sequence[Test]]) -> str:
    tests = answers.get(entry.id, ())
    if tests:
        return "<br>".join(f"`{Path(test.file).name}` `{test.name}`" for test in tests)
    return _without_test(entry)


def _class_answer(entry: Entry, answers: Mapping[str, Sequence[Test]]) -> str:
    files = sorted({test.file for test in answers.get(entry.id, ())})
    return "<br>".join(f"`{file}`" for file in files) if files else _without_test(entry)


def _without_test(entry: Entry) -> str:
    return f"Cannot arise. {entry.reason}" if entry.reason else "**None**"


if __name__ == "__main__":
    raise SystemExit(main())
