"""Batches, forced withdrawals, nonces and stray tokens, as `Portfolio` has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eth_hash.auto import keccak

from keeper.errors import RevertError
from keeper.ledger.checks import OVERFLOW, checked, excess, refused, require
from keeper.ledger.conditions import Action, Change, check_forced, check_impaired, closed, opened
from keeper.ledger.readings import RAISING_BUDGET, REDUCING_BUDGET, raising_level
from keeper.ledger.registry import authorise
from keeper.ledger.split import set_aside
from keeper.ledger.state import EVERYTHING, Ledger, Message, Portfolio, World
from keeper.ledger.token import ZERO
from keeper.planning.actions import WITHDRAW
from keeper.units import WAD, Address, mul_div_up


@dataclass(frozen=True)
class Batch:
    """`Types.Batch`, but for what the quorum alone looks at."""

    vault: Address
    nonce_key: int
    nonce: int
    valid_after: int
    valid_until: int
    actions: tuple[Action, ...]
    min_nav_after: int = 0
    max_loss: int = 0


def execute(ledger: Ledger, m: Message, batch: Batch) -> Ledger:
    """`execute`."""
    ledger = _checked_batch(ledger, m, batch)
    named = [(each.target, each.named) for each in batch.actions]
    change = opened(ledger, m, named, {each.target for each in batch.actions if each.amount})
    ledger, world = _called(ledger, m, batch.actions)
    ledger, change = closed(ledger, m, change, world)
    check_impaired(ledger, change, batch.actions, cosigned=_is_cosigned(ledger, m))
    if ledger.portfolio.pocketed is not None and len(batch.actions) == 1:
        (action,) = batch.actions
        ledger, aside = set_aside(ledger, action, change.idle_before)
        change = replace(change, low_after=change.low_after - aside)
    floor, loss = batch.min_nav_after, excess(change.low_before, change.low_after)
    require(change.low_after >= floor, "NavBelowFloor", change.low_after, floor)
    require(loss <= batch.max_loss, "LossAboveLimit", loss, batch.max_loss)
    if not change.reducing:
        owed = ledger.vault.overdue_exits(m.at)
        require(owed == 0, "ExitsOverdue", owed)
        return _raise_charged(ledger, m, change)
    level = _reducing_level(ledger, m, change)
    if level > REDUCING_BUDGET and _is_cosigned(ledger, m):
        level = REDUCING_BUDGET
    return _reduction_charged(ledger, m, change, level)


def cancel_nonce(ledger: Ledger, m: Message, nonce_key: int) -> Ledger:
    """`cancelNonce`."""
    section = ledger.registry
    require(m.sender in (section.keeper, section.guardian), "NotAuthorised", m.sender)
    return replace(ledger, portfolio=_next_nonce(ledger.portfolio, nonce_key))


def cosign(ledger: Ledger, m: Message, batch_hash: bytes) -> Ledger:
    """`cosign`."""
    require(m.sender == ledger.registry.guardian, "NotGuardian", m.sender)
    cosigners = {**ledger.portfolio.cosigners, batch_hash: m.sender}
    return replace(ledger, portfolio=replace(ledger.portfolio, cosigners=cosigners))


def force_deallocate(ledger: Ledger, m: Message, connector: Address, key: bytes, assets: int) -> Ledger:
    """`forceDeallocate`."""
    owed, idle = ledger.vault.overdue_exits(m.at), ledger.portfolio.idle
    require(owed > idle, "ExitsNotOverdue", owed, idle)
    allowed = (connector, WITHDRAW.selector) in ledger.registry.allowed
    require(allowed, "CallNotAllowed", connector, WITHDRAW.selector)
    change = opened(ledger, m, [(connector, key)])
    assets = min(assets, check_forced(change, connector, key), owed - idle)
    action = Action(connector, ledger.parts.asset, 0, WITHDRAW.encode(key, assets))
    ledger, world, _ = measured(ledger, m, m.world, action, 0)
    ledger, change = closed(ledger, m, change, world)
    require(change.reducing and ledger.portfolio.idle > idle, "NotReducing")
    return _reduction_charged(ledger, m, change, _reducing_level(ledger, m, change))


def skim(ledger: Ledger, m: Message, token: Address, to: Address) -> Ledger:
    """`skim`."""
    ledger = authorise(ledger, m, ledger.parts.portfolio)
    portfolio, holder = ledger.portfolio, ledger.parts.portfolio
    if token != ledger.parts.asset:
        require(m.world.loose(token) != 0, "NothingToSkim", token)
        return ledger
    cash = portfolio.pocketed.cash if portfolio.pocketed else 0
    amount = checked(ledger.asset.balance(holder) - portfolio.idle - cash)
    require(amount != 0, "NothingToSkim", token)
    return replace(ledger, asset=ledger.asset.transfer(holder, to, amount))


def loss_budgets(portfolio: Portfolio, at: int) -> tuple[int, int]:
    """What batches may still lose, raising and reducing risk (`lossBudgets`)."""
    return (
        RAISING_BUDGET - portfolio.raising.current(RAISING_BUDGET, at),
        REDUCING_BUDGET - portfolio.reducing.current(REDUCING_BUDGET, at),
    )


# CALLS


def _checked_batch(ledger: Ledger, m: Message, batch: Batch) -> Ledger:
    require(m.sender == ledger.registry.keeper, "NotKeeper", m.sender)
    require(batch.vault == ledger.parts.vault, "WrongVault", ledger.parts.vault, batch.vault)
    require(m.at >= batch.valid_after, "TooEarly", batch.valid_after)
    require(m.at <= batch.valid_until, "Expired", batch.valid_until)
    expected = ledger.portfolio.nonces.get(batch.nonce_key, 0)
    require(batch.nonce == expected, "NonceUsed", batch.nonce_key, expected, batch.nonce)
    return replace(ledger, portfolio=_next_nonce(ledger.portfolio, batch.nonce_key))


def _next_nonce(portfolio: Portfolio, key: int) -> Portfolio:
    return replace(portfolio, nonces={**portfolio.nonces, key: portfolio.nonces.get(key, 0) + 1})


def _called(ledger: Ledger, m: Message, actions: Sequence[Action]) -> tuple[Ledger, World]:
    """After all calls; of other tokens only what earlier ones brought may be spent, and none may be left."""
    world, brought = m.world, dict[Address, int]()
    for place, action in enumerate(actions):
        require(len(action.data) >= 4, "CallWithoutSelector", place)
        allowed = (action.target, action.selector) in ledger.registry.allowed
        require(allowed, "CallNotAllowed", action.target, action.selector)
        pushed = 0
        if action.amount and action.token == ledger.parts.asset:
            pushed, idle = action.amount, ledger.portfolio.idle
            require(pushed <= idle, "InsufficientIdle", action.token, idle, pushed)
            ledger = _with_idle(ledger, -pushed)
        elif action.amount:
            available = brought.get(action.token, 0)
            wanted = available if action.amount == EVERYTHING else action.amount
            require(wanted <= available, "NotBroughtIn", action.token, available, wanted)
            brought[action.token] = available - wanted
        ledger, world, more = measured(ledger, m, world, action, pushed)
        brought |= {token: brought.get(token, 0) + amount for token, amount in more.items()}
    named = {each.token: None for each in actions if each.token not in (ZERO, ledger.parts.asset)}
    for token in named:
        require(not brought.get(token), "TokenLeft", token, brought.get(token))
    return ledger, world


def measured(
    ledger: Ledger, m: Message, world: World, action: Action, pushed: int
) -> tuple[Ledger, World, dict[Address, int]]:
    """A call after the push, with what it left at the portfolio counted as idle. Raises RevertError."""
    try:
        world, effect = world.call(action.target, action.data, pushed, m.at)
    except RevertError as error:
        # OpenZeppelin's `Address` gives a revert without a word a name.
        raise refused("FailedCall") if error.name == "EmptyRevert" else error from error
    require(effect.received >= 0, "Panic", OVERFLOW)
    return _with_idle(ledger, effect.received), world, dict(effect.brought)


def _with_idle(ledger: Ledger, change: int) -> Ledger:
    """Idle assets and the balance they are part of move together."""
    holder = ledger.parts.portfolio
    asset = ledger.asset.credit(holder, change) if change > 0 else ledger.asset.debit(holder, -change)
    portfolio = replace(ledger.portfolio, idle=ledger.portfolio.idle + change)
    return replace(ledger, asset=asset, portfolio=portfolio)


# LOSSES


def _raise_charged(ledger: Ledger, m: Message, change: Change) -> Ledger:
    """A loss since the last checkpoint uses up what new risk may lose."""
    portfolio = ledger.portfolio
    level = raising_level(portfolio, change.low_marked, change.fall, m.at) + _loss_inside(ledger, change)
    require(level <= RAISING_BUDGET, "LossBudgetExceeded", level, RAISING_BUDGET)
    return replace(ledger, portfolio=replace(portfolio, raising=portfolio.raising.set(level, m.at)))


def _reduction_charged(ledger: Ledger, m: Message, change: Change, level: int) -> Ledger:
    portfolio = ledger.portfolio
    require(level <= REDUCING_BUDGET, "LossBudgetExceeded", level, REDUCING_BUDGET)
    raising = raising_level(portfolio, change.low_marked, change.fall, m.at)
    portfolio = replace(
        portfolio,
        raising=portfolio.raising.set(raising, m.at),
        reducing=portfolio.reducing.set(level, m.at),
    )
    return replace(ledger, portfolio=portfolio)


def _reducing_level(ledger: Ledger, m: Message, change: Change) -> int:
    return ledger.portfolio.reducing.current(REDUCING_BUDGET, m.at) + _loss_inside(ledger, change)


def _is_cosigned(ledger: Ledger, m: Message) -> bool:
    """By the guardian of now, by the hash of the batch as it was encoded."""
    return ledger.portfolio.cosigners.get(keccak(m.data[4:]), ZERO) == ledger.registry.guardian != ZERO


def _loss_inside(ledger: Ledger, change: Change) -> int:
    """Of the lesser of NAV now and NAV as priced."""
    loss = excess(change.low_before, change.low_after)
    return mul_div_up(loss, WAD, min(change.low_before, ledger.vault.priced_nav) + 1)
