"""One Morpho Blue market as an immutable value that moves as `Morpho.sol` moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from eth_hash.auto import keccak
from pydantic import BaseModel, ConfigDict

from keeper.config import CheckedAddress
from keeper.connectors.morpho_math import (
    VIRTUAL_ASSETS,
    VIRTUAL_SHARES,
    adaptive_borrow_rate,
    taylor_compounded,
    to_assets_down,
    to_assets_up,
    to_shares_down,
    to_shares_up,
)
from keeper.contracts.abi import encode
from keeper.errors import PlanError, ValuationError
from keeper.units import WAD, YEAR, Address, mul_div_down

MAX_UINT128 = 2**128 - 1
NO_ADDRESS = Address("0x" + "00" * 20)


class MarketParams(BaseModel):
    """The five values that name a Morpho Blue market."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loan_token: CheckedAddress
    collateral_token: CheckedAddress
    oracle: CheckedAddress
    irm: CheckedAddress
    lltv: int

    @cached_property
    def id(self) -> bytes:
        """Market id (`MarketParamsLib.id`): keccak256 of the five words."""
        fields = (self.loan_token, self.collateral_token, self.oracle, self.irm, self.lltv)
        return keccak(encode(("address", "address", "address", "address", "uint256"), fields))

    @property
    def has_irm(self) -> bool:
        """False for an idle market."""
        return self.irm != NO_ADDRESS


