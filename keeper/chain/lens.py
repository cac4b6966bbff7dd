"""Many reads of one block in one `eth_call`, pinned by block hash.

Every call gets the same gas, so a result never depends on what else was read or on the endpoint's gas cap:
where a pass does not fit, because of gas or of length, it is split. Which of the ways (`keeper.chain.ways`)
an endpoint supports is found out once and remembered.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import BlockRef, Pinned
from keeper.chain.call import Call, CallFailure
from keeper.chain.packing import STIPEND, Head, Outcome, packed_size
from keeper.chain.rpc import Endpoint, Source
from keeper.chain.ways import PassTooLargeError, Way, WayRefusedError, runtime, ways
from keeper.errors import (
    DecodeError,
    DisagreementError,
    EndpointError,
    PrunedStateError,
    ReorganisedError,
    RpcError,
)
from keeper.units import Address

NUMBER_IS_L1: Final = frozenset({42161, 42170, 421614})
"""Arbitrum chains, where `block.number` and `blockhash` in the EVM are those of L1."""

_PRUNED: Final = re.compile(
    r"missing trie node|pruned|BlockOutOfRange|state .*(not available|unavailable|not found)|historical state"
    r"|old data not available|distance to target block exceeds|no state available",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class Result:
    """Raw outcome of one call: `returned` is the return data or, without success, the revert data."""

    target: Address
    data: bytes
    success: bool
    returned: bytes


def code_hash() -> bytes:
    """keccak256 of the lens's code: every plan names it."""
    return keccak(runtime())


async def read_raw(source: Source, block: BlockRef, calls: Sequence[Call[Any]]) -> tuple[Result, ...]:
    """Raw outcomes in the order of `calls`, on which all endpoints that `source` asks agree.

    Raises ReorganisedError or StaleHeadError when an endpoint does not have the block any more or yet,
    PrunedStateError when it has lost the state, WrongChainError, EndpointError when even one call exceeds its
    gas cap or no way of reading works, DisagreementError naming the calls on which two endpoints differ.
    """

    results, heads = await _witnessed(source, block, calls)
    for endpoint, head in heads:
        _require_same_block(endpoint, block, head)
    return results


async def read_pinned(
    source: Source, pinned: Pinned, calls: Sequence[Call[Any]]
) -> tuple[BlockRef, tuple[Result, ...]]:
    """The header of a block of which only the hash is known, and as `read_raw`, asked at the same time."""
    block, (results, heads) = await asyncio.gather(
        source.canonical(pinned), _witnessed(source, pinned, calls)
    )
    for endpoint, head in heads:
        _require_same_block(endpoint, block, head)
    return block, results


async def read(source: Source, block: BlockRef, calls: Sequence[Call[Any]]) -> tuple[Any, ...]:
    """Decoded values in the order of `calls`, a CallFailure where the call failed.

    Raises as `read_raw`, and DecodeError where a value is not of its type.
    """
    results = await read_raw(source, block, calls)
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


async def _witnessed(
    source: Source, block: Pinned, calls: Sequence[Call[Any]]
) -> tuple[tuple[Result, ...], list[tuple[Endpoint, Head]]]:
    """Results, and every head that came with them: for the caller to hold against the header."""
    heads: list[tuple[Endpoint, Head]] = []

    async def ask(endpoint: Endpoint) -> tuple[Outcome, ...]:
        return await _outcomes(endpoint, block, calls, heads)

    (first, outcomes), *others = await source.witnessed(ask)
    for other, seen in others:
        require_same(block, calls, (first, outcomes), (other, seen))
    return results_of(calls, outcomes), heads


def results_of(calls: Sequence[Call[Any]], outcomes: Sequence[Outcome]) -> tuple[Result, ...]:
    """Each call with its outcome."""
    return tuple(
        Result(call.target, call.data, success, returned)
        for call, (success, returned) in zip(calls, outcomes, strict=True)
    )


async def read_by(
    endpoint: Endpoint, block: BlockRef, way: Way, calls: Sequence[Call[Any]]
) -> tuple[Outcome, ...]:
    """As one endpoint tells it by that way alone. Raises what `way` does, and ReorganisedError when it told
    of another block."""
    heads: list[tuple[Endpoint, Head]] = []
    outcomes = await _read(endpoint, block, way, calls, heads)
    for _, head in heads:
        _require_same_block(endpoint, block, head)
    return outcomes


async def _outcomes(
    endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]], heads: list[tuple[Endpoint, Head]]
) -> tuple[Outcome, ...]:
    _require_state(endpoint, block)
    known, refusals = ways(), []
    for place in range(endpoint.way, len(known)):
        try:
            outcomes = await _read(endpoint, block, known[place], calls, heads)
        except (WayRefusedError, RpcError) as error:
            await _explain(endpoint, block, error)
            refusals.append(f"{known[place].name}: {getattr(error, 'message', error)}")
            continue
        endpoint.way = place
        return outcomes
    raise EndpointError(
        f"Cannot read block {block.number} of chain {block.chain_id}",
        seen="; ".join(refusals),
        where=endpoint.public_url,
        hint="The block is canonical: the endpoint may keep too few recent states, or allow no such calls",
    )


