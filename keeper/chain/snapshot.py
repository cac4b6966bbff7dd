"""Pinned blocks of all chains and the raw results of a call set on each: the input of everything pure.

Two requests per chain and pass: header and call. Its hash covers the reference time, the headers' facts, the
results and the history, never which endpoint answered, when, or in what words it failed.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from eth_hash.auto import keccak

from keeper import canonical
from keeper.chain import archive
from keeper.chain.block import HASHED_OTHERWISE, BlockRef, Pinned
from keeper.chain.call import Call, CallFailure
from keeper.chain.history import History, Log, LogQuery, Point, SeriesQuery, read_history
from keeper.chain.lens import Result, decoded, read_pinned, read_raw
from keeper.chain.rpc import Source
from keeper.contracts.abi import address
from keeper.errors import ConfigError, DecodeError, KeeperError, PlanError, StaleHeadError, UnknownBlockError
from keeper.units import Address

DOMAIN: Final = "omnikeeper/snapshot"
VERSION: Final = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """One block per chain, sorted by chain id, and beside it that chain's results, sorted by call; and the
    history of the chains that have one."""

    reference_time: int
    blocks: tuple[BlockRef, ...]
    results: tuple[tuple[Result, ...], ...]
    history: tuple[History, ...] = ()

    def __post_init__(self) -> None:
        chains = [block.chain_id for block in self.blocks]
        if chains != sorted(set(chains)) or len(self.results) != len(chains):
            raise DecodeError("Snapshot needs one block and one result list per chain, sorted", seen=chains)
        for results in self.results:
            keys = [(result.target, result.data) for result in results]
            if keys != sorted(set(keys)):
                raise DecodeError("Results of a snapshot are sorted and unique by call")
        told = [past.chain_id for past in self.history]
        if told != sorted(set(told)) or not set(told) <= set(chains):
            raise DecodeError("Histories of a snapshot are of its chains, sorted", seen=told)
        for past in self.history:
            logs, series = [each.query for each in past.logs], [each.query for each in past.series]
            if logs != sorted(set(logs)) or series != sorted(set(series)):
                raise DecodeError("A history is sorted and unique by query", where=past.chain_id)
        if late := [block.number for block in self.blocks if block.timestamp > self.reference_time]:
            raise DecodeError("Block after the reference time", expected=self.reference_time, seen=late)

    @cached_property
    def hash(self) -> bytes:
        """keccak256 of the canonical bytes: the snapshot's name."""
        return keccak(self.to_bytes())

    @cached_property
    def _index(self) -> dict[tuple[int, Address, bytes], Result]:
        return {
            (block.chain_id, result.target, result.data): result
            for block, results in zip(self.blocks, self.results, strict=True)
            for result in results
        }

    def block(self, chain_id: int) -> BlockRef:
        """The pinned block of a chain. Raises KeeperError when the snapshot does not cover it."""
        for block in self.blocks:
            if block.chain_id == chain_id:
                return block
        raise KeeperError(
            "Chain is not in the snapshot", expected=chain_id, seen=[b.chain_id for b in self.blocks]
        )

    def result(self, chain_id: int, call: Call[T]) -> T | CallFailure:
        """The value of a call at the pinned block, or a CallFailure.

        Raises KeeperError naming the call when it was not read, DecodeError when the bytes do not fit.
        """
        found = self._index.get((chain_id, call.target, call.data))
        if found is None:
            raise KeeperError("Call is not in the snapshot", where=f"{call.label} on chain {chain_id}")
        value: T | CallFailure = decoded(call, found)
        return value

    def logs(self, chain_id: int, query: LogQuery) -> tuple[Log, ...]:
        """What a declared query found, oldest first. Raises KeeperError when it was not asked."""
        for past in self.history:
            for each in past.logs:
                if (past.chain_id, each.query) == (chain_id, query):
                    return each.found
        raise KeeperError("Logs are not in the snapshot", where=f"{query.address} on chain {chain_id}")

    def series(self, chain_id: int, call: Call[T], step: int, count: int) -> tuple[tuple[Point, Any], ...]:
        """Each point of a declared series with its value, or a CallFailure, oldest first.

        Raises KeeperError when it was not read, DecodeError when the bytes do not fit.
        """
        query = SeriesQuery.of(call, step, count)
        for past in self.history:
            for each in past.series:
                if (past.chain_id, each.query) == (chain_id, query):
                    return tuple(
                        (p, decoded(call, Result(call.target, call.data, p.success, p.returned)))
                        for p in each.points
                    )
        raise KeeperError("Series is not in the snapshot", where=f"{call.label} on chain {chain_id}")

    def save(self, path: Path) -> bytes:
        """Writes the snapshot to a file that begins with its hash; returns the hash."""
        return archive.write(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path, expected: bytes | None = None) -> "Snapshot":
        """A saved snapshot. Raises DecodeError when the file's hash does not match its content, or is not
        `expected`."""
        return cls.from_bytes(archive.read(path, "snapshot", expected))

    def to_bytes(self) -> bytes:
        """Canonical encoding; its keccak256 is `hash`."""
        chains = [
            [
                *astuple(block),
                [[bytes.fromhex(r.target[2:]), r.data, r.success, r.returned] for r in results],
            ]
            for block, results in zip(self.blocks, self.results, strict=True)
        ]
        past = [each.plain() for each in self.history]
        return canonical.encode([self.reference_time, chains, past], domain=DOMAIN, version=VERSION)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Snapshot":
        """Raises DecodeError unless `to_bytes` of a snapshot gives exactly `data`."""
        body: Any = canonical.decode(data, domain=DOMAIN, version=VERSION)
        try:
            reference_time, chains, past = body
            blocks = tuple(_block(*chain[:-1]) for chain in chains)
            results = tuple(tuple(_result(*item) for item in chain[-1]) for chain in chains)
            history = tuple(History.parse(*each) for each in past)
            snapshot = cls(reference_time, blocks, results, history)
            same = snapshot.to_bytes() == data
        except (TypeError, ValueError, AttributeError, IndexError, ConfigError) as error:
            raise DecodeError("Not a snapshot", seen=error) from error
        if not same:
            raise DecodeError("Not the canonical bytes of a snapshot")
        return snapshot


