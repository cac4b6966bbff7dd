"""Epochs, settlements and parameters of the vault, as `Vault` and `SettlementLib` have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from keeper.ledger.checks import checked, name, require
from keeper.ledger.entitlements import PATIENCE
from keeper.ledger.queue import Queue
from keeper.ledger.readings import checkpoint, two_readings
from keeper.ledger.registry import TERMINATED, authorise
from keeper.ledger.state import Ledger, Message, Parts, Section, Vault
from keeper.ledger.token import ZERO
from keeper.ledger.vault import (
    PPS_ONE,
    VIRTUAL_SHARES,
    Accounting,
    Params,
    Settled,
    earliest_close,
    is_dust,
    management_shares,
    settle,
)
from keeper.units import WAD, YEAR, Address, mul_div_down

DAY: Final = 86_400
_FIRST_PPS: Final = PPS_ONE // VIRTUAL_SHARES
_BOUNDS: Final = (
    ("management_fee", "managementFee", 0, WAD // 20),
    ("performance_fee", "performanceFee", 0, 3 * WAD // 10),
    ("exit_fee", "exitFee", 0, WAD // 100),
    ("max_rate", "maxRate", WAD // 10 // YEAR, None),
    ("max_step", "maxStep", 0, WAD),
    ("min_epoch_length", "minEpochLength", 0, 7 * DAY),
    ("max_age", "maxAge", DAY, 30 * DAY),
    ("min_deposit", "minDeposit", 1, None),
    ("min_redeem", "minRedeem", 1, None),
)


@dataclass(frozen=True)
class Terms:
    """`Types.Settlement`, but for the plan's hash."""

    vault: Address
    epoch: int
    min_pps: int
    max_pps: int
    valid_after: int
    valid_until: int


# SET-UP AND PARAMETERS


def created(params: Params, at: int, parts: Parts) -> Vault:
    """A vault that was created at `at` (`SettlementLib.init`). Raises RevertError."""
    _check_params(params, parts.vault)
    accounting = Accounting(
        current_epoch=1,
        settled_epoch=0,
        epoch_opened_at=at,
        epoch_closed_at=0,
        settled_at=at,
        accrued_at=at,
        open_deposits=0,
        closed_deposits=0,
        open_redeems=0,
        queued_shares=0,
        total_supply=0,
        stored_nav=0,
        last_pps_low=_FIRST_PPS,
        last_pps_high=_FIRST_PPS,
        high_water_mark=_FIRST_PPS,
        window_pps=0,
        window_ends_at=0,
        queued_since=0,
        priced_at=at,
    )
    return Vault(params, accounting, Queue().record(1))


def registered(portfolio: Address, governor: Address, guardian: Address, keeper: Address) -> Section:
    """The vault's section as it is opened (`Registry.register`). Raises RevertError."""
    require(portfolio != ZERO and governor != ZERO, "UnknownTarget", ZERO)
    return Section(portfolio, governor, guardian, keeper)


def set_params(ledger: Ledger, m: Message, params: Params) -> Ledger:
    """`setParams`; what the old rate charges until now goes to the old receiver."""
    ledger = authorise(ledger, m, ledger.parts.vault)
    delay, vault = ledger.registry.delay, ledger.vault
    least = params.max_age + 2 * params.min_epoch_length
    require(delay == 0 or delay >= least, "ParamOutOfBounds", name("maxAge"))
    fee = management_shares(vault.accounting, vault.params, m.at)
    _check_params(params, ledger.parts.vault)
    receiver = vault.params.fee_recipient
    books = replace(vault.accounting, accrued_at=m.at)
    vault = replace(vault, params=params, accounting=books).mint(Address(receiver), fee)
    return replace(ledger, vault=vault)


def _check_params(params: Params, vault: Address) -> None:
    require(params.fee_recipient not in (ZERO, vault), "ZeroAddress")
    for field, label, least, most in _BOUNDS:
        value = getattr(params, field)
        inside = value >= least and (most is None or value <= most)
        require(inside, "ParamOutOfBounds", name(label))


# EPOCHS


def close_epoch(ledger: Ledger, m: Message) -> Ledger:
    """`closeEpoch`."""
    vault, a = ledger.vault, ledger.vault.accounting
    require(a.current_epoch == a.settled_epoch + 1, "EpochNotSettled", a.current_epoch - 1)
    until = earliest_close(a, vault.params)
    require(m.at >= until, "EpochNotOver", until)
    queue = vault.queue.join(a.open_redeems)
    a = replace(
        a,
        # Dust is not what anybody waits for.
        queued_since=m.at if is_dust(a, vault.params) else a.queued_since,
        queued_shares=queue.shares,
        closed_deposits=a.closed_deposits + a.open_deposits,
        open_redeems=0,
        open_deposits=0,
        epoch_closed_at=m.at,
        epoch_opened_at=m.at,
        current_epoch=a.current_epoch + 1,
    )
    return replace(ledger, vault=replace(vault, accounting=a, queue=queue))


