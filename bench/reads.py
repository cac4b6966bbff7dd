"""One snapshot of one vault, beside the bare `eth_call` that it contains.

The ratio's denominator posts the very bytes of that call on an open connection and throws the answer away:
what remains is the header's request, and encoding, checking and sorting.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from bench.registry import Group, Metric, Number
from bench.timing import milliseconds, wall_seconds
from bench.vaults import demo_vault
from keeper import engine
from keeper.chain import snapshot
from keeper.chain.rpc import Endpoint
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet

WARMUPS, REPEATS = 5, 31


class RecordingEndpoint(Endpoint):
    """An endpoint that remembers its last request of each method."""

    def __init__(self, url: str, chain_id: int) -> None:
        super().__init__(url, chain_id)
        self.last: dict[str, Any] = {}

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        self.last[method] = params
        return await super().rpc(method, params)


def measure() -> dict[str, Number]:
    """All figures, on the demo's vault with three positions."""
    with demo_vault() as (stage, deployment):
        return asyncio.run(_measure(stage.devnet, deployment.policy, stage.now()))


async def _measure(devnet: Devnet, policy: Policy, now: int) -> dict[str, Number]:
    async with RecordingEndpoint(devnet.url, devnet.chain_id) as endpoint:

        async def take() -> snapshot.Snapshot:
            endpoints = {devnet.chain_id: endpoint}
            return await snapshot.take(endpoints, engine.calls(policy), now, policy.finality)

        # The first asks for the chain id, too.
        await take()
        before = endpoint.requests
        await take()
        requests = endpoint.requests - before
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": endpoint.last["eth_call"]}
        body = json.dumps(call).encode()
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

            async def post() -> None:
                async with session.post(devnet.url, data=body) as response:
                    answer = await response.read()
                if b'"result"' not in answer:
                    raise RuntimeError(f"not a result: {answer[:200]!r}")

            whole, bare = await wall_seconds([take, post], warmups=WARMUPS, repeats=REPEATS)
    return {
        "reads.snapshot_ms": milliseconds(whole),
        "reads.eth_call_ms": milliseconds(bare),
        "reads.snapshot_over_eth_call_ratio": round(whole / bare, 3),
        "reads.snapshot_requests": requests,
    }


GROUP = Group(
    metrics=(
        Metric("reads.snapshot_ms", "ms"),
        Metric("reads.eth_call_ms", "ms"),
        Metric("reads.snapshot_over_eth_call_ratio", "ratio"),
        Metric("reads.snapshot_requests", "requests", target=2),
    ),
    measure=measure,
)
