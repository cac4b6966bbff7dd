"""What our connector holds in one Morpho Blue market, moved as Morpho and our connector move it.

Sources: morpho-blue `Morpho.sol`, and `MorphoBlueConnector.sol` for the report and for what it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.config import CheckedAddress
from keeper.connectors.base import EVERYTHING, Leg, PositionRef, Report, Role, StateKey
from keeper.connectors.equity import net
from keeper.connectors.morpho_market import MAX_UINT128, Market, MarketParams
from keeper.connectors.morpho_math import VIRTUAL_ASSETS, VIRTUAL_SHARES
from keeper.errors import PlanError
from keeper.oracle.quote import Prices, Quote, Status
from keeper.units import MAX_UINT256, WAD, Address

ORACLE_SCALE: Final = 10**36
NO_DEBT: Final = MAX_UINT256
"""Health of what owes nothing."""


class MorphoBlueParams(BaseModel):
    """The Morpho Blue singleton and the market; the market's id must be the reference's key.

    `borrowable` is whether our connector lists the market to be borrowed from: only then does its report
    count collateral and debt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    morpho: CheckedAddress
    market: MarketParams
    borrowable: bool = False


def market_key(morpho: Address, market: MarketParams) -> StateKey:
    """Name of a market among shared states."""
    return "morpho_blue", morpho, market.id.hex()


