"""What a connector must withstand: a protocol that breaks, strangers, and its share of the block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from keeper.conformance.score import MissError
from keeper.conformance.value import DEPOSIT_PART
from keeper.conformance.world import REPORT_GAS, World, changing
from keeper.connectors.base import EVERYTHING, Report
from keeper.contracts import Function
from keeper.errors import KeeperError, RevertError, RpcError
from keeper.units import Address

MOVE_GAS: Final = 1_500_000
"""What a batch of one supply or withdrawal may use."""

BROKEN: Final = {
    "reverts": "0x5f5ffd",
    "answers nothing": "0x00",
    "takes all gas": "0x5b5f56",
}
"""Runtime code that a contract of the protocol has for a while."""

_POSITION_VALUE: Final = Function("positionValue(address,bytes32)", "((uint256,uint256),bool)")
_MARKS: Final = Function("marks(address,bytes32)", "(uint128,uint128)")
_STRANGERS: Final = ("user2", "governor", "guardian", "deployer")


def impairment(world: World) -> str:
    """With any contract of the protocol broken NAV still answers, and the position is impaired: worth nothing
    at the low end and its last good value at the high one. The mirror gives no value either."""
    world.batch(world.invest(DEPOSIT_PART * world.unit))
    world.kit.disturb(world)
    world.kit.restore(world)
    at = world.now() + 1
    sound = _value(world, at)
    count = impaired = 0
    for target in world.venue.rests_on:
        for way, code in BROKEN.items():
            with _broken(world, target, code):
                impaired += _impaired(world, at, sound, f"{target} {way}")
            count += 1
        if _value(world, at) != sound:
            raise MissError("The position does not recover", expected=sound, seen=_value(world, at))
    if not impaired:
        raise MissError(
            "No contract that `rests_on` names is needed for the report", seen=world.venue.rests_on
        )
    return f"{count} breakages, {impaired} impaired, none reverts"


def _value(world: World, at: int) -> tuple[int, int, bool]:
    try:
        (low, high), healthy = _POSITION_VALUE.decode(
            world.answer(
                world.core.portfolio, _POSITION_VALUE.encode(world.venue.address, world.venue.ref.key), at
            )
        )
        world.nav(at)
    except RevertError as error:
        raise MissError("NAV reverts", expected="an impaired position", seen=error) from error
    return low, high, healthy


def _impaired(world: World, at: int, sound: tuple[int, int, bool], where: str) -> bool:
    """Whether the breakage impairs the position; one that it does not need leaves its value alone."""
    low, high, healthy = _value(world, at)
    if healthy and (low, high, healthy) != sound:
        raise MissError(
            "A broken protocol gives another value, and no sign of it",
            expected=f"{sound[0]:,} to {sound[1]:,}, or impaired",
            seen=f"{low:,} to {high:,}",
            where=where,
        )
    marked = _MARKS.decode(
        world.answer(world.core.portfolio, _MARKS.encode(world.venue.address, world.venue.ref.key), at)
    )[1]
    if not healthy and (low or high < marked):
        raise MissError(
            "An impaired position is not its last good value",
            expected=f"0 to {marked:,}",
            seen=f"{low:,} to {high:,}",
            where=where,
        )
    mirrored = _mirrored(world, at)
    if mirrored is not None and (not healthy or (mirrored.low, mirrored.high) != sound[:2]):
        raise MissError("The mirror values what the chain cannot", seen=mirrored, where=where)
    return not healthy


def _mirrored(world: World, at: int) -> Report | None:
    try:
        report = world.position().report(at)
    except KeeperError:
        return None
    return report if report.status == 0 else None


@contextmanager
def _broken(world: World, target: Address, code: str) -> Iterator[None]:
    whole = world.devnet.rpc("eth_getCode", target, "latest")
    world.devnet.rpc("anvil_setCode", target, code)
    try:
        yield
    finally:
        world.devnet.rpc("anvil_setCode", target, whole)


def gas(world: World) -> str:
    """A report stays within what the vault gives it, supplies and withdrawals within a part of a block."""
    first = world.batch(world.invest(DEPOSIT_PART * world.unit))
    world.kit.disturb(world)
    world.kit.restore(world)
    reported = world.report_gas()
    if reported > REPORT_GAS:
        raise MissError("A report costs too much gas", expected=f"{REPORT_GAS:,}", seen=f"{reported:,}")
    again = world.batch(world.invest(DEPOSIT_PART * world.unit))
    last = world.batch([world.withdraw(EVERYTHING)])
    supplied, withdrawn = (
        max(int(each["gasUsed"], 16) for each in receipts) for receipts in ((first, again), (last,))
    )
    for name, used in (("supply", supplied), ("withdrawal", withdrawn)):
        if used > MOVE_GAS:
            raise MissError(f"A {name} costs too much gas", expected=f"{MOVE_GAS:,}", seen=f"{used:,}")
    return f"report {reported:,} of {REPORT_GAS:,}, supply {supplied:,}, withdraw {withdrawn:,}"


def permissions(world: World) -> str:
    """Only the portfolio acts; keys that are not listed and amounts of nothing are refused."""
    venue, checked = world.venue, 0
    if (seen := world.view(venue.address, "portfolio()", (), "(address)")) != world.core.portfolio:
        raise MissError("The connector serves another portfolio", expected=world.core.portfolio, seen=seen)
    world.batch([world.supply(DEPOSIT_PART * world.unit)])
    for function in changing(venue.artifact):
        if function.name in world.kit.open_functions:
            continue
        data = function.encode(*_arguments(function, venue.ref.key))
        for caller in (*(world.account(role) for role in _STRANGERS), world.core.vault):
            _check_stranger(world, caller, function, data)
            checked += 1
    other = bytes.fromhex("ff" * 32)
    for name in ("supply", "withdraw"):
        _check_refused(world, name, (other, 1), "A key that is not listed")
        _check_refused(world, name, (venue.ref.key, 0), "An amount of nothing")
    _check_no_report(world, other)
    return f"{checked} calls of strangers refused"


def _check_stranger(world: World, caller: Address, function: Function, data: bytes) -> None:
    request = {"from": caller, "to": world.venue.address, "data": "0x" + data.hex()}
    try:
        world.devnet.rpc("eth_call", request, "latest")
    except RpcError as error:
        refusal = world.revert_of(error)
        if refusal.name == "NotPortfolio":
            return
        seen: Any = refusal
    else:
        seen = "it passed"
    raise MissError("A stranger is let in", expected="NotPortfolio", seen=seen, where=function.signature)


def _check_refused(world: World, function: str, args: tuple[Any, ...], what: str) -> None:
    """As the portfolio itself would be."""
    data = next(f for f in changing(world.venue.artifact) if f.name == function).encode(*args)
    request = {"from": world.core.portfolio, "to": world.venue.address, "data": "0x" + data.hex()}
    try:
        world.devnet.rpc("eth_call", request, "latest")
    except RpcError:
        return
    raise MissError(f"{what} is accepted", expected="a refusal", where=function)


def _check_no_report(world: World, key: bytes) -> None:
    data = Function("report(bytes32)").encode(key)
    try:
        world.devnet.rpc("eth_call", {"to": world.venue.address, "data": "0x" + data.hex()}, "latest")
    except RpcError:
        return
    raise MissError("A key that is not listed has a report", expected="a refusal", where="report")


def _arguments(function: Function, key: bytes) -> list[Any]:
    """Arguments that fit: the key where 32 bytes are asked for, and one of everything else."""
    return [_argument(kind, key) for kind in function.input_types()]


def _argument(kind: str, key: bytes) -> Any:
    if kind.endswith("]"):
        return []
    if kind.startswith("("):
        return tuple(_argument(each, key) for each in Function(f"f{kind}").input_types())
    if kind == "bytes32":
        return key
    if kind == "address":
        return Address("0x" + "0" * 39 + "1")
    if kind.startswith("bytes"):
        return bytes(int(kind.removeprefix("bytes") or 0))
    return {"bool": True, "string": ""}.get(kind, 1)
