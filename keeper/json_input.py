"""JSON from outside this process, parsed without trust.

`json.loads` recurses in C as deep as the text is nested. Python's own limit does not protect it: a
cryptography library that eth-account imports raises that limit far above what the stack holds, and 100 kB of
"[" end the process. So depth is counted first.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from keeper.errors import DecodeError

MAX_DEPTH: Final = 64
MAX_BRACKETS: Final = 1_000_000
"""A reply of 60 MB of them took 1.9 GB of memory, and seconds in which nothing else was done."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(text: str | bytes, *, where: object = None, exact: bool = False) -> Any:
    """The value; with `exact`, decimals stand for floats, and JSON cannot be made of it again.

    Raises DecodeError for what is no JSON, is nested deeper than `MAX_DEPTH`, has more than `MAX_BRACKETS`,
    holds a lone surrogate, or names a member of an object twice, as two readers could each take another one.
    """
    try:
        data = text if isinstance(text, bytes) else text.encode()
        _check_depth(data, where)
        value = json.loads(
            data.decode(),
            object_pairs_hook=_once,
            parse_float=Decimal if exact else None,
            parse_constant=_no_number,
        )
        if b"\\u" in data:
            # An escape may stand for half a character, which nothing can write down again.
            json.dumps(value, ensure_ascii=False, default=str).encode()
        return value
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise DecodeError("Not JSON", seen=type(error).__name__, where=where) from error


def _check_depth(data: bytes, where: object) -> None:
    depth, brackets = 0, _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    if len(brackets) > MAX_BRACKETS:
        raise DecodeError(
            "Too much JSON", expected=f"at most {MAX_BRACKETS:,} brackets", seen=len(brackets), where=where
        )
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise DecodeError("JSON nested too deeply", expected=f"at most {MAX_DEPTH} levels", where=where)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DecodeError("A name comes twice in one JSON object", seen=sorted(name for name, _ in pairs))
    return found


def _no_number(text: str) -> NoReturn:
    raise DecodeError(f"{text} is no number")
