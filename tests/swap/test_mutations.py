"""Answers parse as they were recorded; with a field missing or of another type they are refused by name."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import ODD, holder, places
from quote_mutations import (
    DATA,
    RECORDED,
    local,
    matters,
    mutated,
    refused_by_name_or_same,
    refused_or_same,
    required,
)

from keeper.errors import DecodeError, KeeperError
from keeper.swap import models
from keeper.swap.check import check

SHARE = 12


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_parses_and_says_what_was_recorded(name: str) -> None:
    data = (DATA / name).read_bytes()
    parsed = models.parse(data, RECORDED[name], where=name)
    said = parsed.model_dump(by_alias=True, mode="json")
    original = json.loads(data)
    for path in required(RECORDED[name], original):
        assert holder(said, path)[path[-1]] == holder(original, path)[path[-1]] or isinstance(
            holder(original, path)[path[-1]], dict | list
        )


@pytest.mark.parametrize("name", RECORDED)
def test_an_answer_without_a_required_field_is_refused_by_its_name(name: str) -> None:
    data = (DATA / name).read_bytes()
    places = list(required(RECORDED[name], json.loads(data)))
    assert places
    for path in places:
        content = json.loads(data)
        del holder(content, path)[path[-1]]
        with pytest.raises(DecodeError, match=rf"{path[-1]}: missing"):
            models.parse(json.dumps(content).encode(), RECORDED[name], where=name)


@pytest.mark.parametrize("name", RECORDED)
def test_a_field_of_another_type_is_refused_by_its_name(name: str) -> None:
    data = (DATA / name).read_bytes()
    for path in required(RECORDED[name], json.loads(data)):
        for other in (None, [1], {"a": 1}, 1.5):
            content = json.loads(data)
            at = holder(content, path)
            if isinstance(at[path[-1]], type(other)):
                continue
            at[path[-1]] = other
            with pytest.raises(DecodeError) as refused:
                models.parse(json.dumps(content).encode(), RECORDED[name], where=name)
            assert str(path[-1]) in str(refused.value)


def test_unknown_fields_are_let_through() -> None:
    honest, expected = local()
    content = json.loads(honest)
    for path in [(), *places(content)]:
        at = content
        for step in path:
            at = at[step]
        if isinstance(at, dict):
            at["somethingNew"] = {"of": ["tomorrow"]}
    assert check(json.dumps(content).encode(), expected) == check(honest, expected)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a]}": "]]}}' + b'[" : ' + b"[" * 65, "nested too deeply"),
        (b'{"a": [' + b"[],0," * 500_001 + b"0]}", "Too much JSON"),
        (b'{"to": 1, "to": 2}', "comes twice"),
        (b'{"id": NaN}', "NaN is no number"),
        (b'{"id": ' + b"9" * 10_000 + b"}", "JSON"),
        (b'{"id": 1e999999999999999999999}', "id"),
        (b"[]", "the answer"),
        (b"null", "the answer"),
    ],
)
def test_what_is_no_answer_at_all_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        models.parse(data, models.Quote, where="quote")


def test_every_field_of_a_quote_holds_against_hostile_values() -> None:
    honest, expected = local()
    same = matters(check(honest, expected))
    refused = total = 0
    for number, path in enumerate(places(json.loads(honest))):
        # Not all at every place: the campaign does that.
        for hostile in ODD[number % SHARE :: SHARE]:
            content = json.loads(honest)
            holder(content, path)[path[-1]] = hostile
            total += 1
            refused += refused_or_same(json.dumps(content).encode(), expected, same)
    assert total > refused > total // 3


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_mutated_quote_is_refused_or_means_the_same(random: Random) -> None:
    honest, expected = local()
    refused_or_same(mutated(random, honest), expected, matters(check(honest, expected)))


@pytest.mark.parametrize("name", RECORDED)
@settings(max_examples=100, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_mutated_answer_is_refused_by_the_field_or_read_as_it_stands(name: str, random: Random) -> None:
    honest = (DATA / name).read_bytes()
    refused_by_name_or_same(mutated(random, honest), RECORDED[name], honest)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_quote(data: bytes) -> None:
    _, expected = local()
    with pytest.raises(KeeperError):
        check(data, expected)


@pytest.mark.parametrize("hidden", ["00", "00" * 32, "dead"])
def test_calldata_with_anything_behind_its_arguments_is_refused(hidden: str) -> None:
    honest, expected = local()
    content = json.loads(honest)
    content["transactionRequest"]["data"] += hidden
    with pytest.raises(DecodeError, match="more than its arguments"):
        check(json.dumps(content).encode(), expected)
