"""Aave v3 supply positions, mirrored to the wei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.chain.call import Call
from keeper.connectors.aave_math import scaled_down, scaled_up, supply_balance_down
from keeper.connectors.aave_reserve import RateCurve, Reserve, ReserveSettings
from keeper.connectors.base import (
    EVERYTHING,
    AddressField,
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
from keeper.units import RAY, WAD, Address

_RESERVE_DATA: Final = Function(
    "getReserveData(address)",
    "((uint256,uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address,address,"
    "uint128,uint128,uint128))",
)
_VIRTUAL_BALANCE: Final = Function("getVirtualUnderlyingBalance(address)", "(uint128)")
_DEFICIT: Final = Function("getReserveDeficit(address)", "(uint256)")
_RATE_DATA: Final = Function("getInterestRateDataBps(address)", "((uint16,uint32,uint32,uint32))")
_SCALED_SUPPLY: Final = Function("scaledTotalSupply()", "(uint256)")
_SCALED_BALANCE: Final = Function("scaledBalanceOf(address)", "(uint256)")
_BALANCE: Final = Function("balanceOf(address)", "(uint256)")


class AaveParams(BaseModel):
    """Where the reserve lives. The three last are checked against the pool's own answer at every read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: AddressField
    asset: AddressField
    a_token: AddressField
    variable_debt_token: AddressField
    rate_strategy: AddressField


@dataclass(frozen=True)
class AavePosition:
    """aTokens of our connector in one reserve; `scaled` is their scaled balance."""

    ref: PositionRef
    params: AaveParams
    reserve: Reserve
    scaled: int

    def report(self, at: int) -> Report:
        """`aToken.balanceOf(connector)` at `at`."""
        balance = supply_balance_down(self.scaled, self.reserve.income_index(at))
        return Report(balance, balance)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The aTokens, as what they stand for."""
        return supplied(self.params.asset, self.report(at))

    def supply_rate(self, delta: int, at: int) -> int:
        """The liquidity rate that the pool would store after our move, ray rounded down to wad."""
        rate, _ = self.reserve.accrue(at).rates_after(delta)
        return rate // (RAY // WAD)

    def after_supply(self, assets: int, at: int) -> AavePosition:
        """`SupplyLogic.executeSupply`: the aTokens minted are rounded down."""
        now = self.reserve.accrue(at)
        minted = scaled_down(assets, now.liquidity_index)
        if minted == 0 or assets > self.reserve.max_supply(at):
            raise PlanError(
                "Aave would refuse this supply",
                expected=f"from 1 aToken up to {self.reserve.max_supply(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
                hint="The reserve may be frozen, paused or at its supply cap.",
            )
        return replace(self, reserve=now.move(assets, minted), scaled=self.scaled + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[AavePosition, int]:
        """`SupplyLogic.executeWithdraw`: the aTokens burnt are rounded up, all of them on a full exit."""
        now = self.reserve.accrue(at)
        if assets == EVERYTHING:
            burnt, received = self.scaled, supply_balance_down(self.scaled, now.liquidity_index)
        else:
            burnt, received = scaled_up(assets, now.liquidity_index), assets
        if burnt == 0 or received > self.reserve.max_withdraw(self.scaled, at):
            raise PlanError(
                "Aave would refuse this withdrawal",
                expected=f"up to {self.reserve.max_withdraw(self.scaled, at):,} units, and not nothing",
                seen=f"{received:,} units",
                where=self.ref.venue,
                hint="The reserve may be paused or lent out.",
            )
        return replace(self, reserve=now.move(-received, -burnt), scaled=self.scaled - burnt), received

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
        return "aave_v3", self.params.pool, self.params.asset


class AaveV3:
    """Reads one reserve and our scaled balance in it."""

    name = "aave_v3"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """Eight reads; the last, `aToken.balanceOf`, is the pool's own accrual and only a check."""
        params = parse_params(AaveParams, ref)
        return (
            _RESERVE_DATA.at(params.pool, params.asset, owner="Pool"),
            _VIRTUAL_BALANCE.at(params.pool, params.asset, owner="Pool"),
            _DEFICIT.at(params.pool, params.asset, owner="Pool"),
            _RATE_DATA.at(params.rate_strategy, params.asset, owner="RateStrategy"),
            _SCALED_SUPPLY.at(params.variable_debt_token, owner="VariableDebtToken"),
            _SCALED_SUPPLY.at(params.a_token, owner="AToken"),
            _SCALED_BALANCE.at(params.a_token, ref.address, owner="AToken"),
            _BALANCE.at(params.a_token, ref.address, owner="AToken"),
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """None: the reserve is of the vault's asset."""
        return ()

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> AavePosition:
        """The position, its value at `at` compared with `aToken.balanceOf`."""
        params = parse_params(AaveParams, ref)
        data, virtual_balance, deficit, rates, debt, supply, scaled, balance = (
            required(read, call, ref) for call in self.calls(ref)
        )
        must_match("Key", key_of(params.asset), ref.key, ref)
        must_match("aToken of the reserve", params.a_token, data[8], ref)
        must_match("Variable debt token of the reserve", params.variable_debt_token, data[10], ref)
        must_match("Rate strategy of the pool", params.rate_strategy, data[11], ref)
        reserve = Reserve(
            settings=ReserveSettings.from_word(data[0]),
            curve=RateCurve.from_bps(*rates),
            liquidity_index=data[1],
            liquidity_rate=data[2],
            variable_borrow_index=data[3],
            variable_borrow_rate=data[4],
            last_update=data[6],
            accrued_to_treasury=data[12],
            virtual_balance=virtual_balance,
            deficit=deficit,
            scaled_variable_debt=debt,
            scaled_supply=supply,
        )
        position = AavePosition(ref, params, reserve, scaled)
        must_match("aToken balance at the block's time", balance, position.report(at).low, ref)
        return position
