"""What every protocol mirror offers, and how one is found by name.

A connector lists the reads it needs, then turns them into an immutable position. Stored protocol state is
the source and accrual is done here, in integers; a protocol's own accrual view, where one exists for a cheap
read, is only compared with the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ValidationError

from keeper import plugins
from keeper.chain.call import Call, CallFailure
from keeper.errors import ConfigError, DecodeError, PlanError, ValuationError
from keeper.oracle.quote import Prices, Status
from keeper.units import Address, Value

EVERYTHING: Final = 2**256 - 1
"""As an amount to withdraw: a full exit."""

ENTRY_POINTS: Final = "keeper.connectors"

Read = Callable[[Call[Any]], Any]
"""Result of a call in the snapshot: its decoded value, or a CallFailure."""

StateKey = tuple[str, ...]
"""Name of a piece of protocol state: the protocol, then addresses and ids."""


@dataclass(frozen=True)
class PositionRef:
    """One allow-listed position as the policy names it.

    `connector` is the entry point's name, `address` our contract that holds the position, `key` the 32 bytes
    that contract knows it by, `venue` a stable id for people and caps ("aave:USDC"), `params` what the
    mirror needs to know about the protocol.
    """

    connector: str
    address: Address
    key: bytes
    venue: str
    params: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Report:
    """What `IConnector.report(key)` answers, in the vault's asset.

    Assets less debts as a range, why a price in it may not be used for new risk, the debt at its low end, and
    the health factor in wad (1e18 where liquidation begins; 0 without debt). `high` + `debt` is the exposure,
    gross.
    """

    low: int
    high: int
    status: Status = Status.OK
    debt: int = 0
    health: int = 0

    @property
    def value(self) -> Value:
        return Value(self.low, self.high)


class Role(StrEnum):
    """What a leg of a position is."""

    SUPPLIED = "supplied"
    COLLATERAL = "collateral"
    BORROWED = "borrowed"
    HELD = "held"
    FEES = "fees"
    REWARDS = "rewards"


@dataclass(frozen=True, slots=True)
class Leg:
    """One token of a position: `amount` in its smallest unit, worth `low` to `high` of the vault's asset.

    It shows people where a value comes from; what a position is worth is its report.
    """

    role: Role
    token: Address
    amount: int
    low: int
    high: int
    status: Status


class Position(Protocol):
    """An immutable position. Amounts are in the vault's asset, times are block timestamps.

    Every method raises PlanError when `at` is before the state's last update, and when the protocol would
    refuse the move that is asked about.
    """

    @property
    def ref(self) -> PositionRef:
        """The position this is the state of."""
        ...

    def report(self, at: int) -> Report:
        """What the on-chain connector's `report(key)` returns in a block of time `at`, to the wei, at the
        prices of the block the position was read at."""
        ...

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The tokens behind the report at `at`, none with an amount of 0."""
        ...

    def supply_rate(self, delta: int, at: int) -> int:
        """Supply rate per year in wad, uncompounded, had our deposit changed by `delta` at `at`."""
        ...

    def after_supply(self, assets: int, at: int) -> Position:
        """State after our connector supplies `assets` in a block of time `at`."""
        ...

    def after_withdraw(self, assets: int, at: int) -> tuple[Position, int]:
        """(state after, assets received) when our connector withdraws `assets`, or EVERYTHING."""
        ...

    def max_withdraw(self, at: int) -> int:
        """The most that can leave: our value or the protocol's liquidity."""
        ...

    def max_supply(self, at: int) -> int:
        """The most that the protocol accepts from us."""
        ...

    def shared(self) -> Mapping[StateKey, Any]:
        """The protocol state this position rests on, by name; other positions may rest on the same."""
        ...

    def with_shared(self, states: Mapping[StateKey, Any]) -> Position:
        """The same holding on newer protocol state; names it does not use are ignored."""
        ...

    def accrued(self, at: int) -> Position:
        """The same holding on state brought up to `at`, so that asking much about `at` costs little.

        Not a prediction: the protocol itself accrues only what is touched.
        """
        ...


@runtime_checkable
class Rewarded(Protocol):
    """A position that earns rewards in tokens of their own, claimed for its connector's whole account."""

    def claimable(self, at: int) -> Mapping[Address, int]:
        """What a claim in a block of time `at` would bring of each reward, none of 0."""
        ...

    def after_claim(self, reward: Address, at: int) -> tuple[Position, int]:
        """(state after, what it brings) when all of `reward` is claimed. Raises PlanError."""
        ...


@runtime_checkable
class Indebted(Protocol):
    """A position through which a debt is repaid. Amounts are in the token that is owed; health is in wad,
    1e18 where liquidation begins, and the greatest number without debt."""

    @property
    def ref(self) -> PositionRef:
        """The position this is the state of."""
        ...

    @property
    def owes(self) -> Address:
        """The token that repays."""
        ...

    def owed(self, at: int) -> int:
        """What is owed of it at `at`, rounded up."""
        ...

    def worst_health(self, at: int) -> int:
        """The lesser of the protocol's own health factor and the one at the worse ends of the vault's prices,
        where there are any; 0 where the protocol has no price."""
        ...

    def after_repaying(self, assets: int, at: int) -> tuple[Position, int]:
        """(state after, what the debt took) when `assets` are pushed; the rest comes back."""
        ...


