"""From a snapshot to a plan nothing is read, awaited or asked; what carries plans out computes them apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import keeper
import strategies

PACKAGE = Path(keeper.__file__).parent
PURE = sorted(
    source
    for place in (
        *(PACKAGE / name for name in ("planning", "ledger", "risk", "connectors", "oracle")),
        *(PACKAGE / f"{name}.py" for name in ("valuation", "book", "engine", "reads", "exposures")),
        Path(strategies.__path__[0]),
    )
    for source in ([place] if place.is_file() else place.rglob("*.py"))
    if "template" not in source.parts
)
OUTSIDE = frozenset(
    {"asyncio", "aiohttp", "tenacity", "socket", "ssl", "subprocess", "threading", "requests"}
)
"""Modules by which one waits for others."""
VALUES = {"keeper.chain.block", "keeper.chain.call", "keeper.chain.lens", "keeper.chain.archive"}
"""Of the chain's modules those that hold values; of the snapshot's, its class."""
ENDS = ("keeper.execution", "keeper.ops", "keeper.simulation", "keeper.clock", "keeper.quorum.collect")
LONG = {"open_book", "derive", "quote_requests"}
"""What takes long."""


def imported(source: Path) -> Iterator[tuple[str, str]]:
    """Module and name of every import."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)


def reaches_out(module: str, name: str) -> bool:
    if module == "keeper.chain":
        module, name = f"keeper.chain.{name}", ""
    if module == "keeper.chain.snapshot":
        return name != "Snapshot"
    inside = module.startswith("keeper.chain.") and module not in VALUES
    return inside or module.split(".")[0] in OUTSIDE or module.startswith(ENDS)


@pytest.mark.parametrize("source", PURE, ids=lambda each: f"{each.parent.name}/{each.name}")
def test_what_plans_does_no_io(source: Path) -> None:
    assert [pair for pair in imported(source) if reaches_out(*pair)] == []
    waiting = ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await
    assert [
        node.lineno for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, waiting)
    ] == []


def test_every_pure_module_is_looked_at() -> None:
    assert len(PURE) > 80


@pytest.mark.parametrize("source", sorted((PACKAGE / "execution").glob("*.py")), ids=lambda each: each.name)
def test_nothing_that_takes_long_is_computed_on_the_event_loop(source: Path) -> None:
    called = (node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call))
    names = (getattr(node.func, "id", getattr(node.func, "attr", "")) for node in called)
    assert [name for name in names if name in LONG] == []
