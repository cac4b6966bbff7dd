"""Calldata of LiFi's generic swaps, decoded as the on-chain handler does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keeper.contracts.abi import Function
from keeper.errors import DecodeError, RefusedError
from keeper.swap.deployments import FORWARD_FEES, MULTIPLE, SINGLE
from keeper.units import Address

MAX_CALLDATA: Final = 16_384
MAX_STEPS: Final = 8
MAX_NAME: Final = 64
"""Limits of `LiFiExecutor`."""

EXACT_INPUT: Final = Function("exactInput((bytes,address,uint256,uint256,uint256))")
"""Uniswap v3's SwapRouter: path, recipient, deadline, amount in, minimum out."""
_ADDRESS, _HOP = 20, 23


@dataclass(frozen=True)
class SwapStep:
    """One call of the diamond: `SwapData` of LiFi."""

    call_to: Address
    approve_to: Address
    sending: Address
    receiving: Address
    from_amount: int
    data: bytes
    requires_deposit: bool

    @property
    def is_fee(self) -> bool:
        """Whether it hands a part of one token on, and swaps nothing."""
        return self.sending == self.receiving


@dataclass(frozen=True)
class GenericSwap:
    """The arguments of a generic swap. A single swap is a list of one."""

    selector: bytes
    transaction_id: bytes
    integrator: str
    referrer: str
    receiver: Address
    min_amount_out: int
    steps: tuple[SwapStep, ...]


def encode(swap: GenericSwap) -> bytes:
    """Calldata of a swap, single or multiple by its selector."""
    head = (swap.transaction_id, swap.integrator, swap.referrer, swap.receiver, swap.min_amount_out)
    steps = [
        (s.call_to, s.approve_to, s.sending, s.receiving, s.from_amount, s.data, s.requires_deposit)
        for s in swap.steps
    ]
    if swap.selector == SINGLE.selector:
        return SINGLE.encode(*head, steps[0])
    return MULTIPLE.encode(*head, steps)


def decode(data: bytes) -> GenericSwap:
    """A generic swap from calldata of which every byte is accounted for.

    Raises RefusedError for another selector or too long calldata, DecodeError where the bytes are not those
    that encoding the arguments gives.
    """
    where = "transactionRequest.data"
    known = {SINGLE.selector: SINGLE, MULTIPLE.selector: MULTIPLE}
    function = known.get(data[:4])
    if function is None:
        raise RefusedError(
            "The selector is not one of a generic swap",
            expected=" or ".join("0x" + each.hex() for each in known),
            seen=data[:4],
            where=where,
        )
    if len(data) > MAX_CALLDATA:
        raise RefusedError("The calldata is too long", expected=MAX_CALLDATA, seen=len(data), where=where)
    *head, steps = _arguments(function, data)
    rows = [steps] if function is SINGLE else steps
    swap = _named(function, head, tuple(SwapStep(*row) for row in rows))
    if encode(swap) != data:
        raise DecodeError(
            "The calldata holds more than its arguments, or holds them in another order", where=where
        )
    return swap


def _named(function: Function, head: Sequence[Any], steps: tuple[SwapStep, ...]) -> GenericSwap:
    transaction_id, integrator, referrer, receiver, minimum = head
    return GenericSwap(function.selector, transaction_id, integrator, referrer, receiver, minimum, steps)


