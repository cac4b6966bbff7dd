"""Chainlink feeds: the mirror of `ChainlinkSource`."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from keeper.chain.call import Call, CallFailure
from keeper.config import CheckedAddress
from keeper.contracts import Function
from keeper.oracle.price_math import MAX_DECIMALS, mul_div_down, mul_div_up
from keeper.oracle.quote import Status
from keeper.oracle.source import (
    NOWHERE,
    Fact,
    Names,
    Price,
    Read,
    Sight,
    SourcePolicy,
    no_price,
    require,
    told,
)
from keeper.units import BPS, WAD

_DECIMALS: Final = Function("decimals()", "(uint256)")
_DESCRIPTION: Final = Function("description()", "(string)")
_MIRRORED: Final = (
    "aggregator",
    "heartbeat",
    "minimum",
    "maximum",
    "deviation_bps",
    "sequencer",
    "grace_period",
    "tolerance_bps",
    "constant_after",
)
_GETTERS: Final = {
    "deviation_bps": "deviationBps",
    "grace_period": "gracePeriod",
    "tolerance_bps": "toleranceBps",
    "constant_after": "constantAfter",
}

Positive = Annotated[int, Field(strict=True, gt=0)]
Count = Annotated[int, Field(strict=True, ge=0)]
Part = Annotated[int, Field(strict=True, ge=0, lt=BPS)]


class Round(NamedTuple):
    """A round as the feed tells it; all zero when it cannot be read."""

    id: int
    answer: int
    started_at: int
    updated_at: int


class Rounds(NamedTuple):
    """`ChainlinkSource.rounds()`: the latest, those at `ChainlinkPolicy.distance` before it, and the
    sequencer's."""

    latest: Round
    earlier: tuple[Round, ...]
    uptime: Round


