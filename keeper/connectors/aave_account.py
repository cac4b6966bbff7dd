"""An account at an Aave v3.6 pool: what secures its debts, and how well.

Sources: `GenericLogic.calculateUserAccountData`, `UserConfiguration`, `EModeConfiguration`,
`ValidationLogic`. Every figure is an integer with the pool's own rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from keeper.connectors.aave_math import percent_mul_down, wad_div
from keeper.connectors.aave_reserve import Reserve
from keeper.connectors.aave_rewards import Stream
from keeper.units import MAX_UINT256, Address

BORROWING: Final = MAX_UINT256 // 3
"""The even bits of an account's configuration: which reserves it has borrowed of."""

COLLATERAL: Final = BORROWING << 1


StreamKey = tuple[Address, bool, Address]
"""A reward of a reserve's suppliers or, where true, of its borrowers: (asset, of debt, reward)."""


@dataclass(frozen=True)
class EMode:
    """An efficiency mode: what replaces the reserves' own terms for those in its bitmaps, by reserve id.

    `ltv` and `threshold` in basis points.
    """

    category: int
    ltv: int
    threshold: int
    collateral: int
    borrowable: int
    ltv_zero: int


NO_EMODE: Final = EMode(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Account:
    """Stored state of an account. `configuration` has two bits for each reserve of the pool: borrowed, and
    above it used as collateral. Scaled balances by asset, without those that are 0; `streams` of rewards by
    (asset, whether of its debt token, reward)."""

    configuration: int = 0
    mode: EMode = NO_EMODE
    supplied: Mapping[Address, int] = field(default_factory=dict)
    owed: Mapping[Address, int] = field(default_factory=dict)
    streams: Mapping[StreamKey, Stream] = field(default_factory=dict)

    @property
    def borrows(self) -> bool:
        return self.configuration & BORROWING != 0

    def has_borrowed(self, reserve: Reserve) -> bool:
        return bool(self.configuration >> 2 * reserve.id & 1)

    def uses_as_collateral(self, reserve: Reserve) -> bool:
        return bool(self.configuration >> 2 * reserve.id & 2)


class Line(NamedTuple):
    """A reserve that counts in an account, with the account's terms for it. `price` is of one whole token."""

    asset: Address
    collateral: bool
    borrowed: bool
    ltv: int
    threshold: int
    price: int | None
    unit: int


class AccountData(NamedTuple):
    """Totals in the pool's base currency, averages in basis points, health in wad."""

    collateral: int
    debt: int
    ltv: int
    threshold: int
    health: int
    zero_ltv: bool

    @property
    def available(self) -> int:
        """What may still be borrowed (`calculateAvailableBorrows`)."""
        return max(0, percent_mul_down(self.collateral, self.ltv) - self.debt)


def reserve_ltv(reserve: Reserve, mode: EMode) -> int:
    """The loan to value that a reserve has in a mode (`ValidationLogic.getUserReserveLtv`)."""
    if mode.category and mode.collateral >> reserve.id & 1:
        return 0 if mode.ltv_zero >> reserve.id & 1 else mode.ltv
    return reserve.settings.ltv


def account_lines(
    account: Account, reserves: Mapping[Address, Reserve], prices: Mapping[Address, int | None]
) -> tuple[Line, ...]:
    """The reserves that count in the account: those with a bit in its configuration."""
    lines = []
    mode = account.mode
    for asset, reserve in reserves.items():
        bits = account.configuration >> 2 * reserve.id & 3
        if not bits:
            continue
        in_mode = mode.category and mode.collateral >> reserve.id & 1
        lines.append(
            Line(
                asset=asset,
                collateral=bool(bits & 2),
                borrowed=bool(bits & 1),
                ltv=reserve_ltv(reserve, mode),
                threshold=mode.threshold if in_mode else reserve.settings.threshold,
                price=prices[asset],
                unit=10**reserve.settings.decimals,
            )
        )
    return tuple(lines)


def account_data(
    lines: tuple[Line, ...], supplied: Mapping[Address, int], owed: Mapping[Address, int]
) -> AccountData | None:
    """`calculateUserAccountData` on balances in assets; None where the pool reverts for want of a price."""
    collateral = debt = weighted_ltv = weighted_threshold = 0
    zero_ltv = False
    for asset, is_collateral, is_borrowed, ltv, threshold, price, unit in lines:
        if price is None:
            return None
        if is_collateral:
            value = supplied.get(asset, 0) * price // unit
            collateral += value
            if ltv == 0:
                zero_ltv = True
            weighted_ltv += value * ltv
            weighted_threshold += value * threshold
        if is_borrowed:
            debt -= -owed.get(asset, 0) * price // unit
    health = wad_div(weighted_threshold, debt) // 10_000 if debt else MAX_UINT256
    if collateral == 0:
        return AccountData(0, debt, 0, 0, health, zero_ltv)
    return AccountData(
        collateral, debt, weighted_ltv // collateral, weighted_threshold // collateral, health, zero_ltv
    )
