"""What a signer signs and what it refuses, against a real vault on a local chain."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vault_world import World

from keeper.chain.pool import ChainEndpoints, Pool
from keeper.clock import FixedClock
from keeper.planning.calls import PlannedCall
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.plan import Kind, Plan, SettlementTerms
from keeper.quorum.signer import PlanRefusedError, Signer
from keeper.quorum.typed_data import artefact, check
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

Make = Callable[..., Signer]
STRANGER = Address("0x00000000000000000000000000000000DeaDBeef")


def terms(plan: Plan, **changes: object) -> Plan:
    """The plan with other terms."""
    return replace(plan, terms=replace(plan.terms, **changes))


def call(plan: Plan, **changes: object) -> Plan:
    """The plan with another first call, whose bytes say what it says."""
    first, *rest = plan.batch.calls
    arguments = {name: getattr(first, name) for name in ("target", "token", "venue", "key", "assets")}
    altered = PlannedCall.supply(**(arguments | changes))
    return terms(plan, calls=(altered, *rest))


async def refusal(signer: Signer, plan: Plan | bytes) -> PlanRefusedError:
    data = plan if isinstance(plan, bytes) else plan.to_bytes()
    with pytest.raises(PlanRefusedError) as caught:
        await signer.approve(data)
    return caught.value


async def test_an_honest_settlement_and_batch_are_signed_and_the_contracts_accept_them(
    rewind: World, make_signer: Make
) -> None:
    signers = [make_signer(role) for role in SIGNERS[:2]]
    for kind in (Kind.SETTLEMENT, Kind.BATCH):
        plan = await rewind.propose(kind)
        made = [await signer.approve(plan.to_bytes()) for signer in signers]
        rewind.submit(plan, sorted(made, key=lambda each: int(each.signer, 16)))
        rewind.devnet.rpc("evm_mine")
    assert rewind.devnet.call(rewind.deployment.portfolio, "nextNonce(uint256)", [0], "(uint256)") == 1


@pytest.mark.parametrize(
    ("tamper", "code", "says"),
    [
        (lambda p: call(p, assets=p.batch.calls[0].assets - 1), "different_plan", "terms.calls[0].amount"),
        (lambda p: call(p, target=STRANGER), "policy_violation", "terms.calls[0].target"),
        (lambda p: call(p, token=STRANGER), "policy_violation", "terms.calls[0].token"),
        (lambda p: call(p, venue="casino:USDC"), "policy_violation", "casino:USDC"),
        (lambda p: terms(p, calls=p.batch.calls[::-1]), "different_plan", "terms.calls[0].target"),
        (lambda p: terms(p, calls=p.batch.calls[:1]), "policy_violation", "terms.max_loss"),
        (
            lambda p: terms(p, min_nav_after=p.batch.min_nav_after - 1),
            "different_plan",
            "terms.min_nav_after",
        ),
        (lambda p: terms(p, max_loss=p.batch.max_loss + 1), "policy_violation", "terms.max_loss"),
        (lambda p: terms(p, executor=STRANGER), "policy_violation", "terms.executor"),
        (lambda p: terms(p, nonce=p.batch.nonce + 1), "nonce", "terms.nonce"),
        (lambda p: replace(p, valid_until=p.valid_until + 1), "policy_violation", "valid_until"),
        (lambda p: replace(p, signer_set_version=7), "different_plan", "signer_set_version"),
        (lambda p: replace(p, snapshot_hash=bytes(32)), "different_plan", "snapshot_hash"),
        (lambda p: replace(p, parent=bytes(32)), "different_plan", "parent: expected None, saw 0x00"),
        (lambda p: replace(p, policy_hash=bytes(32)), "policy_mismatch", "Another policy"),
        (lambda p: replace(p, vault=STRANGER), "unknown_vault", "does not keep that vault"),
        (
            lambda p: replace(p, code=replace(p.code, engine_version="omnikeeper/0.0.1")),
            "different_code",
            "code.engine_version: expected omnikeeper/",
        ),
        (
            lambda p: replace(
                p, code=replace(p.code, strategy=replace(p.code.strategy, source_digest=bytes(32)))
            ),
            "different_code",
            "code.strategy.source_digest",
        ),
    ],
)
async def test_a_tampered_plan_is_refused_naming_what_differs(
    settled: World, make_signer: Make, tamper: Callable[[Plan], Plan], code: str, says: str
) -> None:
    plan = await settled.propose(Kind.BATCH)
    assert len(plan.batch.calls) > 1
    seen = await refusal(make_signer(), tamper(plan))
    assert (seen.code, says in str(seen)) == (code, True), str(seen)


async def test_the_untampered_plan_beside_them_is_signed(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    signature = await make_signer().approve(plan.to_bytes())
    check(artefact(plan).digest(plan.chain_id, settled.policy.vault.quorum), signature)


async def test_call_bytes_that_say_something_else_than_the_plan_are_malformed(
    settled: World, make_signer: Make
) -> None:
    plan = await settled.propose(Kind.BATCH)
    data = plan.batch.calls[0].data
    swapped = plan.to_bytes().replace(data, data[:-1] + bytes([data[-1] ^ 1]))
    seen = await refusal(make_signer(), swapped)
    assert seen.code == "malformed_plan"
    assert "do not say what the plan says" in str(seen)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80", b"{}", bytes(300_000)])
async def test_bytes_that_are_no_plan_are_malformed(world: World, make_signer: Make, data: bytes) -> None:
    assert (await refusal(make_signer(), data)).code == "malformed_plan"


async def test_an_expired_plan_is_refused(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    settled.devnet.warp(settled.policy.time.validity + 1)
    assert (await refusal(make_signer(), plan)).code == "expired"


async def test_a_plan_older_than_policy_allows_is_refused(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    settled.devnet.warp(settled.policy.time.max_reference_age + 1)
    assert (await refusal(make_signer(), plan)).code == "stale"


async def test_a_plan_from_the_future_is_refused(settled: World, make_signer: Make) -> None:
    ahead = settled.now() + settled.policy.time.max_clock_skew + 1
    plan = await settled.propose(Kind.BATCH, ahead)
    assert (await refusal(make_signer(), plan)).code == "future"


async def test_a_proposer_cannot_choose_an_older_block(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    settled.devnet.rpc("evm_mine")
    later = settled.now()
    chosen = replace(
        plan,
        reference_time=later,
        valid_after=later,
        valid_until=later + settled.policy.time.validity,
    )
    assert (await refusal(make_signer(), chosen)).code == "wrong_block"


async def test_a_used_nonce_is_refused(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    settled.submit(plan, settled.sign(plan, *SIGNERS[:2]))
    seen = await refusal(make_signer(), plan)
    assert seen.code == "simulation"
    assert "NonceUsed" in str(seen)


async def test_a_block_that_was_reorganised_away_is_refused(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    pinned = plan.blocks[0]
    gone = replace(plan, blocks=(replace(pinned, hash=bytes(32)),))
    seen = await refusal(make_signer(), gone)
    assert seen.code == "endpoint"
    assert "reorganised away" in str(seen)


async def test_a_block_that_is_not_there_yet_is_not_final(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    pinned = plan.blocks[0]
    seen = await refusal(make_signer(), replace(plan, blocks=(replace(pinned, number=1_000),)))
    assert seen.code == "not_final"
    assert f"saw block 1000, head {pinned.number}" in str(seen)


async def test_by_the_systems_clock_a_plan_expires_though_its_chain_stands_still(
    settled: World, make_signer: Make
) -> None:
    plan = await settled.propose(Kind.BATCH)
    seen = await refusal(make_signer(clock=FixedClock(plan.valid_until + 1)), plan)
    assert seen.code == "expired"


async def test_a_promise_ends_by_the_chains_clock_not_by_the_systems(
    settled: World, make_signer: Make
) -> None:
    first = await settled.propose(Kind.BATCH)
    await make_signer().approve(first.to_bytes())
    late = first.valid_until + 1
    second = await settled.propose(Kind.BATCH, late)
    assert (await refusal(make_signer(clock=FixedClock(late)), second)).code == "slot_taken"


@asynccontextmanager
async def two_operators(
    world: World, *faults: Fault, **rules: int
) -> AsyncIterator[tuple[Pool, tuple[Proxy, Proxy]]]:
    """A pool of two ways to the world's chain, the second with the faults."""
    chain, url = world.devnet.chain_id, world.devnet.url
    with Proxy([url], chain) as honest, Proxy([url], chain, faults=faults) as other:
        async with Pool(chain, ChainEndpoints.of([honest.url, other.url], **rules)) as pool:
            yield pool, (honest, other)