def _arguments(function: Function, data: bytes) -> tuple[Any, ...]:
    try:
        return function.decode_input(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(
            "The calldata does not decode", seen=error, where="transactionRequest.data"
        ) from error


@dataclass(frozen=True)
class Target:
    """A contract the steps may call: who is approved for it, and which of its functions."""

    spender: Address
    selectors: frozenset[bytes]


@dataclass(frozen=True)
class Frame:
    """Where a step takes place."""

    diamond: Address
    targets: Mapping[Address, Target]
    now: int


def check_steps(steps: Sequence[SwapStep], frame: Frame) -> int:
    """Follows the token from step to step; returns what its fees take of the first token.

    The rules are those of `LiFiExecutor`, and beyond them what is inside a step of a known function must say
    the same as the step. Raises RefusedError naming the field.
    """
    if not 0 < len(steps) <= MAX_STEPS:
        raise refuse("steps", f"1 to {MAX_STEPS} steps", len(steps))
    fees, token, available = 0, steps[0].sending, steps[0].from_amount
    for number, step in enumerate(steps):
        where = f"steps.{number}"
        require(f"{where}.requiresDeposit", number == 0, step.requires_deposit)
        require(f"{where}.sendingAssetId", token, step.sending)
        if step.from_amount > available:
            raise refuse(f"{where}.fromAmount", f"at most {available}", step.from_amount)
        _check_target(where, step, frame)
        inner = _check_inner(where, step, frame)
        if step.is_fee and step.sending != steps[0].sending:
            raise refuse(f"{where}.sendingAssetId", "a fee in the first token", step.sending)
        fees += inner
        token = step.receiving
        # What a swap brings is known to the chain alone; what a fee leaves is known here.
        available = step.from_amount - inner if step.is_fee else 2**256 - 1
    return fees


def _check_target(where: str, step: SwapStep, frame: Frame) -> None:
    target = frame.targets.get(step.call_to)
    if target is None:
        raise refuse(f"{where}.callTo", f"one of {', '.join(sorted(frame.targets))}", step.call_to)
    if step.data[:4] not in target.selectors:
        allowed = ", ".join("0x" + each.hex() for each in sorted(target.selectors))
        raise refuse(f"{where}.callData", f"selector {allowed}", "0x" + step.data[:4].hex())
    require(f"{where}.approveTo", target.spender, step.approve_to)


def _check_inner(where: str, step: SwapStep, frame: Frame) -> int:
    """The fee a step hands on, 0 for a swap. Functions other than these two stay unread."""
    selector = step.data[:4]
    if step.is_fee or selector == FORWARD_FEES.selector:
        return _check_fee(where, step)
    if selector == EXACT_INPUT.selector:
        _check_exact_input(where, step, frame)
    return 0


def _check_fee(where: str, step: SwapStep) -> int:
    require(f"{where}.receivingAssetId", step.sending, step.receiving)
    require(f"{where}.callData", "0x" + FORWARD_FEES.selector.hex(), "0x" + step.data[:4].hex())
    token, distributions = FORWARD_FEES.decode_input(step.data)
    require(f"{where}.callData.token", step.sending, token)
    total = sum(amount for _, amount in distributions)
    if total >= step.from_amount:
        raise refuse(f"{where}.callData.distributions", f"less than {step.from_amount}", total)
    return int(total)


def _check_exact_input(where: str, step: SwapStep, frame: Frame) -> None:
    ((path, recipient, deadline, amount_in, _),) = EXACT_INPUT.decode_input(step.data)
    if len(path) < _HOP + _ADDRESS or (len(path) - _ADDRESS) % _HOP:
        raise refuse(f"{where}.callData.path", "addresses and fees in turn", path)
    require(f"{where}.callData.path", step.sending.lower(), "0x" + path[:_ADDRESS].hex())
    require(f"{where}.callData.path", step.receiving.lower(), "0x" + path[-_ADDRESS:].hex())
    require(f"{where}.callData.recipient", frame.diamond, recipient)
    require(f"{where}.callData.amountIn", step.from_amount, amount_in)
    if deadline < frame.now:
        raise refuse(f"{where}.callData.deadline", f"not before {frame.now}", deadline)


def require(field: str, expected: object, seen: object) -> None:
    """Raises RefusedError naming the field unless both are the same."""
    if expected != seen:
        raise refuse(field, expected, seen)


def refuse(field: str, expected: object, seen: object) -> RefusedError:
    """A refusal that names the field, what should be there and what is."""
    return RefusedError("The quote is refused", expected=expected, seen=seen, where=field)
