"""Between the local service and LiFi's own only the URL and the addresses differ."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import keeper
from keeper.swap import deployments

PACKAGE = Path(keeper.__file__).parent
BUILDERS = ("simulation", "conformance", "ops")
"""What starts local chains. The rest must not know them."""
LOCAL = ("keeper.simulation", "devnet", "anvil", "31337", "localhost", "127.0.0.1", "li.quest")


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def test_nothing_that_keeps_a_vault_knows_the_local_service() -> None:
    sources = [each for each in PACKAGE.rglob("*.py") if each.relative_to(PACKAGE).parts[0] not in BUILDERS]
    assert len(sources) > 100
    knowing = [each for each in sources for name in imported(each) if name.startswith("keeper.simulation")]
    assert knowing == []


@pytest.mark.parametrize("source", sorted((PACKAGE / "swap").glob("*.py")), ids=lambda each: each.name)
def test_the_client_and_its_checks_have_no_branch_for_local_chains(source: Path) -> None:
    assert [each for each in LOCAL if each in source.read_text().lower()] == []


def test_the_published_data_name_no_local_chain() -> None:
    assert "31337" not in deployments.content()["chains"]
