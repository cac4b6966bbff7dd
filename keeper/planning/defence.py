"""Debts before everything else: repaid in time, so that nobody can liquidate what secures them.

Pure, and decided by the book alone: every signer comes to the same calls, and the plan carries no evidence.
One plan defends one account, in the way that is surest at the moment: with cash first, which no price can
make fail; then by selling collateral, in steps that leave the connector's floor of health; and with what
redemptions wait for only where nothing else is left, no further than to the policy's floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keeper.connectors.base import Indebted, Position, Securing, at_venue, is_movable
from keeper.errors import PlanError, PolicyError, ValuationError
from keeper.exposures import doubtful
from keeper.planning.actions import REPAY, SWAP
from keeper.planning.bounds import CALLS_OF_A_SALE
from keeper.planning.calls import PlannedCall
from keeper.planning.harvest import direct_sale
from keeper.planning.outcome import after_calls
from keeper.units import BPS, MAX_UINT256, WAD

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.policy import Policy
    from keeper.units import Address


@dataclass(frozen=True)
class Defence:
    """The calls of a plan that defends `venue`, and why so."""

    venue: str
    calls: tuple[PlannedCall, ...]
    reason: str


def weak(book: Book, policy: Policy) -> tuple[str, ...]:
    """The venues through which debts are repaid whose health is below the policy's floor, the worst first;
    an account that several venues stand for counts once for every asset it owes."""
    if policy.health is None:
        return ()
    floor = _wad(policy.health.floor_bps)
    found = [
        (health, each.ref.venue)
        for each in book.positions
        if isinstance(each, Indebted)
        and each.owed(book.at)
        and (health := each.worst_health(book.at)) < floor
    ]
    return tuple(venue for _, venue in sorted(found))


def defend(book: Book, policy: Policy) -> Defence | None:
    """What is to be done for the worst account that anything can be done for; None if there is none."""
    for venue in weak(book, policy):
        calls, how = _Work(book, policy, venue).calls()
        if calls and _keeps_value(book, policy, calls):
            health = _debtor(book.positions, venue).worst_health(book.at)
            return Defence(venue, calls, f"Defends {venue} at a health of {_shown(health)}: {how}.")
    return None


def _keeps_value(book: Book, policy: Policy, calls: tuple[PlannedCall, ...]) -> bool:
    """Whether nothing is lost but rounding, and what sales may lose. To repay what owes more than it owns, or
    what cannot be valued, would be to throw good money after bad; the portfolio refuses that as a loss."""
    positions, idle = after_calls(book, calls, book.at)
    lost = book.total - replace(book, positions=positions, idle=idle).total
    sells = policy.swap is not None and any(call.venue == SWAP for call in calls)
    allowed = policy.swap.max_loss if sells and policy.swap is not None else 0
    return lost <= policy.limits.rounding_loss_per_call * len(calls) + allowed


def closed(book: Book) -> Book:
    """The same where no venue may grow."""
    return replace(book, caps={venue: min(book.caps[venue], held) for venue, held in book.allocation.items()})


@dataclass(frozen=True)
class _Work:
    """One account's defence; `venue` is where its debt in the vault's asset is repaid."""

    book: Book
    policy: Policy
    venue: str

    @property
    def _account(self) -> frozenset[str]:
        """The venues that answer for the debt together: of a connector that keeps its positions apart, the
        debt's own alone."""
        own = at_venue(self.book.positions, self.venue).ref
        if own.address in self.book.isolated:
            return frozenset({self.venue})
        return frozenset(each.ref.venue for each in self.book.positions if each.ref.address == own.address)

    def calls(self) -> tuple[tuple[PlannedCall, ...], str]:
        """The calls, and what they do in a word."""
        book, asset = self.book, self.policy.vault.asset
        if _debtor(book.positions, self.venue).owes != asset:
            # Policies let tokens be sold for the vault's asset alone, so nothing could buy another debt's.
            return (), ""
        alone = doubtful(book.positions, book.isolated, book.at)
        spare = max(0, book.idle - book.reserve)
        if self.venue in alone:
            return self._in_doubt(alone, spare)
        if cash := self._with_cash(alone, spare):
            return cash, "repays with what is at hand and what venues let go"
        if steps := tuple(self._steps(alone)):
            return steps, "sells collateral"
        return self._last(), "repays with what redemptions wait for"

    def _in_doubt(self, alone: frozenset[str], spare: int) -> tuple[tuple[PlannedCall, ...], str]:
        """Beside a position in doubt nothing else may be done (`PostConditions._checkImpaired`): it is repaid
        in one plan, and what is needed for that is taken out in the one before."""
        need = self._need(self.book.positions)
        if self._counts(paid := min(spare, need), need):
            return (self._repay(paid),), "repays with what is at hand"
        freed = tuple(self._elsewhere(alone, need, self.policy.limits.max_calls))
        if self._counts(sum(call.assets for call in freed), need):
            return freed, "frees what repays it"
        return self._last(), "repays with what redemptions wait for"

    def _with_cash(self, alone: frozenset[str], spare: int) -> tuple[PlannedCall, ...]:
        need = self._need(self.book.positions)
        missing = max(0, need - spare)
        freed = tuple(self._elsewhere(alone, missing, self.policy.limits.max_calls - 1))
        paid = min(need, spare + sum(call.assets for call in freed))
        return (*freed, self._repay(paid)) if self._counts(paid, need) else ()

    def _counts(self, paid: int, need: int) -> bool:
        """Whether it is worth a plan: dust would stand in the way of what helps more."""
        return paid > 0 and paid >= min(need, self.policy.limits.min_move)

    def _elsewhere(self, alone: frozenset[str], missing: int, most: int) -> Iterator[PlannedCall]:
        """Withdrawals from what secures no debt, what earns least first."""
        book = self.book
        busy = alone | self._account
        others = [each for each in book.positions if each.ref.venue not in busy and _is_free(each, book.at)]

        def order(each: Position) -> tuple[int, int, str]:
            # What is too little for a call of its own may do with others, the largest first.
            available = each.max_withdraw(book.at)
            large = self._counts(min(missing, available), missing)
            return -MAX_UINT256 if large else -available, each.supply_rate(0, book.at), each.ref.venue

        positions = book.positions
        for other in sorted(others, key=order)[:most]:
            available = at_venue(positions, other.ref.venue).max_withdraw(book.at)
            if taken := min(missing, available):
                call = self._withdraw(other, taken)
                # Venues that lend in the same market share its cash.
                positions, _ = after_calls(replace(book, positions=positions), (call,), book.at)
                missing -= taken
                yield call

    def _steps(self, alone: frozenset[str]) -> Iterator[PlannedCall]:
        """Collateral taken back, sold, and repaid with, as long as that makes the account healthier."""
        book, left = self.book, self.policy.limits.max_calls
        allowed = self._allowed_loss()
        done: tuple[PlannedCall, ...] = ()
        for venue in sorted(self._account):
            while venue not in alone and left >= CALLS_OF_A_SALE:
                step = self._step(book, venue, allowed, done)
                if not step:
                    break
                yield from step
                left, done = left - len(step), (*done, *step)
                before = book.total
                positions, idle = after_calls(book, step, book.at)
                book = replace(book, positions=positions, idle=idle)
                allowed -= max(0, before - book.total)

    def _step(
        self, book: Book, venue: str, allowed: int, done: tuple[PlannedCall, ...]
    ) -> tuple[PlannedCall, ...]:
        """The least that reaches the target, or else the most that is possible, also behind what the plan has
        `done` before and once interest has been added for as long as it may be valid."""
        position = at_venue(book.positions, venue)
        debtor = _debtor(book.positions, self.venue)
        if not isinstance(position, Securing) or debtor.worst_health(book.at) >= self._target:
            return ()
        health = debtor.worst_health(book.at)
        late = book.at + 2 * self.policy.time.validity
        earlier = sum(call.amount for call in done if call.venue == SWAP and call.token == position.pledge)

        def tried(amount: int) -> tuple[tuple[PlannedCall, ...], int]:
            """The calls for that amount and the health they leave; -1 where they cannot be."""
            try:
                calls = self._selling(book, position, amount, earlier)
                positions, idle = after_calls(book, calls, book.at)
                after_calls(self.book, (*done, *calls), late)
            except (PlanError, PolicyError, ValuationError):
                return (), -1
            after = replace(book, positions=positions, idle=idle)
            if not calls or book.total - after.total > allowed:
                return (), -1
            return calls, _debtor(positions, self.venue).worst_health(book.at)

        most = _last(position.pledged(book.at), lambda amount: tried(amount)[1] > health)
        if not most:
            return ()
        enough = _last(most, lambda amount: tried(amount)[1] < self._target) + 1
        calls, reached = tried(min(enough, most))
        large = calls[-1].assets >= self.policy.limits.min_move
        return calls if large or reached >= self._target else ()

    def _selling(self, book: Book, position: Position, amount: int, earlier: int) -> tuple[PlannedCall, ...]:
        """Takes `amount` of collateral back, sells it if it has to be sold, and repays with the least that
        this brings. Raises PlanError where no route reaches what the oracle asks for."""
        if not isinstance(position, Securing):
            return ()
        free = PlannedCall.of(
            position.frees,
            target=position.ref.address,
            token=self.policy.vault.asset,
            venue=position.ref.venue,
            args={"key": position.ref.key, "assets": amount},
        )
        if not position.foreign:
            return free, self._repay(min(amount, _debtor(book.positions, self.venue).owed(book.at)))
        sale = direct_sale(book, self.policy, position.pledge, amount, earlier)
        return free, sale, self._repay(sale.args["min_out"])

    def _last(self) -> tuple[PlannedCall, ...]:
        """With what redemptions wait for, up to the floor and no further: a liquidation costs those who wait
        as much as those who stay."""
        health = self.policy.health
        goal = 0 if health is None else _wad(health.floor_bps)
        need = self._need(self.book.positions, goal)
        paid = min(self.book.idle, need)
        return (self._repay(paid),) if self._counts(paid, need) else ()

    @property
    def _target(self) -> int:
        health = self.policy.health
        return 0 if health is None else _wad(health.target_bps)

    def _need(self, positions: tuple[Position, ...], goal: int | None = None) -> int:
        """The least repayment that leaves `goal`, by default the target; the whole debt where none does."""
        debtor, at = _debtor(positions, self.venue), self.book.at
        wanted = self._target if goal is None else goal

        def is_short(amount: int) -> bool:
            after, _ = debtor.after_repaying(amount, at)
            return isinstance(after, Indebted) and after.worst_health(at) < wanted

        if debtor.worst_health(at) >= wanted:
            return 0
        owed = debtor.owed(at)
        return min(owed, _last(owed, is_short) + 1)

    def _allowed_loss(self) -> int:
        return 0 if self.policy.swap is None else self.policy.swap.max_loss

    def _repay(self, assets: int) -> PlannedCall:
        ref = at_venue(self.book.positions, self.venue).ref
        token: Address = self.policy.vault.asset
        args = {"key": ref.key, "assets": assets}
        return PlannedCall.of(REPAY.name, target=ref.address, token=token, venue=ref.venue, args=args)

    def _withdraw(self, position: Position, assets: int) -> PlannedCall:
        ref, token = position.ref, self.policy.vault.asset
        return PlannedCall.withdraw(
            target=ref.address, token=token, venue=ref.venue, key=ref.key, assets=assets
        )


def _is_free(position: Position, at: int) -> bool:
    """Whether it can be taken from without any debt's becoming less secure."""
    return is_movable(position) and not (
        isinstance(position, Indebted) and position.worst_health(at) < MAX_UINT256
    )


def _debtor(positions: tuple[Position, ...], venue: str) -> Indebted:
    found = at_venue(positions, venue)
    if not isinstance(found, Indebted):
        raise PlanError("This position owes nothing", where=venue)
    return found


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """The greatest amount from 1 to `most` up to which a condition holds, that holds up to some amount and no
    further; 0 if it never does."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _wad(bps: int) -> int:
    return bps * (WAD // BPS)


def _shown(health: int) -> str:
    hundredths = health * 100 // WAD
    return f"{hundredths // 100}.{hundredths % 100:02d}"
