"""What the journal holds about one vault: its open plans, its circuit breakers, its last pass."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session, col, func, select

from keeper.errors import RefusedError
from keeper.execution.journal import lease
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.tables import BreakerRow, Heartbeat, Lease, PlanRow
from keeper.planning.plan import Kind, Plan
from keeper.units import Address


class Breaker(StrEnum):
    """What stops new risk until `keeper resume`."""

    LOSS = "loss"
    DIVERGENCE = "divergence"
    ERRORS = "errors"
    DISAGREEMENT = "disagreement"


@dataclass(frozen=True)
class VaultRecord:
    """The rows of one vault. Writing takes the journal's lease, except for `resume`."""

    journal: Journal
    chain_id: int
    vault: Address

    # PLANS

    def open_plans(self) -> tuple[Plan, ...]:
        """The plans that are under way: settlements first, then batches by nonce key, the greatest first."""
        with self.journal.read() as session:
            rows = session.exec(
                select(PlanRow).where(
                    PlanRow.chain_id == self.chain_id,
                    PlanRow.vault == self.vault,
                    col(PlanRow.ended).is_(None),
                )
            ).all()
        plans = (Plan.from_bytes(row.body) for row in rows)
        return tuple(sorted(plans, key=lambda each: (each.kind is Kind.BATCH, [-n for n in each.slot])))

    def open_plan(self, kind: Kind, nonce_key: int | None = None) -> Plan | None:
        """The plan of that kind, of batches that of a nonce key, that is under way."""
        return next(
            (
                plan
                for plan in self.open_plans()
                if plan.kind is kind and (nonce_key is None or plan.slot[0] == nonce_key)
            ),
            None,
        )

    def begin(self, plan: Plan) -> None:
        """Keeps a plan before anybody is asked to sign it."""
        with self.journal.write() as session:
            # Of an unchanged chain the same plan follows again.
            session.merge(
                PlanRow(
                    plan_hash=plan.plan_hash,
                    chain_id=self.chain_id,
                    vault=self.vault,
                    kind=plan.kind.value,
                    body=plan.to_bytes(),
                )
            )

    def end(self, plan: Plan, how: str, block: int | None = None) -> None:
        """The plan is under way no more."""
        with self.journal.write() as session:
            row = session.get_one(PlanRow, plan.plan_hash)
            row.ended, row.block = how, block
            session.add(row)

    def last_block(self) -> int:
        """The latest block in which a plan of this vault was carried out; 0 before the first."""
        with self.journal.read() as session:
            top = session.exec(
                select(func.max(PlanRow.block)).where(
                    PlanRow.chain_id == self.chain_id, PlanRow.vault == self.vault
                )
            ).one()
        return 0 if top is None else int(top)

    def carried_out(self, since: int) -> list[PlanRow]:
        """The plans that were carried out in block `since` or later, by block."""
        with self.journal.read() as session:
            return list(
                session.exec(
                    select(PlanRow)
                    .where(
                        PlanRow.chain_id == self.chain_id,
                        PlanRow.vault == self.vault,
                        col(PlanRow.block) >= since,
                    )
                    .order_by(col(PlanRow.block), col(PlanRow.plan_hash))
                )
            )

    # BREAKERS

    def tripped(self) -> dict[Breaker, BreakerRow]:
        """The breakers that stop risk now, each as it first tripped."""
        with self.journal.read() as session:
            return _tripped(self._breakers(session))

    def last_loss(self) -> BreakerRow | None:
        """The last time a loss tripped, whether or not it still stops risk."""
        with self.journal.read() as session:
            rows = self._breakers(session)
        return next((row for row in reversed(rows) if row.breaker == Breaker.LOSS), None)

    def trip(
        self, breaker: Breaker, reason: str, *, price: int | None = None, epoch: int | None = None
    ) -> bool:
        """Stops risk. Whether it did: False where that breaker has tripped before."""
        if breaker in self.tripped():
            return False
        with self.journal.write() as session:
            self._add(session, breaker, reason, price, epoch)
        return True

    def resume(self, reason: str, shown: Collection[Breaker]) -> None:
        """Sets every breaker again, for a reason that is kept. It is a person's act, beside a keeper that
        runs or not, so it takes no lease.

        Raises RefusedError unless those that have tripped are the ones the person was `shown`.
        """
        with self.journal.append() as session:
            # A writer's, to the end of this transaction.
            session.exec(select(Lease).with_for_update()).one()
            seen = _tripped(self._breakers(session))
            if set(seen) != set(shown):
                raise RefusedError(
                    "What has tripped is not what you were shown",
                    expected=", ".join(sorted(shown)),
                    seen=", ".join(sorted(seen)) or "nothing",
                    where=self.vault,
                    hint="Look again with `keeper status`.",
                )
            self._add(session, None, reason)

    def _breakers(self, session: Session) -> list[BreakerRow]:
        return list(
            session.exec(
                select(BreakerRow)
                .where(BreakerRow.chain_id == self.chain_id, BreakerRow.vault == self.vault)
                .order_by(col(BreakerRow.id))
            )
        )

    def _add(
        self,
        session: Session,
        breaker: Breaker | None,
        reason: str,
        price: int | None = None,
        epoch: int | None = None,
    ) -> None:
        session.add(
            BreakerRow(
                chain_id=self.chain_id,
                vault=self.vault,
                breaker=breaker,
                reason=reason,
                moment=lease.now(session.connection()),
                price=price,
                epoch=epoch,
            )
        )

    # HEARTBEAT

    def beat(self, account: Address, did: str, trouble: str) -> None:
        """Notes that a pass has ended, and how."""
        with self.journal.write() as session:
            session.merge(
                Heartbeat(
                    chain_id=self.chain_id,
                    vault=self.vault,
                    account=account,
                    moment=lease.now(session.connection()),
                    did=did,
                    trouble=trouble,
                )
            )

    def heartbeat(self) -> Heartbeat | None:
        """The last pass, if there was one."""
        with self.journal.read() as session:
            return session.get(Heartbeat, (self.chain_id, self.vault))


def _tripped(rows: Iterable[BreakerRow]) -> dict[Breaker, BreakerRow]:
    """Those that have tripped since somebody last set all of them again."""
    found: dict[Breaker, BreakerRow] = {}
    for row in rows:
        if row.breaker is None:
            found.clear()
        else:
            found.setdefault(Breaker(row.breaker), row)
    return found
