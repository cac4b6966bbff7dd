"""`keeper status`: how the vaults of `keeper run` are, from its journal, and who can still pay for gas."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.chain.block import quantity
from keeper.chain.pool import Endpoints, open_pools
from keeper.config import load_toml
from keeper.events import EventStream
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import Transaction
from keeper.guardian.powers import moment
from keeper.ops.output import JsonOption, show
from keeper.ops.running import RunConfig, read_config, read_policies, record_of
from keeper.planning.policy import Policy

app = typer.Typer(add_completion=False)


@app.command()
def status(
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    json: JsonOption = False,
) -> None:
    """Show vaults, circuit breakers, the lease, transactions under way, nonces and gas.

    It only reads, and a keeper may run meanwhile. Ends with 1 when a breaker has tripped or the last pass
    over a vault had trouble.
    """
    loaded = read_config(config)
    journal = Journal(loaded.data)
    vaults = [_vault(journal, policy) for policy in read_policies(loaded)]
    payers = sorted({(each["chain_id"], each["account"]) for each in vaults if each["account"]})
    accounts = asyncio.run(_accounts(loaded, payers))
    well = not any(each["breakers"] or each["trouble"] for each in vaults)
    data = {
        "ok": well,
        "keeper": journal.holder(),
        "vaults": vaults,
        "transactions": [_transaction(each) for each in journal.under_way()],
        "accounts": accounts,
    }
    show(data, "\n".join(_lines(data)), json=json)
    if not well:
        raise typer.Exit(1)


def _vault(journal: Journal, policy: Policy) -> dict[str, Any]:
    record = record_of(journal, policy)
    beat = record.heartbeat()
    plans = record.open_plans()
    return {
        "name": policy.name,
        "chain_id": record.chain_id,
        "vault": record.vault,
        "account": None if beat is None else beat.account,
        "last_pass": None if beat is None else beat.moment // 1000,
        "did": "" if beat is None else beat.did,
        "trouble": "" if beat is None else beat.trouble,
        "plans": [{"kind": each.kind.value, "plan_hash": each.plan_hash} for each in plans],
        "breakers": [
            {"breaker": name.value, "since": row.moment // 1000, "reason": row.reason}
            for name, row in sorted(record.tripped().items())
        ],
    }


def _transaction(row: Transaction) -> dict[str, Any]:
    return {
        "chain_id": row.chain_id,
        "account": row.account,
        "nonce": row.nonce,
        "state": row.state,
        "hash": row.hash,
        "intent": row.intent,
    }


async def _accounts(config: RunConfig, payers: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """What the accounts that pay for gas have, and their next nonces, at the heads."""
    settings = load_toml(config.endpoints, Endpoints)
    async with open_pools(settings, {chain for chain, _ in payers}, EventStream()) as pools:
        return [
            {
                "chain_id": chain,
                "account": account,
                "wei": quantity(await pools[chain].rpc("eth_getBalance", [account, "latest"])),
                "nonce": quantity(await pools[chain].rpc("eth_getTransactionCount", [account, "latest"])),
            }
            for chain, account in payers
        ]


def _lines(data: dict[str, Any]) -> list[str]:
    lines = [f"keeper: {data['keeper'] or 'none holds the lease'}"]
    for each in data["vaults"]:
        last = "never" if each["last_pass"] is None else moment(each["last_pass"])
        lines.append(f"{each['name']}  {each['vault']} on chain {each['chain_id']}")
        lines.append(f"  last pass {last}  {each['did'] or 'nothing to do'}")
        lines += [f"  TROUBLE  {each['trouble']}"] if each["trouble"] else []
        lines += [f"  {plan['kind']} 0x{plan['plan_hash'].hex()} is under way" for plan in each["plans"]]
        lines += [
            f"  STOPPED  {row['breaker']} since {moment(row['since'])}: {row['reason']}"
            for row in each["breakers"]
        ]
    for each in data["transactions"]:
        lines.append(f"nonce {each['nonce']} of {each['account']}: {each['state']}, for {each['intent']}")
    for each in data["accounts"]:
        ether = f"{each['wei'] // 10**18}.{each['wei'] % 10**18:018d}"
        lines.append(f"{each['account']} on chain {each['chain_id']}: {ether}, next nonce {each['nonce']}")
    return lines
