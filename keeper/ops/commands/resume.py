"""`keeper resume VAULT --reason TEXT`: risk may be taken again."""

from pathlib import Path
from typing import Annotated

import typer

from keeper.errors import RefusedError
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import Breaker
from keeper.ops.output import JsonOption, show
from keeper.ops.running import named, read_config, record_of

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    vault: Annotated[str, typer.Argument(help="The vault's address, or its policy's name.")],
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")],
    breaker: Annotated[
        list[Breaker] | None,
        typer.Option("--breaker", help="What you have seen; refused where anything else has tripped."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Set a vault's circuit breakers again, whether or not the keeper runs. Ends with 4 when none tripped."""
    loaded = read_config(config)
    policy = named(loaded, vault)
    if not reason.strip():
        raise RefusedError("A reason is needed", hint="Whoever reads the journal later wants to know why.")
    record = record_of(Journal(loaded.data), policy)
    tripped = sorted(record.tripped())
    if not tripped:
        raise RefusedError("No circuit breaker of this vault has tripped", where=record.vault)
    record.resume(reason, breaker or tripped)
    text = f"Risk may be taken again at {record.vault}; {', '.join(tripped)} had tripped."
    show({"ok": True, "vault": record.vault, "tripped": tripped, "reason": reason}, text, json=json)
