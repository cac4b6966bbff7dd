"""Morpho Blue positions, mirrored to the wei: supplies, collateral and debts."""

from __future__ import annotations

from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import PositionRef, Read, answering, must_match, parse_params, required
from keeper.connectors.morpho_market import NO_ADDRESS, Market, MarketParams
from keeper.connectors.morpho_position import MorphoBlueParams, MorphoBluePosition, market_key
from keeper.contracts import Function
from keeper.oracle.quote import Prices
from keeper.units import Address

__all__ = [
    "MorphoBlue",
    "MorphoBlueParams",
    "MorphoBluePosition",
    "market_calls",
    "market_key",
    "read_market",
]

_MARKET: Final = Function("market(bytes32)", "(uint128,uint128,uint128,uint128,uint128,uint128)")
_POSITION: Final = Function("position(bytes32,address)", "(uint256,uint128,uint128)")
_RATE_AT_TARGET: Final = Function("rateAtTarget(bytes32)", "(int256)")
_PRICE: Final = Function("price()", "(uint256)")
_MIN_HEALTH: Final = Function("minHealth()", "(uint256)")

Holding = tuple[int, int, int]
"""Supply shares, shares of debt, collateral: `Morpho.position`."""


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
) -> tuple[Market, Holding]:
    """(market, what the holder has in it) from `market_calls`.

    Raises ValuationError when there is no such market: Morpho knows none without a time of creation.
    """
    results = [required(read, call, ref) for call in market_calls(morpho, market, holder)]
    supply_assets, supply_shares, borrow_assets, borrow_shares, last_update, fee = results[0]
    must_match("Existence of the market", True, last_update > 0, ref)
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
    return state, results[1]


class MorphoBlue:
    """Reads one market and what our connector has in it."""

    name = "morpho_blue"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """`market`, `position` and `rateAtTarget`, all stored state; of a market to borrow from, the price of
        its oracle and our connector's floor of health as well."""
        params = parse_params(MorphoBlueParams, ref)
        stored = market_calls(params.morpho, params.market, ref.address)
        if not params.borrowable:
            return stored
        return (*stored, _floor(ref), *_oracle(params.market))

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The loan token and, of a market to borrow from, the collateral."""
        params = parse_params(MorphoBlueParams, ref)
        if not params.borrowable:
            return (params.market.loan_token,)
        return params.market.loan_token, params.market.collateral_token

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> MorphoBluePosition:
        """The position; its value at `at` can be computed, so `at` is not before the last accrual."""
        params = parse_params(MorphoBlueParams, ref)
        must_match("Market id", ref.key, params.market.id, ref)
        market, (shares, debt_shares, collateral) = read_market(
            params.morpho, params.market, ref.address, read, ref
        )
        price, min_health = None, 0
        if params.borrowable:
            min_health = required(read, _floor(ref), ref)
            for call in _oracle(params.market):
                # The connector asks for it when something is owed, and cannot take a short answer.
                answer = (read if debt_shares else answering(read))(call)
                price = None if isinstance(answer, CallFailure) else answer
        position = MorphoBluePosition(
            ref, params, prices, market, shares, debt_shares, collateral, price, min_health
        )
        position.totals(at)
        return position


def _floor(ref: PositionRef) -> Call[Any]:
    return _MIN_HEALTH.at(ref.address, owner="MorphoBlueConnector")


def _oracle(market: MarketParams) -> tuple[Call[Any], ...]:
    """The market's price; none where the market was created without an oracle."""
    return () if market.oracle == NO_ADDRESS else (_PRICE.at(market.oracle, owner="Morpho oracle"),)
