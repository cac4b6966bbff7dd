"""Writes the package of a new connector: the template, in another name."""

import keyword
import re
from collections.abc import Collection
from importlib.util import find_spec
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

    Raises ConfigError when the name is none, `taken`, Python's or one that the template itself uses, when the
    folder exists, and when it cannot be written.
    """
    if not _NAME.fullmatch(name):
        rule = "Lower case, digits and single underscores, a letter first."
        raise ConfigError(f"Not a name for a {kind}", expected=f"such as my_{old}", seen=name, hint=rule)
    if name in taken:
        raise ConfigError(f"There is an installed {kind} of that name", seen=name)
    if folder.exists():
        raise ConfigError("The folder exists", where=folder, hint="Name another with --dir.")
    title = "".join(part.capitalize() for part in name.split("_"))
    texts = {
        path.relative_to(template).as_posix(): path.read_text()
        for path in sorted(template.rglob("*"))
        if path.suffix in _SUFFIXES
    }
    if keyword.iskeyword(name) or find_spec(name) is not None:
        raise ConfigError("The name is one that Python or an installed package uses", seen=name)
    if re.search(rf"\b{title}\b", "".join(text for file, text in texts.items() if file.endswith(".py"))):
        raise ConfigError("The name is one that the template itself uses", seen=name)
    made = {
        _renamed(file, old, name, title): _renamed(text, old, name, title) for file, text in texts.items()
    }
    try:
        for file, text in made.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
    except OSError as error:
        raise ConfigError("Cannot write the package", where=folder, seen=error.strerror) from error
    return tuple(made)


def _renamed(text: str, old: str, name: str, title: str) -> str:
    return text.replace(old, name).replace(old.capitalize(), title)
