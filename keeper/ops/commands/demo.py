"""`keeper demo`: one day of a vault on the real protocols, with a table of what came of it."""

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from keeper.events import Event, EventStream, StepFinished, StepStarted
from keeper.ops.output import JsonOption, amount, show
from keeper.simulation.demo import Day, User, play
from keeper.units import WAD

DECIMALS = 6
UNIT = "USDC"

app = typer.Typer(add_completion=False)


@app.command()
def demo(json: JsonOption = False) -> None:
    """Play one day: deposits, a shock, a tampered plan and a lying quote refused, rewards, exits, payment.

    Ends with code 0 only when every check held. Progress goes to stderr.
    """
    events = EventStream()
    events.subscribe(_progress)
    day = asyncio.run(play(events))
    show(_data(day), _text(day), json=json)
    if not day.ok:
        raise typer.Exit(1)


def _progress(event: Event) -> None:
    if isinstance(event, StepStarted):
        typer.echo(f"· {event.step}", err=True)
    elif isinstance(event, StepFinished) and event.detail:
        typer.echo(f"    {event.detail}", err=True)


def _data(day: Day) -> Mapping[str, object]:
    return {
        "ok": day.ok,
        "nav_difference": day.nav_difference,
        "nav": {"contract": day.contract_nav, "book": day.book_nav},
        "unexplained": day.unexplained,
        "refusals": [{"code": each.code, "reason": each.reason} for each in (*day.refusals, *day.lies)],
        "users": {name: _user(user) for name, user in day.users.items()},
        "allocation": {
            venue: {
                "before": day.before[venue],
                "after": day.after[venue],
                "rate_before_wad": str(day.rates_before[venue]),
                "rate_after_shock_wad": str(day.rates_after[venue]),
            }
            for venue in sorted(day.before)
        },
        "rebalance_gain": day.gained,
        "harvested": day.harvested,
        "gas": day.gas,
        "checks": day.checks,
    }


def _user(user: User) -> dict[str, int]:
    return {"in": user.paid_in, "out": user.paid_out, "holds": user.value, "yield": user.earned}


def _text(day: Day) -> str:
    users = _table("Users", "user", "in", "out", "still held", "yield")
    for name, user in day.users.items():
        figures = (user.paid_in, user.paid_out, user.value, user.earned)
        users.add_row(name, *(_amount(figure) for figure in figures))
    markets = _table("Allocation", "market", "before", "after", "rate before", "rate after the shock")
    for venue in sorted(day.before):
        rates = (day.rates_before[venue], day.rates_after[venue])
        markets.add_row(
            venue,
            _amount(day.before[venue]),
            _amount(day.after[venue]),
            *(_percent(rate) for rate in rates),
        )
    nav = _table("Net asset value", "source", "low", "high")
    nav.add_row("contract", _amount(day.contract_nav.low), _amount(day.contract_nav.high))
    nav.add_row("Python book", _amount(day.book_nav.low), _amount(day.book_nav.high))
    gas = _table("Gas", "step", "gas")
    for step, used in day.gas.items():
        gas.add_row(step, f"{used:,}")
    lines = [
        _render(users, markets, nav),
        f"Gained by the rebalance, over the same day without it: {_amount(day.gained)}",
        f"Largest difference between contract and book, all day: {day.nav_difference} units of 1e-6 {UNIT}",
        f"Left unexplained by reconciliation: {day.unexplained} units of 1e-6 {UNIT}",
        f"Brought by the rewards that were sold: {_amount(day.harvested)}",
        *(f"Refused: {each.code}: {each.reason}" for each in (*day.refusals, *day.lies[:1])),
        "",
        _render(gas),
        *(f"{'held  ' if held else 'FAILED'}  {check}" for check, held in day.checks.items()),
    ]
    return "\n".join(lines)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _render(*tables: Any) -> str:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    for table in tables:
        console.print(table)
    return str(console.file.getvalue()) if isinstance(console.file, io.StringIO) else ""


def _amount(value: int) -> str:
    return amount(value, DECIMALS, UNIT)


def _percent(rate: int) -> str:
    """A yearly rate in wad as percent, rounded down."""
    hundredths = rate * 10_000 // WAD
    return f"{hundredths // 100}.{hundredths % 100:02d} %"
