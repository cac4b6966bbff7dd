"""Many reads of one block in one `eth_call`, pinned by block hash.

The lens (contracts/src/lens/Lens.sol) is placed by state override at an address nobody uses. Every call gets
the same gas, so a result never depends on what else was read or on the endpoint's gas cap: where the cap is
too low for all, the calls are split over several passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.call import Call, CallFailure
from keeper.chain.rpc import BlockRef, Endpoint, hex_bytes
from keeper.contracts.abi import Function, address
from keeper.contracts.artifact import artifact
from keeper.contracts.revert import parse_revert
from keeper.errors import DecodeError, EndpointError, ReorganisedError, RpcError, WrongChainError
from keeper.units import Address

STIPEND: Final = 5_000_000
"""Gas of every sub-call."""

PASS_GAS: Final = 50_000_000
"""Gas asked for a pass: the default cap of common nodes."""

LENS_ADDRESS: Final = address("0x" + keccak(b"omnikeeper/lens")[12:].hex())

NUMBER_IS_L1: Final = frozenset({42161, 42170, 421614})
"""Arbitrum chains, where `block.number` and `blockhash` in the EVM are those of L1."""

_READ: Final = Function(
    "read((address,uint256,bytes)[])", "((uint256,uint256,uint256,bytes32),(bool,bytes)[])"
)


@dataclass(frozen=True, order=True)
class Result:
    """Raw outcome of one call: `returned` is the return data or, without success, the revert data."""

    target: Address
    data: bytes
    success: bool
    returned: bytes


@cache
def runtime() -> bytes:
    """The lens's code."""
    return artifact("Lens").runtime()


def code_hash() -> bytes:
    """keccak256 of the lens's code: every plan names it."""
    return keccak(runtime())


async def read_raw(endpoint: Endpoint, block: BlockRef, calls: Sequence[Call[Any]]) -> tuple[Result, ...]:
    """Raw outcomes in the order of `calls`.

    Raises ReorganisedError or StaleHeadError when the endpoint does not have the block any more or yet,
    WrongChainError, and EndpointError when even one call exceeds its gas cap or it has lost the state.
    """
    data = _READ.encode([(call.target, STIPEND, call.data) for call in calls])
    request = {"to": LENS_ADDRESS, "data": "0x" + data.hex(), "gas": hex(PASS_GAS)}
    pin = {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}
    override = {LENS_ADDRESS: {"code": "0x" + runtime().hex()}}
    try:
        returned = await endpoint.rpc("eth_call", [request, pin, override])
    except RpcError as error:
        fitting = _calls_that_fit(error)
        if fitting == 0:
            raise EndpointError(
                "Endpoint's gas cap is too low for one call", expected=STIPEND, where=endpoint.public_url
            ) from error
        if fitting is not None:
            first = await read_raw(endpoint, block, calls[:fitting])
            return first + await read_raw(endpoint, block, calls[fitting:])
        await endpoint.canonical(block)
        raise EndpointError(
            f"Cannot read block {block.number} of chain {block.chain_id}",
            seen=error.message,
            where=endpoint.public_url,
            hint="The block is canonical: the endpoint may keep too few recent states or refuse overrides",
        ) from error
    head, outcomes = _READ.decode(hex_bytes(returned))
    _require_same_block(endpoint, block, head)
    if len(outcomes) != len(calls):
        raise DecodeError("Lens answered another number of calls", expected=len(calls), seen=len(outcomes))
    return tuple(
        Result(call.target, call.data, success, answer)
        for call, (success, answer) in zip(calls, outcomes, strict=True)
    )


async def read(endpoint: Endpoint, block: BlockRef, calls: Sequence[Call[Any]]) -> tuple[Any, ...]:
    """Decoded values in the order of `calls`, a CallFailure where the call failed.

    Raises as `read_raw`, and DecodeError where a value is not of its type.
    """
    results = await read_raw(endpoint, block, calls)
    return tuple(decoded(call, result) for call, result in zip(calls, results, strict=True))


def decoded(call: Call[Any], result: Result) -> Any:
    """The value of a raw outcome, or a CallFailure. Raises DecodeError naming the call."""
    if not result.success:
        return CallFailure(result.returned, call.label)
    try:
        return call.decode(result.returned)
    except DecodeError as error:
        raise DecodeError(
            error.message, expected=error.expected, seen=error.seen, where=call.label, hint=error.hint
        ) from error


def _calls_that_fit(error: RpcError) -> int | None:
    """How many calls the gas covered, if gas was the reason."""
    if not isinstance(error.data, str):
        return None
    revert = parse_revert(hex_bytes(error.data), "Lens")
    return int(revert.arguments[0]) if revert.name == "NotEnoughGas" else None


def _require_same_block(endpoint: Endpoint, block: BlockRef, head: tuple[int, int, int, bytes]) -> None:
    chain_id, number, timestamp, parent_hash = head
    if chain_id != block.chain_id:
        raise WrongChainError(
            "Endpoint read another chain", expected=block.chain_id, seen=chain_id, where=endpoint.public_url
        )
    expected: tuple[object, ...] = (block.timestamp,)
    seen: tuple[object, ...] = (timestamp,)
    if chain_id not in NUMBER_IS_L1:
        expected += (block.number, block.parent_hash.hex())
        seen += (number, parent_hash.hex())
    if seen != expected:
        raise ReorganisedError(
            f"Endpoint read another block than {block.number} of chain {chain_id}",
            expected=expected,
            seen=seen,
            where=endpoint.public_url,
        )
