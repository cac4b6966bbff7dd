"""The one encoding that is hashed and signed: deterministic CBOR (RFC 8949 section 4.2).

An encoding is the CBOR array [domain, version, value]. Only None, bool, int of any size, bytes, str, lists
(tuples encode as lists) and maps with str keys exist: nothing whose bytes could depend on a machine.
"""

from collections.abc import Mapping
from typing import Final

import cbor2
from eth_hash.auto import keccak

from keeper.errors import DecodeError, KeeperError

MAX_DEPTH: Final = 64

Plain = bool | int | bytes | str | list["Plain"] | dict[str, "Plain"] | None
"""What `decode` returns."""


def _plain_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise KeeperError("Canonical maps have str keys", seen=type(key).__name__, where=path)
    return str(key)


def _plain(value: object, path: str, depth: int) -> Plain:
    """A copy made of exact built-in types, so that no subclass chooses its own encoding."""
    if depth > MAX_DEPTH:
        raise KeeperError("Canonical value nested too deeply", expected=f"at most {MAX_DEPTH}", where=path)
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case str():
            return str(value)
        case bytes():
            return bytes(value)
        case list() | tuple():
            return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        case Mapping():
            return {_plain_key(k, path): _plain(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    raise KeeperError(
        "No canonical encoding for this type",
        expected="None, bool, int, bytes, str, list, tuple or dict",
        seen=type(value).__name__,
        where=path,
    )


def encode(value: object, *, domain: str, version: int) -> bytes:
    """Canonical bytes of `value` under a domain tag and schema version.

    Raises KeeperError, naming the path, for floats and any other type outside the list above.
    """
    body = [domain, version, _plain(value, "$", 0)]
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
    try:
        body = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise DecodeError("Not canonical CBOR", seen=str(error), where=domain) from error
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
    try:
        value = _plain(body[2], "$", 0)
        again = encode(value, domain=domain, version=version)
    except DecodeError:
        raise
    except KeeperError as error:
        raise DecodeError("Data holds a value without canonical encoding", seen=str(error)) from error
    if again != data:
        raise DecodeError("Data is not the canonical encoding of its value", where=domain)
    return value


def digest(value: object, *, domain: str, version: int) -> bytes:
    """keccak256 of the canonical bytes: the 32 bytes that name the value."""
    return keccak(encode(value, domain=domain, version=version))
