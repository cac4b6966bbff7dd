"""What people want of a vault, typed: the evidence that decides a plan in the strategy's place.

A venue is moved, set or left by one intent only, so that their order says nothing. Resolving them is pure:
every signer comes from the same bytes and the same book to the same allocation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from keeper import canonical
from keeper.config import StrictModel
from keeper.config import parse as parse_model
from keeper.connectors.base import EVERYTHING
from keeper.errors import ConfigError, DecodeError, PlanError, PolicyError
from keeper.planning.outcome import IDLE
from keeper.planning.strategy import Allocation
from keeper.units import BPS, MAX_UINT256, mul_div_down

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.evidence import Evidence
    from keeper.planning.policy import Policy

DOMAIN: Final = "omnikeeper/intents"
SCHEMA: Final = 1
MAX_INTENTS: Final = 32
MAX_REASON: Final = 200
"""Characters of one reason; all of them together have to fit a plan's."""
_SHOWN: Final = 1_800


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("only printable characters")
    return value


Text = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_REASON), AfterValidator(_printable)]
Reason = Annotated[str, Field(strict=True, max_length=MAX_REASON), AfterValidator(_printable)]
Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_UINT256)]
Seconds = Annotated[int, Field(strict=True, ge=0, lt=2**64)]


class Move(StrictModel):
    """`assets` from one venue to another, or from or to "idle"; 2^256-1 for all that is there."""

    kind: Literal["move"] = "move"
    source: Text
    destination: Text
    assets: Annotated[int, Field(strict=True, gt=0, le=MAX_UINT256)]
    reason: Reason = ""

    @model_validator(mode="after")
    def _between_two(self) -> Move:
        if self.source == self.destination:
            raise ValueError("source and destination are the same")
        return self


class Target(StrictModel):
    """What a venue should hold: `assets`, or `share_bps` of low NAV, in hundredths of a percent."""

    kind: Literal["target"] = "target"
    venue: Text
    assets: Amount | None = None
    share_bps: Annotated[int, Field(strict=True, ge=0, le=BPS)] | None = None
    reason: Reason = ""

    @model_validator(mode="after")
    def _one_measure(self) -> Target:
        if (self.assets is None) == (self.share_bps is None):
            raise ValueError("either assets or share_bps")
        return self


class Unwind(StrictModel):
    """Leave a venue; what comes out stays idle."""

    kind: Literal["unwind"] = "unwind"
    venue: Text
    reason: Reason = ""


class Harvest(StrictModel):
    """Claim a venue's rewards, or take the other token that it holds, and sell that for the vault's asset."""

    kind: Literal["harvest"] = "harvest"
    venue: Text
    reason: Reason = ""


class Hold(StrictModel):
    """Move nothing before `until`, UNIX seconds of the hub chain's clock."""

    kind: Literal["hold"] = "hold"
    until: Seconds
    reason: Reason = ""


Intent = Annotated[Move | Target | Unwind | Harvest | Hold, Field(discriminator="kind")]
"""One wish; told apart by `kind`."""


class Intents(StrictModel):
    """What `author` wants, and why. `issued_at` is in UNIX seconds."""

    intents: Annotated[tuple[Intent, ...], Field(min_length=1, max_length=MAX_INTENTS)]
    reason: Text
    author: Text
    issued_at: Seconds

    def to_bytes(self) -> bytes:
        """Canonical bytes: what a plan carries as evidence."""
        return canonical.encode(self.model_dump(mode="python"), domain=DOMAIN, version=SCHEMA)


def parse(data: bytes) -> Intents:
    """The intents whose canonical bytes these are. Raises DecodeError, naming the field, for others."""
    body = canonical.decode(data, domain=DOMAIN, version=SCHEMA)
    if not isinstance(body, dict):
        raise DecodeError("Intents are a map", seen=type(body).__name__, where=DOMAIN)
    try:
        # Tuples are lists in canonical bytes.
        parsed = parse_model(body | {"intents": _sequence(body.get("intents"))}, Intents, where=DOMAIN)
    except ConfigError as error:
        raise DecodeError("These are no intents", seen=str(error), where=DOMAIN) from error
    if parsed.to_bytes() != data:
        raise DecodeError("Not the canonical form of these intents", hint="Name every field.", where=DOMAIN)
    return parsed


