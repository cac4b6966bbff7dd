"""Coverage is read from Forge's report as it stands, and a part below the marks fails."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "coverage.py"

REPORT = """\
TN:
SF:contracts/src/Vault.sol
DA:1,5
FN:1,Vault.settle
FNDA:5,Vault.settle
DA:2,0
BRDA:1,0,0,-
BRDA:1,0,1,5
BRDA:2,1,0,0
end_of_record
SF:contracts/src/libraries/QueueLib.sol
DA:3,1
BRDA:3,0,0,1
end_of_record
SF:contracts/src/oracle/PriceMath.sol
DA:4,1
DA:5,1
end_of_record
"""


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("coverage_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_what_is_not_reached_is_told_with_its_source(coverage: ModuleType) -> None:
    files = coverage.parse(REPORT)
    sources = {file.path: [f"line {number}" for number in range(1, 6)] for file in files}
    lines = list(coverage.report(files, sources))
    assert [line for line in lines if ": " in line] == [
        "contracts/src/Vault.sol:2: not reached: line 2",
        "contracts/src/Vault.sol:1: side 0 not taken: line 1",
        "contracts/src/Vault.sol:2: side 0 not taken: line 2",
    ]
    figures = {line.split()[0]: line.split()[1:] for line in lines if ": " not in line}
    assert figures["core"] == ["66.6", "%", "2/3", "50.0", "%", "2/4"]
    assert figures["Vault.sol"] == ["50.0", "%", "1/2", "33.3", "%", "1/3"]
    assert figures["libraries/QueueLib.sol"] == ["100.0", "%", "1/1", "100.0", "%", "1/1"]
    assert figures["oracle"] == ["100.0", "%", "2/2", "100.0", "%", "0/0"]


def test_each_part_has_to_reach_the_marks(coverage: ModuleType) -> None:
    found = list(coverage.problems(coverage.parse(REPORT)))
    assert [problem.partition(":")[2].partition(":")[0].strip() for problem in found] == [
        "core is below 98 % of lines",
        "core is below 95 % of branches",
    ]
    whole = REPORT.replace("DA:2,0", "DA:2,1").replace("1,0,0,-", "1,0,0,1").replace("2,1,0,0", "2,1,0,1")
    assert list(coverage.problems(coverage.parse(whole))) == []


@pytest.mark.parametrize(
    ("reached", "total", "enough"), [(98, 100, True), (979, 1000, False), (0, 0, True), (97, 98, True)]
)
def test_a_mark_is_met_exactly(coverage: ModuleType, reached: int, total: int, enough: bool) -> None:
    assert coverage.Share(reached, total).at_least(98) is enough


def test_a_file_that_is_reported_twice_counts_what_either_reached(coverage: ModuleType) -> None:
    again = "SF:contracts/src/Vault.sol\nDA:2,1\nBRDA:1,0,0,2\nend_of_record\n"
    (file,) = (each for each in coverage.parse(REPORT + again) if each.path.name == "Vault.sol")
    assert file.lines == {1: 5, 2: 1}
    assert file.branches[1, 0, 0] == 2


@pytest.mark.parametrize("text", ["", "DA:1,1\n", "SF:contracts/src/Vault.sol\nDA:one,1\n"])
def test_what_is_no_report_is_refused(coverage: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=r"no file|invalid literal"):
        coverage.parse(text)
