"""Where a position's value comes from: the block, what was read there, and the prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from keeper import canonical
from keeper.chain.block import BlockRef
from keeper.chain.call import Call, CallFailure
from keeper.chain.snapshot import Snapshot
from keeper.connectors.base import PositionRef, load
from keeper.oracle.quote import Prices, Quote
from keeper.planning.policy import Policy
from keeper.reads import VaultReads
from keeper.valuation import policy_prices

DOMAIN: Final = "omnikeeper/provenance"
VERSION: Final = 1
PRICED: Final = 10**18
"""Smallest units of a token that a price is shown for."""


@dataclass(frozen=True)
class Provenance:
    """What one position's value rests on.

    `calls` reads at `block`; `results` is the canonical digest of all of them, sorted, as [target, calldata,
    success, returned bytes]: whoever reads the same gets the same. `prices` says what 10^18 smallest units of
    each token were worth in the vault's asset.
    """

    ref: PositionRef
    block: BlockRef
    calls: int
    results: bytes
    prices: tuple[tuple[str, Quote], ...]


def trace(snapshot: Snapshot, policy: Policy) -> dict[str, Provenance]:
    """Of every position, by venue: the connector's reads and those of our contracts about it. Raises as
    `keeper.oracle.routes.prices`."""
    hub, reads = policy.vault.chain_id, VaultReads(policy)
    block = snapshot.block(hub)
    prices = policy_prices(policy, partial(snapshot.result, hub), block.timestamp)
    return {
        each.venue: _trace(snapshot, block, each.ref(), reads.of(each), prices) for each in policy.positions
    }


def _trace(
    snapshot: Snapshot, block: BlockRef, ref: PositionRef, own: Iterable[Call[Any]], prices: Prices
) -> Provenance:
    connector = load(ref.connector)
    calls = sorted({(call.target, call.data) for call in (*connector.calls(ref), *own)})
    results = [_raw(snapshot, block.chain_id, Call(target, data, bytes, ref.venue)) for target, data in calls]
    priced = [token for token in connector.tokens(ref) if token in prices.rates]
    return Provenance(
        ref=ref,
        block=block,
        calls=len(results),
        results=canonical.digest(results, domain=DOMAIN, version=VERSION),
        prices=tuple((token, prices.worth(token, PRICED)) for token in sorted(priced)),
    )


def _raw(snapshot: Snapshot, chain_id: int, call: Call[bytes]) -> list[Any]:
    answer = snapshot.result(chain_id, call)
    failed = isinstance(answer, CallFailure)
    returned = answer.data if isinstance(answer, CallFailure) else answer
    return [bytes.fromhex(call.target[2:]), call.data, not failed, returned]
