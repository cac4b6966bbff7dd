"""The same in every venue, as far as caps, liquidity and redemptions allow."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from keeper.book import Book
from keeper.connectors.base import Position
from keeper.planning.strategy import Allocation


class Params(BaseModel):
    """`idle_bps`: share of the total kept idle, in hundredths of a percent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle_bps: int = Field(default=500, ge=0, le=10_000)


class Evenly:
    """No clock, no randomness, no I/O, no floats: every signer must decide the same."""

    name: Final = "evenly"
    version: Final = "1"

    def __init__(self, params: Params) -> None:
        self.params = params

    def decide(self, book: Book) -> Allocation:
        """What cannot leave a venue stays there, and the others get less for it."""
        keep = max(book.reserve, book.total * self.params.idle_bps // 10_000)
        held = book.allocation
        stuck = {each.ref.venue: held[each.ref.venue] - each.max_withdraw(book.at) for each in book.positions}
        spare = max(0, book.total - keep - sum(stuck.values()))
        each = spare // max(1, len(book.positions))
        targets = {
            position.ref.venue: stuck[position.ref.venue] + min(each, self._room(book, position, stuck))
            for position in book.positions
        }
        return Allocation.of(targets, f"Up to {each:,} in each of {len(targets)} venues")

    def _room(self, book: Book, position: Position, stuck: dict[str, int]) -> int:
        """What the venue may hold beyond what cannot leave; where it may not grow, what it holds."""
        venue = position.ref.venue
        held = book.allocation[venue]
        most = min(max(held, book.caps[venue]), held + position.max_supply(book.at))
        return most - stuck[venue]
