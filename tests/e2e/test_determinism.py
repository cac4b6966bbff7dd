"""One snapshot, one plan: on every machine, and through every endpoint."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from staged import USDC, Staged
from vault_states import MACHINES, agreements

from keeper import engine
from keeper.planning.plan import Kind, Plan
from keeper.simulation.anvil import Anvil
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.proxy import Proxy
from keeper.simulation.replica import Replica
from keeper.simulation.vault import SIGNERS

STATES = 20
SCRIPT = Path(__file__).with_name("plan_hash.py")


async def waiting(stage: Staged, kind: Kind) -> None:
    """Brings the vault to where a plan of that kind is due."""
    stage.request_deposit("user2", 300_000 * USDC)
    stage.close_epoch()
    if kind is Kind.BATCH:
        stage.submit(await stage.propose(Kind.SETTLEMENT))


def on_three_machines(command: list[str]) -> list[list[str]]:
    """The words that each process says."""
    started = [subprocess.Popen(command, env=machine, stdout=subprocess.PIPE) for machine in MACHINES]
    said = [process.communicate(timeout=60)[0].decode().split() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    return said


@pytest.mark.parametrize("kind", [Kind.BATCH, Kind.SETTLEMENT])
async def test_three_processes_derive_one_plan_from_one_file(
    stage: Staged, tmp_path: Path, kind: Kind
) -> None:
    await waiting(stage, kind)
    taken = await stage.snapshot()
    plan = engine.derive(taken, stage.policy, kind)
    snapshot, policy = tmp_path / "snapshot.bin", tmp_path / "policy.toml"
    snapshot.write_bytes(taken.to_bytes())
    policy.write_text(stage.deployment.policy_toml)
    said = on_three_machines([sys.executable, str(SCRIPT), str(snapshot), str(policy), kind.value])
    assert {tuple(words[:2]) for words in said} == {(plan.plan_hash.hex(), taken.hash.hex())}
    # The processes did differ: str hashes are salted by the seed.
    assert len({words[2] for words in said}) == 3


async def test_origin_replica_and_fork_give_one_plan(stage: Staged) -> None:
    await waiting(stage, Kind.BATCH)
    head, chain_id = stage.head, stage.devnet.chain_id
    fork = ["--fork-url", stage.devnet.url, "--fork-block-number", str(head.number)]
    with Replica(stage.devnet.url, chain_id) as replica, Anvil(chain_id, fork) as forked:
        taken = [await stage.snapshot(url, head) for url in (stage.devnet.url, replica.url, forked.url)]
        plans: list[Plan] = [engine.derive(each, stage.policy, Kind.BATCH) for each in taken]
        # Three chains that live on apart: only what was pinned is read.
        stage.devnet.warp(3_600)
        later = await stage.snapshot(at=head)
    assert len({each.hash for each in (*taken, later)}) == 1
    assert len({each.plan_hash for each in plans}) == 1
    assert plans[0].to_bytes() == plans[1].to_bytes() == plans[2].to_bytes()
    assert Plan.from_bytes(plans[0].to_bytes()) == plans[0]


async def test_three_signers_agree_on_random_states_through_origin_fork_and_permuting_proxy(
    stage: Staged, tmp_path: Path
) -> None:
    agreed = await agreements(stage, tmp_path, STATES, "determinism")
    assert agreed["snapshots"] == STATES
    assert agreed[Kind.BATCH] >= STATES // 4
    assert agreed[Kind.SETTLEMENT]


def test_the_proxy_permutes_the_members_of_what_it_passes_on(stage: Staged) -> None:
    origin, head = stage.devnet.url, ("eth_getBlockByNumber", "latest", False)
    with (
        Proxy([origin], stage.devnet.chain_id, permuted=Random(1)) as proxy,
        closing(JsonRpc(origin)) as direct,
        closing(JsonRpc(proxy.url)) as through,
    ):
        plain, permuted = direct(*head), through(*head)
    assert plain == permuted
    assert list(plain) != list(permuted)
    assert sorted(plain) == sorted(permuted)


async def test_another_block_or_policy_gives_another_plan(stage: Staged) -> None:
    await waiting(stage, Kind.BATCH)
    first = await stage.propose(Kind.BATCH)
    stage.devnet.rpc("evm_mine")
    second = await stage.propose(Kind.BATCH)
    renamed = stage.policy.model_validate({**stage.policy.model_dump(), "name": "another"})
    third = engine.derive(await stage.snapshot(), renamed, Kind.BATCH)
    assert len({first.plan_hash, second.plan_hash, third.plan_hash}) == 3
    assert stage.sign(first, *SIGNERS[:2]) != stage.sign(second, *SIGNERS[:2])
