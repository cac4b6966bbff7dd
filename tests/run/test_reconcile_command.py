"""`keeper reconcile`: past plans explained again, and each way in which journal and chain may differ."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from eth_account import Account
from running import DEAD, Post
from sqlmodel import col, select
from staged import USDC, Staged
from strangers import AAVE, Block, Street, put_skimming

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.errors import ReconciliationError
from keeper.events import EventStream
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties, Report
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import EXECUTED, State
from keeper.execution.journal.tables import PlanRow, Transaction
from keeper.execution.journal.vaults import Breaker
from keeper.execution.look import Receipt
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.ops.cli import main
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval
from keeper.quorum.requests import Proposer
from keeper.simulation.proposers import proposer_key
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import SIGNERS

GIFT = 1_000 * USDC
FIRST = 50 * 10**9
"""A tip that puts a transaction before the keeper's."""


@pytest.fixture(scope="module", autouse=True)
def street(working: Staged) -> Street:
    """Strangers with money, and an epoch of the module's vault that waits for settlement."""
    street = Street(working)
    street.prepare("user5")
    working.request_deposit("user3", 500_000 * USDC)
    working.close_epoch()
    return street


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    with working.devnet.undone():
        yield working


@dataclass
class Past:
    """What a keeper has done, and whoever looks at it later."""

    post: Post
    stage: Staged
    endpoint: Endpoint
    journal: Journal
    capsys: pytest.CaptureFixture[str]
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def duties(self) -> Duties:
        """A keeper's without signers."""
        events, clock = EventStream(), ChainClock(self.endpoint)
        account = Account.from_key(self.stage.devnet.key("relayer"))
        relayer = Relayer(self.endpoint, account, self.journal, events)
        proposer = Proposer(proposer_key("proposer1"), clock)
        keeper = Keeper(self.stage.policy, self.endpoint, clock, [DEAD], events, relayer, proposer)
        return Duties.of(keeper, relayer, BreakerLimits(), GasLimits())

    async def begin(self, kind: Kind, others: Block) -> Plan:
        """A plan written down, signed, and mined in a block with what others do: their first transaction
        before it."""
        plan, rpc, duties = await self.stage.propose(kind), self.stage.devnet.rpc, self.duties
        duties.record.begin(plan)
        approval = Approval(tuple(self.stage.sign(plan, *SIGNERS[:2])), ())
        rpc("evm_setAutomine", False)
        try:
            for raw in others.raw[:1]:
                rpc("eth_sendRawTransaction", raw)
            task = asyncio.create_task(duties.relayer.submit(plan, approval, self.stage.policy))
            # Each question lets the relayer go on.
            while int((await self.endpoint.rpc("txpool_status"))["pending"], 16) <= len(others.raw[:1]):
                assert not task.done(), task.exception()
            for raw in others.raw[1:]:
                rpc("eth_sendRawTransaction", raw)
            rpc("evm_mine")
            self.receipts.append(await task)
        finally:
            rpc("evm_setAutomine", True)
        return plan

    async def carry_out(self, kind: Kind, others: Block) -> Plan:
        plan = await self.begin(kind, others)
        self.duties.record.end(plan, EXECUTED, self.receipts[-1].block.number)
        return plan

    async def reconcile(self, *arguments: str) -> tuple[int | str | None, str, str]:
        """Exit code and what is printed, on stdout and stderr."""
        given = ["reconcile", "--config", str(self.post.folder / "keeper.toml"), *arguments]
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, given)
        return ended.value.code, *self.capsys.readouterr()

    async def differences(self) -> list[str]:
        """Those that it says there are."""
        code, out, _ = await self.reconcile("--json")
        said = json.loads(out)
        assert (code, said["ok"]) == (1, False)
        return list(said["differences"])

    @property
    def account(self) -> str:
        return self.stage.devnet.address("relayer")


@pytest.fixture
async def past(stage: Staged, post: Post, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Past]:
    post.vault(stage, [DEAD], "vault")
    post.write()
    async with Journal(str(post.folder / "data")) as journal, stage.endpoint() as endpoint:
        yield Past(post, stage, endpoint, journal, capsys)


