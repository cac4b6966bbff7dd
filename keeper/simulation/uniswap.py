"""Uniswap v3 on a local chain, from its published artifacts, with liquidity and a price history."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder
from keeper.simulation.tokens import Token
from keeper.units import Address

CARDINALITY: Final = 300
"""Observations a pool keeps: an hour of blocks with a swap in each."""

_MAX: Final = 2**256 - 1
_NEVER: Final = 2**40
_MINT: Final = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
SWAP: Final = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"


@dataclass(frozen=True)
class Listing:
    """A pool: its pair, fee in hundredths of a bip, tick spacing, half width of its range, depth per side."""

    tokens: tuple[str, str]
    fee: int
    spacing: int
    half_width: int
    dollars: int


LISTINGS: Final = {
    "USDC/WETH": Listing(("USDC", "WETH"), 500, 10, 6_000, 60_000_000),
    "USDC/USDT": Listing(("USDC", "USDT"), 100, 1, 60, 30_000_000),
    "DAI/USDC": Listing(("DAI", "USDC"), 100, 1, 60, 20_000_000),
    "WETH/wstETH": Listing(("WETH", "wstETH"), 100, 1, 600, 40_000_000),
    "WBTC/WETH": Listing(("WBTC", "WETH"), 500, 10, 6_000, 40_000_000),
}


@dataclass(frozen=True)
class Core:
    """Contracts that exist before any pool."""

    factory: Address
    router: Address
    position_manager: Address
    quoter: Address


def deploy(builder: Builder, people: Mapping[str, Account], tokens: Mapping[str, Token]) -> Core:
    """Queues factory, router, position manager and quoter."""
    deployer, weth = people["deployer"].address, tokens["WETH"].address
    factory = builder.create(deployer, "UniswapV3Factory")
    router = builder.create(deployer, "SwapRouter", factory, weth)
    library = builder.create(deployer, "NFTDescriptor")
    descriptor = builder.create(
        deployer,
        "NonfungibleTokenPositionDescriptor",
        weth,
        b"ETH".ljust(32, b"\0"),
        libraries={"NFTDescriptor": library},
    )
    positions = builder.create(deployer, "NonfungiblePositionManager", factory, weth, descriptor)
    quoter = builder.create(deployer, "QuoterV2", factory, weth)
    # The factory comes with 0.05%, 0.30% and 1%; governance added 0.01% later.
    builder.send(deployer, factory, "enableFeeAmount(uint24,int24)", 100, 1)
    return Core(factory, router, positions, quoter)


def _sorted(listing: Listing, tokens: Mapping[str, Token]) -> tuple[Token, Token]:
    first, second = (tokens[symbol] for symbol in listing.tokens)
    return (first, second) if int(first.address, 16) < int(second.address, 16) else (second, first)


def sqrt_price_x96(token0: Token, token1: Token) -> int:
    """Square root of token1 per token0 in smallest units, times 2**96, from the first dollar prices."""
    numerator = token0.price * 10**token1.decimals
    return isqrt((numerator << 192) // (token1.price * 10**token0.decimals))


def create_pools(
    builder: Builder, people: Mapping[str, Account], core: Core, tokens: Mapping[str, Token]
) -> None:
    """Queues approvals and the pools at their first price."""
    trader, agent = people["trader"].address, people["agent"].address
    for token in tokens.values():
        for spender in (core.position_manager, core.router):
            builder.send(trader, token.address, "approve(address,uint256)", spender, _MAX)
        builder.send(agent, token.address, "approve(address,uint256)", core.router, _MAX)
    for listing in LISTINGS.values():
        token0, token1 = _sorted(listing, tokens)
        builder.send(
            trader,
            core.position_manager,
            "createAndInitializePoolIfNecessary(address,address,uint24,uint160)",
            token0.address,
            token1.address,
            listing.fee,
            sqrt_price_x96(token0, token1),
        )


def add_liquidity(
    builder: Builder, people: Mapping[str, Account], core: Core, tokens: Mapping[str, Token]
) -> dict[str, Any]:
    """Queues liquidity and room for observations; returns manifest section "uniswap"."""
    trader = people["trader"].address
    pools = {}
    for name, listing in LISTINGS.items():
        token0, token1 = _sorted(listing, tokens)
        pool = builder.view(
            core.factory,
            "getPool(address,address,uint24)",
            "(address)",
            token0.address,
            token1.address,
            listing.fee,
        )
        tick = builder.view(pool, "slot0()", "(uint160,int24,uint16,uint16,uint16,uint8,bool)")[1]
        middle = tick // listing.spacing * listing.spacing
        builder.send(
            trader,
            core.position_manager,
            _MINT,
            (
                token0.address,
                token1.address,
                listing.fee,
                middle - listing.half_width,
                middle + listing.half_width,
                token0.worth(listing.dollars),
                token1.worth(listing.dollars),
                0,
                0,
                trader,
                _NEVER,
            ),
        )
        builder.send(trader, pool, "increaseObservationCardinalityNext(uint16)", CARDINALITY)
        pools[name] = {
            "address": pool,
            "token0": token0.address,
            "token1": token1.address,
            "symbols": [token0.symbol, token1.symbol],
            "fee": listing.fee,
            "tick_spacing": listing.spacing,
        }
    return {
        "factory": core.factory,
        "swap_router": core.router,
        "position_manager": core.position_manager,
        "quoter": core.quoter,
        "observation_cardinality": CARDINALITY,
        "pools": pools,
    }


def trade(
    builder: Builder, people: Mapping[str, Account], core: Core, tokens: Mapping[str, Token], round_: int
) -> None:
    """Queues one swap in every pool, in turn in both directions, so that observations build up."""
    trader = people["trader"].address
    for listing in LISTINGS.values():
        names = listing.tokens if round_ % 2 == 0 else listing.tokens[::-1]
        source, target = tokens[names[0]], tokens[names[1]]
        # Enough to move the price by a few ticks: an observation is written only where the tick changes.
        amount = source.worth(4 * listing.dollars // listing.half_width)
        order = (source.address, target.address, listing.fee, trader, _NEVER, amount, 0, 0)
        builder.send(trader, core.router, SWAP, order)
