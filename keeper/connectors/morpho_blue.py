"""Morpho Blue supply positions, mirrored to the wei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.chain.call import Call
from keeper.connectors.base import (
    EVERYTHING,
    AddressField,
    Leg,
    PositionRef,
    Read,
    Report,
    StateKey,
    must_match,
    parse_params,
    required,
    supplied,
)
from keeper.connectors.morpho_market import MAX_UINT128, Market, MarketParams
from keeper.contracts import Function
from keeper.errors import PlanError
from keeper.oracle.quote import Prices
from keeper.units import Address

_MARKET: Final = Function("market(bytes32)", "(uint128,uint128,uint128,uint128,uint128,uint128)")
_POSITION: Final = Function("position(bytes32,address)", "(uint256,uint128,uint128)")
_RATE_AT_TARGET: Final = Function("rateAtTarget(bytes32)", "(int256)")


class MorphoBlueParams(BaseModel):
    """The Morpho Blue singleton and the market; the market's id must be the reference's key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    morpho: AddressField
    market: MarketParams


def market_calls(morpho: Address, market: MarketParams, holder: Address) -> tuple[Call[Any], ...]:
    """Stored state of a market, a holder's position in it and, unless idle, its rate model's memory."""
    stored = (
        _MARKET.at(morpho, market.id, owner="Morpho"),
        _POSITION.at(morpho, market.id, holder, owner="Morpho"),
    )
    if not market.has_irm:
        return stored
    return (*stored, _RATE_AT_TARGET.at(market.irm, market.id, owner="AdaptiveCurveIrm"))


def read_market(
    morpho: Address, market: MarketParams, holder: Address, read: Read, ref: PositionRef
) -> tuple[Market, int]:
    """(market, supply shares of the holder) from `market_calls`."""
    results = [required(read, call, ref) for call in market_calls(morpho, market, holder)]
    supply_assets, supply_shares, borrow_assets, borrow_shares, last_update, fee = results[0]
    state = Market(
        supply_assets=supply_assets,
        supply_shares=supply_shares,
        borrow_assets=borrow_assets,
        borrow_shares=borrow_shares,
        last_update=last_update,
        fee=fee,
        rate_at_target=results[2] if market.has_irm else 0,
        has_irm=market.has_irm,
    )
    return state, results[1][0]


def market_key(morpho: Address, market: MarketParams) -> StateKey:
    """Name of a market among shared states."""
    return "morpho_blue", morpho, market.id.hex()


@dataclass(frozen=True)
class MorphoBluePosition:
    """Supply shares of our connector in one market."""

    ref: PositionRef
    params: MorphoBlueParams
    market: Market
    shares: int

    def report(self, at: int) -> Report:
        """`MorphoBalancesLib.expectedSupplyAssets` of our connector at `at`, rounded down."""
        assets = self.market.accrue(at).assets_down(self.shares)
        return Report(assets, assets)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """What is supplied."""
        return supplied(self.params.market.loan_token, self.report(at))

    def supply_rate(self, delta: int, at: int) -> int:
        """See `Market.supply_rate`."""
        return self.market.supply_rate(delta, at)

    def after_supply(self, assets: int, at: int) -> MorphoBluePosition:
        """`Morpho.supply` by assets: the shares minted are rounded down."""
        if not 0 < assets <= self.max_supply(at):
            raise PlanError(
                "Morpho would refuse this supply",
                expected=f"1 to {self.max_supply(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
            )
        market, minted = self.market.supply(assets, at)
        return replace(self, market=market, shares=self.shares + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[MorphoBluePosition, int]:
        """`Morpho.withdraw`: by assets, with the shares burnt rounded up; by shares on a full exit."""
        if assets == EVERYTHING and self.shares:
            market, received = self.market.redeem(self.shares, at)
            return replace(self, market=market, shares=0), received
        if not 0 < assets <= self.max_withdraw(at):
            raise PlanError(
                "Morpho would refuse this withdrawal",
                expected=f"1 to {self.max_withdraw(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
                hint="The market may be lent out.",
            )
        market, burnt = self.market.withdraw(assets, at)
        return replace(self, market=market, shares=self.shares - burnt), assets

    def max_withdraw(self, at: int) -> int:
        """Our value, or the market's liquidity if that is less."""
        return min(self.report(at).low, self.market.accrue(at).liquidity)

    def max_supply(self, at: int) -> int:
        """Morpho Blue has no caps: what a 128-bit total still holds."""
        return MAX_UINT128 - self.market.accrue(at).supply_assets

    def shared(self) -> Mapping[StateKey, Any]:
        """The market."""
        return {market_key(self.params.morpho, self.params.market): self.market}

    def with_shared(self, states: Mapping[StateKey, Any]) -> MorphoBluePosition:
        """The same shares on a newer state of the market."""
        key = market_key(self.params.morpho, self.params.market)
        return replace(self, market=states.get(key, self.market))

    def accrued(self, at: int) -> MorphoBluePosition:
        """The same shares on the market as of `at`."""
        return replace(self, market=self.market.accrue(at))


class MorphoBlue:
    """Reads one market and our supply shares in it."""

    name = "morpho_blue"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """`market`, `position` and `rateAtTarget`, all stored state."""
        params = parse_params(MorphoBlueParams, ref)
        return market_calls(params.morpho, params.market, ref.address)

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """None: the market lends the vault's asset."""
        return ()

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> MorphoBluePosition:
        """The position; its value at `at` can be computed, so `at` is not before the last accrual."""
        params = parse_params(MorphoBlueParams, ref)
        must_match("Market id", ref.key, params.market.id, ref)
        market, shares = read_market(params.morpho, params.market, ref.address, read, ref)
        market.accrue(at)
        return MorphoBluePosition(ref, params, market, shares)