def _sequence(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def resolve(intents: Intents, book: Book, policy: Policy) -> Allocation:
    """The allocation that the intents ask for.

    Raises PolicyError when the policy lets no intents decide, when a move is smaller than its least one, and
    for what `allocate` refuses.
    """
    if not policy.strategy.intents:
        raise PolicyError(
            "The policy lets only the strategy decide",
            expected="strategy.intents = true",
            seen=f"intents of {intents.author}",
            hint="Every signer needs the policy that allows them.",
        )
    for each in intents.intents:
        if isinstance(each, Move) and each.assets < policy.limits.min_move:
            raise PolicyError(
                "The move is smaller than the policy's least one",
                expected=f"at least {policy.limits.min_move:,}",
                seen=f"{each.assets:,}",
                where=f"{each.source} to {each.destination}",
            )
    allocation = allocate(intents.intents, book)
    said = f"{intents.author}: {intents.reason} {allocation.reason}"
    return Allocation(allocation.targets, said[:_SHOWN], allocation.harvests)


def allocate(intents: Sequence[Intent], book: Book) -> Allocation:
    """The allocation that follows from intents and book, whatever the order of the intents.

    Venues that no intent names keep what they hold; what is freed stays idle. Raises PlanError for intents
    that contradict each other, name an unknown venue, or ask for more than there is, can leave, or is spare
    beside the redemption queue; PolicyError for growth beyond a cap.
    """
    held = book.allocation
    if holds := [each for each in intents if isinstance(each, Hold)]:
        return _held(holds, intents, book)
    _require_known(intents, held)
    _require_one_each(intents)
    targets = dict(held)
    for each in intents:
        match each:
            case Move():
                _move(each, held, book, targets)
            case Target():
                targets[each.venue] = _target(each, book)
            case Unwind():
                targets[each.venue] = 0
            case Harvest():
                # What it claims and sells follows from the book (`keeper.planning.harvest`).
                pass
    _require_at_hand(intents, held, book)
    _require_possible(targets, held, book)
    harvests = [each.venue for each in intents if isinstance(each, Harvest)]
    return Allocation.of(targets, _reasons(intents)[:_SHOWN], harvests)


def settled(decision: Allocation | Sequence[Intent], book: Book) -> Allocation:
    """What a strategy decided, as an allocation. Raises what `allocate` does, and PlanError for what is
    neither."""
    if isinstance(decision, Allocation):
        return decision
    kinds = Move | Target | Unwind | Harvest | Hold
    if not isinstance(decision, list | tuple) or not all(isinstance(each, kinds) for each in decision):
        raise PlanError(
            "A strategy decides on an allocation or intents",
            expected="Allocation, or a sequence of Move, Target, Unwind, Hold and Harvest",
            seen=repr(decision)[:_SHOWN],
        )
    return allocate(decision, book)


class IntentChecker:
    """How plans are checked that rest on intents (entry point `intent` of the group `keeper.evidence`)."""

    def check(self, evidence: Evidence, book: Book, policy: Policy) -> None:
        """Raises DecodeError for what are no intents, PlanError when others are named as their source."""
        intents = parse(evidence.data)
        for name, expected, seen in (
            ("source", intents.author, evidence.source),
            ("observed_at", intents.issued_at, evidence.observed_at),
        ):
            if expected != seen:
                raise PlanError(
                    "The evidence is not what its bytes say", expected=expected, seen=seen, where=name
                )

    def decide(self, evidence: Evidence, book: Book, policy: Policy) -> Allocation | None:
        """What `resolve` says."""
        return resolve(parse(evidence.data), book, policy)


def _held(holds: Sequence[Hold], intents: Sequence[Intent], book: Book) -> Allocation:
    if len(intents) > 1:
        raise PlanError("A hold goes with no other intent", expected=1, seen=len(intents))
    (hold,) = holds
    if hold.until <= book.at:
        raise PlanError("The hold is over", expected=f"until after {book.at}", seen=hold.until)
    return Allocation.of(book.allocation, f"Held until {hold.until}. {hold.reason}".rstrip())


def _venues(intent: Intent) -> tuple[str, ...]:
    if isinstance(intent, Move):
        return intent.source, intent.destination
    return () if isinstance(intent, Hold) else (intent.venue,)


def _require_known(intents: Sequence[Intent], held: Mapping[str, int]) -> None:
    for each in intents:
        for venue in _venues(each):
            if venue not in held and not (isinstance(each, Move) and venue == IDLE):
                raise PlanError(
                    "An intent names an unknown venue", expected=" or ".join(sorted(held)), seen=venue
                )


def _require_one_each(intents: Sequence[Intent]) -> None:
    """Moves add up; every other intent has its venue to itself."""
    setting = Counter(each.venue for each in intents if isinstance(each, Target | Unwind | Harvest))
    moving = {venue for each in intents if isinstance(each, Move) for venue in _venues(each)}
    for venue, count in sorted(setting.items()):
        if count > 1 or venue in moving:
            raise PlanError(
                "Two intents are about the same venue",
                expected="moves, or one target or unwind",
                seen="more than that",
                where=venue,
            )
    emptied = Counter(each.source for each in intents if isinstance(each, Move) and each.assets == EVERYTHING)
    sources = Counter(each.source for each in intents if isinstance(each, Move))
    for venue in sorted(emptied):
        if sources[venue] > 1:
            raise PlanError("All of a venue is moved, and more", where=venue)


def _available(venue: str, held: Mapping[str, int], book: Book) -> int:
    return max(0, book.idle - book.reserve) if venue == IDLE else held[venue]


def _moved(move: Move, held: Mapping[str, int], book: Book) -> int:
    return _available(move.source, held, book) if move.assets == EVERYTHING else move.assets


def _move(move: Move, held: Mapping[str, int], book: Book, targets: dict[str, int]) -> None:
    assets = _moved(move, held, book)
    if move.source != IDLE:
        targets[move.source] -= assets
    if move.destination != IDLE:
        targets[move.destination] += assets


def _target(target: Target, book: Book) -> int:
    if target.assets is not None:
        return target.assets
    return mul_div_down(book.total, target.share_bps or 0, BPS)


def _require_at_hand(intents: Sequence[Intent], held: Mapping[str, int], book: Book) -> None:
    """What moves take from a place is there before anything else is done."""
    taken: Counter[str] = Counter()
    for each in intents:
        if isinstance(each, Move):
            taken[each.source] += _moved(each, held, book)
    for venue, assets in sorted(taken.items()):
        if assets > (most := _available(venue, held, book)):
            raise PlanError(
                "More is moved than there is", expected=f"at most {most:,}", seen=f"{assets:,}", where=venue
            )


def _require_possible(targets: Mapping[str, int], held: Mapping[str, int], book: Book) -> None:
    for position in book.positions:
        venue = position.ref.venue
        change = targets[venue] - held[venue]
        if -change > (most := position.max_withdraw(book.at)):
            raise PlanError(
                "The venue does not let that much go now",
                expected=f"at most {most:,}",
                seen=f"{-change:,}",
                where=venue,
                hint=f"Move {most:,}, and the rest when liquidity is back." if most else "",
            )
        if change > 0 and change > (most := position.max_supply(book.at)):
            raise PlanError(
                "The venue does not take that much",
                expected=f"at most {most:,}",
                seen=f"{change:,}",
                where=venue,
            )
        if change > 0 and targets[venue] > (most := book.caps.get(venue, 0)):
            raise PolicyError(
                "Above the venue's cap",
                expected=f"at most {most:,}",
                seen=f"{targets[venue]:,}",
                where=venue,
            )
    grown = {venue for venue, assets in targets.items() if assets > held[venue]}
    if not grown:
        return
    _require_shared_caps(targets, held, grown, book)
    left = book.total - sum(targets.values())
    if left < book.reserve:
        raise PlanError(
            "The intents spend what redemptions need",
            expected=f"at least {book.reserve:,} idle afterwards",
            seen=f"{left:,}",
        )


def _require_shared_caps(
    targets: Mapping[str, int], held: Mapping[str, int], grown: Iterable[str], book: Book
) -> None:
    for exposure in book.exposures:
        if not set(grown) & set(exposure.venues):
            continue
        interest = exposure.later - sum(held[venue] for venue in exposure.venues)
        most = max(0, exposure.cap - interest)
        seen = sum(targets[venue] for venue in exposure.venues)
        if seen > most:
            raise PolicyError(
                "Above the cap of a risk id",
                expected=f"at most {most:,}",
                seen=f"{seen:,}",
                where=f"{exposure.name}: {' and '.join(exposure.venues)}",
            )


def describe(intent: Intent) -> str:
    """One intent for people; amounts in the smallest unit of the vault's asset."""
    match intent:
        case Move():
            what = "everything" if intent.assets == EVERYTHING else f"{intent.assets:,}"
            return f"move {what} from {intent.source} to {intent.destination}"
        case Target(assets=None):
            return f"hold {intent.share_bps:,} bps of NAV in {intent.venue}"
        case Target():
            return f"hold {intent.assets:,} in {intent.venue}"
        case Unwind():
            return f"leave {intent.venue}"
        case Harvest():
            return f"harvest {intent.venue}"
        case Hold():
            return f"move nothing until {intent.until}"


def _reasons(intents: Sequence[Intent]) -> str:
    """Sorted, as their order says nothing."""
    return "; ".join(sorted(f"{describe(each)}{_because(each)}" for each in intents))


def _because(intent: Any) -> str:
    return f" ({intent.reason})" if intent.reason else ""
