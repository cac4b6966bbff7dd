"""A day's cap of gas stops batches that may add risk, and nothing else; over restarts, until the next day."""

from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account
from staged import USDC, Staged

from keeper.clock import ChainClock
from keeper.events import Event, EventStream, GasCapReached
from keeper.execution.breakers import BreakerLimits, Breakers
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties, Report
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.relay import Relayer
from keeper.execution.treasury import DAY, Day, GasLimits, Treasury, by_purpose, spent_on
from keeper.quorum.requests import Proposer
from keeper.simulation.cast import Cast
from keeper.simulation.proposers import proposer_key
from keeper.simulation.vault import EPOCH_SECONDS
from keeper.units import Address


@dataclass
class Keepers:
    """Keepers of one vault and one journal, each of which lives for one pass."""

    stage: Staged
    signers: tuple[str, ...]
    data: str
    said: list[Event] = field(default_factory=list)

    async def one_pass(self, cap: int) -> list[str]:
        """What a pass under that cap does, without anything going wrong."""
        stage, report = self.stage, Report()
        chain, events = stage.devnet.chain_id, EventStream()
        events.subscribe(self.said.append)
        account = Account.from_key(stage.devnet.key("relayer"))
        async with stage.endpoint() as endpoint, Journal(self.data) as journal:
            clock = ChainClock(endpoint)
            relayer = Relayer(endpoint, account, journal, events)
            proposer = Proposer(proposer_key("proposer1"), clock)
            keeper = Keeper(stage.policy, endpoint, clock, self.signers, events, relayer, proposer)
            record = VaultRecord(journal, chain, stage.deployment.vault)
            gas = GasRecord(journal, chain)
            limits = GasLimits(daily_cap=cap)
            treasury = Treasury(limits, endpoint, Address(account.address), gas, events)
            duties = Duties(keeper, relayer, record, Breakers(BreakerLimits(), record, events), treasury)
            await duties.perform(report)
        assert report.errors == []
        return [did.split(" in block")[0] for did in report.did]

    @property
    def alerts(self) -> int:
        return sum(isinstance(each, GasCapReached) for each in self.said)

    @property
    def gas(self) -> GasRecord:
        return GasRecord(Journal(self.data), self.stage.devnet.chain_id)

    @property
    def today(self) -> Day:
        return spent_on(self.gas, self.stage.head.timestamp)

    @property
    def balance(self) -> int:
        devnet = self.stage.devnet
        return int(devnet.rpc("eth_getBalance", devnet.address("relayer"), "latest"), 16)


async def test_beyond_the_cap_people_get_out_and_nothing_else_is_begun_until_the_next_day(
    stage: Staged, players: Cast, tmp_path: Path
) -> None:
    devnet, keepers = stage.devnet, Keepers(stage, players.urls, str(tmp_path / "data"))
    # Little is left of the day in which the vault is opened, and all of the next.
    stage.request_deposit("user1", 2_000_000 * USDC)
    devnet.warp(2 * DAY + EPOCH_SECONDS - stage.head.timestamp % DAY)
    start = keepers.balance

    assert await keepers.one_pass(1) == ["closed epoch 1"]
    devnet.rpc("evm_mine")
    assert await keepers.one_pass(1) == ["settlement"]
    stage.claim("user1")
    assert (keepers.alerts, keepers.today) == (1, Day(0, 0))
    assert await keepers.one_pass(1) == []
    assert keepers.alerts == 1

    one = stage.policy.limits.max_gas * (2 * stage.head.base_fee + 10**9)
    devnet.rpc("evm_mine")
    assert await keepers.one_pass(2 * one) == ["batch"]
    (batch,) = [each.row for each in keepers.gas.charges() if each.intent.purpose == "batch"]
    spent = keepers.today.spent
    assert keepers.today == Day(batch.cost or 0, 0)
    assert 0 < spent < one

    # What is left is too little for another; people who leave are let out all the same.
    stage.request_redeem("user1", stage.shares("user1") // 2)
    devnet.rpc("evm_mine")
    assert await keepers.one_pass(spent + 1) == ["batch"]
    assert stage.state().nonce == 2
    assert keepers.today.spent == spent

    devnet.warp(DAY)
    assert keepers.today == Day(0, 0)
    await keepers.one_pass(1)
    assert keepers.alerts == 2
    paid = by_purpose(keepers.gas.charges())
    assert sum(each.wei for each in paid.values()) == start - keepers.balance
    assert {vault for vault, _ in paid} == {stage.deployment.vault}
