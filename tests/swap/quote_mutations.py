"""Quotes that are almost right."""

import json
from pathlib import Path
from random import Random
from typing import Any

from mutations import of_json

from keeper.errors import DecodeError, PolicyError, RefusedError
from keeper.swap import calldata
from keeper.swap.calldata import Target
from keeper.swap.check import CheckedQuote, Expected, check
from keeper.units import Address

DATA = Path(__file__).parent / "data"


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


def mutated(random: Random, honest: bytes) -> bytes:
    """The quote with other values or bytes, now and then with other calldata."""
    if random.randrange(4):
        return of_json(random, honest, ())
    content = json.loads(honest)
    for _ in range(random.randint(1, 3)):
        _damage(random, content)
    return json.dumps(content).encode()


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
