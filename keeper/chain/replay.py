"""A mined block once more: its first transactions on its parent's state, and what can be read after them.

By `eth_simulateV1` with the header's own number, time, base fee, fee recipient, prevRandao and gas limit. The
lens comes last, in a transaction of its own, so that those before it run as they did; the gas limit is higher
only where the block is too full for it. A replay counts for as much as it repeats: every transaction has to
end as its receipt says. Kinds of transactions that Ethereum lacks, such as a rollup's own, are no calls and
are left out; whether they mattered shows in the rest of the block.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import BlockRef, Pinned, header, hex_bytes, quantity
from keeper.chain.call import Call
from keeper.chain.lens import Result, read_by, require_same, results_of
from keeper.chain.packing import Head, Outcome, unpack
from keeper.chain.rpc import Endpoint, Source
from keeper.chain.simulate import POST_GAS, emitted
from keeper.chain.ways import (
    REQUEST_BYTES,
    PassTooLargeError,
    Way,
    WayRefusedError,
    calls_that_fit,
    lens_override,
    lens_request,
)
from keeper.contracts.abi import address
from keeper.errors import DecodeError, NotReplayedError, ReorganisedError, RpcError

READER: Final = address("0x" + keccak(b"omnikeeper/reader")[12:].hex())
"""Who calls the lens: nobody, with enough to pay the base fee."""

_KINDS: Final = range(5)
"""Ethereum's (EIP-2718): legacy, 2930, 1559, 4844, 7702."""

_FIELDS: Final = (
    "from",
    "to",
    "value",
    "input",
    "gas",
    "nonce",
    "accessList",
    "maxFeePerBlobGas",
    "blobVersionedHashes",
    "authorizationList",
)
_UNUSABLE: Final = (
    *(RpcError, WayRefusedError, DecodeError, ReorganisedError),
    *(LookupError, TypeError, AttributeError, ValueError),
)
"""A refusal, or no answer to what was asked: of another block, where overrides are ignored."""

_FEES: Final = ("maxFeePerGas", "maxPriorityFeePerGas")


