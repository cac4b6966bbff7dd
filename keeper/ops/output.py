"""What every command prints: text for people, or one JSON object with `--json`."""

import dataclasses
import json as jsonlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from keeper.errors import KeeperError
from keeper.events import EventStream, log_sink, logger

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
"""Every command has it: `json: JsonOption = False`."""

_SAFE_INTEGER = 2**53 - 1


def plain(value: object) -> Any:
    """JSON form: bytes as 0x hex; integers that a double would round as decimal strings.

    Raises KeeperError for a type without one.
    """
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            return value if abs(value) <= _SAFE_INTEGER else str(value)
        case bytes():
            return "0x" + value.hex()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise KeeperError("No JSON form for this type", seen=type(value).__name__)


def show(data: Mapping[str, object], text: str, *, json: bool) -> None:
    """Prints `data` as one JSON object, or `text`."""
    typer.echo(jsonlib.dumps(plain(data)) if json else text)


def logged_events(*, json: bool) -> EventStream:
    """A stream whose events are logged on stderr, with `--json` as one object each."""
    events = EventStream()
    events.subscribe(log_sink(logger(json=json)))
    return events


def amount(value: int, decimals: int, unit: str) -> str:
    """An amount for people, exact: amount(1234567890, 6, "USDC") is "1,234.567890 USDC"."""
    whole, part = divmod(abs(value), 10**decimals)
    fraction = f".{part:0{decimals}d}" if decimals else ""
    return f"{'-' if value < 0 else ''}{whole:,}{fraction} {unit}"
