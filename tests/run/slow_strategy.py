"""A strategy that takes its time, for tests that say what happens meanwhile."""

from collections.abc import Callable

from pydantic import BaseModel

from keeper.book import Book
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation

waits: list[Callable[[], object]] = []
"""Called before it decides."""


BRINGS = {"keeper.strategies": {"slow": "slow_strategy:Slow"}}
"""The entry points of the package that it would be."""


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