def _block(chain_id: int, number: int, name: bytes, parent: bytes, timestamp: int, base_fee: int) -> BlockRef:
    integers = (chain_id, number, timestamp, base_fee)
    if any(type(value) is not int or value < 0 for value in integers):
        raise TypeError("a block's chain id, number, timestamp and base fee are unsigned integers")
    if any(not isinstance(value, bytes) or len(value) != 32 for value in (name, parent)):
        raise TypeError("a block's hash and parent hash are 32 bytes")
    return BlockRef(chain_id, number, name, parent, timestamp, base_fee)


def _result(target: bytes, data: bytes, success: bool, returned: bytes) -> Result:
    if not (isinstance(data, bytes) and isinstance(success, bool) and isinstance(returned, bytes)):
        raise TypeError("a result is target, data, success, returned")
    return Result(address("0x" + target.hex()), data, success, returned)


Query = LogQuery | SeriesQuery
Read = tuple[BlockRef, tuple[Result, ...], History | None]


async def take(
    endpoints: Mapping[int, Source],
    calls: Mapping[int, Sequence[Call[Any]]],
    reference_time: int,
    finality: Mapping[int, int],
    history: Mapping[int, Sequence[Query]] = MappingProxyType({}),
) -> Snapshot:
    """The snapshot at `reference_time` (seconds): on each chain of `calls` the last block that is not later
    and is at least `finality` blocks below the head.

    Raises ConfigError for a chain without endpoint or finality, UnknownBlockError when no block is old
    enough, StaleHeadError when the head is too old, and the errors of reading.
    """
    _require_all(calls, endpoints, "endpoint")
    _require_all(calls, finality, "finality rule")

    async def one(chain_id: int) -> Read:
        source = endpoints[chain_id]
        block = await _last_block(source, reference_time, finality[chain_id])
        if chain_id in HASHED_OTHERWISE:
            # No hash proves what one endpoint says of it.
            block = await source.canonical(block)
        results = await read_raw(source, block, unique(calls[chain_id]))
        return block, results, await read_history(source, block, history.get(chain_id, ()))

    return await _gather(reference_time, [one(chain_id) for chain_id in sorted(calls)])


