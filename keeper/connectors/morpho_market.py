"""One Morpho Blue market as an immutable value that moves as `Morpho.sol` moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth_hash.auto import keccak
from pydantic import BaseModel, ConfigDict

from keeper.connectors.base import AddressField
from keeper.connectors.morpho_math import (
    adaptive_borrow_rate,
    taylor_compounded,
    to_assets_down,
    to_assets_up,
    to_shares_down,
    to_shares_up,
)
from keeper.contracts.abi import encode
from keeper.errors import PlanError
from keeper.units import WAD, YEAR, Address, mul_div_down

MAX_UINT128 = 2**128 - 1
NO_ADDRESS = Address("0x" + "00" * 20)


class MarketParams(BaseModel):
    """The five values that name a Morpho Blue market."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loan_token: AddressField
    collateral_token: AddressField
    oracle: AddressField
    irm: AddressField
    lltv: int

    @property
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
        """State after `Morpho._accrueInterest` in a block of time `at`, rate adaptation included."""
        elapsed = at - self.last_update
        if elapsed < 0:
            raise PlanError(
                "a market cannot be moved back in time",
                expected=f"a time from {self.last_update} on",
                seen=str(at),
                where="Morpho Blue market",
                hint="use the timestamp of the block the state was read at, or a later one",
            )
        if elapsed == 0 or not self.has_irm:
            return replace(self, last_update=at)
        rate, rate_at_target = adaptive_borrow_rate(
            self.supply_assets, self.borrow_assets, self.rate_at_target, elapsed
        )
        interest = mul_div_down(self.borrow_assets, taylor_compounded(rate, elapsed), WAD)
        supply_assets = self.supply_assets + interest
        fee_assets = mul_div_down(interest, self.fee, WAD)
        # Total supply already holds the whole interest, so the fee is priced on what the others own.
        fee_shares = to_shares_down(fee_assets, supply_assets - fee_assets, self.supply_shares)
        return replace(
            self,
            supply_assets=supply_assets,
            supply_shares=self.supply_shares + fee_shares,
            borrow_assets=self.borrow_assets + interest,
            last_update=at,
            rate_at_target=rate_at_target,
        )

    def assets_down(self, shares: int) -> int:
        """Assets that `shares` are worth in this state, rounded down."""
        return to_assets_down(shares, self.supply_assets, self.supply_shares)

    def assets_up(self, shares: int) -> int:
        """Assets that `shares` are worth in this state, rounded up."""
        return to_assets_up(shares, self.supply_assets, self.supply_shares)

    def supply(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after a supply of `assets`, shares minted)."""
        now = self.accrue(at)
        shares = to_shares_down(assets, now.supply_assets, now.supply_shares)
        return now._moved(assets, shares), shares

    def withdraw(self, assets: int, at: int) -> tuple[Market, int]:
        """(state after a withdrawal of `assets`, shares burnt). PlanError if liquidity is short."""
        now = self.accrue(at)
        shares = to_shares_up(assets, now.supply_assets, now.supply_shares)
        return now._moved(-assets, -shares), shares

    def redeem(self, shares: int, at: int) -> tuple[Market, int]:
        """(state after `shares` are withdrawn, assets received). PlanError if liquidity is short."""
        now = self.accrue(at)
        assets = now.assets_down(shares)
        return now._moved(-assets, -shares), assets

    def supply_rate(self, delta: int, at: int) -> int:
        """Supply rate per year in wad, uncompounded, just after supply changes by `delta` at `at`.

        Borrow rate * utilisation * (1 - fee), with the rate model adapted up to `at`; the drift of the
        rate at target after `at` is not in it.
        """
        now = self.accrue(at)._moved(delta, 0)
        if not now.has_irm or now.borrow_assets == 0:
            return 0
        per_second, _ = adaptive_borrow_rate(now.supply_assets, now.borrow_assets, now.rate_at_target, 0)
        gross = mul_div_down(per_second * YEAR, now.borrow_assets, now.supply_assets)
        return mul_div_down(gross, WAD - now.fee, WAD)

    def _moved(self, assets: int, shares: int) -> Market:
        if -assets > self.liquidity:
            raise PlanError(
                "the Morpho market does not hold that much",
                expected=f"at most {self.liquidity:,} units taken out",
                seen=f"{-assets:,}",
                where="Morpho Blue market",
                hint="withdraw no more than max_withdraw",
            )
        return replace(
            self, supply_assets=self.supply_assets + assets, supply_shares=self.supply_shares + shares
        )
