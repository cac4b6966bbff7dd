"""How many positions one core values in a second, without any I/O.

`*_positions_per_second` starts from decoded protocol state, as it is in a book, and asks for the value at a
later time, another one each time: interest and rates are computed anew. `*_from_reads_per_second` starts from
the raw bytes of a snapshot and includes decoding, the checks and the value.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from bench.registry import Group, Metric, Number
from bench.stage import Stage
from bench.timing import seconds
from bench.vaults import parts_of
from keeper import engine
from keeper.chain import snapshot
from keeper.chain.rpc import Endpoint
from keeper.connectors.base import PositionRef, load
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment, deploy_vault

PROTOCOLS = {"aave_v3": 20_000, "morpho_blue": 20_000, "metamorpho": None}
VALUES_PER_RUN, READS_PER_RUN = 2_000, 50
WARMUPS, REPEATS = 2, 9


def measure() -> dict[str, Number]:
    """Every figure, on positions of the demo's vault."""
    with Devnet() as devnet:
        deployment = deploy_vault(devnet)
        stage = Stage(devnet, parts_of(deployment))
        stage.populate()
        taken = asyncio.run(_snapshot(devnet, deployment, stage.now()))
    figures: dict[str, Number] = {}
    for ref in deployment.policy.refs():
        figures |= _protocol(taken, devnet.chain_id, ref)
    return figures


async def _snapshot(devnet: Devnet, deployment: Deployment, now: int) -> snapshot.Snapshot:
    policy = deployment.policy
    async with Endpoint(devnet.url, devnet.chain_id) as endpoint:
        endpoints = {devnet.chain_id: endpoint}
        return await snapshot.take(endpoints, engine.calls(policy), now, policy.finality)


def _protocol(taken: snapshot.Snapshot, chain_id: int, ref: PositionRef) -> dict[str, Number]:
    at = taken.block(chain_id).timestamp
    connector = load(ref.connector)
    position = connector.position(ref, lambda call: taken.result(chain_id, call), at)
    if not position.value(at).low:
        raise RuntimeError(f"{ref.venue} is worth nothing: there is nothing to measure")
    later = count(at + 1)

    def from_reads() -> None:
        read = connector.position(ref, lambda call: taken.result(chain_id, call), at)
        read.value(next(later))

    return {
        f"valuation.{ref.connector}_positions_per_second": _per_second(
            lambda: position.value(next(later)), VALUES_PER_RUN
        ),
        f"valuation.{ref.connector}_from_reads_per_second": _per_second(from_reads, READS_PER_RUN),
    }


def _per_second(run: Callable[[], object], times: int) -> int:
    def repeat() -> None:
        for _ in range(times):
            run()

    return round(times / seconds(repeat, warmups=WARMUPS, repeats=REPEATS))


GROUP = Group(
    metrics=tuple(
        metric
        for name, target in PROTOCOLS.items()
        for metric in (
            Metric(f"valuation.{name}_positions_per_second", "1/s", "higher", target),
            Metric(f"valuation.{name}_from_reads_per_second", "1/s", "higher"),
        )
    ),
    measure=measure,
)
