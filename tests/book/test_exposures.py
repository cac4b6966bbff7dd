"""Risk ids and what counts under them, and a connector's answer as the portfolio takes it."""

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from keeper.chain.call import CallFailure
from keeper.connectors.base import PositionRef, Report
from keeper.exposures import Exposure, doubtful, gross, risk_id, room
from keeper.ledger.portfolio import Impaired
from keeper.oracle.quote import Status
from keeper.units import Address
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


def test_the_least_cap_decides_and_debts_and_interest_take_room() -> None:
    reports = {"a": Report(70, 80, Status.OK, debt=40, health=2), "b": Report(10, 10)}
    later = {"a": Report(71, 81, Status.OK, debt=42, health=2), "b": Report(11, 11)}
    assert gross(reports["a"]) == 120
    exposures = [
        Exposure("a", ("a",), counted=120, live=120, later=123, allowed=500, granted=400),
        Exposure("both", ("a", "b"), counted=130, live=130, later=134, allowed=300, granted=900),
    ]
    # What is owned later beyond the low value of now stays: 123 - 70, and 11 - 10.
    assert room(exposures, reports, later) == {"a": 247, "b": 299}
    assert [each.cap for each in exposures] == [400, 300]
    lowered = [replace(exposures[0], granted=52)]
    assert room(lowered, reports, later) == {"a": 0}


def test_what_is_read_beside_a_position_in_doubt_is_in_doubt() -> None:
    ours, other = (Address("0x" + str(digit) * 40) for digit in (1, 2))
    places = {"a": ours, "b": ours, "c": other}
    refs = {
        venue: PositionRef("any", at, venue.encode().rjust(32), venue, {}) for venue, at in places.items()
    }
    positions = [Impaired(refs["a"], 1, "because"), *(Sound(refs[venue], 1, "") for venue in "bc")]
    assert doubtful(positions, {ours, other}, 0) == {"a"}
    assert doubtful(positions, {other}, 0) == {"a", "b"}
    assert doubtful(positions[1:], set(), 0) == frozenset()


class Sound(Impaired):
    """A position that can be read."""

    def report(self, at: int) -> Report:
        return Report(1, 1)


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
