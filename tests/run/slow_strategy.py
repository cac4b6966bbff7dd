"""A strategy that takes its time, for tests that say what happens meanwhile."""

from collections.abc import Callable

from pydantic import BaseModel

from keeper.book import Book
from keeper.planning.strategy import Allocation

waits: list[Callable[[], object]] = []
"""Called before it decides."""


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