async def _read(
    endpoint: Endpoint,
    block: Pinned,
    way: Way,
    calls: Sequence[Call[Any]],
    heads: list[tuple[Endpoint, Head]],
) -> tuple[Outcome, ...]:
    chunks = _chunks(way, calls)
    parts = await asyncio.gather(*(_part(endpoint, block, way, part, heads) for part in chunks))
    return tuple(outcome for part in parts for outcome in part)


async def _part(
    endpoint: Endpoint,
    block: Pinned,
    way: Way,
    calls: Sequence[Call[Any]],
    heads: list[tuple[Endpoint, Head]],
) -> tuple[Outcome, ...]:
    try:
        head, outcomes = await way.ask(endpoint, block, calls)
    except PassTooLargeError as error:
        if not 0 < error.fitting < len(calls):
            raise EndpointError(
                "Endpoint's gas cap is too low for one call",
                expected=STIPEND,
                seen=f"{error.fitting} of {len(calls)} calls fit",
                where=endpoint.public_url,
            ) from error
        # What fits now will not fit exactly next time; equal parts are all a little smaller.
        count = -(-len(calls) // -(-len(calls) // error.fitting))
        parts = [calls[at : at + count] for at in range(0, len(calls), count)]
        done = await asyncio.gather(*(_part(endpoint, block, way, part, heads) for part in parts))
        return tuple(outcome for part in done for outcome in part)
    endpoint.introduce(head.chain_id)
    heads.append((endpoint, head))
    return outcomes


def _chunks(way: Way, calls: Sequence[Call[Any]]) -> Iterator[Sequence[Call[Any]]]:
    """Parts that the way's limits allow; one part for no calls, as the head is a check of its own."""
    start = size = 0
    for index, call in enumerate(calls):
        size += packed_size(call)
        if index > start and (size > way.request or index - start == way.calls):
            yield calls[start:index]
            start, size = index, packed_size(call)
    yield calls[start:]


def _require_state(endpoint: Endpoint, block: Pinned) -> None:
    """Raises PrunedStateError when the endpoint declares that it keeps too few states for the block."""
    age = endpoint.head - block.number
    if endpoint.states is not None and age >= endpoint.states:
        raise _pruned(endpoint, block, f"{age} blocks below the head")


def _pruned(endpoint: Endpoint, block: Pinned, seen: object) -> PrunedStateError:
    kept = "an unknown number of" if endpoint.states is None else str(endpoint.states)
    return PrunedStateError(
        f"State of block {block.number} of chain {block.chain_id} is gone: this endpoint keeps {kept} states",
        seen=seen,
        where=endpoint.public_url,
        hint="Ask an archive endpoint, or take a new snapshot",
    )


async def _explain(endpoint: Endpoint, block: Pinned, error: WayRefusedError | RpcError) -> None:
    """Raises what lies behind a refusal, if it is the block and not the way."""
    if isinstance(error, WayRefusedError):
        return
    await endpoint.canonical(block)
    if _PRUNED.search(error.message):
        raise _pruned(endpoint, block, error.message) from error


def _require_same_block(endpoint: Endpoint, block: BlockRef, head: Head) -> None:
    expected: tuple[object, ...] = (block.timestamp,)
    seen: tuple[object, ...] = (head.timestamp,)
    if head.chain_id not in NUMBER_IS_L1:
        expected += (block.number, block.parent_hash.hex())
        seen += (head.number, head.parent_hash.hex())
    if seen != expected:
        raise ReorganisedError(
            f"Endpoint read another block than {block.number} of chain {block.chain_id}",
            expected=expected,
            seen=seen,
            where=endpoint.public_url,
        )


def require_same(
    block: Pinned,
    calls: Sequence[Call[Any]],
    one: tuple[Endpoint, tuple[Outcome, ...]],
    other: tuple[Endpoint, tuple[Outcome, ...]],
) -> None:
    """Raises DisagreementError naming the calls on which two endpoints differ."""
    differing = [
        f"{call.label}: {one[0].public_url} says {_said(mine)}, {other[0].public_url} says {_said(theirs)}"
        for call, mine, theirs in zip(calls, one[1], other[1], strict=True)
        if mine != theirs
    ]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise DisagreementError(
            f"Endpoints disagree about block {block.number} of chain {block.chain_id}",
            seen="; ".join(differing[:3]) + more,
            hint="One of them is wrong or lies; nothing is decided until they agree",
        )


def _said(outcome: Outcome) -> str:
    success, returned = outcome
    shown = "0x" + returned[:64].hex() + ("…" if len(returned) > 64 else "")
    return shown if success else f"failure {shown}"
