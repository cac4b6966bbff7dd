"""Ways in and out: neutral actions, round trips, full exits, exits in need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.conformance.kit import Action, Move
from keeper.conformance.score import MissError
from keeper.conformance.value import DEPOSIT_PART
from keeper.conformance.world import World, changing
from keeper.connectors.base import EVERYTHING
from keeper.contracts import address
from keeper.errors import RevertError
from keeper.units import Address

ROUNDS: Final = 6
_APPROVAL: Final = "0x" + keccak(b"Approval(address,address,uint256)").hex()
_DONATION: Final = 1


def neutrality(world: World) -> str:
    """Every action leaves NAV, measured in its own block, as it was; nothing stays approved or stranded.

    A unit of the asset that somebody has sent to the connector must neither count, nor be spent, nor be in
    the way; `collect`, where there is one, gets it. Every function that changes state is part of an action,
    or the kit says why not.
    """
    _donate(world)
    part = DEPOSIT_PART * world.unit
    plain = (
        Action("supply", lambda w: [w.supply(part)]),
        Action("supply again", lambda w: [w.supply(part // 3)], prepare=world.kit.disturb),
        Action("withdraw", lambda w: [w.withdraw(part // 7)], prepare=world.kit.restore),
    )
    left = Action("full exit", lambda w: [w.withdraw(EVERYTHING)], prepare=world.kit.restore)
    loose = Action("collect", lambda w: [Move("collect", (w.asset,))], prepare=_donate, gains=True)
    collects = any(each.name == loose.name for each in changing(world.venue.artifact))
    worst = count = 0
    for action in (*plain, *world.kit.actions(world), *([loose] if collects else []), left):
        change = _neutral(world, action)
        worst, count = max(worst, -change), count + 1
    _check_all_tried(world)
    return f"{count} actions, at most {worst} units lost"


def _donate(world: World) -> None:
    world.mint("lender", _DONATION)
    world.must("lender", world.asset, "transfer(address,uint256)", world.venue.address, _DONATION)


def _neutral(world: World, action: Action) -> int:
    """By how much the action changed the low end of NAV."""
    action.prepare(world)
    at = world.later()
    moves = action.moves(world)
    if not moves:
        raise MissError("An action has nothing to do", where=action.name, hint="Let its prepare see to that.")
    (before, _), loose = world.nav(at), world.balance(world.asset, world.venue.address)
    receipt = _passing(world, moves, at, action.name)
    after, healthy = world.nav(at)
    change = after.low - before.low
    rounding = world.kit.rounding if action.rounding is None else action.rounding
    if change < -rounding or (change > rounding and not action.gains):
        raise MissError(
            "An action changes NAV",
            expected=f"{before.low:,} within {rounding} units",
            seen=f"{after.low:,}",
            where=action.name,
        )
    if not healthy:
        raise MissError("An action leaves NAV in doubt", where=action.name)
    stranded = 0 if world.kit.holds else world.balance(world.asset, world.venue.address) - loose
    if stranded > 0:
        raise MissError("Assets are stranded on the connector", expected=0, seen=stranded, where=action.name)
    if stranded < 0 and not action.gains:
        raise MissError(
            "Assets that were not pushed are spent", expected=0, seen=-stranded, where=action.name
        )
    _check_allowances(world, receipt, action.name)
    return change


def _passing(world: World, moves: Sequence[Move], at: int, name: str) -> dict[str, Any]:
    try:
        return world.batch(moves, at)
    except RevertError as error:
        raise MissError("An action is refused", seen=error, where=name) from error


def _check_allowances(world: World, receipt: Mapping[str, Any], name: str) -> None:
    for token, spender in _approved(receipt, world.venue.address):
        left = world.view(token, "allowance(address,address)", [world.venue.address, spender])
        if left:
            raise MissError("An allowance is left", expected=0, seen=left, where=f"{name}: {spender}")


def _approved(receipt: Mapping[str, Any], owner: Address) -> Iterator[tuple[Address, Address]]:
    """(token, spender) of every approval that the owner gave."""
    for log in receipt["logs"]:
        topics = log["topics"]
        if len(topics) == 3 and topics[0] == _APPROVAL and int(topics[1], 16) == int(owner, 16):
            yield address(log["address"]), address("0x" + topics[2][-40:])


def _check_all_tried(world: World) -> None:
    every = {function.name for function in changing(world.venue.artifact)}
    missing = every - world.tried - set(world.kit.untried) - world.kit.open_functions
    if missing:
        raise MissError(
            "Functions that no action tries",
            expected="every function that changes state, or a reason in the kit's `untried`",
            seen=", ".join(sorted(missing)),
        )


def round_trip(world: World) -> str:
    """In and out again in one batch costs rounding at most, and gains nothing."""
    worst = 0
    allowed = 2 * world.kit.rounding
    for _ in range(ROUNDS):
        world.kit.disturb(world)
        world.kit.restore(world)
        assets = world.amount(world.idle() // 2, world.unit // 100)
        before = world.idle()
        world.batch([*world.invest(assets), world.withdraw(EVERYTHING)], world.later())
        lost = before - world.idle()
        if not 0 <= lost <= allowed:
            raise MissError(
                "A round trip " + ("costs" if lost > 0 else "gains"),
                expected=f"0 to {allowed} units lost",
                seen=f"{lost:,} units lost of {assets:,}",
            )
        worst = max(worst, lost)
    return f"{ROUNDS} round trips, at most {worst} units lost"


def full_exit(world: World) -> str:
    """A full exit pays what the report of its own block says, and leaves nothing."""
    worst = 0
    for _ in range(ROUNDS):
        world.batch(world.invest(world.amount(world.idle() // 4, world.unit)))
        for _ in range(3):
            world.kit.disturb(world)
        world.kit.restore(world)
        at = world.later()
        said = world.report(at)
        paid = _exit(world, at)
        if not said.low <= paid <= said.high:
            raise MissError(
                "A full exit pays something else than the report says",
                expected=f"{said.low:,} to {said.high:,}",
                seen=f"{paid:,}",
            )
        worst = max(worst, said.high - paid)
        left = world.report(at)
        if left.high or left.debt:
            raise MissError("A full exit leaves something", expected=0, seen=f"{left.high:,}")
    return f"{ROUNDS} exits, at most {worst} units below the report"


def _exit(world: World, at: int) -> int:
    """What a full exit pays into the vault, by balance; its ledger has to have booked the same."""
    before, idle = world.balance(world.asset, world.core.portfolio), world.idle()
    world.batch([world.withdraw(EVERYTHING)], at)
    paid = world.balance(world.asset, world.core.portfolio) - before
    if world.idle() - idle != paid:
        raise MissError("The vault booked something else than it was paid", expected=paid, seen=world.idle())
    return paid


def emergency_exit(world: World) -> str:
    """While risk is paused, the connector may only be left, and others took the liquidity: a full exit takes
    what is at hand, the rest stays a position, and leaves when liquidity is back."""
    world.batch(world.invest(100 * DEPOSIT_PART * world.unit))
    registry, vault, connector = world.core.registry, world.core.vault, world.venue.address
    world.must("guardian", registry, "pauseRisk(address)", vault)
    world.must("guardian", registry, "setExitOnly(address,address)", vault, connector)
    drained = world.kit.drain(world)
    at = world.now() + 60
    said = world.report(at)
    paid = _pressed(world, at)
    left = world.report(at)
    if drained and not left.high:
        raise MissError("The kit's drain left all of the liquidity", hint="Let others take more.")
    lost = said.low - paid - left.low
    if not -world.kit.rounding <= lost <= world.kit.rounding:
        raise MissError(
            "A partial exit changes what is owned", expected=f"{said.low:,}", seen=f"{paid + left.low:,}"
        )
    if not drained:
        return f"all of {paid:,} paid; the protocol never runs dry"
    world.kit.restore(world)
    at = world.now() + 60
    rest = _pressed(world, at)
    if world.report(at).high:
        raise MissError("With liquidity back the exit leaves something", seen=f"{world.report(at).high:,}")
    return f"{paid * 100 // (paid + rest)} % paid at once, the rest later"


def _pressed(world: World, at: int) -> int:
    try:
        paid = _exit(world, at)
    except RevertError as error:
        raise MissError("An exit in need is refused", expected="what is at hand", seen=error) from error
    if not paid:
        raise MissError("An exit in need pays nothing", expected="what is at hand", seen=0)
    return paid


def solvency(world: World) -> str:
    """No action takes health below its floor; what lowers risk passes even when it is below."""
    debts = world.kit.debts
    if debts is None:
        raise MissError("A connector that can borrow says how", expected="`debts` in its kit", seen="None")
    debts.secure(world)
    world.batch(debts.borrow(world, DEPOSIT_PART * world.unit))
    now = world.report(world.now())
    if not now.debt or now.health <= debts.floor:
        raise MissError(
            "A small debt is not reported", expected=f"health over {debts.floor}", seen=now.health
        )
    # Health falls as the debt grows: just above the floor, then just below it.
    near, beyond = (now.debt * now.health * 100 // (debts.floor * part) - now.debt for part in (101, 98))
    with world.devnet.undone():
        world.batch(debts.borrow(world, near))
    _refused(world, debts.borrow(world, beyond), "A debt that takes health below the floor passes")
    world.batch(debts.borrow(world, near))
    debts.weaken(world)
    now = world.report(world.now())
    weak = now.health
    if weak >= debts.floor:
        raise MissError("The kit's weaken left health above the floor", expected=debts.floor, seen=weak)
    part = DEPOSIT_PART * world.unit
    _refused(world, debts.release(world, part), "What secures a weak debt can be taken away")
    try:
        # So little that health stays below the floor.
        world.batch(debts.repay(world, now.debt * (debts.floor - weak) // (2 * debts.floor)))
    except RevertError as error:
        raise MissError("A repayment below the floor is refused", seen=error) from error
    stronger = world.report(world.now()).health
    if stronger <= weak:
        raise MissError("A repayment does not raise health", expected=f"over {weak}", seen=stronger)
    return f"floor {debts.floor * 100 // 10**18} % kept"


def _refused(world: World, moves: Sequence[Move], otherwise: str) -> None:
    with world.devnet.undone():
        try:
            world.batch(moves)
        except RevertError:
            return
        seen = world.report(world.now()).health
    raise MissError(otherwise, expected="a refusal", seen=f"health {seen}")


def can_borrow(world: World) -> bool:
    """Whether the connector has a function that borrows, whatever its kit says."""
    return world.kit.debts is not None or any(
        function.name == "borrow" for function in changing(world.venue.artifact)
    )
