"""An account at an Aave v3.6 pool together with the reserves it may touch, and its moves.

Sources: `SupplyLogic`, `BorrowLogic`, `IsolationModeLogic`, `ValidationLogic`. Every move raises PlanError
where the pool would refuse it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from keeper.connectors.aave_account import (
    BORROWING,
    COLLATERAL,
    Account,
    AccountData,
    Line,
    account_data,
    account_lines,
    reserve_ltv,
)
from keeper.connectors.aave_math import debt_balance_up, percent_div_up, supply_balance_down
from keeper.connectors.aave_reserve import Reserve
from keeper.errors import PlanError
from keeper.units import BPS, MAX_UINT256, WAD, Address

_BORROWED, _COLLATERAL = 1, 2
_CEILING_UNIT: Final = 100

Balances = Mapping[Address, int]


@dataclass(frozen=True)
class PoolAccount:
    """`reserves` and `prices`, the pool's own of one whole token, None where it has none, are by asset;
    `may_borrow` is what the pool's price sentinel says; `where` names the account in errors."""

    reserves: Mapping[Address, Reserve]
    account: Account
    prices: Mapping[Address, int | None]
    may_borrow: bool
    where: str

    # VALUE

    def balances(self, at: int) -> tuple[Balances, Balances]:
        """What is supplied and owed at `at`, by asset."""
        reserves = self.reserves
        supplied = {
            asset: supply_balance_down(scaled, reserves[asset].income_index(at))
            for asset, scaled in self.account.supplied.items()
        }
        owed = {
            asset: debt_balance_up(scaled, reserves[asset].debt_index(at))
            for asset, scaled in self.account.owed.items()
        }
        return supplied, owed

    def data(self, supplied: Balances, owed: Balances) -> AccountData | None:
        """The pool's totals and health at these balances; None where a price is missing."""
        return account_data(self._lines, supplied, owed)

    def health(self, at: int) -> int:
        """Health factor in wad, the greatest number without debt. Raises PlanError without a price."""
        if not self.account.borrows:
            return MAX_UINT256
        return self._data(at).health

    def health_by(self, collateral: Balances, debt: int) -> int:
        """Health in wad by another's prices: what each collateral is worth, and all debts together, which are
        not 0. Thresholds are the pool's."""
        weighted = sum(collateral.get(line.asset, 0) * line.threshold for line in self._lines)
        return weighted * WAD // (BPS * debt)

    def held(self, asset: Address, of_debt: bool) -> tuple[int, int]:
        """(our scaled balance, all of them) of a reserve's receipt token, or of its debt token."""
        reserve = self.reserves[asset]
        if of_debt:
            return self.account.owed.get(asset, 0), reserve.scaled_variable_debt
        return self.account.supplied.get(asset, 0), reserve.scaled_supply

    @cached_property
    def _lines(self) -> tuple[Line, ...]:
        return account_lines(self.account, self.reserves, self.prices)

    # MOVES

    def supply(self, asset: Address, assets: int, at: int) -> PoolAccount:
        """`executeSupply`: the first supply of a reserve may become collateral by itself."""
        reserve, minted = self.reserves[asset].supply(assets, at, self.where)
        first = asset not in self.account.supplied
        moved = self._with(asset, reserve, at, supplied=minted)
        return moved._flagged(reserve, _COLLATERAL, True) if first and self._secures(reserve) else moved

    def withdraw(self, asset: Address, assets: int, at: int) -> tuple[PoolAccount, int]:
        """`executeWithdraw`, as our connector asks for it: (state after, assets received)."""
        scaled = self.account.supplied.get(asset, 0)
        reserve, burnt, received = self.reserves[asset].withdraw(scaled, assets, at, self.where)
        moved = self._with(asset, reserve, at, supplied=-burnt)
        if not self.account.uses_as_collateral(reserve):
            return moved, received
        if burnt == scaled:
            moved = moved._flagged(reserve, _COLLATERAL, False)
        if moved.account.borrows:
            data = moved._data(at)
            if data.health < WAD:
                raise self._refused("health would fall to where liquidation begins", WAD, data.health)
            if data.zero_ltv and reserve_ltv(reserve, self.account.mode):
                raise self._refused("collateral that has lost its loan to value must leave first")
        return moved, received

    def borrow(self, asset: Address, assets: int, at: int) -> PoolAccount:
        """`executeBorrow`."""
        mode = self.account.mode
        before = self.reserves[asset]
        reserve, minted = before.borrow(assets, at, mode.borrowable if mode.category else None, self.where)
        self._require_not_siloed(before)
        if not self.may_borrow:
            raise self._refused("nothing is lent while the sequencer is down or has just come back")
        moved = self._with(asset, reserve, at, owed=minted)._flagged(reserve, _BORROWED, True)
        moved = moved._isolated(reserve, assets)
        data = moved._data(at)
        if data.ltv == 0 or data.health < WAD or data.collateral < percent_div_up(data.debt, data.ltv):
            raise self._refused("the collateral does not cover the loan", data.collateral, data.debt)
        return moved

    def repay(self, asset: Address, assets: int, at: int) -> tuple[PoolAccount, int]:
        """`executeRepay` of `assets`, or of the debt where that is less: (state after, assets it took)."""
        scaled = self.account.owed.get(asset, 0)
        before = self.reserves[asset]
        repaid = min(assets, debt_balance_up(scaled, before.debt_index(at)))
        if repaid == 0:
            return self, 0
        reserve, burnt = before.repay(repaid, scaled, at, self.where)
        moved = self._with(asset, reserve, at, owed=-burnt)
        if burnt == scaled:
            moved = moved._flagged(reserve, _BORROWED, False)
        return moved._isolated(reserve, -repaid), repaid

    def claim(
        self, tokens: Collection[tuple[Address, bool]], reward: Address, at: int
    ) -> tuple[PoolAccount, int]:
        """`claimRewards` of all that these tokens, as (asset, of its debt), have earned of `reward`: (state
        after, what it pays). Their other rewards are counted up to `at` as well."""
        streams = {
            name: stream.settled(*self.held(*name[:2]), at) if name[:2] in tokens else stream
            for name, stream in self.account.streams.items()
        }
        paid = 0
        for token in tokens:
            stream = streams.get((*token, reward))
            if stream is None:
                raise self._refused("what has been earned cannot be read", "an answer", "none")
            paid += stream.accrued
            streams[*token, reward] = replace(stream, accrued=0)
        return replace(self, account=replace(self.account, streams=streams)), paid

    def _with(
        self, asset: Address, reserve: Reserve, at: int, *, supplied: int = 0, owed: int = 0
    ) -> PoolAccount:
        """With a reserve's new state and our scaled balances changed; rewards are counted up to `at`."""
        account = self.account
        streams = {
            name: stream.settled(*self.held(asset, name[1]), at)
            if name[0] == asset and (owed if name[1] else supplied)
            else stream
            for name, stream in account.streams.items()
        }
        account = replace(
            account,
            supplied=_changed(account.supplied, asset, supplied),
            owed=_changed(account.owed, asset, owed),
            streams=streams,
        )
        return replace(self, reserves={**self.reserves, asset: reserve}, account=account)

    def _flagged(self, reserve: Reserve, bit: int, value: bool) -> PoolAccount:
        mask = bit << 2 * reserve.id
        bits = self.account.configuration
        bits = bits | mask if value else bits & ~mask
        return replace(self, account=replace(self.account, configuration=bits))

    # CHECKS

    def _data(self, at: int) -> AccountData:
        data = self.data(*self.balances(at))
        if data is None:
            raise self._refused("a price is missing, so it knows no health")
        return data

    def _secures(self, reserve: Reserve) -> bool:
        """`validateAutomaticUseAsCollateral`."""
        if reserve.settings.debt_ceiling or reserve_ltv(reserve, self.account.mode) == 0:
            return False
        return self._isolation() is None

    def _isolation(self) -> Address | None:
        """The only collateral, where debts against it are under a ceiling (`getIsolationModeState`)."""
        bits = self.account.configuration & COLLATERAL
        if bits == 0 or bits & bits - 1:
            return None
        return next(
            (
                asset
                for asset, reserve in self.reserves.items()
                if self.account.uses_as_collateral(reserve) and reserve.settings.debt_ceiling
            ),
            None,
        )

    def _isolated(self, lent: Reserve, assets: int) -> PoolAccount:
        """After `assets` of `lent` are borrowed, or repaid (< 0), against collateral in isolation."""
        asset = self._isolation()
        if asset is None:
            return self
        collateral = self.reserves[asset]
        units = abs(assets) * _CEILING_UNIT // 10**lent.settings.decimals
        if assets < 0:
            owed = max(0, collateral.isolation_debt - units)
        else:
            owed = collateral.isolation_debt + units
            if not lent.settings.isolation_borrowable or owed > collateral.settings.debt_ceiling:
                ceiling = collateral.settings.debt_ceiling
                raise self._refused("isolated collateral does not bear this loan", ceiling, owed)
        return replace(self, reserves={**self.reserves, asset: replace(collateral, isolation_debt=owed)})

    def _require_not_siloed(self, lent: Reserve) -> None:
        """A siloed asset is borrowed alone (`validateBorrow`)."""
        bits = self.account.configuration & BORROWING
        borrowed = [each for each in self.reserves.values() if self.account.has_borrowed(each)]
        if bits == 0:
            return
        if bits & bits - 1 == 0 and borrowed[0].settings.siloed:
            alone = borrowed[0].id == lent.id
        else:
            alone = not lent.settings.siloed
        if not alone:
            raise self._refused("a siloed asset is not borrowed together with another")

    def _refused(self, why: str, expected: object = None, seen: object = None) -> PlanError:
        return PlanError(f"Aave would refuse this: {why}", expected=expected, seen=seen, where=self.where)


def _changed(balances: Balances, asset: Address, change: int) -> Balances:
    """Balances without those that are 0."""
    if not change:
        return balances
    return {name: each for name, each in {**balances, asset: balances.get(asset, 0) + change}.items() if each}
