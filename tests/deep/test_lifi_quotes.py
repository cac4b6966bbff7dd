"""Mutated LiFi quotes: with ten rounds of 2,000 steps, a million."""

import os
from random import Random

import pytest
from quote_mutations import local, matters, mutated, refused_or_same

from keeper.swap.check import check

CASES_PER_STEP = 50


@pytest.mark.deep
@pytest.mark.timeout(0)
def test_mutated_quotes_are_refused_or_mean_the_same(seed: str) -> None:
    cases = CASES_PER_STEP * int(os.environ.get("OMNIKEEPER_STEPS", "1000"))
    honest, expected = local()
    same = matters(check(honest, expected))
    random = Random(f"{seed}/mutated quotes")
    refused = sum(refused_or_same(mutated(random, honest), expected, same) for _ in range(cases))
    assert 0 < refused < cases
