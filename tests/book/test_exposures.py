"""Risk ids and what counts under them, and a connector's answer as the portfolio takes it."""

import pytest
from eth_hash.auto import keccak

from keeper.chain.call import CallFailure
from keeper.connectors.base import Report
from keeper.exposures import Exposure, gross, risk_id, room
from keeper.oracle.quote import Status
from keeper.valuation import MAX_REPORT, parse_report

WORD = 2**256


def answer(*words: int) -> bytes:
    return b"".join((word % WORD).to_bytes(32, "big") for word in words)


def test_a_risk_id_is_the_hash_of_its_name_or_the_name_itself() -> None:
    assert risk_id("aave:USDC") == keccak(b"aave:USDC")
    assert risk_id("0x" + "ab" * 32) == b"\xab" * 32
    # One digit short: a name like any other.
    short = "0x" + "ab" * 31 + "a"
    assert risk_id(short) == keccak(short.encode())


def test_the_least_cap_decides_and_debts_take_room() -> None:
    reports = {"a": Report(70, 80, Status.OK, debt=40, health=2), "b": Report(10, 10)}
    assert gross(reports["a"]) == 120
    exposures = [
        Exposure("a", ("a",), counted=120, live=120, allowed=500, granted=400),
        Exposure("both", ("a", "b"), counted=130, live=130, allowed=300, granted=900),
    ]
    # What is owned beyond the low value stays: 120 - 70.
    assert room(exposures, reports) == {"a": 250, "b": 300}
    assert [each.cap for each in exposures] == [400, 300]
    lowered = [Exposure("a", ("a",), counted=120, live=120, allowed=500, granted=30)]
    assert room(lowered, reports) == {"a": 0}


def test_the_three_words_of_a_report_are_taken_apart() -> None:
    state = 3 | 7 << 8 | 9 << 120
    assert parse_report(answer(5, 6, state)) == Report(5, 6, Status.CONSTANT, 7, 9)
    largest = 6 | (2**112 - 1) << 8 | (2**128 - 1) << 120
    assert parse_report(answer(0, MAX_REPORT, largest)) == Report(
        0, MAX_REPORT, Status.UNAVAILABLE, 2**112 - 1, 2**128 - 1
    )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (CallFailure(b""), "its report reverts with EmptyRevert()"),
        (CallFailure(keccak(b"UnknownKey(bytes32)")[:4] + bytes(32)), "its report reverts with UnknownKey"),
        (answer(1, 2), "its report has 64 bytes, not 96"),
        (answer(1, 2, 0, 0), "its report has 128 bytes, not 96"),
        (answer(3, 2, 0), "its report has a low end of 3 above a high end of 2"),
        (answer(0, MAX_REPORT + 1, 0), "is more than a position may be worth"),
        (answer(0, -1, 0), "is more than a position may be worth"),
        (answer(1, 2, 7), "its report has an unknown state 0x7"),
        (answer(1, 2, 1 << 248), "its report has an unknown state 0x1"),
    ],
)
def test_what_the_portfolio_cannot_take_says_why(told: bytes | CallFailure, why: str) -> None:
    said = parse_report(told)
    assert isinstance(said, str)
    assert why in said