@runtime_checkable
class Securing(Protocol):
    """A position that may secure a debt, and what of it can be taken back."""

    @property
    def pledge(self) -> Address:
        """The token of the collateral."""
        ...

    @property
    def frees(self) -> str:
        """The action that takes it back; "withdraw" where it is what is supplied."""
        ...

    @property
    def foreign(self) -> bool:
        """Whether it is another token than the vault's asset."""
        ...

    def pledged(self, at: int) -> int:
        """How much of it secures a debt at `at`."""
        ...

    def after_freeing(self, assets: int, at: int) -> tuple[Position, int]:
        """(state after, what comes) when `assets` of it are taken back. Raises PlanError."""
        ...


class Connector(Protocol):
    """A protocol mirror; it has no state of its own."""

    @property
    def name(self) -> str:
        """Entry point name."""
        ...

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """Every read that `position` makes. Raises ConfigError when `ref.params` do not fit."""
        ...

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """Tokens whose price in the vault's asset `position` may need."""
        ...

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> Position:
        """The position from those reads; `at` is the timestamp of the block they were made at.

        Raises ValuationError when a read failed, when the protocol is not what `ref.params` say, or when
        our accrual differs from the protocol's own view of it.
        """
        ...


P = TypeVar("P", bound=BaseModel)


def names() -> tuple[str, ...]:
    """Installed connectors, by entry point name; imports none of them."""
    return plugins.names(ENTRY_POINTS)


@cache
def load(name: str) -> Connector:
    """Imports the connector called `name`. Raises ConfigError, naming the nearest one, if there is none."""
    connector: Connector = plugins.load(ENTRY_POINTS, name, "There is no such connector")()
    return connector


def parse_params(model: type[P], ref: PositionRef) -> P:
    """`ref.params` as a typed model. Raises ConfigError naming the field that does not fit."""
    try:
        return model.model_validate(dict(ref.params))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            "The connector's params do not fit",
            expected=", ".join(model.model_fields),
            seen=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=ref.venue,
        ) from error


def answering(read: Read) -> Read:
    """`read` where an answer that does not decode is a failure, as it is for a contract that asks: an account
    without code answers with nothing at all."""

    def answer(call: Call[Any]) -> Any:
        try:
            return read(call)
        except DecodeError:
            return CallFailure(b"", call.label)

    return answer


def required(read: Read, call: Call[Any], ref: PositionRef) -> Any:
    """The result of `call`. Raises ValuationError when it failed on chain: the position is impaired."""
    result = read(call)
    if isinstance(result, CallFailure):
        raise ValuationError(
            "A read that the value rests on failed",
            expected="a result",
            seen=f"a revert with {len(result.data)} bytes",
            where=f"{ref.venue}: {call.label}",
            hint="The position counts as impaired until the protocol answers again.",
        )
    return result


def must_match(what: str, expected: object, seen: object, ref: PositionRef) -> None:
    """Raises ValuationError unless both are equal."""
    if expected != seen:
        raise ValuationError(f"{what} differs", expected=expected, seen=seen, where=ref.venue)


def supplied(token: Address, report: Report) -> tuple[Leg, ...]:
    """The only leg of a position that is nothing but `token`, the vault's asset, lent out."""
    leg = Leg(Role.SUPPLIED, token, report.low, report.low, report.high, report.status)
    return (leg,) if report.low else ()


def key_of(named: Address) -> bytes:
    """Key of a position that an address names: an Aave asset, an ERC-4626 vault."""
    return bytes.fromhex(named[2:]).rjust(32, b"\0")


def is_movable(position: Position) -> bool:
    """Whether it is supplied to, and withdrawn from, in the vault's asset."""
    return not (isinstance(position, Securing) and position.frees == "withdraw" and position.foreign)


def after_move(
    positions: Iterable[Position], venue: str, change: int, at: int
) -> tuple[tuple[Position, ...], int]:
    """(all positions after one of them moved, assets received), where several may share a market.

    `change` > 0 supplies, < 0 withdraws, -EVERYTHING is a full exit. Raises PlanError for an unknown venue.
    """
    listed = tuple(positions)
    chosen = at_venue(listed, venue)
    if change >= 0:
        return moved(listed, chosen, chosen.after_supply(change, at)), 0
    after, received = chosen.after_withdraw(-change, at)
    return moved(listed, chosen, after), received


def at_venue(positions: Iterable[Position], venue: str) -> Position:
    """The position of that name. Raises PlanError when there is none."""
    listed = tuple(positions)
    for position in listed:
        if position.ref.venue == venue:
            return position
    raise PlanError(
        "There is no such venue",
        expected=", ".join(position.ref.venue for position in listed),
        seen=venue,
    )


def moved(positions: Iterable[Position], chosen: Position, after: Position) -> tuple[Position, ...]:
    """All positions once `chosen` has become `after`; those on the same protocol state see it as well."""
    states = after.shared()
    return tuple(after if each is chosen else each.with_shared(states) for each in positions)
