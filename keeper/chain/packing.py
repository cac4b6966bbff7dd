"""The lens's own format (contracts/src/lens/Lens.sol): packed, so that it is short and quick to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.call import Call
from keeper.errors import DecodeError

STIPEND: Final = 5_000_000
"""Gas of every sub-call."""

HEAD_BYTES: Final = 128
_WORD: Final = 32
_RESULT_PREFIX: Final = 5

Outcome = tuple[bool, bytes]
"""Success, and the returned or revert data."""


@dataclass(frozen=True)
class Head:
    """What the EVM says about the block it runs in; on Arbitrum `number` and `parent_hash` are L1's."""

    chain_id: int
    number: int
    timestamp: int
    parent_hash: bytes


def pack(calls: Sequence[Call[Any]], limit: int) -> bytes:
    """The request for these calls, whose answer may have `limit` bytes."""
    parts = [STIPEND.to_bytes(4, "big"), limit.to_bytes(4, "big")]
    for call in calls:
        parts += (bytes.fromhex(call.target[2:]), len(call.data).to_bytes(4, "big"), call.data)
    return b"".join(parts)


def packed_size(call: Call[Any]) -> int:
    """How many bytes of a request a call takes."""
    return 24 + len(call.data)


def unpack(answer: bytes, count: int) -> tuple[Head, tuple[Outcome, ...]]:
    """Head and outcomes of exactly `count` calls.

    Raises DecodeError when the answer is cut short, holds more, or is no lens's.
    """
    if len(answer) < HEAD_BYTES:
        raise DecodeError("Lens answer cut short", expected=f"{HEAD_BYTES} bytes of head", seen=len(answer))
    words = [answer[at : at + _WORD] for at in range(0, HEAD_BYTES, _WORD)]
    chain_id, number, timestamp = (int.from_bytes(word, "big") for word in words[:3])
    head = Head(chain_id, number, timestamp, words[3])
    outcomes, rest = unpack_outcomes(answer[HEAD_BYTES:], count)
    if rest:
        raise DecodeError(
            "Lens answered more calls than were asked", expected=count, seen=f"{len(rest)} bytes"
        )
    return head, outcomes


def unpack_outcomes(answer: bytes, count: int) -> tuple[tuple[Outcome, ...], bytes]:
    """The first `count` outcomes, and what follows them. Raises DecodeError when the answer is cut short."""
    outcomes: list[Outcome] = []
    at = 0
    for _ in range(count):
        end = at + _RESULT_PREFIX + int.from_bytes(answer[at + 1 : at + _RESULT_PREFIX], "big")
        if at + _RESULT_PREFIX > len(answer) or end > len(answer) or answer[at] > 1:
            raise DecodeError("Answer cut short", expected=f"{count} results", seen=f"{len(outcomes)} whole")
        outcomes.append((answer[at] == 1, answer[at + _RESULT_PREFIX : end]))
        at = end
    return tuple(outcomes), answer[at:]
