"""Blocks as JSON-RPC gives them, believed only when the header hashes to its hash."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from eth_hash.auto import keccak

from keeper.errors import DecodeError, HeaderError

_FIELDS: Final = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
)
"""Of every header, in the order of its RLP (yellow paper, section 4.3)."""

_LATER_FIELDS: Final = (
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)
"""Appended by EIP-1559, 4895, 4844, 4788 and 7685; a header has the first few of them."""

_QUANTITY: Final = re.compile("0x[0-9a-fA-F]{1,64}")

_QUANTITIES: Final = frozenset(
    {
        "difficulty",
        "number",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "baseFeePerGas",
        "blobGasUsed",
        "excessBlobGas",
    }
)

HASHED_OTHERWISE: Final = frozenset({300, 314, 324, 43113, 43114})
"""Chains whose block hash is not that of the Ethereum header: zkSync, Filecoin, Avalanche. Elsewhere a header
that does not hash to its hash is refused."""


class Pinned(Protocol):
    """A block named by chain, number and hash."""

    @property
    def chain_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def hash(self) -> bytes: ...


@dataclass(frozen=True, order=True)
class BlockRef:
    """What is used of a header. `base_fee` is wei per gas, 0 before EIP-1559."""

    chain_id: int
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int


def quantity(text: str) -> int:
    """A JSON-RPC quantity. Raises DecodeError when it is none."""
    if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
        raise DecodeError(
            "Not a JSON-RPC quantity", expected="0x hex of 256 bits at most", seen=repr(text)[:80]
        )
    return int(text, 16)


def hex_bytes(text: str) -> bytes:
    """JSON-RPC data. Raises DecodeError when it is none."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise DecodeError("Not JSON-RPC data", expected="0x hex", seen=repr(text)[:80])
    try:
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise DecodeError("Not JSON-RPC data", expected="0x hex", seen=text[:80]) from error


def header_hash(raw: Mapping[str, Any]) -> bytes:
    """keccak256 of the RLP of a header's fields.

    Raises KeyError when one is missing and DecodeError when one is no hex.
    """
    fields = [*_FIELDS, *(name for name in _LATER_FIELDS if raw.get(name) is not None)]
    return keccak(_rlp_list([_field(name, raw[name]) for name in fields]))


def _rlp_list(items: Sequence[bytes]) -> bytes:
    """RLP of a list of byte strings (yellow paper, appendix B)."""
    payload = b"".join(
        item if len(item) == 1 and item[0] < 0x80 else _rlp_prefix(len(item), 0x80) + item for item in items
    )
    return _rlp_prefix(len(payload), 0xC0) + payload


def _rlp_prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size


def _field(name: str, value: str) -> bytes:
    if name not in _QUANTITIES:
        return hex_bytes(value)
    number = quantity(value)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def header(raw: Any, chain_id: int, where: object) -> BlockRef:
    """A header of JSON-RPC.

    Raises DecodeError when it is none, HeaderError when it is not what was hashed.
    """
    try:
        block = BlockRef(
            chain_id=chain_id,
            number=quantity(raw["number"]),
            hash=hex_bytes(raw["hash"]),
            parent_hash=hex_bytes(raw["parentHash"]),
            timestamp=quantity(raw["timestamp"]),
            base_fee=quantity(raw.get("baseFeePerGas") or "0x0"),
        )
        hashed = block.hash if chain_id in HASHED_OTHERWISE else header_hash(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise DecodeError("Not a block header", where=where, seen=repr(error)) from error
    if hashed != block.hash:
        raise HeaderError(
            f"Header of block {block.number} of chain {chain_id} does not hash to its hash",
            expected=block.hash,
            seen=hashed,
            where=where,
            hint="The endpoint made it up, or the chain has a header of its own (HASHED_OTHERWISE)",
        )
    return block
