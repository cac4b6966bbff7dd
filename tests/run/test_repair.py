"""What can be wrong, each brought about for real, told apart, put right, and then not found again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_account import Account
from running import SCHEDULE, Post
from staged import USDC, Staged

from keeper.chain.pool import ChainEndpoints, Pool, Replacement
from keeper.chain.transaction import sign
from keeper.clock import ChainClock
from keeper.contracts import encode_call
from keeper.errors import RefusedError
from keeper.events import EventStream
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import EXECUTED, State
from keeper.execution.journal.tables import Intent, Transaction
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.relay import Relayer
from keeper.execution.repair import Finding, Inspection, Remedy, Surgeon, Trouble
from keeper.execution.transactions import Transactions
from keeper.execution.treasury import GasLimits
from keeper.planning.bounds import FeePolicy
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.simulation.proxy import Fault, Proxy
from keeper.units import Address

RULES = Replacement(blocks=2, times=1)
GWEI = 10**9
DENIED = Fault("eth_getTransactionReceipt", change=lambda _: None)


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    with working.devnet.undone():
        yield working
    working.devnet.rpc("evm_setAutomine", True)


@dataclass
class Ward:
    """An account's journal and chain, with what the loop has for one vault."""

    stage: Staged
    duties: Duties
    pool: Pool
    settings: ChainEndpoints

    @property
    def journal(self) -> Journal:
        return self.duties.record.journal

    @property
    def account(self) -> Address:
        return Address(self.duties.relayer.account.address)

    def desk(self) -> Transactions:
        policy = self.stage.policy
        finality = policy.finality[self.pool.chain_id]
        relayer = self.duties.relayer
        return Transactions(self.pool, relayer.account, self.journal, relayer.events, finality, policy, RULES)

    def intent(self, key: str = "test/1") -> Intent:
        data = encode_call("approve(address,uint256)", self.account, 1)
        return self.desk().intent(key, "test", self.stage.deployment.asset, data, 100_000)

    def states(self, key: str = "test/1") -> list[State]:
        return [row.at for row in self.journal.transactions(key)]

    async def findings(self, *others: Policy) -> list[Finding]:
        """With those of the account's other vaults."""
        policies = [self.stage.policy, *others]
        return await Inspection(self.journal, self.pool, self.settings, policies).findings()

    async def cured(self, finding: Finding, remedy: Remedy | None = None) -> str:
        surgeon = Surgeon({self.duties.record.vault: self.duties}, remedy or Remedy())
        return await surgeon.cure(finding)

    def mine(self, blocks: int = 1, price: int = GWEI) -> None:
        for _ in range(blocks):
            self.stage.devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(price))
            self.stage.devnet.rpc("evm_mine")

    def drop(self, row: Transaction) -> None:
        assert row.hash is not None
        self.stage.devnet.rpc("anvil_dropTransaction", "0x" + row.hash.hex())

    def foreign(self) -> bytes:
        """Another transaction of the account's first free nonce."""
        devnet, account = self.stage.devnet, self.duties.relayer.account
        nonce = int(devnet.rpc("eth_getTransactionCount", self.account, "latest"), 16)
        return sign(
            account,
            chain_id=devnet.chain_id,
            nonce=nonce,
            to=self.account,
            data=b"",
            gas=21_000,
            max_fee=1_000 * GWEI,
            tip=GWEI,
        ).raw


MakeWard = Callable[..., AbstractAsyncContextManager[Ward]]


@pytest.fixture
def make(stage: Staged, journal: Journal) -> MakeWard:
    @asynccontextmanager
    async def made(*urls: str) -> AsyncIterator[Ward]:
        settings = ChainEndpoints.of(urls or [stage.devnet.url]).model_copy(update={"replacement": RULES})
        chain, events = stage.devnet.chain_id, EventStream()
        async with Pool(chain, settings) as pool:
            account, clock = Account.from_key(stage.devnet.key("deployer")), ChainClock(pool)
            relayer = Relayer(pool, account, journal, events, RULES)
            keeper = Keeper(stage.policy, pool, clock, [], events, relayer)
            yield Ward(stage, Duties.of(keeper, relayer, BreakerLimits(), GasLimits()), pool, settings)

    return made


# TRANSACTIONS


async def stuck(ward: Ward) -> Finding:
    """A transaction that was replaced as often as it may be, while prices ran away from it."""
    ward.stage.devnet.rpc("evm_setAutomine", False)
    await ward.desk().advance(ward.intent())
    for price in (500 * GWEI, 5_000 * GWEI):
        ward.mine(2, price)
        for _ in range(2):
            await ward.desk().advance()
    assert ward.states() == [State.REPLACED, State.BROADCAST]
    (found,) = await ward.findings()
    assert (found.trouble, found.by_itself) == (Trouble.STUCK, False)
    assert "replaced 1 times" in found.why
    return found