def between_gifts(street: Street) -> Block:
    """One before us, and twice as much after us."""
    block = Block(street.stage)
    street.lend(block, "user5", GIFT, gift=AAVE, maxPriorityFeePerGas=FIRST)
    street.lend(block, "user5", 2 * GIFT, gift=AAVE)
    return block


async def test_a_plan_that_somebody_else_relayed_is_no_difference(past: Past) -> None:
    plan = await past.stage.propose(Kind.SETTLEMENT)
    record = past.duties.record
    record.begin(plan)
    past.stage.submit(plan)
    record.end(plan, EXECUTED, past.stage.head.number)
    code, out, _ = await past.reconcile("--json")
    said = json.loads(out)
    assert (code, said["differences"]) == (0, [])
    assert len(said["vaults"][0]["blocks"]) == 1
    with past.journal.write() as session:
        row = session.get_one(PlanRow, plan.plan_hash)
        row.block = past.stage.head.number - 1
        session.add(row)
    assert await past.differences() == [
        f"settlement 0x{plan.plan_hash.hex()} in block {past.stage.head.number - 1}: neither the journal nor "
        "that block has a transaction that carried it out"
    ]


async def test_past_plans_are_explained_again(past: Past, street: Street) -> None:
    alone = await past.carry_out(Kind.SETTLEMENT, Block(past.stage))
    batch = await past.carry_out(Kind.BATCH, between_gifts(street))
    code, out, _ = await past.reconcile("--json")
    said = json.loads(out)
    assert (code, said["ok"], said["differences"]) == (0, True, [])
    (vault,) = said["vaults"]
    first, second = vault["blocks"]
    assert [each["plan_hash"] for each in (*first["plans"], *second["plans"])] == [
        f"0x{plan.plan_hash.hex()}" for plan in (alone, batch)
    ]
    assert (first["others"], second["others"]) == (0, 2)
    lines = {line["name"]: line for line in second["lines"]}
    assert GIFT - 2 <= lines[AAVE]["third_party_before"] <= GIFT
    assert 2 * GIFT - 2 <= lines[AAVE]["third_party_after"] <= 2 * GIFT
    moved = {"supply": -1, "withdraw": 1}
    assert lines["idle"]["ours"] == sum(moved[each.function] * each.assets for each in batch.batch.calls)
    for line in (*first["lines"], *lines.values()):
        parts = ("elapsed", "third_party_before", "ours", "third_party_after")
        assert line["after"] == line["before"] + sum(line[part] for part in parts)
        assert line["unexplained"] == 0
    name = past.stage.policy.name
    code, text, _ = await past.reconcile("--vault", name, "--since", str(second["block"]))
    assert code == 0
    assert "Plans explained: 1. Journal and chain agree." in text
    assert f"block {second['block']}  batch 0x{batch.plan_hash.hex()}; transactions of others: 2" in text
    shown = f"{lines[AAVE]['third_party_before'] / USDC:,.6f} USDC"
    assert f"others before us {shown}" in text


async def test_each_difference_of_journal_and_chain_is_named(past: Past, street: Street) -> None:
    settlement = await past.carry_out(Kind.SETTLEMENT, Block(past.stage))
    await past.carry_out(Kind.BATCH, Block(past.stage))
    with past.journal.write() as session:
        first, second = session.exec(select(Transaction).order_by(col(Transaction.nonce))).all()
        first.block_hash, second.succeeded = b"\x11" * 32, False
        row = session.get_one(PlanRow, settlement.plan_hash)
        assert row.block is not None
        row.block -= 1
        session.add_all([first, second, row])
    # Somebody else sends from the keeper's account.
    past.stage.act(
        "relayer", past.stage.deployment.asset, "approve(address,uint256)", past.stage.deployment.vault, 1
    )
    one, _ = past.receipts
    names = [
        f"0x{each.transaction.hex()}, nonce {row.nonce} of {past.account}"
        for each, row in zip(past.receipts, (first, second), strict=True)
    ]
    assert await past.differences() == [
        f"settlement 0x{settlement.plan_hash.hex()} in block {one.block.number - 1}: its transaction "
        f"0x{one.transaction.hex()} is in block {one.block.number}",
        f"{names[0]}: final in block 0x{'11' * 32}, but the chain has it in block {one.block.number}, "
        f"0x{one.block.hash.hex()}",
        f"{names[1]}: the journal says reverted, the chain succeeded",
        f"{past.account}: the next nonce on chain {past.stage.devnet.chain_id} is {second.nonce + 2}, and by "
        f"the journal {second.nonce + 1}",
    ]


