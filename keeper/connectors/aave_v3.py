"""Aave v3 positions, mirrored to the wei: what our connector reports of one of its keys.

A connector that only supplies is read by its one reserve; one that borrows or claims rewards by its whole
account (`keeper.connectors.aave_lending`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from keeper.chain.call import Call
from keeper.connectors.aave_account import BORROWING
from keeper.connectors.aave_lending import AaveAccountPosition, state_key
from keeper.connectors.aave_math import supply_balance_down
from keeper.connectors.aave_params import AaveParams
from keeper.connectors.aave_reads import (
    account_calls,
    configuration,
    read_account,
    read_reserve,
    read_streams,
    reserve_calls,
    scaled_balance,
)
from keeper.connectors.aave_reserve import Reserve
from keeper.connectors.base import (
    Leg,
    PositionRef,
    Read,
    Report,
    Role,
    StateKey,
    answering,
    key_of,
    must_match,
    parse_params,
    required,
)
from keeper.contracts import Function
from keeper.errors import ValuationError
from keeper.oracle.quote import Prices
from keeper.units import RAY, WAD, Address

_BALANCE: Final = Function("balanceOf(address)", "(uint256)")


@dataclass(frozen=True)
class AavePosition:
    """aTokens of our connector in one reserve, free of debts; `scaled` is their scaled balance.

    Amounts of moves are of the reserve's asset.
    """

    ref: PositionRef
    params: AaveParams
    reserve: Reserve
    scaled: int
    prices: Prices

    def report(self, at: int) -> Report:
        """`aToken.balanceOf(connector)` at `at`, through the vault's router where it is not its asset."""
        balance = supply_balance_down(self.scaled, self.reserve.income_index(at))
        asset = self.params.asset
        if asset == self.prices.asset:
            return Report(balance, balance)
        quote = self.prices.worth(asset, balance)
        return Report(quote.low, quote.high, quote.status)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The aTokens, as what they stand for."""
        amount = supply_balance_down(self.scaled, self.reserve.income_index(at))
        quote = self.prices.worth(self.params.asset, amount)
        leg = Leg(Role.SUPPLIED, self.params.asset, amount, quote.low, quote.high, quote.status)
        return (leg,) if amount else ()

    def supply_rate(self, delta: int, at: int) -> int:
        """The liquidity rate that the pool would store after our move, ray rounded down to wad."""
        rate, _ = self.reserve.accrue(at).rates_after(delta)
        return rate // (RAY // WAD)

    def after_supply(self, assets: int, at: int) -> AavePosition:
        """State after a supply; the aTokens minted are rounded down."""
        reserve, minted = self.reserve.supply(assets, at, self.ref.venue)
        return replace(self, reserve=reserve, scaled=self.scaled + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[AavePosition, int]:
        """(state after, assets received); the aTokens burnt are rounded up, all of them on a full exit."""
        reserve, burnt, received = self.reserve.withdraw(self.scaled, assets, at, self.ref.venue)
        return replace(self, reserve=reserve, scaled=self.scaled - burnt), received

    def max_withdraw(self, at: int) -> int:
        """Our balance, or the reserve's liquidity if that is less; 0 when paused."""
        return self.reserve.max_withdraw(self.scaled, at)

    def max_supply(self, at: int) -> int:
        """Room under the supply cap; 0 when frozen or paused."""
        return self.reserve.max_supply(at)

    def shared(self) -> Mapping[StateKey, Any]:
        """The reserve."""
        return {self._state_key: self.reserve}

    def with_shared(self, states: Mapping[StateKey, Any]) -> AavePosition:
        """The same aTokens on a newer state of the reserve."""
        return replace(self, reserve=states.get(self._state_key, self.reserve))

    def accrued(self, at: int) -> AavePosition:
        """The same aTokens on the reserve as of `at`."""
        return replace(self, reserve=self.reserve.accrue(at))

    @property
    def _state_key(self) -> StateKey:
        return state_key(self.params.pool, self.params.asset)


class AaveV3:
    """Reads one reserve and our scaled balance in it, or the whole account of our connector."""

    name = "aave_v3"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """The account with params `account`, the reserve without. The last, `aToken.balanceOf`, is the pool's
        own accrual and only a check."""
        params = parse_params(AaveParams, ref)
        balance = _BALANCE.at(params.a_token, ref.address, owner="AToken")
        if params.account is not None:
            return (*account_calls(params, params.account, ref.address), balance)
        return (
            *reserve_calls(params, params.reserves[0]),
            scaled_balance(params.a_token, ref.address),
            configuration(params, ref.address),
            balance,
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The key's asset and, for an account, those of all keys, debts and rewards."""
        params = parse_params(AaveParams, ref)
        if params.account is None:
            return (params.asset,)
        terms = params.account
        return tuple(dict.fromkeys((*terms.keys, *terms.borrowable, *terms.rewards)))

    def position(
        self, ref: PositionRef, read: Read, prices: Prices, at: int
    ) -> AavePosition | AaveAccountPosition:
        """The position, its aTokens at `at` compared with `aToken.balanceOf`."""
        params, read = parse_params(AaveParams, ref), answering(read)
        must_match("Key", key_of(params.asset), ref.key, ref)
        balance = required(read, _BALANCE.at(params.a_token, ref.address, owner="AToken"), ref)
        if params.account is not None:
            pool = read_account(params, params.account, read, ref, at)
            ours = pool.balances(at)[0].get(params.asset, 0)
            must_match("aToken balance at the block's time", balance, ours, ref)
            streams = read_streams(params, params.account, pool, read, ref, at)
            pool = replace(pool, account=replace(pool.account, streams=streams))
            return AaveAccountPosition(ref, params, params.account, pool, prices)
        reserve = read_reserve(params, params.reserves[0], read, ref)
        scaled = required(read, scaled_balance(params.a_token, ref.address), ref)
        ours = supply_balance_down(scaled, reserve.income_index(at))
        must_match("aToken balance at the block's time", balance, ours, ref)
        if required(read, configuration(params, ref.address), ref) & BORROWING:
            raise ValuationError(
                "The account has debts, and params say nothing of any",
                expected="an account that only supplies",
                seen="a borrowed reserve in its configuration",
                where=ref.venue,
                hint="Describe the connector's account in params.account.",
            )
        return AavePosition(ref, params, reserve, scaled, prices)
