"""What a snapshot says about the past: logs and series of a declared range of blocks, up to the pinned one.

It is a section of its own because its cost is: a request per range of logs, two per point of a series.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, TypeVar

from keeper.chain.block import BlockRef, hex_bytes, quantity
from keeper.chain.call import Call
from keeper.chain.lens import Result, read_raw
from keeper.chain.rpc import Endpoint, Source, agreed
from keeper.contracts.abi import address
from keeper.errors import ConfigError, DecodeError, EndpointError, RpcError
from keeper.units import Address

T = TypeVar("T", bound="LogQuery | SeriesQuery | Log | Point | Logs")

_RANGE: Final = re.compile(r"range|limit|more than|too (many|large|wide)|exceed|10,?000", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class LogQuery:
    """Logs of `address` in the last `blocks` blocks, the pinned one included; `topics` are the leading ones
    that must match, an empty one matching any. Raises ConfigError without a block to look at."""

    address: Address
    topics: tuple[bytes, ...]
    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 1 or any(len(topic) not in (0, 32) for topic in self.topics):
            raise ConfigError("A log query needs blocks, and topics of 32 bytes or none", seen=self)


@dataclass(frozen=True, order=True)
class SeriesQuery:
    """What a call answers at the pinned block and every `step` blocks before it, `count` points in all.

    Raises ConfigError unless both are positive.
    """

    target: Address
    data: bytes
    step: int
    count: int

    def __post_init__(self) -> None:
        if self.step < 1 or self.count < 1:
            raise ConfigError("A series needs a positive step and count", seen=self)

    @classmethod
    def of(cls, call: Call[Any], step: int, count: int) -> "SeriesQuery":
        """The series of a call."""
        return cls(call.target, call.data, step, count)


@dataclass(frozen=True, order=True)
class Log:
    """One log; `index` is its place in the block."""

    block: int
    index: int
    block_hash: bytes
    transaction: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, order=True)
class Point:
    """One point of a series: the block it was read at, and the raw outcome."""

    block: int
    block_hash: bytes
    timestamp: int
    success: bool
    returned: bytes


@dataclass(frozen=True, order=True)
class Logs:
    """Everything that a query found between the blocks `first` and `last`, oldest first."""

    query: LogQuery
    first: int
    last: int
    found: tuple[Log, ...]


@dataclass(frozen=True, order=True)
class Series:
    """The points of a query, oldest first; fewer than asked for where the chain is too young."""

    query: SeriesQuery
    points: tuple[Point, ...]


@dataclass(frozen=True, order=True)
class History:
    """The past of one chain: both parts sorted by query."""

    chain_id: int
    logs: tuple[Logs, ...]
    series: tuple[Series, ...]

    def plain(self) -> list[Any]:
        """For the canonical encoding."""
        return [self.chain_id, *(list(astuple(self)[1:]))]

    @classmethod
    def parse(cls, chain_id: int, logs: list[Any], series: list[Any]) -> "History":
        """The inverse of `plain`. Raises TypeError, ValueError or ConfigError for anything else."""
        return cls(
            chain_id,
            tuple(
                _made(
                    Logs,
                    _made(LogQuery, address(who), tuple(topics), blocks),
                    first,
                    last,
                    tuple(_made(Log, *each[:4], tuple(each[4]), *each[5:]) for each in found),
                )
                for (who, topics, blocks), first, last, found in logs
            ),
            tuple(
                Series(_made(SeriesQuery, address(who), *rest), tuple(_made(Point, *each) for each in points))
                for (who, *rest), points in series
            ),
        )


def _made(kind: type[T], *values: Any) -> T:
    """A value of a dataclass whose fields are what they say. Raises TypeError otherwise."""
    for field, value in zip(fields(kind), values, strict=True):
        if field.type in (int, bytes, bool) and type(value) is not field.type:
            raise TypeError(f"{field.name} of {kind.__name__} is {type(value).__name__}")
    return kind(*values)


async def read_history(
    source: Source, block: BlockRef, queries: Sequence[LogQuery | SeriesQuery]
) -> History | None:
    """The past before a pinned block, None when nothing is asked.

    Ranges and points go by number, so each endpoint has to show the block as canonical after what it says.

    Raises EndpointError for a log that does not fit its query, DisagreementError where two endpoints find
    different logs or headers, ReorganisedError when the block is not canonical any more at the end, and the
    errors of reading.
    """
    if not queries:
        return None
    wanted = sorted(set(queries), key=lambda query: (type(query).__name__, astuple(query)))
    done = await asyncio.gather(
        *(
            _logs(source, block, query) if isinstance(query, LogQuery) else _series(source, block, query)
            for query in wanted
        )
    )
    return History(
        block.chain_id,
        tuple(sorted(each for each in done if isinstance(each, Logs))),
        tuple(sorted(each for each in done if isinstance(each, Series))),
    )


async def _series(source: Source, block: BlockRef, query: SeriesQuery) -> Series:
    numbers = range(block.number, max(-1, block.number - query.step * query.count), -query.step)
    call = Call(query.target, query.data, bytes, "series")

    async def headers(endpoint: Endpoint) -> tuple[BlockRef, ...]:
        found = await asyncio.gather(*(endpoint.get_block(number) for number in numbers[1:]))
        return await endpoint.canonical(block), *found

    async def point(at: BlockRef) -> Point:
        result: Result = (await read_raw(source, at, [call]))[0]
        return Point(at.number, at.hash, at.timestamp, result.success, result.returned)

    blocks = await agreed(source, headers, f"headers up to block {block.number}", len)
    return Series(query, tuple(sorted(await asyncio.gather(*(point(at) for at in blocks)))))


async def _logs(source: Source, block: BlockRef, query: LogQuery) -> Logs:
    first = max(0, block.number - query.blocks + 1)

    async def ask(endpoint: Endpoint) -> tuple[Log, ...]:
        found = await _range(endpoint, block, query, first, block.number)
        await endpoint.canonical(block)
        return found

    found = await agreed(source, ask, f"logs of {query.address} up to block {block.number}", len)
    return Logs(query, first, block.number, found)


async def _range(
    endpoint: Endpoint, block: BlockRef, query: LogQuery, first: int, last: int
) -> tuple[Log, ...]:
    topics = [None if not topic else "0x" + topic.hex() for topic in query.topics]
    request = {
        "address": query.address,
        "topics": topics,
        "fromBlock": hex(first),
        "toBlock": hex(last),
    }
    try:
        raw = await endpoint.ask("eth_getLogs", [request])
    except RpcError as error:
        if first == last or not _RANGE.search(error.message):
            raise
        middle = (first + last) // 2
        early = await _range(endpoint, block, query, first, middle)
        return early + await _range(endpoint, block, query, middle + 1, last)
    try:
        if not isinstance(raw, list):
            raise TypeError(type(raw).__name__)
        found = [(_parsed(each), each) for each in raw]
    except (KeyError, TypeError) as error:
        raise DecodeError("Not a list of logs", where=endpoint.public_url, seen=repr(error)) from error
    for log, each in found:
        if not _fits(log, each, block, query, first, last):
            raise EndpointError(
                "Endpoint answered with a log that was not asked for",
                seen=f"log {log.index} of block {log.block}",
                where=endpoint.public_url,
            )
    return tuple(sorted({log for log, _ in found}))


def _parsed(raw: Any) -> Log:
    return Log(
        quantity(raw["blockNumber"]),
        quantity(raw["logIndex"]),
        hex_bytes(raw["blockHash"]),
        hex_bytes(raw["transactionHash"]),
        tuple(hex_bytes(topic) for topic in raw["topics"]),
        hex_bytes(raw["data"]),
    )


def _fits(log: Log, raw: Any, block: BlockRef, query: LogQuery, first: int, last: int) -> bool:
    # `zip` would let a log with too few topics pass.
    topics = log.topics[: len(query.topics)]
    return (
        first <= log.block <= last
        and str(raw.get("address")).lower() == query.address.lower()
        and len(topics) == len(query.topics)
        and all(not wanted or wanted == seen for wanted, seen in zip(query.topics, topics, strict=True))
        and (log.block != block.number or log.block_hash == block.hash)
    )
