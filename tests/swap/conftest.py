"""One chain with handler and service for each module; what a test tells the service ends with the test."""

from collections.abc import Iterator

import pytest
from stage import Stage, staged


@pytest.fixture(scope="module")
def running(built_chain: object) -> Iterator[Stage]:
    with staged() as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.service.behave()
    return running