class ChainlinkPolicy(SourcePolicy):
    """`ChainlinkSource.Config` in the same units: `minimum` and `maximum` in wad, times in seconds.

    `decimals` are the feed's. `cross_check` names the second source. A feed that has a name says
    `description`.
    """

    artifact: ClassVar[str] = "ChainlinkSource"

    kind: Literal["chainlink"]
    aggregator: CheckedAddress
    decimals: Annotated[int, Field(strict=True, ge=0, le=MAX_DECIMALS)]
    heartbeat: Positive
    minimum: Positive
    maximum: Positive
    deviation_bps: Part
    sequencer: CheckedAddress = NOWHERE
    grace_period: Count = 0
    cross_check: str = ""
    tolerance_bps: Part = 0
    constant_after: Count = 0
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "ChainlinkPolicy":
        if self.minimum > self.maximum:
            raise ValueError("minimum exceeds maximum: no answer would be believed")
        if (self.sequencer == NOWHERE) != (self.grace_period == 0):
            raise ValueError("a sequencer needs a grace_period, and a grace_period a sequencer")
        return self

    def needs(self) -> tuple[str, ...]:
        return (self.cross_check,) if self.cross_check else ()

    def facts(self, names: Names) -> Iterator[Fact]:
        yield from super().facts(names)
        for field in _MIRRORED:
            yield Fact(field, self.call(_GETTERS.get(field, field)), getattr(self, field))
        yield Fact("cross_check", self.call("crossCheck"), names.address(self.cross_check))

    @property
    def own_rounds(self) -> Call[Any]:
        return self.call("rounds")

    @property
    def feed_decimals(self) -> Call[Any]:
        return _DECIMALS.at(self.aggregator, owner="aggregator")

    @property
    def feed_description(self) -> Call[Any]:
        return _DESCRIPTION.at(self.aggregator, owner="aggregator")

    def state(self) -> tuple[Call[Any], ...]:
        named = (self.feed_description,) if self.description else ()
        return (self.own_rounds, self.feed_decimals, *named)

    def check(self, names: Names, read: Read, where: str) -> None:
        super().check(names, read, where)
        # A feed that is gone says nothing about itself: it has no price, and that is all.
        if told(read, self.feed_decimals) is not None:
            require(Fact("decimals", self.feed_decimals, self.decimals), read, where)
        if self.description and told(read, self.feed_description) is not None:
            require(Fact("description", self.feed_description, self.description), read, where)

    def distance(self, sample: int) -> int:
        """How many rounds back a sample of the history lies: one, or 1, 2, 4, 8 and 16 times as many as a
        frozen feed writes in the time, one a heartbeat."""
        return 1 if sample == 0 else (self.constant_after // self.heartbeat + 1) << (sample - 1)

    def rounds(self, sight: Sight) -> Rounds | None:
        raw = sight.read(self.own_rounds)
        if isinstance(raw, CallFailure):
            return None
        latest, earlier, uptime = raw
        return Rounds(Round(*latest), tuple(Round(*each) for each in earlier), Round(*uptime))

    def price(self, sight: Sight) -> Price:
        rounds = self.rounds(sight)
        if rounds is None:
            return no_price("the source's rounds cannot be read")
        second = sight.price(self.cross_check) if self.cross_check else None
        return feed_price(self, rounds, sight.at, second)

    def details(self, sight: Sight) -> dict[str, Any]:
        rounds = self.rounds(sight)
        return {} if rounds is None else _details(self, rounds, sight)


def feed_price(feed: ChainlinkPolicy, rounds: Rounds, at: int, second: Price | None) -> Price:
    """`ChainlinkSource.price()` in a block of time `at`. Of several faults the last in the order of Status is
    the status; `second` is the cross check's price."""
    latest = rounds.latest
    if fault := _unanswered(latest, at):
        return no_price(fault)
    unit = 10**feed.decimals
    floor, ceiling = mul_div_down(latest.answer, WAD, unit), mul_div_up(latest.answer, WAD, unit)
    if floor < feed.minimum or ceiling > feed.maximum:
        return no_price(f"out of bounds: {floor} is not within {feed.minimum} and {feed.maximum} (wad)")
    low = mul_div_down(floor, BPS - feed.deviation_bps, BPS)
    high = mul_div_up(ceiling, BPS + feed.deviation_bps, BPS)
    status, why = Status.OK, []
    age = at - latest.updated_at
    if age > feed.heartbeat:
        status = Status.STALE
        why.append(f"stale: the round is {age} s old and the heartbeat is {feed.heartbeat} s")
    if second is not None:
        fault = _unconfirmed(feed, second, floor, ceiling)
        if fault:
            status = Status.DIVERGED
            why.append(fault)
        if _speaks(second):
            low, high = min(low, second.low), max(high, second.high)
    if feed.constant_after and (frozen := _frozen(feed, rounds, at)):
        status = Status.CONSTANT
        why.append(frozen)
    if feed.sequencer != NOWHERE and (down := _down(feed, rounds.uptime, at)):
        status = Status.SEQUENCER_DOWN
        why.append(down)
    return Price(low, high, status, tuple(why))


def _unanswered(latest: Round, at: int) -> str:
    if latest.id == 0:
        return "the feed cannot be read"
    if latest.updated_at == 0 or latest.updated_at > at:
        return f"the round has no time in the past: {latest.updated_at}"
    if latest.answer == 0:
        return "the answer is zero"
    return f"the answer is negative: {latest.answer}" if latest.answer < 0 else ""


def _speaks(second: Price) -> bool:
    return 0 < second.low <= second.high and second.status < Status.UNAVAILABLE


def _unconfirmed(feed: ChainlinkPolicy, second: Price, floor: int, ceiling: int) -> str:
    if not _speaks(second):
        return f"unconfirmed: {feed.cross_check} has no price"
    if second.status is not Status.OK:
        return f"unconfirmed: {feed.cross_check} is {second.status.name}"
    most = mul_div_down(floor, BPS + feed.tolerance_bps, BPS)
    least = mul_div_up(ceiling, BPS - feed.tolerance_bps, BPS)
    if second.low <= most and second.high >= least:
        return ""
    return f"diverged from {feed.cross_check} by more than {feed.tolerance_bps} bps"


def _frozen(feed: ChainlinkPolicy, rounds: Rounds, at: int) -> str:
    for sample, earlier in enumerate(rounds.earlier):
        if earlier.id == 0:
            return f"constant: the round {feed.distance(sample)} before cannot be read"
        if earlier.answer != rounds.latest.answer:
            return ""
        age = at - min(earlier.updated_at, at)
        if age > feed.constant_after:
            return f"constant: one answer for {age} s, more than {feed.constant_after} s"
    return ""


def _down(feed: ChainlinkPolicy, uptime: Round, at: int) -> str:
    if uptime.answer != 0:
        return "the sequencer is down"
    if uptime.started_at == 0 or uptime.started_at > at:
        return "the sequencer's feed does not say since when"
    back = at - uptime.started_at
    if back <= feed.grace_period:
        return f"the sequencer is back for {back} s, and prices count after {feed.grace_period} s"
    return ""


def _details(feed: ChainlinkPolicy, rounds: Rounds, sight: Sight) -> dict[str, Any]:
    latest, uptime = rounds.latest, rounds.uptime
    sequencer = None
    if feed.sequencer != NOWHERE:
        sequencer = {
            "feed": feed.sequencer,
            "state": "up" if not _down(feed, uptime, sight.at) else "down" if uptime.answer else "just back",
            "since": uptime.started_at,
            "grace_period": feed.grace_period,
        }
    return {
        "aggregator": feed.aggregator,
        "description": feed.description,
        "round": latest.id,
        "answer": latest.answer,
        "decimals": feed.decimals,
        "updated_at": latest.updated_at,
        "age": sight.at - latest.updated_at if latest.updated_at else None,
        "heartbeat": feed.heartbeat,
        "minimum": feed.minimum,
        "maximum": feed.maximum,
        "deviation_bps": feed.deviation_bps,
        "constant_after": feed.constant_after or None,
        "cross_check": feed.cross_check or None,
        "tolerance_bps": feed.tolerance_bps or None,
        "sequencer": sequencer,
    }