async def test_a_plan_is_simulated_at_every_operator_that_has_to_agree(
    settled: World, make_signer: Make
) -> None:
    plan = await settled.propose(Kind.BATCH)
    async with two_operators(settled, agreement=2) as (pool, proxies):
        assert (await make_signer(source=pool).approve(plan.to_bytes())).signer
        assert [proxy.seen["eth_simulateV1"] for proxy in proxies] == [1, 1]


async def test_nothing_is_signed_when_two_operators_simulate_differently(
    settled: World, make_signer: Make
) -> None:
    def fail(result: Any) -> Any:
        (block,) = result
        first, state = block["calls"]
        return [block | {"calls": [first | {"status": "0x0"}, state]}]

    plan = await settled.propose(Kind.BATCH)
    fault = Fault("eth_simulateV1", change=fail)
    async with two_operators(settled, fault, agreement=2) as (pool, (_, other)):
        seen = await refusal(make_signer(source=pool), plan)
        assert (seen.code, f"{other.url}: failure" in str(seen)) == ("endpoint", True), str(seen)


async def test_a_signer_whose_heads_are_all_stale_signs_nothing(settled: World, make_signer: Make) -> None:
    plan = await settled.propose(Kind.BATCH)
    late = FixedClock(settled.now() + 61)
    async with two_operators(settled, max_head_age=60) as (pool, proxies):
        seen = await refusal(make_signer(source=pool, clock=late), plan)
        assert (seen.code, str(seen).count("saw 61 s")) == ("endpoint", 2)
        assert all(proxy.url in str(seen) for proxy in proxies)


