"""Shares of a bank, mirrored to the wei (`solidity/Bank.sol`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.chain.call import Call
from keeper.config import CheckedAddress
from keeper.connectors.base import (
    EVERYTHING,
    Leg,
    PositionRef,
    Read,
    Report,
    StateKey,
    key_of,
    must_match,
    parse_params,
    required,
    supplied,
)
from keeper.contracts import Function
from keeper.errors import PlanError
from keeper.oracle.quote import Prices
from keeper.units import WAD, YEAR, Address, mul_div_down, mul_div_up

_CASH: Final = Function("cash()", "(uint256)")
_LENT: Final = Function("lent()", "(uint256)")
_RATE: Final = Function("rate()", "(uint256)")
_LAST_UPDATE: Final = Function("lastUpdate()", "(uint256)")
_TOTAL_SHARES: Final = Function("totalShares()", "(uint256)")
_SHARES: Final = Function("sharesOf(address)", "(uint256)")
_TOTAL_ASSETS: Final = Function("totalAssets()", "(uint256)")

_VIRTUAL_SHARES: Final = 10**6
_MAX_SUPPLY: Final = 2**112 - 1
"""The bank has no cap; a vault counts no position above this."""


class SavingsParams(BaseModel):
    """The bank and its asset, which is the vault's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bank: CheckedAddress
    asset: CheckedAddress


@dataclass(frozen=True)
class Bank:
    """What the bank stores; amounts in the asset's smallest unit, `rate` per second in wad."""

    cash: int
    lent: int
    rate: int
    last_update: int
    total_shares: int

    def total_assets(self, at: int) -> int:
        """`Bank.totalAssets` in a block of time `at`. Raises PlanError before the last update."""
        if at < self.last_update:
            raise PlanError("The state is of a later time", expected=f"from {self.last_update}", seen=at)
        return self.cash + self.lent + self.lent * self.rate * (at - self.last_update) // WAD

    def to_assets(self, shares: int, at: int) -> int:
        """`Bank.toAssets`."""
        return mul_div_down(shares, self.total_assets(at) + 1, self.total_shares + _VIRTUAL_SHARES)

    def moved(self, assets: int, shares: int) -> Bank:
        """After a deposit, or with negative numbers a withdrawal; neither accrues."""
        return replace(self, cash=self.cash + assets, total_shares=self.total_shares + shares)


@dataclass(frozen=True)
class SavingsPosition:
    """Shares of our connector."""

    ref: PositionRef
    params: SavingsParams
    bank: Bank
    shares: int

    def report(self, at: int) -> Report:
        """What leaving at `at` would pay."""
        assets = self.bank.to_assets(self.shares, at)
        return Report(assets, assets)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The deposit."""
        return supplied(self.params.asset, self.report(at))

    def supply_rate(self, delta: int, at: int) -> int:
        """Interest per year over all deposits, had ours changed by `delta`."""
        total = self.bank.total_assets(at) + delta
        return self.bank.lent * self.bank.rate * YEAR // total if total > 0 else 0

    def after_supply(self, assets: int, at: int) -> SavingsPosition:
        """`Bank.deposit`: shares are rounded down."""
        if not 0 < assets <= _MAX_SUPPLY:
            raise PlanError(
                "The bank takes no such deposit",
                expected=f"1 to {_MAX_SUPPLY}",
                seen=assets,
                where=self.ref.venue,
            )
        bank = self.bank
        minted = mul_div_down(assets, bank.total_shares + _VIRTUAL_SHARES, bank.total_assets(at) + 1)
        return replace(self, bank=bank.moved(assets, minted), shares=self.shares + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[SavingsPosition, int]:
        """`Bank.withdraw`, shares rounded up; a full exit redeems all of them, as far as the bank can pay."""
        bank, worth = self.bank, self.report(at).low
        if assets == EVERYTHING and 0 < worth <= bank.cash:
            return replace(self, bank=bank.moved(-worth, -self.shares), shares=0), worth
        if assets == EVERYTHING:
            assets = self.max_withdraw(at)
        if not 0 < assets <= self.max_withdraw(at):
            raise PlanError(
                "The bank would refuse this withdrawal",
                expected=f"1 to {self.max_withdraw(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
            )
        burnt = mul_div_up(assets, bank.total_shares + _VIRTUAL_SHARES, bank.total_assets(at) + 1)
        return replace(self, bank=bank.moved(-assets, -burnt), shares=self.shares - burnt), assets

    def max_withdraw(self, at: int) -> int:
        """Our value, or what the bank has at hand if that is less."""
        return min(self.report(at).low, self.bank.cash)

    def max_supply(self, at: int) -> int:
        """As much as a vault counts."""
        return _MAX_SUPPLY

    def shared(self) -> Mapping[StateKey, Any]:
        """The bank."""
        return {self._state_key: self.bank}

    def with_shared(self, states: Mapping[StateKey, Any]) -> SavingsPosition:
        """The same shares on a newer state of the bank."""
        return replace(self, bank=states.get(self._state_key, self.bank))

    def accrued(self, at: int) -> SavingsPosition:
        """The same shares: asking much of one moment costs little as it is."""
        return self

    @property
    def _state_key(self) -> StateKey:
        return "savings", self.params.bank


class Savings:
    """Reads one bank and our shares of it."""

    name = "savings"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """Stored state; the last, `totalAssets`, is the bank's own accrual and only a check."""
        bank = parse_params(SavingsParams, ref).bank
        stored = (_CASH, _LENT, _RATE, _LAST_UPDATE, _TOTAL_SHARES)
        return (
            *(function.at(bank, owner="Bank") for function in stored),
            _SHARES.at(bank, ref.address, owner="Bank"),
            _TOTAL_ASSETS.at(bank, owner="Bank"),
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """None: the bank takes the vault's asset."""
        return ()

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> SavingsPosition:
        """The position, the bank's assets at `at` compared with its own view of them."""
        params = parse_params(SavingsParams, ref)
        must_match("Key", key_of(params.bank), ref.key, ref)
        *stored, shares, total_assets = (required(read, call, ref) for call in self.calls(ref))
        position = SavingsPosition(ref, params, Bank(*stored), shares)
        must_match("The bank's assets", total_assets, position.bank.total_assets(at), ref)
        return position
