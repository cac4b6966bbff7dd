"""Every known fault has its test, or the reason why it needs none, and the table says so."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "audit_coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit_coverage_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(coverage: ModuleType, tmp_path: Path) -> Path:
    """A copy of our faults and tests, with a report that is up to date."""
    for folder in (coverage.SOLIDITY_TESTS, coverage.PYTHON_TESTS, coverage.FAULTS.parent):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert coverage.main([], tmp_path) == 0
    return tmp_path


def add_test(project: Path, source: str) -> None:
    (project / "contracts" / "test" / "Added.t.sol").write_text(source)


def edit_faults(coverage: ModuleType, project: Path, old: str, new: str) -> None:
    path = project / coverage.FAULTS
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_our_faults_are_answered_and_the_table_is_up_to_date(
    coverage: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    code = coverage.main(["--check"])
    assert capsys.readouterr().err == ""
    assert code == 0


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("test_H_04_a_receiver", {"H-04"}),
        ("test_H12_H21_positions", {"H-12", "H-21"}),
        ("testFuzz_M_11_calls", {"M-11"}),
        ("test_class_g_m_11_four", {"G", "M-11"}),
        ("invariant_class_Q", {"Q"}),
        ("test_M_191_fills", set()),
        ("test_R_10_and_R14", set()),
        ("test_claim_04", set()),
        ("test_subclass_Q_of_something", set()),
    ],
)
def test_a_name_says_what_it_answers(coverage: ModuleType, name: str, answers: set[str]) -> None:
    assert set(coverage.Test("file", name).answers()) == answers


def test_a_test_that_is_commented_out_is_none(coverage: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "contracts" / "test").mkdir(parents=True)
    add_test(
        tmp_path, "// function test_H_04_a()\n/* function test_H_05_b() */ function test_H_06_c() public"
    )
    assert [test.name for test in coverage.tests_under(tmp_path)] == ["test_H_06_c"]


def test_a_new_test_makes_the_table_stale_until_it_is_made_again(
    coverage: ModuleType, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_test(project, "function test_H_04_once_more() public {}")
    assert coverage.main(["--check"], project) == 1
    assert "audit-coverage.md is stale" in capsys.readouterr().err
    assert coverage.main([], project) == 0
    assert coverage.main(["--check"], project) == 0
    assert "test_H_04_once_more" in (project / coverage.REPORT).read_text()


def test_a_reason_has_to_go_when_there_is_a_test(
    coverage: ModuleType, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_test(project, "function test_H_13_pool_shares() public {}")
    assert coverage.main(["--check"], project) == 1
    assert "H-13: has a test, so its reason has to go" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('id = "H-13"\n', 'id = "H-24"\n', "H-24: no such fault"),
        ('id = "H-13"\n', 'id = "H-24"\n', "H-13: not in docs/security/faults.toml"),
        ('id = "H-13"\n', 'id = "H-14"\n', "H-14: twice in docs/security/faults.toml"),
        ('id = "H-13"\nclass = "V"', 'id = "H-13"\nclass = "W"', "H-13: class W is unknown"),
        ('reason = "No connector holds pool shares', 'reason = "" #', "H-13: neither a test nor a reason"),
        ('A = { title = "Share arithmetic" }\n', "", "names A, which is unknown"),
    ],
)
def test_a_file_of_faults_with_a_gap_is_refused(
    coverage: ModuleType,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    problem: str,
) -> None:
    edit_faults(coverage, project, old, new)
    assert coverage.main(["--check"], project) == 1
    assert problem in capsys.readouterr().err
