"""Every finding has its explanation, and every explanation its finding."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "slither.py"


@pytest.fixture(scope="module")
def slither() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("slither_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(*names: str, kind: str = "function") -> dict[str, Any]:
    """A result about the last of these names, each inside the one before it."""
    element: dict[str, Any] = {}
    for depth, name in enumerate(names):
        this = "contract" if depth == 0 else kind if depth == len(names) - 1 else "function"
        element = {"type": this, "name": name, "type_specific_fields": {"parent": element}}
    return {"check": "timestamp", "elements": [element], "description": "Compares\n\t- now\n"}


@pytest.mark.parametrize(
    ("names", "kind", "place"),
    [
        (("Vault", "settle"), "function", "Vault.settle"),
        (("Vault", "constructor", "asset_"), "variable", "Vault.constructor.asset_"),
        (("Vault", "settle", "x = 1"), "node", "Vault.settle"),
    ],
)
def test_a_finding_is_known_by_its_function_whatever_its_line(
    slither: ModuleType, names: tuple[str, ...], kind: str, place: str
) -> None:
    seen = slither.found(result(*names, kind=kind))
    assert seen.finding == ("timestamp", place)
    assert seen.text == "Compares\n\t- now"


def explained(slither: ModuleType, *places: str) -> list[object]:
    return [slither.Finding("timestamp", place) for place in places]


def test_what_is_found_and_explained_passes(slither: ModuleType) -> None:
    seen = [slither.found(result("Vault", "settle")), slither.found(result("Vault", "settle"))]
    assert [*slither.compare(seen, explained(slither, "Vault.settle"))] == []


def test_a_finding_without_an_explanation_is_told_with_its_text(slither: ModuleType) -> None:
    (problem,) = slither.compare([slither.found(result("Vault", "settle"))], [])
    assert problem.startswith("timestamp in Vault.settle is not explained")
    assert "\n  Compares\n  \t- now" in problem


def test_an_explanation_without_a_finding_has_to_go(slither: ModuleType) -> None:
    (problem,) = slither.compare([], explained(slither, "Vault.settle"))
    assert "timestamp in Vault.settle is found no more" in problem


def test_an_explanation_is_given_once(slither: ModuleType) -> None:
    twice = explained(slither, "Vault.settle", "Vault.settle")
    (problem,) = slither.compare([slither.found(result("Vault", "settle"))], twice)
    assert "timestamp in Vault.settle is explained twice" in problem


@pytest.mark.parametrize("why", ['""', '"  "', '"""one\ntwo"""'])
def test_an_explanation_is_one_line(slither: ModuleType, tmp_path: Path, why: str) -> None:
    path = tmp_path / "slither.toml"
    path.write_text(f'[[finding]]\ndetector = "timestamp"\nplaces = ["Vault.settle"]\nwhy = {why}\n')
    with pytest.raises(ValueError, match=r"needs one line that says why"):
        slither.load(path)


def test_our_explanations_can_be_read(slither: ModuleType) -> None:
    assert slither.Finding("timestamp", "BucketLib.current") in slither.load(ROOT / slither.EXPLANATIONS)


def test_a_function_slither_cannot_read_is_a_finding(slither: ModuleType) -> None:
    log = "Impossible to generate IR for Vault.settle (contracts/src/Vault.sol#1-9):\n no type\n"
    assert [place for place, _ in slither.unread(log)] == ["Vault.settle"]
