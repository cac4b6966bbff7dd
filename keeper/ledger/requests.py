"""Requests, cancellations, operators and claims: what users do to the vault (`Requests`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keeper.ledger.checks import checked, require, uint
from keeper.ledger.entitlements import (
    book_filled,
    book_priced,
    book_units,
    check_controller,
    filled,
    may_leave,
    priced,
)
from keeper.ledger.state import Claimable, Controller, Ledger, Message, Permit, Vault
from keeper.ledger.token import ZERO
from keeper.units import Address, mul_div_down, mul_div_up

# REQUESTS


def request_deposit(ledger: Ledger, m: Message, assets: int, controller: Address, owner: Address) -> Ledger:
    """`requestDeposit`, of a token that arrives in full."""
    vault, parts = ledger.vault, ledger.parts
    require(assets != 0, "ZeroAmount")
    require(controller != ZERO, "ZeroAddress")
    require(m.sender == owner or (owner, m.sender) in vault.operators, "NotOwner", owner, m.sender)
    _check_deposit(ledger, m, assets)
    _check_compliance(ledger, m, owner, controller, assets)
    own = book_priced(vault, controller)
    own = replace(own, deposits=replace(own.deposits, open=own.deposits.open + uint(assets, 112)))
    books = vault.accounting
    books = replace(books, open_deposits=books.open_deposits + assets)
    asset = ledger.asset.transfer_from(parts.vault, owner, parts.escrow, assets)
    return replace(ledger, asset=asset, vault=replace(vault, accounting=books).put(controller, own))


def request_redeem(ledger: Ledger, m: Message, shares: int, controller: Address, owner: Address) -> Ledger:
    """`requestRedeem`."""
    vault = ledger.vault
    require(shares != 0, "ZeroAmount")
    require(controller != ZERO, "ZeroAddress")
    least = vault.params.min_redeem
    require(shares >= least or shares == vault.shares.balance(owner), "BelowMinimum", shares, least)
    token = vault.shares
    if m.sender != owner and (owner, m.sender) not in vault.operators:
        token = token.spend(owner, m.sender, shares)
    _check_gift(ledger, m, owner, controller, shares)
    vault, own = book_filled(vault, controller)
    r = own.redemptions
    r = replace(r, open=r.open + uint(shares, 128), open_epoch=vault.accounting.current_epoch)
    books = replace(vault.accounting, open_redeems=vault.accounting.open_redeems + shares)
    token = token.transfer(owner, ledger.parts.vault, shares)
    vault = replace(vault, accounting=books, shares=token).put(controller, replace(own, redemptions=r))
    return replace(ledger, vault=vault)


def _check_deposit(ledger: Ledger, m: Message, assets: int) -> None:
    vault, section = ledger.vault, ledger.registry
    p, a = vault.params, vault.accounting
    require(assets >= p.min_deposit, "BelowMinimum", assets, p.min_deposit)
    require(section.delay != 0, "NotSealed")
    require(m.at >= section.risk_paused_until, "DepositsPaused", section.risk_paused_until)
    wanted = checked(a.stored_nav + a.closed_deposits + a.open_deposits + assets)
    require(wanted <= p.deposit_cap, "AboveCap", wanted, p.deposit_cap)


# CANCELLATION


def cancel_deposit_request(ledger: Ledger, m: Message, controller: Address) -> Ledger:
    """`cancelDepositRequest`."""
    vault = ledger.vault
    check_controller(vault, m, controller)
    own = book_priced(vault, controller)
    d, books = own.deposits, vault.accounting
    leaving = d.committed if may_leave(vault, m.at) else 0
    assets = d.open + leaving
    require(assets != 0, "NothingToCancel", controller)
    own = replace(
        own,
        deposits=replace(d, open=0, committed=d.committed - leaving),
        cancelled=replace(own.cancelled, assets=own.cancelled.assets + assets),
    )
    books = replace(
        books,
        open_deposits=books.open_deposits - d.open,
        closed_deposits=books.closed_deposits - leaving,
    )
    vault = replace(vault, accounting=books, claimable_assets=vault.claimable_assets + assets)
    return replace(ledger, vault=vault.put(controller, own))


def cancel_redeem_request(ledger: Ledger, m: Message, controller: Address) -> Ledger:
    """`cancelRedeemRequest`."""
    check_controller(ledger.vault, m, controller)
    vault, own = book_filled(ledger.vault, controller)
    r, books = own.redemptions, vault.accounting
    leaving = r.queued if vault.in_window(m.at) else 0
    shares = r.open + leaving
    require(shares != 0, "NothingToCancel", controller)
    queue = replace(vault.queue, shares=vault.queue.shares - leaving)
    own = replace(
        own,
        redemptions=replace(r, open=0, queued=r.queued - leaving),
        cancelled=replace(own.cancelled, shares=own.cancelled.shares + shares),
    )
    books = replace(books, open_redeems=books.open_redeems - r.open, queued_shares=queue.shares)
    return replace(ledger, vault=replace(vault, accounting=books, queue=queue).put(controller, own))


def claim_cancel_deposit(ledger: Ledger, m: Message, receiver: Address, controller: Address) -> Ledger:
    """`claimCancelDepositRequest`."""
    check_controller(ledger.vault, m, controller)
    require(receiver != ZERO, "ZeroAddress")
    own = ledger.vault.controller(controller)
    assets = own.cancelled.assets
    require(assets != 0, "ZeroAmount")
    own = replace(own, cancelled=replace(own.cancelled, assets=0))
    return paid_out(replace(ledger, vault=ledger.vault.put(controller, own)), receiver, assets)


def claim_cancel_redeem(ledger: Ledger, m: Message, receiver: Address, controller: Address) -> Ledger:
    """`claimCancelRedeemRequest`."""
    check_controller(ledger.vault, m, controller)
    require(receiver != ZERO, "ZeroAddress")
    own = ledger.vault.controller(controller)
    shares = own.cancelled.shares
    require(shares != 0, "ZeroAmount")
    _check_gift(ledger, m, controller, receiver, shares)
    own = replace(own, cancelled=replace(own.cancelled, shares=0))
    return _handed_out(replace(ledger, vault=ledger.vault.put(controller, own)), receiver, shares)


# OPERATORS


def set_operator(ledger: Ledger, m: Message, operator: Address, approved: bool) -> Ledger:
    """`setOperator`."""
    pair = {(m.sender, operator)}
    operators = ledger.vault.operators | pair if approved else ledger.vault.operators - pair
    return replace(ledger, vault=replace(ledger.vault, operators=operators))


# CLAIMS


def deposit(ledger: Ledger, m: Message, assets: int, receiver: Address, controller: Address) -> Ledger:
    """`deposit`: claims the shares that so much of the priced deposits bought, rounded down."""
    vault, own = _deposit_claim(ledger, m, receiver, controller)
    shares = _part(assets, own.bought.assets, own.bought.shares)
    return _paid_shares(replace(ledger, vault=vault), m, own, Claimable(assets, shares), receiver, controller)


def mint(ledger: Ledger, m: Message, shares: int, receiver: Address, controller: Address) -> Ledger:
    """`mint`: claims so many of the shares bought."""
    vault, own = _deposit_claim(ledger, m, receiver, controller)
    assets = _part(shares, own.bought.shares, own.bought.assets, up=True)
    return _paid_shares(replace(ledger, vault=vault), m, own, Claimable(assets, shares), receiver, controller)


def withdraw(ledger: Ledger, m: Message, assets: int, receiver: Address, controller: Address) -> Ledger:
    """`withdraw`: so much of what filled redemptions fetched."""
    vault, own = _redeem_claim(ledger, m, receiver, controller)
    shares = _part(assets, own.redeemed.assets, own.redeemed.shares, up=True)
    return _paid_assets(replace(ledger, vault=vault), own, Claimable(assets, shares), receiver, controller)


def redeem(ledger: Ledger, m: Message, shares: int, receiver: Address, controller: Address) -> Ledger:
    """`redeem`: what so many filled shares fetched, rounded down."""
    vault, own = _redeem_claim(ledger, m, receiver, controller)
    assets = _part(shares, own.redeemed.shares, own.redeemed.assets)
    return _paid_assets(replace(ledger, vault=vault), own, Claimable(assets, shares), receiver, controller)


def claim_residual(ledger: Ledger, m: Message, id_: int, receiver: Address, controller: Address) -> Ledger:
    """`claimResidual`."""
    check_controller(ledger.vault, m, controller)
    vault, own = book_filled(ledger.vault, controller)
    vault = vault.put(controller, own)
    require(receiver != ZERO, "ZeroAddress")
    known = 0 < id_ <= len(vault.pockets)
    assets = vault.pockets[id_ - 1].claim(controller) if known else 0
    require(assets != 0, "ZeroAmount")
    pockets = list(vault.pockets)
    pockets[id_ - 1] = pockets[id_ - 1].forget(controller)
    return paid_out(replace(ledger, vault=replace(vault, pockets=tuple(pockets))), receiver, assets)


def _deposit_claim(
    ledger: Ledger, m: Message, receiver: Address, controller: Address
) -> tuple[Vault, Controller]:
    check_controller(ledger.vault, m, controller)
    require(receiver != ZERO, "ZeroAddress")
    own = ledger.vault.controller(controller)
    deposits, bought = priced(ledger.vault, own)
    return ledger.vault, replace(own, deposits=deposits, bought=bought)


def _redeem_claim(
    ledger: Ledger, m: Message, receiver: Address, controller: Address
) -> tuple[Vault, Controller]:
    check_controller(ledger.vault, m, controller)
    require(receiver != ZERO, "ZeroAddress")
    vault = book_units(ledger.vault, controller)
    own = vault.controller(controller)
    redemptions, redeemed = filled(vault, own)
    return vault, replace(own, redemptions=redemptions, redeemed=redeemed)


def _part(amount: int, whole: int, other: int, up: bool = False) -> int:
    """What `amount` of a claimable `whole` is worth in the other of its two measures."""
    require(amount != 0, "ZeroAmount")
    require(amount <= whole, "ExceedsClaimable", amount, whole)
    return (mul_div_up if up else mul_div_down)(amount, other, whole)


def _less(claimable: Claimable, taken: Claimable) -> Claimable:
    return Claimable(checked(claimable.assets - taken.assets), checked(claimable.shares - taken.shares))


def _paid_shares(
    ledger: Ledger, m: Message, own: Controller, taken: Claimable, receiver: Address, controller: Address
) -> Ledger:
    _check_gift(ledger, m, controller, receiver, taken.shares)
    own = replace(own, bought=_less(own.bought, taken))
    return _handed_out(replace(ledger, vault=ledger.vault.put(controller, own)), receiver, taken.shares)


def _paid_assets(
    ledger: Ledger, own: Controller, taken: Claimable, receiver: Address, controller: Address
) -> Ledger:
    own = replace(own, redeemed=_less(own.redeemed, taken))
    return paid_out(replace(ledger, vault=ledger.vault.put(controller, own)), receiver, taken.assets)


def _handed_out(ledger: Ledger, receiver: Address, shares: int) -> Ledger:
    token = ledger.vault.shares.transfer(ledger.parts.vault, receiver, shares)
    return replace(ledger, vault=replace(ledger.vault, shares=token))


def paid_out(ledger: Ledger, receiver: Address, assets: int) -> Ledger:
    """From the escrow to whom it is owed."""
    vault = replace(ledger.vault, claimable_assets=ledger.vault.claimable_assets - assets)
    asset = ledger.asset.transfer(ledger.parts.escrow, receiver, assets)
    return replace(ledger, vault=vault, asset=asset)


# SHARES


def transfer(ledger: Ledger, m: Message, receiver: Address, shares: int) -> Ledger:
    """`transfer` of shares."""
    return _transferred(ledger, m, m.sender, receiver, shares)


def transfer_from(ledger: Ledger, m: Message, owner: Address, receiver: Address, shares: int) -> Ledger:
    """`transferFrom` of shares."""
    token = ledger.vault.shares.spend(owner, m.sender, shares)
    ledger = replace(ledger, vault=replace(ledger.vault, shares=token))
    return _transferred(ledger, m, owner, receiver, shares)


def approve(ledger: Ledger, m: Message, spender: Address, shares: int) -> Ledger:
    """`approve` of shares."""
    token = ledger.vault.shares.approve(m.sender, spender, shares)
    return replace(ledger, vault=replace(ledger.vault, shares=token))


def permit(
    ledger: Ledger,
    m: Message,
    owner: Address,
    spender: Address,
    shares: int,
    deadline: int,
    *signature: Any,
) -> Ledger:
    """`permit` of EIP-2612; `signature` is (v, r, s)."""
    require(m.at <= deadline, "ERC2612ExpiredSignature", deadline)
    vault = ledger.vault
    nonce = vault.permits.get(owner, 0)
    v, r, s = signature
    signer = m.world.permit_signer(Permit(owner, spender, shares, nonce, deadline), (v, r, s))
    require(signer == owner, "ERC2612InvalidSigner", signer, owner)
    permits = {**vault.permits, owner: nonce + 1}
    return replace(
        ledger, vault=replace(vault, permits=permits, shares=vault.shares.approve(owner, spender, shares))
    )


def _transferred(ledger: Ledger, m: Message, owner: Address, receiver: Address, shares: int) -> Ledger:
    """Transfers between users ask the compliance hook; the vault's own do not."""
    inside = ZERO, ledger.parts.vault
    if owner not in inside and receiver not in inside:
        _check_compliance(ledger, m, owner, receiver, shares)
    token = ledger.vault.shares.transfer(owner, receiver, shares)
    return replace(ledger, vault=replace(ledger.vault, shares=token))


def _check_gift(ledger: Ledger, m: Message, owner: Address, receiver: Address, shares: int) -> None:
    if owner != receiver:
        _check_compliance(ledger, m, owner, receiver, shares)


def _check_compliance(ledger: Ledger, m: Message, owner: Address, receiver: Address, amount: int) -> None:
    if ledger.vault.params.compliance_hook != ZERO:
        require(m.world.allows(owner, receiver, amount), "NotAllowed", owner, receiver)
