"""The one encoding that is hashed and signed: deterministic CBOR (RFC 8949 section 4.2).

An encoding is the CBOR array [domain, version, value]. Only None, bool, int from -2**256 to 2**256 - 1,
bytes, str, lists (tuples encode as lists) and maps with str keys exist: nothing whose bytes could depend on a
machine.
"""

from collections.abc import Mapping
from typing import Final

import cbor2
from eth_hash.auto import keccak

from keeper.errors import DecodeError, KeeperError

MAX_DEPTH: Final = 64
MAX_INTEGER_BYTES: Final = 32
"""Of a bignum. No chain knows a longer one, and Python refuses to write thousands of digits into an error."""

Plain = bool | int | bytes | str | list["Plain"] | dict[str, "Plain"] | None
"""What `decode` returns."""


_Path = tuple["_Path", int | str] | None
"""Where a value stands, as (where what holds it stands, its index or key); None for the whole value."""


def _where(path: _Path) -> str:
    """A path for people. Made only when there is something to tell: made on the way, the paths of many items
    under one long key would take the square of the data's length."""
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "$" + "".join(reversed(parts))


def _plain_key(key: object, path: _Path) -> str:
    if not isinstance(key, str):
        raise KeeperError("Canonical maps have str keys", seen=type(key).__name__, where=_where(path))
    return str(key)


def _integer(value: int, path: _Path) -> int:
    bits = (value if value >= 0 else ~value).bit_length()
    if bits > 8 * MAX_INTEGER_BYTES:
        raise KeeperError(
            "No canonical encoding for an integer of this size",
            expected=f"at most {8 * MAX_INTEGER_BYTES} bits",
            seen=f"{bits:,}",
            where=_where(path),
        )
    return value


def _plain(value: object, path: _Path, depth: int) -> Plain:
    """A copy made of exact built-in types, so that no subclass chooses its own encoding."""
    if depth > MAX_DEPTH:
        raise KeeperError(
            "Canonical value nested too deeply", expected=f"at most {MAX_DEPTH}", where=_where(path)
        )
    match value:
        case None | bool():
            return value
        case int():
            return _integer(int(value), path)
        case str():
            return str(value)
        case bytes():
            return bytes(value)
        case list() | tuple():
            return [_plain(item, (path, i), depth + 1) for i, item in enumerate(value)]
        case Mapping():
            return {_plain_key(k, path): _plain(v, (path, str(k)), depth + 1) for k, v in value.items()}
    raise KeeperError(
        "No canonical encoding for this type",
        expected="None, bool, int, bytes, str, list, tuple or dict",
        seen=type(value).__name__,
        where=_where(path),
    )


class _Reader:
    """Reads the few kinds of CBOR items that `encode` writes, in time and memory proportional to their bytes.

    Our own, as a general decoder makes what strangers ask for before anyone can judge it: tags for shared
    values make a graph of two hundred bytes that is endless as a tree. Whether the bytes are the canonical
    ones of the value is not judged here.
    """

    def __init__(self, data: bytes, domain: str) -> None:
        self._data, self._at, self._domain = data, 0, domain

    def whole(self) -> Plain:
        """The one item that the data is. Raises DecodeError."""
        value = self._item(0)
        if self._at != len(self._data):
            raise self._wrong("one item", f"{len(self._data) - self._at} bytes behind it")
        return value

    def _item(self, depth: int) -> Plain:
        # One more than a value may have: the list around it.
        if depth > MAX_DEPTH + 1:
            raise self._wrong(f"at most {MAX_DEPTH} levels", "more")
        major, said = self._head()
        match major:
            case 0:
                return said
            case 1:
                return -1 - said
            case 2:
                return self._take(said)
            case 3:
                return self._text(said)
            case 4:
                return [self._item(depth + 1) for _ in range(said)]
            case 5:
                return {self._key(): self._item(depth + 1) for _ in range(said)}
            case 6:
                return self._bignum(said)
        if said not in _SIMPLE:
            raise self._wrong("true, false or null", f"a float or simple value, {said}")
        return _SIMPLE[said]

    def _head(self) -> tuple[int, int]:
        """(major type, argument) of the next item."""
        first = self._take(1)[0]
        major, said = first >> 5, first & 31
        if said < 24:
            return major, said
        if said > 27:
            raise self._wrong("items of definite length", f"initial byte 0x{first:02x}")
        return major, int.from_bytes(self._take(1 << (said - 24)))

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise self._wrong(f"{length} more bytes", str(len(self._data) - self._at))
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise self._wrong("UTF-8", str(error)) from error

    def _key(self) -> str:
        major, length = self._head()
        if major != 3:
            raise self._wrong("text for a key", f"major type {major}")
        return self._text(length)

    def _bignum(self, tag: int) -> int:
        if tag not in (2, 3):
            raise self._wrong("no tag but a bignum's", f"tag {tag}")
        major, length = self._head()
        if major != 2:
            raise self._wrong("a bignum's bytes", f"major type {major}")
        if length > MAX_INTEGER_BYTES:
            raise self._wrong(f"a bignum of at most {MAX_INTEGER_BYTES} bytes", f"{length:,}")
        number = int.from_bytes(self._take(length))
        return number if tag == 2 else -1 - number

    def _wrong(self, expected: str, seen: str) -> DecodeError:
        return DecodeError(
            "Not canonical CBOR",
            expected=expected,
            seen=f"{seen}, before byte {self._at}",
            where=self._domain,
        )


_SIMPLE: Final = {20: False, 21: True, 22: None}


def encode(value: object, *, domain: str, version: int) -> bytes:
    """Canonical bytes of `value` under a domain tag and schema version.

    Raises KeeperError, naming the path, for floats and any other type outside the list above.
    """
    body = [domain, version, _plain(value, None, 0)]
    try:
        # All keys are text, for which the length-first order of `canonical` is section 4.2's bytewise order.
        return cbor2.dumps(body, canonical=True)
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as error:
        raise KeeperError("Value has no canonical encoding", seen=str(error)) from error


def decode(data: bytes, *, domain: str, version: int) -> Plain:
    """The value that `encode` made `data` from, with lists for tuples.

    Raises DecodeError when data is not CBOR, has another domain or version, or is any other encoding than
    the canonical one of its value.
    """
    body = _Reader(data, domain).whole()
    if not isinstance(body, list) or len(body) != 3:
        raise DecodeError(
            "Canonical data is [domain, version, value]", seen=type(body).__name__, where=domain
        )
    if body[0] != domain or body[1] != version or isinstance(body[1], bool):
        raise DecodeError(
            "Canonical data of another kind",
            expected=f"{domain} version {version}",
            seen=f"{body[0]!r} version {body[1]!r}",
        )
    value = body[2]
    try:
        again = encode(value, domain=domain, version=version)
    except KeeperError as error:
        raise DecodeError("Data holds a value without canonical encoding", seen=str(error)) from error
    if again != data:
        raise DecodeError("Data is not the canonical encoding of its value", where=domain)
    return value


def digest(value: object, *, domain: str, version: int) -> bytes:
    """keccak256 of the canonical bytes: the 32 bytes that name the value."""
    return keccak(encode(value, domain=domain, version=version))
