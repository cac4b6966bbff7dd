"""Splitting a position off, joining it again, and forgetting it, as `SplitLib` and `Valuation` do."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from keeper.ledger.checks import checked, excess, refused, require
from keeper.ledger.conditions import Action
from keeper.ledger.pocket import Pocket
from keeper.ledger.readings import ROUNDING, count_exposure, reading_time, see
from keeper.ledger.state import Ledger, Mark, Message, Pocketed, PositionId
from keeper.planning.actions import WITHDRAW
from keeper.units import Address

AGREEMENT: Final = 100
"""Part of the greater low by which two readings may differ when a pocket is closed."""


def split_off(ledger: Ledger, m: Message, connector: Address, key: bytes) -> Ledger:
    """`splitOff`."""
    section, portfolio, position = ledger.registry, ledger.portfolio, (connector, key)
    require(m.sender in (section.guardian, section.governor), "NotAuthorised", m.sender)
    if portfolio.pocketed is not None:
        raise refused("PocketIsOpen", *portfolio.pocketed.position)
    _check_worthless(ledger, m, position)
    if not section.isolated[connector]:
        _check_owes_nothing(ledger, m, connector, marked=True)
    portfolio = replace(portfolio, pocketed=Pocketed(position, m.at))
    vault = replace(ledger.vault, pockets=(*ledger.vault.pockets, Pocket()))
    return replace(ledger, portfolio=portfolio, vault=vault)


def close_pocket(ledger: Ledger, m: Message) -> Ledger:
    """`Portfolio.closePocket`."""
    portfolio = ledger.portfolio
    pocketed = portfolio.pocketed
    if pocketed is None:
        raise refused("NoPocket")
    at = reading_time(portfolio.announcement, m.at)
    require(at > pocketed.since, "ReadingTooOld", at, pocketed.since)
    first = portfolio.announcement.of(pocketed.position)
    seen = see(portfolio, m, pocketed.position, asks=True)
    require(first.healthy and seen.healthy, "PositionIsImpaired", *pocketed.position)
    lesser, greater = sorted((first.low, seen.low))
    require(greater - lesser <= greater // AGREEMENT + ROUNDING, "ReadingsApart", lesser, greater)
    return _joined(ledger, m, pocketed, lesser)


def forget(ledger: Ledger, m: Message, position: PositionId, dead: bool) -> Ledger:
    """What the portfolio forgets of a position that the registry drops; one that is dead must be. An account
    that owes keeps all its keys."""
    section, connector = ledger.registry, position[0]
    if dead:
        _check_worthless(ledger, m, position)
    if len(section.keys[connector]) > 1 and not section.isolated[connector]:
        _check_owes_nothing(ledger, m, connector, marked=not dead)
    if dead:
        pocketed = ledger.portfolio.pocketed
        if pocketed is not None and pocketed.position == position:
            ledger = _joined(ledger, m, pocketed, 0)
    portfolio = ledger.portfolio
    mark = portfolio.mark(position)
    portfolio = replace(portfolio, total_low=portfolio.total_low - mark.low)
    risk_ids = section.risk_ids[position]
    portfolio = count_exposure(portfolio, risk_ids, mark.high + mark.debt, 0)
    return replace(ledger, portfolio=replace(portfolio, marks={**portfolio.marks, position: Mark()}))


def set_aside(ledger: Ledger, action: Action, idle_before: int) -> tuple[Ledger, int]:
    """What a batch of one call took out of the pocket is not idle: (ledger, what NAV must not count)."""
    portfolio = ledger.portfolio
    pocketed = portfolio.pocketed
    if pocketed is None or len(action.data) < 36 or pocketed.position != (action.target, action.named):
        return ledger, 0
    assets = excess(portfolio.idle, idle_before)
    first = portfolio.announcement.of(pocketed.position)
    first = replace(first, low=excess(first.low, assets))
    portfolio = replace(
        portfolio,
        idle=portfolio.idle - assets,
        pocketed=replace(pocketed, cash=pocketed.cash + assets),
        announcement=portfolio.announcement.put(pocketed.position, first),
    )
    return replace(ledger, portfolio=portfolio), assets


def _check_worthless(ledger: Ledger, m: Message, position: PositionId) -> None:
    """In doubt and worth nothing at the low end, in two readings."""
    made = ledger.portfolio.announcement
    reading_time(made, m.at)
    require(made.positions == ledger.registry.positions, "PositionsChanged")
    require(position in ledger.registry.positions, "PositionNotListed", *position)
    seen = see(ledger.portfolio, m, position, asks=True)
    require(made.of(position).worthless and seen.worthless, "PositionNotImpaired", *position)


def _check_owes_nothing(ledger: Ledger, m: Message, connector: Address, *, marked: bool) -> None:
    """No key of the account owes, by what is read or, if it counts as well, by its mark."""
    for position in ledger.registry.positions:
        if position[0] == connector:
            seen = see(ledger.portfolio, m, position, asks=True)
            owes = bool((marked and ledger.portfolio.mark(position).debt) or seen.debt)
            require(not owes, "AccountOwes", *position)


def _joined(ledger: Ledger, m: Message, pocketed: Pocketed, low: int) -> Ledger:
    """With the pocket closed: what those who left are owed lies in the escrow, all else is idle again."""
    vault, portfolio, parts = ledger.vault, ledger.portfolio, ledger.parts
    pocket = vault.pockets[-1].close(low + pocketed.cash, vault.accounting.settled_epoch + 1)
    owed, available = pocket.pot, portfolio.idle + pocketed.cash
    vault = replace(
        vault, pockets=(*vault.pockets[:-1], pocket), claimable_assets=vault.claimable_assets + owed
    )
    ledger = replace(ledger, vault=vault, portfolio=replace(portfolio, pocketed=None))
    if owed > available:
        ledger, received = _withdrawn(ledger, m, pocketed.position, owed - available)
        available += received
    require(owed <= available, "InsufficientIdle", parts.asset, available, owed)
    return replace(
        ledger,
        portfolio=replace(ledger.portfolio, idle=available - owed),
        asset=ledger.asset.transfer(parts.portfolio, parts.escrow, owed),
    )


def _withdrawn(ledger: Ledger, m: Message, position: PositionId, assets: int) -> tuple[Ledger, int]:
    """Those who left need not wait for a keeper; but nothing may be lost on the way either."""
    connector, key = position
    allowed = (connector, WITHDRAW.selector) in ledger.registry.allowed
    require(allowed, "CallNotAllowed", connector, WITHDRAW.selector)
    before = see(ledger.portfolio, m, position, asks=True).low
    world, effect = m.world.call(connector, WITHDRAW.encode(key, assets), 0, m.at)
    received = checked(effect.received)
    left = see(ledger.portfolio, replace(m, world=world), position, asks=True).low + received
    require(left + ROUNDING >= before, "LossAboveLimit", before - left, ROUNDING)
    return replace(ledger, asset=ledger.asset.credit(ledger.parts.portfolio, received)), received
