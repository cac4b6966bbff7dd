"""`keeper price`: what tokens are worth, and why."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper import clock
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.snapshot import Snapshot, take, take_at
from keeper.config import load_toml
from keeper.errors import ConfigError
from keeper.ops.output import JsonOption, amount, logged_events, show
from keeper.oracle.explain import Explanation, Step, explain, find_route
from keeper.oracle.quote import Status
from keeper.oracle.routes import calls
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.units import MAX_UINT256

app = typer.Typer(help="What tokens are worth, and why.", no_args_is_help=True)

_WAD_DECIMALS = 18
_LABEL = 12


@app.callback()
def price() -> None:
    """What tokens are worth, and why."""


@app.command("explain")
def explain_price(
    token: Annotated[str, typer.Argument(help="A token of the policy, by symbol or address.")],
    policy: Annotated[Path, typer.Option("--policy", help="The policy with the oracle section.")],
    endpoints: Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")],
    block: Annotated[
        int | None, typer.Option(min=0, help="Block number; the last final one if left out.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a token's price in the vault's asset hop by hop, with what each source saw and its verdict.

    Every number is worked out from raw state and compared with the contracts'. Ends with 1 when the price may
    not be used for new risk.
    """
    loaded = policies.load(policy)
    if loaded.oracle is None:
        raise ConfigError("The policy has no oracle section", where=policy)
    route = find_route(loaded.oracle, token, loaded.vault.asset)
    taken = asyncio.run(_take(loaded, load_toml(endpoints, Endpoints), block, json=json))
    hub = loaded.vault.chain_id
    at = taken.block(hub)
    found = explain(loaded.oracle, route, lambda call: taken.result(hub, call), at.timestamp)
    data = {
        "ok": found.worth.status is Status.OK,
        "chain_id": hub,
        "block": {"number": at.number, "hash": at.hash, "timestamp": at.timestamp},
        **_data(found),
    }
    where = f"block {at.number}, {datetime.fromtimestamp(at.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    show(data, "\n".join((f"{found.base} in {found.quote} at {where}", *_text(found))), json=json)
    if found.worth.status is not Status.OK:
        raise typer.Exit(1)


async def _take(policy: Policy, settings: Endpoints, number: int | None, *, json: bool) -> Snapshot:
    hub = policy.vault.chain_id
    wanted = {hub: calls(policy.oracle) if policy.oracle else ()}
    async with open_pools(settings, [hub], logged_events(json=json)) as pools:
        if number is None:
            present = await clock.named(settings.clock, pools[hub]).now()
            return await take(pools, wanted, present, policy.finality)
        block = await pools[hub].get_block(number)
        return await take_at(pools, wanted, [block], block.timestamp)


def _data(found: Explanation) -> dict[str, Any]:
    return {
        "token": found.base,
        "quote": found.quote,
        "decimals": found.decimals,
        "low": found.worth.low,
        "high": _ceiling(found.worth.high),
        "spread_bps": found.spread_bps,
        "status": found.worth.status.name,
        "verdict": found.verdict,
        "why": found.why,
        "hops": [_step_data(step) for step in found.steps],
    }


def _step_data(step: Step) -> dict[str, Any]:
    return {
        "source": step.name,
        "kind": step.kind,
        "address": step.address,
        "base": step.base,
        "quote": step.quote,
        "inverse": step.inverse,
        "low": step.price.low,
        "high": _ceiling(step.price.high),
        "status": step.price.status.name,
        "why": step.price.why,
        "details": step.details,
        "parts": [_step_data(part) for part in step.parts],
    }


def _ceiling(high: int) -> int | None:
    return None if high == MAX_UINT256 else high


def _text(found: Explanation) -> Iterator[str]:
    worth = found.worth
    if worth.status is Status.UNAVAILABLE:
        yield f"1 {found.base} = no price"
    else:
        low, high = (amount(value, found.decimals, found.quote) for value in (worth.low, worth.high))
        width = "" if found.spread_bps is None else f"  ({found.spread_bps} bps wide)"
        yield f"1 {found.base} = {low} to {high}{width}"
    yield f"{worth.status.name}: {found.verdict}"
    for number, step in enumerate(found.steps, 1):
        yield ""
        yield from _step_text(step, f"{number}. ", "   ")


def _step_text(step: Step, bullet: str, indent: str) -> Iterator[str]:
    direction = f"{step.base} → {step.quote}" + (" (read backwards)" if step.inverse else "")
    yield f"{bullet}{step.name}  {direction}  {step.kind}  {step.address}"
    rows = [("price", _range(step)), *_rows(step.details), ("status", step.price.status.name)]
    rows += [("", why) for why in step.price.why]
    yield from (f"{indent}{label:<{_LABEL}}{value}" for label, value in rows)
    for part in step.parts:
        yield from _step_text(part, f"{indent}- ", indent + "  ")


def _range(step: Step) -> str:
    if step.price.status is Status.UNAVAILABLE:
        return "none"
    return f"{_wad(step.price.low)} to {_wad(step.price.high)} {step.quote}"


def _wad(value: int | None) -> str:
    return "none" if value is None else amount(value, _WAD_DECIMALS, "").rstrip()


def _rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    """The details of each kind of source, for people."""
    if "heartbeat" in details:
        return _feed_rows(details)
    if "window" in details:
        return _pool_rows(details)
    if "tolerance_bps" in details:
        return _checked_rows(details)
    return _rate_rows(details) if details else []


def _feed_rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    answer = amount(details["answer"], details["decimals"], "").rstrip()
    age = "unknown" if details["age"] is None else f"{details['age']:,} s"
    rows = [
        ("feed", f"{details['description'] or 'no name'}  {details['aggregator']}"),
        ("answer", f"{answer} in round {details['round']}"),
        ("age", f"{age}, heartbeat {details['heartbeat']:,} s"),
        ("deviation", f"{details['deviation_bps']} bps"),
        ("bounds", f"{_wad(details['minimum'])} to {_wad(details['maximum'])}"),
    ]
    if details["constant_after"]:
        rows.append(("constant", f"after {details['constant_after']:,} s of one answer"))
    if details["cross_check"]:
        rows.append(("cross check", f"{details['cross_check']}, within {details['tolerance_bps']} bps"))
    sequencer = details["sequencer"]
    if sequencer is None:
        return [*rows, ("sequencer", "none")]
    since, grace = sequencer["since"], sequencer["grace_period"]
    return [*rows, ("sequencer", f"{sequencer['state']} since {since}, grace period {grace:,} s")]


def _pool_rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    liquidity = "unknown" if details["liquidity"] is None else f"{details['liquidity']:,}"
    return [
        ("pool", details["pool"]),
        ("window", f"{details['window']:,} s, mean tick {details['mean_tick']}"),
        ("cardinality", f"{details['cardinality']} observations, at least {details['min_cardinality']}"),
        ("liquidity", f"{liquidity} harmonic mean, at least {details['min_liquidity']:,}"),
        ("standing", _wad(details["standing"])),
        ("spot", _wad(details["spot"])),
    ]


def _checked_rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    readings = ", ".join(f"{_wad(each['price'])} at {each['at']}" for each in details["readings"])
    return [
        ("tolerance", f"{details['tolerance_bps']} bps between feeds and pool"),
        ("persisted", _wad(details["persisted"])),
        ("readings", readings or "none"),
    ]


def _rate_rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("rate", _wad(details["rate"])),
        ("anchor", f"{_wad(details['anchor'])}, {details['age']:,} s ago"),
        ("growth", f"at most {_wad(details['max_growth'])} a day"),
    ]
