"""One reserve of an Aave v3.6 pool as an immutable value that moves as the pool moves it.

Sources: `ReserveLogic`, `SupplyLogic`, `BorrowLogic`, `FlashLoanLogic`, `ValidationLogic`,
`DefaultReserveInterestRateStrategyV2`.
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
    percent_mul_up,
    ray_div,
    ray_mul,
    scaled_down,
    scaled_up,
    supply_balance_down,
)
from keeper.connectors.base import EVERYTHING
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
    """What governance sets: the flags, fee and limits packed in `ReserveConfigurationMap`.

    `ltv`, `threshold` (of liquidation) and `reserve_factor` are in basis points, the caps in whole tokens and
    the ceiling of isolated debt in hundredths of a dollar; 0 is no cap, and no isolation.
    """

    decimals: int
    active: bool
    frozen: bool
    paused: bool
    reserve_factor: int
    supply_cap: int
    ltv: int
    threshold: int
    borrowing: bool
    isolation_borrowable: bool
    siloed: bool
    borrow_cap: int
    debt_ceiling: int

    @classmethod
    def from_word(cls, word: int) -> ReserveSettings:
        """Unpacks the configuration word."""
        return cls(
            decimals=word >> 48 & 0xFF,
            active=bool(word >> 56 & 1),
            frozen=bool(word >> 57 & 1),
            paused=bool(word >> 60 & 1),
            reserve_factor=word >> 64 & 0xFFFF,
            supply_cap=word >> 116 & (1 << 36) - 1,
            ltv=word & 0xFFFF,
            threshold=word >> 16 & 0xFFFF,
            borrowing=bool(word >> 58 & 1),
            isolation_borrowable=bool(word >> 61 & 1),
            siloed=bool(word >> 62 & 1),
            borrow_cap=word >> 80 & (1 << 36) - 1,
            debt_ceiling=word >> 212 & (1 << 40) - 1,
        )


@dataclass(frozen=True)
class Reserve:
    """Stored state of a reserve. Indexes and yearly rates in ray, balances in the asset's own units.

    `id` is its place in the pool's bitmaps, `isolation_debt` what is owed against it alone, in hundredths of
    a dollar.
    """

    id: int
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
    isolation_debt: int = 0

    def income_index(self, at: int) -> int:
        """Liquidity index at `at` (`ReserveLogic.getNormalizedIncome`)."""
        if at == self.last_update:
            return self.liquidity_index
        return ray_mul(linear_interest(self.liquidity_rate, at - self.last_update), self.liquidity_index)

    def debt_index(self, at: int) -> int:
        """Variable borrow index at `at` (`ReserveLogic.getNormalizedDebt`)."""
        if at == self.last_update:
            return self.variable_borrow_index
        growth = compounded_interest(self.variable_borrow_rate, at - self.last_update)
        return ray_mul(growth, self.variable_borrow_index)

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

    def rates_after(self, liquidity: int, scaled_debt: int = 0) -> tuple[int, int]:
        """(supply, borrow) rates in ray that the pool stores when liquidity and debt change by this now."""
        available = self.virtual_balance + liquidity
        if available < 0:
            raise PlanError(
                "the Aave reserve does not hold that much",
                expected=f"at most {self.virtual_balance:,} units taken out",
                seen=f"{-liquidity:,}",
                where="Aave reserve",
                hint="withdraw no more than max_withdraw",
            )
        debt = debt_balance_up(self.scaled_variable_debt + scaled_debt, self.variable_borrow_index)
        return self.curve.rates(debt, available, self.deficit, self.settings.reserve_factor)

    def move(self, liquidity: int, *, supply: int = 0, debt: int = 0) -> Reserve:
        """Adds (or takes) `liquidity` assets against scaled supply or debt; the state must be accrued."""
        supply_rate, borrow_rate = self.rates_after(liquidity, debt)
        return replace(
            self,
            liquidity_rate=supply_rate,
            variable_borrow_rate=borrow_rate,
            virtual_balance=self.virtual_balance + liquidity,
            scaled_supply=self.scaled_supply + supply,
            scaled_variable_debt=self.scaled_variable_debt + debt,
        )

    def supply(self, assets: int, at: int, where: str) -> tuple[Reserve, int]:
        """(state after, scaled aTokens minted, rounded down) of a supply (`SupplyLogic.executeSupply`)."""
        now = self.accrue(at)
        minted = scaled_down(assets, now.liquidity_index)
        if minted == 0 or assets > self.max_supply(at):
            raise PlanError(
                "Aave would refuse this supply",
                expected=f"from 1 aToken up to {self.max_supply(at):,} units",
                seen=f"{assets:,} units",
                where=where,
                hint="The reserve may be frozen, paused or at its supply cap.",
            )
        return now.move(assets, supply=minted), minted

    def withdraw(self, scaled: int, assets: int, at: int, where: str) -> tuple[Reserve, int, int]:
        """(state after, scaled aTokens burnt, assets received) of a withdrawal by a holder of `scaled`.

        `SupplyLogic.executeWithdraw`: what is burnt is rounded up. EVERYTHING is what our connector makes of
        it: all aTokens, or the liquidity at hand where that is less (`AaveV3Connector.withdraw`).
        """
        now = self.accrue(at)
        balance = supply_balance_down(scaled, now.liquidity_index)
        if assets == EVERYTHING and self.virtual_balance < balance:
            assets = self.virtual_balance
        if assets == EVERYTHING:
            burnt, received = scaled, balance
        else:
            burnt, received = scaled_up(assets, now.liquidity_index), assets
        if burnt == 0 or received > self.max_withdraw(scaled, at):
            raise PlanError(
                "Aave would refuse this withdrawal",
                expected=f"up to {self.max_withdraw(scaled, at):,} units, and not nothing",
                seen=f"{received:,} units",
                where=where,
                hint="The reserve may be paused or lent out.",
            )
        return now.move(-received, supply=-burnt), burnt, received

    def borrow(self, assets: int, at: int, mode: int | None, where: str) -> tuple[Reserve, int]:
        """(state after, scaled debt minted, rounded up) of a loan (`BorrowLogic.executeBorrow`).

        `mode` is the bitmap of what may be borrowed in the borrower's efficiency mode, None outside of any.
        Whether the borrower is good for it is not asked here.
        """
        now = self.accrue(at)
        settings, index = self.settings, now.variable_borrow_index
        minted = scaled_up(assets, index)
        lent = debt_balance_up(minted, index)
        cap: int = settings.borrow_cap * 10**settings.decimals
        listed = settings.borrowing if mode is None else bool(mode >> self.id & 1)
        if (
            minted == 0
            or not (settings.active and listed)
            or settings.paused
            or settings.frozen
            or lent > supply_balance_down(now.scaled_supply, now.liquidity_index)
            or assets > now.virtual_balance
            or (cap and debt_balance_up(now.scaled_variable_debt + minted, index) > cap)
        ):
            raise PlanError(
                "Aave would refuse this loan",
                expected=f"up to {now.virtual_balance:,} units, and not nothing",
                seen=f"{assets:,} units",
                where=where,
                hint="The reserve may be frozen, paused, lent out, at its borrow cap or not to be borrowed.",
            )
        return now.move(-assets, debt=minted), minted

    def repay(self, assets: int, scaled: int, at: int, where: str) -> tuple[Reserve, int]:
        """(state after, scaled debt burnt, rounded down) when `assets` of a debt of `scaled` are repaid, no
        more than is owed (`BorrowLogic.executeRepay`)."""
        now = self.accrue(at)
        burnt = scaled_down(assets, now.variable_borrow_index)
        if not self.settings.active or self.settings.paused or not 0 < burnt <= scaled:
            raise PlanError(
                "Aave would refuse this repayment",
                expected="an active reserve and at least one unit of its scaled debt",
                seen=f"{assets:,} units",
                where=where,
                hint="The reserve may be paused, or the amount be less than its index is worth.",
            )
        return now.move(assets, debt=-burnt), burnt

    def flash_loan(self, assets: int, premium_bps: int, at: int) -> Reserve:
        """State after somebody has borrowed and returned `assets` in one transaction, with a premium.

        `FlashLoanLogic._handleFlashLoanRepayment`: since 3.4 all of the premium belongs to the treasury, as
        scaled aTokens not yet minted, which count against the supply cap. The liquidity index gains nothing;
        what suppliers feel is that the premium is more liquidity, which lowers both rates.
        """
        now = self.accrue(at)
        premium = percent_mul_up(assets, premium_bps)
        moved = now.move(premium)
        minted = scaled_down(premium, now.liquidity_index)
        return replace(moved, accrued_to_treasury=now.accrued_to_treasury + minted)

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
