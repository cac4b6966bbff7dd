"""Answers that are almost right: a field less, of another type, or with something hostile in it."""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin

from mutations import ODD, Place, altered, holder, places
from pydantic import BaseModel, RootModel

from keeper.errors import DecodeError, PolicyError, RefusedError
from keeper.swap import calldata, models
from keeper.swap.calldata import Target
from keeper.swap.check import CheckedQuote, Expected, check
from keeper.units import Address

DATA = Path(__file__).parent / "data"

RECORDED: dict[str, type[BaseModel]] = {
    "quote-arb-base-eth-gaszip-2026-10-07.json": models.Quote,
    "status-DONE-COMPLETED-arb-taiko-stargateV2Bus.json": models.Status,
    "error-404-NO_QUOTE-gnosis-docs.json": models.Failure,
}


def local() -> tuple[bytes, Expected]:
    """A quote of the local service, and what its signers expected."""
    kept = json.loads((DATA / "local-quote.json").read_text())
    row = kept["expected"]
    targets = tuple(
        (Address(target), Target(Address(spender), frozenset(bytes.fromhex(each) for each in selectors)))
        for target, spender, selectors in row["targets"]
    )
    expected = Expected(**{**row, "tools": frozenset(row["tools"]), "targets": targets})
    return kept["quote"].encode(), expected


def required(model: type[BaseModel], content: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in an answer that its model cannot do without."""
    for name, field in model.model_fields.items():
        if issubclass(model, RootModel):
            yield from _inside(field.annotation, content, at)
            continue
        key = field.alias or name
        if key not in content:
            continue
        if field.is_required():
            yield (*at, key)
        yield from _inside(field.annotation, content[key], (*at, key))


def _inside(annotation: Any, value: Any, at: Place) -> Iterator[Place]:
    if get_origin(annotation) is dict:
        for name, each in value.items():
            yield from _inside(get_args(annotation)[1], each, (*at, name))
        return
    rows = enumerate(value) if isinstance(value, list) else [(None, value)]
    for index, row in rows:
        for each in _models(annotation):
            if isinstance(row, dict) and each is not models.Unavailable:
                yield from required(each, row, at if index is None else (*at, index))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for each in get_args(annotation) for found in _models(each)]


def mutated(random: Random, honest: bytes) -> bytes:
    """The quote with one to three fields taken away, replaced, or with bytes of its calldata changed."""
    content = json.loads(honest)
    for number in range(random.randint(1, 3)):
        found = list(places(content)) if number else _places(honest)
        if not found:
            break
        path = random.choice(found)
        at = holder(content, path)
        kind = random.randrange(4)
        if kind == 0:
            del at[path[-1]]
        elif kind == 1:
            # A copy: what is inside may be changed next.
            at[path[-1]] = deepcopy(random.choice(ODD))
        elif kind == 2:
            at[path[-1]] = altered(random, at[path[-1]])
        else:
            _damage(random, content)
    return json.dumps(content).encode()


@lru_cache
def _places(honest: bytes) -> list[Place]:
    return list(places(json.loads(honest)))


def _damage(random: Random, content: Any) -> None:
    request = content.get("transactionRequest")
    if not isinstance(request, dict) or not isinstance(request.get("data"), str):
        return
    data = request["data"]
    if len(data) < 12:
        return
    place = random.randrange(10, len(data))
    length = random.choice((1, 2, 64))
    digits = "".join(random.choice("0123456789abcdef") for _ in range(length))
    kind = random.randrange(3)
    if kind == 0:
        request["data"] = data[:place] + digits + data[place + length :]
    elif kind == 1:
        request["data"] = data[:place]
    else:
        request["data"] = data + digits


def matters(quote: CheckedQuote) -> tuple[object, ...]:
    """All of a checked quote that may not change unseen. Names for logs may, and so may what only the chain
    can judge: by which pools a known router goes, and who gets the fees that are within the cap."""
    swap = calldata.decode(quote.data)
    steps = [
        (s.call_to, s.approve_to, s.sending, s.receiving, s.from_amount, s.data[:4], s.requires_deposit)
        for s in swap.steps
    ]
    scalars = (quote.token_in, quote.token_out, quote.amount_in, quote.min_out, quote.fees, quote.tool)
    return (*scalars, swap.receiver, swap.min_amount_out, steps)


def refused_or_same(data: bytes, expected: Expected, honest: tuple[object, ...]) -> bool:
    """Whether the quote was refused. Raises AssertionError when it is accepted and means something else."""
    try:
        checked = check(data, expected)
    except (DecodeError, RefusedError, PolicyError):
        return True
    assert matters(checked) == honest, data
    return False


_NAMED = re.compile(r"(?:: |; )(\w+)(?=[.:])")


def refused_by_name_or_same(data: bytes, model: type[BaseModel], honest: bytes) -> bool:
    """Whether the answer was refused. Raises AssertionError when the refusal blames a field that is as it
    was, or when what was accepted is not what it says."""
    content = json.loads(data)
    try:
        said = models.parse(data, model, where="answer").model_dump(by_alias=True, exclude_unset=True)
    except DecodeError as error:
        blamed = set(_NAMED.findall(error.message.partition("fields")[2]))
    else:
        assert _within(said, content), data
        return False
    now, then = _written(content), _written(json.loads(honest))
    assert blamed, data
    assert all(now.get(name) != then.get(name) for name in blamed), (blamed, data)
    return True


def _written(content: dict[str, Any]) -> dict[str, str]:
    """Its fields as text: to Python, true and 1 are the same."""
    return {name: json.dumps(each) for name, each in content.items()}


def _within(said: Any, content: Any) -> bool:
    """Whether all that a model holds stands in the answer just so."""
    if isinstance(said, Mapping):
        return isinstance(content, dict) and all(
            name in content and _within(each, content[name]) for name, each in said.items()
        )
    if isinstance(said, tuple):
        return isinstance(content, list) and len(said) == len(content) and all(map(_within, said, content))
    return type(said) is type(content) and bool(said == content)
