"""What a plan rests on and nobody can recompute: quotes, intents of people, proofs.

A plan carries its bytes, its source and when it was observed. Nobody fetches it a second time; everyone
checks it, by the checker that its kind has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from keeper import plugins
from keeper.errors import ConfigError, PlanError
from keeper.planning import fields
from keeper.planning.strategy import Allocation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keeper.book import Book
    from keeper.planning.policy import Policy

ENTRY_POINTS: Final = "keeper.evidence"
MAX_BYTES: Final = 64 * 1024
"""Of one piece of evidence."""


class EvidenceKind(StrEnum):
    """What evidence says."""

    INTENT = "intent"
    QUOTE = "quote"
    PROOF = "proof"
    EXITS = "exits"


@dataclass(frozen=True)
class Evidence:
    """`data` as `source` gave it at `observed_at` (UNIX seconds). Raises PlanError for empty data, for
    more than 64 KiB, and for a source that is not one line of text."""

    kind: EvidenceKind
    source: str
    observed_at: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.data) <= MAX_BYTES:
            raise PlanError(
                "Evidence is too large, or empty",
                expected=f"1 to {MAX_BYTES:,} bytes",
                seen=f"{len(self.data):,}",
                where=f"{self.kind} from {self.source}",
            )
        if len(self.source) > fields.MAX_TEXT or not self.source.isprintable():
            raise PlanError(
                "A source that no plan can carry",
                expected=f"printable text of at most {fields.MAX_TEXT} characters",
                seen=f"{self.source[:80]!r}",
            )

    def body(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "source": self.source,
            "observed_at": self.observed_at,
            "data": self.data,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> Evidence:
        f = fields.Fields(value, where, ("kind", "source", "observed_at", "data"))
        kind = EvidenceKind(f.choice("kind", [each.value for each in EvidenceKind]))
        return cls(kind, f.text("source"), f.uint("observed_at"), f.blob("data"))


class Checker(Protocol):
    """Judges one kind of evidence from the evidence, the book and the policy alone. Entry points of the group
    `keeper.evidence`, by kind; each names a class without arguments."""

    def check(self, evidence: Evidence, book: Book, policy: Policy) -> None:
        """Raises PlanError, naming what does not hold, for evidence that nothing may rest on."""
        ...

    def decide(self, evidence: Evidence, book: Book, policy: Policy) -> Allocation | None:
        """The allocation that the evidence asks for in the strategy's place; None when it asks for none."""
        ...


@cache
def checker(kind: EvidenceKind) -> Checker:
    """Raises PlanError when no checker of that kind is installed: what cannot be checked is refused."""
    try:
        found = plugins.load(ENTRY_POINTS, kind.value, "No checker for evidence of this kind")
    except ConfigError as error:
        raise PlanError(str(error)) from error
    made: Checker = found()
    return made


def check_ages(evidence: Sequence[Evidence], reference_time: int, policy: Policy) -> None:
    """Raises PlanError for evidence older than a reference time may be, or later than the plan ends."""
    oldest = reference_time - policy.time.max_reference_age
    latest = reference_time + policy.time.validity
    for i, each in enumerate(evidence):
        if not oldest <= each.observed_at <= latest:
            raise PlanError(
                "Evidence is out of age",
                expected=f"observed from {oldest} to {latest}",
                seen=each.observed_at,
                where=f"evidence[{i}], {each.kind} from {each.source}",
            )


def decide(evidence: Sequence[Evidence], book: Book, policy: Policy) -> Allocation | None:
    """What the evidence asks for, once all of it holds; None when that is up to the strategy.

    Raises PlanError for evidence that does not hold, or of which two pieces decide.
    """
    decided = []
    for each in evidence:
        judge = checker(each.kind)
        judge.check(each, book, policy)
        allocation = judge.decide(each, book, policy)
        if allocation is not None:
            decided.append(allocation)
    if len(decided) > 1:
        raise PlanError("Two pieces of evidence decide", expected="at most one", seen=len(decided))
    return decided[0] if decided else None
