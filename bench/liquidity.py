"""A connector's liquidity in a Uniswap v3 pool, with as many NFTs as a report can have, for benchmarks."""

from collections.abc import Callable
from typing import Any

from bench.actions import ETHER, FEE, FEEDS, SPACING, TOLERANCE_BPS, Portfolio
from bench.stage import USDC
from keeper.chain.call import Call
from keeper.connectors.base import Position, PositionRef, key_of, load
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import deploy_core, deploy_oracle, govern

NFTS = 2


def read_liquidity() -> tuple[Position, Callable[[], Position]]:
    """A position of two NFTs around the pool's price, and how it is made from the bytes of its reads."""
    with Devnet() as devnet:
        core = deploy_core(devnet)
        oracle = deploy_oracle(devnet, FEEDS).router
        govern(devnet, core, "setOracle", core.vault, oracle)
        devnet.rpc("anvil_impersonateAccount", core.portfolio)
        devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
        ref = _mint(Portfolio(devnet, core))
        mirror = load(ref.connector)
        answers = {
            call: bytes.fromhex(devnet.rpc("eth_call", call.request(), "latest")[2:])
            for call in mirror.calls(ref)
        }
        at = int(devnet.block()["timestamp"], 16)
        rates = {}
        for token in mirror.tokens(ref):
            if token != core.asset:
                value = ("value(address,address,uint256)", (token, core.asset, ROUTE_SCALE))
                low, high, status = devnet.call(oracle, *value, "(uint256,uint256,uint8)")
                rates[token] = RouteRate(low, high, Status(status))
    prices = Prices(core.asset, rates)

    def read(call: Call[Any]) -> Any:
        return call.decode(answers[call])

    def make() -> Position:
        return mirror.position(ref, read, prices, at)

    return make(), make


def _mint(portfolio: Portfolio) -> PositionRef:
    uniswap = portfolio.devnet.manifest["uniswap"]
    pool = uniswap["pools"]["USDC/WETH"]
    key = key_of(pool["address"])
    owner = portfolio.deploy(
        "UniswapV3Connector", uniswap["position_manager"], [key], [FEE], TOLERANCE_BPS, NFTS
    )
    for symbol, amount in (("WETH", 10 * ETHER), ("USDC", 30_000 * USDC)):
        portfolio.give(owner, symbol, amount)
        portfolio.act(owner, "hold(bytes32,address,uint256)", key, portfolio.token(symbol), amount)
    slot = "(uint160,int24,uint16,uint16,uint16,uint8,bool)"
    middle = portfolio.devnet.call(pool["address"], "slot0()", outputs=slot)[1] // SPACING * SPACING
    amounts = (2 * ETHER, 6_000 * USDC)
    if pool["token0"] == portfolio.token("USDC"):
        amounts = amounts[::-1]
    for width in (50, 200):
        ticks = (middle - width * SPACING, middle + width * SPACING)
        mint = "mint(bytes32,int24,int24,uint256,uint256,uint256,uint256)"
        portfolio.act(owner, mint, key, *ticks, *amounts, 1, 1)
    params = {name: pool[name] for name in ("token0", "token1")} | {"pool": pool["address"]}
    return PositionRef("uniswap_v3", owner, key, "uniswap:USDC/WETH", params)
