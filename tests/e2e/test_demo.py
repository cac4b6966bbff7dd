"""`keeper demo` as a newcomer runs it: a command, one JSON object, and no process left behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from keeper.simulation.devnet import BuiltChain

DEMO = [sys.executable, "-m", "keeper.ops.cli", "demo", "--json"]
MARK = "OMNIKEEPER_TEST_RUN"
WAIT_SECONDS = 120
INTERRUPTED = 130
USDC = 10**6

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


def processes(run: str) -> dict[int, str]:
    """Command lines of the living processes that inherited this run's mark, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={run}".encode() in (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            # It ended while we looked, or is not ours.
            continue
        if marked:
            found[int(folder.name)] = command
    return found


def count(run: str, word: str) -> int:
    return sum(word in command for command in processes(run).values())


@contextmanager
def demo(output: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], str]]:
    """A running demo in a session of its own, as a shell's job is; its progress, and its mark."""
    run = uuid.uuid4().hex
    with (
        output.open("w") as stdout,
        subprocess.Popen(
            DEMO,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: run},
            start_new_session=True,
        ) as process,
    ):
        assert process.stderr is not None
        try:
            yield process, process.stderr, run
        finally:
            process.kill()
            for left in processes(run):
                os.kill(left, signal.SIGKILL)


def read_until(progress: IO[str], step: str) -> None:
    seen = []
    for line in progress:
        seen.append(line)
        if step in line:
            return
    pytest.fail(f"{step!r} never came: {''.join(seen)}")


def test_the_demo_holds_every_check_and_leaves_no_process(built_chain: BuiltChain, tmp_path: Path) -> None:
    output = tmp_path / "demo.json"
    with demo(output) as (process, progress, run):
        read_until(progress, "Three users ask to deposit")
        # The chain, and a node and a signer for each of three.
        assert (count(run, "/anvil"), count(run, "replica"), count(run, "signer")) == (4, 3, 3)
        told = progress.read()
        assert process.wait(WAIT_SECONDS) == 0, told
        assert processes(run) == {}
    said = output.read_text()
    day = json.loads(said)
    assert said.count("\n") == said.rstrip("\n").count("\n") + 1
    assert (day["ok"], day["nav_difference"], day["unexplained"]) == (True, 0, 0)
    assert day["nav"]["contract"] == day["nav"]["book"]
    assert all(day["checks"].values())
    (refusal,) = [each for each in day["refusals"] if each["code"] == "different_plan"]
    assert "terms.min_nav_after: expected" in refusal["reason"]
    assert refusal["reason"] in told
    lies = [each["reason"] for each in day["refusals"] if each["code"] == "no_plan"]
    assert len(lies) == 3
    assert all("[calldata.receiver]: expected" in each and each in told for each in lies)
    assert day["harvested"] > 0
    check_users(day["users"])
    check_allocation(day["allocation"])
    assert all(day["gas"][step] > 0 for step in ("settle deposits", "allocate", "rebalance", "unwind"))


def check_users(users: dict[str, dict[str, int]]) -> None:
    assert sorted(users) == ["user1", "user2", "user3"]
    for name, user in users.items():
        assert user["in"] + user["yield"] == user["out"] + user["holds"], name
        assert 0 < user["yield"] < user["in"] // 100, name
    # One stays, one leaves in part, one leaves.
    assert users["user1"]["out"] == 0 < users["user1"]["holds"]
    assert users["user2"]["out"] > 0 < users["user2"]["holds"]
    assert users["user3"]["out"] > 0 == users["user3"]["holds"]


def check_allocation(allocation: dict[str, dict[str, int]]) -> None:
    assert sorted(allocation) == ["aave:USDC", "held:WETH", "metamorpho:USDC", "morpho:WETH/USDC"]
    aave = allocation["aave:USDC"]
    assert int(aave["rate_after_shock_wad"]) > int(aave["rate_before_wad"])
    assert aave["after"] > aave["before"]
    before, after = (sum(each[when] for each in allocation.values()) for when in ("before", "after"))
    assert abs(after - before) < USDC * 1_000


def test_ctrl_c_in_the_middle_leaves_no_process(built_chain: BuiltChain, tmp_path: Path) -> None:
    with demo(tmp_path / "demo.json") as (process, progress, run):
        read_until(progress, "Six hours of market")
        assert len(processes(run)) > 10
        # A terminal signals the whole foreground group.
        os.killpg(process.pid, signal.SIGINT)
        told = progress.read()
        assert process.wait(WAIT_SECONDS) == INTERRUPTED, told
        assert processes(run) == {}
        assert "Traceback" not in told
