"""The file in which people write what they want: TOML or JSON, with amounts and times as people write them.

Beside what an intent has itself, `amount` may stand for `assets`: whole units of the vault's asset as text,
such as "1250.50", or "all". `until` may be a time with its offset from UTC.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from keeper.config import parse, parse_toml
from keeper.connectors.base import EVERYTHING
from keeper.errors import ConfigError, DecodeError
from keeper.json_input import parse_json
from keeper.planning.intents import Intents
from keeper.units import MAX_UINT256

ALL: Final = "all"
MAX_FILE_BYTES: Final = 64 * 1024


def read(path: Path, *, decimals: int, issued_at: int) -> Intents:
    """The intents of a file, as issued at `issued_at` (UNIX seconds) unless it says when.

    Raises ConfigError, naming the field, for what does not fit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError("Cannot read the intents", where=path, seen=error.strerror) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError("Too large a file of intents", expected=f"{MAX_FILE_BYTES:,} bytes", where=path)
    try:
        text = data.decode()
        body = parse_json(text) if path.suffix == ".json" else parse_toml(text)
    except (UnicodeDecodeError, ConfigError, DecodeError) as error:
        raise ConfigError("Neither TOML nor JSON (*.json)", where=path, seen=error) from error
    if not isinstance(body, dict):
        raise ConfigError("A file of intents is a table", seen=type(body).__name__, where=path)
    wanted = body.get("intents")
    if isinstance(wanted, list):
        body["intents"] = tuple(_intent(each, i, decimals) for i, each in enumerate(wanted))
    return parse({"issued_at": issued_at} | body, Intents, where=path)


def _intent(written: object, index: int, decimals: int) -> object:
    """With amounts in the smallest unit and times in seconds; whatever else is wrong the model says."""
    if not isinstance(written, Mapping):
        return written
    intent: dict[str, Any] = dict(written)
    if "amount" in intent:
        if "assets" in intent:
            raise ConfigError("Either amount or assets", seen="both", where=f"intents.{index}")
        intent["assets"] = _units(intent.pop("amount"), decimals, f"intents.{index}.amount")
    if "until" in intent:
        intent["until"] = _seconds(intent["until"], f"intents.{index}.until")
    return intent


def _units(amount: object, decimals: int, where: str) -> int:
    expected = f'text such as "1250.5" with at most {decimals} decimals, or "{ALL}"'
    if amount == ALL:
        return EVERYTHING
    if not isinstance(amount, str) or len(amount) > 100:
        raise ConfigError("Not an amount", expected=expected, seen=type(amount).__name__, where=where)
    try:
        sign, digits, exponent = Decimal(amount).as_tuple()
    except InvalidOperation:
        raise ConfigError("Not an amount", expected=expected, seen=amount, where=where) from None
    if not isinstance(exponent, int) or sign or not -decimals <= exponent <= 77:
        raise ConfigError("Not an amount", expected=expected, seen=amount, where=where)
    scale: int = 10 ** (exponent + decimals)
    units = int("".join(map(str, digits))) * scale
    # As many as this would be taken for all there is.
    if units >= MAX_UINT256:
        raise ConfigError("Not an amount", expected=expected, seen=amount, where=where)
    return units


def _seconds(until: object, where: str) -> object:
    if isinstance(until, str):
        try:
            until = datetime.fromisoformat(until)
        except ValueError as error:
            raise ConfigError("Not a time", seen=error, where=where) from error
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ConfigError("A time without its offset from UTC", seen=until, where=where)
        return int(until.timestamp())
    return until
