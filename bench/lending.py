"""Speed of valuing Aave accounts in debt, from decoded state at ever new times, and how it grows."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from bench.actions import ETHER, FEEDS, MIN_HEALTH, Portfolio
from bench.registry import Metric, Number
from bench.stage import USDC
from bench.timing import cpu_seconds
from keeper.chain.call import Call
from keeper.connectors.aave_lending import AaveAccountPosition
from keeper.connectors.base import Position, PositionRef, key_of, load
from keeper.contracts import Function
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_core, deploy_oracle, govern

FEW, MANY, ROUNDS = 10, 1_000, 2
WARMUPS, REPEATS = 1, 9
TARGET, LINEAR = 20_000, 1.2

METRICS = (
    Metric("valuation.aave_v3_in_debt_positions_per_second", "1/s", "higher", TARGET),
    Metric("valuation.aave_v3_time_per_position_of_1000_to_10", "x", "lower", LINEAR),
)

_VALUE = Function("value(address,address,uint256)", "(uint256,uint256,uint8)")


def figures() -> dict[str, Number]:
    """Accounts with ether and dollars supplied and dollars borrowed, on a chain of their own."""
    with Devnet() as devnet:
        position = _in_debt(devnet)
        at = int(devnet.block()["timestamp"], 16)
    report = position.report(at)
    if not report.debt or not report.health:
        raise RuntimeError("the account owes nothing: there is nothing to measure")
    # Accounts of their own: nothing that one has worked out helps another.
    accounts = [replace(position, pool=replace(position.pool)) for _ in range(MANY)]
    few, many = (_seconds_each(accounts[:number], at) for number in (FEW, MANY))
    return {METRICS[0].name: round(1 / many), METRICS[1].name: round(many / few, 2)}


def _seconds_each(positions: list[AaveAccountPosition], at: int) -> float:
    later = count(at + 1)
    rounds = ROUNDS * MANY // len(positions)
    return cpu_seconds(_valuing(positions, rounds, later), warmups=WARMUPS, repeats=REPEATS) / (
        rounds * len(positions)
    )


def _valuing(positions: list[AaveAccountPosition], rounds: int, later: "count[int]") -> Callable[[], None]:
    def run() -> None:
        for _ in range(rounds):
            at = next(later)
            for position in positions:
                position.report(at)

    return run


def _in_debt(devnet: Devnet) -> AaveAccountPosition:
    core = deploy_core(devnet)
    oracle = deploy_oracle(devnet, FEEDS).router
    govern(devnet, core, "setOracle", core.vault, oracle)
    devnet.rpc("anvil_impersonateAccount", core.portfolio)
    devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
    portfolio = Portfolio(devnet, core)
    ether, dollars = portfolio.token("WETH"), portfolio.token("USDC")
    terms: tuple[Any, ...] = ([key_of(ether), key_of(dollars)], [key_of(dollars)], [], MIN_HEALTH)
    lender = portfolio.deploy("AaveV3Connector", devnet.manifest["aave"]["pool"], terms)
    portfolio.list_all(lender, key_of(ether), key_of(dollars))
    for symbol, token, amount in (("WETH", ether, 10 * ETHER), ("USDC", dollars, 10_000 * USDC)):
        portfolio.give(lender, symbol, amount)
        portfolio.act(lender, "supply(bytes32,uint256)", key_of(token), amount)
    portfolio.act(lender, "borrow(bytes32,uint256)", key_of(dollars), 10_000 * USDC)
    low, high, status = devnet.call(oracle, _VALUE.signature, (ether, dollars, ROUTE_SCALE), _VALUE.outputs)
    prices = Prices(dollars, {ether: RouteRate(low, high, Status(status))})
    ref = PositionRef("aave_v3", lender, key_of(ether), "aave:WETH", _params(devnet))
    at = int(devnet.block()["timestamp"], 16)
    found: Position = load("aave_v3").position(ref, lambda call: _read(devnet, call), prices, at)
    if not isinstance(found, AaveAccountPosition):
        raise RuntimeError("an account in debt is read as one that only supplies")
    return found


def _params(devnet: Devnet) -> dict[str, Any]:
    aave = devnet.manifest["aave"]

    def reserve(symbol: str) -> dict[str, Any]:
        found = aave["reserves"][symbol]
        return {name: found[name] for name in ("asset", "a_token", "variable_debt_token")}

    account = {
        "keys": [aave["reserves"][symbol]["asset"] for symbol in ("WETH", "USDC")],
        "borrowable": [aave["reserves"]["USDC"]["asset"]],
        "reserves": [reserve(symbol) for symbol in aave["reserves"] if symbol != "WETH"],
        "addresses_provider": aave["addresses_provider"],
        "oracle": aave["oracle"],
        "min_health": MIN_HEALTH,
    }
    return {
        "pool": aave["pool"],
        "rate_strategy": aave["rate_strategy"],
        "account": account,
        **reserve("WETH"),
    }


def _read(devnet: Devnet, call: Call[Any]) -> Any:
    answer = devnet.rpc("eth_call", call.request(), "latest")
    return call.decode(bytes.fromhex(answer[2:]))