async def test_what_the_chain_has_lost_or_another_policy_made_is_named(past: Past) -> None:
    settlement = await past.carry_out(Kind.SETTLEMENT, Block(past.stage))
    mark = past.stage.devnet.rpc("evm_snapshot")
    batch = await past.carry_out(Kind.BATCH, Block(past.stage))
    past.stage.devnet.revert(mark)
    lost, block = past.receipts[1].transaction.hex(), past.receipts[1].block.number
    nonce = int(past.stage.devnet.rpc("eth_getTransactionCount", past.account, "latest"), 16)
    assert await past.differences() == [
        f"batch 0x{batch.plan_hash.hex()} in block {block}: its transaction 0x{lost} is in no block of the "
        "chain",
        f"0x{lost}, nonce {nonce} of {past.account}: final, but in no block of the chain",
        f"{past.account}: the next nonce on chain {past.stage.devnet.chain_id} is {nonce}, and by the "
        f"journal {nonce + 1}",
    ]
    file = past.post.folder / "vault.toml"
    file.write_text(file.read_text().replace("max_clock_skew = ", "max_clock_skew = 1"))
    with past.journal.write() as session:
        row = session.exec(select(Transaction).where(col(Transaction.nonce) == nonce - 1)).one()
        row.state = State.DROPPED
        session.add(row)
    said = await past.differences()
    assert said[0].startswith(f"settlement 0x{settlement.plan_hash.hex()} in block ")
    assert "made by another policy" in said[0]
    first = past.receipts[0]
    assert said[2] == (
        f"0x{first.transaction.hex()}, nonce {nonce - 1} of {past.account}: dropped, but block "
        f"{first.block.number} has it"
    )


async def test_states_that_are_gone_and_a_vault_that_is_not_there_are_named(past: Past) -> None:
    await past.carry_out(Kind.SETTLEMENT, Block(past.stage))
    file = past.post.folder / "endpoints.toml"
    file.write_text(file.read_text() + "states = 1\n")
    code, _, said = await past.reconcile()
    assert code == 3
    assert "The states of the plans' blocks, and of those before them, are needed" in said
    assert "Name an archive endpoint" in said
    code, _, said = await past.reconcile("--vault", "another")
    assert code == 4
    assert "The file lists no such vault" in said


async def test_a_theft_among_others_stops_risk_and_stays_unexplained(past: Past, street: Street) -> None:
    await past.carry_out(Kind.SETTLEMENT, Block(past.stage))
    stage = past.stage
    planned = await stage.propose(Kind.BATCH)
    (supply,) = [call for call in planned.batch.calls if (call.venue, call.function) == (AAVE, "supply")]
    a_token, thief = stage.policy.position(AAVE).params["a_token"], stage.devnet.address("user6")
    # What the portfolio takes for roundings.
    taken = planned.batch.max_loss // 2
    put_skimming(stage.devnet, supply.target, a_token, thief, taken)
    await past.begin(Kind.BATCH, between_gifts(street))
    duties, report = past.duties, Report()
    await duties.perform(report)
    assert [type(each) for each in report.errors] == [ReconciliationError]
    assert duties.breakers.open == (Breaker.DIVERGENCE,)
    code, out, _ = await past.reconcile("--json")
    said = json.loads(out)
    (line,) = [each for each in said["vaults"][0]["blocks"][1]["lines"] if each["name"] == AAVE]
    assert code == 1
    assert taken - 2 <= -line["unexplained"] <= taken + 2
    assert GIFT - 2 <= line["third_party_before"] <= GIFT
    assert f"nothing explains it: expected 0, saw {AAVE} {line['unexplained']}." in said["differences"][0]
    refuses = Fault("eth_simulateV1", error=(-32601, "no such method"))
    with Proxy([stage.devnet.url], stage.devnet.chain_id, faults=[refuses]) as proxy:
        file = past.post.folder / "endpoints.toml"
        file.write_text(file.read_text().replace(stage.devnet.url, proxy.url))
        code, text, _ = await past.reconcile()
    assert code == 1
    assert "    NOT REPLAYED  Block " in text
    assert "what others did in the block is unknown" in text
