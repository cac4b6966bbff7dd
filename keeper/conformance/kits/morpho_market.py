"""A Morpho Blue market of any loan token on the local chain, with others in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keeper.conformance.world import World
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import artifact
from keeper.units import WAD, Address

PARAMS: Final = "(address,address,address,address,uint256)"
BORROWED: Final = 4_000_000
SUPPLIED: Final = 5_000_000
_ALWAYS: Final = 2**255
_PLEDGED: Final = 10_000 * WAD
_MARKET: Final = "(uint128,uint128,uint128,uint128,uint128,uint128)"


def create(world: World, lltv: int) -> MarketParams:
    """A market that lends `world.asset` against ether, 80 % of it lent out; the asset is priced as USDC."""
    manifest = world.devnet.manifest
    ether, feeds = manifest["tokens"]["WETH"]["address"], manifest["feeds"]
    oracle = world.create(
        artifact("MorphoFeedOracle"),
        feeds["ETH/USD"]["proxy"],
        18,
        feeds["USDC/USD"]["proxy"],
        world.decimals,
    )
    irm = manifest["morpho"]["irm"]
    market = MarketParams(loan_token=world.asset, collateral_token=ether, oracle=oracle, irm=irm, lltv=lltv)
    morpho, terms = address(world), words(market)
    world.must("deployer", morpho, f"createMarket({PARAMS})", terms)
    for role in ("lender", "borrower"):
        world.mint(role, 2 * SUPPLIED * world.unit)
        world.must(role, world.asset, "approve(address,uint256)", morpho, _ALWAYS)
    borrower = world.account("borrower")
    supply(world, market, SUPPLIED * world.unit)
    pledge = f"supplyCollateral({PARAMS},uint256,address,bytes)"
    world.must("borrower", morpho, pledge, terms, _PLEDGED, borrower, b"")
    borrow = f"borrow({PARAMS},uint256,uint256,address,address)"
    world.must("borrower", morpho, borrow, terms, BORROWED * world.unit, 0, borrower, borrower)
    return market


def supply(world: World, market: MarketParams, assets: int) -> None:
    """The lender's assets into the market."""
    signature = f"supply({PARAMS},uint256,uint256,address,bytes)"
    args = (words(market), assets, 0, world.account("lender"), b"")
    world.must("lender", address(world), signature, *args)


def disturb(world: World, market: MarketParams) -> None:
    """Others supply, withdraw, borrow or repay."""
    lender, borrower = world.account("lender"), world.account("borrower")
    terms, room = words(market), liquidity(world, market) + 1
    owed = state(world, market)[2]
    moves: Sequence[tuple[str, str, tuple[Any, ...]]] = (
        ("lender", "supply", (terms, world.amount(room), 0, lender, b"")),
        ("lender", "withdraw", (terms, world.amount(room), 0, lender, lender)),
        ("borrower", "borrow", (terms, world.amount(room), 0, borrower, borrower)),
        ("borrower", "repay", (terms, world.amount(owed + 1), 0, borrower, b"")),
    )
    role, name, args = moves[world.draw(len(moves))]
    last = "bytes" if name in ("supply", "repay") else "address"
    world.act(role, address(world), f"{name}({PARAMS},uint256,uint256,address,{last})", *args)


def drain(world: World, market: MarketParams, keep: int) -> None:
    """The lender takes what is not lent out, all but `keep`."""
    lender = world.account("lender")
    signature = f"withdraw({PARAMS},uint256,uint256,address,address)"
    args = (words(market), liquidity(world, market) - keep, 0, lender, lender)
    world.must("lender", address(world), signature, *args)


def restore(world: World, market: MarketParams, assets: int) -> None:
    """The lender supplies new assets."""
    world.mint("lender", assets)
    supply(world, market, assets)


def liquidity(world: World, market: MarketParams) -> int:
    """What the market has not lent out, as stored: interest does not change it."""
    supplied, _, owed, *_ = state(world, market)
    return supplied - owed


def state(world: World, market: MarketParams) -> tuple[int, ...]:
    """`Morpho.market(id)`."""
    found: tuple[int, ...] = world.view(address(world), "market(bytes32)", [market.id], _MARKET)
    return found


def words(market: MarketParams) -> tuple[Address, Address, Address, Address, int]:
    """The parameters as Morpho's functions take them."""
    return market.loan_token, market.collateral_token, market.oracle, market.irm, market.lltv


def address(world: World) -> Address:
    """Morpho Blue."""
    return Address(world.devnet.manifest["morpho"]["address"])
