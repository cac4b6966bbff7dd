import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import EndpointDownError, KeeperError, RevertError, ValuationError
from keeper.units import MAX_UINT256, Value, mul_div_down, mul_div_up

uint = st.integers(0, MAX_UINT256)


def test_error_reads_as_one_message_with_expected_seen_place_and_hint() -> None:
    error = EndpointDownError("No answer", expected=b"\x01\x02", seen=7, where="http://host", hint="Start it")
    assert str(error) == "No answer [http://host]: expected 0x0102, saw 7. Start it"
    assert error.as_dict() == {
        "kind": "EndpointDownError",
        "message": "No answer",
        "expected": "0x0102",
        "seen": "7",
        "where": "http://host",
        "hint": "Start it",
    }


def test_what_others_say_only_shows_on_a_terminal() -> None:
    error = KeeperError("It said \x1b[2J", seen="\x1b]0;owned\x07\nkeeper: signed 3 of 3", hint="é\u202e")
    assert str(error) == (r"It said \x1b[2J: saw \x1b]0;owned\x07\nkeeper: signed 3 of 3. é\u202e")


def test_zero_and_false_are_facts_too() -> None:
    assert str(KeeperError("Difference", expected=0, seen=False)) == "Difference: expected 0, saw False"


def test_revert_shows_its_name_and_arguments() -> None:
    assert str(RevertError("NavBelowFloor", (99, b"\x0a"))) == "Reverted with NavBelowFloor(99, 0x0a)"


@given(uint, uint, st.integers(1, MAX_UINT256))
def test_rounding_down_and_up_bracket_the_quotient(a: int, b: int, d: int) -> None:
    down, up = mul_div_down(a, b, d), mul_div_up(a, b, d)
    assert down * d <= a * b <= up * d
    assert up - down == (1 if a * b % d else 0)


@pytest.mark.parametrize(("a", "b", "d"), [(1, 1, 0), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_mul_div_refuses_what_a_word_cannot_be(a: int, b: int, d: int) -> None:
    with pytest.raises(ValuationError):
        mul_div_down(a, b, d)
    with pytest.raises(ValuationError):
        mul_div_up(a, b, d)


@pytest.mark.parametrize(("low", "high"), [(-1, 0), (2, 1)])
def test_value_is_an_ordered_range(low: int, high: int) -> None:
    with pytest.raises(ValuationError):
        Value(low, high)


@given(uint, uint, uint, uint)
def test_values_add_end_by_end(a: int, b: int, c: int, d: int) -> None:
    assert Value(a, a + b) + Value(c, c + d) == Value(a + c, a + b + c + d)
