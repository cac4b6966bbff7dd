"""The kit of `morpho_blue`: a new market that lends the vault's asset against ether."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from keeper.conformance.kit import Action, Debts, Kit, Move, Venue
from keeper.conformance.kits import morpho_market
from keeper.conformance.kits.morpho_market import PARAMS, words
from keeper.conformance.world import World
from keeper.connectors.base import EVERYTHING, PositionRef
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import artifact
from keeper.units import WAD, Address

_LLTV: Final = 86 * WAD // 100
_FLOOR: Final = 125 * WAD // 100
_DOLLAR: Final = Address("0x0000000000000000000000000000000000000348")
_NOBODY: Final = Address("0x" + "0" * 40)
_FOR_EVER: Final = 2**40
_PLEDGED: Final = 10 * WAD


class MorphoBlueKit(Kit):
    """Supplies the market and borrows from it, against ether that somebody has pledged for the connector."""

    decimals: ClassVar = (6, 8, 18)
    """Morpho counts shares, a million to the unit, in 128 bits: at 27 decimals that is 340,000 tokens in
    all, and the vault alone has 300,000."""

    def deploy(self, world: World) -> Venue:
        market = morpho_market.create(world, _LLTV)
        morpho, contract = morpho_market.address(world), artifact("MorphoBlueConnector")
        # The connector asks what the prices of a report take when it is made.
        world.govern("setOracle", _router(world))
        connector = world.create(contract, world.core.portfolio, morpho, ([], [market.id], [], _FLOOR))
        params = {"morpho": morpho, "market": market.model_dump(), "borrowable": True}
        ref = PositionRef("morpho_blue", connector, market.id, "morpho:WETH", params)
        return Venue(ref, contract, rests_on=(morpho, market.irm))

    def disturb(self, world: World) -> None:
        """Others supply, withdraw, borrow or repay."""
        morpho_market.disturb(world, _market(world))

    def drain(self, world: World) -> bool:
        """The lender leaves a third of what our position is worth."""
        morpho_market.drain(world, _market(world), world.report(world.now()).low // 3)
        return True

    def restore(self, world: World) -> None:
        """The lender supplies twice what our position is worth."""
        assets = 2 * world.report(world.now()).high + world.unit
        morpho_market.restore(world, _market(world), assets)

    def actions(self, world: World) -> Sequence[Action]:
        part, key = 50 * world.unit, world.venue.ref.key
        ether = _market(world).collateral_token
        pledged_anew = (
            Move("withdrawCollateral", (key, EVERYTHING)),
            Move("supplyCollateral", (key, _PLEDGED), EVERYTHING, ether),
        )
        owed = 10**6 * part
        return (
            Action("take collateral and pledge it anew", lambda w: pledged_anew, prepare=_pledge),
            Action("borrow", lambda w: _borrow(w, 4 * part)),
            Action("repay", lambda w: _repay(w, part)),
            Action("repay shares", lambda w: [Move("repayShares", (key, owed, 2 * part), 2 * part)]),
            Action("repay all", lambda w: [Move("repay", (key, EVERYTHING), 5 * part)], gains=True),
        )

    debts: ClassVar = Debts(
        floor=_FLOOR,
        secure=lambda w: _pledge(w),
        borrow=lambda w, assets: _borrow(w, assets),
        repay=lambda w, assets: _repay(w, assets),
        release=lambda w, assets: [Move("withdrawCollateral", (w.venue.ref.key, WAD // 10))],
        weaken=lambda w: _weaken(w),
    )


def _market(world: World) -> MarketParams:
    return MarketParams.model_validate(world.venue.ref.params["market"])


def _pledge(world: World) -> None:
    """Anybody may pledge for anybody: that is how collateral other than the asset gets there."""
    args = (words(_market(world)), _PLEDGED, world.venue.address, b"")
    signature = f"supplyCollateral({PARAMS},uint256,address,bytes)"
    world.must("borrower", morpho_market.address(world), signature, *args)


def _weaken(world: World) -> None:
    """Ether falls by a tenth."""
    feed = world.devnet.manifest["feeds"]["ETH/USD"]["aggregator"]
    price = world.view(feed, "latestRoundData()", (), "(uint80,int256,uint256,uint256,uint80)")[1]
    world.must("oracle", feed, "push(int256)", price * 9 // 10)


def _borrow(world: World, assets: int) -> Sequence[Move]:
    return [Move("borrow", (world.venue.ref.key, assets))]


def _repay(world: World, assets: int) -> Sequence[Move]:
    return [Move("repay", (world.venue.ref.key, assets), assets)]


def _router(world: World) -> Address:
    """Ether in the vault's asset, through dollars; no round is ever too old."""
    manifest = world.devnet.manifest
    ether = manifest["tokens"]["WETH"]["address"]
    hops = []
    for token, feed in ((ether, "ETH/USD"), (world.asset, "USDC/USD")):
        rules = (_FOR_EVER, WAD // 100, 1_000_000 * WAD, 50, _NOBODY, 0, _NOBODY, 0, 0, "")
        config = (token, _DOLLAR, manifest["feeds"][feed]["proxy"], *rules)
        hops.append((world.create(artifact("ChainlinkSource"), config), token == world.asset))
    return world.create(artifact("OracleRouter"), [(ether, world.asset, hops)])
