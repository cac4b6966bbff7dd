"""A 2-of-3 Safe keeps a vault: settlements and batches, in one transaction or several."""

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from safe_service import KEY, Service, running
from safe_world import DEPOSIT, Carry, MakeOwner, command, envelope, exec_as_safe, own_folder, signed
from staged import USDC, Staged

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.contracts import encode_call
from keeper.errors import PolicyError, QuorumError, RefusedError, RevertError
from keeper.execution.cycle import Keeper
from keeper.execution.relay import Relayer
from keeper.guardian.watch import Watcher
from keeper.planning.plan import Kind, Plan
from keeper.quorum.signer import PlanRefusedError
from keeper.safe import execution
from keeper.safe.account import SafeReads
from keeper.safe.envelope import save
from keeper.safe.owner import read_state
from keeper.safe.transaction import Operation, SafeTransaction, plan_call
from keeper.simulation.vault import SIGNERS

GET_HASH = "getTransactionHash(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,uint256)"
pytestmark = pytest.mark.asyncio


async def own_process(environment: dict[str, str], *arguments: object) -> tuple[int, str]:
    """The same as a process of its own, whose outputs are told apart by nobody."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keeper.ops.cli", "safe"),
        *(str(each) for each in arguments),
        "--json",
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def settle(stage: Staged) -> None:
    """Settles the epoch that waits, as the Safe's first transaction."""
    call = plan_call(await stage.propose(Kind.SETTLEMENT), stage.deployment.portfolio)
    exec_as_safe(stage, call.data, 0, call.to)


def on_chain_hash(stage: Staged, transaction: SafeTransaction) -> bytes:
    answer = stage.devnet.call(transaction.safe, GET_HASH, list(transaction.message.values()), "(bytes32)")
    return bytes(answer)


async def test_a_settlement_goes_from_file_to_file_between_two_owners_processes(
    stage: Staged, tmp_path: Path
) -> None:
    plan = await stage.propose(Kind.SETTLEMENT)
    (tmp_path / "plan").write_bytes(plan.to_bytes())
    folders = {role: own_folder(tmp_path / role, stage) for role in (*SIGNERS[:2], "user6")}
    proposer, proposal = folders[SIGNERS[0]], tmp_path / "proposal.json"
    common = ["--policy", proposer / "policy.toml", "--endpoints", proposer / "endpoints.toml"]
    code, _ = await command({}, "propose", tmp_path / "plan", *common, "--out", proposal)
    assert code == 0
    results = await asyncio.gather(
        *(
            own_process(
                {"OWN_KEY": stage.devnet.key(role)},
                *("sign", proposal, "--config", folders[role] / "own.toml"),
                *("--out", tmp_path / f"{role}.json"),
            )
            for role in SIGNERS[:2]
        )
    )
    assert [code for code, _ in results] == [0, 0], results
    merged = tmp_path / "merged.json"
    code, _ = await command(
        {}, "merge", *(tmp_path / f"{role}.json" for role in SIGNERS[:2]), "--out", merged
    )
    assert code == 0
    code, out = await command({}, "show", merged, *common)
    shown = json.loads(out)
    assert len(shown["signed_by"]) == 2
    assert shown["account"]["Safe's modules"] == []
    assert shown["account"]["threshold"] == 2
    relay = ["send", merged, "--config", folders["user6"] / "own.toml"]
    code, out = await command({"OWN_KEY": stage.devnet.key("user6")}, *relay)
    assert code == 0, out
    assert json.loads(out)["unexplained"] == 0
    assert stage.accounting().settled_epoch == 1
    code, out = await command({"OWN_KEY": stage.devnet.key("user6")}, *relay)
    assert code == 4
    assert "spent this nonce" in out


async def test_a_batch_and_a_settlement_are_one_multi_send(stage: Staged, carry: Carry) -> None:
    single = await carry(Kind.SETTLEMENT)
    assert single.transaction.operation is Operation.CALL
    assert on_chain_hash(stage, single.transaction) == single.hash
    stage.request_deposit("user2", 500_000 * USDC)
    stage.close_epoch()
    both = await carry(Kind.SETTLEMENT, Kind.BATCH)
    assert both.transaction.operation is Operation.DELEGATECALL
    assert on_chain_hash(stage, both.transaction) == both.hash
    assert stage.accounting().settled_epoch == 2
    assert stage.state().idle <= 500_000 * USDC < DEPOSIT
    assert (await carry(Kind.BATCH)).nonce == 2
    assert stage.state().idle < USDC


