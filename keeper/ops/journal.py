"""`--data`: where a command that sends keeps its journal."""

from typing import Annotated

import typer

from keeper.errors import ConfigError
from keeper.execution.journal.journal import Journal

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        envvar="KEEPER_DATA",
        show_envvar=True,
        help="Folder of the journal, or a postgresql:// URL; needed to send.",
    ),
]


def open_journal(data: str | None) -> Journal:
    """The journal at that place, made if need be. Raises ConfigError, also when no place is given."""
    if not data:
        raise ConfigError(
            "A key that sends needs a journal",
            expected="--data FOLDER, or KEEPER_DATA",
            hint="What is sent is written down first, so that a crash neither loses nor repeats it.",
        )
    return Journal(data)