def mark_down(ledger: Ledger, m: Message) -> Ledger:
    """`markDown`."""
    value, _, _ = two_readings(ledger, m)
    vault = ledger.vault
    stored = vault.accounting.stored_nav
    require(value.low < stored, "NothingToMarkDown", stored, value.low)
    return replace(ledger, vault=replace(vault, accounting=replace(vault.accounting, stored_nav=value.low)))


# SETTLEMENT


def settle_signed(ledger: Ledger, m: Message, terms: Terms) -> Ledger:
    """`settle`, on the quorum's terms."""
    section, parts = ledger.registry, ledger.parts
    require(m.sender == section.keeper, "NotKeeper", m.sender)
    ledger, nav, healthy = checkpoint(ledger, m, twice=False)
    vault, a = ledger.vault, ledger.vault.accounting
    require(terms.vault == parts.vault, "WrongVault", parts.vault, terms.vault)
    require(m.at >= terms.valid_after, "TooEarly", terms.valid_after)
    require(m.at <= terms.valid_until, "Expired", terms.valid_until)
    expected = a.settled_epoch + 1
    closed = terms.epoch == expected < a.current_epoch and m.at > a.epoch_closed_at
    require(closed, "EpochNotClosed", expected, terms.epoch)
    _check_window(vault, m.at)
    settled = settle(
        a,
        vault.params,
        idle=ledger.portfolio.idle,
        nav=nav,
        healthy=healthy,
        at=m.at,
        risk_paused_until=section.risk_paused_until,
        max_pps=terms.max_pps,
    )
    inside = terms.min_pps <= settled.redeem_pps <= terms.max_pps
    require(inside, "PpsOutOfRange", settled.redeem_pps, terms.min_pps, terms.max_pps)
    return _moved(ledger, settled)


def settle_unattended(ledger: Ledger, m: Message) -> Ledger:
    """`settleUnattended`: nobody is charged a performance fee, and nobody's deposit is priced."""
    ledger, nav, healthy = checkpoint(ledger, m, twice=True)
    vault, a = ledger.vault, ledger.vault.accounting
    epoch = a.settled_epoch + 1
    require(a.current_epoch > epoch, "EpochNotClosed", epoch, epoch)
    require(m.at >= a.epoch_closed_at + PATIENCE, "StillAttended", a.epoch_closed_at + PATIENCE)
    _check_window(vault, m.at)
    settled = settle(
        a,
        replace(vault.params, performance_fee=0),
        idle=ledger.portfolio.idle,
        nav=nav,
        healthy=healthy,
        at=m.at,
        risk_paused_until=TERMINATED,
    )
    return _moved(ledger, settled)


def _check_window(vault: Vault, at: int) -> None:
    require(not vault.in_window(at), "LossWindowOpen", vault.accounting.window_ends_at)


def _moved(ledger: Ledger, s: Settled) -> Ledger:
    """Shares and assets moved as the books say, in one transfer of assets at most (`Vault._move`)."""
    if s.opens_window:
        return replace(ledger, vault=replace(ledger.vault, accounting=s.accounting))
    parts, vault = ledger.parts, _queue_filled(ledger.vault, s)
    receiver = Address(vault.params.fee_recipient)
    shares = vault.shares.credit(receiver, s.management_shares + s.performance_shares)
    shares = shares.credit(parts.vault, s.minted)
    exit_shares = s.filled - s.burned
    shares = shares.transfer(parts.vault, receiver, exit_shares).debit(parts.vault, s.burned)
    if s.accepted:
        prices = (*vault.deposit_pps, (s.accounting.settled_epoch, s.deposit_pps))
        vault = replace(vault, deposit_pps=prices)
    vault = replace(
        vault,
        accounting=s.accounting,
        shares=shares,
        claimable_assets=vault.claimable_assets + s.paid,
    )
    inward = s.idle_change > 0
    sender, taker = (parts.escrow, parts.portfolio) if inward else (parts.portfolio, parts.escrow)
    idle = checked(ledger.portfolio.idle + s.idle_change)
    return replace(
        ledger,
        vault=vault,
        portfolio=replace(ledger.portfolio, idle=idle),
        asset=ledger.asset.transfer(sender, taker, abs(s.idle_change)),
    )


def _queue_filled(vault: Vault, s: Settled) -> Vault:
    """The queue after its fill, as the requests of the next epoch find it, and the pocket that is open."""
    queue, pockets = vault.queue, vault.pockets
    if s.paid:
        if pockets:
            pockets = (*pockets[:-1], pockets[-1].issue(queue, s.burned, s.supply))
        queue = queue.fill(s.filled, s.paid)
    epoch = s.accounting.settled_epoch + 1
    queue = queue.record(epoch)
    if pockets:
        pockets = (*pockets[:-1], pockets[-1].record(queue, epoch))
    return replace(vault, queue=queue, pockets=pockets)


# VIEWS


def convert_to_shares(vault: Vault, assets: int) -> int:
    """`convertToShares`."""
    a = vault.accounting
    return mul_div_down(assets, a.total_supply + VIRTUAL_SHARES, a.stored_nav + 1)


def convert_to_assets(vault: Vault, shares: int) -> int:
    """`convertToAssets`."""
    a = vault.accounting
    return mul_div_down(shares, a.stored_nav + 1, a.total_supply + VIRTUAL_SHARES)