async def test_a_rebalance_is_signed_through_a_transaction_service(stage: Staged, tmp_path: Path) -> None:
    await settle(stage)
    (tmp_path / "plan").write_bytes((await stage.propose(Kind.BATCH)).to_bytes())
    owners = tuple(stage.policy.signers.addresses)
    service = Service(stage.devnet.chain_id, stage.policy.vault.quorum, owners, nonce=1)
    files, proposal, full = tmp_path / "files", tmp_path / "proposal.json", tmp_path / "full.json"
    own_folder(files, stage)
    policy = ["--policy", files / "policy.toml"]
    async with running(service) as url:
        through = ["--service", url, "--service-key-env", "SERVICE_KEY"]
        paths = [*policy, "--endpoints", files / "endpoints.toml", "--out", proposal]
        code, out = await command({"SERVICE_KEY": KEY}, "propose", tmp_path / "plan", *paths, *through)
        assert code == 0, out
        for role in SIGNERS[:2]:
            folder = own_folder(tmp_path / role, stage)
            own = folder / "own.toml"
            own.write_text(f'service = "{url}"\nservice_key_env = "SERVICE_KEY"\n' + own.read_text())
            keys = {"SERVICE_KEY": KEY, "OWN_KEY": stage.devnet.key(role)}
            # Each signs the bare proposal: the other's signature is at the service only.
            code, out = await own_process(
                keys, "sign", proposal, "--config", own, "--out", folder / "signed.json"
            )
            assert code == 0, out
        code, out = await command({"SERVICE_KEY": KEY}, "merge", proposal, "--out", full, *policy, *through)
        assert code == 0, out
        assert len(json.loads(out)["signed_by"]) == 2
    assert sum(each.startswith("POST") for each in service.requests) == 2
    relay = ["send", full, "--config", files / "own.toml"]
    code, out = await command({"OWN_KEY": stage.devnet.key("user6")}, *relay)
    assert code == 0, out
    assert json.loads(out)["unexplained"] == 0
    assert stage.state().idle < USDC


