"""The queue's random histories: ten times those of every day, with a seed of each of the ten rounds."""

import zlib
from collections import Counter

import pytest
from exact_queue import random_history

pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

HISTORIES = 100_000
STEPS = 14


def test_queue_histories_stay_within_a_rounding_of_the_exact_model(seed: str) -> None:
    first = zlib.crc32(seed.encode()) << 32
    seen: Counter[str] = Counter()
    for number in range(HISTORIES):
        seen += random_history(first + number, STEPS).seen
    assert seen["forgotten"], seen
