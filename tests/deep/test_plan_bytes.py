"""Bytes that call themselves a plan: ours refuses them by name, or they are exactly the plan they say."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from eth_hash.auto import keccak
from examples import UNIT, example_basis, example_policy, holding

from keeper import canonical
from keeper.errors import PlanError
from keeper.planning.build import build_batch, build_settlement
from keeper.planning.plan import DOMAIN, SCHEMA, Plan
from keeper.planning.strategy import Allocation

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

CASES = 500 * int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
ATOMS = (
    None,
    True,
    -1,
    0,
    2**64,
    2**256 - 1,
    2**256,
    b"",
    b"\x01" * 32,
    "",
    "supply",
    "mint",
    "quote",
    "a\nb",
    [],
    {},
)


T = TypeVar("T")


class Draws:
    """A sequence that its seed decides: Knuth's linear congruential generator, high bits."""

    def __init__(self, seed: str) -> None:
        self._state = int.from_bytes(keccak(seed.encode())[:8], "big")

    def below(self, end: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % end

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]


def _plans() -> list[Plan]:
    policy = example_policy()
    book = holding(policy, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    batch = build_batch(policy, book, wanted, example_basis())
    return [batch, build_settlement(policy, 3, 10**27, example_basis())]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, name) of every value in the tree but its root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, each in inner for place in ((value, name), *_places(each))]


def _other_values(plan: Plan, draws: Draws) -> bytes:
    body = plan.body()
    for _ in range(1 + draws.below(3)):
        container, name = draws.pick(_places(body))
        container[name] = draws.pick(ATOMS)
    return canonical.encode(body, domain=DOMAIN, version=SCHEMA)


def _other_bytes(plan: Plan, draws: Draws) -> bytes:
    raw = bytearray(plan.to_bytes())
    for _ in range(1 + draws.below(4)):
        place = draws.below(len(raw))
        match draws.below(3):
            case 0:
                raw[place] ^= 1 << draws.below(8)
            case 1:
                del raw[place : place + 1 + draws.below(40)]
            case _:
                raw[place:place] = bytes(draws.below(256) for _ in range(1 + draws.below(40)))
        raw = raw or bytearray(1)
    return bytes(raw)


def test_plan_bytes(seed: str) -> None:
    draws, plans, outcomes = Draws(f"{seed}/plan"), _plans(), {"refused": 0, "parsed": 0}
    for _ in range(CASES):
        plan = draws.pick(plans)
        raw = (_other_values if draws.below(2) else _other_bytes)(plan, draws)
        try:
            parsed = Plan.from_bytes(raw)
        except PlanError:
            outcomes["refused"] += 1
            continue
        assert parsed.to_bytes() == raw
        assert (parsed.plan_hash == plan.plan_hash) == (raw == plan.to_bytes())
        outcomes["parsed"] += 1
    assert all(outcomes.values()), outcomes
