"""Random histories of a redemption queue, and the same queue in exact rationals.

For the tests of `keeper.ledger.queue`, short and long.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from keeper.ledger.queue import Claim, Queue, QueuePoint
from keeper.ledger.vault import QUEUE_DUST
from keeper.simulation.market import Draws

LARGEST_JOIN = 37
"""Decimal digits; with the most joins of a history together below 2^128."""
JOINS = 8


@dataclass(frozen=True)
class Join:
    shares: int


@dataclass(frozen=True)
class Fill:
    shares: int
    assets: int


class Chooser:
    """Draws the steps of one history from a seed, within the settlement's rule on dust."""

    def __init__(self, seed: int) -> None:
        self.draws = Draws(seed)
        # Nine tenths of the histories are of shares of one order, as those of one vault are.
        self._digits = self.draws.between(0, LARGEST_JOIN)
        self._mixed = self.draws.between(0, 10) == 0
        self._price = Fraction(self.draws.between(1, 10**6), 10 ** self.draws.between(0, 14))

    def join(self) -> Join:
        digits = self.draws.between(0, LARGEST_JOIN) if self._mixed else self._digits
        return Join(self.draws.between(10**digits, 10 ** (digits + 1)))

    def fills(self, queued: int) -> Iterator[tuple[str, Fill]]:
        """Fills of one kind, named, of a queue of so many shares."""
        kind = self.draws.pick(("tiny", "near total", "dust", "ordinary", "ten percent", "total"))
        if kind == "ten percent":
            price = self._moved()
            for _ in range(self.draws.between(1, 40)):
                part = max(queued // 10, 1)
                yield kind, paid(queued, part, price)
                queued -= part
                if not queued:
                    return
        else:
            yield kind, paid(queued, queued - self._rest(kind, queued), self._moved())

    def _rest(self, kind: str, queued: int) -> int:
        border = queued // QUEUE_DUST
        rest = {
            "tiny": queued - self.draws.between(1, 4),
            "near total": border + self.draws.pick((1, 2, 1 + border // 7, 1 + border * 5)),
            "dust": border - self.draws.pick((0, 1, border // 3)),
            "ordinary": self.draws.between(0, queued),
            "total": 0,
        }[kind]
        return min(max(rest, 0), queued - 1)

    def _moved(self) -> Fraction:
        """The price moves by up to a third between fills."""
        return self._price * self.draws.between(75, 134) / 100


def paid(queued: int, filled: int, price: Fraction) -> Fill:
    """As the settlement pays (`SettlementLib`): a remainder of dust counts as filled, and fetches nothing."""
    assets = filled * price.numerator // price.denominator
    return Fill(queued if queued - filled <= queued // QUEUE_DUST else filled, assets)


@dataclass
class Generation:
    """What the bounds on rounding need to know of a generation."""

    fills: int = 0
    dearest: Fraction = Fraction(0)


@dataclass
class Member:
    """One request: by the mirror, claimed once or in pieces, and in exact rationals."""

    shares: int
    joined: QueuePoint
    fills_before: int
    exact_pending: Fraction
    exact_assets: Fraction = Fraction(0)
    left: int = 0
    touched_at: QueuePoint | None = None
    fills_at_touch: int = 0
    fetched: int = 0
    assets_lost: Fraction = Fraction(0)
    shares_lost: Fraction = Fraction(0)
    """Most that the touches may have lost to rounding."""

    def once(self, queue: Queue) -> Claim:
        return queue.claim(self.shares, self.joined)

    def pieces(self, queue: Queue) -> Claim:
        """What all touches have fetched, and what another would leave."""
        last = queue.claim(self.left, self.touched_at or self.joined)
        return Claim(self.fetched + last.assets, last.pending)


@dataclass
class History:
    """A queue beside its exact model. `seen` counts what it has been through. Epochs are counted by the
    generations alone, because a point within one does not depend on their number.

    Pro rata fills leave the members' proportions as they are. So the model pays `assets * pending / queued`
    for a run of fills in one product, with both as the run found them.
    """

    queue: Queue = field(default_factory=Queue)
    members: list[Member] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=lambda: [Generation()])
    paid: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    _since: int = 0
    _base: int = 0

    def join(self, shares: int) -> None:
        self.bring_up_to_date()
        point = self.queue.point
        member = Member(shares, point, self.generations[-1].fills, Fraction(shares), left=shares)
        member.fills_at_touch = member.fills_before
        self.members.append(member)
        self.queue = self.queue.join(shares)
        self._base = self.queue.shares

    def fill(self, shares: int, assets: int) -> None:
        now = self.generations[-1]
        now.fills += 1
        if assets * now.dearest.denominator > now.dearest.numerator * shares:
            now.dearest = Fraction(assets, shares)
        scale, generation = self.queue.scale, self.queue.generation
        self.queue = self.queue.fill(shares, assets).record(generation + 1)
        # Of what precision rests on: the settlement's rule on dust keeps the product up.
        assert 10**27 <= self.queue.product <= 10**36
        self.paid += assets
        self._since += assets
        self.seen["rescaled"] += self.queue.scale > scale
        if self.queue.generation > generation:
            self.bring_up_to_date()
            self.generations.append(Generation())

    def touch(self, member: Member) -> None:
        """Books what the member has got, as the vault does whenever it is touched."""
        start = member.touched_at or member.joined
        claim = self.queue.claim(member.left, start)
        assets, pending = self.bounds(member.left, start, member.fills_at_touch)
        member.assets_lost += assets
        member.shares_lost += pending
        member.fetched += claim.assets
        member.left, member.touched_at = claim.pending, self.queue.point
        member.fills_at_touch = self.generations[-1].fills

    def bring_up_to_date(self) -> None:
        """Pays the fills since the last join into the exact model."""
        if not self._base:
            return
        for member in self.members:
            member.exact_assets += member.exact_pending * self._since / self._base
            member.exact_pending = member.exact_pending * self.queue.shares / self._base
        self._since, self._base = 0, self.queue.shares

    def bounds(self, shares: int, start: QueuePoint, fills_before: int) -> tuple[Fraction, Fraction]:
        """Most that a claim may be short of exact: in assets, and in pending shares.

        With k fills since, at p assets per share at most, from a point with product P: each fill loses less
        than 1/P of the request in the product and less than 1/P assets per share in the sum, the two next
        scales' sums 1/P each, the last division a unit. After three scales less than 1e-18 of it is left, and
        forgotten.
        """
        generation = self.generations[start.generation - 1]
        fills = generation.fills - fills_before
        dear, per = generation.dearest.numerator, generation.dearest.denominator
        forgotten = self.last_scale(start.generation) > start.scale + 2
        self.seen["forgotten"] += forgotten
        # In units of 1 / (P * 1e18): what fills lose, and what is forgotten.
        lost, gone = shares * fills * 10**18, shares * start.product * forgotten
        unit = start.product * 10**18
        short = (lost + 2 * shares * 10**18 + unit) * per + (lost + gone) * dear
        return Fraction(short, unit * per), Fraction(lost + gone + unit, unit)

    def last_scale(self, generation: int) -> int:
        """The scale that a generation has come to."""
        if generation == self.queue.generation:
            return self.queue.scale
        return max(scale for each, scale in self.queue.sums if each == generation)

    def check(self) -> None:
        """Every property, for all members."""
        self.bring_up_to_date()
        assert sum(m.exact_assets for m in self.members) == self.paid
        assert sum(m.exact_pending for m in self.members) == self.queue.shares
        once = [m.once(self.queue) for m in self.members]
        pieces = [m.pieces(self.queue) for m in self.members]
        assert sum(c.assets for c in once) <= self.paid
        assert sum(c.assets for c in pieces) <= self.paid
        shortest = Fraction(0)
        for member, whole, split in zip(self.members, once, pieces, strict=True):
            shortest += self._check_member(member, whole, split)
        assert 0 <= self.queue.shares - sum(c.pending for c in once) <= shortest
        assert sum(c.pending for c in pieces) <= self.queue.shares

    def _check_member(self, member: Member, once: Claim, pieces: Claim) -> Fraction:
        """The bound on pending shares of the member's only claim."""
        assets, pending = self.bounds(member.shares, member.joined, member.fills_before)
        assert 0 <= member.exact_assets - once.assets <= assets
        assert 0 <= member.exact_pending - once.pending <= pending
        assert pieces.pending <= member.exact_pending
        start = member.touched_at or member.joined
        last, _ = self.bounds(member.left, start, member.fills_at_touch)
        # A lost share is worth what later fills pay for it.
        dearest = self.generations[member.joined.generation - 1].dearest
        last += member.assets_lost + member.shares_lost * dearest
        assert 0 <= member.exact_assets - pieces.assets <= last
        # Touching can only bring back what one claim loses to rounding.
        assert pieces.assets - once.assets <= assets
        self.seen["pieces beat one claim"] += pieces.assets > once.assets
        self.seen["near the bound"] += assets > 1_000 and 2 * (member.exact_assets - once.assets) > assets
        return pending


def random_history(seed: int, steps: int) -> History:
    """Joins, fills and touches, checked on the way and at the end."""
    choose, history = Chooser(seed), History()
    for _ in range(steps):
        act = choose.draws.between(0, 8)
        if history.queue.shares == 0 or (act < 2 and len(history.members) < JOINS):
            if len(history.members) == JOINS:
                break
            history.join(choose.join().shares)
        elif act == 2:
            history.touch(choose.draws.pick(history.members))
        else:
            for kind, fill in choose.fills(history.queue.shares):
                history.fill(fill.shares, fill.assets)
                history.seen[kind] += 1
                if not history.queue.shares:
                    break
        if act == 3:
            history.check()
    history.check()
    return history