@pytest.mark.parametrize("cancel", [False, True])
async def test_what_is_stuck_is_replaced_or_cancelled_within_what_a_person_allows(
    make: MakeWard, cancel: bool
) -> None:
    async with make() as ward:
        found = await stuck(ward)
        with pytest.raises(RefusedError, match="Replace it or cancel it"):
            await ward.cured(found)
        for low in (found.group[-1].max_fee, 5_000 * GWEI - 1):
            with pytest.raises(RefusedError, match="ceiling is too low"):
                await ward.cured(found, Remedy(low, cancel))
        assert ward.states() == [State.REPLACED, State.BROADCAST]
        said = await ward.cured(found, Remedy(20_000 * GWEI, cancel))
        assert said.startswith("cancelled at" if cancel else "replaced at")
        assert await ward.findings() == []
        ward.mine(3, 5_000 * GWEI)
        await ward.desk().advance()
        ends = [State.CANCELLED, State.CANCELLED] if cancel else [State.DROPPED, State.DROPPED]
        assert ward.states() == [*ends, State.FINAL]
        assert ward.journal.under_way() == []


async def test_what_its_own_vault_may_not_pay_is_stuck_until_it_holds_up_one_that_may(
    make: MakeWard,
) -> None:
    async with make() as ward:
        devnet, lavish = ward.stage.devnet, ward.stage.policy
        assert lavish.fees is None
        vault = lavish.vault.model_copy(update={"vault": Address(devnet.address("user1"))})
        ceilings = FeePolicy(max_fee_per_gas=100 * GWEI, max_priority_fee_per_gas=GWEI)
        frugal = lavish.model_copy(update={"vault": vault, "fees": ceilings})
        wanted = ward.intent()
        wanted.vault, wanted.valid_until = vault.vault, int(devnet.block()["timestamp"], 16) + 1_000
        devnet.rpc("evm_setAutomine", False)
        await ward.desk().advance(wanted)
        ward.mine(2, 200 * GWEI)
        (found,) = await ward.findings(frugal)
        assert (found.trouble, found.why) == (Trouble.STUCK, "the policy's ceilings forbid more")
        devnet.warp(2_000)
        ward.mine(1, 200 * GWEI)
        assert await ward.findings(frugal) == []


async def test_a_cancellation_that_was_cut_off_is_carried_on_by_the_loop(make: MakeWard) -> None:
    async with make() as ward:
        found = await stuck(ward)
        ward.mine(1, GWEI)
        head = await ward.pool.latest()
        # As far as a repair has come that was killed after its first write.
        ward.journal.give_up(found.group[-1].intent, head.timestamp - 1)
        for row in found.group:
            ward.drop(row)
        for _ in range(3):
            await ward.desk().advance()
            ward.mine(1, GWEI)
        await ward.desk().advance()
        assert ward.states()[-1] is State.FINAL
        assert ward.journal.transactions("test/1")[-1].cancels


async def test_a_hole_and_a_nonce_that_another_has_spent_are_left_to_the_loop(make: MakeWard) -> None:
    async with make() as ward:
        devnet = ward.stage.devnet
        await ward.pool.send_raw(ward.foreign())
        devnet.rpc("evm_setAutomine", False)
        await ward.desk().advance(ward.intent())
        devnet.rpc("anvil_reorg", 1, [])
        (hole,) = await ward.findings()
        assert (hole.trouble, hole.by_itself) == (Trouble.HOLE, True)
        ward.mine(2)
        await ward.desk().advance()
        await ward.desk().advance()
        ward.mine(2)
        await ward.desk().advance()
        assert (await ward.findings(), ward.journal.under_way()) == ([], [])

        await ward.desk().advance(ward.intent("test/2"))
        ward.drop(ward.journal.transactions("test/2")[0])
        await ward.pool.send_raw(ward.foreign())
        ward.mine(2)
        (spent,) = await ward.findings()
        assert (spent.trouble, spent.by_itself) == (Trouble.SPENT, True)
        await ward.desk().advance()
        assert (await ward.findings(), ward.states("test/2")) == ([], [State.DROPPED])


