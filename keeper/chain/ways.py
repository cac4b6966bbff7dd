"""The three ways to put many reads into one `eth_call`, for endpoints that support less and less.

1. The lens by state override at an unused address.
2. The lens as creation code: no override, at most 24,576 bytes of answer.
3. Multicall3, by block hash or, where hashes are refused, by number and checked again afterwards. It knows no
   stipends, so a call that fails there is asked again alone with exactly the lens's gas.

A target sees another caller in each; views that depend on who asks are not for a snapshot.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import Pinned, hex_bytes
from keeper.chain.call import Call
from keeper.chain.packing import STIPEND, Head, Outcome, pack, unpack
from keeper.chain.rpc import Endpoint
from keeper.contracts.abi import Function, address, encode
from keeper.contracts.artifact import artifact
from keeper.contracts.revert import parse_revert
from keeper.errors import DecodeError, OversizedReplyError, RpcError

PASS_GAS: Final = 50_000_000
"""Gas asked for a pass: the default cap of common nodes."""

LENS_ADDRESS: Final = address("0x" + keccak(b"omnikeeper/lens")[12:].hex())
MULTICALL3: Final = address("0xcA11bde05977b3631167028862bE2a173976CA11")

MAX_RETURN: Final = 65_536
"""Longest answer taken from one call: `Lens.MAX_RETURN`."""

_MAX_CODE: Final = 24_576
_MAX_INIT_CODE: Final = 49_152
REQUEST_BYTES: Final = 3 * 2**17
"""With its hex digits and the lens below 1 MB, the limit of a body at common gateways."""
ANSWER_BYTES: Final = 2**20
_MULTICALLS: Final = 100
_LONGEST_HEAD: Final = 512

_OUT_OF_GAS: Final = re.compile(r"out ?of ?gas|gas required exceeds|intrinsic gas", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"response.*(too (large|big|long)|size)|exceeds.*(response|size|limit)|CreateContractSizeLimit"
    r"|max code size|initcode size",
    re.IGNORECASE,
)
_REVERTED: Final = re.compile(r"revert|out ?of ?gas|invalid opcode|EVM error|stack|bad jump", re.IGNORECASE)

_AGGREGATE: Final = Function("aggregate3((address,bool,bytes)[])", "((bool,bytes)[])")
_HEAD: Final = (
    Function("getChainId()", "(uint256)"),
    Function("getBlockNumber()", "(uint256)"),
    Function("getCurrentBlockTimestamp()", "(uint256)"),
    Function("getLastBlockHash()", "(bytes32)"),
)


class PassTooLargeError(Exception):
    """The pass did not fit: `fitting` calls from the front would have, as far as is known."""

    def __init__(self, fitting: int) -> None:
        super().__init__(fitting)
        self.fitting = fitting


class WayRefusedError(Exception):
    """The endpoint, or one of the calls, cannot be read this way."""


@dataclass(frozen=True)
class Way:
    """One way: at most `calls` calls and `request` packed bytes in a pass."""

    name: str
    request: int
    calls: int
    ask: Callable[[Endpoint, Pinned, Sequence[Call[Any]]], Awaitable[tuple[Head, tuple[Outcome, ...]]]]


@cache
def runtime() -> bytes:
    """The lens's code."""
    return artifact("Lens").runtime()


def lens_request(calls: Sequence[Call[Any]], gas: int) -> dict[str, str]:
    """The transaction object of a pass by state override."""
    return Call(LENS_ADDRESS, pack(calls, ANSWER_BYTES), bytes, "Lens").request(gas=gas)


def lens_override() -> dict[str, dict[str, str]]:
    """The state override that places the lens."""
    return {LENS_ADDRESS: {"code": "0x" + runtime().hex()}}


def pinned(block: Pinned) -> dict[str, Any]:
    """EIP-1898: by hash, and only while the block is canonical."""
    return {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}


async def _by_override(
    endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]]
) -> tuple[Head, tuple[Outcome, ...]]:
    request = lens_request(calls, PASS_GAS)
    answer = await _eth_call(endpoint, [request, pinned(block), lens_override()], len(calls))
    if not answer:
        raise WayRefusedError("The endpoint ignores state overrides")
    return unpack(answer, len(calls))


async def _by_creation(
    endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]]
) -> tuple[Head, tuple[Outcome, ...]]:
    code = artifact("LensOnce").creation_code(pack(calls, _MAX_CODE))
    request = {"data": "0x" + code.hex(), "gas": hex(PASS_GAS)}
    return unpack(await _eth_call(endpoint, [request, pinned(block)], len(calls)), len(calls))


