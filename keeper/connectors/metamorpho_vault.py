"""A MetaMorpho vault, of version 1.0 or 1.1, as an immutable value that moves as the contract moves it.

What differs: a vault of version 1.1 never lets its total assets fall. What its markets lost (bad debt, and
the roundings of its own moves) is remembered and stays in the total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from keeper.connectors.morpho_market import Market
from keeper.connectors.morpho_math import to_assets_down, to_assets_up
from keeper.errors import PlanError, ValuationError
from keeper.units import WAD, mul_div_down, mul_div_up


@dataclass(frozen=True)
class Allocated:
    """One market of the withdraw queue: its state, the vault's supply shares in it, the vault's cap."""

    market: Market
    shares: int
    cap: int

    def assets(self, at: int) -> int:
        """What the vault's shares are worth at `at`, rounded down."""
        supply_assets, supply_shares, _ = self.market.totals(at)
        return to_assets_down(self.shares, supply_assets, supply_shares)

    def room(self, at: int) -> int:
        """What the cap still admits at `at`; the holding is rounded up, as the vault does.

        PlanError where that overflows: the vault then takes no supply that reaches this market.
        """
        supply_assets, supply_shares, _ = self.market.totals(at)
        return max(0, self.cap - to_assets_up(self.shares, supply_assets, supply_shares))

    def withdrawable(self, at: int) -> int:
        """What the vault can take out at `at`: its holding or the market's liquidity.

        The vault asks for Morpho's balance of the token as well, which is less only inside a flash loan.
        """
        return min(self.assets(at), self.market.liquidity)


