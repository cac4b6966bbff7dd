"""Snapshots of many positions over five chains, beside the bare `eth_call` that they contain.

A position is a supply on Morpho Blue, read by the keeper's own connector; 1,000 of them are 200 on each
chain. The proxy in front of each chain adds 50 ms to every request. `taken` is header, then call, and every
value decoded; `pinned` is what a signer does at known blocks, header and call at once. The ratio's
denominator posts the very bytes of the calls, all chains at once, and throws the answers away.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import aiohttp
from eth_hash.auto import keccak

from bench.registry import Group, Metric, Number
from bench.timing import milliseconds, wall_seconds
from keeper.chain import lens
from keeper.chain.call import Call
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take, take_at
from keeper.connectors.base import PositionRef, load
from keeper.contracts import Function, address, artifact
from keeper.simulation.bundle import Bundle
from keeper.simulation.devnet import FIRST_CHAIN_ID, Devnet
from keeper.simulation.fork import Fork
from keeper.simulation.proxy import Proxy

CHAINS = 5
DELAY = 0.05
SIZES = (10, 100, 1_000, 10_000)
WARMUPS, REPEATS = 2, 7
WEB3_CALLS = 40
SLOTS = 1_000
HOLDER = address("0x" + keccak(b"a contract with a thousand slots")[12:].hex())
READ_SLOT = Function("slot(uint256)", "(uint256)")
SLOT_CODE = "0x60043554600052602060 00f3".replace(" ", "")
"""Answers the storage slot that the argument names."""


class RecordingEndpoint(Endpoint):
    """An endpoint that remembers the bytes of its last `eth_call`."""

    last: Sequence[Any] = ()

    async def ask(self, method: str, params: Sequence[Any] = ()) -> Any:
        if method == "eth_call":
            self.last = params
        return await super().ask(method, params)


def positions(devnet: Devnet, count: int) -> list[Call[Any]]:
    """The reads of that many positions, spread over the chain's markets."""
    morpho = devnet.manifest["morpho"]
    markets = [morpho["markets"][name] for name in sorted(morpho["markets"])]
    connector = load("morpho_blue")
    calls: list[Call[Any]] = []
    for number in range(count):
        market = markets[number % len(markets)]
        named = ("loan_token", "collateral_token", "oracle", "irm", "lltv")
        params = {"morpho": morpho["address"], "market": {name: market[name] for name in named}}
        ref = PositionRef(
            connector="morpho_blue",
            address=address(f"0x{number + 1:040x}"),
            key=bytes.fromhex(market["id"][2:]),
            venue=f"morpho:{number}",
            params=params,
        )
        calls += connector.calls(ref)
    return calls


def measure() -> dict[str, Number]:
    """All figures."""
    with ExitStack() as running:
        devnets = [running.enter_context(Devnet(FIRST_CHAIN_ID + index)) for index in range(CHAINS)]
        for each in devnets:
            # Anvil forgets the hash of the block before the one that it loaded.
            each.warp(12)
            each.warp(12)
        urls = running.enter_context(_delayed({each.chain_id: each.url for each in devnets}))
        values = asyncio.run(_spread(devnets, urls))
        values |= {"reads.peak_memory_mb": _peak_memory(urls)}
    return values | _forked()


@contextmanager
def _delayed(urls: Mapping[int, str]) -> Iterator[dict[int, str]]:
    """URLs of proxies that add the delay, in a process of their own: the network's work is not ours."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(dict(urls), there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve(urls: dict[int, str], told: Connection) -> None:
    with ExitStack() as running:
        proxies = {c: running.enter_context(Proxy([url], c, delay=DELAY)) for c, url in urls.items()}
        told.send({chain: proxy.url for chain, proxy in proxies.items()})
        told.recv()


async def _spread(devnets: Sequence[Devnet], urls: Mapping[int, str]) -> dict[str, Number]:
    values: dict[str, Number] = {}
    async with AsyncExitStack() as stack:
        ends = {
            chain: await stack.enter_async_context(RecordingEndpoint(url, chain))
            for chain, url in urls.items()
        }
        for size in SIZES:
            calls = {each.chain_id: positions(each, size // CHAINS) for each in devnets}
            taken = await _taken(ends, calls)
            before = {chain: end.requests for chain, end in ends.items()}
            await _taken(ends, calls)
            requests = max(end.requests - before[chain] for chain, end in ends.items())
            bodies = {urls[chain]: _body(end.last) for chain, end in ends.items()}
            async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
                runs = [
                    lambda calls=calls: _taken(ends, calls),
                    lambda calls=calls, taken=taken: take_at(ends, calls, taken.blocks, taken.reference_time),
                    lambda bodies=bodies: _bare(session, bodies),
                ]
                whole, pinned, bare = await wall_seconds(
                    runs, warmups=WARMUPS, repeats=REPEATS if size < SIZES[-1] else 3
                )
            values |= {
                f"reads.{size}_positions_taken_ms": milliseconds(whole),
                f"reads.{size}_positions_pinned_ms": milliseconds(pinned),
                f"reads.{size}_positions_eth_call_ms": milliseconds(bare),
                f"reads.{size}_positions_requests": requests,
            }
        values["reads.pinned_over_eth_call_ratio"] = round(
            values["reads.1000_positions_pinned_ms"] / values["reads.1000_positions_eth_call_ms"], 3
        )
        values["reads.growth_10000_over_1000_ratio"] = round(
            values["reads.10000_positions_taken_ms"] / values["reads.1000_positions_taken_ms"], 3
        )
        values["reads.web3_1000_positions_ms"] = await asyncio.to_thread(_web3, devnets, urls)
    return values


async def _taken(ends: Mapping[int, Endpoint], calls: Mapping[int, Sequence[Call[Any]]]) -> Snapshot:
    """A snapshot, with every value decoded."""
    taken = await take(ends, calls, 2**40, dict.fromkeys(calls, 0))
    for chain, each in calls.items():
        for call in each:
            taken.result(chain, call)
    return taken


def _body(params: Sequence[Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": params}).encode()


async def _bare(session: aiohttp.ClientSession, bodies: Mapping[str, bytes]) -> None:
    async def post(url: str, body: bytes) -> None:
        async with session.post(url, data=body) as response:
            answer = await response.read()
        if b'"result"' not in answer:
            raise RuntimeError(f"not a result: {answer[:200]!r}")

    await asyncio.gather(*(post(url, body) for url, body in bodies.items()))


def _web3(devnets: Sequence[Devnet], urls: Mapping[int, str]) -> float:
    """What plain web3.py takes for 1,000 positions, one after the other: a few of them, times the rest."""
    from web3 import Web3
    from web3.providers.rpc import HTTPProvider

    devnet = devnets[0]
    node = Web3(HTTPProvider(urls[devnet.chain_id]))
    abi = artifact("Morpho").abi
    morpho = node.eth.contract(address=devnet.manifest["morpho"]["address"], abi=abi)
    market = bytes.fromhex(next(iter(devnet.manifest["morpho"]["markets"].values()))["id"][2:])
    started = perf_counter()
    for number in range(WEB3_CALLS):
        morpho.functions.position(market, address(f"0x{number + 1:040x}")).call()
    return milliseconds((perf_counter() - started) / WEB3_CALLS * 1_000)


def _peak_memory(urls: Mapping[int, str]) -> float:
    """Of a process of its own that does nothing but take the snapshot of 1,000 positions, in MB."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        kilobytes = pool.submit(_alone, dict(urls)).result()
    return round(kilobytes / 1024 if sys.platform == "linux" else kilobytes / 2**20, 1)