async def test_a_receipt_that_one_endpoint_denies_is_taken_from_another(
    make: MakeWard, stage: Staged
) -> None:
    with (
        Proxy([stage.devnet.url], stage.devnet.chain_id) as one,
        Proxy([stage.devnet.url], stage.devnet.chain_id) as other,
    ):
        async with make(one.url, other.url) as ward:
            one.faults = other.faults = [DENIED]
            await ward.desk().advance(ward.intent())
            ward.mine(2)
            await ward.desk().advance()
            (lost,) = await ward.findings()
            assert (lost.trouble, lost.shown, lost.by_itself) == (Trouble.UNSHOWN, None, False)
            with pytest.raises(RefusedError, match="No endpoint shows it"):
                await ward.cured(lost)
            other.faults = []
            (found,) = await ward.findings()
            assert found.shown is not None
            assert "take note of it as" in found.cure
            await ward.desk().advance()
            assert ward.states() == [State.BROADCAST]
            assert await ward.cured(found) == f"took note of it as {other.url} shows it"
            assert (await ward.findings(), ward.states()) == ([], [State.FINAL])


# PLANS


async def test_a_plan_that_another_has_carried_out_is_left_to_the_loop_and_one_overtaken_makes_way(
    make: MakeWard, stage: Staged
) -> None:
    stage.request_deposit("user3", 500_000 * USDC)
    stage.close_epoch()
    async with make() as ward:
        record = ward.duties.record
        plan = await stage.propose(Kind.SETTLEMENT)
        record.begin(plan)
        assert await ward.findings() == []
        stage.submit(plan)
        ward.mine()
        (found,) = await ward.findings()
        assert (found.trouble, found.by_itself) == (Trouble.ELSEWHERE, True)
        assert f"in block {stage.head.number - 1}" in found.why
        record.end(plan, EXECUTED, stage.head.number - 1)
        assert await ward.findings() == []

        batch = await stage.propose(Kind.BATCH)
        record.begin(batch)
        assert await ward.findings() == []
        stage.submit(replace(batch, terms=replace(batch.batch, reason="another one")))
        ward.mine()
        (found,) = await ward.findings()
        assert (found.trouble, found.by_itself) == (Trouble.OVERTAKEN, False)
        assert await ward.cured(found) == "noted that it was overtaken"
        assert (record.open_plan(Kind.BATCH), await ward.findings()) == (None, [])


async def test_every_plan_that_is_under_way_is_looked_at(make: MakeWard, stage: Staged) -> None:
    stage.request_deposit("user3", 500_000 * USDC)
    await stage.settle()
    async with make() as ward:
        batch = await stage.propose(Kind.BATCH)
        other = replace(batch, terms=replace(batch.batch, nonce_key=7))
        for plan in (batch, other):
            ward.duties.record.begin(plan)
        stage.devnet.warp(batch.valid_until - stage.head.timestamp + 1)
        found = await ward.findings()
        assert {each.plan for each in found} == {batch, other}
        assert {each.trouble for each in found} == {Trouble.EXPIRED}


async def test_an_expired_plan_is_left_to_the_loop(make: MakeWard, stage: Staged) -> None:
    stage.request_deposit("user3", 500_000 * USDC)
    stage.close_epoch()
    async with make() as ward:
        plan = await stage.propose(Kind.SETTLEMENT)
        ward.duties.record.begin(plan)
        stage.devnet.warp(plan.valid_until - stage.head.timestamp + 1)
        (found,) = await ward.findings()
        assert (found.trouble, found.by_itself) == (Trouble.EXPIRED, True)


# THE COMMAND


async def test_the_command_shows_and_does_it_once_no_keeper_runs(stage: Staged, tmp_path: Path) -> None:
    stage.request_deposit("user3", 500_000 * USDC)
    await stage.settle()
    post = Post(tmp_path, stage)
    post.vault(stage, [], "vault")
    post.write("lease = 1.0\n" + SCHEDULE)
    async with Journal(str(tmp_path / "data")) as journal:
        plan = await stage.propose(Kind.BATCH)
        VaultRecord(journal, stage.devnet.chain_id, stage.deployment.vault).begin(plan)
        stage.submit(replace(plan, terms=replace(plan.batch, reason="another one")))
        stage.devnet.rpc("evm_mine")
        refused = await asyncio.to_thread(post.keeper, "repair", "--do")
        assert (refused.returncode, refused.stdout) == (4, "")
        assert "Another keeper holds the lease" in refused.stderr
        shown = await asyncio.to_thread(post.keeper, "repair")
        assert shown.returncode == 1, shown.stderr
        assert shown.stdout.startswith("overtaken  batch 0x")
        assert "to be done: note that it was overtaken" in shown.stdout
    post.write()
    done = post.keeper("repair", "--do")
    assert done.returncode == 0, done.stderr
    assert "done: noted that it was overtaken" in done.stdout
    again = post.keeper("repair", "--do", "--ceiling", "80000000000")
    assert (again.returncode, again.stdout) == (0, "Nothing is wrong.\n")
    wrong = post.keeper("repair", "--ceiling", "eighty")
    assert wrong.returncode == 2
    assert "Not a price of gas [--ceiling]: expected wei" in wrong.stderr
    assert "saw eighty" in wrong.stderr
