"""Long campaigns walk as the connectors' tests do, with a seed and a number of steps from the environment.

`OMNIKEEPER_SEED` names the walks and `OMNIKEEPER_STEPS` says how many states each campaign visits.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from keeper.simulation.devnet import Devnet

CONNECTORS = Path(__file__).parents[1] / "connectors"
STEPS_OF_ONE_WALK = 100
"""Each walk begins on a fresh chain: months pass with every step, and decades of interest exceed 128 bits."""


def _walks() -> ModuleType:
    """The connectors' own fixtures. Their module and this one have the same name, so it gets another."""
    spec = importlib.util.spec_from_file_location("connector_walks", CONNECTORS / "conftest.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {CONNECTORS / 'conftest.py'}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Walk = _walks().Walk
sys.path.append(str(CONNECTORS))
sys.path.append(str(CONNECTORS.parent / "execution"))
sys.path.append(str(CONNECTORS.parent / "oracle"))
sys.path.append(str(CONNECTORS.parent / "planning"))
sys.path += [str(CONNECTORS.parent / each) for each in ("e2e", "fuzz", "run", "safe", "swap")]


@pytest.fixture
def seed() -> str:
    return os.environ.get("OMNIKEEPER_SEED", "0")


@pytest.fixture
def walks(request: pytest.FixtureRequest, seed: str) -> Callable[[], Iterator[Walk]]:
    """Walks, each on a fresh chain, until the campaign has made its steps."""
    count = -(-int(os.environ.get("OMNIKEEPER_STEPS", "1000")) // STEPS_OF_ONE_WALK)

    def each() -> Iterator[Walk]:
        for number in range(count):
            with Devnet() as devnet:
                yield Walk(devnet, f"{seed}/{request.node.name}/{number}")

    return each
