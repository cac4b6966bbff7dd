"""The kit of `uniswap_v3`: a new pool of the vault's asset and another dollar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from keeper.conformance.kit import Action, Kit, Move, Venue
from keeper.conformance.world import World
from keeper.connectors.base import PositionRef, key_of
from keeper.contracts import artifact
from keeper.simulation.uniswap import SWAP
from keeper.units import WAD, Address

_FEE: Final = 500
_SPACING: Final = 10
_WIDEST: Final = 887_270
_AWAY: Final = 1_000
"""Ticks between the pool's price and our ranges, which hold the asset alone: swaps never come so far."""

_EVEN: Final = 2**96
_LEAST_ROOT: Final = 4_295_128_740
_MOST_ROOT: Final = 1461446703485210103287273052203988822378723970341
_ALL: Final = 2**128 - 1
_DEPTH: Final = 5_000_000
_DOLLAR: Final = Address("0x0000000000000000000000000000000000000348")
_NOBODY: Final = Address("0x" + "0" * 40)
_FOR_EVER: Final = 2**40
_MINT: Final = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
_HOLDINGS: Final = "(uint256,uint256,uint64[])"


class UniswapV3Kit(Kit):
    """Holds the asset for the pool, and mints, changes and burns an NFT with it."""

    decimals: ClassVar = (6, 8, 18)
    """A tick holds no more liquidity than its share of 128 bits: too little for 27 decimals."""

    holds: ClassVar = True

    def deploy(self, world: World) -> Venue:
        uniswap = world.devnet.manifest["uniswap"]
        manager, contract = uniswap["position_manager"], artifact("UniswapV3Connector")
        other = world.new_token("OTHER", world.decimals)
        token0, token1 = sorted((world.asset, other), key=lambda each: int(each, 16))
        signature = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
        world.must("deployer", manager, signature, token0, token1, _FEE, _EVEN)
        args = (token0, token1, _FEE)
        pool = world.view(uniswap["factory"], "getPool(address,address,uint24)", args, "(address)")
        for role, spender in (("lender", manager), ("trader", uniswap["swap_router"])):
            for token in (token0, token1):
                world.mint(role, 2 * _DEPTH * world.unit, token)
                world.must(role, token, "approve(address,uint256)", spender, 2**255)
        depth = _DEPTH * world.unit
        position = (*args, -_WIDEST, _WIDEST, depth, depth, 0, 0, world.account("lender"), _FOR_EVER)
        world.must("lender", manager, _MINT, position)
        world.govern("setOracle", _router(world, other))
        connector = world.create(contract, world.core.portfolio, manager, [key_of(pool)], [_FEE], 100, 2)
        params = {"pool": pool, "token0": token0, "token1": token1}
        ref = PositionRef("uniswap_v3", connector, key_of(pool), "uniswap:even", params)
        return Venue(ref, contract, rests_on=(pool, manager))

    def disturb(self, world: World) -> None:
        """A swap of a trader, towards the even price or away from it."""
        params = world.venue.ref.params
        tokens = [params["token0"], params["token1"]]
        if world.draw(2):
            tokens.reverse()
        limit = _LEAST_ROOT if tokens[0] == params["token0"] else _MOST_ROOT
        amount = world.amount(2_000 * world.unit)
        swap = (*tokens, _FEE, world.account("trader"), _FOR_EVER, amount, 0, limit)
        world.act("trader", world.devnet.manifest["uniswap"]["swap_router"], SWAP, swap)

    def employ(self, world: World, assets: int) -> Sequence[Move]:
        """Into the NFT, or a first one."""
        amounts = (*_sides(world, assets), *_sides(world, 1))
        if _nfts(world):
            return [Move("increase", (_minted(world), *amounts))]
        return [Move("mint", (world.venue.ref.key, *_range(world), *amounts))]

    def actions(self, world: World) -> Sequence[Action]:
        key, part = world.venue.ref.key, 100 * world.unit
        lower, upper = _range(world)
        return (
            Action("mint", lambda w: [Move("mint", (key, lower, upper, *_sides(w, part), *_sides(w, 1)))]),
            Action("increase", lambda w: [Move("increase", (_minted(w), *_sides(w, part), *_sides(w, 1)))]),
            Action("decrease", lambda w: [Move("decrease", (_minted(w), 10**9, *_sides(w, 1)))]),
            Action("collect what it owes", lambda w: [Move("collectFees", (_minted(w),))]),
            Action("empty and burn", _emptied),
            Action("hold", lambda w: [Move("hold", (key, w.asset, part), part)]),
            Action("release", lambda w: [Move("release", (key, w.asset, part))]),
        )


def _router(world: World, other: Address) -> Address:
    """The other dollar in the vault's asset, through the same feed; no round is ever too old."""
    feed = world.devnet.manifest["feeds"]["USDC/USD"]["proxy"]
    rules = (_FOR_EVER, WAD // 100, 1_000_000 * WAD, 1, _NOBODY, 0, _NOBODY, 0, 0, "")
    hops = [
        (world.create(artifact("ChainlinkSource"), (token, _DOLLAR, feed, *rules)), token == world.asset)
        for token in (other, world.asset)
    ]
    return world.create(artifact("OracleRouter"), [(other, world.asset, hops)])


def _is_first(world: World) -> bool:
    return bool(world.venue.ref.params["token0"] == world.asset)


def _sides(world: World, amount: int) -> tuple[int, int]:
    """An amount of the asset and none of the other token, in the pool's order."""
    return (amount, 0) if _is_first(world) else (0, amount)


def _range(world: World) -> tuple[int, int]:
    """Ticks on that side of the even price where liquidity is of the asset alone."""
    near, far = _AWAY, _AWAY + 100 * _SPACING
    return (near, far) if _is_first(world) else (-far, -near)


def _nfts(world: World) -> tuple[int, ...]:
    found = world.view(world.venue.address, "holdings(bytes32)", [world.venue.ref.key], _HOLDINGS)
    return tuple(found[2])


def _minted(world: World) -> int:
    """The NFT that was minted last."""
    return _nfts(world)[-1]


def _emptied(world: World) -> Sequence[Move]:
    minted = _minted(world)
    return [
        Move("decrease", (minted, _ALL, *_sides(world, 1))),
        Move("collectFees", (minted,)),
        Move("burn", (minted,)),
    ]
