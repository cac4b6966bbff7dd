"""Strict reading of maps from untrusted bytes: exact members, exact types, words in range."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from eth_utils.address import is_checksum_address

from keeper.errors import PlanError
from keeper.units import MAX_UINT256, Address

MAX_ITEMS: Final = 64
MAX_TEXT: Final = 256


class Fields:
    """A map with exactly `names`. Raises PlanError naming the path of whatever does not fit."""

    def __init__(self, value: object, where: str, names: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise PlanError("Not a map", seen=type(value).__name__, where=where)
        missing = [name for name in names if name not in value]
        unknown = [name for name in value if name not in names]
        if missing or unknown:
            raise PlanError(
                "Missing or unknown fields",
                expected=", ".join(names),
                seen=f"missing {missing}, unknown {unknown[:4]}",
                where=where,
            )
        self._value: dict[str, object] = value
        self._where = where

    def _wrong(self, name: str, expected: str) -> PlanError:
        seen = self._value[name]
        shown = "0x" + seen.hex() if isinstance(seen, bytes) else repr(seen)
        return PlanError(
            "Field does not fit", expected=expected, seen=shown[:MAX_TEXT], where=f"{self._where}.{name}"
        )

    def raw(self, name: str) -> object:
        return self._value[name]

    def uint(self, name: str) -> int:
        """0 to 2**256 - 1."""
        value = self._value[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_UINT256:
            raise self._wrong(name, "an unsigned 256-bit integer")
        return value

    def blob(self, name: str) -> bytes:
        value = self._value[name]
        if not isinstance(value, bytes):
            raise self._wrong(name, "bytes")
        return value

    def word(self, name: str) -> bytes:
        value = self.blob(name)
        if len(value) != 32:
            raise self._wrong(name, "32 bytes")
        return value

    def text(self, name: str, limit: int = MAX_TEXT) -> str:
        value = self._value[name]
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise self._wrong(name, f"printable text of at most {limit} characters")
        return value

    def choice(self, name: str, allowed: list[str]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise self._wrong(name, " or ".join(allowed))
        return value

    def address(self, name: str) -> Address:
        value = self.text(name)
        if not is_checksum_address(value):
            raise self._wrong(name, "an EIP-55 address")
        return Address(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._value[name]
        if not isinstance(value, dict):
            raise self._wrong(name, "a map")
        return value

    def items(self, name: str) -> Iterator[tuple[object, str]]:
        """(item, its path) of a list of at most 64."""
        value = self._value[name]
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise self._wrong(name, f"a list of at most {MAX_ITEMS}")
        return ((item, f"{self._where}.{name}[{i}]") for i, item in enumerate(value))

    def amounts(self, name: str) -> tuple[tuple[str, int], ...]:
        """A map of names to unsigned integers, sorted by name."""
        value = self._value[name]
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise self._wrong(name, f"a map of at most {MAX_ITEMS} amounts")
        inner = Fields(value, f"{self._where}.{name}", tuple(value))
        return tuple((each, inner.uint(each)) for each in sorted(value))
