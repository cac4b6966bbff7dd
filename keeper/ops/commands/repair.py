"""`keeper repair --config FILE`: what is wrong with what is under way, and with --do its cure."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.chain.pool import Endpoints, open_pools
from keeper.config import load_toml
from keeper.errors import ConfigError, KeeperError, LeaseError
from keeper.events import EventStream
from keeper.execution.duties import Duties
from keeper.execution.journal.journal import Journal, JournalError
from keeper.execution.repair import Finding, Inspection, Remedy, Surgeon
from keeper.execution.treasury import parse_wei
from keeper.ops.output import JsonOption, logged_events, show
from keeper.ops.running import RunConfig, opened, read_config, read_policies

app = typer.Typer(add_completion=False)


@app.command()
def repair(
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    do: Annotated[bool, typer.Option("--do", help="Do it; refused while a keeper runs.")] = False,
    ceiling: Annotated[
        str | None,
        typer.Option("--ceiling", help='What is stuck may be replaced at up to this, such as "80 gwei".'),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel what is stuck, instead.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what is wrong with transactions and plans under way, why, and what would be done; then do it.

    What the keeper puts right by itself is only shown. Ends with 1 while something needs a person.
    """
    loaded = read_config(config)
    remedy = Remedy(None if ceiling is None else _wei(ceiling), cancel)
    found, results = asyncio.run(_do(loaded, remedy, json=json) if do else _shown(loaded))
    left = [done for each, done in zip(found, results, strict=True) if not each.by_itself and not done]
    data = {
        "ok": not left,
        "findings": [_plain(each, done) for each, done in zip(found, results, strict=True)],
    }
    lines = [line for each in zip(found, results, strict=True) for line in _lines(*each)]
    show(data, "\n".join(lines) or "Nothing is wrong.", json=json)
    if left:
        raise typer.Exit(1)


def _wei(written: str) -> int:
    try:
        return parse_wei(int(written) if written.isdecimal() else written)
    except ValueError as error:
        wanted = str(error).removeprefix("expected ")
        raise ConfigError("Not a price of gas", where="--ceiling", expected=wanted, seen=written) from None


@asynccontextmanager
async def _inspecting(config: RunConfig, journal: Journal) -> AsyncIterator[list[Finding]]:
    """What is found, while the endpoints that show it are open."""
    settings, rules = load_toml(config.endpoints, Endpoints), read_policies(config)
    hubs = sorted({policy.vault.chain_id for policy in rules})
    async with open_pools(settings, hubs, EventStream()) as pools:
        found: list[Finding] = []
        for hub in hubs:
            here = [policy for policy in rules if policy.vault.chain_id == hub]
            found += await Inspection(journal, pools[hub], settings.chains[hub], here).findings()
        yield found


async def _shown(config: RunConfig) -> tuple[list[Finding], list[str]]:
    async with _inspecting(config, Journal(config.data)) as found:
        return found, [""] * len(found)


async def _do(config: RunConfig, remedy: Remedy, *, json: bool) -> tuple[list[Finding], list[str]]:
    """What is found, and what was done about each; nothing about what the keeper does by itself, or where it
    could not be done, as is then told."""
    if config.key is None:
        raise ConfigError("Without a key nothing can be done", expected="key")
    async with opened(config, logged_events(json=json)) as loop:
        tended = [each.duties for each in loop.vaults if each.duties is not None]
        async with _inspecting(config, tended[0].record.journal) as found:
            return found, [await _cured(tended, remedy, each) for each in found]


async def _cured(tended: Sequence[Duties], remedy: Remedy, finding: Finding) -> str:
    if finding.by_itself:
        return ""
    here = {each.record.vault: each for each in tended if each.record.chain_id == finding.chain_id}
    try:
        return await Surgeon(here, remedy).cure(finding)
    except (LeaseError, JournalError):
        raise
    except KeeperError as error:
        typer.echo(f"keeper: {error}", err=True)
        return ""


def _plain(finding: Finding, done: str) -> dict[str, Any]:
    return {
        "trouble": finding.trouble.value,
        "chain_id": finding.chain_id,
        "what": finding.what,
        "why": finding.why,
        "cure": finding.cure,
        "by_itself": finding.by_itself,
        "done": done,
    }


def _lines(finding: Finding, done: str) -> list[str]:
    how = "the keeper will do this by itself" if finding.by_itself else "to be done"
    last = f"  done: {done}" if done else f"  {how}: {finding.cure}"
    return [f"{finding.trouble}  {finding.what}", f"  because {finding.why}", last]