async def _by_multicall(
    endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]]
) -> tuple[Head, tuple[Outcome, ...]]:
    return await _multicall(endpoint, pinned(block), calls)


async def _by_multicall_at_number(
    endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]]
) -> tuple[Head, tuple[Outcome, ...]]:
    answer = await _multicall(endpoint, hex(block.number), calls)
    # The number may have meant another block while it was read.
    await endpoint.canonical(block)
    return answer


async def _multicall(
    endpoint: Endpoint, at: object, calls: Sequence[Call[Any]]
) -> tuple[Head, tuple[Outcome, ...]]:
    wanted = [*((MULTICALL3, True, function.encode()) for function in _HEAD)]
    wanted += [(call.target, True, call.data) for call in calls]
    request = {"to": MULTICALL3, "data": "0x" + _AGGREGATE.encode(wanted).hex(), "gas": hex(PASS_GAS)}
    answer = await _eth_call(endpoint, [request, at], len(calls))
    if not answer:
        raise WayRefusedError("There is no Multicall3 on the chain")
    outcomes = _AGGREGATE.decode(answer)
    if len(outcomes) != len(wanted):
        raise DecodeError(
            "Multicall3 answers another number of calls", expected=len(wanted), seen=len(outcomes)
        )
    head = Head(*(function.decode(data) for function, (_, data) in zip(_HEAD, outcomes, strict=False)))
    done = zip(calls, outcomes[len(_HEAD) :], strict=True)
    return head, tuple(await asyncio.gather(*(_settled(endpoint, at, *each) for each in done)))


async def _settled(endpoint: Endpoint, at: object, call: Call[Any], outcome: Outcome) -> Outcome:
    """What the lens would have said: failures are tried with exactly its gas, long answers cut off."""
    success, returned = outcome
    if not success:
        try:
            success, returned = True, await _alone(endpoint, at, call)
        except RpcError as error:
            if not isinstance(error.data, str) and not _REVERTED.search(error.message):
                raise
            returned = hex_bytes(error.data) if isinstance(error.data, str) else b""
    if len(returned) > MAX_RETURN:
        reason = keccak(b"ReturnTooLong(uint256,uint256)")[:4]
        return False, reason + encode(["uint256", "uint256"], [len(returned), MAX_RETURN])
    return success, returned


async def _alone(endpoint: Endpoint, at: object, call: Call[Any]) -> bytes:
    request = call.request(gas=call.intrinsic_gas + STIPEND)
    return hex_bytes(await endpoint.ask("eth_call", [request, at]))


async def _eth_call(endpoint: Endpoint, params: Sequence[Any], count: int) -> bytes:
    try:
        return hex_bytes(await endpoint.ask("eth_call", params))
    except OversizedReplyError:
        if count < 2:
            raise
        raise PassTooLargeError(count // 2) from None
    except RpcError as error:
        fitting = calls_that_fit(error, count)
        if fitting is None:
            raise
        raise PassTooLargeError(fitting) from error


def calls_that_fit(error: RpcError, count: int) -> int | None:
    """How many calls gas or length allowed, if one of them was the reason."""
    if isinstance(error.data, str) and error.data.startswith("0x"):
        revert = parse_revert(hex_bytes(error.data), "Lens")
        if revert.name == "NotEnoughGas":
            return int(revert.arguments[0])
        if revert.name == "AnswerTooLong":
            if revert.arguments[0] == 0:
                raise WayRefusedError(f"An answer alone is longer than {revert.arguments[2]} bytes")
            return int(revert.arguments[0])
    if count > 1 and (_OUT_OF_GAS.search(error.message) or _TOO_LONG.search(error.message)):
        return count // 2
    return None


@cache
def _once_size() -> int:
    return len(artifact("LensOnce").creation_code(b""))


def ways() -> tuple[Way, ...]:
    """In the order in which they are tried; an endpoint's `way` is a place here."""
    many = REQUEST_BYTES
    return (
        Way("state override", REQUEST_BYTES, many, _by_override),
        Way("creation code", _MAX_INIT_CODE - _once_size() - _LONGEST_HEAD, many, _by_creation),
        Way("Multicall3", REQUEST_BYTES, _MULTICALLS, _by_multicall),
        Way("Multicall3 by number", REQUEST_BYTES, _MULTICALLS, _by_multicall_at_number),
    )
