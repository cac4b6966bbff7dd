"""`keeper status`: how the vaults of `keeper run` are, from its journal, and who can still pay for gas."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper.chain.block import quantity
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.rpc import Source
from keeper.config import load_toml
from keeper.errors import DecodeError, EndpointError
from keeper.events import EventStream
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import Transaction
from keeper.execution.treasury import GasLimits, by_purpose, spent_on
from keeper.guardian.powers import moment
from keeper.ops.output import JsonOption, amount, show
from keeper.ops.running import RunConfig, read_config, read_policies, record_of
from keeper.planning.policy import Policy

PATIENCE_SECONDS = 20
"""With endpoints, for what an account has."""

app = typer.Typer(add_completion=False)


@app.command()
def status(
    config: Annotated[Path, typer.Option("--config", help="The file of `keeper run`.")],
    json: JsonOption = False,
) -> None:
    """Show vaults, circuit breakers, the lease, transactions under way, nonces, and who paid what for gas.

    It only reads, and a keeper may run meanwhile. Ends with 1 when a breaker has tripped, the last pass over
    a vault had trouble, or an account cannot be asked for.
    """
    loaded = read_config(config)
    journal = Journal(loaded.data)
    vaults = [_vault(journal, policy) for policy in read_policies(loaded)]
    payers = sorted({(each["chain_id"], each["account"]) for each in vaults if each["account"]})
    accounts = asyncio.run(_accounts(loaded, journal, payers))
    well = not any(each["trouble"] or each.get("breakers") for each in (*vaults, *accounts))
    data = {
        "ok": well,
        "keeper": journal.holder(),
        "vaults": vaults,
        "transactions": [_transaction(each) for each in journal.under_way()],
        "accounts": accounts,
        "gas": [each for chain in sorted({chain for chain, _ in payers}) for each in _gas(journal, chain)],
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


async def _accounts(
    config: RunConfig, journal: Journal, payers: list[tuple[int, str]]
) -> list[dict[str, Any]]:
    """What the accounts that pay for gas have, their next nonces, and what today has cost, at the heads; or
    the trouble that keeps the endpoints from telling."""
    settings = load_toml(config.endpoints, Endpoints)
    async with open_pools(settings, {chain for chain, _ in payers}, EventStream()) as pools:
        asked = (_account(pools[chain], config, journal, account) for chain, account in payers)
        return await asyncio.gather(*asked)


async def _account(source: Source, config: RunConfig, journal: Journal, account: str) -> dict[str, Any]:
    chain = source.chain_id
    limits, record = config.gas.get(chain, GasLimits()), GasRecord(journal, chain)
    shown = {
        "chain_id": chain,
        "account": account,
        "currency": limits.currency,
        "daily_cap": limits.daily_cap,
    }
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            wei = quantity(await source.rpc("eth_getBalance", [account, "latest"]))
            nonce = quantity(await source.rpc("eth_getTransactionCount", [account, "latest"]))
            today = spent_on(record, (await source.latest()).timestamp)
    except (EndpointError, DecodeError, TimeoutError) as error:
        # An outage is when the rest is asked for.
        unknown = dict.fromkeys(("wei", "low", "nonce", "spent_today", "under_way"))
        return {**shown, **unknown, "trouble": str(error) or "No answer in time"}
    low = limits.low is not None and wei < limits.low
    known = {"wei": wei, "low": low, "nonce": nonce, "spent_today": today.spent, "under_way": today.under_way}
    return {**shown, **known, "trouble": ""}


def _gas(journal: Journal, chain: int) -> list[dict[str, Any]]:
    """What each vault's purposes have cost, ever."""
    paid = by_purpose(GasRecord(journal, chain).charges())
    return [
        {
            "chain_id": chain,
            "vault": vault,
            "purpose": purpose,
            "transactions": spent.transactions,
            "wei": spent.wei,
        }
        for (vault, purpose), spent in sorted(paid.items(), key=lambda each: (each[0][0] or "", each[0][1]))
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
        if each["trouble"]:
            lines.append(f"{each['account']} on chain {each['chain_id']}: TROUBLE  {each['trouble']}")
            continue
        low = "  LOW" if each["low"] else ""
        lines.append(
            f"{each['account']} on chain {each['chain_id']}: {_gas_amount(each['wei'], each)},"
            f" next nonce {each['nonce']}{low}"
        )
        lines += _today(each)
    currencies = {each["chain_id"]: each for each in data["accounts"]}
    lines += [
        f"gas of {each['vault'] or 'no vault'}: {_gas_amount(each['wei'], currencies[each['chain_id']])}"
        f" in {each['transactions']}, {each['purpose']}"
        for each in data["gas"]
    ]
    return lines


def _today(account: dict[str, Any]) -> list[str]:
    spent, under_way = account["spent_today"], account["under_way"]
    if account["daily_cap"] is None:
        return []
    cap = _gas_amount(account["daily_cap"], account)
    waits = f", {_gas_amount(under_way, account)} under way" if under_way else ""
    return [f"  today {_gas_amount(spent, account)} of at most {cap} for what may add risk{waits}"]


def _gas_amount(wei: int, account: dict[str, Any]) -> str:
    return amount(wei, 18, account["currency"])
