"""What the journal knows about gas on one chain: what was paid, what may yet be, and what was said of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlmodel import col, or_, select

from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import ENDED, State
from keeper.execution.journal.tables import FloatRow, Intent, PlanRow, Transaction
from keeper.planning.plan import Plan
from keeper.units import Address


@dataclass(frozen=True)
class Charge:
    """A transaction, and the intent it is one for."""

    intent: Intent
    row: Transaction

    @property
    def purpose(self) -> str:
        """What its gas is paid for."""
        return f"cancel {self.intent.purpose}" if self.row.cancels else self.intent.purpose


@dataclass(frozen=True)
class GasRecord:
    """The rows of one chain. Writing takes the journal's lease."""

    journal: Journal
    chain_id: int

    def charges(self, since: int = 0) -> list[Charge]:
        """The transactions that were mined at `since`, in seconds of the chain's time, or later, and those
        that have not ended; oldest first."""
        with self.journal.read() as session:
            found = session.exec(
                select(Intent, Transaction)
                .join(Transaction, col(Transaction.intent) == col(Intent.key))
                .where(
                    Transaction.chain_id == self.chain_id,
                    or_(col(Transaction.mined_at) >= since, col(Transaction.state).in_(set(State) - ENDED)),
                )
                .order_by(col(Transaction.id))
            ).all()
        return [Charge(intent, row) for intent, row in found]

    def open_plans(self) -> list[Plan]:
        """The plans of every vault that are under way."""
        with self.journal.read() as session:
            rows = session.exec(
                select(PlanRow)
                .where(PlanRow.chain_id == self.chain_id, col(PlanRow.ended).is_(None))
                .order_by(col(PlanRow.plan_hash))
            ).all()
        return [Plan.from_bytes(row.body) for row in rows]

    def plans(self, names: Iterable[bytes]) -> list[Plan]:
        """Those of the plans of these hashes that the journal has."""
        with self.journal.read() as session:
            rows = session.exec(select(PlanRow).where(col(PlanRow.plan_hash).in_(list(names)))).all()
        return [Plan.from_bytes(row.body) for row in rows]

    def said(self, account: Address) -> FloatRow:
        """What was last said about an account."""
        with self.journal.read() as session:
            row = session.get(FloatRow, (self.chain_id, account))
        return row or FloatRow(chain_id=self.chain_id, account=account, low=False)

    def say(self, row: FloatRow) -> None:
        """Keeps what has been said."""
        with self.journal.write() as session:
            session.merge(row)
