"""What every controller is entitled to, as `Entitlements` brings it up to now."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Final

from keeper.ledger.checks import require, uint
from keeper.ledger.pocket import Pocket
from keeper.ledger.state import Claimable, Controller, Deposits, Message, Redemptions, Vault
from keeper.ledger.vault import PPS_ONE
from keeper.units import Address, mul_div_down

PATIENCE: Final = 3 * 86_400
"""Seconds after a close from which anyone may settle it (`SettlementLib.PATIENCE`)."""


def check_controller(vault: Vault, m: Message, controller: Address) -> None:
    """Raises RevertError unless the sender is the controller or its operator."""
    allowed = m.sender == controller or (controller, m.sender) in vault.operators
    require(allowed, "NotController", controller, m.sender)


def may_leave(vault: Vault, at: int) -> bool:
    """Whether committed deposits may be cancelled (`Entitlements._mayLeave`)."""
    a = vault.accounting
    rolled = a.current_epoch == a.settled_epoch + 1
    return rolled or vault.in_window(at) or at >= a.epoch_closed_at + PATIENCE


def book_priced(vault: Vault, controller: Address) -> Controller:
    """The controller with its deposits brought up to the open epoch; the caller stores it."""
    own = vault.controller(controller)
    deposits, bought = own.deposits, own.bought
    if deposits.committed or deposits.open:
        deposits, bought = priced(vault, own)
    deposits = replace(deposits, epoch=vault.accounting.current_epoch)
    return replace(own, deposits=deposits, bought=bought)


def book_filled(vault: Vault, controller: Address) -> tuple[Vault, Controller]:
    """The vault with residuals booked, and the controller with its redemptions brought up to now; the caller
    stores it."""
    vault = book_units(vault, controller)
    own = vault.controller(controller)
    redemptions, redeemed = own.redemptions, own.redeemed
    if redemptions.queued or redemptions.open:
        redemptions, redeemed = filled(vault, own)
    redemptions = replace(redemptions, queued_at=vault.accounting.settled_epoch + 1)
    return vault, replace(own, redemptions=redemptions, redeemed=redeemed)


def priced(vault: Vault, own: Controller) -> tuple[Deposits, Claimable]:
    """A controller's deposits now, and what of them has become claimable (`Entitlements._price`)."""
    deposits, bought = own.deposits, own.bought
    now = vault.accounting.current_epoch
    if not deposits.committed and (not deposits.open or deposits.epoch == now):
        return deposits, bought
    left, bought = _price_committed(vault, deposits.committed, bought, deposits.epoch - 1)
    if deposits.epoch == now:
        return replace(deposits, committed=left), bought
    # Everything still unpriced meets the same settlement.
    left, bought = _price_committed(vault, left + deposits.open, bought, deposits.epoch)
    return Deposits(left, 0, now), bought


def _price_committed(vault: Vault, committed: int, bought: Claimable, epoch: int) -> tuple[int, Claimable]:
    """(what is left unpriced, claimable) of deposits that were committed in `epoch`."""
    place = bisect_left(vault.deposit_pps, (epoch, 0))
    if not committed or place == len(vault.deposit_pps):
        return committed, bought
    shares = uint(mul_div_down(committed, PPS_ONE, vault.deposit_pps[place][1]), 128)
    return 0, Claimable(bought.assets + committed, bought.shares + shares)


def filled(vault: Vault, own: Controller) -> tuple[Redemptions, Claimable]:
    """A controller's redemptions now, and what has been filled of them (`Entitlements._fill`)."""
    r, redeemed = own.redemptions, own.redeemed
    live = vault.accounting.settled_epoch + 1
    joined = r.open != 0 and r.open_epoch < vault.accounting.current_epoch
    queued = r.queued
    if queued and r.queued_at < live:
        queued, redeemed = _filled_since(vault, queued, r.queued_at, redeemed)
    if not joined:
        return replace(r, queued=queued, queued_at=live), redeemed
    left = r.open
    if r.open_epoch < live:
        left, redeemed = _filled_since(vault, r.open, r.open_epoch, redeemed)
    return Redemptions(queued + left, 0, live, r.open_epoch), redeemed


def _filled_since(vault: Vault, shares: int, epoch: int, redeemed: Claimable) -> tuple[int, Claimable]:
    claim = vault.queue.claim(shares, vault.queue.point_of(epoch))
    fetched = Claimable(redeemed.assets + claim.assets, redeemed.shares + shares - claim.pending)
    return claim.pending, fetched


def book_units(vault: Vault, controller: Address) -> Vault:
    """What the controller's redemptions were issued of pockets since its last touch (`PocketLib.book`)."""
    redemptions = vault.controller(controller).redemptions
    pockets = list(vault.pockets)
    for place in reversed(range(len(pockets))):
        pocket = pockets[place]
        if pocket.until and redemptions.queued_at >= pocket.until:
            break
        if units := units_issued(vault, pocket, redemptions):
            pockets[place] = pocket.book(controller, units)
    return replace(vault, pockets=tuple(pockets))


def units_issued(vault: Vault, pocket: Pocket, r: Redemptions) -> int:
    """Units of a pocket that redemptions, as stored, were issued and that are not booked yet."""
    joined = ((r.queued, r.queued_at), (r.open, r.open_epoch))
    return sum(
        pocket.units(shares, epoch, vault.queue.point_of(epoch))
        for shares, epoch in joined
        if shares and epoch <= vault.accounting.settled_epoch
    )
