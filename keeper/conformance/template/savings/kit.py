"""How the conformance suite deploys a bank and moves its world."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from keeper.conformance.kit import Kit, Venue
from keeper.conformance.solidity import compiled
from keeper.conformance.world import World
from keeper.connectors.base import PositionRef, key_of
from keeper.units import Address

SOLIDITY: Final = Path(__file__).parent / "solidity"

_ALWAYS: Final = 2**255
_OTHERS: Final = 5_000_000
_LENT: Final = 4_000_000
_TEN_PERCENT: Final = 10**17 // (365 * 86_400)


class SavingsKit(Kit):
    """A bank in which others hold five million and have borrowed four."""

    def deploy(self, world: World) -> Venue:
        artifact = compiled(SOLIDITY, "SavingsConnector")
        bank = world.create(compiled(SOLIDITY, "Bank"), world.asset, world.account("deployer"))
        for role in ("lender", "borrower"):
            world.mint(role, 2 * _OTHERS * world.unit)
            world.must(role, world.asset, "approve(address,uint256)", bank, _ALWAYS)
        world.must("lender", bank, "deposit(uint256)", _OTHERS * world.unit)
        world.must("deployer", bank, "setRate(uint256)", _TEN_PERCENT)
        world.must("deployer", bank, "lend(uint256,address)", _LENT * world.unit, world.account("borrower"))
        connector = world.create(artifact, world.core.portfolio, bank)
        params = {"bank": bank, "asset": world.asset}
        ref = PositionRef("savings", connector, key_of(bank), "savings:bank", params)
        return Venue(ref, artifact, rests_on=(bank,))

    def disturb(self, world: World) -> None:
        """Deposits, withdrawals, loans and repayments of others, another rate, a small loss."""
        bank, lender, borrower = _bank(world), world.account("lender"), world.account("borrower")
        cash, lent = world.view(bank, "cash()"), world.view(bank, "lent()")
        kind = world.draw(6)
        if kind == 0:
            world.act("lender", bank, "deposit(uint256)", world.amount(_OTHERS * world.unit // 10))
        elif kind == 1:
            world.act("lender", bank, "withdraw(uint256,address)", world.amount(cash // 2), lender)
        elif kind == 2:
            world.act("deployer", bank, "lend(uint256,address)", world.amount(cash // 2), borrower)
        elif kind == 3:
            world.act("borrower", bank, "repay(uint256)", world.amount(lent // 2))
        elif kind == 4:
            world.act("deployer", bank, "setRate(uint256)", world.draw(10 * _TEN_PERCENT))
        else:
            world.act("deployer", bank, "writeOff(uint256)", world.amount(lent // 1_000))

    def drain(self, world: World) -> bool:
        """The bank lends out all but a third of what our position is worth."""
        bank = _bank(world)
        keep = world.report(world.now()).low // 3
        spare = world.view(bank, "cash()") - keep
        world.must("deployer", bank, "lend(uint256,address)", spare, world.account("borrower"))
        return True

    def restore(self, world: World) -> None:
        """Others deposit as much as our position is worth, twice."""
        assets = 2 * world.report(world.now()).high + world.unit
        world.mint("lender", assets)
        world.must("lender", _bank(world), "deposit(uint256)", assets)


def _bank(world: World) -> Address:
    return Address(world.venue.ref.params["bank"])