@dataclass(frozen=True)
class Contents:
    """A block with its transactions and their receipts, as JSON-RPC has them."""

    block: BlockRef
    raw: Mapping[str, Any]
    receipts: Sequence[Mapping[str, Any]]

    def before(self, place: int) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Those of the first `place` transactions that are calls, each with its receipt."""
        pairs = zip(self.raw["transactions"][:place], self.receipts[:place], strict=True)
        return [pair for pair in pairs if quantity(pair[0].get("type", "0x0")) in _KINDS]


async def replay(
    source: Source, block: BlockRef, calls: Sequence[Call[Any]], places: Iterable[int]
) -> dict[int, tuple[Result, ...]]:
    """For each place, the raw outcomes of `calls` in the block's own time after so many of its transactions.

    Endpoints that have to agree each replay for themselves: DisagreementError. Raises NotReplayedError when
    an endpoint cannot, or another block comes of it; PrunedStateError; EndpointError.
    """
    wanted = sorted(set(places))

    async def ask(endpoint: Endpoint) -> list[tuple[Outcome, ...]]:
        try:
            contents = await _contents(endpoint, block)
            reads = (read_by(endpoint, block, _After(contents, place).way, calls) for place in wanted)
            return list(await asyncio.gather(*reads))
        except _UNUSABLE as error:
            # Where the block is gone, that is why.
            await endpoint.canonical(block)
            raise _not_replayed(endpoint, block, repr(error)) from error

    (first, mine), *others = await source.witnessed(ask)
    for other, theirs in others:
        for one, two in zip(mine, theirs, strict=True):
            require_same(block, calls, (first, one), (other, two))
    return {place: results_of(calls, outcomes) for place, outcomes in zip(wanted, mine, strict=True)}


async def _contents(endpoint: Endpoint, block: BlockRef) -> Contents:
    name = "0x" + block.hash.hex()
    raw = await endpoint.rpc("eth_getBlockByHash", [name, True])
    receipts = await endpoint.rpc("eth_getBlockReceipts", [name])
    listed = [each["hash"] for each in raw["transactions"]]
    if header(raw, block.chain_id, endpoint.public_url) != block:
        raise DecodeError("Another block", expected=block.hash, seen=raw["hash"])
    if [each["transactionHash"] for each in receipts] != listed:
        raise DecodeError("Receipts of other transactions", expected=len(listed), seen=len(receipts))
    return Contents(block, raw, receipts)


@dataclass(frozen=True)
class _After:
    """Reads after the first `place` transactions of a block."""

    contents: Contents
    place: int

    @property
    def way(self) -> Way:
        return Way("replay", REQUEST_BYTES, REQUEST_BYTES, self._read)

    async def _read(
        self, endpoint: Endpoint, block: Pinned, calls: Sequence[Call[Any]]
    ) -> tuple[Head, tuple[Outcome, ...]]:
        raw, pairs = self.contents.raw, self.contents.before(self.place)
        fee = hex(self.contents.block.base_fee)
        lens = lens_request(calls, POST_GAS) | {"from": READER, "maxFeePerGas": fee}
        asked = {
            "blockStateCalls": [
                {
                    "blockOverrides": self._header(),
                    "stateOverrides": lens_override() | {READER: {"balance": hex(2**128)}},
                    "calls": [*(_call(each) for each, _ in pairs), lens],
                }
            ],
            "validation": True,
            "traceTransfers": False,
        }
        parent = {"blockHash": raw["parentHash"]}
        *done, state = (await endpoint.rpc("eth_simulateV1", [asked, parent]))[0]["calls"]
        if len(done) != len(pairs):
            raise DecodeError("Another number of calls", expected=len(pairs), seen=len(done))
        for (transaction, receipt), seen in zip(pairs, done, strict=True):
            if (expected := _ending(receipt)) != (ending := _ending(seen)):
                raise _not_replayed(
                    endpoint,
                    self.contents.block,
                    f"{transaction['hash']} ends otherwise: {_words(expected)} in its receipt, "
                    f"{_words(ending)} when replayed",
                )
        return unpack(_answer(state, len(calls)), len(calls))

    def _header(self) -> dict[str, str]:
        raw, place = self.contents.raw, self.place
        used = quantity(self.contents.receipts[place - 1]["cumulativeGasUsed"]) if place else 0
        return {
            "number": raw["number"],
            "time": raw["timestamp"],
            "baseFeePerGas": raw["baseFeePerGas"],
            "feeRecipient": raw["miner"],
            "prevRandao": raw["mixHash"],
            "gasLimit": hex(max(quantity(raw["gasLimit"]), used + POST_GAS)),
        }


def _call(transaction: Mapping[str, Any]) -> dict[str, Any]:
    # What was paid stands beside what was offered in a mined transaction, and only one may be said.
    fees = _FEES if transaction.get("maxFeePerGas") is not None else ("gasPrice",)
    return {name: transaction[name] for name in (*_FIELDS, *fees) if transaction.get(name) is not None}


def _ending(raw: Mapping[str, Any]) -> tuple[int, int, object]:
    """Status, gas and logs, of a receipt or of a simulated call."""
    return quantity(raw["status"]), quantity(raw["gasUsed"]), emitted(raw["logs"])


def _words(ending: tuple[int, int, Any]) -> str:
    status, gas, logs = ending
    return f"{'success' if status else 'failure'} with {gas:,} gas and {len(logs)} logs"


def _answer(state: Mapping[str, Any], count: int) -> bytes:
    """What the lens returned. Raises PassTooLargeError where it could not answer all at once."""
    if quantity(state["status"]) == 1:
        return hex_bytes(state["returnData"])
    failure = state.get("error") or {}
    data = failure.get("data") or state.get("returnData")
    error = RpcError(f"The reads fail: {failure.get('message')}", code=3, data=data)
    fitting = calls_that_fit(error, count)
    if fitting is None:
        raise error
    raise PassTooLargeError(fitting)


def _not_replayed(endpoint: Endpoint, block: BlockRef, seen: object) -> NotReplayedError:
    return NotReplayedError(
        f"Block {block.number} of chain {block.chain_id} cannot be replayed",
        seen=seen,
        where=endpoint.public_url,
        hint="It takes an archive endpoint with eth_simulateV1 and eth_getBlockReceipts",
    )
