"""What a batch leaves behind, as a function of the time it is included at.

The state of a snapshot, brought up to that time by the mirrors, then the calls. Whoever has the snapshot
evaluates it for any time at which the plan is valid; the plan pins its values at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeGuard

from keeper.connectors.base import (
    EVERYTHING,
    Indebted,
    Position,
    Rewarded,
    Securing,
    after_move,
    at_venue,
    is_movable,
    moved,
)
from keeper.connectors.token import TokenPosition
from keeper.errors import PlanError
from keeper.ledger.portfolio import nav_for_batch
from keeper.planning.actions import CLAIM, FREE, REPAY, SUPPLY, SWAP_LIFI, SWAP_UNISWAP, WITHDRAW

if TYPE_CHECKING:
    from keeper.planning.calls import PlannedCall
    from keeper.units import Address

IDLE: Final = "idle"
"""Name of the assets at hand among the predicted values."""


class Held(Protocol):
    """What calls change; `keeper.book.Book` is one. Amounts in the vault's asset."""

    @property
    def idle(self) -> int:
        """Assets at hand."""
        ...

    @property
    def positions(self) -> tuple[Position, ...]:
        """Every allow-listed position, sorted by venue."""
        ...


@dataclass(frozen=True)
class Fill:
    """What a swap took of the token sold, and what it brought of the vault's asset."""

    spent: int
    received: int


@dataclass
class _Hands:
    """What the portfolio has between two calls; `brought` are tokens other than its asset."""

    positions: tuple[Position, ...]
    idle: int
    fills: Iterator[Fill]
    brought: dict[Address, int] = field(default_factory=dict)

    def take(self, call: PlannedCall, amount: int) -> None:
        available = self.brought.get(call.token, 0)
        if amount > available:
            raise PlanError(
                "The call spends more of a token than the batch brings",
                expected=f"at most {available:,} of {call.token}",
                seen=call.explain(),
            )
        self.brought[call.token] = available - amount

    def bring(self, token: Address, amount: int) -> None:
        self.brought[token] = self.brought.get(token, 0) + amount


def after_calls(
    held: Held, calls: Iterable[PlannedCall], at: int, fills: Iterable[Fill] = ()
) -> tuple[tuple[Position, ...], int]:
    """(positions, idle assets) once the calls were made in a block of time `at`.

    `fills` are what swaps did, in order; one that is not among them brings what is signed as its least.
    Raises PlanError for an action that no mirror follows, where the protocol would refuse, and for tokens
    that would be left over.
    """
    hands = _Hands(held.positions, held.idle, iter(fills))
    for call in calls:
        mirror = _MIRRORS.get(call.function)
        if mirror is None:
            raise PlanError(
                "No mirror follows this action, and what it leaves behind is unknown",
                expected=" or ".join(_MIRRORS),
                seen=call.explain(),
            )
        mirror(hands, call, at)
    if left := {token: amount for token, amount in hands.brought.items() if amount}:
        raise PlanError(
            "Tokens would be left over, and the portfolio refuses that", expected="none", seen=left
        )
    return hands.positions, hands.idle


def _supply(hands: _Hands, call: PlannedCall, at: int) -> None:
    position = at_venue(hands.positions, call.venue)
    if not _is_foreign(position):
        hands.positions, _ = after_move(hands.positions, call.venue, call.assets, at)
        hands.idle -= call.assets
        return
    everything = call.assets == EVERYTHING
    pushed = hands.brought.get(call.token, 0) if everything else call.assets
    hands.take(call, pushed)
    after = position.after_keeping(pushed) if everything else position.after_supply(pushed, at)
    hands.positions = moved(hands.positions, position, after)


def _withdraw(hands: _Hands, call: PlannedCall, at: int) -> None:
    position = at_venue(hands.positions, call.venue)
    hands.positions, received = after_move(hands.positions, call.venue, -call.assets, at)
    if _is_foreign(position):
        hands.bring(position.token, received)
    elif isinstance(position, Securing) and not is_movable(position):
        hands.bring(position.pledge, received)
    else:
        hands.idle += received


def _free(hands: _Hands, call: PlannedCall, at: int) -> None:
    position = at_venue(hands.positions, call.venue)
    if not isinstance(position, Securing):
        raise PlanError("This position has no collateral", seen=call.explain())
    after, received = position.after_freeing(call.assets, at)
    hands.positions = moved(hands.positions, position, after)
    hands.bring(position.pledge, received)


def _repay(hands: _Hands, call: PlannedCall, at: int) -> None:
    """A debt in the vault's asset, with what is at hand."""
    position = at_venue(hands.positions, call.venue)
    if not isinstance(position, Indebted) or position.owes != call.token:
        raise PlanError("This position owes nothing in that token", seen=call.explain())
    if call.assets > hands.idle:
        raise PlanError("More is repaid than is at hand", expected=hands.idle, seen=call.explain())
    after, repaid = position.after_repaying(call.assets, at)
    hands.positions = moved(hands.positions, position, after)
    hands.idle -= repaid


def _claim(hands: _Hands, call: PlannedCall, at: int) -> None:
    position, reward = at_venue(hands.positions, call.venue), call.args["reward"]
    if not isinstance(position, Rewarded):
        raise PlanError("This position earns no rewards to claim", seen=call.explain())
    after, paid = position.after_claim(reward, at)
    hands.positions = moved(hands.positions, position, after)
    if reward == call.token:
        hands.idle += paid
    else:
        hands.bring(reward, paid)


def _swap(hands: _Hands, call: PlannedCall, at: int) -> None:
    """Into the vault's asset, which is the only way that policies allow."""
    fill = next(hands.fills, Fill(call.args["amount_in"], call.args["min_out"]))
    hands.take(call, fill.spent)
    hands.idle += fill.received


_MIRRORS: Final[Mapping[str, Callable[[_Hands, PlannedCall, int], None]]] = {
    SUPPLY.name: _supply,
    WITHDRAW.name: _withdraw,
    FREE.name: _free,
    REPAY.name: _repay,
    CLAIM.name: _claim,
    SWAP_UNISWAP.name: _swap,
    SWAP_LIFI.name: _swap,
}


def _is_foreign(position: Position) -> TypeGuard[TokenPosition]:
    """Whether it holds a token other than the vault's asset."""
    return isinstance(position, TokenPosition) and position.token != position.prices.asset


def predict(held: Held, calls: Iterable[PlannedCall], at: int) -> dict[str, int]:
    """What each venue, and "idle", is worth (low) right after the calls in a block of time `at`, when nothing
    but interest has happened since the snapshot. Raises as `after_calls`."""
    positions, idle = after_calls(held, calls, at)
    return {IDLE: idle} | {position.ref.venue: position.report(at).low for position in positions}


def least_nav(held: Held, marks: Mapping[str, int], read: Collection[str], first: int, last: int) -> int:
    """A bound that the low NAV for a batch (`nav_for_batch`) keeps at every time from `first` to `last`.

    What only earns never falls. What also owes is the difference of interest that grows linearly, or not at
    all (Aave's liquidity index, Morpho's collateral), and of debt that compounds: concave in time, so least
    at one of the ends. The bound takes each position's own worse end.
    """
    worst = 0
    for position in held.positions:
        one = (position,)
        worst += min(nav_for_batch(0, one, marks, read, at) for at in (first, last))
    return held.idle + worst
