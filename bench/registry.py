"""What is measured, its targets, and the report. A missed target is reported, never an error."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).parent / "results.json"
MODULES = ("gas", "reads", "valuation", "plans", "keeper", "quorum", "loop", "ticks", "journal")
"""Modules of this package, each with a `GROUP`; a module's figures begin with its name and a dot."""

Number = int | float


@dataclass(frozen=True)
class Metric:
    """A figure to measure: its full name, its unit, and the target where one is set."""

    name: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    target: Number | None = None


@dataclass(frozen=True)
class Group:
    """Figures of one module; `measure` returns a number for every one of them."""

    metrics: tuple[Metric, ...]
    measure: Callable[[], Mapping[str, Number]]


@dataclass(frozen=True)
class Figure:
    """A measured metric, as it is written to the results."""

    name: str
    value: Number
    unit: str
    target: Number | None
    better: str
    ok: bool


def figure(metric: Metric, value: Number) -> Figure:
    """The figure of a measured value; without a target it is always ok."""
    if metric.target is None:
        ok = True
    elif metric.better == "lower":
        ok = value <= metric.target
    else:
        ok = value >= metric.target
    return Figure(metric.name, value, metric.unit, metric.target, metric.better, ok)


def run(groups: Sequence[Group], only: str = "") -> list[Figure]:
    """Measures every group with a metric whose name begins with `only`; figures in the order declared.

    Raises KeyError when a group does not measure what it declares, or measures more.
    """
    figures = []
    for group in groups:
        wanted = [metric for metric in group.metrics if metric.name.startswith(only)]
        if not wanted:
            continue
        values = group.measure()
        if unlike := set(values) ^ {metric.name for metric in group.metrics}:
            raise KeyError(f"declared and measured figures differ: {', '.join(sorted(unlike))}")
        figures += [figure(metric, values[metric.name]) for metric in wanted]
    return figures


def table(figures: Sequence[Figure]) -> str:
    """The figures for people, one a line."""
    rows = [("figure", "value", "unit", "target", "")]
    for each in figures:
        aim = "" if each.target is None else ("≤ " if each.better == "lower" else "≥ ") + f"{each.target:,}"
        rows.append((each.name, f"{each.value:,}", each.unit, aim, "" if each.ok else "missed"))
    name, value, unit, bound, _ = (max(len(row[column]) for row in rows) for column in range(5))
    lines = (f"{a:<{name}}  {b:>{value}}  {c:<{unit}}  {d:>{bound}}  {e}" for a, b, c, d, e in rows)
    return "\n".join(line.rstrip() for line in lines)


def write(figures: Sequence[Figure], path: Path = RESULTS) -> None:
    """The figures as JSON. Replaces the file."""
    path.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")


def load() -> list[Group]:
    """The groups of every module."""
    return [import_module(f"bench.{name}").GROUP for name in MODULES]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything asked for was measured, whatever the figures say; 2 for a prefix of nothing."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--only", default="", metavar="PREFIX", help="measure figures that begin with this")
    only = parser.parse_args(arguments).only
    groups = load()
    names = [metric.name for group in groups for metric in group.metrics]
    if not any(name.startswith(only) for name in names):
        parser.error(f"no figure begins with {only!r}; there are {', '.join(names)}")
    figures = run(groups, only)
    write(figures)
    print(table(figures))
    missed = sum(not each.ok for each in figures)
    print(f"\n{len(figures)} figures, {missed} behind their target. Written to {RESULTS}")
    return 0
