"""The mirror against the chain: values to the wei, predictions of moves, every number of decimals."""

from collections.abc import Sequence
from typing import Final

from keeper.conformance.kit import Move
from keeper.conformance.score import MissError
from keeper.conformance.world import World
from keeper.connectors.base import EVERYTHING, Position, Report
from keeper.errors import RevertError

STATES: Final = 40
MOVES: Final = 10


def valuation(world: World, states: int = STATES) -> str:
    """The mirror's report equals the connector's own, word by word, in states that others and we made.

    Each state is compared at its own time and at a later one, to which the mirror has to accrue.
    """
    compared = moved = owing = 0
    debts = world.kit.debts
    if debts is not None:
        debts.secure(world)
    for step in range(states):
        if step % 2 == 0:
            moved += _move(world)
        world.kit.disturb(world)
        position = world.position()
        for at in (world.now(), world.later()):
            reported = world.report(at)
            same(position, reported, at, world)
            compared, owing = compared + 1, owing + (reported.debt != 0)
    if not moved:
        raise MissError("No move of ours was ever accepted", expected="supplies and withdrawals", seen=0)
    if debts is not None and not owing:
        raise MissError("No loan of ours was ever accepted", expected="reports with a debt", seen=0)
    return f"{states} states, {compared} reports, difference 0" + (f", {owing} with a debt" if owing else "")


def same(position: Position, reported: Report, at: int, world: World) -> None:
    """Raises MissError unless the mirror says at `at` what the chain `reported`."""
    mirrored = position.report(at)
    if mirrored != reported:
        raise MissError(
            "The mirror's report differs from the chain's",
            expected=_words(reported),
            seen=_words(mirrored),
            where=f"{world.venue.ref.venue}, {world.decimals} decimals, at {at}",
        )


def _words(report: Report) -> str:
    return (
        f"low {report.low:,} high {report.high:,} {report.status.name} "
        f"debt {report.debt:,} health {report.health}"
    )


def _move(world: World) -> bool:
    """A supply, withdrawal, loan or repayment of some amount, or a full exit; false when it is refused."""
    held, debts, kind = world.report(world.now()).low, world.kit.debts, world.draw(6)
    moves: Sequence[Move]
    if held and kind > 3 and debts is not None:
        build = debts.borrow if kind == 4 else debts.repay
        moves = build(world, world.amount(held // 4))
    elif held == 0 or kind > 1:
        moves = world.invest(world.amount(world.idle() // 4, world.unit // 100))
    else:
        moves = [world.withdraw(EVERYTHING if kind == 0 else world.amount(held))]
    try:
        world.batch(moves, world.later())
    except RevertError:
        return False
    return True


def prediction(world: World, moves: int = MOVES) -> str:
    """`after_supply` and `after_withdraw` say what the chain then reports, and `max_withdraw` what leaves."""
    world.batch([world.supply(DEPOSIT_PART * world.unit)])
    for step in range(moves):
        world.kit.disturb(world)
        world.kit.restore(world)
        position, at = world.position(), world.later()
        if step % 2:
            assets = world.amount(min(world.idle() // 4, position.max_supply(at)), world.unit // 100)
            predicted = position.after_supply(assets, at)
            world.batch([world.supply(assets)], at)
        else:
            leaving = EVERYTHING if step % 6 == 2 else world.amount(position.max_withdraw(at) // 2)
            predicted, promised = position.after_withdraw(leaving, at)
            _received(world, leaving, promised, at)
            if leaving == EVERYTHING:
                world.batch([world.supply(DEPOSIT_PART * world.unit)])
                continue
        later = world.later()
        for then in (at, later):
            same(predicted, world.report(then), then, world)
    return f"{moves} moves, difference 0"


DEPOSIT_PART: Final = 1_000
"""Whole tokens that a position begins with."""


def _received(world: World, assets: int, promised: int, at: int) -> None:
    before = world.balance(world.asset, world.core.portfolio)
    world.batch([world.withdraw(assets)], at)
    received = world.balance(world.asset, world.core.portfolio) - before
    if received != promised:
        raise MissError("A withdrawal pays another amount than predicted", expected=promised, seen=received)


def decimals(world: World) -> str:
    """With an asset of each number of decimals a deposit counts as what it is, and is paid back."""
    tried = []
    for each in world.kit.decimals:
        with world.devnet.undone():
            swept = World(world.devnet, world.kit, each, f"{world.kit.__class__.__name__}/decimals")
            for whole, tenths in ((1, 1), (DEPOSIT_PART, 1), (123_456, 7)):
                _sweep(swept, whole * swept.unit + tenths * swept.unit // 10)
        tried.append(str(each))
    return f"{', '.join(tried)} decimals"


def _sweep(world: World, assets: int) -> None:
    at = world.now() + 1
    before = world.idle()
    world.batch([world.supply(assets)], at)
    reported = world.report(at)
    where = f"{world.venue.ref.venue}, {world.decimals} decimals"
    if abs(reported.low - assets) > world.kit.rounding:
        raise MissError("A deposit counts as another amount", expected=assets, seen=reported.low, where=where)
    same(world.position(), reported, at, world)
    world.batch([world.withdraw(EVERYTHING)], at + 1)
    lost = before - world.idle()
    if lost > world.kit.rounding:
        raise MissError(
            "A deposit is not paid back", expected=f"{world.kit.rounding} units lost", seen=lost, where=where
        )
