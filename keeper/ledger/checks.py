"""Refusals of the contracts, in their own words: a mirror raises what the contract reverts with."""

from __future__ import annotations

from typing import Final

from keeper.errors import RevertError

OVERFLOW: Final = "arithmetic overflow or underflow"
"""Solidity's Panic 0x11, as reverts are decoded."""


def require(condition: bool, name: str, *arguments: object) -> None:
    """Raises RevertError, as a transaction does whose contract reverts with this error, unless it holds."""
    if not condition:
        raise refused(name, *arguments)


def refused(name: str, *arguments: object) -> RevertError:
    """To be raised where a contract reverts with this error."""
    return RevertError(name, arguments)


def uint(value: int, bits: int) -> int:
    """`SafeCast`: the value, which must fit. Raises RevertError."""
    require(value < 1 << bits, "SafeCastOverflowedUintDowncast", bits, value)
    return value


def checked(value: int) -> int:
    """The result of checked arithmetic in 256 bits. Raises RevertError."""
    require(0 <= value < 1 << 256, "Panic", OVERFLOW)
    return value


def excess(one: int, other: int) -> int:
    """By how much one exceeds the other."""
    return max(0, one - other)


def name(text: str) -> bytes:
    """A short name as `bytes32`, as errors carry it."""
    return text.encode().ljust(32, b"\0")
