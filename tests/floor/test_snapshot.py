import asyncio
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_programs import CALLS, CHAIN, REVERTS, SLOT_ZERO, TIMESTAMP, VALUE, set_slot_zero

from keeper.chain.block import BlockRef
from keeper.chain.call import CallFailure
from keeper.chain.lens import Result
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take, take_at
from keeper.contracts import address
from keeper.errors import (
    ConfigError,
    DecodeError,
    KeeperError,
    PlanError,
    ReorganisedError,
    StaleHeadError,
    UnknownBlockError,
)
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy

NOW = 2**40

uint = st.integers(0, 2**256 - 1)
word = st.binary(min_size=32, max_size=32)
blocks = st.builds(BlockRef, st.integers(1, 9), uint, word, word, st.integers(0, NOW), uint)
results = st.builds(
    Result,
    st.binary(min_size=20, max_size=20).map(lambda b: address("0x" + b.hex())),
    st.binary(max_size=40),
    st.booleans(),
    st.binary(max_size=40),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    chosen = draw(st.lists(blocks, max_size=3, unique_by=lambda b: b.chain_id))
    read = st.lists(results, max_size=4, unique_by=lambda r: (r.target, r.data))
    per_chain = tuple(tuple(sorted(draw(read))) for _ in chosen)
    return Snapshot(NOW, tuple(sorted(chosen)), per_chain)


@given(snapshots())
def test_snapshot_survives_its_bytes(snapshot: Snapshot) -> None:
    again = Snapshot.from_bytes(snapshot.to_bytes())
    assert again == snapshot
    assert again.hash == snapshot.hash


@given(snapshots(), snapshots())
def test_snapshots_share_a_hash_only_when_equal(one: Snapshot, other: Snapshot) -> None:
    assert (one.hash == other.hash) == (one == other)


@given(snapshots().filter(lambda s: any(s.results)), st.data())
def test_changing_one_returned_byte_changes_the_hash(snapshot: Snapshot, data: st.DataObject) -> None:
    chain = data.draw(st.sampled_from([i for i, found in enumerate(snapshot.results) if found]))
    first, *rest = snapshot.results[chain]
    changed = (dataclasses.replace(first, returned=first.returned + b"\x00"), *rest)
    results = (*snapshot.results[:chain], changed, *snapshot.results[chain + 1 :])
    assert dataclasses.replace(snapshot, results=results).hash != snapshot.hash


@given(st.binary(max_size=60))
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Snapshot.from_bytes(data)


async def test_snapshot_costs_a_header_and_a_call(chain: Endpoint) -> None:
    before = chain.requests
    snapshot = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    assert chain.requests - before == 2
    before = chain.requests
    again = await take_at({CHAIN: chain}, CALLS, snapshot.blocks, NOW)
    assert chain.requests - before == 2
    assert (again, again.hash) == (snapshot, snapshot.hash)


async def test_each_chain_costs_a_header_and_a_call_of_its_own(chain: Endpoint) -> None:
    with Anvil(CHAIN + 1, ["--no-mining"]) as second:
        async with Endpoint(second.url, CHAIN + 1) as other:
            await other.rpc("evm_mine")
            before = [end.requests for end in (chain, other)]
            calls = {**CALLS, CHAIN + 1: [VALUE.at(TIMESTAMP)]}
            taken = await take({CHAIN: chain, CHAIN + 1: other}, calls, NOW, {CHAIN: 0, CHAIN + 1: 0})
            assert [end.requests for end in (chain, other)] == [count + 2 for count in before]
    assert [block.chain_id for block in taken.blocks] == [CHAIN, CHAIN + 1]
    assert [len(results) for results in taken.results] == [3, 1]


async def test_results_are_found_by_call(chain: Endpoint) -> None:
    snapshot = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    assert snapshot.result(CHAIN, VALUE.at(SLOT_ZERO)) == 1
    assert snapshot.result(CHAIN, VALUE.at(TIMESTAMP)) == snapshot.block(CHAIN).timestamp
    assert snapshot.result(CHAIN, VALUE.at(REVERTS)) == CallFailure(bytes.fromhex("deadbeef"))
    stranger = VALUE.at(address("0x" + "99" * 20), owner="Stranger")
    with pytest.raises(KeeperError, match=rf"Stranger\.value\(\) on chain {CHAIN}"):
        snapshot.result(CHAIN, stranger)
    with pytest.raises(KeeperError, match="Chain is not in the snapshot"):
        snapshot.block(1)


async def test_order_and_repetition_of_calls_do_not_matter(chain: Endpoint) -> None:
    one = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    other = await take({CHAIN: chain}, {CHAIN: CALLS[CHAIN][::-1]}, NOW, {CHAIN: 0})
    assert one.hash == other.hash


@pytest.mark.parametrize(("back", "finality"), [(0, 0), (0, 5), (1, 0), (37, 0), (37, 5), (20, 33), (50, 0)])
async def test_block_is_the_last_final_one_not_after_the_reference_time(
    endpoint: Endpoint, back: int, finality: int
) -> None:
    await endpoint.rpc("anvil_mine", [hex(50), "0xc"])
    head = await endpoint.latest()
    wanted = await endpoint.get_block(min(head.number - back, head.number - finality))
    at = (await endpoint.get_block(head.number - back)).timestamp
    for reference_time in (at, at + 11) if back else (at,):
        snapshot = await take({CHAIN: endpoint}, {CHAIN: []}, reference_time, {CHAIN: finality})
        assert snapshot.block(CHAIN) == wanted


async def test_time_before_genesis_has_no_block(chain: Endpoint) -> None:
    with pytest.raises(UnknownBlockError, match="old enough"):
        await take({CHAIN: chain}, CALLS, 1, {CHAIN: 0})


async def test_chain_without_enough_blocks_has_no_final_one(chain: Endpoint) -> None:
    with pytest.raises(StaleHeadError, match="No final block yet"):
        await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 1_000})


