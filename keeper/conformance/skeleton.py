"""Writes the package of a new connector: the template, in another name."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from keeper.connectors import base
from keeper.errors import ConfigError

TEMPLATE: Final = Path(__file__).parent / "template"
"""A package that works as it is; its connector is called `savings`."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUFFIXES: Final = frozenset({".md", ".py", ".sol", ".toml"})
_OLD: Final = "savings"


def write(name: str, folder: Path) -> tuple[str, ...]:
    """Writes the package of a connector called `name` to a new folder; returns its files, relative to that.

    Raises ConfigError when the name is none, or taken by an installed connector, and when the folder exists.
    """
    return render(TEMPLATE, _OLD, name, folder, kind="connector", taken=base.names())


def render(
    template: Path, old: str, name: str, folder: Path, *, kind: str, taken: Collection[str]
) -> tuple[str, ...]:
    """Writes a template to a new folder with `name` for `old`, one word in lower case, in files and their
    names; returns the files, relative to the folder.

    Raises ConfigError when the name is none, or `taken`, and when the folder exists.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"Not a name for a {kind}", expected=f"such as my_{old}", seen=name)
    if name in taken:
        raise ConfigError(f"There is an installed {kind} of that name", seen=name)
    if folder.exists():
        raise ConfigError("The folder exists", where=folder, hint="Name another with --dir.")
    title = "".join(part.capitalize() for part in name.split("_"))
    files = []
    for path in sorted(each for each in template.rglob("*") if each.suffix in _SUFFIXES):
        relative = _renamed(path.relative_to(template).as_posix(), old, name, title)
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(path.read_text(), old, name, title))
        files.append(relative)
    return tuple(files)


def _renamed(text: str, old: str, name: str, title: str) -> str:
    return text.replace(old, name).replace(old.capitalize(), title)
