"""The one generator of input that is almost right, for everything that reads what others wrote.

It starts from what is valid, and changes values, or bytes, or both; a `Random` decides all of it.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

import cbor2

Place = tuple[str | int, ...]
Mutate = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""From a valid input, and all valid ones of its kind to take pieces from."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**256, 10**400, "", "0", "-1", "+1", " 1", "1_0", "1e18", "٣", "0x",
    "0x0", "0x1", "0xzz", "0x" + "00" * 20, "0x" + "ff" * 20, "0x000000000000000000000000000000000000dEaD",
    str(2**256 - 1), str(2**256), "9" * 5_000, "\u0000", "\U0001d7cf",
    "NaN", "Infinity", "__proto__", [], {}, [[]],
    {"a": 1}, ["x"], "true", "null", "0x606326ff", "0x4666fc80", "0x5fd9ae2e",
)  # fmt: skip
"""Values that JSON has."""
HOSTILE: tuple[Any, ...] = (
    *ODD, 2**63, 2**64, 2**256 - 1, -(10**400), float("nan"), float("inf"), "-0x1", "0x-1", "0x_1",
    "0x" + "ff" * 33, "\ud800", "a\nb", "supply", "quote",
)  # fmt: skip
"""And some that only look like it."""
DEEP = 3_000
TOKENS = (
    b"[" * DEEP, b'{"a":' * DEEP, b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b'"\\ud800"',
    b"null", b"\x00",
    b"\xff", b"\x81" * DEEP, b"\xa1\x61a" * DEEP, b"\x9f", b"\xf9\x7e\x00",
    b"\xfb\x7f\xf0" + bytes(6), b"\xc2\x41",
    b"\xd8\x1d\x00", b"\xc1\x1b" + b"\xff" * 8, b"\x1b" + b"\xff" * 8, b"\x5b" + b"\x7f" * 8,
    b"\xf7", b"=", b"{",
    b"inf", b"1979-05-27T07:32:00Z", b'"""', b"a." * DEEP, b"# ", b"\r\n", b"[[", b"]", b'"',
)  # fmt: skip
_MEMBER = re.compile(rb'("[^"\\]{1,60}"): ?')


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in a tree of lists and maps but its root."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in rows:
        yield (*at, name)
        yield from places(each, (*at, name))


def holder(content: Any, place: Place) -> Any:
    """What holds the value at a place."""
    for name in place[:-1]:
        content = content[name]
    return content


def changed(random: Random, tree: Any) -> Any:
    """The tree, which is used up, with a value or up to three taken away, replaced, doubled or wrapped."""
    for _ in range(random.randint(1, 3)):
        found = list(places(tree))
        if not found:
            return deepcopy(random.choice(HOSTILE))
        place = random.choice(found)
        at, name = holder(tree, place), place[-1]
        match random.randrange(8):
            case 0:
                del at[name]
            case 1 | 2:
                at[name] = deepcopy(random.choice(HOSTILE))
            case 3:
                other = random.choice(found)
                at[name] = deepcopy(holder(tree, other)[other[-1]])
            case 4:
                at[name] = _wrapped(at[name], random.choice((1, 2, 100)))
            case _:
                at[name] = altered(random, at[name])
    return tree


def _wrapped(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value]
    return value


def altered(random: Random, value: Any) -> Any:
    """Of the same type, and a little different."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + random.choice((-1, 1, 2**64))
    if isinstance(value, bytes):
        return garbled(random, value, ())
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return str(max(0, int(value) + random.choice((-1, 1, 10**18)))) if len(value) < 100 else ""
    if isinstance(value, str) and value:
        place = random.randrange(len(value))
        return value[:place] + random.choice("0123456789abcdefABCDEFx-_ \u0663") + value[place + 1 :]
    if isinstance(value, list):
        return value[:-1] if random.randrange(2) else [*value, *value[:1]]
    if isinstance(value, dict):
        return value | {"unknown": 1}
    return value


def garbled(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes with up to four places flipped, cut, filled, repeated, or spliced with another input."""
    raw = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place, length = random.randrange(len(raw) + 1), random.choice((1, 1, 2, 8, 40))
        match random.randrange(8):
            case 0 | 1 if raw:
                raw[place % len(raw)] ^= 1 << random.randrange(8)
            case 2:
                del raw[place : place + length]
            case 3:
                raw[place:place] = random.randbytes(length)
            case 4:
                raw[place:place] = raw[place : place + length]
            case 5:
                raw[place:place] = random.choice(TOKENS)
            case 6:
                del raw[place:]
            case _ if others:
                other = random.choice(others)
                start = random.randrange(len(other) + 1)
                raw[place : place + length] = other[start : start + random.choice((length, len(other)))]
    return bytes(raw)


def of_json(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Mutated JSON: mostly other values in valid text, with names that come twice; else other bytes."""
    if random.randrange(4) == 0:
        return garbled(random, data, others)
    text = json.dumps(changed(random, json.loads(data))).encode()
    members = list(_MEMBER.finditer(text))
    if members and random.randrange(8) == 0:
        member = random.choice(members)
        text = text[: member.start()] + member.group() + b"0, " + text[member.start() :]
    return text


def of_cbor(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Mutated CBOR: as often other values in canonical bytes as other bytes."""
    if random.randrange(2):
        return garbled(random, data, others)
    try:
        return cbor2.dumps(changed(random, cbor2.loads(data)), canonical=True)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8.
        return garbled(random, data, others)


def of_toml(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Mutated TOML: mostly a line or two with another value, moved, doubled or gone; else other bytes."""
    if random.randrange(4) == 0:
        return garbled(random, data, others)
    lines = data.split(b"\n")
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(lines))
        name, equals, _ = lines[place].partition(b" = ")
        match random.randrange(5):
            case 0:
                lines[place] = b""
            case 1:
                lines.insert(random.randrange(len(lines)), lines[place])
            case 2:
                lines[place] = garbled(random, lines[place], others)
            case _ if equals:
                value = random.choice((*TOKENS, *(json.dumps(each).encode() for each in HOSTILE)))
                lines[place] = name + equals + value
    return b"\n".join(lines)
