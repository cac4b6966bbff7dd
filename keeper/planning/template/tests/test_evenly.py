"""What the strategy decides, over books made by hand."""

from dataclasses import fields
from typing import Any

import pytest

from keeper.book import Book
from keeper.connectors.base import PositionRef
from keeper.connectors.morpho_blue import MorphoBlueParams, MorphoBluePosition
from keeper.connectors.morpho_market import Market, MarketParams
from keeper.connectors.morpho_math import INITIAL_RATE_AT_TARGET
from keeper.contracts import address
from keeper.errors import ConfigError
from keeper.ledger import vault
from keeper.oracle.quote import Prices
from keeper.planning.intents import settled
from keeper.planning.strategy import load
from keeper.units import WAD

AT = 1_800_000_000
USDC = 10**6
MILLION = 10**6 * USDC
ANY = address("0x" + "11" * 20)


def position(venue: str, ours: int, lent: int) -> MorphoBluePosition:
    """Our deposit beside 40 million of others, of which `lent` are lent."""
    supplied = 40 * MILLION + ours
    market = Market(supplied, supplied * 10**6, lent, lent * 10**6, AT, 0, INITIAL_RATE_AT_TARGET)
    terms = MarketParams(loan_token=ANY, collateral_token=ANY, oracle=ANY, irm=ANY, lltv=WAD // 2)
    ref = PositionRef("morpho_blue", ANY, bytes(32), venue, {})
    params = MorphoBlueParams(morpho=ANY, market=terms)
    return MorphoBluePosition(ref, params, Prices(ANY, {}), market, ours * 10**6)


def book(idle: int, reserve: int = 0, cap: int = 10 * MILLION, lent: int = 35 * MILLION) -> Book:
    """2,000 in the first of two venues; `cap` is the second's, `lent` the first's."""
    terms: dict[str, Any] = {each.name: 0 for each in fields(vault.Params)}
    return Book(
        at=AT,
        idle=idle,
        positions=(position("first", 2_000 * USDC, lent), position("second", 0, 35 * MILLION)),
        marks={"first": 2_000 * USDC, "second": 0},
        caps={"first": 10 * MILLION, "second": cap},
        reserve=reserve,
        accounting=vault.Accounting(*(0 for _ in fields(vault.Accounting))),
        params=vault.Params(**terms),
        nonce=0,
        signer_set_version=1,
        healthy=True,
        risk_paused_until=0,
    )


def targets(of: Book) -> dict[str, int]:
    return dict(settled(load("evenly", {}).decide(of), of).targets)


def test_both_get_the_same_and_the_idle_share_stays() -> None:
    assert targets(book(idle=8_000 * USDC)) == {"first": 4_750 * USDC, "second": 4_750 * USDC}


def test_redemptions_come_first() -> None:
    assert sum(targets(book(idle=8_000 * USDC, reserve=3_000 * USDC)).values()) == 7_000 * USDC


@pytest.mark.parametrize("cap", [0, 1_000 * USDC])
def test_no_venue_grows_above_its_cap(cap: int) -> None:
    assert targets(book(idle=8_000 * USDC, cap=cap)) == {"first": 4_750 * USDC, "second": cap}


def test_what_cannot_leave_stays() -> None:
    lent_out = book(idle=0, lent=40 * MILLION + 1_500 * USDC)
    assert targets(lent_out)["first"] >= 1_500 * USDC


def test_the_same_book_gives_the_same_answer() -> None:
    assert targets(book(idle=8_000 * USDC)) == targets(book(idle=8_000 * USDC))


def test_a_parameter_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evenly\.idle_bps"):
        load("evenly", {"idle_bps": 10_001})
