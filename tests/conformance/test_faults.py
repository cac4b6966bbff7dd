"""Wrong connectors miss the checks they have to, for the right reasons; what they are copies of pass."""

import re
from pathlib import Path

import pytest
from faults import FAULTS, LOMBARD, SAVINGS, SOLIDITY, Fault
from installed import Site

from keeper.conformance.skeleton import TEMPLATE
from keeper.conformance.suite import CHECKS, conform
from keeper.simulation.devnet import Devnet

SOURCES = {SAVINGS: TEMPLATE / SAVINGS, LOMBARD: Path(__file__).parent / LOMBARD}


def copied(of: str, name: str) -> dict[str, str]:
    """The sources of a right connector in another name, with one Solidity folder for all copies.

    One folder, because then all of them are compiled at once.
    """
    files = {}
    for path in (each for kind in ("*.py", "*.sol") for each in SOURCES[of].rglob(kind)):
        text = path.read_text().replace(f'"{of}"', f'"{name}"')
        text = text.replace('Path(__file__).parent / "solidity"', 'Path(__file__).parents[1] / "solidity"')
        text = re.sub(r'compiled\(SOLIDITY, "(\w+)"\)', rf'compiled(SOLIDITY, "{name}/\1.sol:\1")', text)
        folder = f"solidity/{name}" if path.suffix == ".sol" else name
        files[f"{folder}/{path.name}"] = text
    return files


def wrong(fault: Fault) -> dict[str, str]:
    """The sources with the fault in them."""
    files = copied(fault.of, fault.name)
    for change in fault.changes:
        connector = f"solidity/{fault.name}/{fault.of.capitalize()}Connector.sol"
        path = connector if change.file == SOLIDITY else f"{fault.name}/{change.file}"
        assert files[path].count(change.right) == 1, f"{fault.name}: {change.right}"
        files[path] = files[path].replace(change.right, change.wrong)
    return files


@pytest.fixture(scope="module")
def faulty(site: Site) -> Site:
    """All copies, right and wrong."""
    for of in SOURCES:
        site.add(f"right_{of}", of.capitalize(), copied(of, f"right_{of}"))
    for fault in FAULTS:
        site.add(fault.name, fault.of.capitalize(), wrong(fault))
    return site


@pytest.mark.parametrize("of", SOURCES)
def test_what_the_wrong_ones_are_copies_of_passes_every_check(of: str, faulty: Site, devnet: Devnet) -> None:
    scores = list(conform(f"right_{of}", devnet))
    assert [score.name for score in scores] == list(CHECKS)
    assert {score.name: score.reason for score in scores if not score.passed} == {}
    assert [score.name for score in scores if not score.applies] == (["solvency"] if of == SAVINGS else [])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_by_its_check_and_by_no_other(fault: Fault, faulty: Site, devnet: Devnet) -> None:
    missed = {score.name: score.reason for score in conform(fault.name, devnet) if not score.passed}
    assert set(missed) == set(fault.missed), missed
    for check, reason in fault.missed.items():
        assert re.search(reason, missed[check]), missed[check]


def test_every_class_of_the_checklist_that_is_about_connectors_has_a_fault() -> None:
    assert {"u", "v", "s", "n", "e"} <= {fault.name[0] for fault in FAULTS}