@dataclass(frozen=True)
class MorphoBluePosition:
    """Supply shares, shares of debt and collateral of our connector in one market.

    `oracle_price` is what the market's own oracle said at the block that was read, in units of the loan token
    per unit of collateral times 1e36, and stays that for every later time; None where it said nothing or
    where nobody needs it. `min_health` in wad is the floor of our connector.
    """

    ref: PositionRef
    params: MorphoBlueParams
    prices: Prices
    market: Market
    shares: int
    debt_shares: int = 0
    collateral: int = 0
    oracle_price: int | None = None
    min_health: int = 0

    def report(self, at: int) -> Report:
        """What a full exit would pay at `at`: assets rounded down, debt up."""
        params, shares = self.params, self.shares
        pledged = params.borrowable and (self.collateral or self.debt_shares)
        supply_assets, supply_shares, borrow_assets = self.totals(at)
        supplied = shares * (supply_assets + VIRTUAL_ASSETS) // (supply_shares + VIRTUAL_SHARES)
        worth = self.prices.worth
        quote = worth(params.market.loan_token, supplied)
        if not pledged:
            return Report(quote.low, quote.high, quote.status)
        assets = (quote, worth(params.market.collateral_token, self.collateral))
        if not self.debt_shares:
            return net(assets, (), 0)
        owed = self._owed(borrow_assets)
        debt = worth(params.market.loan_token, owed)
        # A report goes on without the market's oracle, at the worst there is.
        health = 0 if self.oracle_price is None else self._health(owed, self.oracle_price)
        return net(assets, (debt,), health)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """What is supplied and, of a market to borrow from, the collateral and the debt."""
        supply_assets, supply_shares, borrow_assets = self.totals(at)
        supplied = self.shares * (supply_assets + VIRTUAL_ASSETS) // (supply_shares + VIRTUAL_SHARES)
        loan, pledge = self.params.market.loan_token, self.params.market.collateral_token
        amounts = [(Role.SUPPLIED, loan, supplied)]
        if self.params.borrowable:
            amounts.append((Role.COLLATERAL, pledge, self.collateral))
            amounts.append((Role.BORROWED, loan, self._owed(borrow_assets)))
        quoted = ((role, token, n, self.prices.worth(token, n)) for role, token, n in amounts if n)
        return tuple(Leg(role, token, n, q.low, q.high, q.status) for role, token, n, q in quoted)

    def health(self, at: int) -> int:
        """Health factor in wad by the market's own oracle: liquidation begins at 1e18; NO_DEBT without debt.

        PlanError where there is a debt and the oracle says nothing: our connector then lets nothing pass that
        could lower it.
        """
        if not self.debt_shares:
            return NO_DEBT
        if self.oracle_price is None:
            raise self._refused("What the market's oracle does not price cannot be borrowed against")
        _, _, borrow_assets = self.totals(at)
        return self._health(self._owed(borrow_assets), self.oracle_price)

    def supply_rate(self, delta: int, at: int) -> int:
        """See `Market.supply_rate`."""
        return self.market.supply_rate(delta, at)

    def max_withdraw(self, at: int) -> int:
        """What is supplied, or the market's liquidity if that is less, in the loan token."""
        now = self.market.accrue(at)
        return min(now.assets_down(self.shares), now.liquidity)

    def max_supply(self, at: int) -> int:
        """Morpho Blue has no caps: what a 128-bit total still holds."""
        return MAX_UINT128 - self.market.accrue(at).supply_assets

    def after_supply(self, assets: int, at: int) -> MorphoBluePosition:
        """`Morpho.supply` by assets: the shares minted are rounded down."""
        if not 0 < assets <= self.max_supply(at):
            raise self._refused(
                "Morpho would refuse this supply", f"1 to {self.max_supply(at):,} units", assets
            )
        market, minted = self.market.supply(assets, at)
        if market.assets_down(minted) + 1 < assets:
            raise self._too_dear(assets, market.assets_down(minted))
        return replace(self, market=market, shares=self.shares + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """`Morpho.withdraw`: by assets, with the shares burnt rounded up; by shares on a full exit.

        Of a market that cannot pay a full exit, our connector takes what is at hand.
        """
        if not self.shares:
            raise self._refused("There is nothing supplied to withdraw", "a supply", 0)
        now = self.market.accrue(at)
        if assets == EVERYTHING:
            value = now.assets_down(self.shares)
            if value <= now.liquidity:
                market, received = now.redeem(self.shares, at)
                return self._withdrawn(now, market, self.shares, received)
            if not now.liquidity:
                raise self._refused("All of the market is lent out", "some liquidity", 0)
            assets = now.liquidity
        most = min(now.assets_down(self.shares), now.liquidity)
        if not 0 < assets <= most:
            raise self._refused("Morpho would refuse this withdrawal", f"1 to {most:,} units", assets)
        market, burnt = now.withdraw(assets, at)
        return self._withdrawn(now, market, burnt, assets)

    def after_supply_collateral(self, assets: int, at: int) -> MorphoBluePosition:
        """`Morpho.supplyCollateral`, which accrues nothing."""
        self._require_borrowable()
        self.market.stored_totals(at)
        room = MAX_UINT128 - self.collateral
        if not 0 < assets <= room:
            raise self._refused("Morpho would refuse this collateral", f"1 to {room:,} units", assets)
        return replace(self, collateral=self.collateral + assets)

    def after_withdraw_collateral(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """(state after, collateral received), of `assets` in its token or EVERYTHING.

        PlanError when Morpho would not call the rest healthy, or our connector's floor would be broken.
        """
        if assets == EVERYTHING:
            assets = self.collateral
        if not 0 < assets <= self.collateral:
            limit = f"1 to {self.collateral:,} units"
            raise self._refused("There is not that much collateral", limit, assets)
        moved = replace(self, market=self.market.accrue(at), collateral=self.collateral - assets)
        self._require_health(moved, at)
        return moved, assets

    def after_borrow(self, assets: int, at: int) -> MorphoBluePosition:
        """`Morpho.borrow` by assets: the shares of debt are rounded up.

        PlanError when liquidity or collateral is short, or our connector's floor would be broken.
        """
        self._require_borrowable()
        if assets <= 0:
            raise self._refused("A loan needs an amount", "1 unit or more", assets)
        market, minted = self.market.borrow(assets, at)
        moved = replace(self, market=market, debt_shares=self.debt_shares + minted)
        self._require_health(moved, at)
        if market.debt_down(minted) > assets + 1:
            raise self._too_dear(assets, market.debt_down(minted))
        return moved

    def after_repay(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """(state after, assets that the debt took) when `assets` are pushed; EVERYTHING is enough.

        What closes the debt repays its shares, and what is too much goes back.
        """
        self._require_borrowable()
        if assets <= 0:
            raise self._refused("A repayment needs an amount", "1 unit or more", assets)
        now = self.market.accrue(at)
        if assets >= now.debt_up(self.debt_shares):
            return self._repaid(now, self.debt_shares)
        market, burnt = now.repay(assets, at)
        self._require_fair_repayment(now, burnt, assets)
        return replace(self, market=market, debt_shares=self.debt_shares - burnt), assets

    def after_repay_shares(self, shares: int, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """(state after, assets that the debt took) when `shares` of it, or all if there are fewer, are repaid
        with `assets` that are pushed; EVERYTHING is enough."""
        self._require_borrowable()
        if shares <= 0 or assets <= 0:
            raise self._refused("A repayment needs an amount", "1 unit or more", min(shares, assets))
        now = self.market.accrue(at)
        shares = min(shares, self.debt_shares)
        cost = now.debt_up(shares)
        if cost > assets:
            raise self._refused("The debt costs more than is there to repay it", f"{cost:,} units", assets)
        return self._repaid(now, shares)

    @property
    def owes(self) -> Address:
        """The market's loan token."""
        return self.params.market.loan_token

    def owed(self, at: int) -> int:
        """The debt in it."""
        return self._owed(self.totals(at)[2]) if self.debt_shares else 0

    def worst_health(self, at: int) -> int:
        """By the market's oracle, or by the vault's prices if those say less."""
        owed = self.owed(at)
        if not owed:
            return NO_DEBT
        if self.oracle_price is None:
            return 0
        health, market = self._health(owed, self.oracle_price), self.params.market
        pledged, debt = self.prices.worth(market.collateral_token, self.collateral), self._worth(owed)
        if not debt.high or Status.UNAVAILABLE in (pledged.status, debt.status):
            return health
        return min(health, pledged.low * market.lltv // debt.high)

    def after_repaying(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """`after_repay`."""
        return self.after_repay(assets, at)

    @property
    def pledge(self) -> Address:
        """The market's collateral token."""
        return self.params.market.collateral_token

    @property
    def frees(self) -> str:
        """Collateral leaves by an action of its own."""
        return "withdrawCollateral"

    @property
    def foreign(self) -> bool:
        """Whether that is another token than the vault's asset."""
        return self.pledge != self.prices.asset

    def pledged(self, at: int) -> int:
        """All collateral."""
        return self.collateral

    def after_freeing(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """`after_withdraw_collateral`."""
        return self.after_withdraw_collateral(assets, at)

    def _worth(self, loan: int) -> Quote:
        return self.prices.worth(self.params.market.loan_token, loan)

    def totals(self, at: int) -> tuple[int, int, int]:
        """(supply assets, supply shares, borrow assets) of the market at `at`, as the report uses them.

        Collateral alone bears no interest, so that its report survives a market that has outgrown itself.
        """
        if self.shares or self.debt_shares:
            return self.market.totals(at)
        return self.market.stored_totals(at)

    def shared(self) -> Mapping[StateKey, Any]:
        """The market."""
        return {market_key(self.params.morpho, self.params.market): self.market}

    def with_shared(self, states: Mapping[StateKey, Any]) -> MorphoBluePosition:
        """The same holding on a newer state of the market."""
        key = market_key(self.params.morpho, self.params.market)
        return replace(self, market=states.get(key, self.market))

    def accrued(self, at: int) -> MorphoBluePosition:
        """The same holding on the market as of `at`."""
        return replace(self, market=self.market.accrue(at))

    def _owed(self, borrow_assets: int) -> int:
        owed = self.debt_shares * (borrow_assets + VIRTUAL_ASSETS)
        return -(-owed // (self.market.borrow_shares + VIRTUAL_SHARES))

    def _health(self, owed: int, price: int) -> int:
        worth = self.collateral * price
        if worth > MAX_UINT256:
            return MAX_UINT256
        return worth // ORACLE_SCALE * self.params.market.lltv // WAD * WAD // owed

    def _require_health(self, moved: MorphoBluePosition, at: int) -> None:
        """`Morpho._isHealthy`, and `keepsHealth` of our connector: below its floor nothing may lower it."""
        before, after = self.health(at), moved.health(at)
        if moved.debt_shares and moved.collateral * (moved.oracle_price or 0) > MAX_UINT256:
            raise self._refused("Morpho cannot count collateral of such a price", "a product of 256 bits")
        if after < WAD:
            raise self._refused(
                "Morpho would not call this position healthy", f"{WAD:,} wad of health", after
            )
        if after < self.min_health and after < before:
            expected = f"{self.min_health:,} wad of health"
            raise self._refused(
                "The position's health would fall below the connector's floor", expected, after
            )

    def _require_borrowable(self) -> None:
        if not self.params.borrowable:
            raise self._refused(
                "The connector lists this market only to be supplied", "a market to borrow from"
            )

    def _require_fair_repayment(self, now: Market, burnt: int, repaid: int) -> None:
        if now.debt_up(burnt) + 1 < repaid:
            raise self._too_dear(repaid, now.debt_up(burnt))

    def _withdrawn(
        self, before: Market, market: Market, burnt: int, received: int
    ) -> tuple[MorphoBluePosition, int]:
        worth = before.assets_down(burnt)
        if worth > received + 1:
            raise self._too_dear(received, worth)
        return replace(self, market=market, shares=self.shares - burnt), received

    def _repaid(self, now: Market, shares: int) -> tuple[MorphoBluePosition, int]:
        if not shares:
            return replace(self, market=now), 0
        market, paid = now.repay_shares_of(shares, now.last_update)
        return replace(self, market=market, debt_shares=self.debt_shares - shares), paid

    def _too_dear(self, assets: int, worth: int) -> PlanError:
        """One share costs so much that rounding takes more than a unit."""
        return self._refused("The rounding of shares would cost too much", f"{assets:,} units, 1 less", worth)

    def _refused(self, what: str, expected: str = "", seen: object = None) -> PlanError:
        shown = f"{seen:,}" if isinstance(seen, int) else seen
        return PlanError(what, expected=expected or None, seen=shown, where=self.ref.venue)