async def test_a_settlement_of_another_epoch_or_price_is_refused(rewind: World, make_signer: Make) -> None:
    plan = await rewind.propose(Kind.SETTLEMENT)
    wrong_epoch = await refusal(make_signer(), terms(plan, epoch=plan.settlement.epoch + 1))
    assert wrong_epoch.code == "nonce"
    lower = await refusal(make_signer(), terms(plan, min_pps=plan.settlement.min_pps - 1))
    assert lower.code in ("different_plan", "policy_violation")
    assert "pps" in str(lower)


async def test_a_settlement_without_a_closed_epoch_has_no_plan(settled: World, make_signer: Make) -> None:
    batch = await settled.propose(Kind.BATCH)
    forged = replace(batch, terms=SettlementTerms(epoch=2, min_pps=10**27, max_pps=10**27))
    seen = await refusal(make_signer(), forged)
    assert seen.code == "no_plan"
    assert "No epoch waits" in str(seen)


async def test_one_slot_is_promised_to_one_plan_until_that_expires(settled: World, make_signer: Make) -> None:
    first = await settled.propose(Kind.BATCH)
    signer = make_signer()
    once = await signer.approve(first.to_bytes())
    assert await signer.approve(first.to_bytes()) == once
    settled.devnet.warp(60)
    second = await settled.propose(Kind.BATCH)
    assert second.batch.nonce == first.batch.nonce
    seen = await refusal(make_signer(), second)
    assert seen.code == "slot_taken"
    assert first.plan_hash.hex() in str(seen)
    settled.devnet.warp(settled.policy.time.validity)
    third = await settled.propose(Kind.BATCH)
    assert (await make_signer().approve(third.to_bytes())).signer == once.signer


async def test_the_promise_is_on_disk_before_the_signature_leaves(
    settled: World, make_signer: Make, tmp_path: Path
) -> None:
    plan = await settled.propose(Kind.BATCH)
    await make_signer().approve(plan.to_bytes())
    with sqlite3.connect(tmp_path / "signer1.sqlite") as database:
        rows = database.execute("SELECT plan_hash FROM promises").fetchall()
    assert rows == [(plan.plan_hash,)]
    assert (tmp_path / "signer1.sqlite").stat().st_mode & 0o077 == 0


async def test_a_refused_plan_promises_nothing(settled: World, make_signer: Make, tmp_path: Path) -> None:
    plan = await settled.propose(Kind.BATCH)
    await refusal(make_signer(), terms(plan, min_nav_after=plan.batch.min_nav_after - 1))
    with sqlite3.connect(tmp_path / "signer1.sqlite") as database:
        assert database.execute("SELECT count(*) FROM promises").fetchone() == (0,)


@pytest.mark.parametrize(
    ("kind", "later", "says"),
    [
        (EvidenceKind.INTENT, -86_400, "out of age"),
        (EvidenceKind.INTENT, 86_400, "out of age"),
        (EvidenceKind.INTENT, 0, "omnikeeper/intents"),
        (EvidenceKind.PROOF, 0, "No checker for evidence of this kind"),
        (
            EvidenceKind.QUOTE,
            0,
            "The policy knows no quotes of LiFi's: expected a section swap.lifi, saw none",
        ),
    ],
)
async def test_a_plan_with_evidence_that_does_not_hold_is_refused(
    settled: World, make_signer: Make, kind: EvidenceKind, later: int, says: str
) -> None:
    plan = await settled.propose(Kind.BATCH)
    evidence = Evidence(kind, "a desk", plan.reference_time + later, b"none of this holds")
    seen = await refusal(make_signer(), replace(plan, evidence=(evidence,)))
    assert (seen.code, says in str(seen)) == ("no_plan", True), str(seen)
