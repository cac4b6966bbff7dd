"""Bounds of a policy beyond positions and caps: times, fees, daily budgets, arguments, who may do what."""

from typing import Annotated, Final

from pydantic import Field, model_validator

from keeper.config import CheckedAddress, StrictModel
from keeper.units import BPS

DAY: Final = 86_400

Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, gt=0)]


class TimePolicy(StrictModel):
    """Seconds on the hub chain's clock. A plan is valid from its reference time T until T plus `validity`;
    signers refuse a T older than `max_reference_age` or further ahead than `max_clock_skew`."""

    validity: Positive
    max_reference_age: Positive
    max_clock_skew: Count

    @model_validator(mode="after")
    def _age_within_validity(self) -> "TimePolicy":
        if self.max_reference_age > self.validity:
            raise ValueError("max_reference_age exceeds validity: plans would expire before they are too old")
        return self


class FeePolicy(StrictModel):
    """The most that a transaction may pay, in wei per gas. It carries no native currency: there is no key
    for a value."""

    max_fee_per_gas: Positive
    max_priority_fee_per_gas: Count

    @model_validator(mode="after")
    def _tip_within_fee(self) -> "FeePolicy":
        if self.max_priority_fee_per_gas > self.max_fee_per_gas:
            raise ValueError("max_priority_fee_per_gas exceeds max_fee_per_gas")
        return self


class BudgetPolicy(StrictModel):
    """What plans may do in a day, counted over all that are signed (`keeper.planning.budgets`).

    `moved` is in the vault's asset, `gas` in wei. `venues` divides `moved`: its parts sum to it.
    """

    moved: Count
    plans: Positive
    gas: Positive | None = None
    venues: dict[str, Count] | None = None

    @model_validator(mode="after")
    def _sums(self) -> "BudgetPolicy":
        if self.venues is not None and (total := sum(self.venues.values())) != self.moved:
            raise ValueError(f"venues sum to {total:,}, and moved is {self.moved:,}")
        return self


class Bound(StrictModel):
    """What one argument of a call may be. A full exit is an amount of 2^256 - 1, above any `max`."""

    min: Count | None = None
    max: Count | None = None
    values: tuple[Count, ...] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Bound":
        if self.min is None and self.max is None and self.values is None:
            raise ValueError("a bound without min, max or values bounds nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:,} exceeds max {self.max:,}")
        if self.values is not None and not all(self.allows(value) for value in self.values):
            raise ValueError("values has one that min and max do not allow")
        return self

    def allows(self, value: int) -> bool:
        """Whether the argument may be that."""
        return (
            (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
            and (self.values is None or value in self.values)
        )

    def __str__(self) -> str:
        parts = []
        if self.min is not None:
            parts.append(f"at least {self.min:,}")
        if self.max is not None:
            parts.append(f"at most {self.max:,}")
        if self.values is not None:
            parts.append(" or ".join(f"{value:,}" for value in self.values))
        return ", ".join(parts)


CALLS_OF_A_SALE: Final = 3
"""Of a defence that sells collateral: withdraw, swap, repay."""


class HealthPolicy(StrictModel):
    """When debts come before everything else. Health is in bps: 10,000 is where liquidation begins.

    A position that is below `floor_bps` is brought back to `target_bps`. Plans for it have a `nonce_key` of
    their own, so that they wait for no other.
    """

    floor_bps: Annotated[int, Field(strict=True, gt=BPS)]
    target_bps: Positive
    nonce_key: Count

    @model_validator(mode="after")
    def _apart(self) -> "HealthPolicy":
        if self.target_bps <= self.floor_bps:
            raise ValueError("target_bps has to be above floor_bps")
        return self


class HarvestPolicy(StrictModel):
    """When the keeper harvests by itself: `min_worth` is the least that a token's sale must bring, after the
    gas, in the vault's asset."""

    min_worth: Positive


class GuardianPolicy(StrictModel):
    """Who may lower risk at once."""

    address: CheckedAddress


class GovernorPolicy(StrictModel):
    """Who may raise risk, `delay` seconds after announcing it."""

    address: CheckedAddress
    delay: Positive
