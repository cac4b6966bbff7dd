"""The kit of `aave_v3`: one reserve of the local Aave market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from keeper.conformance.kit import Action, Debts, Kit, Move, Venue
from keeper.conformance.world import World
from keeper.connectors.base import EVERYTHING, PositionRef, key_of
from keeper.contracts import artifact
from keeper.units import WAD, Address

_SYMBOLS: Final = {6: "USDC", 8: "WBTC", 18: "DAI"}
_FLOOR: Final = 125 * WAD // 100
_VARIABLE: Final = 2
_SUPPLY: Final = "supply(address,uint256,address,uint16)"
_WITHDRAW: Final = "withdraw(address,uint256,address)"
_BORROW: Final = "borrow(address,uint256,uint256,uint16,address)"
_REPAY: Final = "repay(address,uint256,uint256,address)"


class AaveV3Kit(Kit):
    """Supplies a reserve, uses it as collateral, and borrows of the same reserve."""

    decimals: ClassVar = tuple(_SYMBOLS)
    rounding: ClassVar = 3
    open_functions: ClassVar = frozenset({"dropGift"})
    untried: ClassVar = {"claimRewards": "this deployment lists no reward token"}

    def asset(self, world: World, decimals: int) -> Address:
        """A listed token: Aave knows no others."""
        return Address(world.devnet.manifest["tokens"][_SYMBOLS[decimals]]["address"])

    def deploy(self, world: World) -> Venue:
        aave, symbol = world.devnet.manifest["aave"], _SYMBOLS[world.decimals]
        reserve, key = aave["reserves"][symbol], key_of(world.asset)
        contract = artifact("AaveV3Connector")
        connector = world.create(contract, world.core.portfolio, aave["pool"], ([key], [key], [], _FLOOR))
        params = {
            "pool": aave["pool"],
            "asset": reserve["asset"],
            "a_token": reserve["a_token"],
            "variable_debt_token": reserve["variable_debt_token"],
            "rate_strategy": aave["rate_strategy"],
            "account": {
                "keys": [world.asset],
                "borrowable": [world.asset],
                "addresses_provider": aave["addresses_provider"],
                "oracle": aave["oracle"],
                "min_health": _FLOOR,
            },
        }
        ref = PositionRef("aave_v3", connector, key, f"aave:{symbol}", params)
        return Venue(ref, contract, rests_on=(aave["pool"], reserve["a_token"]))

    def disturb(self, world: World) -> None:
        """Others supply, withdraw, borrow or repay."""
        pool, asset, liquidity = _pool(world), world.asset, _liquidity(world)
        lender, borrower = world.account("lender"), world.account("borrower")
        moves: Sequence[tuple[str, str, tuple[Any, ...]]] = (
            ("lender", _SUPPLY, (asset, world.amount(liquidity), lender, 0)),
            ("lender", _WITHDRAW, (asset, world.amount(liquidity // 2), lender)),
            ("borrower", _BORROW, (asset, world.amount(liquidity // 2), _VARIABLE, 0, borrower)),
            ("borrower", _REPAY, (asset, world.amount(liquidity), _VARIABLE, borrower)),
        )
        role, signature, args = moves[world.draw(len(moves))]
        world.act(role, pool, signature, *args)

    def drain(self, world: World) -> bool:
        """The lender leaves a third of what our position is worth."""
        spare = _liquidity(world) - world.report(world.now()).low // 3
        world.must("lender", _pool(world), _WITHDRAW, world.asset, spare, world.account("lender"))
        return True

    def restore(self, world: World) -> None:
        """The lender supplies twice what our position is worth."""
        assets = 2 * world.report(world.now()).high + world.unit
        world.mint("lender", assets)
        world.must("lender", _pool(world), _SUPPLY, world.asset, assets, world.account("lender"), 0)

    def actions(self, world: World) -> Sequence[Action]:
        part = 50 * world.unit
        return (
            Action("use as collateral", lambda w: [Move("setCollateral", (w.venue.ref.key, True))]),
            Action("leave the efficiency mode", lambda w: [Move("setEMode", (0,))]),
            Action("borrow", lambda w: _borrow(w, 4 * part)),
            Action("repay", lambda w: _repay(w, part)),
            Action("repay with supplies", lambda w: [Move("repayWithATokens", (w.venue.ref.key, part))]),
            Action(
                "repay all", lambda w: [Move("repay", (w.venue.ref.key, EVERYTHING), 5 * part)], gains=True
            ),
        )

    debts: ClassVar = Debts(
        floor=_FLOOR,
        secure=lambda w: _secure(w),
        borrow=lambda w, assets: _borrow(w, assets),
        repay=lambda w, assets: _repay(w, assets),
        release=lambda w, assets: [w.withdraw(assets)],
        weaken=lambda w: _weaken(w),
    )


def _secure(world: World) -> None:
    world.batch([world.supply(10_000 * world.unit)])


def _weaken(world: World) -> None:
    """The reserve's liquidation threshold falls to 70 %: a price would move collateral and debt alike."""
    configurator = world.devnet.manifest["aave"]["configurator"]
    signature = "configureReserveAsCollateral(address,uint256,uint256,uint256)"
    world.must("deployer", configurator, signature, world.asset, 6_000, 7_000, 10_450)


def _borrow(world: World, assets: int) -> Sequence[Move]:
    return [Move("borrow", (world.venue.ref.key, assets))]


def _repay(world: World, assets: int) -> Sequence[Move]:
    return [Move("repay", (world.venue.ref.key, assets), assets)]


def _liquidity(world: World) -> int:
    return int(world.view(_pool(world), "getVirtualUnderlyingBalance(address)", [world.asset], "(uint128)"))


def _pool(world: World) -> Address:
    return Address(world.devnet.manifest["aave"]["pool"])
