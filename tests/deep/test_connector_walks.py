"""The connectors' differential tests, over as many states as asked for and a seed of the day."""

from collections.abc import Callable, Iterator

import pytest
import test_aave_v3 as aave_v3
import test_metamorpho as metamorpho
import test_morpho_blue as morpho_blue
from conftest import STEPS_OF_ONE_WALK, Walk

# A campaign may take hours.
pytestmark = [pytest.mark.deep, pytest.mark.timeout(0)]

Walks = Callable[[], Iterator[Walk]]


@pytest.mark.parametrize("symbol", ["USDC", "WETH", "WBTC"])
def test_aave_v3_to_the_wei(walks: Walks, symbol: str) -> None:
    for walk in walks():
        aave_v3.test_value_rates_and_moves_equal_the_pools_to_the_wei(walk, symbol, STEPS_OF_ONE_WALK)


@pytest.mark.parametrize("name", ["WETH/USDC", "wstETH/USDC", "wstETH/WETH"])
def test_morpho_blue_to_the_wei(walks: Walks, name: str) -> None:
    for walk in walks():
        morpho_blue.test_value_rates_and_moves_equal_morphos_to_the_wei(walk, name, STEPS_OF_ONE_WALK)


def test_metamorpho_to_the_wei(walks: Walks) -> None:
    # This walk's length is its own, and the same.
    for walk in walks():
        metamorpho.test_value_rates_and_moves_equal_the_vaults_to_the_wei(walk)