def _alone(urls: dict[int, str]) -> int:
    calls = {chain: positions(Devnet(chain), 1_000 // CHAINS) for chain in urls}

    async def run() -> None:
        async with AsyncExitStack() as stack:
            ends = {c: await stack.enter_async_context(Endpoint(url, c)) for c, url in urls.items()}
            await _taken(ends, calls)

    asyncio.run(run())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forked() -> dict[str, Number]:
    """A fork, live and from its bundle: first block, and a thousand slots through one lens call."""
    with Devnet() as devnet, TemporaryDirectory(prefix="omnikeeper-") as folder:
        devnet.rpc("anvil_setCode", HOLDER, SLOT_CODE)
        for slot in range(SLOTS):
            devnet.rpc("anvil_setStorageAt", HOLDER, f"0x{slot:064x}", f"0x{slot + 7:064x}")
        devnet.rpc("evm_mine")
        path = Path(folder) / "slots.bundle"
        live, first = _timed(lambda: _first_block(Fork(FIRST_CHAIN_ID, [devnet.url])))
        with live:
            asyncio.run(_slots(live))
            live.save(path)
        replay, again = _timed(lambda: _first_block(Fork.replay(path)))
        with replay:
            asyncio.run(_slots(replay, range(1)))
            _, cold = _timed(lambda: asyncio.run(_slots(replay)))
            _, warm = _timed(lambda: asyncio.run(_slots(replay)))
    return {
        "reads.fork_first_block_ms": milliseconds(first),
        "reads.bundle_first_block_ms": milliseconds(again),
        "reads.bundle_1000_slots_cold_ms": milliseconds(cold),
        "reads.bundle_1000_slots_ms": milliseconds(warm),
        "reads.bundle_kb": round(len(Bundle.to_bytes(live.bundle)) / 1024) if live.bundle else 0,
    }


def _first_block(fork: Fork) -> Fork:
    fork.start()
    fork.rpc("evm_mine")
    return fork


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    started = perf_counter()
    return run(), perf_counter() - started


async def _slots(fork: Fork, slots: range = range(SLOTS)) -> None:
    calls = [READ_SLOT.at(HOLDER, slot) for slot in slots]
    async with Endpoint(fork.url, fork.chain_id, timeout=60) as endpoint:
        # At the block of the fork: what is read there comes from the bundle, slot by slot.
        seen = await lens.read(endpoint, await endpoint.latest(), calls)
        if seen != tuple(slot + 7 for slot in slots) or endpoint.requests != 2:
            raise RuntimeError("the fork does not answer what its origin would, in one call")


GROUP = Group(
    metrics=(
        *(
            Metric(f"reads.{size}_positions_{what}", unit, target=target)
            for size in SIZES
            for what, unit, target in (
                ("taken_ms", "ms", 1_000 if size == 1_000 else None),
                ("pinned_ms", "ms", None),
                ("eth_call_ms", "ms", None),
                ("requests", "requests", 2 if size <= 1_000 else None),
            )
        ),
        Metric("reads.pinned_over_eth_call_ratio", "ratio", target=1.5),
        Metric("reads.growth_10000_over_1000_ratio", "ratio", target=10),
        Metric("reads.web3_1000_positions_ms", "ms"),
        Metric("reads.peak_memory_mb", "MB", target=300),
        Metric("reads.fork_first_block_ms", "ms"),
        Metric("reads.bundle_first_block_ms", "ms"),
        Metric("reads.bundle_1000_slots_cold_ms", "ms", target=2_000),
        Metric("reads.bundle_1000_slots_ms", "ms", target=2_000),
        Metric("reads.bundle_kb", "kB"),
    ),
    measure=measure,
)
