"""Mutated answers of LiFi: with ten rounds of 2,000 steps, a million."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import pytest
from quote_mutations import DATA, RECORDED, local, matters, mutated, refused_by_name_or_same, refused_or_same

from keeper.swap.check import check

CASES_PER_STEP = 50
SHARES = 8
"""Processes with a seed each: what is found does not depend on how many run at once."""


def quotes(seed: str, cases: int) -> int:
    """How many mutations of a local quote are refused; the others mean the same."""
    honest, expected = local()
    same = matters(check(honest, expected))
    random = Random(f"{seed}/mutated quotes")
    return sum(refused_or_same(mutated(random, honest), expected, same) for _ in range(cases))


def answers(seed: str, cases: int) -> int:
    """How many mutations of recorded answers are refused by their field; others are read as they stand."""
    random, refused = Random(f"{seed}/mutated answers"), 0
    recorded = [((DATA / name).read_bytes(), model) for name, model in RECORDED.items()]
    for number in range(cases):
        honest, model = recorded[number % len(recorded)]
        refused += refused_by_name_or_same(mutated(random, honest), model, honest)
    return refused


@pytest.mark.deep
@pytest.mark.timeout(0)
def test_mutated_answers_are_refused_or_mean_the_same(seed: str) -> None:
    cases = CASES_PER_STEP * int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
    share = -(-cases // SHARES // 2)
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        runs = [
            pool.submit(fuzz, f"{seed}/{number}", share)
            for fuzz in (quotes, answers)
            for number in range(SHARES)
        ]
    for run in runs:
        assert 0 < run.result() < share
