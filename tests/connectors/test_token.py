"""The mirror of tokens that are simply held, against the deployed connector."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from uniswap_stage import MAX_UINT256, REPORT, Draws, Stage, answering, build, diff, drawn_quote, slot

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import EVERYTHING, PositionRef, Role, key_of, load
from keeper.connectors.token import TokenPosition
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices, Quote, RouteRate, Status
from keeper.simulation.devnet import Devnet
from keeper.units import Address

STATES = 200
SYMBOLS = ("WETH", "USDC")
_HELD = 2
"""Slot of the connector's ledger."""


@dataclass(frozen=True)
class Flat:
    """An oracle that gives one answer for any amount."""

    quote: Quote

    def worth(self, amount: int) -> Quote:
        return self.quote


@pytest.fixture
def stage(fresh_devnet: Devnet) -> Stage:
    """With a connector of tokens in the place of the pools'."""
    built = build(fresh_devnet)
    tokens = [fresh_devnet.manifest["tokens"][symbol]["address"] for symbol in SYMBOLS]
    key = fresh_devnet.key("deployer")
    held = fresh_devnet.deploy(key, "TokenConnector", [built.core.portfolio, tokens])
    return replace(built, connectors=dict.fromkeys(SYMBOLS, held))


def reference(stage: Stage, symbol: str) -> PositionRef:
    token = Address(stage.devnet.manifest["tokens"][symbol]["address"])
    return PositionRef("token", stage.connectors[symbol], key_of(token), f"token:{symbol}", {"token": token})


def look(
    stage: Stage, ref: PositionRef, prices: Prices, overrides: dict[str, Any]
) -> tuple[TokenPosition, tuple[int, int, int]]:
    mirror = load("token")
    calls = mirror.calls(ref)
    wanted = [(call.target, call.data) for call in calls]
    *reads, (success, reported) = stage.many([*wanted, (ref.address, REPORT.encode(ref.key))], overrides)
    assert success
    results = dict(zip(calls, reads, strict=True))

    def read(call: Call[Any]) -> Any:
        success, data = results[call]
        return call.decode(data) if success else CallFailure(data, call.label)

    position = mirror.position(ref, read, prices, 0)
    assert isinstance(position, TokenPosition)
    return position, REPORT.decode(reported)


def test_reports_of_random_amounts_and_prices_equal_the_connectors(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    draws = Draws(request.node.name)
    weth, usdc = (Address(reference(stage, symbol).params["token"]) for symbol in SYMBOLS)
    stage.push(stage.connectors["WETH"], "WETH", 10**18)
    statuses = set()
    for number in range(STATES):
        ref = reference(stage, SYMBOLS[number % 2])
        held = draws.one([0, 1, draws.below(10**18), draws.bits(255)])
        quotes = {weth: drawn_quote(draws), usdc: drawn_quote(draws)}
        overrides = {
            ref.address: diff({slot(ref.key, _HELD): held}),
            stage.oracle: {"code": answering(quotes)},
        }
        prices = Prices(stage.core.asset, {token: Flat(quote) for token, quote in quotes.items()})
        position, (low, high, word) = look(stage, ref, prices, overrides)
        # No more counts than lies there.
        assert position.amount == min(held, 10**18 if ref.params["token"] == weth else 0)
        report = position.report(0)
        assert (report.low, report.high, report.status) == (low, high, word), (held, quotes)
        legs = position.legs(0)
        assert [(leg.role, leg.amount) for leg in legs] == [(Role.HELD, position.amount)] * len(legs)
        assert sum(leg.low for leg in legs) == report.low
        statuses.add(report.status)
    assert statuses == set(Status)


def test_moves_do_what_was_predicted(stage: Stage) -> None:
    for symbol, amount in (("WETH", 10**18), ("USDC", 10**9)):
        ref = reference(stage, symbol)
        rate = RouteRate(10**40, 2 * 10**40, Status.STALE)
        prices = Prices(stage.core.asset, dict.fromkeys(load("token").tokens(ref), rate))
        empty, _ = look(stage, ref, prices, {})
        stage.push(ref.address, symbol, amount)
        supplied = empty.after_supply(amount, 0)
        assert stage.act(ref.address, "supply(bytes32,uint256)", ref.key, amount)
        assert look(stage, ref, prices, {})[0] == supplied
        part, received = supplied.after_withdraw(amount // 3, 0)
        assert received == amount // 3
        assert stage.act(ref.address, "withdraw(bytes32,uint256)", ref.key, amount // 3)
        assert look(stage, ref, prices, {})[0] == part
        is_asset = symbol == "USDC"
        assert part.max_withdraw(0) == (part.amount if is_asset else 0)
        assert part.max_supply(0) == (MAX_UINT256 - part.amount if is_asset else 0)
        gone, received = part.after_withdraw(EVERYTHING, 0)
        assert (gone, received) == (empty, part.amount)
        assert stage.act(ref.address, "withdraw(bytes32,uint256)", ref.key, EVERYTHING)
        assert look(stage, ref, prices, {})[0] == empty


def test_moves_that_the_connector_refuses_are_refused(stage: Stage) -> None:
    ref = reference(stage, "USDC")
    prices = Prices(stage.core.asset, {})
    position, _ = look(stage, ref, prices, {})
    for amount in (0, 1, EVERYTHING):
        with pytest.raises(PlanError, match="refuse"):
            position.after_withdraw(amount, 0)
        assert not stage.act(ref.address, "withdraw(bytes32,uint256)", ref.key, amount)
    with pytest.raises(PlanError, match="refuse"):
        position.after_supply(0, 0)
    assert not stage.act(ref.address, "supply(bytes32,uint256)", ref.key, 0)


def test_a_key_of_another_token_is_refused(stage: Stage) -> None:
    ref = reference(stage, "USDC")
    with pytest.raises(ValuationError, match="Key differs"):
        look(stage, replace(ref, key=reference(stage, "WETH").key), Prices(stage.core.asset, {}), {})


def test_a_ledger_that_exceeds_the_balance_is_no_value(stage: Stage) -> None:
    ref = reference(stage, "USDC")
    mirror = load("token")
    ledger, balance = mirror.calls(ref)
    answers = {ledger: 2, balance: 1}
    with pytest.raises(ValuationError, match="exceeds its balance"):
        mirror.position(ref, answers.__getitem__, Prices(stage.core.asset, {}), 0)
