"""Every public number of the contracts, each beside what the mirror says it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

from keeper.chain.call import Call
from keeper.contracts import Contract, Function
from keeper.ledger import epochs, readings
from keeper.ledger.batches import loss_budgets
from keeper.ledger.entitlements import filled, priced, units_issued
from keeper.ledger.registry import minimum_delay
from keeper.ledger.state import Ledger, Message, PositionId, Section
from keeper.ledger.token import ZERO
from keeper.units import Address

BALANCE = Function("balanceOf(address)", "(uint256)")
ALLOWANCE = Function("allowance(address,address)", "(uint256)")
Expected = Callable[[Ledger, Message], Any]


@dataclass(frozen=True)
class Known:
    """Whom and what the numbers are asked for."""

    accounts: tuple[Address, ...]
    pairs: tuple[tuple[Address, Address], ...]
    positions: tuple[PositionId, ...]
    risk_ids: tuple[bytes, ...]
    nonce_keys: tuple[int, ...] = (0, 1)
    pockets: int = 3


Number = tuple[Call[Any], Expected]


def numbers(ledger: Ledger, known: Known) -> tuple[Number, ...]:
    """(call, what the mirror expects of it); an expectation raises RevertError where the call reverts."""
    parts = ledger.parts
    vault = Contract(parts.vault, "Vault")
    portfolio = Contract(parts.portfolio, "Portfolio")
    registry = Contract(parts.registry, "Registry")
    return (
        *_vault(vault, known),
        *(each for who in known.accounts for each in _account(vault, parts.asset, who, known)),
        *(each for pair in known.pairs for each in _pair(vault, parts.asset, *pair)),
        *_portfolio(portfolio, known),
        *(each for position in known.positions for each in _position(portfolio, registry, vault, position)),
        *_registry(registry, vault.address, known),
    )


def change_numbers(ledger: Ledger) -> Iterable[Number]:
    """When each submitted change may be made."""
    registry = Contract(ledger.parts.registry, "Registry")
    for id_ in ledger.registry.changes:
        yield (
            registry.call("executableAt", ledger.parts.vault, id_),
            lambda ledger, _, id_=id_: ledger.registry.changes[id_].executable_at,
        )


def _vault(vault: Contract, known: Known) -> Iterable[Number]:
    yield vault.call("accounting"), lambda ledger, _: astuple(ledger.vault.accounting)
    yield vault.call("params"), lambda ledger, _: astuple(ledger.vault.params)
    yield vault.call("totalAssets"), lambda ledger, _: ledger.vault.accounting.stored_nav
    yield vault.call("totalSupply"), lambda ledger, _: ledger.vault.accounting.total_supply
    yield vault.call("highWaterMark"), lambda ledger, _: ledger.vault.accounting.high_water_mark
    yield vault.call("settledAt"), lambda ledger, _: ledger.vault.accounting.settled_at
    for amount in (1, 10**9 + 7, 10**21 + 1):
        shares = vault.call("convertToShares", amount)
        yield shares, lambda ledger, _, a=amount: epochs.convert_to_shares(ledger.vault, a)
        assets = vault.call("convertToAssets", amount)
        yield assets, lambda ledger, _, a=amount: epochs.convert_to_assets(ledger.vault, a)
    yield vault.call("pricedNav"), lambda ledger, _: ledger.vault.priced_nav
    yield vault.call("overdueExits"), lambda ledger, m: ledger.vault.overdue_exits(m.at)
    yield vault.call("escrowed"), lambda ledger, _: _escrowed(ledger)
    yield vault.call("locked"), lambda *_: False
    yield vault.call("pockets"), lambda ledger, _: len(ledger.vault.pockets)
    for id_ in range(known.pockets + 1):
        yield vault.call("pocket", id_), lambda ledger, _, id_=id_: _pocket(ledger, id_)


def _escrowed(ledger: Ledger) -> int:
    a = ledger.vault.accounting
    return a.open_deposits + a.closed_deposits + ledger.vault.claimable_assets


def _pocket(ledger: Ledger, id_: int) -> tuple[int, int, int]:
    if not 0 < id_ <= len(ledger.vault.pockets):
        return 0, 0, 0
    pocket = ledger.vault.pockets[id_ - 1]
    return pocket.owed, pocket.total, pocket.until


def _account(vault: Contract, asset: Address, who: Address, known: Known) -> Iterable[Number]:
    yield vault.call("balanceOf", who), lambda ledger, _: ledger.vault.shares.balance(who)
    yield BALANCE.at(asset, who, owner="Asset"), lambda ledger, _: ledger.asset.balance(who)
    yield vault.call("nonces", who), lambda ledger, _: ledger.vault.permits.get(who, 0)
    for name, field in (("maxDeposit", "assets"), ("maxMint", "shares")):
        call = vault.call(name, who)
        yield call, lambda ledger, _, field=field: getattr(_priced(ledger, who)[1], field)
    for name, field in (("maxWithdraw", "assets"), ("maxRedeem", "shares")):
        call = vault.call(name, who)
        yield call, lambda ledger, _, field=field: getattr(_filled(ledger, who)[1], field)
    yield vault.call("pendingDepositRequest", 0, who), lambda ledger, _: _pending_deposit(ledger, who)
    yield vault.call("pendingRedeemRequest", 0, who), lambda ledger, _: _pending_redeem(ledger, who)
    for name, field in (("Deposit", "assets"), ("Redeem", "shares")):
        call = vault.call(f"claimableCancel{name}Request", 0, who)
        yield (
            call,
            lambda ledger, _, field=field: getattr(ledger.vault.controller(who).cancelled, field),
        )
    yield vault.call("maxRequestDeposit", who), lambda ledger, m: _max_request(ledger, m, who)
    yield vault.call("maxRequestRedeem", who), lambda ledger, _: ledger.vault.shares.balance(who)
    for id_ in range(1, known.pockets + 1):
        yield (
            vault.call("residualOf", id_, who),
            lambda ledger, _, id_=id_: _residual(ledger, id_, who),
        )


def _priced(ledger: Ledger, who: Address) -> Any:
    return priced(ledger.vault, ledger.vault.controller(who))


def _filled(ledger: Ledger, who: Address) -> Any:
    return filled(ledger.vault, ledger.vault.controller(who))


def _pending_deposit(ledger: Ledger, who: Address) -> int:
    left = _priced(ledger, who)[0]
    return int(left.committed + left.open)


def _pending_redeem(ledger: Ledger, who: Address) -> int:
    left = _filled(ledger, who)[0]
    return int(left.queued + left.open)


def _max_request(ledger: Ledger, m: Message, who: Address) -> int:
    vault, section = ledger.vault, ledger.registry
    hooked = vault.params.compliance_hook != ZERO
    refused = hooked and not m.world.allows(who, who, 0)
    if section.delay == 0 or m.at < section.risk_paused_until or refused:
        return 0
    a = vault.accounting
    room = max(0, vault.params.deposit_cap - a.stored_nav - a.closed_deposits - a.open_deposits)
    return room if room >= vault.params.min_deposit else 0


def _residual(ledger: Ledger, id_: int, who: Address) -> tuple[int, int]:
    vault = ledger.vault
    if id_ > len(vault.pockets):
        return 0, 0
    pocket = vault.pockets[id_ - 1]
    units = pocket.booked.get(who, 0) + units_issued(vault, pocket, vault.controller(who).redemptions)
    return units, pocket.worth(units)


def _pair(vault: Contract, asset: Address, one: Address, other: Address) -> Iterable[Number]:
    yield vault.call("isOperator", one, other), lambda ledger, _: (one, other) in ledger.vault.operators
    yield vault.call("allowance", one, other), lambda ledger, _: ledger.vault.shares.allowance(one, other)
    call = ALLOWANCE.at(asset, one, vault.address, owner="Asset")
    yield call, lambda ledger, _: ledger.asset.allowance(one, vault.address)


def _portfolio(portfolio: Contract, known: Known) -> Iterable[Number]:
    yield portfolio.call("idle"), lambda ledger, _: ledger.portfolio.idle
    yield portfolio.call("totalLow"), lambda ledger, _: ledger.portfolio.total_low
    yield portfolio.call("nav"), lambda ledger, m: _value(*readings.nav(ledger, m))
    yield portfolio.call("twoReadings"), lambda ledger, m: _value(*readings.two_readings(ledger, m))
    yield portfolio.call("lossBudgets"), lambda ledger, m: loss_budgets(ledger.portfolio, m.at)
    yield portfolio.call("pocket"), lambda ledger, _: _pocketed(ledger)
    for key in known.nonce_keys:
        yield portfolio.call("nextNonce", key), lambda ledger, _, k=key: ledger.portfolio.nonces.get(k, 0)
    for risk_id in known.risk_ids:
        call = portfolio.call("exposures", risk_id)
        yield call, lambda ledger, _, risk_id=risk_id: ledger.portfolio.exposures.get(risk_id, 0)


def _value(value: Any, *rest: Any) -> tuple[Any, ...]:
    return (value.low, value.high), *rest


def _pocketed(ledger: Ledger) -> tuple[Any, ...]:
    pocketed = ledger.portfolio.pocketed
    if pocketed is None:
        return ZERO, 0, bytes(32), 0
    connector, key = pocketed.position
    return connector, pocketed.since, key, pocketed.cash


def _position(
    portfolio: Contract, registry: Contract, vault: Contract, position: PositionId
) -> Iterable[Number]:
    def seen(ledger: Ledger, m: Message) -> readings.Seen:
        return readings.see(ledger.portfolio, m, position)

    def value(ledger: Ledger, m: Message) -> tuple[Any, ...]:
        own = seen(ledger, m)
        return (own.low, own.high), own.healthy

    def debt(ledger: Ledger, m: Message) -> tuple[int, int]:
        own = seen(ledger, m)
        return own.debt, own.health

    def marks(ledger: Ledger, _: Message) -> tuple[int, int]:
        mark = ledger.portfolio.mark(position)
        return mark.low, mark.high

    yield portfolio.call("positionValue", *position), value
    yield portfolio.call("positionDebt", *position), debt
    yield portfolio.call("marks", *position), marks
    yield portfolio.call("markedDebt", *position), lambda ledger, _: ledger.portfolio.mark(position).debt
    yield (
        registry.call("riskIdsOf", vault.address, *position),
        lambda ledger, _: ledger.registry.risk_ids.get(position, ()),
    )


def _registry(registry: Contract, vault: Address, known: Known) -> Iterable[Number]:
    yield registry.call("policy", vault), lambda ledger, _: _policy(ledger.registry)
    yield registry.call("minimumDelay", vault), lambda ledger, _: minimum_delay(ledger.vault.params)
    yield (
        registry.call("positionKeys", vault),
        lambda ledger, _: (
            tuple(connector for connector, _ in ledger.registry.positions),
            tuple(key for _, key in ledger.registry.positions),
        ),
    )
    for connector in sorted({connector for connector, _ in known.positions}):
        yield (
            registry.call("isIsolated", vault, connector),
            lambda ledger, _, connector=connector: ledger.registry.isolated.get(connector, False),
        )
        yield (
            registry.call("isExitOnly", vault, connector),
            lambda ledger, _, connector=connector: connector in ledger.registry.exit_only,
        )
    for risk_id in known.risk_ids:
        call = registry.call("cap", vault, risk_id)
        yield call, lambda ledger, _, risk_id=risk_id: ledger.registry.caps.get(risk_id, 0)


def _policy(s: Section) -> tuple[Any, ...]:
    return (
        s.portfolio,
        s.governor,
        s.pending_governor,
        s.guardian,
        s.keeper,
        s.oracle,
        s.delay,
        s.risk_paused_until,
        tuple((*each, s.risk_ids[each]) for each in s.positions),
        s.allowed,
        tuple((each, s.caps[each]) for each in s.cap_order),
        s.exit_only,
        s.abdicated,
    )
