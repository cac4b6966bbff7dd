"""A strategy that takes its time, for tests that say what happens meanwhile."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from keeper.book import Book
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation

waits: list[Callable[[], object]] = []
"""Called before it decides."""


def install(folder: Path) -> None:
    """As pip would, where the folder is on the path."""
    metadata = folder / "slow-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[keeper.strategies]\nslow = slow_strategy:Slow\n")


def under(policy: Policy) -> Policy:
    """The policy, with this strategy."""
    strategy = policy.strategy.model_copy(update={"name": Slow.name, "params": {}})
    return policy.model_copy(update={"strategy": strategy})


class Params(BaseModel):
    """None."""


class Slow:
    """Leaves everything where it is, in the end."""

    name = "slow"
    version = "1"

    def __init__(self, params: Params) -> None:
        self.params = params

    def decide(self, book: Book) -> Allocation:
        for wait in waits:
            wait()
        return Allocation.of(book.allocation, "as it is")
