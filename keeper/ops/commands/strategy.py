"""`keeper strategy`: list and write strategies, whoever brought them."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from keeper.conformance.skeleton import render
from keeper.ops.output import JsonOption, show
from keeper.planning import strategy

app = typer.Typer(help="List and write strategies.", no_args_is_help=True)

TEMPLATE: Final = Path(strategy.__file__).parent / "template"
"""A package that works as it is; its strategy is called `evenly`."""
_OLD: Final = "evenly"


@app.command(name="list")
def list_(json: JsonOption = False) -> None:
    """The installed strategies, by the names that a policy knows them by."""
    names = strategy.names()
    show({"strategies": names}, "\n".join(names), json=json)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the strategy: a Python identifier in lower case.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where to write it; ./NAME if left out.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the package of a new strategy: one that works, and its tests, which need no chain."""
    target = folder or Path(name)
    files = render(TEMPLATE, _OLD, name, target, kind="strategy", taken=strategy.names())
    text = "\n".join([*(str(target / file) for file in files), "", _NEXT.format(folder=quote(str(target)))])
    show({"path": str(target), "files": list(files)}, text, json=json)


_NEXT = """Next:
  python -m pip install --no-deps --no-build-isolation --editable {folder}
  python -m pytest {folder}"""
