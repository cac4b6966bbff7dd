"""An event of every kind, with values as large as they get."""

import typing
from typing import Any

from keeper.events import Event

HASH = b"\xab" * 32
_VALUES: dict[Any, Any] = {int: 2**200, str: "word", bytes: HASH, bool: True, float: 1.5}


def specimen(kind: type[Event], **known: Any) -> Event:
    """One of that class; `known` are fields with values of their own."""
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "severity"}
    return kind(**{name: known.get(name, _value(hint)) for name, hint in hints.items()})


def _value(hint: Any) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return (_value(inner[0]), _value(inner[0]))
    if origin is not None:
        return {_value(inner[0]): _value(inner[1])}
    return _VALUES[hint]
