"""Long campaigns go on where they stopped, for one seed and one state of the sources."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mutate
import pytest

GIT = shutil.which("git") or "git"
SCRIPT = Path(__file__).parents[2] / "tools" / "deep.py"


@pytest.fixture(scope="module")
def deep() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("deep_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A repository of its own that ignores what campaigns leave behind."""
    (tmp_path / ".gitignore").write_text(".deep/\nruns\n")
    (tmp_path / "source").write_text("one\n")
    subprocess.run([GIT, "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def campaign(deep: ModuleType, name: str, *, code: int = 0, also: str = "pass") -> object:
    """A program that notes its name and its seed, and ends with that code."""
    note = f"import os, sys; open('runs', 'a').write('{name} ' + os.environ['SEEN'] + '\\n')"
    return deep.Campaign(
        name, (sys.executable, "-c", f"{note}; {also}; sys.exit({code})"), {"SEEN": name.upper()}
    )


def ran(sources: Path) -> list[str]:
    """What has run since the last question."""
    path = sources / "runs"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_only_what_has_not_passed_runs_again(
    deep: ModuleType, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = campaign(deep, "good"), campaign(deep, "bad", code=3)
    last = campaign(deep, "last")
    assert deep.run([good, bad, last], 5, sources) == 1
    assert ran(sources) == ["good GOOD", "bad BAD", "last LAST"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 5"
    assert lines[-1].startswith("seed 5: ")
    assert "failed: bad" in lines
    assert deep.run([good, bad, last], 5, sources) == 1
    assert ran(sources) == ["bad BAD"]
    assert deep.run([good, last], 5, sources) == 0
    assert ran(sources) == []


def test_another_seed_and_changed_sources_begin_anew(deep: ModuleType, sources: Path) -> None:
    each = [campaign(deep, "good")]
    assert deep.run(each, 5, sources) == 0
    assert deep.run(each, 6, sources) == 0
    assert ran(sources) == ["good GOOD"] * 2
    (sources / "source").write_text("two\n")
    assert deep.run(each, 5, sources) == 0
    assert ran(sources) == ["good GOOD"]
    (sources / "source").write_text("one\n")
    assert deep.run(each, 5, sources) == 0
    assert ran(sources) == []


def test_what_a_campaign_does_not_rest_on_may_change(deep: ModuleType, sources: Path) -> None:
    (sources / "other").mkdir()
    (sources / "other" / "file").write_text("one\n")
    whole = campaign(deep, "whole")
    part = replace(whole, name="part", rests_on=("source",))
    assert deep.run([whole, part], 5, sources) == 0
    assert len(ran(sources)) == 2
    (sources / "other" / "file").write_text("two\n")
    assert deep.run([part], 5, sources) == 0
    assert ran(sources) == []
    assert deep.run([whole], 5, sources) == 0
    assert ran(sources) == ["whole WHOLE"]


def test_what_campaigns_rest_on_is_there(deep: ModuleType) -> None:
    campaigns = (*deep.invariant_campaigns(9), *deep.MUTATION)
    paths = {path for each in campaigns for path in each.rests_on}
    assert set(deep.CHAIN) < paths
    assert [path for path in paths if not (deep.ROOT / path).exists()] == []


def test_a_pass_on_sources_that_changed_meanwhile_is_not_recorded(deep: ModuleType, sources: Path) -> None:
    moving = campaign(deep, "moving", also="open('source', 'a').write('more')")
    assert deep.run([moving], 5, sources) == 0
    assert not (sources / ".deep" / "state.json").exists()


def test_an_interruption_keeps_what_has_passed(
    deep: ModuleType, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = campaign(deep, "good")
    nothing = deep.Campaign("stopped", (str(sources / "absent"),))
    with pytest.raises(FileNotFoundError):
        deep.run([good, nothing], 5, sources)
    assert capsys.readouterr().out.splitlines()[-1].startswith("seed 5: ")
    state = json.loads((sources / ".deep" / "state.json").read_text())
    assert list(state.values()) == [["good"]]


def test_the_tree_hash_is_gits_and_leaves_the_repository_alone(deep: ModuleType, sources: Path) -> None:
    before = sorted(path for path in (sources / ".git").rglob("*") if path.is_file())
    found = deep.tree_hash(sources)
    assert before == sorted(path for path in (sources / ".git").rglob("*") if path.is_file())
    subprocess.run([GIT, "add", "--all"], cwd=sources, check=True)
    written = subprocess.run([GIT, "write-tree"], cwd=sources, check=True, capture_output=True, text=True)
    assert found == written.stdout.strip()


@pytest.mark.parametrize("text", ["-1", str(2**64), "today"])
def test_a_seed_out_of_range_is_refused(deep: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=r"64 bits|invalid literal"):
        deep.seed_number(text)


def test_a_record_that_is_not_ours_is_refused(deep: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a record"):
        deep.Progress(path, 1)


def test_every_fuzzed_contract_and_every_deep_test_is_a_campaign(deep: ModuleType) -> None:
    names = [each.name for each in deep.pytest_campaigns(9, 100)]
    assert len(names) == len(set(names)) >= 7 * deep.ROUNDS
    assert {name.split("/")[1] for name in names} == {str(number + 1) for number in range(deep.ROUNDS)}
    seeds = {each.environment["OMNIKEEPER_SEED"] for each in deep.pytest_campaigns(9, 100)}
    assert seeds == {f"9/{number + 1}" for number in range(deep.ROUNDS)}
    forge = {each.name: each for each in deep.forge_campaigns(9)}
    assert {"forge/Vault", "forge/Queue", "forge/AaveV3Connector"} <= set(forge)
    assert forge["forge/Vault"].environment == {"FOUNDRY_FUZZ_RUNS": "25600", "FOUNDRY_FUZZ_SEED": "0x9"}


def test_the_invariants_run_a_hundred_times_as_often(deep: ModuleType) -> None:
    campaigns = deep.invariant_campaigns(9)
    assert len({each.name for each in campaigns}) == deep.ROUNDS
    assert sum(int(each.environment["FOUNDRY_INVARIANT_RUNS"]) for each in campaigns) == 25_600
    assert len({each.environment["FOUNDRY_FUZZ_SEED"] for each in campaigns}) == deep.ROUNDS
    folder = deep.ROOT / "contracts/test/invariant"
    assert [path.name for path in folder.glob("*.t.sol")] == ["VaultInvariant.t.sol"]
    assert campaigns[0].command[-1] == "contracts/test/invariant/*"


def test_every_sample_of_mutants_is_a_campaign(deep: ModuleType) -> None:
    assert [each.name for each in deep.MUTATION] == [f"mutation/{name}" for name in mutate.SAMPLES]
    for name, each in zip(mutate.SAMPLES, deep.MUTATION, strict=True):
        assert each.command[-3:] == ("tools/mutate.py", "--sample", name)
