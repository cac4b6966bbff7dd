"""What a strategy is: a pure function from the book to the allocation it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from keeper.errors import PlanError

if TYPE_CHECKING:
    from keeper.book import Book


@dataclass(frozen=True)
class Allocation:
    """Assets wanted in each venue, sorted by venue id, and why.

    Every allow-listed venue appears once; what the targets leave of the vault's total stays idle. Raises
    PlanError when a target is negative, or a venue is out of order or repeated.
    """

    targets: tuple[tuple[str, int], ...]
    reason: str

    def __post_init__(self) -> None:
        venues = [venue for venue, _ in self.targets]
        if venues != sorted(set(venues)):
            raise PlanError("An allocation lists each venue once, in order", seen=", ".join(venues))
        for venue, assets in self.targets:
            if assets < 0:
                raise PlanError("A target cannot be negative", seen=f"{assets:,}", where=venue)

    @classmethod
    def of(cls, targets: Mapping[str, int], reason: str) -> Allocation:
        """From targets in any order."""
        return cls(tuple(sorted(targets.items())), reason)

    @property
    def total(self) -> int:
        """Assets that the targets put to work."""
        return sum(assets for _, assets in self.targets)


class Strategy(Protocol):
    """Decides from the book alone: no clock, no randomness, no I/O, no floats.

    `name` is the entry point's, `version` changes with every change of behaviour; both are pinned by plans,
    and so are the parameters.
    """

    @property
    def name(self) -> str:
        """Entry point name in the group `keeper.strategies`."""
        ...

    @property
    def version(self) -> str:
        """Version of the behaviour."""
        ...

    @property
    def params(self) -> BaseModel:
        """Parameters, as validated."""
        ...

    def decide(self, book: Book) -> Allocation:
        """The allocation wanted. Raises PlanError when the book allows none."""
        ...
