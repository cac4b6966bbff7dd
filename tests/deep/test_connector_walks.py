"""The connectors' differential tests, over as many states as asked for and a seed of the day."""

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
import test_aave_account as aave_account
import test_aave_states as aave_states
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


def test_aave_v3_reports_of_random_states_to_the_wei(walks: Walks) -> None:
    for walk, name in zip(walks(), cycle(aave_states.CONNECTORS), strict=False):
        aave_states.compare_states(walk, name, STEPS_OF_ONE_WALK)


@pytest.mark.parametrize("governed", [False, True])
def test_aave_v3_accounts_in_debt_to_the_wei(walks: Walks, governed: bool) -> None:
    for walk in walks():
        aave_account.walk_account(walk, STEPS_OF_ONE_WALK, governed=governed)


@pytest.mark.parametrize("name", ["WETH/USDC", "wstETH/USDC", "wstETH/WETH"])
def test_morpho_blue_to_the_wei(walks: Walks, name: str) -> None:
    for walk in walks():
        morpho_blue.test_value_rates_and_moves_equal_morphos_to_the_wei(walk, name, STEPS_OF_ONE_WALK)


def test_metamorpho_to_the_wei(walks: Walks) -> None:
    # This walk's length is its own, and the same. A single one may miss a function.
    assert set().union(*map(metamorpho.run_moves_and_views, walks())) >= metamorpho.WANTED
