"""The kit of `metamorpho`: a new vault over two new markets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from keeper.conformance.kit import Action, Kit, Move, Venue
from keeper.conformance.kits import morpho_market
from keeper.conformance.kits.morpho_market import PARAMS, words
from keeper.conformance.world import World
from keeper.connectors.base import PositionRef, key_of
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import artifact
from keeper.units import WAD, Address

_LLTVS: Final = (86 * WAD // 100, 945 * WAD // 1000)
_CAP: Final = 100_000_000
_FEE: Final = WAD // 10
_OTHERS: Final = 2_000_000


class MetaMorphoKit(Kit):
    """Holds shares of a vault that spreads over two markets, with a fee, through the ERC-4626 connector."""

    decimals: ClassVar = (6, 8, 18)
    """As its markets."""

    untried: ClassVar = {
        "requestRedeem": "of vaults that redeem on request",
        "claim": "of vaults that take deposits or redeem on request",
    }

    def deploy(self, world: World) -> Venue:
        markets = [morpho_market.create(world, lltv) for lltv in _LLTVS]
        morpho = morpho_market.address(world)
        owner, lender = world.account("deployer"), world.account("lender")
        vault = world.create(artifact("MetaMorpho"), owner, morpho, world.asset, "Prime", "PRIME")
        for market in markets:
            world.must("deployer", vault, f"setCap({PARAMS},uint184)", words(market), _CAP * world.unit)
        world.must("deployer", vault, "setSupplyQueue(bytes32[])", [market.id for market in markets])
        world.must("deployer", vault, "setFeeRecipient(address)", world.account("treasury"))
        world.must("deployer", vault, "setFee(uint256)", _FEE)
        world.mint("lender", 10 * _OTHERS * world.unit)
        world.must("lender", world.asset, "approve(address,uint256)", vault, 2**255)
        world.must("lender", vault, "deposit(uint256,address)", _OTHERS * world.unit, lender)
        contract = artifact("ERC4626Connector")
        connector = world.create(contract, world.core.portfolio, [key_of(vault)], [])
        params = {"vault": vault, "morpho": morpho, "markets": [each.model_dump() for each in markets]}
        ref = PositionRef("metamorpho", connector, key_of(vault), "metamorpho:prime", params)
        return Venue(ref, contract, rests_on=(vault, morpho, markets[0].irm))

    def disturb(self, world: World) -> None:
        """Others move in one of the markets or in the vault, or its fee and queue change."""
        vault, lender = _vault(world), world.account("lender")
        markets = _markets(world)
        kind = world.draw(8)
        if kind < 4:
            morpho_market.disturb(world, markets[kind % 2])
        elif kind == 4:
            assets = world.amount(_OTHERS * world.unit // 10)
            world.act("lender", vault, "deposit(uint256,address)", assets, lender)
        elif kind == 5:
            assets = world.amount(_OTHERS * world.unit // 20)
            world.act("lender", vault, "withdraw(uint256,address,address)", assets, lender, lender)
        elif kind == 6:
            world.act("deployer", vault, "setFee(uint256)", world.draw(WAD // 2))
        else:
            queue = [each.id for each in markets][:: 1 if world.draw(2) else -1]
            world.act("deployer", vault, "setSupplyQueue(bytes32[])", queue)

    def drain(self, world: World) -> bool:
        """The lender leaves a sixth of what our position is worth in each market."""
        keep = world.report(world.now()).low // 6
        for market in _markets(world):
            morpho_market.drain(world, market, keep)
        return True

    def restore(self, world: World) -> None:
        """The lender supplies twice what our position is worth to each market."""
        assets = 2 * world.report(world.now()).high + world.unit
        for market in _markets(world):
            morpho_market.restore(world, market, assets)

    def actions(self, world: World) -> Sequence[Action]:
        key, part = world.venue.ref.key, 100 * world.unit
        return (
            Action("deposit", lambda w: [Move("deposit", (key, part, 1), part)]),
            Action("redeem", lambda w: [Move("redeem", (key, _shares(w) // 3, 1))]),
        )


def _vault(world: World) -> Address:
    return Address(world.venue.ref.params["vault"])


def _markets(world: World) -> tuple[MarketParams, ...]:
    return tuple(MarketParams.model_validate(each) for each in world.venue.ref.params["markets"])


def _shares(world: World) -> int:
    return world.balance(_vault(world), world.venue.address)
