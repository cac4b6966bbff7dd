"""`keeper nav`: what a vault is worth, position by position, and that its contract says the same."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from keeper import clock, engine
from keeper.book import Book, open_book
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.snapshot import Snapshot, take, take_at
from keeper.config import load_toml
from keeper.connectors.base import Position, Report
from keeper.contracts import address
from keeper.errors import ConfigError, PolicyError
from keeper.exposures import Exposure
from keeper.ledger.vault import pps_high, pps_low
from keeper.ops.output import JsonOption, amount, logged_events, show
from keeper.oracle.quote import Quote
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.provenance import PRICED, Provenance, trace
from keeper.reads import VaultReads
from keeper.units import BPS, WAD, Address

app = typer.Typer(help="What a vault is worth, proved against its contract.", no_args_is_help=True)

_FIRST_PRICE_DIGITS: Final = 21
"""Shares have six decimals more than the asset: at 10^21, of 10^27, a whole one costs a whole asset."""

Sources = Mapping[str, Provenance]
"""By venue."""

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy: its positions and caps.")]
BlockOption = Annotated[int | None, typer.Option("--block", min=0, help="Number; left out, the last final.")]
EndpointsOption = Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")]


@app.command()
def nav(
    vault: Annotated[str, typer.Argument(help="The vault's address.")],
    policy: PolicyOption,
    endpoints: EndpointsOption,
    block: BlockOption = None,
    json: JsonOption = False,
) -> None:
    """Value every position from protocol state and prove the sum against the contract at the same block.

    Ends with 1, naming the position, when the two differ by a unit.
    """
    rules = policies.load(policy)
    _require_same(vault, rules)
    taken = asyncio.run(_take(rules, load_toml(endpoints, Endpoints), block, json=json))
    book = open_book(taken, rules)
    sources = trace(taken, rules)
    show({"ok": True, **_data(taken, rules, book, sources)}, _text(taken, rules, book, sources), json=json)


def _require_same(vault: str, policy: Policy) -> None:
    try:
        named = address(vault)
    except ConfigError as error:
        raise ConfigError(
            "Not a vault's address", expected=error.expected, seen=vault, where="VAULT"
        ) from error
    if named != policy.vault.vault:
        raise PolicyError(
            "The policy is another vault's",
            expected=policy.vault.vault,
            seen=named,
            where="VAULT",
            hint="Name the policy of this vault with --policy.",
        )


async def _take(policy: Policy, settings: Endpoints, number: int | None, *, json: bool) -> Snapshot:
    hub, calls = policy.vault.chain_id, engine.calls(policy)
    async with open_pools(settings, calls, logged_events(json=json)) as pools:
        if number is None:
            now = await clock.named(settings.clock, pools[hub]).now()
            return await take(pools, calls, now, policy.finality)
        pinned = await pools[hub].get_block(number)
        return await take_at(pools, calls, [pinned], pinned.timestamp)


# JSON


def _data(taken: Snapshot, policy: Policy, book: Book, sources: Sources) -> dict[str, Any]:
    vault, block, supply = policy.vault, taken.block(policy.vault.chain_id), book.accounting.total_supply
    contract: Any = taken.result(vault.chain_id, VaultReads(policy).nav)
    (low, high), healthy = contract
    return {
        "vault": vault.vault,
        "policy_hash": policy.hash,
        "snapshot_hash": taken.hash,
        "block": {
            "chain_id": block.chain_id,
            "number": block.number,
            "hash": block.hash,
            "timestamp": block.timestamp,
        },
        "asset": {"address": vault.asset, "symbol": vault.symbol, "decimals": vault.decimals},
        "positions": [_position(policy, book, each, sources[each.ref.venue]) for each in book.positions],
        "idle": book.idle,
        "gross": book.gross,
        "debt": book.debt,
        "net": book.gross - book.debt,
        "nav": {"low": book.nav.low, "high": book.nav.high, "healthy": book.healthy},
        "total_supply": supply,
        "price_per_share": {"low": pps_low(book.nav.low, supply), "high": pps_high(book.nav.high, supply)},
        "exposures": [_exposure(each) for each in book.exposures],
        # `open_book` has compared them: where they differ there is no book.
        "contract_nav": {"low": low, "high": high, "healthy": healthy},
    }


def _position(policy: Policy, book: Book, position: Position, source: Provenance) -> dict[str, Any]:
    ref, report = position.ref, position.report(book.at)
    return {
        "venue": ref.venue,
        "connector": ref.connector,
        "address": ref.address,
        "key": ref.key,
        "risk_ids": policy.position(ref.venue).risk_ids,
        "status": report.status.name,
        "impaired": book.impaired.get(ref.venue),
        "legs": [
            {
                "role": leg.role.value,
                "token": leg.token,
                "amount": leg.amount,
                "low": leg.low,
                "high": leg.high,
                "status": leg.status.name,
            }
            for leg in position.legs(book.at)
        ],
        "low": report.low,
        "high": report.high,
        "debt": report.debt,
        "health": report.health,
        "cap": book.caps[ref.venue],
        "provenance": {
            "block_hash": source.block.hash,
            "calls": source.calls,
            "results_hash": source.results,
            "prices": [_price(token, quote) for token, quote in source.prices],
        },
    }


def _price(token: str, quote: Quote) -> dict[str, Any]:
    return {
        "token": token,
        "amount": PRICED,
        "low": quote.low,
        "high": quote.high,
        "status": quote.status.name,
    }


def _exposure(each: Exposure) -> dict[str, Any]:
    return {
        "risk_id": each.name,
        "venues": each.venues,
        "counted": each.counted,
        "live": each.live,
        "policy_cap": each.allowed,
        "chain_cap": each.granted,
    }


# TEXT


def _text(taken: Snapshot, policy: Policy, book: Book, sources: Sources) -> str:
    vault, block = policy.vault, taken.block(policy.vault.chain_id)
    return "\n".join(
        [
            f"vault {vault.vault}  chain {block.chain_id}  block {block.number}  time {block.timestamp}",
            "",
            *_table(
                ("position", "connector", "status", "low", "high", "debt", "health", "share of NAV"),
                [_row(policy, book, each) for each in book.positions],
                left=3,
            ),
            "",
            *_notes(policy, book, sources),
            *_totals(policy, book),
            "",
            *_table(
                ("risk id", "counted", "now", "cap of the chain", "cap of the policy"),
                [
                    (
                        each.name,
                        *(_number(policy, n) for n in (each.counted, each.live, each.granted, each.allowed)),
                    )
                    for each in book.exposures
                ],
                left=1,
            ),
            "",
            _proof(taken, policy),
        ]
    )


def _proof(taken: Snapshot, policy: Policy) -> str:
    block = taken.block(policy.vault.chain_id)
    contract: Any = taken.result(block.chain_id, VaultReads(policy).nav)
    (low, high), _ = contract
    said = f"{_number(policy, low)} to {_number(policy, high)} {policy.vault.symbol}"
    return f"Proved: nav() of the contract at block 0x{block.hash.hex()} is {said}, the same to the unit."


def _row(policy: Policy, book: Book, position: Position) -> tuple[str, ...]:
    ref, report = position.ref, position.report(book.at)
    status = "impaired" if ref.venue in book.impaired else report.status.name
    return (
        ref.venue,
        ref.connector,
        status,
        _number(policy, report.low),
        _number(policy, report.high),
        _number(policy, report.debt) if report.debt else "-",
        _fixed(report.health, WAD, 4) if report.debt else "-",
        _share(report, book.total),
    )


def _notes(policy: Policy, book: Book, sources: Sources) -> list[str]:
    """What stands behind each position: its tokens, or why it cannot be read; and what was read."""
    lines = []
    for position in book.positions:
        venue = position.ref.venue
        source = sources[venue]
        lines.append(f"{venue}  {source.calls} reads, 0x{source.results.hex()}")
        if venue in book.impaired:
            lines.append(f"  impaired: {book.impaired[venue]}")
        if not book.caps[venue]:
            lines.append("  closed to new risk")
        for leg in position.legs(book.at):
            worth = f"{_number(policy, leg.low)} to {_number(policy, leg.high)} {policy.vault.symbol}"
            lines.append(f"  {leg.role.value} {units(policy, leg.token, leg.amount)}, worth {worth}")
    return [*lines, ""] if lines else []


def _totals(policy: Policy, book: Book) -> list[str]:
    supply, vault = book.accounting.total_supply, policy.vault
    prices = (pps_low(book.nav.low, supply), pps_high(book.nav.high, supply))
    low, high = (_fixed(price, 10**_FIRST_PRICE_DIGITS, 12) for price in prices)
    rows = [
        ("idle", _number(policy, book.idle)),
        ("gross", _number(policy, book.gross)),
        ("debt", _number(policy, book.debt)),
        ("net", _number(policy, book.gross - book.debt)),
        ("NAV low", _number(policy, book.nav.low)),
        ("NAV high", _number(policy, book.nav.high)),
    ]
    table = _table(("", vault.symbol), rows, left=1)[1:]
    return [*table, f"a share is worth {low} to {high} {vault.symbol}, before fees that are not yet taken"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Lines of aligned columns, the first `left` of them flush left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _number(policy: Policy, value: int) -> str:
    return amount(value, policy.vault.decimals, "").rstrip()


def units(policy: Policy, token: Address, value: int) -> str:
    """An amount of a token, in its smallest unit where the policy does not say what that is."""
    if token == policy.vault.asset:
        return amount(value, policy.vault.decimals, policy.vault.symbol)
    for symbol, known in policy.oracle.tokens.items() if policy.oracle else ():
        if known.address == token and known.decimals is not None:
            return amount(value, known.decimals, symbol)
    return f"{value:,} units of {token}"


def _fixed(value: int, one: int, digits: int) -> str:
    """`value` in `one`s, rounded down to some digits."""
    whole, rest = divmod(value, one)
    return f"{whole:,}.{rest * 10**digits // one:0{digits}d}"


def _share(report: Report, total: int) -> str:
    return f"{_fixed(report.low * BPS // total, BPS // 100, 2)} %" if total else "-"
