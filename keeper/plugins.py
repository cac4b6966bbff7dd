"""What installed packages bring, by entry point: connectors, their kits, strategies, checkers of evidence."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from keeper.errors import ConfigError


def names(group: str) -> tuple[str, ...]:
    """Names of a group's entry points, sorted; imports none of them."""
    return tuple(sorted(entry_points(group=group).names))


def load(group: str, name: str, missing: str) -> Any:
    """Imports what `name` stands for.

    Raises ConfigError, which begins with `missing` and names the nearest one, if there is none, and for one
    that two packages claim or that cannot be imported.
    """
    found = entry_points(group=group, name=name)
    if not found:
        near = get_close_matches(name, names(group), n=1)
        raise ConfigError(
            missing,
            expected=" or ".join(names(group)) or "none is installed",
            seen=name,
            where=f"entry points {group}",
            hint=f"Did you mean {near[0]}?" if near else "Install the package that brings it.",
        )
    if len({each.value for each in found}) > 1:
        raise ConfigError(
            "Two packages bring what only one may",
            expected="one package",
            seen=" and ".join(sorted(each.value for each in found)),
            where=f"{name} of entry points {group}",
            hint="Remove one, or have its author choose another name.",
        )
    entry = next(iter(found))
    try:
        return entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ConfigError(
            "Cannot import what a package brings",
            expected=entry.value,
            seen=error,
            where=f"{name} of entry points {group}",
        ) from error