@dataclass(frozen=True)
class Market:
    """Stored state of a market; assets in the loan token, fee in wad, `rate_at_target` in wad per second.

    `has_irm` is false for idle markets, whose rate model is the zero address: they bear no interest.
    """

    supply_assets: int
    supply_shares: int
    borrow_assets: int
    borrow_shares: int
    last_update: int
    fee: int
    rate_at_target: int
    has_irm: bool = True

    @property
    def liquidity(self) -> int:
        """Assets that can be withdrawn or borrowed now."""
        return self.supply_assets - self.borrow_assets

    def accrue(self, at: int) -> Market:
        """State after `Morpho._accrueInterest` in a block of time `at`, rate adaptation included.

        Raises PlanError for a time before the last accrual, ValuationError where Morpho itself would fail.
        """
        if at == self.last_update:
            return self
        supply_assets, supply_shares, borrow_assets, rate_at_target = self._accrued(at)
        return Market(
            supply_assets,
            supply_shares,
            borrow_assets,
            self.borrow_shares,
            at,
            self.fee,
            rate_at_target,
            self.has_irm,
        )

    def totals(self, at: int) -> tuple[int, int, int]:
        """(supply assets, supply shares, borrow assets) at `at`: `MorphoBalancesLib.expectedMarketBalances`.

        All that a value needs, and cheaper than the whole state. Raises as `accrue`.
        """
        return self._accrued(at)[:3]

    def stored_totals(self, at: int) -> tuple[int, int, int]:
        """As `totals`, without the interest since the last accrual. PlanError for a time before it."""
        self._require_not_before(at)
        return self.supply_assets, self.supply_shares, self.borrow_assets

    def _accrued(self, at: int) -> tuple[int, int, int, int]:
        """`totals`, and the rate at target."""
        supplied, shares, borrowed = self.supply_assets, self.supply_shares, self.borrow_assets
        elapsed = at - self.last_update
        if elapsed <= 0 or not self.has_irm:
            self._require_not_before(at)
            return supplied, shares, borrowed, self.rate_at_target
        rate, rate_at_target = adaptive_borrow_rate(supplied, borrowed, self.rate_at_target, elapsed)
        interest = borrowed * taylor_compounded(rate, elapsed) // WAD
        supplied += interest
        # Total supply already holds the whole interest, so the fee is priced on what the others own.
        fee = interest * self.fee // WAD
        shares += fee * (shares + VIRTUAL_SHARES) // (supplied - fee + VIRTUAL_ASSETS)
        if supplied > MAX_UINT128 or shares > MAX_UINT128:
            raise ValuationError(
                "The Morpho market outgrows its 128 bits, so that nothing in it works any more",
                expected=f"at most {MAX_UINT128:,}",
                seen=f"{max(supplied, shares):,} at time {at}",
                where="Morpho Blue market",
                hint="Its positions count as impaired.",
            )
        return supplied, shares, borrowed + interest, rate_at_target

    def assets_down(self, shares: int) -> int:
        """Assets that `shares` are worth in this state, rounded down."""
        return to_assets_down(shares, self.supply_assets, self.supply_shares)

    def assets_up(self, shares: int) -> int:
        """Assets that `shares` are worth in this state, rounded up."""
        return to_assets_up(shares, self.supply_assets, self.supply_shares)

    def debt_down(self, shares: int) -> int:
        """What `shares` of the debt owe in this state, rounded down."""
        return to_assets_down(shares, self.borrow_assets, self.borrow_shares)

    def debt_up(self, shares: int) -> int:
        """What `shares` of the debt owe in this state, rounded up: 1 more than the market's whole debt at
        most."""
        return to_assets_up(shares, self.borrow_assets, self.borrow_shares)

    def supply(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after a supply of `assets`, shares minted). PlanError if it does not fit 128 bits."""
        now = self.accrue(at)
        shares = to_shares_down(assets, now.supply_assets, now.supply_shares)
        return now._supplied(assets, shares), shares

    def withdraw(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after a withdrawal of `assets`, shares burnt). PlanError if liquidity is short."""
        now = self.accrue(at)
        shares = to_shares_up(assets, now.supply_assets, now.supply_shares)
        return now._supplied(-assets, -shares), shares

    def redeem(self, shares: int, at: int) -> tuple[Market, int]:
        """(state after `shares` are withdrawn, assets received). PlanError if liquidity is short."""
        now = self.accrue(at)
        assets = now.assets_down(shares)
        return now._supplied(-assets, -shares), assets

    def borrow(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after `assets` are borrowed, shares of debt minted). PlanError if liquidity is short."""
        now = self.accrue(at)
        shares = to_shares_up(assets, now.borrow_assets, now.borrow_shares)
        return now._borrowed(assets, shares), shares

    def borrow_shares_of(self, shares: int, at: int) -> tuple[Market, int]:
        """(state after `shares` of debt are taken, assets received). PlanError if liquidity is short."""
        now = self.accrue(at)
        assets = now.debt_down(shares)
        return now._borrowed(assets, shares), assets

    def repay(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after `assets` are repaid, shares of debt burnt, rounded down)."""
        now = self.accrue(at)
        shares = to_shares_down(assets, now.borrow_assets, now.borrow_shares)
        return now._borrowed(-assets, -shares), shares

    def repay_shares_of(self, shares: int, at: int) -> tuple[Market, int]:
        """(state after `shares` of debt are repaid, assets paid, rounded up)."""
        now = self.accrue(at)
        assets = now.debt_up(shares)
        return now._borrowed(-assets, -shares), assets

    def liquidate(self, repaid_shares: int, bad_shares: int, at: int) -> tuple[Market, int]:
        """(state after `Morpho.liquidate`, bad debt in assets).

        `repaid_shares` of the debt are repaid. `bad_shares` are what the borrower then still owes without any
        collateral: its assets leave the supply, so that suppliers bear the loss at once.
        """
        now, _ = self.repay_shares_of(repaid_shares, at)
        loss = min(now.borrow_assets, now.debt_up(bad_shares))
        return (
            replace(
                now,
                supply_assets=now.supply_assets - loss,
                borrow_assets=now.borrow_assets - loss,
                borrow_shares=now.borrow_shares - bad_shares,
            ),
            loss,
        )

    def supply_rate(self, delta: int, at: int) -> int:
        """Supply rate per year in wad, uncompounded, just after supply changes by `delta` at `at`.

        Borrow rate * utilisation * (1 - fee), with the rate model adapted up to `at`; the drift of the
        rate at target after `at` is not in it.
        """
        now = self.accrue(at)
        supplied, _ = now._totals(delta, 0)
        if not now.has_irm or now.borrow_assets == 0:
            return 0
        per_second, _ = adaptive_borrow_rate(supplied, now.borrow_assets, now.rate_at_target, 0)
        gross = mul_div_down(per_second * YEAR, now.borrow_assets, supplied)
        return mul_div_down(gross, WAD - now.fee, WAD)

    def _supplied(self, assets: int, shares: int) -> Market:
        supply_assets, supply_shares = self._totals(assets, shares)
        return replace(self, supply_assets=supply_assets, supply_shares=supply_shares)

    def _totals(self, assets: int, shares: int) -> tuple[int, int]:
        """Supplied assets and shares after a change. PlanError where Morpho would refuse it."""
        if -assets > self.liquidity:
            raise PlanError(
                "the Morpho market does not hold that much",
                expected=f"at most {self.liquidity:,} units taken out",
                seen=f"{-assets:,}",
                where="Morpho Blue market",
                hint="withdraw no more than max_withdraw",
            )
        supply_assets, supply_shares = self.supply_assets + assets, self.supply_shares + shares
        _require_fit(max(supply_assets, supply_shares))
        return supply_assets, supply_shares

    def _borrowed(self, assets: int, shares: int) -> Market:
        if assets > self.liquidity:
            raise PlanError(
                "the Morpho market has not that much to lend",
                expected=f"at most {self.liquidity:,} units borrowed",
                seen=f"{assets:,}",
                where="Morpho Blue market",
            )
        # What is repaid is rounded up, and may exceed the market's debt by one unit.
        borrow_assets, borrow_shares = max(0, self.borrow_assets + assets), self.borrow_shares + shares
        _require_fit(borrow_shares)
        return replace(self, borrow_assets=borrow_assets, borrow_shares=borrow_shares)

    def _require_not_before(self, at: int) -> None:
        if at < self.last_update:
            raise PlanError(
                "a market cannot be moved back in time",
                expected=f"a time from {self.last_update} on",
                seen=str(at),
                where="Morpho Blue market",
                hint="use the timestamp of the block the state was read at, or a later one",
            )


def _require_fit(total: int) -> None:
    if total > MAX_UINT128:
        raise PlanError(
            "the Morpho market's totals would not fit their 128 bits",
            expected=f"at most {MAX_UINT128:,}",
            seen=f"{total:,}",
            where="Morpho Blue market",
        )
