"""The mirror of a connector's whole account against the real pool and our contract, over random states."""

from collections import Counter

import pytest
from aave_stage import Stage, stage
from aave_states import MOST_AGE, States
from conftest import Walk

from keeper.chain.call import CallFailure
from keeper.connectors.aave_v3 import AaveV3
from keeper.connectors.base import Report
from keeper.errors import ValuationError
from keeper.oracle.quote import Status

STATES = 130
"""For each of four connectors: 520 in all."""

CONNECTORS: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]] = {
    "plain": (("WETH", "USDC"), (), False),
    "pair": (("WETH", "USDC"), ("USDC",), False),
    "wide": (("WBTC", "USDC", "WETH"), ("DAI", "USDC", "WETH"), True),
    "single": (("USDC",), ("USDC", "WETH"), True),
}


def compare(staged: Stage, states: States, seen: Counter[str]) -> None:
    """One state: what the mirror makes of its stored words against `report` of every key, then and later."""
    walk = staged.walk
    read_at = walk.now() + 1
    at = read_at + (0 if walk.draw(4) == 0 else states.number(MOST_AGE))
    words = states.draw(read_at)
    overrides = words.overrides()
    refs = [staged.ref(symbol) for symbol in staged.keys]
    calls = [call for ref in refs for call in AaveV3().calls(ref)]
    stored = staged.ask(list(dict.fromkeys(calls)), read_at, overrides)
    reports = staged.ask(staged.report_calls(), at, overrides)
    prices = staged.prices(at, overrides)
    for ref, call in zip(refs, staged.report_calls(), strict=True):
        told = reports.read(call)
        ours: Report | ValuationError
        try:
            ours = AaveV3().position(ref, stored.read, prices, read_at).report(at)
        except ValuationError as error:
            ours = error
        if isinstance(told, CallFailure):
            seen["reverted"] += 1
            assert isinstance(ours, ValuationError), f"{ref.venue} from {read_at} to {at}: {ours}\n{words}"
            continue
        expected = staged.reported(told)
        assert ours == expected, f"{ref.venue} from {read_at} to {at}\n{words}"
        seen["reports"] += 1
        seen["in debt"] += expected.debt > 0
        seen["healthy"] += expected.health > 0
        seen["no health"] += expected.debt > 0 and expected.health == 0
        seen["worth something"] += expected.low > 0
        seen["under water"] += expected.debt > 0 and expected.low == 0
        seen[expected.status.name] += 1


def compare_states(walk: Walk, name: str, count: int) -> Counter[str]:
    """So many random states under one connector, and how many there were of each kind."""
    keys, borrowable, rewarded = CONNECTORS[name]
    staged = stage(walk, keys, borrowable, rewarded=rewarded)
    states = States(staged)
    seen: Counter[str] = Counter()
    for _ in range(count):
        compare(staged, states, seen)
    assert seen["reports"] == count * len(keys), seen
    return seen


@pytest.mark.parametrize("name", CONNECTORS)
def test_reports_of_random_states_equal_the_connectors_to_the_wei(walk: Walk, name: str) -> None:
    seen = compare_states(walk, name, STATES)
    kinds = ["worth something", Status.OK.name, Status.STALE.name, Status.UNAVAILABLE.name]
    if CONNECTORS[name][1]:
        kinds += ["in debt", "healthy", "no health", "under water"]
    for kind in kinds:
        assert seen[kind] > STATES // 50, seen
