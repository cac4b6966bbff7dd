"""Our prices against the contracts' in random states: to the wei, statuses included."""

from collections import Counter

import pytest
from oracle_states import Draw, ask, told
from oracle_world import World, build

from keeper.contracts import Contract
from keeper.errors import KeeperError
from keeper.oracle.quote import Quote, Status
from keeper.oracle.routes import calls, look
from keeper.simulation.devnet import Devnet
from keeper.units import MAX_UINT256

STATES = 500
QUOTES = ("USDC", "WETH", "WBTC")


@pytest.fixture
def world(fresh_devnet: Devnet) -> World:
    return build(fresh_devnet)


def compare(world: World, seed: str, states: int) -> Counter[Status]:
    """Compares every source and route in that many states, and the worth of an amount by each route to one
    quote; how often each status was seen."""
    oracle, names = world.oracle, world.oracle.names
    router = Contract(oracle.router, "OracleRouter")
    fixed, seen = calls(oracle), Counter[Status]()
    for number in range(states):
        draw = Draw(f"{seed}/{number}")
        state, quote = world.draw(draw), draw.pick(QUOTES)
        amounts = {
            names.token(route.base): draw.pick((0, 1, draw.magnitude(128), draw.magnitude(255), MAX_UINT256))
            for route in oracle.routes
            if route.quote == quote
        }
        asset = names.token(quote)
        values = {token: router.call("value", token, asset, amount) for token, amount in amounts.items()}
        answers = ask(world.devnet, state, (*fixed, *values.values()))
        try:
            _, rates = look(oracle, answers, state.at)
        except KeeperError as error:
            pytest.fail(f"{seed}/{number} at {state.at}: {error}\n{told(answers, oracle)}")
        worth = {
            names.token(route.base): rate
            for route, rate in zip(oracle.routes, rates, strict=True)
            if route.quote == quote
        }
        for token, call in values.items():
            low, high, status = answers(call)
            ours = worth[token].worth(amounts[token])
            assert ours == Quote(low, high, Status(status)), f"{seed}/{number}\n{told(answers, oracle)}"
            seen[ours.status] += 1
    return seen


def test_prices_equal_the_contracts_to_the_wei_in_random_states(
    world: World, request: pytest.FixtureRequest
) -> None:
    seen = compare(world, request.node.name, STATES)
    assert set(seen) == set(Status) - {Status.MARKET_CLOSED}, seen
    assert min(seen.values()) > STATES // 100, seen