@dataclass(frozen=True)
class Vault:
    """Stored state of the vault; assets in its asset, fee in wad.

    `markets` follows the withdraw queue; `supply_queue` holds positions in it. `lost_assets` is None in
    version 1.0, which knows none.
    """

    total_supply: int
    last_total_assets: int
    fee: int
    decimals_offset: int
    supply_queue: tuple[int, ...]
    markets: tuple[Allocated, ...]
    lost_assets: int | None = None

    def total_assets(self, at: int) -> int:
        """What all its holdings are worth at `at`, and in version 1.1 what they lost (`totalAssets`).

        Raises ValuationError where the vault's own view fails.
        """
        return self._totals(at)[0]

    def accrue_fee(self, at: int) -> Vault:
        """State after `_accrueFee` (in version 1.1 `_accrueInterest`), with `last_total_assets` brought up to
        the total; no market moves. Raises as `total_assets`."""
        total, lost = self._totals(at)
        fee_assets = max(0, total - self.last_total_assets) * self.fee // WAD
        # The total holds the fee already, so the fee is priced on what the others own.
        fee_shares = fee_assets * self._virtual_supply // (total - fee_assets + 1)
        supply = self.total_supply + fee_shares
        return Vault(supply, total, self.fee, self.decimals_offset, self.supply_queue, self.markets, lost)

    def _totals(self, at: int) -> tuple[int, int | None]:
        """(total assets, lost assets) at `at`."""
        held = sum(each.assets(at) for each in self.markets)
        lost = self.lost_assets
        if lost is None:
            return held, None
        if self.last_total_assets < lost:
            raise ValuationError(
                "The MetaMorpho vault has lost more than it ever counted, so that all its views fail",
                expected=f"at most {self.last_total_assets:,} units",
                seen=f"{lost:,} units",
                where="MetaMorpho vault",
            )
        if held < self.last_total_assets - lost:
            lost = self.last_total_assets - held
        return held + lost, lost

    def require_not_before(self, at: int) -> None:
        """PlanError for a time before the last accrual of one of its markets."""
        for held in self.markets:
            held.market.stored_totals(at)

    def assets_down(self, shares: int) -> int:
        """Assets of `shares`, rounded down, at `last_total_assets`: call on an accrued state."""
        return mul_div_down(shares, self.last_total_assets + 1, self._virtual_supply)

    def deposit(self, assets: int, at: int) -> tuple[Vault, int]:
        """(state after a deposit, shares minted). PlanError when the caps leave no room."""
        now = self.accrue_fee(at)
        minted = mul_div_down(assets, now._virtual_supply, now.last_total_assets + 1)
        return now.supply_markets(assets, at)._booked(assets, minted), minted

    def withdraw(self, assets: int, at: int) -> tuple[Vault, int]:
        """(state after a withdrawal of `assets`, shares burnt). PlanError when liquidity is short."""
        now = self.accrue_fee(at)
        burnt = mul_div_up(assets, now._virtual_supply, now.last_total_assets + 1)
        return now.withdraw_markets(assets, at)._booked(-assets, -burnt), burnt

    def redeemable(self, shares: int, at: int) -> int:
        """How many of a holder's `shares` can be redeemed at `at` (`maxRedeem`)."""
        now = self.accrue_fee(at)
        assets = min(now.assets_down(shares), now.withdrawable(at))
        return min(shares, mul_div_down(assets, now._virtual_supply, now.last_total_assets + 1))

    def redeem(self, shares: int, at: int) -> tuple[Vault, int]:
        """(state after `shares` are redeemed, assets received). PlanError when liquidity is short."""
        now = self.accrue_fee(at)
        assets = now.assets_down(shares)
        return now.withdraw_markets(assets, at)._booked(-assets, -shares), assets

    def supply_markets(self, assets: int, at: int) -> Vault:
        """Markets after `assets` went down the supply queue (`_supplyMorpho`); shares stay as they are.

        A market that the queue reaches is accrued even when its cap leaves no room.
        """
        markets = list(self.markets)
        left = assets
        for slot in self._reached():
            held = replace(markets[slot], market=markets[slot].market.accrue(at))
            amount = min(held.room(at), left)
            try:
                market, shares = held.market.supply(amount, at)
            except PlanError:
                # The vault passes over what Morpho refuses, too.
                amount, market, shares = 0, held.market, 0
            markets[slot] = replace(held, market=market, shares=held.shares + shares)
            left -= amount
            if left == 0:
                return replace(self, markets=tuple(markets))
        raise PlanError(
            "The vault's caps leave no room for this supply",
            expected=f"at most {assets - left:,} units",
            seen=f"{assets:,} units",
            where="MetaMorpho vault",
            hint="supply no more than max_supply",
        )

    def withdraw_markets(self, assets: int, at: int) -> Vault:
        """Markets after `assets` came up the withdraw queue (`_withdrawMorpho`); shares stay as they are."""
        markets = list(self.markets)
        left = assets
        for slot, listed in enumerate(markets):
            held = replace(listed, market=listed.market.accrue(at))
            amount = min(held.withdrawable(at), left)
            if amount:
                market, shares = held.market.withdraw(amount, at)
                held = replace(held, market=market, shares=held.shares - shares)
            markets[slot] = held
            left -= amount
            if left == 0:
                return replace(self, markets=tuple(markets))
        raise PlanError(
            "The vault's markets do not hold that much",
            expected=f"at most {assets - left:,} units",
            seen=f"{assets:,} units",
            where="MetaMorpho vault",
            hint="withdraw no more than max_withdraw",
        )

    def suppliable(self, at: int) -> int:
        """Sum of the room under the caps of the supply queue (`maxDeposit`). PlanError where that fails."""
        return sum(self.markets[slot].room(at) for slot in self._reached())

    def withdrawable(self, at: int) -> int:
        """Sum of what can be taken out of each market."""
        return sum(held.withdrawable(at) for held in self.markets)

    def rate(self, at: int) -> int:
        """Yearly supply rate in wad, uncompounded: the markets' rates by holding, less the vault's fee."""
        holdings = [held.assets(at) for held in self.markets]
        total = sum(holdings)
        if total == 0:
            return 0
        earned = sum(
            assets * held.market.supply_rate(0, at)
            for assets, held in zip(holdings, self.markets, strict=True)
        )
        return mul_div_down(earned // total, WAD - self.fee, WAD)

    @property
    def _virtual_supply(self) -> int:
        unit: int = 10**self.decimals_offset
        return self.total_supply + unit

    def _reached(self) -> Iterator[int]:
        """Supply queue slots whose cap is not zero; the vault passes the others over untouched."""
        return (slot for slot in self.supply_queue if self.markets[slot].cap)

    def _booked(self, assets: int, shares: int) -> Vault:
        return replace(
            self,
            total_supply=self.total_supply + shares,
            last_total_assets=max(0, self.last_total_assets + assets),
        )
