"""One reserve of an Aave v3.6 pool as an immutable value that moves as the pool moves it.

Sources: `ReserveLogic`, `SupplyLogic`, `ValidationLogic`, `DefaultReserveInterestRateStrategyV2`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from keeper.connectors.aave_math import (
    BPS_TO_RAY,
    PERCENTAGE_FACTOR,
    compounded_interest,
    debt_balance_up,
    linear_interest,
    percent_mul,
    ray_div,
    ray_mul,
    scaled_down,
    supply_balance_down,
)
from keeper.errors import PlanError
from keeper.units import RAY, mul_div_down

MAX_UINT128 = 2**128 - 1


@dataclass(frozen=True)
class RateCurve:
    """Kinked variable-rate curve of a reserve, every figure in ray."""

    optimal_usage: int
    base: int
    slope1: int
    slope2: int

    @classmethod
    def from_bps(cls, optimal_usage: int, base: int, slope1: int, slope2: int) -> RateCurve:
        """From the stored basis points (`getInterestRateDataBps`)."""
        return cls(*(bps * BPS_TO_RAY for bps in (optimal_usage, base, slope1, slope2)))

    def rates(self, debt: int, available: int, deficit: int, reserve_factor: int) -> tuple[int, int]:
        """(supply, variable borrow) rates per year in ray (`calculateInterestRates`)."""
        if debt == 0:
            return 0, self.base
        usage = ray_div(debt, available + debt)
        supply_usage = ray_div(debt, available + debt + deficit)
        if usage > self.optimal_usage:
            excess = ray_div(usage - self.optimal_usage, RAY - self.optimal_usage)
            borrow = self.base + self.slope1 + ray_mul(self.slope2, excess)
        else:
            borrow = self.base + ray_div(ray_mul(self.slope1, usage), self.optimal_usage)
        return percent_mul(ray_mul(borrow, supply_usage), PERCENTAGE_FACTOR - reserve_factor), borrow


@dataclass(frozen=True)
class ReserveSettings:
    """What governance sets: the flags, fee and cap packed in `ReserveConfigurationMap`."""

    decimals: int
    active: bool
    frozen: bool
    paused: bool
    reserve_factor: int
    supply_cap: int

    @classmethod
    def from_word(cls, word: int) -> ReserveSettings:
        """Unpacks the configuration word; `supply_cap` is in whole tokens, 0 for none."""
        return cls(
            decimals=word >> 48 & 0xFF,
            active=bool(word >> 56 & 1),
            frozen=bool(word >> 57 & 1),
            paused=bool(word >> 60 & 1),
            reserve_factor=word >> 64 & 0xFFFF,
            supply_cap=word >> 116 & (1 << 36) - 1,
        )


@dataclass(frozen=True)
class Reserve:
    """Stored state of a reserve. Indexes and yearly rates in ray, balances in the asset's own units."""

    settings: ReserveSettings
    curve: RateCurve
    liquidity_index: int
    liquidity_rate: int
    variable_borrow_index: int
    variable_borrow_rate: int
    last_update: int
    accrued_to_treasury: int
    virtual_balance: int
    deficit: int
    scaled_variable_debt: int
    scaled_supply: int

    def income_index(self, at: int) -> int:
        """Liquidity index at `at` (`ReserveLogic.getNormalizedIncome`)."""
        if at == self.last_update:
            return self.liquidity_index
        return ray_mul(linear_interest(self.liquidity_rate, at - self.last_update), self.liquidity_index)

    def accrue(self, at: int) -> Reserve:
        """State after `ReserveLogic.updateState` in a block of time `at`."""
        elapsed = at - self.last_update
        if elapsed == 0:
            return self
        if elapsed < 0:
            raise PlanError(
                "a reserve cannot be moved back in time",
                expected=f"a time from {self.last_update} on",
                seen=str(at),
                where="Aave reserve",
                hint="use the timestamp of the block the state was read at, or a later one",
            )
        supply_index = self.income_index(at)
        borrow_index = self.variable_borrow_index
        if self.scaled_variable_debt:
            growth = compounded_interest(self.variable_borrow_rate, elapsed)
            borrow_index = ray_mul(growth, borrow_index)
        interest = mul_div_down(self.scaled_variable_debt, borrow_index - self.variable_borrow_index, RAY)
        fee = percent_mul(interest, self.settings.reserve_factor)
        return replace(
            self,
            liquidity_index=supply_index,
            variable_borrow_index=borrow_index,
            accrued_to_treasury=self.accrued_to_treasury + scaled_down(fee, supply_index),
            last_update=at,
        )

    def rates_after(self, delta: int) -> tuple[int, int]:
        """(supply, borrow) rates in ray that the pool stores when liquidity changes by `delta` now."""
        available = self.virtual_balance + delta
        if available < 0:
            raise PlanError(
                "the Aave reserve does not hold that much",
                expected=f"at most {self.virtual_balance:,} units taken out",
                seen=f"{-delta:,}",
                where="Aave reserve",
                hint="withdraw no more than max_withdraw",
            )
        debt = debt_balance_up(self.scaled_variable_debt, self.variable_borrow_index)
        return self.curve.rates(debt, available, self.deficit, self.settings.reserve_factor)

    def move(self, liquidity: int, scaled: int) -> Reserve:
        """Adds (or takes) `liquidity` assets against `scaled` aTokens; the state must be accrued."""
        supply_rate, borrow_rate = self.rates_after(liquidity)
        return replace(
            self,
            liquidity_rate=supply_rate,
            variable_borrow_rate=borrow_rate,
            virtual_balance=self.virtual_balance + liquidity,
            scaled_supply=self.scaled_supply + scaled,
        )

    def max_supply(self, at: int) -> int:
        """Largest supply that `ValidationLogic.validateSupply` accepts at `at`, in assets."""
        settings = self.settings
        if not settings.active or settings.frozen or settings.paused:
            return 0
        now = self.accrue(at)
        if settings.supply_cap == 0:
            return MAX_UINT128 - now.virtual_balance
        unit: int = 10**settings.decimals
        cap = settings.supply_cap * unit
        # The pool floors (scaled * index) before it compares, so the cap is met by every scaled total
        # below the one that reaches cap + 1; the same holds for the floor on the minted amount.
        most_scaled = ((cap + 1) * RAY - 1) // now.liquidity_index
        room = most_scaled - now.scaled_supply - now.accrued_to_treasury
        if room <= 0:
            return 0
        return ((room + 1) * now.liquidity_index - 1) // RAY

    def max_withdraw(self, scaled: int, at: int) -> int:
        """Largest withdrawal for a holder of `scaled` aTokens: the balance or the reserve's liquidity."""
        if not self.settings.active or self.settings.paused:
            return 0
        return min(supply_balance_down(scaled, self.income_index(at)), self.virtual_balance)
