"""Settlement, fees and prices per share, as `SettlementLib` computes them, to the wei.

Prices per share (PPS) are assets per share scaled by 1e27; fees, rates and steps are wad fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from keeper.units import WAD, YEAR, Value, mul_div_down, mul_div_up

PPS_ONE: Final = 10**27
VIRTUAL_SHARES: Final = 10**6
DUST: Final = 10**6
"""At most this part of all shares is dust."""
MOST_SHARES: Final = 2**128 - 1
"""Claims are counted in as many bits: a deposit that would make more rolls."""
RESPITE: Final = 600
"""Seconds in which those whose deposits rolled may leave, at least."""
RUINED_PPS: Final = PPS_ONE // VIRTUAL_SHARES // 100
"""One per cent of the first price; below it deposits roll."""
MAX_FALL: Final = WAD // 10
MAX_UNREAD_FALL: Final = WAD // 100
"""Fall of the redemption price since the last sound one that opens a loss window; the second while a
position cannot be read."""
LOSS_WINDOW: Final = 86_400
"""Seconds in which queued redemptions may be cancelled and nothing settles."""
UNCAPPED: Final = 2**192 - 1
"""`window_pps` of a window that binds no price: what opened it could not be read."""
QUEUE_DUST: Final = 10**9
"""A remainder of at most this part of the queue counts as filled (`QueueLib.DUST`)."""

T = TypeVar("T", bound="Params | Accounting")


def _from_abi(kind: type[T], values: Sequence[Any]) -> T:
    names = [field.name for field in fields(kind)]
    return kind(**dict(zip(names, values, strict=True)))


@dataclass(frozen=True)
class Params:
    """`IVault.Params`, in its order."""

    fee_recipient: str
    management_fee: int
    performance_fee: int
    exit_fee: int
    max_rate: int
    max_step: int
    max_spread: int
    min_epoch_length: int
    compliance_hook: str
    min_deposit: int
    deposit_cap: int
    min_redeem: int
    max_age: int

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Params:
        return _from_abi(cls, values)


@dataclass(frozen=True)
class Accounting:
    """`IVault.Accounting`, in its order: every number a settlement starts from."""

    current_epoch: int
    settled_epoch: int
    epoch_opened_at: int
    epoch_closed_at: int
    settled_at: int
    accrued_at: int
    open_deposits: int
    closed_deposits: int
    open_redeems: int
    queued_shares: int
    total_supply: int
    stored_nav: int
    last_pps_low: int
    last_pps_high: int
    high_water_mark: int
    window_pps: int
    window_ends_at: int
    queued_since: int
    priced_at: int

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Accounting:
        return _from_abi(cls, values)

    @property
    def closed_epoch(self) -> int | None:
        """The epoch that waits for settlement, if one does."""
        return self.settled_epoch + 1 if self.current_epoch > self.settled_epoch + 1 else None


@dataclass(frozen=True)
class Settled:
    """Outcome of a settlement: prices, flows, fees in shares, and the accounting it leaves behind.

    `idle_change` is what the portfolio's idle ledger gains (or, negative, loses). With `opens_window` nothing
    is settled: the prices are what they would have been. `burned` of `supply` shares left, fees included.
    """

    opens_window: bool
    redeem_pps: int
    deposit_pps: int
    accepted: int
    minted: int
    filled: int
    paid: int
    management_shares: int
    performance_shares: int
    accounting: Accounting
    burned: int = 0
    supply: int = 0

    @property
    def idle_change(self) -> int:
        return self.accepted - self.paid


def pps_low(nav: int, supply: int) -> int:
    """Price per share of `nav`, rounded down: what redemptions get."""
    return mul_div_down(nav + 1, PPS_ONE, supply + VIRTUAL_SHARES)


def pps_high(nav: int, supply: int) -> int:
    """Price per share of `nav`, rounded up: what deposits pay."""
    return mul_div_up(nav + 1, PPS_ONE, supply + VIRTUAL_SHARES)


def redeem_limit(a: Accounting, p: Params, nav_low: int, at: int) -> int | None:
    """Most that a redemption is paid for a share at `at`; it bounds gains and never holds up a loss. There is
    none while all shares are worth less than the smallest deposit."""
    if mul_div_down(a.total_supply, nav_low + 1, a.total_supply + VIRTUAL_SHARES) < p.min_deposit:
        return None
    return a.last_pps_low + mul_div_down(a.last_pps_low, p.max_rate * (at - a.priced_at), WAD)


def earliest_close(a: Accounting, p: Params) -> int:
    """When the open epoch may be closed (`SettlementLib.closeEpoch`), once the one before is settled."""
    return a.settled_at + max(p.min_epoch_length, RESPITE)


def is_dust(a: Accounting, p: Params) -> bool:
    """Whether the queue is less than anybody waits for (`SettlementLib._dust`)."""
    return a.queued_shares < min(p.min_redeem, a.total_supply // DUST + 1)


def overdue(a: Accounting, p: Params, at: int) -> bool:
    """Whether the redemption queue is older than it may be (`Vault.overdueExits`): only batches that free
    assets pass then."""
    return not is_dust(a, p) and at > a.queued_since + p.max_age


def management_shares(a: Accounting, p: Params, at: int) -> int:
    """Shares that the management fee mints at `at` (`SettlementLib._managementShares`)."""
    fraction = min(p.management_fee * (at - a.accrued_at) // YEAR, WAD // 2)
    return mul_div_down(a.total_supply, fraction, WAD - fraction)


def performance_shares(supply: int, nav_low: int, a: Accounting, p: Params, limit: int | None) -> int:
    """Shares that the performance fee mints on `supply` (`SettlementLib._performanceShares`)."""
    pps = limited(pps_low(nav_low, supply), limit)
    if pps <= a.high_water_mark:
        return 0
    after = pps - mul_div_down(pps - a.high_water_mark, p.performance_fee, WAD)
    return mul_div_down(supply, pps - after, after)


def limited(pps: int, limit: int | None) -> int:
    """A redemption price within `redeem_limit`."""
    return pps if limit is None else min(pps, limit)


def settle(
    a: Accounting,
    p: Params,
    *,
    idle: int,
    nav: Value,
    healthy: bool,
    at: int,
    risk_paused_until: int = 0,
    max_pps: int | None = None,
) -> Settled:
    """What `Vault.settle` does at `at` with this NAV; deposits above `max_pps` or under a pause roll.

    The caller checks that an epoch is closed and that no loss window is open.
    """
    management = management_shares(a, p, at)
    limit = redeem_limit(a, p, nav.low, at)
    performance = performance_shares(a.total_supply + management, nav.low, a, p, limit)
    supply = a.total_supply + management + performance
    live_pps = pps_low(nav.low, supply)
    low_pps = limited(live_pps, limit)
    redeem_pps = min(low_pps, a.window_pps) if a.window_ends_at else low_pps
    deposit_pps = max(pps_high(nav.high, supply), mul_div_up(a.last_pps_high, WAD - p.max_step, WAD))
    if _waits(a, redeem_pps, healthy):
        opened = replace(a, window_pps=redeem_pps if healthy else UNCAPPED, window_ends_at=at + LOSS_WINDOW)
        return Settled(True, redeem_pps, deposit_pps, 0, 0, 0, 0, 0, 0, opened)
    sound = healthy and at >= risk_paused_until and low_pps >= RUINED_PPS
    narrow = deposit_pps <= redeem_pps + mul_div_down(redeem_pps, p.max_spread, WAD) + 1
    accepted, minted = _accept(a, p, nav, supply, sound and narrow, deposit_pps, max_pps)
    filled, paid = _fill(a, p, redeem_pps, idle + accepted)
    burned = filled - mul_div_down(filled, p.exit_fee, WAD)
    before = supply + minted
    supply = before - burned
    nav_after = nav.low + accepted - paid
    # Up to where the performance fee was charged: what is held back is charged when it may be redeemed.
    mark = pps_low(nav_after, supply) if low_pps == live_pps else low_pps
    after = replace(
        a,
        settled_epoch=a.settled_epoch + 1,
        settled_at=at,
        accrued_at=at,
        closed_deposits=a.closed_deposits - accepted,
        queued_shares=a.queued_shares - filled,
        total_supply=supply,
        stored_nav=nav_after,
        last_pps_low=low_pps if healthy else a.last_pps_low,
        priced_at=at if healthy else a.priced_at,
        last_pps_high=deposit_pps if healthy else min(deposit_pps, a.last_pps_high),
        high_water_mark=max(a.high_water_mark, mark),
        window_pps=0,
        window_ends_at=0,
    )
    return Settled(
        False,
        redeem_pps,
        deposit_pps,
        accepted,
        minted,
        filled,
        paid,
        management,
        performance,
        after,
        burned,
        before,
    )


def _waits(a: Accounting, redeem_pps: int, healthy: bool) -> bool:
    """Whether a settlement opens a loss window instead (`SettlementLib._waits`)."""
    if a.window_ends_at or not a.queued_shares:
        return False
    return redeem_pps < mul_div_down(a.last_pps_low, WAD - (MAX_FALL if healthy else MAX_UNREAD_FALL), WAD)


def _accept(
    a: Accounting,
    p: Params,
    nav: Value,
    supply: int,
    sound: bool,
    deposit_pps: int,
    max_pps: int | None,
) -> tuple[int, int]:
    """(assets accepted, shares minted); (0, 0) when deposits roll."""
    minted = mul_div_down(a.closed_deposits, PPS_ONE, deposit_pps)
    narrow = nav.high - nav.low <= mul_div_down(nav.low, p.max_spread, WAD)
    dear = max_pps is not None and deposit_pps > max_pps
    claimable = 0 < minted <= MOST_SHARES - supply
    if not sound or not narrow or not claimable or dear:
        return 0, 0
    return a.closed_deposits, minted


def _fill(a: Accounting, p: Params, redeem_pps: int, available: int) -> tuple[int, int]:
    """(shares filled, assets paid) of the queue."""
    pps = mul_div_down(redeem_pps, WAD - p.exit_fee, WAD)
    queued = a.queued_shares
    if queued == 0 or pps == 0:
        return 0, 0
    filled, paid = queued, mul_div_down(queued, pps, PPS_ONE)
    if paid > available:
        filled = mul_div_down(available, PPS_ONE, pps)
        paid = mul_div_down(filled, pps, PPS_ONE)
        if queued - filled <= queued // QUEUE_DUST:
            filled = queued
    return (filled, paid) if paid else (0, 0)