async def test_two_transactions_for_one_slot_are_never_both_executed(
    stage: Staged, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    await settle(stage)
    plan = await stage.propose(Kind.BATCH)
    first = await execution.propose([plan], stage.policy, hub)
    second = replace(first, nonce=first.nonce + 1)
    for role in SIGNERS[:2]:
        first = first.with_signatures([await make_owner(role).sign(first)])
    # The owners' own checks set aside: the keys sign the second one all the same.
    second = second.with_signatures(
        [signed(second.hash, Account.from_key(stage.devnet.key(role))) for role in SIGNERS[:2]]
    )
    await execution.send(first, stage.policy, relayer)
    with pytest.raises(RevertError, match="NonceUsed"):
        await execution.send(second, stage.policy, relayer)


async def test_one_owner_is_too_few_and_a_stranger_does_not_count(
    stage: Staged, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    envelope = await execution.propose([await stage.propose(Kind.SETTLEMENT)], stage.policy, hub)
    envelope = envelope.with_signatures([await make_owner("signer1").sign(envelope)])
    stranger = Account.from_key(stage.devnet.key("user5"))
    envelope = envelope.with_signatures([signed(envelope.hash, stranger)])
    with pytest.raises(QuorumError, match=stage.devnet.address("signer2")) as caught:
        await execution.send(envelope, stage.policy, relayer)
    assert caught.value.seen == 1
    with pytest.raises(PlanRefusedError) as refused:
        await make_owner("user5").sign(envelope)
    assert refused.value.code == "stranger"


async def test_an_owner_signs_nothing_that_it_does_not_derive(
    stage: Staged, hub: Endpoint, make_owner: MakeOwner
) -> None:
    await settle(stage)
    plan = await stage.propose(Kind.BATCH)
    bad = replace(plan, terms=replace(plan.batch, min_nav_after=plan.batch.min_nav_after // 2))
    envelope = await execution.propose([bad], stage.policy, hub)
    with pytest.raises(PlanRefusedError) as refused:
        await make_owner("signer1").sign(envelope)
    assert refused.value.code == "different_plan"


async def test_an_owner_promises_a_slot_to_one_plan(
    stage: Staged, hub: Endpoint, make_owner: MakeOwner
) -> None:
    first = await stage.propose(Kind.SETTLEMENT)
    stage.devnet.warp(5)
    second = await stage.propose(Kind.SETTLEMENT)
    owner = make_owner("signer1")
    proposed = await execution.propose([second], stage.policy, hub)
    assert await owner.sign(proposed) == await owner.sign(proposed), "the same again changes nothing"
    stage.devnet.warp(5)
    third = await stage.propose(Kind.SETTLEMENT)
    assert len({plan.plan_hash for plan in (first, second, third)}) == 3
    with pytest.raises(PlanRefusedError) as refused:
        await owner.sign(await execution.propose([third], stage.policy, hub))
    assert refused.value.code == "slot_taken"


async def test_an_owner_signs_no_multi_send_that_would_revert(
    stage: Staged, hub: Endpoint, make_owner: MakeOwner
) -> None:
    await settle(stage)
    stage.request_deposit("user2", 500_000 * USDC)
    stage.close_epoch()
    plans: list[Plan] = [await stage.propose(kind) for kind in (Kind.SETTLEMENT, Kind.BATCH)]
    envelope = await execution.propose(plans, stage.policy, hub)
    vault, registry = stage.deployment.vault, stage.deployment.registry
    stage.act("guardian", registry, "pauseRisk(address)", vault)
    with pytest.raises(PlanRefusedError, match="RiskIsPaused") as refused:
        await make_owner("signer1").sign(envelope)
    assert refused.value.code == "simulation"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("enableModule(address)", "Safe's modules"),
        ("setFallbackHandler(address)", "Safe's fallback_handler"),
        ("changeThreshold(uint256)", "threshold"),
    ],
)
async def test_nothing_is_planned_through_a_safe_that_is_not_the_policys(
    stage: Staged, function: str, words: str
) -> None:
    argument = 1 if "uint256" in function else stage.devnet.address("user5")
    exec_as_safe(stage, encode_call(function, argument), 0)
    with pytest.raises(PolicyError, match=words):
        await stage.propose(Kind.SETTLEMENT)


async def test_a_nonce_is_neither_spent_nor_ahead(
    stage: Staged, hub: Endpoint, relayer: Relayer, make_owner: MakeOwner
) -> None:
    plan = await stage.propose(Kind.SETTLEMENT)
    with pytest.raises(RefusedError, match="leaves a gap"):
        await execution.propose([plan], stage.policy, hub, nonce=1)
    envelope = await execution.propose([plan], stage.policy, hub)
    with pytest.raises(RefusedError, match="leaves a gap"):
        await make_owner("signer1").sign(replace(envelope, nonce=1))
    exec_as_safe(stage, encode_call("changeThreshold(uint256)", 2), 0)
    with pytest.raises(RefusedError, match="spent this nonce"):
        await make_owner("signer1").sign(envelope)
    state = await read_state(hub, SafeReads(stage.policy.vault.quorum))
    assert (state.nonce, state.threshold, len(state.owners), state.contracts) == (1, 2, 3, ())


async def test_a_vault_of_a_quorum_is_not_kept_by_a_safe(
    stage: Staged, hub: Endpoint, keeper: Keeper
) -> None:
    plan = await stage.propose(Kind.SETTLEMENT)
    with pytest.raises(PolicyError, match="keeper is no Safe"):
        await execution.propose([plan], stage.policy.model_copy(update={"safe": None}), hub)


async def test_no_safe_command_works_for_a_quorums_policy(stage: Staged, tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "own", stage)
    without = stage.deployment.policy_toml.split("\n[safe]\n")[0]
    (folder / "policy.toml").write_text(without)
    plan, made = tmp_path / "plan", tmp_path / "made.json"
    plan.write_bytes((await stage.propose(Kind.SETTLEMENT)).to_bytes())
    save(envelope(1), made)
    chain = ["--policy", folder / "policy.toml", "--endpoints", folder / "endpoints.toml"]
    own = ["--config", folder / "own.toml"]
    service = ["--service", "http://127.0.0.1:9"]
    words: dict[str, list[object]] = {
        "propose": [plan, *chain, "--out", tmp_path / "out.json"],
        "sign": [made, *own],
        "show": [made, *chain],
        "merge": [made, *chain[:2], *service, "--out", tmp_path / "out.json"],
        "send": [made, *own],
    }
    for name, arguments in words.items():
        code, said = await command({"OWN_KEY": stage.devnet.key("signer1")}, name, *arguments)
        assert (code, "keeper is no Safe" in said) == (4, True), (name, said)
    assert not (tmp_path / "out.json").exists()


async def test_a_guardian_watches_a_vault_that_a_safe_keeps(stage: Staged, hub: Endpoint) -> None:
    assert (await Watcher(hub, stage.policy, ChainClock(hub)).look()).ok
    fewer = stage.policy.signers.model_copy(update={"threshold": 1})
    loose = stage.policy.model_copy(update={"signers": fewer})
    look = await Watcher(hub, loose, ChainClock(hub)).look()
    assert [str(each) for each in look.differences] == [
        "threshold: policy 1, chain 2 (the policy allows what the chain does not)"
    ]
