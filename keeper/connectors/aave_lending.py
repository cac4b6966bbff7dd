"""A connector's whole account at an Aave v3 pool, seen from one of its keys, mirrored to the wei.

Mirrors `AaveV3Connector.report`: a debt belongs to the account and comes off the keys one after the other;
unclaimed rewards count at the high end only. Actions follow the pool (`keeper.connectors.aave_pool`) with
the floor of health of our `LendingConnector`.

The gas that a report has left for its health is not mirrored. Where strangers have supplied so many reserves
for the account that it does not suffice, the connector reports a health of 0 and we another: nothing is
proposed until somebody calls `dropGift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from keeper.connectors.aave_account import AccountData
from keeper.connectors.aave_params import AaveParams, AccountParams
from keeper.connectors.aave_pool import Balances, PoolAccount
from keeper.connectors.base import Leg, PositionRef, Report, Role, StateKey
from keeper.errors import PlanError
from keeper.oracle.quote import UNAVAILABLE, Prices, Quote, Status
from keeper.units import MAX_UINT256, RAY, WAD, Address

MAX_DEBT: Final = 2**112 - 1
MAX_HEALTH: Final = 2**128 - 1
"""Where `ReportLib.pack` saturates."""


class Equity(NamedTuple):
    """What a key owns and which part of the account's debts it bears, as `Connector.Equity`.

    `earlier` is what keys before it bear, at the high end as `total`, the debts of the account.
    """

    assets_low: int
    assets_high: int
    debt_low: int
    debt_high: int
    status: Status
    earlier: int
    total: int


@dataclass(frozen=True)
class AaveAccountPosition:
    """One key of an account; the positions of a connector's other keys rest on the same `pool` account."""

    ref: PositionRef
    params: AaveParams
    terms: AccountParams
    pool: PoolAccount
    prices: Prices

    # VALUE

    def report(self, at: int) -> Report:
        """`AaveV3Connector.report(key)` at `at`."""
        supplied, owed = self.pool.balances(at)
        if self.pool.account.borrows:
            report = self._net(self._equity(supplied, owed), supplied, owed)
        else:
            asset = self.params.asset
            quote = self.prices.worth(asset, supplied.get(asset, 0))
            report = Report(quote.low, quote.high, quote.status)
        if not self.terms.rewards:
            return report
        earned = sum(quote.high for _, _, quote in self._unclaimed(at))
        return replace(report, high=min(report.high + earned, MAX_UINT256))

    def account_data(self, at: int) -> AccountData | None:
        """The pool's totals and health of the whole account; None where it misses a price."""
        return self.pool.data(*self.pool.balances(at))

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The supply, this key's part of each debt, and what has been earned and not claimed."""
        supplied, owed = self.pool.balances(at)
        asset = self.params.asset
        legs = []
        if amount := supplied.get(asset, 0):
            account = self.pool.account
            secures = account.borrows and account.uses_as_collateral(self.pool.reserves[asset])
            role = Role.COLLATERAL if secures else Role.SUPPLIED
            legs.append(_leg(role, asset, amount, self.prices.worth(asset, amount)))
        if self._borrowed:
            legs += self._debts(self._equity(supplied, owed), owed)
        legs += [_leg(Role.REWARDS, token, amount, quote) for token, amount, quote in self._unclaimed(at)]
        return tuple(legs)

    def _equity(self, supplied: Balances, owed: Balances) -> Equity:
        """`_inDebt`: each key bears what it can, the last all that is left; what has or bears anything is in
        doubt with the keys before it."""
        worth = self.prices.worth
        low = high = 0
        worst = doubt = Status.OK
        for asset in self._borrowed:
            quote = worth(asset, owed.get(asset, 0))
            low, high = min(low + quote.low, MAX_UINT256), min(high + quote.high, MAX_UINT256)
            worst = max(worst, quote.status)
        total = high
        keys = self.terms.keys
        for key in keys:
            quote = worth(key, supplied.get(key, 0))
            if key == keys[-1]:
                debt_low, debt_high = low, high
            else:
                debt_low, debt_high = min(low, quote.high), min(high, quote.low)
            if key == self.params.asset:
                break
            low, high = low - debt_low, high - debt_high
            doubt = max(doubt, quote.status)
        status = max(worst, quote.status)
        if quote.low or debt_high:
            status = max(status, doubt)
        return Equity(quote.low, quote.high, debt_low, debt_high, status, total - high, total)

    def _net(self, own: Equity, supplied: Balances, owed: Balances) -> Report:
        """`Connector._net` and `ReportLib.pack`: without a price the debt is at its high end."""
        low = max(0, own.assets_low - own.debt_high)
        high = max(0, own.assets_high - own.debt_low)
        debt = own.debt_high if own.status is Status.UNAVAILABLE else own.debt_low
        if debt == 0:
            return Report(low, high, own.status)
        # A report goes on without a health factor, at the worst there is.
        data = self.pool.data(supplied, owed)
        health = 0 if data is None else min(data.health, MAX_HEALTH)
        return Report(low, high, own.status, min(debt, MAX_DEBT), health)

    def _debts(self, own: Equity, owed: Balances) -> list[Leg]:
        """This key's part of every debt, by worth, so that over all keys nothing is lost or counted twice."""
        if own.total == 0:
            # Worth nothing, and so nothing of it is taken off any key: the last one shows it.
            first, last = (0, 1) if self.params.asset == self.terms.keys[-1] else (0, 0)
            total = 1
        else:
            first, last, total = own.earlier, own.earlier + own.debt_high, own.total
        legs = []
        for asset in self._borrowed:
            quote = self.prices.worth(asset, owed.get(asset, 0))
            amount, low, high = (
                part * last // total - part * first // total
                for part in (owed.get(asset, 0), quote.low, quote.high)
            )
            if amount:
                legs.append(Leg(Role.BORROWED, asset, amount, low, high, quote.status))
        return legs

    def _unclaimed(self, at: int) -> list[tuple[Address, int, Quote]]:
        """(reward, amount, worth at the high end) of what this key's tokens have earned.

        A reward of which a stream could not be read counts nothing, as where the controller reverts; one
        without a price too: no status of a reward says anything of the position.
        """
        account = self.pool.account
        earned = []
        for reward in self.terms.rewards:
            amount = 0
            for asset, of_debt in self._rewarded:
                stream = account.streams.get((asset, of_debt, reward))
                if stream is None:
                    break
                amount += stream.unclaimed(*self.pool.held(asset, of_debt), at)
            else:
                if amount:
                    earned.append((reward, amount, _high_or_nothing(self.prices, reward, amount)))
        return earned

    @cached_property
    def _borrowed(self) -> tuple[Address, ...]:
        """Borrowable assets that have been borrowed."""
        pool = self.pool
        return tuple(
            asset for asset in self.terms.borrowable if pool.account.has_borrowed(pool.reserves[asset])
        )

    @cached_property
    def _rewarded(self) -> tuple[tuple[Address, bool], ...]:
        return self.params.rewarded(self.params.asset)

    @cached_property
    def _incentivised(self) -> tuple[tuple[Address, bool], ...]:
        """Whose rewards are claimed: of every key's tokens."""
        return tuple(token for key in self.terms.keys for token in self.params.rewarded(key))

    # ACTIONS

    def supply_rate(self, delta: int, at: int) -> int:
        """The liquidity rate that the pool would store after our move, ray rounded down to wad."""
        rate, _ = self.pool.reserves[self.params.asset].accrue(at).rates_after(delta)
        return rate // (RAY // WAD)

    def after_supply(self, assets: int, at: int) -> AaveAccountPosition:
        """State after a supply to the key's reserve; the first one may become collateral by itself."""
        return replace(self, pool=self.pool.supply(self.params.asset, assets, at))

    def after_withdraw(self, assets: int, at: int) -> tuple[AaveAccountPosition, int]:
        """(state after, assets received). Refused where it would leave too little health, but not
        for want of a price: without one the pool itself lets go no more than what secures no debt."""
        moved, received = self.pool.withdraw(self.params.asset, assets, at)
        if not self.pool.account.borrows or self.account_data(at) is not None:
            self._require_floor(moved, at)
        return replace(self, pool=moved), received

    def after_borrow(self, asset: Address, assets: int, at: int) -> AaveAccountPosition:
        """State after `assets` of a borrowable asset are lent to the portfolio in a block of time `at`.

        Raises PlanError when the pool, or the connector's floor of health, would refuse.
        """
        self._require_borrowable(asset)
        moved = self.pool.borrow(asset, assets, at)
        self._require_floor(moved, at)
        return replace(self, pool=moved)

    def after_repay(self, asset: Address, assets: int, at: int) -> tuple[AaveAccountPosition, int]:
        """(state after, what the debt took) when up to `assets`, or EVERYTHING that is owed, are repaid.

        A debt that is smaller, or none, is no error: the rest goes back to the portfolio.
        """
        self._require_borrowable(asset)
        moved, repaid = self.pool.repay(asset, assets, at)
        return replace(self, pool=moved), repaid

    @property
    def owes(self) -> Address:
        """The key's own asset, if the account may borrow it."""
        return self.params.asset

    def owed(self, at: int) -> int:
        """What the account owes of it."""
        return self.pool.balances(at)[1].get(self.params.asset, 0)

    def worst_health(self, at: int) -> int:
        """That of the whole account: by the pool's prices, or by the vault's if those say less."""
        if not self.pool.account.borrows:
            return MAX_UINT256
        supplied, owed = self.pool.balances(at)
        data = self.pool.data(supplied, owed)
        if data is None:
            return 0
        account, reserves, worth = self.pool.account, self.pool.reserves, self.prices.worth
        debts = [worth(asset, owed.get(asset, 0)) for asset in self._borrowed]
        debt = sum(each.high for each in debts)
        if not debt or any(each.status is Status.UNAVAILABLE for each in debts):
            return data.health
        pledged = {
            key: worth(key, supplied.get(key, 0))
            for key in self.terms.keys
            if account.uses_as_collateral(reserves[key])
        }
        if any(each.status is Status.UNAVAILABLE for each in pledged.values()):
            return data.health
        return min(data.health, self.pool.health_by({key: each.low for key, each in pledged.items()}, debt))

    def after_repaying(self, assets: int, at: int) -> tuple[AaveAccountPosition, int]:
        """`after_repay` of the key's own asset."""
        return self.after_repay(self.params.asset, assets, at)

    @property
    def pledge(self) -> Address:
        """The key's asset."""
        return self.params.asset

    @property
    def frees(self) -> str:
        """A withdrawal: what is supplied is the collateral."""
        return "withdraw"

    @property
    def foreign(self) -> bool:
        """Whether that is another token than the vault's asset."""
        return self.pledge != self.prices.asset

    def pledged(self, at: int) -> int:
        """The supply, as far as the pool lets it go, if it is used as collateral."""
        asset, account = self.params.asset, self.pool.account
        reserve = self.pool.reserves[asset]
        if not account.uses_as_collateral(reserve):
            return 0
        return reserve.max_withdraw(account.supplied.get(asset, 0), at)

    def after_freeing(self, assets: int, at: int) -> tuple[AaveAccountPosition, int]:
        """`after_withdraw`."""
        return self.after_withdraw(assets, at)

    def claimable(self, at: int) -> Mapping[Address, int]:
        """What `claimRewards` would bring of each reward, of the connector's whole account; without those
        that cannot be read, or have earned nothing."""
        streams = self.pool.account.streams
        readable = [
            reward
            for reward in self.terms.rewards
            if all((*token, reward) in streams for token in self._incentivised)
        ]
        found = {reward: self.pool.claim(self._incentivised, reward, at)[1] for reward in readable}
        return {reward: amount for reward, amount in found.items() if amount}

    def after_claim(self, reward: Address, at: int) -> tuple[AaveAccountPosition, int]:
        """(state after, what it brings) when all of a listed reward is claimed, for all keys at once."""
        if reward not in self.terms.rewards:
            raise PlanError(
                "The connector does not claim this reward",
                expected=" or ".join(self.terms.rewards) or "none",
                seen=reward,
                where=self.ref.venue,
            )
        pool, paid = self.pool.claim(self._incentivised, reward, at)
        return replace(self, pool=pool), paid

    def max_withdraw(self, at: int) -> int:
        """The most that may leave: our balance, the reserve's liquidity, and what health allows."""
        asset, account = self.params.asset, self.pool.account
        reserve = self.pool.reserves[asset]
        most = reserve.max_withdraw(account.supplied.get(asset, 0), at)
        if most == 0 or not (account.borrows and account.uses_as_collateral(reserve)):
            return most
        # Less collateral is never more health, so what is allowed is everything up to some amount.
        allowed, refused = 0, most + 1
        probe = most
        while refused - allowed > 1:
            if self._may_withdraw(probe, at):
                allowed = probe
            else:
                refused = probe
            probe = (allowed + refused) // 2
        return allowed

    def max_supply(self, at: int) -> int:
        """Room under the supply cap; 0 when frozen or paused."""
        return self.pool.reserves[self.params.asset].max_supply(at)

    def shared(self) -> Mapping[StateKey, Any]:
        """The account and every reserve it may touch."""
        states: dict[StateKey, Any] = {self._account_key: self.pool.account}
        for asset, reserve in self.pool.reserves.items():
            states[state_key(self.params.pool, asset)] = reserve
        return states

    def with_shared(self, states: Mapping[StateKey, Any]) -> AaveAccountPosition:
        """The same key on newer state of the account and of the reserves."""
        pool = self.pool
        reserves = {
            asset: states.get(state_key(self.params.pool, asset), reserve)
            for asset, reserve in pool.reserves.items()
        }
        account = states.get(self._account_key, pool.account)
        return replace(self, pool=replace(pool, reserves=reserves, account=account))

    def accrued(self, at: int) -> AaveAccountPosition:
        """The same account on reserves as of `at`."""
        reserves = {asset: reserve.accrue(at) for asset, reserve in self.pool.reserves.items()}
        return replace(self, pool=replace(self.pool, reserves=reserves))

    @property
    def _account_key(self) -> StateKey:
        return "aave_v3", self.params.pool, "account", self.ref.address

    def _may_withdraw(self, assets: int, at: int) -> bool:
        try:
            self.after_withdraw(assets, at)
        except PlanError:
            return False
        return True

    def _require_borrowable(self, asset: Address) -> None:
        if asset not in self.terms.borrowable:
            raise PlanError(
                "The connector does not borrow this asset",
                expected=" or ".join(self.terms.borrowable) or "none",
                seen=asset,
                where=self.ref.venue,
            )

    def _require_floor(self, moved: PoolAccount, at: int) -> None:
        """`LendingConnector.keepsHealth`: what lowers health must leave the connector's floor."""
        health = moved.health(at)
        if health < self.terms.min_health and health < self.pool.health(at):
            raise PlanError(
                "The connector would refuse this: it leaves too little health",
                expected=f"at least {self.terms.min_health}",
                seen=health,
                where=self.ref.venue,
                hint="Repay, or move less.",
            )


def state_key(pool: Address, asset: Address) -> StateKey:
    """Name of a reserve's state."""
    return "aave_v3", pool, asset


def _leg(role: Role, token: Address, amount: int, quote: Quote) -> Leg:
    return Leg(role, token, amount, quote.low, quote.high, quote.status)


def _high_or_nothing(prices: Prices, token: Address, amount: int) -> Quote:
    """`Connector._highOrNothing`: the most that it may be worth, as far as there is a price."""
    if token == prices.asset:
        return Quote(0, amount, Status.OK)
    rate = prices.rates.get(token)
    quote = UNAVAILABLE if rate is None else rate.worth(amount)
    high = 0 if quote.status is Status.UNAVAILABLE else quote.high
    return Quote(0, high, quote.status)
