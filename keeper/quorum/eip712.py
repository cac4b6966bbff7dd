"""EIP-712 by hand: type strings, struct hashes and digests, for any set of struct types.

Written from the standard (https://eips.ethereum.org/EIPS/eip-712): `bytes` and `string` are hashed, arrays
hash the concatenation of their encoded items, structs hash recursively, and referenced types follow the
primary one in alphabetical order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.contracts.abi import encode
from keeper.errors import ConfigError

Members = tuple[tuple[str, str], ...]
"""(type, name) of each member, in order."""
Types = Mapping[str, Members]

_ARRAY: Final = re.compile(r"(.+)\[(\d*)\]")


def _base(kind: str) -> str:
    return kind.partition("[")[0]


def _referenced(types: Types, name: str, seen: set[str]) -> Iterator[str]:
    for kind, _ in types[name]:
        base = _base(kind)
        if base in types and base not in seen:
            seen.add(base)
            yield base
            yield from _referenced(types, base, seen)


def encode_type(types: Types, name: str) -> str:
    """`Name(type member,…)` of a struct, followed by every struct it refers to."""
    others = sorted(_referenced(types, name, {name}))
    return "".join(
        f"{each}({','.join(f'{kind} {member}' for kind, member in types[each])})" for each in [name, *others]
    )


def _word(types: Types, kind: str, value: Any) -> bytes:
    array = _ARRAY.fullmatch(kind)
    if array is not None:
        item, length = array.group(1), array.group(2)
        if length and len(value) != int(length):
            raise ConfigError("Array of another length", expected=length, seen=len(value), where=kind)
        return keccak(b"".join(_word(types, item, each) for each in value))
    if kind in types:
        return hash_struct(types, kind, value)
    if kind == "bytes":
        return keccak(value)
    if kind == "string":
        return keccak(value.encode())
    return encode([kind], [value])


def hash_struct(types: Types, name: str, message: Mapping[str, Any]) -> bytes:
    """keccak256(typeHash ‖ members). Raises ConfigError when the message's members are not the type's."""
    members = types[name]
    expected = [member for _, member in members]
    if set(message) != set(expected):
        raise ConfigError(
            "Members differ from the type's", expected=expected, seen=sorted(message), where=name
        )
    words = (_word(types, kind, message[member]) for kind, member in members)
    return keccak(keccak(encode_type(types, name).encode()) + b"".join(words))


_DOMAIN_MEMBERS: Final[Sequence[tuple[str, str]]] = (
    ("string", "name"),
    ("string", "version"),
    ("uint256", "chainId"),
    ("address", "verifyingContract"),
    ("bytes32", "salt"),
)


def domain_separator(domain: Mapping[str, Any]) -> bytes:
    """Hash of a domain; members that the mapping lacks are left out of its type, as the standard says."""
    members = tuple((kind, name) for kind, name in _DOMAIN_MEMBERS if name in domain)
    return hash_struct({"EIP712Domain": members}, "EIP712Domain", domain)


def digest(separator: bytes, struct_hash: bytes) -> bytes:
    """The 32 bytes that are signed."""
    return keccak(b"\x19\x01" + separator + struct_hash)
