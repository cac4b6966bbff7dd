"""JSON from outside this process, parsed without trust.

`json.loads` recurses in C as deep as the text is nested. Python's own limit does not protect it: a
cryptography library that eth-account imports raises that limit far above what the stack holds, and 100 kB of
"[" end the process. So depth is counted first.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from keeper.errors import DecodeError

MAX_DEPTH: Final = 64

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)


def parse_json(text: str | bytes, *, where: object = None) -> Any:
    """The value. Raises DecodeError for what is no JSON, is nested deeper than `MAX_DEPTH`, holds a lone
    surrogate, or names a member of an object twice, as two readers could each take another one."""
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        _check_depth(plain, where)
        value = json.loads(plain, object_pairs_hook=_once, parse_constant=_no_number)
        if "\\u" in plain:
            # An escape may stand for half a character, which nothing can write down again.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise DecodeError("Not JSON", seen=type(error).__name__, where=where) from error


def _check_depth(text: str, where: object) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise DecodeError(
                    "JSON nested too deeply", expected=f"at most {MAX_DEPTH} levels", where=where
                )
        elif first in "]}":
            depth -= 1


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DecodeError("A name occurs twice in one JSON object", seen=sorted(name for name, _ in pairs))
    return found
