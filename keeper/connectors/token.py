"""Tokens that our connector simply holds, mirrored to the wei."""

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
    Role,
    StateKey,
    key_of,
    must_match,
    parse_params,
    required,
)
from keeper.contracts import Function
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices
from keeper.units import MAX_UINT256, Address

_AMOUNT: Final = Function("amountOf(bytes32)", "(uint256)")
_BALANCE: Final = Function("balanceOf(address)", "(uint256)")


class TokenParams(BaseModel):
    """The token, which the reference's key must name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: CheckedAddress


@dataclass(frozen=True, slots=True)
class TokenPosition:
    """`amount` of a token in our connector's ledger; `loose` is what lies there beyond it.

    Moves are in the token's smallest unit, as on chain. Of the vault's asset nothing may be supplied or
    withdrawn when the token is another one.
    """

    ref: PositionRef
    token: Address
    prices: Prices
    amount: int
    loose: int = 0

    def report(self, at: int) -> Report:
        """`TokenConnector.report`: the amount at the price of the vault's oracle, whenever."""
        worth = self.prices.worth(self.token, self.amount)
        return Report(worth.low, worth.high, worth.status)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """What is held."""
        worth = self.prices.worth(self.token, self.amount)
        leg = Leg(Role.HELD, self.token, self.amount, worth.low, worth.high, worth.status)
        return (leg,) if self.amount else ()

    def supply_rate(self, delta: int, at: int) -> int:
        """0: what is held earns nothing."""
        return 0

    def after_supply(self, assets: int, at: int) -> TokenPosition:
        """`TokenConnector.supply` of tokens that were pushed."""
        if not 0 < assets <= MAX_UINT256 - self.amount:
            raise PlanError(
                "The connector would refuse this supply",
                expected=f"1 to {MAX_UINT256 - self.amount:,} units",
                seen=f"{assets:,} units of {self.token}",
                where=self.ref.venue,
            )
        return replace(self, amount=self.amount + assets)

    def after_keeping(self, pushed: int) -> TokenPosition:
        """`TokenConnector.supply` of everything once `pushed` has come: what lay loose there is taken too."""
        return replace(self, amount=self.amount + self.loose + pushed, loose=0)

    def after_withdraw(self, assets: int, at: int) -> tuple[TokenPosition, int]:
        """`TokenConnector.withdraw`: what is received is of the token."""
        received = self.amount if assets == EVERYTHING else assets
        if not 0 < received <= self.amount:
            raise PlanError(
                "The connector would refuse this withdrawal",
                expected=f"1 to {self.amount:,} units" if self.amount else "something held",
                seen=f"{received:,} units of {self.token}",
                where=self.ref.venue,
            )
        return replace(self, amount=self.amount - received), received

    def max_withdraw(self, at: int) -> int:
        """All of the vault's asset that is held here."""
        return self.amount if self.token == self.prices.asset else 0

    def max_supply(self, at: int) -> int:
        """What a balance still holds, if the token is the vault's asset."""
        return MAX_UINT256 - self.amount if self.token == self.prices.asset else 0

    def shared(self) -> Mapping[StateKey, Any]:
        """Nothing: the ledger is our connector's own."""
        return {}

    def with_shared(self, states: Mapping[StateKey, Any]) -> TokenPosition:
        """Itself."""
        return self

    def accrued(self, at: int) -> TokenPosition:
        """Itself: holding is not lending."""
        return self


class HeldToken:
    """Reads what our connector holds of one token."""

    name = "token"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """The ledger, and the balance that it must not exceed."""
        params = parse_params(TokenParams, ref)
        return (
            _AMOUNT.at(ref.address, ref.key, owner="TokenConnector"),
            _BALANCE.at(params.token, ref.address, owner="Token"),
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The token."""
        return (parse_params(TokenParams, ref).token,)

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> TokenPosition:
        """The position at the price given.

        Raises ValuationError when less lies there than the ledger says.
        """
        params = parse_params(TokenParams, ref)
        must_match("Key", key_of(params.token), ref.key, ref)
        amount, balance = (required(read, call, ref) for call in self.calls(ref))
        if balance < amount:
            raise ValuationError(
                "The connector's ledger exceeds its balance",
                expected=f"at least {amount:,} units of {params.token}",
                seen=f"{balance:,} units",
                where=ref.venue,
            )
        return TokenPosition(ref, params.token, prices, amount, balance - amount)
