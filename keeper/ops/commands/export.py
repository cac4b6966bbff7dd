"""`keeper export --config FILE --format csv|beancount`: everything that happened, for bookkeeping."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from keeper import files
from keeper.chain.pool import Endpoints, open_pools
from keeper.config import load_toml
from keeper.errors import ConfigError
from keeper.events import EventStream
from keeper.execution.accounts import Accountant, Entry
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.treasury import GasLimits
from keeper.ops.bookkeeping import FORMATS
from keeper.ops.output import JsonOption, show
from keeper.ops.running import RunConfig, read_config, read_policies

app = typer.Typer(add_completion=False)


@app.command()
def export(
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    form: Annotated[str, typer.Option("--format", help=f"{' or '.join(FORMATS)}.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write it there, and not to stdout.")] = None,
    json: JsonOption = False,
) -> None:
    """Write what gas cost and what executed plans moved, from the journal and the chain's receipts.

    It only reads, and a keeper may run meanwhile.
    """
    if form not in FORMATS:
        raise ConfigError("No such format", where="--format", expected=" or ".join(FORMATS), seen=form)
    entries = asyncio.run(_entries(read_config(config)))
    text = FORMATS[form](entries)
    if out is not None:
        files.write(out, text.encode(), "export")
    shown = text.removesuffix("\n") if out is None else f"{len(entries)} entries in {out}"
    show({"ok": True, "entries": len(entries), "text": text if out is None else None}, shown, json=json)


async def _entries(config: RunConfig) -> list[Entry]:
    settings, rules = load_toml(config.endpoints, Endpoints), read_policies(config)
    journal = Journal(config.data)
    hubs = sorted({policy.vault.chain_id for policy in rules})
    found: list[Entry] = []
    async with open_pools(settings, hubs, EventStream()) as pools:
        for hub in hubs:
            here = [policy for policy in rules if policy.vault.chain_id == hub]
            limits = config.gas.get(hub, GasLimits())
            found += await Accountant(GasRecord(journal, hub), pools[hub], here, limits).entries()
    return sorted(found, key=lambda each: each.moment)
