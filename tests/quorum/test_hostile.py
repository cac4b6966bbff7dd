"""Class G: of five signers any two absent or hostile neither stop a quorum of three nor get anything through.

Three honest signers and two hostile ones, each a process of its own on the loopback interface.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from processes import PATIENCE, environment, running, write_config
from vault_world import DEPOSIT, ChainTime, World

from keeper.chain.rpc import Endpoint
from keeper.errors import QuorumError
from keeper.events import Event, EventStream, SignerEquivocated
from keeper.execution.cycle import Keeper
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import ANSWER_SECONDS, Approval, ask, collect
from keeper.quorum.equivocation import Sightings
from keeper.quorum.requests import APPROVE
from keeper.quorum.signer_service import BODY_SECONDS
from keeper.quorum.typed_data import SECP256K1_ORDER
from keeper.simulation.accounts import accounts
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import EPOCH_SECONDS, Seats, deploy_vault

HONEST = ("signer1", "signer2", "signer3")
HOSTILE = ("signer4", "user6")
MODES = (
    "absent",
    "wrong_signature",
    "another_plan",
    "replay",
    "borrowed",
    "slow_loris",
    "oversized",
    "anything",
)
SHORT = 3.0
"""Seconds that a signer has where one never ends."""


@dataclass(frozen=True)
class Five:
    """Where the five are; a hostile one has a URL for each mode."""

    world: World
    honest: list[str]
    hostile: list[str]

    def urls(self, first: str, second: str) -> list[str]:
        """The hostile first, so that nothing depends on the order."""
        return [*(self.url(i, mode) for i, mode in enumerate((first, second))), *self.honest]

    def url(self, index: int, mode: str) -> str:
        return f"http://127.0.0.1:{free_port()}" if mode == "absent" else f"{self.hostile[index]}/{mode}"

    async def collect(
        self, plan: Plan, urls: list[str], patience: float = PATIENCE, **more: object
    ) -> Approval:
        proposer = self.world.proposer()
        return await collect(plan, self.world.policy, urls, proposer=proposer, patience=patience, **more)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def hostile(role: str, honest: str, quorum: str) -> Iterator[str]:
    script = str(Path(__file__).with_name("hostile.py"))
    command = [sys.executable, script, accounts()[role].key, honest, quorum]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Five]:
    """A vault with a quorum of three out of five, an epoch of which waits for settlement."""
    folder = tmp_path_factory.mktemp("five")
    with Devnet() as devnet, ExitStack() as stack:
        world = World(devnet, deploy_vault(devnet, seats=Seats((*HONEST, *HOSTILE), 3)))
        user, vault = devnet.address("user1"), world.deployment.vault
        world.act("lender", world.deployment.asset, "transfer(address,uint256)", user, DEPOSIT)
        world.act("user1", world.deployment.asset, "approve(address,uint256)", vault, DEPOSIT)
        world.act("user1", vault, "requestDeposit(uint256,address,address)", DEPOSIT, user, user)
        devnet.warp(EPOCH_SECONDS)
        world.act("user1", vault, "closeEpoch()")
        devnet.rpc("evm_mine")
        honest = []
        for role in HONEST:
            config = write_config(folder / role, world, 'env = "SIGNER_KEY"')
            ready = running(config, folder / f"{role}.log", SIGNER_KEY=accounts()[role].key)
            honest.append(stack.enter_context(ready)["url"])
        quorum = world.policy.vault.quorum
        enemies = [stack.enter_context(hostile(role, honest[0], quorum)) for role in HOSTILE]
        yield Five(world, honest, enemies)


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    """The plan that every test of this module speaks of, once there is one."""
    return []


async def plan_of(five: Five, plans: list[Plan]) -> Plan:
    if not plans:
        plans.append(await five.world.propose(Kind.SETTLEMENT))
        five.world.devnet.rpc("evm_mine")
    return plans[0]


@pytest.mark.parametrize(("first", "second"), list(combinations_with_replacement(MODES, 2)))
async def test_any_two_hostile_signers_do_not_stop_three_honest_ones(
    five: Five, plans: list[Plan], first: str, second: str
) -> None:
    plan = await plan_of(five, plans)
    approval = await five.collect(plan, five.urls(first, second))
    assert len(approval.signatures) == 3
    mark = five.world.devnet.rpc("evm_snapshot")
    five.world.submit(plan, list(approval.signatures))
    settled = five.world.devnet.call(five.world.deployment.vault, "settledAt()", [], "(uint256)")
    assert settled > plan.reference_time
    five.world.devnet.revert(mark)


@pytest.mark.parametrize(("first", "second"), [(mode, "anything") for mode in MODES])
async def test_two_hostile_signers_and_one_honest_are_not_a_quorum_for_another_plan(
    five: Five, plans: list[Plan], first: str, second: str
) -> None:
    plan = await plan_of(five, plans)
    other = replace(plan, terms=replace(plan.terms, max_pps=plan.terms.max_pps + 1))
    with pytest.raises(QuorumError) as caught:
        await five.collect(other, five.urls(first, second), SHORT, ask_all=True)
    told = str(caught.value)
    assert "Too few signatures: expected 3 of 5" in told
    assert told.count("terms.max_pps") >= len(five.honest)


EXPECTED = {
    "absent": "unreachable",
    "wrong_signature": "bad_signature",
    "another_plan": "bad_signature",
    "borrowed": "duplicate",
    "slow_loris": "timeout",
    "oversized": "bad_answer",
}


@pytest.mark.parametrize("mode", EXPECTED)
async def test_what_a_hostile_signer_did_is_told(five: Five, plans: list[Plan], mode: str) -> None:
    plan = await plan_of(five, plans)
    urls = [*five.honest, five.url(0, mode)]
    approval = await five.collect(plan, urls, SHORT, ask_all=True)
    codes = [each.code for each in approval.outcomes]
    # Who passes on another's signature first is taken for that one, who then counts as the second.
    assert codes in (["", "", "", EXPECTED[mode]], [EXPECTED[mode], "", "", ""])
    assert len(approval.signatures) == 3


async def endless() -> AsyncIterator[bytes]:
    """A body of which one byte comes."""
    yield b"\xa0"
    await asyncio.Event().wait()


async def test_a_body_that_does_not_end_is_given_ten_seconds_on_both_sides(
    five: Five, plans: list[Plan]
) -> None:
    plan = await plan_of(five, plans)

    async def request() -> tuple[int, str]:
        headers = await five.world.proposer().headers(plan.to_bytes())
        async with (
            aiohttp.ClientSession() as session,
            session.post(five.honest[0] + APPROVE, data=endless(), headers=headers) as response,
        ):
            return response.status, (await response.json())["code"]

    async def answer() -> str:
        return (await ask(five.url(0, "slow_loris"), plan.to_bytes(), PATIENCE, five.world.proposer())).code

    begun = monotonic()
    assert await asyncio.gather(request(), answer()) == [(408, "too_slow"), "slow_answer"]
    assert BODY_SECONDS == ANSWER_SECONDS == 10
    assert 10 <= monotonic() - begun < PATIENCE


async def test_an_old_answer_does_not_count_for_a_new_plan(five: Five, plans: list[Plan]) -> None:
    plan, replaying = await plan_of(five, plans), five.url(1, "replay")
    await five.collect(plan, [replaying, *five.honest], ask_all=True)
    later = await five.world.propose(Kind.SETTLEMENT)
    assert later.plan_hash != plan.plan_hash
    with pytest.raises(QuorumError) as caught:
        await five.collect(later, [replaying, *five.honest], ask_all=True)
    assert f"{replaying}: bad_signature" in str(caught.value)
    assert str(caught.value).count("slot_taken") == len(five.honest)


async def test_one_who_signs_two_plans_for_a_slot_is_found_out_and_does_not_count(
    five: Five, plans: list[Plan], tmp_path: Path
) -> None:
    plan, sightings = await plan_of(five, plans), Sightings(tmp_path / "sightings.sqlite")
    urls = five.urls("anything", "anything")
    first = await five.collect(plan, urls, ask_all=True, sightings=sightings)
    assert [each.code for each in first.outcomes] == [""] * 5
    later = await five.world.propose(Kind.SETTLEMENT)
    # From disk: a collector that was restarted remembers.
    sightings = Sightings(tmp_path / "sightings.sqlite")
    with pytest.raises(QuorumError) as caught:
        await five.collect(later, urls, ask_all=True, sightings=sightings)
    told = str(caught.value)
    assert "expected 3 of 5, saw 0" in told
    for role in HOSTILE:
        both = f"0x{plan.plan_hash.hex()} and 0x{later.plan_hash.hex()}"
        assert f"equivocation: {accounts()[role].address} signed both {both}" in told


async def test_who_equivocates_is_reported_whether_or_not_enough_others_sign(
    five: Five, plans: list[Plan], tmp_path: Path
) -> None:
    plan, later = await plan_of(five, plans), await five.world.propose(Kind.SETTLEMENT)
    sightings, events = Sightings(tmp_path / "sightings.sqlite"), EventStream()
    seen: list[Event] = []
    events.subscribe(seen.append)
    async with Endpoint(five.world.devnet.url, five.world.devnet.chain_id) as endpoint:
        keeper = Keeper(
            policy=five.world.policy,
            endpoint=endpoint,
            clock=ChainTime(five.world.devnet),
            signers=five.urls("anything", "anything"),
            events=events,
            proposer=five.world.proposer(),
            sightings=sightings,
        )
        with pytest.raises(QuorumError, match="expected 3 of 5, saw 2"):
            await keeper.approve(later, ask_all=True)
        assert not [each for each in seen if isinstance(each, SignerEquivocated)]
        await keeper.approve(plan, ask_all=True)
        enough = [each for each in seen if isinstance(each, SignerEquivocated)]
        seen.clear()
        with pytest.raises(QuorumError, match="expected 3 of 5, saw 0"):
            await keeper.approve(later, ask_all=True)
    too_few = [each for each in seen if isinstance(each, SignerEquivocated)]
    hostile = {accounts()[role].address for role in HOSTILE}
    for reported, hashes in ((enough, (later, plan)), (too_few, (plan, later))):
        assert {each.signer for each in reported} == hostile
        assert {(each.first, each.second) for each in reported} == {tuple(each.plan_hash for each in hashes)}


async def test_evidence_of_equivocation_holds_for_anyone_and_cannot_be_made_up(
    five: Five, plans: list[Plan], tmp_path: Path
) -> None:
    plan, later = await plan_of(five, plans), await five.world.propose(Kind.SETTLEMENT)
    sightings, quorum = Sightings(tmp_path / "sightings.sqlite"), five.world.policy.vault.quorum
    (one,), (two,) = (five.world.sign(each, "signer4") for each in (plan, later))
    assert sightings.see(plan, one, quorum) is None
    assert sightings.see(plan, one, quorum) is None
    found = sightings.see(later, two, quorum)
    assert found is not None
    found.verify()
    (others,) = five.world.sign(later, "signer1")
    with pytest.raises(QuorumError, match="someone else"):
        replace(found, second_signature=others.data).verify()
    with pytest.raises(QuorumError, match="Not two plans"):
        replace(found, second=plan, second_signature=one.data).verify()
    expired = replace(
        later, reference_time=plan.valid_until + 1, valid_after=plan.valid_until + 1, valid_until=2**40
    )
    (after,) = five.world.sign(expired, "signer4")
    with pytest.raises(QuorumError, match="begins after the first"):
        replace(found, second=expired, second_signature=after.data).verify()


def test_the_contract_takes_no_two_of_five_nor_a_malleable_third(five: Five, plans: list[Plan]) -> None:
    plan = plans[0]
    two = five.world.sign(plan, *HOSTILE)
    honest = five.world.sign(plan, "signer1")[0]
    high = SECP256K1_ORDER - int.from_bytes(honest.data[32:64], "big")
    twin = honest.data[:32] + high.to_bytes(32, "big") + bytes([55 - honest.data[64]])
    cases = [two, sorted([*two, replace(honest, data=twin)], key=lambda each: int(each.signer, 16))]
    for signatures in cases:
        with pytest.raises(Exception, match="revert"):
            five.world.submit(plan, signatures)
