"""`keeper reconcile`: what became of the plans of `keeper run`, and whether its journal is the chain's."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.chain.pool import Endpoints, open_pools
from keeper.config import load_toml
from keeper.errors import PrunedStateError
from keeper.execution.audit import Outcome, audit_transactions, audit_vault
from keeper.execution.journal.journal import Journal
from keeper.ops.output import JsonOption, amount, logged_events, show
from keeper.ops.running import RunConfig, named, read_config, read_policies, record_of
from keeper.planning.policy import Policy

app = typer.Typer(add_completion=False)


@app.command()
def reconcile(
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    vault: Annotated[str | None, typer.Option("--vault", help="Its address, or its policy's name.")] = None,
    since: Annotated[int, typer.Option("--since", help="Block of the first plan to look at.")] = 0,
    json: JsonOption = False,
) -> None:
    """Explain again, from the chain, what became of every plan in the journal.

    The split is to the smallest unit: what time earned, what others did in the block before and after us,
    what we did, and what nothing explains. Every transaction that has ended has to be where the journal says,
    and the accounts' nonces too. It only reads, and a keeper may run meanwhile; it needs the states of the
    plans' blocks and of those before them. Ends with 1 for a difference or a remainder.
    """
    loaded = read_config(config)
    rules = read_policies(loaded) if vault is None else (named(loaded, vault),)
    data = asyncio.run(_audited(loaded, rules, since, json=json))
    show(data, "\n".join(_lines(data, rules)), json=json)
    if not data["ok"]:
        raise typer.Exit(1)


async def _audited(config: RunConfig, rules: Sequence[Policy], since: int, *, json: bool) -> dict[str, Any]:
    journal, vaults, differences = Journal(config.data), [], list[str]()
    settings = load_toml(config.endpoints, Endpoints)
    hubs = {policy.vault.chain_id for policy in rules}
    async with open_pools(settings, hubs, logged_events(json=json)) as pools:
        for policy in rules:
            record = record_of(journal, policy)
            try:
                audit = await audit_vault(pools[record.chain_id], policy, record, since)
            except PrunedStateError as error:
                raise PrunedStateError(
                    "The states of the plans' blocks, and of those before them, are needed",
                    seen=error.message,
                    where=error.where,
                    hint="Name an archive endpoint in the file of endpoints, or begin later with --since",
                ) from error
            differences += audit.differences
            vaults.append(
                {
                    "name": policy.name,
                    "chain_id": record.chain_id,
                    "vault": record.vault,
                    "blocks": [_outcome(each) for each in audit.outcomes],
                }
            )
        for chain in sorted(hubs):
            differences += await audit_transactions(pools[chain], journal)
    return {"ok": not differences, "vaults": vaults, "differences": differences}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    lines = () if result is None else result.lines
    return {
        "block": outcome.block,
        "plans": [{"kind": each.kind.value, "plan_hash": each.plan_hash} for each in outcome.plans],
        "others": None if result is None else result.others,
        "not_replayed": "" if result is None else result.not_replayed,
        "lines": [
            {
                "name": line.name,
                "before": line.before,
                "elapsed": line.elapsed,
                "third_party_before": line.earlier,
                "ours": line.ours,
                "third_party_after": line.later,
                "unexplained": line.remainder,
                "after": line.after,
            }
            for line in lines
        ],
    }


_PARTS = {
    "elapsed": "elapsed",
    "third_party_before": "others before us",
    "ours": "ours",
    "third_party_after": "others after us",
}


def _lines(data: dict[str, Any], rules: Sequence[Policy]) -> list[str]:
    lines = []
    for policy, vault in zip(rules, data["vaults"], strict=True):
        lines.append(f"{vault['name']}  {vault['vault']} on chain {vault['chain_id']}")
        for block in vault["blocks"]:
            plans = ", ".join(f"{each['kind']} 0x{each['plan_hash'].hex()}" for each in block["plans"])
            lines.append(f"  block {block['block']}  {plans}; transactions of others: {block['others']}")
            lines += [f"    NOT REPLAYED  {block['not_replayed']}"] if block["not_replayed"] else []
            lines += [f"    {_line(line, policy)}" for line in block["lines"]]
    lines += [f"DIFFERS  {each}" for each in data["differences"]]
    count = sum(len(block["plans"]) for vault in data["vaults"] for block in vault["blocks"])
    return [*lines, *([f"Plans explained: {count}. Journal and chain agree."] if data["ok"] else [])]


def _line(line: dict[str, Any], policy: Policy) -> str:
    """What did something to it, and always what nothing explains."""

    def shown(value: int) -> str:
        return amount(value, policy.vault.decimals, policy.vault.symbol)

    parts = [f"{words} {shown(line[part])}" for part, words in _PARTS.items() if line[part]]
    return f"{line['name']}: " + ", ".join([*parts, f"unexplained {shown(line['unexplained'])}"])
