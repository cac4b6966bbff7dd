"""The benchmarks' report: verdicts, the choice by prefix, the file, and one measurement that is real."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_registry", ROOT / "bench" / "registry.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("better", "target", "value", "ok"),
    [
        ("lower", 10, 10, True),
        ("lower", 10, 11, False),
        ("higher", 10, 10, True),
        ("higher", 10, 9, False),
        ("lower", None, 10**9, True),
        ("higher", 0, -1, False),
    ],
)
def test_a_figure_is_ok_up_to_its_target(
    registry: ModuleType, better: str, target: int | None, value: int, ok: bool
) -> None:
    found = registry.figure(registry.Metric("a.b", "gas", better, target), value)
    assert found == registry.Figure("a.b", value, "gas", target, better, ok)


def test_a_prefix_chooses_figures_and_leaves_other_groups_unmeasured(registry: ModuleType) -> None:
    measured = []

    def measure() -> dict[str, int]:
        measured.append("gas")
        return {"gas.one": 1, "gas.two": 2}

    def untouched() -> dict[str, int]:
        raise AssertionError("nobody asked for these")

    groups = [
        registry.Group((registry.Metric("gas.one", "gas"), registry.Metric("gas.two", "gas")), measure),
        registry.Group((registry.Metric("reads.one", "ms"),), untouched),
    ]
    assert [each.name for each in registry.run(groups, "gas.t")] == ["gas.two"]
    assert [each.value for each in registry.run(groups, "gas.")] == [1, 2]
    assert measured == ["gas", "gas"]


@pytest.mark.parametrize("values", [{}, {"gas.one": 1, "gas.more": 2}, {"gas.other": 1}])
def test_what_is_measured_is_what_is_declared(registry: ModuleType, values: dict[str, int]) -> None:
    group = registry.Group((registry.Metric("gas.one", "gas"),), lambda: values)
    with pytest.raises(KeyError, match="differ"):
        registry.run([group])


def test_results_are_a_list_of_plain_objects_and_the_table_marks_misses(
    registry: ModuleType, tmp_path: Path
) -> None:
    metrics = [registry.Metric("gas.big", "gas", target=1_000), registry.Metric("reads.ms", "ms")]
    figures = [registry.figure(metrics[0], 12_345), registry.figure(metrics[1], 1.5)]
    registry.write(figures, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"name": "gas.big", "value": 12345, "unit": "gas", "target": 1000, "better": "lower", "ok": False},
        {"name": "reads.ms", "value": 1.5, "unit": "ms", "target": None, "better": "lower", "ok": True},
    ]
    lines = registry.table(figures).splitlines()
    assert lines[1].split() == ["gas.big", "12,345", "gas", "≤", "1,000", "missed"]
    assert lines[2].split() == ["reads.ms", "1.5", "ms"]


def test_a_prefix_of_nothing_is_an_error_that_names_the_figures() -> None:
    command = [sys.executable, "bench/run.py", "--only", "gsa."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no figure begins with 'gsa.'" in done.stderr
    assert "gas.close_epoch" in done.stderr
    assert "keeper.turn_ms" in done.stderr
    assert "quorum.signatures_p95_ms" in done.stderr


def test_gas_is_measured_on_the_real_chain() -> None:
    program = "import json\nfrom bench.gas import GROUP\nprint(json.dumps(GROUP.measure()))\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    parts = {name: value for name, value in values.items() if "report_" in name or "action_" in name}
    whole = [value for name, value in values.items() if "ratio" not in name and name not in parts]
    assert all(21_000 < value < 2_000_000 for value in whole)
    # A cold account and a cold slot at the least; a report has the portfolio's stipend at the most.
    assert all(2_600 + 2_100 < value < 1_000_000 for value in parts.values())
    assert all(value <= 300_000 for name, value in parts.items() if "report_" in name)
    settled, two = values["gas.settle_100_users"], values["gas.settle_both_sides_two_morpho_blue"]
    assert settled > two > values["gas.close_epoch"]
    # Each of a hundred requests of its own would cost at least one cold slot more.
    assert abs(values["gas.settle_users_ratio_100_to_1"] - 1) * settled < 2_100
    for step in ("settle", "rebalance"):
        costs = [values[f"gas.{step}_{count}_positions"] for count in (2, 5, 10, 16)]
        assert costs == sorted(costs)
        assert values[f"gas.{step}_positions_ratio_16_to_2"] == pytest.approx(costs[-1] / costs[0], abs=1e-6)
    # A market's four cold slots in Morpho, and the rate model's own.
    assert values["gas.nav_per_morpho_blue_market"] > 5 * 2_100