async def test_chain_without_endpoint_or_finality_is_a_configuration_error(chain: Endpoint) -> None:
    with pytest.raises(ConfigError, match=f"No endpoint for chain {CHAIN}"):
        await take({}, CALLS, NOW, {CHAIN: 0})
    with pytest.raises(ConfigError, match=f"No finality rule for chain {CHAIN}"):
        await take({CHAIN: chain}, CALLS, NOW, {})
    with pytest.raises(ConfigError, match="different chains"):
        await take_at({CHAIN: chain}, CALLS, [], NOW)


async def test_pinned_block_that_was_reorganised_away_is_refused(chain: Endpoint) -> None:
    before = await chain.rpc("evm_snapshot")
    await set_slot_zero(chain, 2)
    pinned = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    await chain.rpc("evm_revert", [before])
    with pytest.raises(StaleHeadError):
        await take_at({CHAIN: chain}, CALLS, pinned.blocks, NOW)
    await set_slot_zero(chain, 3)
    with pytest.raises(ReorganisedError) as caught:
        await take_at({CHAIN: chain}, CALLS, pinned.blocks, NOW)
    assert caught.value.expected == pinned.block(CHAIN).hash
    assert caught.value.exit_code == 3


async def test_pinned_block_after_the_reference_time_is_refused(chain: Endpoint) -> None:
    head = await chain.latest()
    with pytest.raises(PlanError, match="later than the reference time"):
        await take_at({CHAIN: chain}, CALLS, [head], head.timestamp - 1)


def permuted(value: Any) -> Any:
    """The same JSON with the order of keys turned round."""
    if isinstance(value, dict):
        return {key: permuted(value[key]) for key in reversed(value)}
    return [permuted(item) for item in value] if isinstance(value, list) else value


async def test_hash_is_the_same_through_a_fork_and_through_a_proxy(chain: Endpoint, anvil: Anvil) -> None:
    await set_slot_zero(chain, 2)
    # At the head, where the fork begins: Anvil takes no code override on blocks before its fork.
    snapshot = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    with (
        Anvil(CHAIN, ["--fork-url", anvil.url, "--no-mining"]) as fork,
        Proxy([anvil.url], CHAIN, faults=[Fault(change=permuted)]) as proxy,
    ):
        for url in (anvil.url, fork.url, proxy.url):
            async with Endpoint(url, CHAIN) as endpoint:
                again = await take_at({CHAIN: endpoint}, CALLS, snapshot.blocks, NOW)
            assert again.hash == snapshot.hash


PROGRAM = """
import asyncio
import sys
from pathlib import Path

from local_programs import CALLS, CHAIN

from keeper import canonical
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, take_at


async def retake(given):
    async with Endpoint(sys.argv[2], CHAIN) as endpoint:
        return await take_at({CHAIN: endpoint}, CALLS, given.blocks, given.reference_time)


snapshot = asyncio.run(retake(Snapshot.from_bytes(Path(sys.argv[1]).read_bytes())))
body = {name: snapshot.hash for name in {"vault", "snapshot", "policy", "units", "a", "bb"}}
print(snapshot.hash.hex(), canonical.digest(body, domain="test", version=1).hex())
"""


async def _digests_in_a_process(path: Path, url: str, seed: str, zone: str, locale: str) -> str:
    settings = {
        "PYTHONHASHSEED": seed,
        "TZ": zone,
        "LC_ALL": locale,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(path), url),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **settings},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


SETTINGS = [("0", "UTC", "C"), ("1", "Asia/Kathmandu", "tr_TR.UTF-8"), ("77", "America/St_Johns", "C.UTF-8")]


async def test_hash_is_the_same_in_processes_that_read_again(
    chain: Endpoint, anvil: Anvil, tmp_path: Path
) -> None:
    snapshot = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    file = tmp_path / "snapshot"
    file.write_bytes(snapshot.to_bytes())
    seen = {await _digests_in_a_process(file, anvil.url, *settings) for settings in SETTINGS}
    assert len(seen) == 1
    assert seen.pop().startswith(snapshot.hash.hex())
