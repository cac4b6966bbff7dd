"""Several strategies over one vault, each with a share of its budget.

Every member decides over the whole book, as if the vault were its own. A venue gets the members' targets,
weighted by their shares, rounded down; what that leaves stays idle. Whatever bounds targets from both sides
or in sum (what can leave a venue, what it takes, caps of venues and of risk ids, the reserve) holds for the
weighted mean because it holds for each member, and when all agree the mean is what they agree on.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from keeper.errors import PlanError
from keeper.planning.intents import settled
from keeper.planning.strategy import Allocation, Strategy, decided, load, source_digest
from keeper.units import BPS

if TYPE_CHECKING:
    from keeper.book import Book

MAX_MEMBERS: Final = 8
_SHOWN: Final = 1_800


class Member(BaseModel):
    """A strategy by entry point name, its parameters, and its share in hundredths of a percent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    share_bps: Annotated[int, Field(strict=True, gt=0, le=BPS)]

    @field_validator("name")
    @classmethod
    def _another(cls, value: str) -> str:
        if value == Composition.name:
            raise ValueError("a composition cannot be a member of one")
        return value


class Params(BaseModel):
    """The members; their shares sum to 10,000."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_MEMBERS)]

    @model_validator(mode="after")
    def _whole(self) -> Params:
        if (total := sum(member.share_bps for member in self.members)) != BPS:
            raise ValueError(f"the shares of the members sum to {total:,}, not to {BPS:,}")
        return self


class Pinned(BaseModel):
    """A member as plans pin it: with its version, its full parameters and the digest of its source."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    params: dict[str, Any]
    source_digest: str
    share_bps: int


class Stamp(BaseModel):
    """What plans pin of a composition."""

    model_config = ConfigDict(frozen=True)

    members: tuple[Pinned, ...]


class Composition:
    """The mean of what its members want, weighted by their shares."""

    name: Final = "composition"
    version: Final = "1"

    def __init__(self, params: Params) -> None:
        """Raises ConfigError when a member is not installed, or its parameters do not fit."""
        self._members = tuple((load(each.name, each.params), each.share_bps) for each in params.members)

    @cached_property
    def params(self) -> Stamp:
        """The members, with what tells their code apart."""
        return Stamp(members=tuple(_pinned(strategy, share) for strategy, share in self._members))

    def decide(self, book: Book) -> Allocation:
        """The weighted mean. Raises PlanError when a member leaves out a venue, and whatever stops one."""
        venues = [position.ref.venue for position in book.positions]
        totals = dict.fromkeys(venues, 0)
        reasons, harvests = [], set[str]()
        for strategy, share in self._members:
            wanted = settled(decided(strategy, book), book)
            if [venue for venue, _ in wanted.targets] != venues:
                raise PlanError(
                    "A member of the composition does not name every venue once",
                    expected=venues,
                    seen=[venue for venue, _ in wanted.targets],
                    where=strategy.name,
                )
            for venue, assets in wanted.targets:
                totals[venue] += assets * share
            harvests.update(wanted.harvests)
            reasons.append(f"{strategy.name}, {share:,} bps: {wanted.reason}")
        return Allocation.of(
            {venue: weighted // BPS for venue, weighted in totals.items()},
            " / ".join(reasons)[:_SHOWN],
            harvests,
        )


def _pinned(strategy: Strategy, share: int) -> Pinned:
    return Pinned(
        name=strategy.name,
        version=strategy.version,
        params=strategy.params.model_dump(mode="json"),
        source_digest="0x" + source_digest(strategy).hex(),
        share_bps=share,
    )
