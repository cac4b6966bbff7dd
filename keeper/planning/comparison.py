"""Where two trees of plain values differ, by path."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keeper.errors import KeeperError

_NOTHING: Final = object()


@dataclass(frozen=True)
class Difference:
    """One place where two trees part; a side that lacks it shows "nothing"."""

    path: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, saw {self.seen}"


def explain(differences: tuple[Difference, ...]) -> str:
    """One sentence for people: the first difference in full, the others by name."""
    if not differences:
        raise KeeperError("There is no difference to explain")
    rest = ", ".join(each.path for each in differences[1:5])
    more = f", and {len(differences) - 5} more" if len(differences) > 5 else ""
    return str(differences[0]) + (f" (also different: {rest}{more})" if rest else "")


def compare(expected: object, seen: object, path: str = "") -> Iterator[Difference]:
    """Walks two trees of maps, lists and plain values; in the order of `expected`, then what it lacks."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        for name in [*expected, *(each for each in seen if each not in expected)]:
            inner = f"{path}.{name}" if path else str(name)
            yield from compare(expected.get(name, _NOTHING), seen.get(name, _NOTHING), inner)
    elif isinstance(expected, list) and isinstance(seen, list):
        for i in range(max(len(expected), len(seen))):
            left = expected[i] if i < len(expected) else _NOTHING
            right = seen[i] if i < len(seen) else _NOTHING
            yield from compare(left, right, f"{path}[{i}]")
    elif expected != seen or type(expected) is not type(seen):
        yield Difference(path, _show(expected), _show(seen))


def _show(value: object) -> str:
    if value is _NOTHING:
        return "nothing"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
