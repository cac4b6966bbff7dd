"""No process outlives the one that started it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from keeper.errors import RevertError, RpcError
from keeper.simulation.anvil import Anvil
from keeper.simulation.devnet import Devnet
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.replica import Replica

SECONDS = 60


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_chain_ends_with_its_context(built_chain: object) -> None:
    with Devnet() as chain:
        pid = chain.pid
        assert _alive(pid)
    assert not _alive(pid)


def test_a_chain_ends_on_an_exception(built_chain: object) -> None:
    seen: list[int] = []

    def fail() -> None:
        with Devnet() as chain:
            seen.append(chain.pid)
            pool = chain.manifest["aave"]["pool"]
            chain.call(pool, "borrow(address,uint256,uint256,uint16,address)", [pool, 1, 2, 0, pool])

    with pytest.raises(RevertError):
        fail()
    assert not _alive(seen[0])


@pytest.mark.parametrize("archive", [False, True])
def test_only_an_archive_knows_the_state_behind_five_hundred_blocks(
    built_chain: object, archive: bool
) -> None:
    with Devnet(archive=archive) as chain:
        head, user = int(chain.block()["number"], 16), chain.address("user1")
        chain.rpc("anvil_mine", hex(501))
        for known in (head + 2, head + 501):
            assert int(chain.rpc("eth_getBalance", user, hex(known)), 16) > 0
        if archive:
            assert int(chain.rpc("eth_getBalance", user, hex(head)), 16) > 0
        else:
            with pytest.raises(RpcError, match="BlockOutOfRange"):
                chain.rpc("eth_getBalance", user, hex(head))


def test_a_replica_that_cannot_start_leaves_no_process(
    built_chain: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fail(replica: Replica) -> int:
        seen.append(replica.pid)
        raise RuntimeError("stopped")

    monkeypatch.setattr(Replica, "sync", fail)
    with Devnet() as chain, pytest.raises(RuntimeError, match="stopped"):
        Replica(chain.url, chain.chain_id).start()
    assert len(seen) == 1
    assert not _alive(seen[0])


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_keeper_devnet_up_starts_several_chains_and_stops_them_on_a_signal(
    built_chain: object, signal_number: int
) -> None:
    command = [
        sys.executable,
        "-m",
        "keeper.ops.cli",
        "devnet",
        "up",
        "--chains",
        "2",
        "--port",
        "0",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        chains = json.loads(process.stdout.readline())["chains"]
        assert [chain["chain_id"] for chain in chains] == [31_337, 31_338]
        assert all(_alive(chain["pid"]) for chain in chains)
        process.send_signal(signal_number)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()
    assert not any(_alive(chain["pid"]) for chain in chains)


def test_a_script_that_is_interrupted_stops_its_chain(built_chain: object) -> None:
    script = (
        "import threading\n"
        "from keeper.simulation.devnet import Devnet\n"
        "chain = Devnet()\n"
        "chain.start()\n"
        "print(chain.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert _alive(pid)
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert not _alive(pid)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_leaves_nothing_on_the_disk_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    """Anvil writes past states to the user's home unless told where, and when killed leaves them there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Anvil(31_337) as node:
        JsonRpc(node.url, timeout=60)("anvil_mine", hex(700))
        (folder,) = tmp_path.glob("omnikeeper-anvil-*")
        assert any(path.is_file() for path in folder.rglob("*"))
        os.kill(node.pid, signum)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
