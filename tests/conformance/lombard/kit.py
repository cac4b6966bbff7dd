"""How the conformance suite deploys a house and moves its world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from keeper.conformance.kit import Action, Debts, Kit, Move, Venue
from keeper.conformance.solidity import compiled
from keeper.conformance.world import World
from keeper.connectors.base import PositionRef, key_of
from keeper.units import WAD, Address

SOLIDITY = Path(__file__).parent / "solidity"
FLOOR = 125 * WAD // 100
YEARLY = WAD // (365 * 86_400)


class LombardKit(Kit):
    def deploy(self, world: World) -> Venue:
        artifact = compiled(SOLIDITY, "LombardConnector")
        house = world.create(compiled(SOLIDITY, "Lombard"), world.asset, world.account("deployer"))
        world.mint("lender", 10_000_000 * world.unit)
        world.must("lender", world.asset, "approve(address,uint256)", house, 2**255)
        world.must("lender", house, "pledge(uint256)", 5_000_000 * world.unit)
        world.must("deployer", house, "setRate(uint256)", YEARLY // 10)
        connector = world.create(artifact, world.core.portfolio, house, FLOOR)
        params = {"house": house, "asset": world.asset}
        ref = PositionRef("lombard", connector, key_of(house), "lombard:house", params)
        return Venue(ref, artifact, rests_on=(house,))

    def disturb(self, world: World) -> None:
        """Another rate, another threshold, or somebody repays some of our debt."""
        house, kind = house_of(world), world.draw(3)
        if kind == 0:
            world.act("deployer", house, "setRate(uint256)", world.draw(YEARLY // 5))
        elif kind == 1:
            world.act("deployer", house, "setThreshold(uint256)", WAD - world.draw(WAD // 10))
        else:
            owed = world.view(house, "debtOf(address)", [world.venue.address])
            args = (world.venue.address, world.amount(owed // 20))
            world.act("lender", house, "repayFor(address,uint256)", *args)

    def actions(self, world: World) -> Sequence[Action]:
        part = 50 * world.unit
        return (
            Action("borrow", lambda w: borrow(w, 4 * part)),
            Action("repay", lambda w: repay(w, part)),
            Action("repay all", lambda w: repay(w, 6 * part)),
        )

    debts: ClassVar = Debts(
        floor=FLOOR,
        secure=lambda w: secure(w),
        borrow=lambda w, assets: borrow(w, assets),
        repay=lambda w, assets: repay(w, assets),
        release=lambda w, assets: [w.withdraw(assets)],
        weaken=lambda w: w.must("deployer", house_of(w), "setThreshold(uint256)", 8 * WAD // 10),
    )


def house_of(world: World) -> Address:
    return Address(world.venue.ref.params["house"])


def secure(world: World) -> None:
    world.batch([world.supply(10_000 * world.unit)])


def borrow(world: World, assets: int) -> Sequence[Move]:
    return [Move("borrow", (world.venue.ref.key, assets))]


def repay(world: World, assets: int) -> Sequence[Move]:
    return [Move("repay", (world.venue.ref.key, assets), assets)]