async def take_at(
    endpoints: Mapping[int, Source],
    calls: Mapping[int, Sequence[Call[Any]]],
    blocks: Iterable[Pinned],
    reference_time: int,
    history: Mapping[int, Sequence[Query]] = MappingProxyType({}),
) -> Snapshot:
    """The snapshot at given blocks: how a signer recomputes someone else's. Header and call are asked at the
    same time.

    Raises ReorganisedError when another block is canonical at a number, StaleHeadError when the endpoint is
    behind, ConfigError when blocks and calls are not of the same chains, PlanError for a block later than
    `reference_time`, and the errors of reading.
    """
    pinned = {block.chain_id: block for block in blocks}
    if set(pinned) != set(calls):
        raise ConfigError("Blocks and calls of different chains", expected=sorted(calls), seen=sorted(pinned))
    _require_all(calls, endpoints, "endpoint")

    async def one(chain_id: int) -> Read:
        source = endpoints[chain_id]
        block, results = await read_pinned(source, pinned[chain_id], unique(calls[chain_id]))
        if block.timestamp > reference_time:
            raise PlanError(
                f"Block {block.number} of chain {chain_id} is later than the reference time",
                expected=f"<= {reference_time}",
                seen=block.timestamp,
            )
        return block, results, await read_history(source, block, history.get(chain_id, ()))

    return await _gather(reference_time, [one(chain_id) for chain_id in sorted(calls)])


async def retake(endpoints: Mapping[int, Source], snapshot: Snapshot) -> Snapshot:
    """The same blocks, calls and history, read again: equal to `snapshot` where it tells the truth."""
    calls = {
        block.chain_id: [
            Call(each.target, each.data, bytes, f"{each.target} 0x{each.data[:4].hex()}") for each in results
        ]
        for block, results in zip(snapshot.blocks, snapshot.results, strict=True)
    }
    history: dict[int, list[Query]] = {
        past.chain_id: [*(each.query for each in past.logs), *(each.query for each in past.series)]
        for past in snapshot.history
    }
    return await take_at(endpoints, calls, snapshot.blocks, snapshot.reference_time, history)


def _require_all(chains: Iterable[int], known: Mapping[int, object], what: str) -> None:
    if missing := sorted(set(chains) - set(known)):
        raise ConfigError(f"No {what} for chain {', '.join(str(chain) for chain in missing)}")


async def _gather(reference_time: int, reads: list[Any]) -> Snapshot:
    done: list[Read] = await asyncio.gather(*reads)
    return Snapshot(
        reference_time,
        tuple(block for block, _, _ in done),
        tuple(results for _, results, _ in done),
        tuple(past for _, _, past in done if past is not None),
    )


def unique(calls: Iterable[Call[Any]]) -> list[Call[Any]]:
    """Each call once, in the order of a snapshot's results."""
    found = {(call.target, call.data): call for call in calls}
    # By key: comparing calls with each other takes ten times as long.
    return [found[key] for key in sorted(found)]


async def _last_block(endpoint: Source, reference_time: int, depth: int) -> BlockRef:
    """One request when the newest final block is old enough; else doubling steps back, then bisection."""
    head = await endpoint.latest(reference_time)
    if head.number < depth:
        raise StaleHeadError(
            f"No final block yet on chain {endpoint.chain_id}",
            expected=f"{depth} blocks",
            seen=f"head {head.number}",
            where=endpoint.public_url,
        )
    late = await endpoint.get_block(head.number - depth) if depth else head
    if late.timestamp <= reference_time:
        return late
    step, early = 1, late
    while early.timestamp > reference_time:
        if early.number == 0:
            raise UnknownBlockError(
                f"No block of chain {endpoint.chain_id} is old enough", expected=f"<= {reference_time}"
            )
        late, early = early, await endpoint.get_block(max(0, early.number - step))
        step *= 2
    while late.number - early.number > 1:
        middle = await endpoint.get_block((late.number + early.number) // 2)
        early, late = (middle, late) if middle.timestamp <= reference_time else (early, middle)
    return early
