"""Exits only, as evidence: a keeper that may take no new risk has the strategy decide with no room to grow.

Anybody may ask for it, as all it can do is to have less out at venues than the strategy alone would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from keeper.planning import strategy as strategies
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import settled
from keeper.planning.strategy import Allocation

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.policy import Policy

SOURCE: Final = "keeper"


def evidence(reason: str, observed_at: int) -> Evidence:
    """What a plan carries that must not add risk."""
    return Evidence(EvidenceKind.EXITS, SOURCE, observed_at, reason.encode())


class ExitsChecker:
    """How plans are checked that may only take from venues (entry point `exits` of the group
    `keeper.evidence`)."""

    def check(self, evidence: Evidence, book: Book, policy: Policy) -> None:
        """Nothing to check: the bytes are for people."""

    def decide(self, evidence: Evidence, book: Book, policy: Policy) -> Allocation | None:
        """What the strategy decides where no venue may hold more than it does; without rewards."""
        held = book.allocation
        closed = replace(book, caps={venue: min(cap, held[venue]) for venue, cap in book.caps.items()})
        strategy = strategies.load(policy.strategy.name, policy.strategy.params)
        made = settled(strategies.decided(strategy, closed), closed)
        kept = {venue: min(assets, held[venue]) for venue, assets in made.targets}
        return Allocation.of(kept, f"Exits only. {made.reason}")
