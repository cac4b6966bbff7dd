"""`keeper connector`: list, write and test connectors, whoever brought them."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from keeper.conformance import kit
from keeper.conformance.score import table
from keeper.conformance.skeleton import write
from keeper.conformance.suite import CHECKS, conform
from keeper.connectors import base
from keeper.ops.output import JsonOption, show
from keeper.simulation.devnet import Devnet

app = typer.Typer(help="List, write and test connectors.", no_args_is_help=True)


@app.command(name="list")
def list_(json: JsonOption = False) -> None:
    """The installed connectors, and which of them can be tested."""
    kits = kit.names()
    found = [{"name": name, "kit": name in kits} for name in base.names()]
    lines = [f"{each['name']}{'' if each['kit'] else '  (no kit)'}" for each in found]
    show({"connectors": found}, "\n".join(lines), json=json)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the connector: a Python identifier in lower case.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where to write it; ./NAME if left out.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the package of a new connector, with an example protocol that it works with."""
    target = folder or Path(name)
    files = write(name, target)
    following = _NEXT.format(folder=quote(str(target)), name=name)
    text = "\n".join([*(str(target / file) for file in files), "", following])
    show({"path": str(target), "files": list(files)}, text, json=json)


_NEXT = """Next:
  python -m pip install --no-deps --no-build-isolation --editable {folder}
  keeper connector test {name}"""


@app.command(name="test")
def conformance(
    name: Annotated[str, typer.Argument(help="An installed connector.")],
    check: Annotated[list[str] | None, typer.Option(help=f"Only: {', '.join(CHECKS)}.")] = None,
    seed: Annotated[str, typer.Option(help="Of the random states; the connector's name if left out.")] = "",
    json: JsonOption = False,
) -> None:
    """Run the conformance suite on a local chain; ends with 1 when a check is missed."""
    scores = []
    # Nothing looks back: every check undoes what it did.
    with Devnet(archive=False) as devnet:
        for score in conform(name, devnet, only=check or (), seed=seed):
            typer.echo(f"· {score.name}", err=True)
            scores.append(score)
    passed = all(score.passed for score in scores)
    data = {"connector": name, "ok": passed, "checks": scores}
    show(data, table(scores), json=json)
    if not passed:
        raise typer.Exit(1)
