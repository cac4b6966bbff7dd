"""Passes of keepers that end after each of them, in this process."""

from dataclasses import dataclass, field

from eth_account import Account
from staged import Staged

from keeper.clock import ChainClock
from keeper.events import Event, EventStream, GasCapReached
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties, Report
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.execution.treasury import Day, GasLimits, spent_on
from keeper.quorum.requests import Proposer
from keeper.simulation.proposers import proposer_key


@dataclass
class Keepers:
    """Keepers of one vault and one journal, each of which lives for one pass."""

    stage: Staged
    signers: tuple[str, ...]
    data: str
    said: list[Event] = field(default_factory=list)

    async def one_pass(self, cap: int | None = None) -> list[str]:
        """What a pass does, under a cap of a day's gas, without anything going wrong."""
        stage, report = self.stage, Report()
        events = EventStream()
        events.subscribe(self.said.append)
        account = Account.from_key(stage.devnet.key("relayer"))
        async with stage.endpoint() as endpoint, Journal(self.data) as journal:
            clock = ChainClock(endpoint)
            relayer = Relayer(endpoint, account, journal, events)
            proposer = Proposer(proposer_key("proposer1"), clock)
            keeper = Keeper(stage.policy, endpoint, clock, self.signers, events, relayer, proposer)
            await Duties.of(keeper, relayer, BreakerLimits(), GasLimits(daily_cap=cap)).perform(report)
        assert report.errors == [], report.errors
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
