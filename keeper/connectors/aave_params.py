"""What the Aave v3 mirror is told of a connector, its pool and the reserves its account may touch."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from keeper.config import CheckedAddress
from keeper.units import Address


class ReserveParams(BaseModel):
    """A reserve of the pool by its tokens. `decimals`, where given, must be those of the pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    asset: CheckedAddress
    a_token: CheckedAddress
    variable_debt_token: CheckedAddress
    decimals: int | None = None


class AccountParams(BaseModel):
    """A connector that supplies to several reserves, borrows, or claims rewards.

    `keys`, `borrowable` and `rewards` are assets in the order of the connector's constructor: debts come off
    the keys in that order. `reserves` describes all of them but the position's own, and any other reserve of
    the pool that may turn up in the account: what a stranger supplies to it may become collateral. `e_modes`
    lists every category that it may enter. `sentinel` is the pool's price sentinel, where it has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[CheckedAddress, ...]
    borrowable: tuple[CheckedAddress, ...] = ()
    rewards: tuple[CheckedAddress, ...] = ()
    reserves: tuple[ReserveParams, ...] = ()
    e_modes: tuple[int, ...] = ()
    addresses_provider: CheckedAddress
    oracle: CheckedAddress
    sentinel: CheckedAddress | None = None
    rewards_controller: CheckedAddress | None = None
    min_health: int


class AaveParams(BaseModel):
    """Where the position's reserve lives, and `account` for a connector that does more than supply to it.

    Tokens and rate strategy are checked against the pool's own answer at every read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: CheckedAddress
    asset: CheckedAddress
    a_token: CheckedAddress
    variable_debt_token: CheckedAddress
    rate_strategy: CheckedAddress
    decimals: int | None = None
    account: AccountParams | None = None

    @cached_property
    def reserves(self) -> tuple[ReserveParams, ...]:
        """Every reserve that is read, the position's own first."""
        own = ReserveParams(
            asset=self.asset,
            a_token=self.a_token,
            variable_debt_token=self.variable_debt_token,
            decimals=self.decimals,
        )
        return (own, *(self.account.reserves if self.account else ()))

    def rewarded(self, key: Address) -> tuple[tuple[Address, bool], ...]:
        """Whose rewards the report of `key` counts: of its supply, then of the debts (true) that go with it.

        What is borrowed of a reserve that is no key goes with the first key (`_addBorrowable`).
        """
        account = self.account
        if account is None:
            return ()
        debts = (
            (asset, True)
            for asset in account.borrowable
            if key == (asset if asset in account.keys else account.keys[0])
        )
        return ((key, False), *debts)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        assets = [each.asset for each in self.reserves]
        repeated = {asset for asset in assets if assets.count(asset) > 1}
        if repeated:
            raise ValueError(f"reserves: {', '.join(sorted(repeated))} is there twice")
        account = self.account
        if account is None:
            return self
        for name in ("keys", "borrowable", "rewards"):
            listed = getattr(account, name)
            if len(set(listed)) < len(listed):
                raise ValueError(f"account.{name}: an asset is there twice")
        if self.asset not in account.keys:
            raise ValueError(f"account.keys: the position's own asset {self.asset} is not among them")
        unknown = {*account.keys, *account.borrowable} - set(assets)
        if unknown:
            raise ValueError(f"account.reserves: {', '.join(sorted(unknown))} is not described")
        if account.rewards and account.rewards_controller is None:
            raise ValueError("account.rewards_controller: is needed to know what has been earned")
        return self
