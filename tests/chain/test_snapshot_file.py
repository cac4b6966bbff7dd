"""A snapshot as a file: the same book offline, told apart when damaged, and checked by reading again."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_programs import CALLS, CHAIN, SLOT_ZERO, VALUE, mine, set_slot_zero
from staged import USDC, Staged
from typer.testing import CliRunner

from keeper.chain.history import LogQuery, SeriesQuery
from keeper.chain.pool import ChainEndpoints, Pool
from keeper.chain.rpc import Endpoint
from keeper.chain.snapshot import Snapshot, retake, take
from keeper.errors import ConfigError, DecodeError, DisagreementError, EndpointError, KeeperError, RpcError
from keeper.ops.commands.snapshot import app
from keeper.simulation.devnet import Devnet
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import deploy_vault

NOW = 2**40
TOPIC = b"\x77" * 32
NOISY = "0x" + "77" * 20
"""Emits one log with `TOPIC` and its calldata."""

QUERY = LogQuery(NOISY, (TOPIC,), 4)
SERIES = SeriesQuery.of(VALUE.at(SLOT_ZERO), 2, 3)


@pytest.fixture
async def noisy(chain: Endpoint) -> Endpoint:
    """Five blocks on, each with a log of `NOISY` and a new value in slot zero."""
    code = "0x366000600037" + "7f" + TOPIC.hex() + "3660 00a100".replace(" ", "")
    await chain.rpc("anvil_setCode", [NOISY, code])
    (sender, *_) = await chain.rpc("eth_accounts")
    for number in range(5):
        request = {"from": sender, "to": NOISY, "data": f"0x{number:064x}"}
        await mine(chain, await chain.rpc("eth_sendTransaction", [request]))
        await set_slot_zero(chain, 100 + number)
    return chain


async def _taken(source: Any) -> Snapshot:
    return await take({CHAIN: source}, CALLS, NOW, {CHAIN: 0}, {CHAIN: [QUERY, SERIES]})


async def test_history_is_read_kept_and_found_by_what_was_declared(noisy: Endpoint, tmp_path: Path) -> None:
    taken = await _taken(noisy)
    head = taken.block(CHAIN)
    assert [log.data for log in taken.logs(CHAIN, QUERY)] == [n.to_bytes(32, "big") for n in (3, 4)]
    assert all(head.number - 4 < log.block <= head.number for log in taken.logs(CHAIN, QUERY))
    points = taken.series(CHAIN, VALUE.at(SLOT_ZERO), 2, 3)
    assert [(point.block, value) for point, value in points] == [
        (head.number - 4, 102),
        (head.number - 2, 103),
        (head.number, 104),
    ]
    name = taken.save(tmp_path / "snapshot")
    assert Snapshot.load(tmp_path / "snapshot", name) == taken
    assert name == taken.hash
    with pytest.raises(KeeperError, match="Logs are not in the snapshot"):
        taken.logs(CHAIN, replace(QUERY, blocks=5))
    with pytest.raises(KeeperError, match="Series is not in the snapshot"):
        taken.series(CHAIN, VALUE.at(SLOT_ZERO), 2, 4)


async def test_history_is_part_of_the_hash(noisy: Endpoint) -> None:
    taken = await _taken(noisy)
    assert replace(taken, history=()).hash != taken.hash
    assert (await retake({CHAIN: noisy}, taken)).hash == taken.hash


async def test_a_range_too_wide_for_the_endpoint_is_asked_in_parts(noisy: Endpoint) -> None:
    taken = await _taken(noisy)
    narrow = Fault(
        "eth_getLogs",
        where=lambda params: int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) > 1,
        error=(-32005 + 1, "query exceeds max block range 2"),
    )
    with Proxy([noisy.public_url], CHAIN, faults=[narrow]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            assert (await _taken(through)).hash == taken.hash
        assert proxy.seen["eth_getLogs"] == 3


async def test_a_log_that_was_not_asked_for_is_refused(noisy: Endpoint) -> None:
    def foreign(result: Any) -> Any:
        return [each | {"address": SLOT_ZERO} for each in result]

    with Proxy([noisy.public_url], CHAIN, faults=[Fault("eth_getLogs", change=foreign)]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as through:
            with pytest.raises(EndpointError, match="log that was not asked for"):
                await _taken(through)


async def test_two_who_find_different_logs_are_named(noisy: Endpoint) -> None:
    lie = Fault("eth_getLogs", change=lambda logs: logs[1:])
    with Proxy([noisy.public_url], CHAIN, faults=[lie]) as liar:
        both = ChainEndpoints.of([noisy.public_url, liar.url], agreement=2)
        async with Pool(CHAIN, both) as pool:
            with pytest.raises(DisagreementError) as caught:
                await _taken(pool)
    assert f"{noisy.public_url} has 2" in str(caught.value)
    assert f"{liar.url} has 1" in str(caught.value)


@pytest.mark.parametrize("query", [(NOISY, (), 0), (NOISY, (b"\x01",), 1)])
def test_a_query_without_blocks_or_with_half_a_topic_is_refused(query: Any) -> None:
    with pytest.raises(ConfigError):
        LogQuery(*query)


async def test_every_damaged_byte_of_a_file_is_noticed(chain: Endpoint, tmp_path: Path) -> None:
    taken = await take({CHAIN: chain}, CALLS, NOW, {CHAIN: 0})
    file = tmp_path / "snapshot"
    taken.save(file)
    whole = file.read_bytes()
    for at in (0, 31, 32, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DecodeError, match="hash does not match"):
            Snapshot.load(file)
    file.write_bytes(whole[:-1])
    with pytest.raises(DecodeError, match="hash does not match"):
        Snapshot.load(file)
    file.write_bytes(whole)
    with pytest.raises(DecodeError, match="another one"):
        Snapshot.load(file, b"\x01" * 32)
    with pytest.raises(ConfigError, match="Cannot read the snapshot"):
        Snapshot.load(tmp_path / "none")


@pytest.fixture(scope="module")
def kept(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Devnet]:
    """A folder with the policy of a funded vault, its endpoints and a snapshot taken on the command line."""
    folder = tmp_path_factory.mktemp("kept")
    deployment = deploy_vault(devnet)
    asyncio.run(Staged(devnet, deployment).open(1_000_000 * USDC))
    (folder / "policy.toml").write_text(deployment.policy_toml)
    (folder / "endpoints.toml").write_text(
        f'clock = "chain"\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{devnet.url}"\n'
    )
    arguments = [
        "take",
        "--policy",
        str(folder / "policy.toml"),
        "--endpoints",
        str(folder / "endpoints.toml"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--out", str(folder / "one.snapshot"), "--json"])
    assert done.exit_code == 0, done.output
    (folder / "taken.json").write_text(done.stdout)
    return folder, devnet


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def test_the_book_of_a_saved_snapshot_is_the_same_offline(kept: tuple[Path, Devnet]) -> None:
    folder, _ = kept
    taken = json.loads((folder / "taken.json").read_text())
    code, shown = run("show", str(folder / "one.snapshot"), "--policy", str(folder / "policy.toml"))
    assert (code, shown) == (0, taken)
    assert shown["nav"]["low"] > 900_000 * USDC
    assert len(shown["allocation"]) == 3


def test_verify_reads_again_and_says_what_differs(kept: tuple[Path, Devnet]) -> None:
    folder, _ = kept
    file, endpoints = str(folder / "one.snapshot"), str(folder / "endpoints.toml")
    code, verdict = run("verify", file, "--endpoints", endpoints)
    assert (code, verdict["ok"], verdict["hash"]) == (0, True, verdict["own_hash"])
    honest = Snapshot.load(folder / "one.snapshot")
    first, *rest = honest.results[0]
    forged = replace(honest, results=((replace(first, returned=b"\x01" + first.returned[1:]), *rest),))
    forged.save(folder / "forged.snapshot")
    code, verdict = run("verify", str(folder / "forged.snapshot"), "--endpoints", endpoints)
    assert (code, verdict["ok"], len(verdict["differences"])) == (1, False, 1)
    assert first.target in verdict["differences"][0]


def test_a_snapshot_of_another_policy_makes_no_book(kept: tuple[Path, Devnet]) -> None:
    folder, _ = kept
    honest = Snapshot.load(folder / "one.snapshot")
    replace(honest, results=(honest.results[0][1:],)).save(folder / "short.snapshot")
    arguments = ["show", str(folder / "short.snapshot"), "--policy", str(folder / "policy.toml")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, DecodeError)
    assert "1 of them missing" in str(done.exception)


def test_the_hash_asked_for_has_to_be_the_files(kept: tuple[Path, Devnet]) -> None:
    folder, _ = kept
    done = CliRunner().invoke(app, ["show", str(folder / "one.snapshot"), "--hash", "0x" + "11" * 32])
    assert isinstance(done.exception, DecodeError)
    done = CliRunner().invoke(app, ["show", str(folder / "one.snapshot"), "--hash", "0x11"])
    assert isinstance(done.exception, ConfigError)


def test_the_calls_of_the_file_are_those_of_the_chain(kept: tuple[Path, Devnet]) -> None:
    folder, devnet = kept
    taken = Snapshot.load(folder / "one.snapshot")
    number = hex(taken.blocks[0].number)
    assert len(taken.results[0]) > 10
    for result in taken.results[0]:
        request = {"to": result.target, "data": "0x" + result.data.hex()}
        if not result.success:
            # The MetaMorpho vault is of version 1.0, and is asked for what 1.1 has lost.
            with pytest.raises(RpcError, match="revert"):
                devnet.rpc("eth_call", request, number)
            continue
        answer = devnet.rpc("eth_call", request, number)
        assert bytes.fromhex(answer[2:]) == result.returned
    assert sum(result.success for result in taken.results[0]) == len(taken.results[0]) - 1
