"""Forks of a local chain that plays mainnet: through a failing network, and again without any."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_programs import CHAIN
from typer.testing import CliRunner

from keeper.chain.lens import read
from keeper.chain.rpc import Endpoint
from keeper.contracts import Function, encode_call
from keeper.errors import ConfigError, DecodeError, EndpointError, HeaderError, KeeperError, RpcError
from keeper.ops.commands.sim import app
from keeper.simulation.bundle import Bundle, BundleRefusedError, MissingItemError
from keeper.simulation.devnet import Devnet
from keeper.simulation.fork import Fork
from keeper.simulation.proxy import Fault, Proxy

PRICE = 1_800 * 10**8
BALANCE = Function("balanceOf(address)", "(uint256)")
ROUND = Function("latestRoundData()", "(uint80,int256,uint256,uint256,uint80)")


def tell(fork: Fork, manifest: dict[str, Any]) -> list[Any]:
    """Transfers, a price, time travel, old logs and old state: everything that comes of it."""
    usdc, feed = manifest["tokens"]["USDC"]["address"], manifest["feeds"]["ETH/USD"]["proxy"]
    first, second = (manifest["accounts"][role]["address"] for role in ("user1", "user2"))
    sent = fork.send_as(first, usdc, encode_call("transfer(address,uint256)", second, 5))
    refused = fork.send_as(first, usdc, encode_call("transfer(address,uint256)", second, 2**200))
    pushed = fork.push_price(feed, PRICE)
    fork.warp(3_600)
    call = {"to": feed, "data": "0x" + ROUND.encode().hex()}
    old = {"to": usdc, "data": "0x" + BALANCE.encode(first).hex()}
    return [
        *((receipt["status"], receipt["blockHash"], receipt["logs"]) for receipt in (sent, refused, pushed)),
        fork.block()["hash"],
        fork.rpc("eth_call", call, "latest"),
        fork.rpc("eth_call", old, "latest"),
        fork.rpc("eth_call", old, hex(fork.origin.number - 2)),
        fork.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": usdc}),
        fork.block(3)["hash"],
    ]


@pytest.fixture(scope="module")
def mainnet(devnet: Devnet) -> Devnet:
    return devnet


@pytest.fixture(scope="module")
def told(mainnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Path, bytes]:
    """The story on a live fork, and its bundle."""
    path = tmp_path_factory.mktemp("bundle") / "mainnet.bundle"
    with Fork(CHAIN, [mainnet.url]) as fork:
        story = tell(fork, mainnet.manifest)
        return story, path, fork.save(path)


def test_a_fork_starts_at_the_block_and_goes_its_own_way(mainnet: Devnet, told: Any) -> None:
    story, _, _ = told
    (sent, _, logs), (refused, _, none), *_ = story
    assert (sent, refused, none) == ("0x1", "0x0", [])
    assert len(logs) == 1
    _, answer, _, updated, _ = ROUND.decode(bytes.fromhex(story[4][2:]))
    assert answer == PRICE
    assert updated > int(mainnet.block()["timestamp"], 16)
    assert int(story[5], 16) == int(story[6], 16) - 5
    assert story[8] == mainnet.block(3)["hash"]


def test_a_bundle_tells_the_same_story_after_the_origin_is_gone(fresh_devnet: Devnet, tmp_path: Path) -> None:
    with Fork(CHAIN, [fresh_devnet.url]) as fork:
        live = tell(fork, fresh_devnet.manifest)
        fresh_devnet.stop()
        # What it has, it still has; what it lacks cannot be had.
        assert tell_again(fork, live)
        with pytest.raises(RpcError, match="No answer from the endpoint"):
            fork.rpc("eth_getBalance", "0x" + "77" * 20, "latest")
        name = fork.save(tmp_path / "bundle")
    with Fork.replay(tmp_path / "bundle", expected=name) as fork:
        assert tell(fork, fresh_devnet.manifest) == live
        with pytest.raises(RpcError, match=r"The bundle lacks the \w+ of an account \[0x7{40}\]"):
            fork.rpc("eth_getBalance", "0x" + "77" * 20, "latest")


def tell_again(fork: Fork, live: list[Any]) -> bool:
    head: str = fork.block()["hash"]
    return head == live[3]


def test_a_replay_is_a_replay_of_itself(told: Any, mainnet: Devnet, tmp_path: Path) -> None:
    story, path, name = told
    with Fork.replay(path) as fork:
        assert tell(fork, mainnet.manifest) == story
        assert fork.save(tmp_path / "again") == name


def test_complaint_07_a_fork_survives_the_loss_of_its_first_upstream(mainnet: Devnet, told: Any) -> None:
    story, _, _ = told
    with Proxy([mainnet.url], CHAIN) as first, Proxy([mainnet.url], CHAIN) as second:
        with Fork(CHAIN, [first.url, second.url]) as fork:
            first.stop()
            assert tell(fork, mainnet.manifest) == story
        assert second.seen["eth_getStorageAt"] > 0


def test_complaint_07_a_fork_survives_the_rate_limit_of_an_upstream(mainnet: Devnet, told: Any) -> None:
    story, _, _ = told
    limit = Fault("eth_get", status=429, headers={"Retry-After": "60"})
    with Proxy([mainnet.url], CHAIN) as first, Proxy([mainnet.url], CHAIN) as second:
        first.faults = [limit]
        with Fork(CHAIN, [first.url, second.url]) as fork:
            assert tell(fork, mainnet.manifest) == story
        # What was asked at the same time as the first refusal, and nothing after it.
        assert sum(count for name, count in first.seen.items() if name != "eth_chainId") <= 3
        assert second.seen["eth_getStorageAt"] > 0


def test_what_a_bundle_has_is_not_fetched_again(mainnet: Devnet, told: Any) -> None:
    story, path, name = told
    with Proxy([mainnet.url], CHAIN) as proxy, Fork(CHAIN, [proxy.url], bundle=Bundle.load(path)) as fork:
        assert tell(fork, mainnet.manifest) == story
        assert proxy.seen == {}
        assert fork.bundle is not None
        assert fork.bundle.hash == name


def test_state_is_asked_for_by_the_hash_of_the_block(mainnet: Devnet) -> None:
    asked: list[Any] = []
    spy = Fault("eth_getStorageAt", where=lambda params: bool(asked.append(params)))
    with Proxy([mainnet.url], CHAIN, faults=[spy]) as proxy, Fork(CHAIN, [proxy.url]) as fork:
        fork.send_as(
            mainnet.address("user1"),
            mainnet.manifest["tokens"]["USDC"]["address"],
            encode_call("approve(address,uint256)", mainnet.address("user2"), 1),
        )
        assert asked
        assert all(params[-1] == {"blockHash": "0x" + fork.origin.hash.hex()} for params in asked)


async def test_complaint_06_a_hundred_reads_of_a_fork_cost_few_requests_once_and_then_none(
    mainnet: Devnet,
) -> None:
    usdc = mainnet.manifest["tokens"]["USDC"]["address"]
    calls = [BALANCE.at(usdc, f"0x{number:040x}") for number in range(1, 101)]
    with Proxy([mainnet.url], CHAIN) as upstream, Fork(CHAIN, [upstream.url]) as fork:
        async with Endpoint(fork.url, CHAIN) as endpoint:
            head = await endpoint.latest()
            started = upstream.seen.total()
            first = await read(endpoint, head, calls)
            asked = upstream.seen.total()
            assert first == (0,) * 100
            # A slot for each balance, and the code and the accounts that all of them have in common.
            assert 100 < asked - started < 115
            assert await read(endpoint, head, calls) == first
        assert upstream.seen.total() == asked


HASHLESS = Fault(
    "eth_get",
    where=lambda params: bool(params) and isinstance(params[-1], dict) and "blockHash" in params[-1],
    error=(-32602, "invalid argument 1: hex string expected"),
)


def test_an_upstream_that_takes_no_block_hashes_is_asked_by_number(mainnet: Devnet, told: Any) -> None:
    story, _, name = told
    by_hash: list[Any] = []
    fault = replace(HASHLESS, where=lambda params: HASHLESS.where(params) and not by_hash.append(params))
    with Proxy([mainnet.url], CHAIN, faults=[fault]) as proxy, Fork(CHAIN, [proxy.url]) as fork:
        assert tell(fork, mainnet.manifest) == story
        assert fork.bundle is not None
        assert fork.bundle.hash == name
        # Anvil asks for its own accounts at once, and for slots later: those by number only.
        assert by_hash
        assert all(len(params) == 2 for params in by_hash)
        assert proxy.seen["eth_getStorageAt"] > 4


def test_a_number_that_means_another_block_by_then_is_noticed(mainnet: Devnet) -> None:
    number = int(mainnet.block()["number"], 16)
    other = mainnet.block(number - 1)
    with Proxy([mainnet.url], CHAIN, faults=[HASHLESS]) as proxy, Fork(CHAIN, [proxy.url]) as fork:
        proxy.faults = [
            HASHLESS,
            Fault("eth_getBlockByNumber", change=lambda raw: other | {"number": raw["number"]}),
        ]
        with pytest.raises(RpcError, match="does not hash to its hash"):
            fork.rpc("eth_getBalance", "0x" + "78" * 20, "latest")


def test_a_fork_of_an_older_block(mainnet: Devnet) -> None:
    with Fork(CHAIN, [mainnet.url], block=9) as fork:
        assert (fork.origin.number, fork.block()["hash"]) == (9, mainnet.block(9)["hash"])
        fork.warp(12)
        assert int(fork.block()["number"], 16) == 10


def test_a_fork_of_another_chain_or_of_no_such_block_is_refused(mainnet: Devnet) -> None:
    with pytest.raises(EndpointError, match=f"expected 1, saw {CHAIN}"), Fork(1, [mainnet.url]):
        pass
    with pytest.raises(EndpointError, match="Endpoint is behind"), Fork(CHAIN, [mainnet.url], block=10**9):
        pass
    with pytest.raises(ConfigError, match="needs an endpoint or a bundle"):
        Fork(CHAIN, [])


def test_a_damaged_bundle_is_refused(told: Any, tmp_path: Path) -> None:
    _, path, _ = told
    whole = path.read_bytes()
    damaged = tmp_path / "damaged"
    for at in (0, 40, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DecodeError, match="fork bundle's hash does not match"):
            Bundle.load(damaged)
    with pytest.raises(DecodeError, match="another one"):
        Bundle.load(path, b"\x01" * 32)


def test_a_bundle_with_a_changed_block_is_refused_even_under_its_own_hash(told: Any, tmp_path: Path) -> None:
    _, path, _ = told
    bundle = Bundle.load(path)
    number = hex(bundle.block.number)
    block = bundle.answer("eth_getBlockByNumber", [number, True])
    with pytest.raises(HeaderError, match="does not hash"):
        bundle.record("eth_getBlockByNumber", [number, True], block | {"gasUsed": "0x1"})


@pytest.fixture(scope="module")
def bundle(told: Any) -> Bundle:
    return Bundle.load(told[1])


def test_an_item_answers_every_form_of_the_question(bundle: Bundle, mainnet: Devnet) -> None:
    usdc, number, name = (
        mainnet.manifest["tokens"]["USDC"]["address"],
        bundle.block.number,
        "0x" + bundle.block.hash.hex(),
    )
    forms: list[Any] = [hex(number), "latest", {"blockHash": name}, {"blockNumber": hex(number)}]
    codes = {
        bundle.answer("eth_getCode", [who, at]) for who in (usdc, usdc.lower(), usdc.upper()) for at in forms
    }
    assert codes == {mainnet.rpc("eth_getCode", usdc, "latest")}
    hashes = {
        bundle.answer(method, [at, full])["hash"]
        for method, at in (("eth_getBlockByNumber", hex(number)), ("eth_getBlockByHash", name))
        for full in (True, False)
    }
    assert hashes == {name}
    short = bundle.answer("eth_getBlockByNumber", ["latest", False])["transactions"]
    assert short == mainnet.block(number)["transactions"]
    assert bundle.answer("eth_blockNumber", []) == hex(number)
    assert bundle.answer("eth_getBlockByNumber", [hex(number + 1), False]) is None


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("eth_getStorageAt", ["0x" + "77" * 20, "0x1", "latest"], r"a storage slot \[slot 0x1 of 0x7{40}\]"),
        ("eth_getTransactionCount", ["0x" + "77" * 20, "latest"], r"the nonce of an account \[0x7{40}\]"),
        ("eth_getBlockByNumber", ["0x1", False], r"a block \[block 0x1\]"),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x2"}], r"an answer \[eth_getLogs"),
    ],
)
def test_what_a_bundle_lacks_is_named(bundle: Bundle, method: str, params: list[Any], says: str) -> None:
    with pytest.raises(MissingItemError, match=f"The bundle lacks {says}"):
        bundle.answer(method, params)


@pytest.mark.parametrize("method", ["eth_getAccountInfo", "eth_sendRawTransaction", "eth_getProof"])
def test_what_cannot_be_kept_by_item_is_refused(bundle: Bundle, method: str) -> None:
    with pytest.raises(BundleRefusedError):
        bundle.answer(method, ["0x" + "77" * 20, [], "latest"])


async def test_a_replayed_fork_is_read_through_the_lens(told: Any, mainnet: Devnet) -> None:
    _, path, _ = told
    usdc, who = mainnet.manifest["tokens"]["USDC"]["address"], mainnet.address("user1")
    with Fork.replay(path) as fork:
        async with Endpoint(fork.url, CHAIN) as endpoint:
            (held,) = await read(endpoint, await endpoint.latest(), [BALANCE.at(usdc, who)])
    assert held == mainnet.call(usdc, "balanceOf(address)", [who], "(uint256)")


@pytest.fixture
def command(mainnet: Devnet, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with Proxy([mainnet.url], CHAIN) as proxy:
        yield from forking(proxy, tmp_path)


def forking(proxy: Proxy, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ["fork", "--rpc", f"http://127.0.0.1:9,{proxy.url}/key", "--block", "9"]
    process = subprocess.Popen(
        [sys.executable, "-m", "keeper.ops.cli", "sim", *arguments, "--save", "kept", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_the_command_forks_until_it_is_stopped_and_saves(
    command: subprocess.Popen[str], mainnet: Devnet, tmp_path: Path
) -> None:
    assert command.stdout is not None
    ready = json.loads(command.stdout.readline())
    assert ready.get("chain_id") == CHAIN, ready
    assert (ready["block"], ready["block_hash"]) == (9, mainnet.block(9)["hash"])
    command.send_signal(signal.SIGTERM)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 0, said
    assert "/key" not in said
    found = re.search(r"bundle 0x(\w{64})", said)
    assert found is not None
    assert Bundle.load(tmp_path / "kept", bytes.fromhex(found.group(1))).block.number == 9


@pytest.mark.parametrize("arguments", [["fork", "--rpc", ","], ["fork", "--rpc", "ftp://secret"]])
def test_what_is_no_endpoint_is_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ConfigError)
    assert "secret" not in str(done.exception)


def test_a_bundle_that_could_not_be_saved_is_refused_before_anything_is_fetched(
    told: Any, tmp_path: Path, mainnet: Devnet
) -> None:
    _, path, _ = told
    kept = path.read_bytes()
    for save, said in (
        (tmp_path / "none" / "kept", "cannot be saved"),
        (path, "There is a file in that place"),
    ):
        done = CliRunner().invoke(app, ["fork", "--rpc", mainnet.url, "--save", str(save)])
        assert isinstance(done.exception, ConfigError)
        assert said in str(done.exception)
    assert path.read_bytes() == kept


def test_a_port_that_is_taken_is_named(mainnet: Devnet) -> None:
    port = mainnet.url.rpartition(":")[2]
    done = CliRunner().invoke(app, ["proxy", "--rpc", mainnet.url, "--port", port])
    assert isinstance(done.exception, ConfigError)
    assert f"Cannot listen [127.0.0.1:{port}]" in str(done.exception)


def test_a_bundle_of_another_block_is_refused(told: Any, mainnet: Devnet) -> None:
    _, path, _ = told
    done = CliRunner().invoke(app, ["fork", "--rpc", mainnet.url, "--bundle", str(path), "--block", "3"])
    assert isinstance(done.exception, KeeperError)
    assert "another block" in str(done.exception)
