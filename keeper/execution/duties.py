"""What a vault needs of its keeper, in order: what is under way, settlement, risk, and the next epoch."""

from collections.abc import Awaitable
from dataclasses import dataclass, field

from keeper.book import Book
from keeper.contracts import Contract
from keeper.errors import (
    EndpointError,
    KeeperError,
    LeaseError,
    ReconciliationError,
)
from keeper.execution.breakers import Breakers
from keeper.execution.cycle import Keeper
from keeper.execution.journal.journal import JournalError, executed
from keeper.execution.journal.states import ENDED
from keeper.execution.journal.vaults import DIVERGED, EXECUTED, EXPIRED, REFUSED, VaultRecord
from keeper.execution.look import Receipt
from keeper.execution.relay import Relayer, key_of
from keeper.execution.sending import Order
from keeper.execution.treasury import Treasury, adds_risk
from keeper.planning import exits
from keeper.planning.build import NothingToDoError
from keeper.planning.evidence import Evidence
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval, TooFewSignaturesError

SILENT = frozenset({"unreachable", "timeout", "slow_answer"})
"""Outcomes of signers that may have signed all the same."""


def to_settle(book: Book) -> bool:
    """Whether an epoch is closed and may be settled now."""
    a = book.accounting
    return a.closed_epoch is not None and book.at > a.epoch_closed_at and book.at >= a.window_ends_at


def to_close(book: Book) -> bool:
    """Whether the open epoch has lasted long enough, and anybody waits for what its end brings."""
    a, p = book.accounting, book.params
    waits = a.open_deposits or a.closed_deposits or a.open_redeems or a.queued_shares >= p.min_redeem
    return bool(waits) and a.closed_epoch is None and book.at >= a.epoch_opened_at + p.min_epoch_length


async def rehearsed(keeper: Keeper) -> tuple[str, ...]:
    """What a pass would begin with, had the keeper a key. Raises as `Keeper.propose`."""
    book = await keeper.book()
    found = []
    if to_settle(book):
        plan = await keeper.propose(Kind.SETTLEMENT)
        found.append(f"would settle epoch {plan.settlement.epoch}")
    try:
        plan = await keeper.propose(Kind.BATCH)
    except NothingToDoError:
        pass
    else:
        found += [f"would {call.explain()}" for call in plan.batch.calls]
    if to_close(book):
        found.append(f"would close epoch {book.accounting.current_epoch}")
    return tuple(found)


@dataclass
class Report:
    """What a pass did, and what went wrong in it."""

    did: list[str] = field(default_factory=list)
    errors: list[KeeperError] = field(default_factory=list)


@dataclass(frozen=True)
class Duties:
    """One vault's duties, carried out by a keeper that has a relayer. Whatever ends a pass, the next one goes
    on where the journal is."""

    keeper: Keeper
    relayer: Relayer
    record: VaultRecord
    breakers: Breakers
    treasury: Treasury

    async def perform(self, report: Report) -> None:
        """One pass, noted in `report` as it goes. A duty that fails does not keep the next from being tried.

        Raises LeaseError and JournalError, which end everything, and what stops a pass before its duties.
        """
        await self.treasury.look()
        await self.relayer.look_after(self.keeper.policy)
        for kind in (Kind.SETTLEMENT, Kind.BATCH):
            if (plan := self.record.open_plan(kind)) is not None:
                await self._try(report, self._go_on(plan))
        book = await self.keeper.book()
        self.breakers.look(book)
        if to_settle(book):
            await self._try(report, self._begin(Kind.SETTLEMENT))
        await self._try(report, self._begin(Kind.BATCH))
        if to_close(book):
            await self._try(report, self._close(book.accounting.current_epoch))

    async def _try(self, report: Report, duty: Awaitable[str | None]) -> None:
        try:
            did = await duty
        except (LeaseError, JournalError):
            raise
        except KeeperError as error:
            self.breakers.judge(error)
            report.errors.append(error)
        else:
            if did is not None:
                report.did.append(did)

    # PLANS

    async def _begin(self, kind: Kind) -> str | None:
        """Makes up its mind, writes it down, and carries it out. Nothing while a plan of the kind is open, or
        the last one to be carried out is not as deep as a snapshot's blocks have to be."""
        if self.record.open_plan(kind) is not None:
            return None
        evidence: tuple[Evidence, ...] = ()
        if kind is Kind.BATCH and (stops := self._stops()):
            why = f"tripped: {', '.join(stops)}"
            evidence = (exits.evidence(why, await self.keeper.clock.now()),)
        try:
            plan = await self.keeper.propose(kind, evidence)
        except NothingToDoError:
            return None
        (pinned,) = [each.number for each in plan.blocks if each.chain_id == plan.chain_id]
        if pinned < self.record.last_block() or self._stopped(plan):
            return None
        self.record.begin(plan)
        return await self._go_on(plan)

    async def _go_on(self, plan: Plan) -> str | None:
        """An open plan, from wherever it is to its end; None where only time can end it."""
        policy = self.keeper.policy
        rows = self.record.journal.transactions(key_of(plan))
        sent = any(row.at not in ENDED or executed(row) for row in rows)
        now = await self.keeper.clock.now()
        if now > plan.valid_until and not any(executed(row) for row in rows):
            # What is on its way is being cancelled, and the plan ends with that.
            if sent:
                return None
            self.record.end(plan, EXPIRED)
            return f"gave up an expired {plan.kind}"
        if sent:
            receipt = await self.relayer.carry_on(plan, policy)
        elif self._stopped(plan) or now > plan.reference_time + policy.time.max_reference_age:
            # Nobody signs it any more, and who has signed it signs no other until it has expired.
            return None
        else:
            receipt = await self.relayer.submit(plan, await self._approved(plan), policy)
        return await self.conclude(plan, receipt, late=now > plan.valid_until)

    def _stopped(self, plan: Plan) -> bool:
        """Whether it may add risk, and that is forbidden."""
        return adds_risk(plan) and bool(self._stops(plan))

    def _stops(self, plan: Plan | None = None) -> tuple[str, ...]:
        """What forbids new risk now, or that `plan` is carried out."""
        capped = not self.treasury.allows(self.keeper.policy, plan)
        return (*self.breakers.open, *(["the day's cap of gas"] if capped else []))

    async def _approved(self, plan: Plan) -> Approval:
        try:
            return await self.keeper.approve(plan)
        except TooFewSignaturesError as error:
            outcomes = error.approval.outcomes
            if not any(each.signature is not None or each.code in SILENT for each in outcomes):
                # Nobody has promised it, so another may have its slot at once.
                self.record.end(plan, REFUSED)
            raise

    async def conclude(self, plan: Plan, receipt: Receipt, *, late: bool) -> str:
        """Reconciles a plan that was carried out, whoever has sent it, and ends it.

        Raises as `Keeper.reconcile`; ReconciliationError where that could not be read although it is `late`.
        """
        block = receipt.block.number
        try:
            await self.keeper.reconcile((plan,), receipt)
        except ReconciliationError as error:
            # First what stops risk: the plan that shows why is still there after a crash.
            self.breakers.judge(error)
            self.record.end(plan, DIVERGED, block)
            raise
        except EndpointError as error:
            if not late:
                raise
            unknown = ReconciliationError("A plan's outcome could not be read in time", seen=error)
            self.breakers.judge(unknown)
            self.record.end(plan, DIVERGED, block)
            raise unknown from error
        self.record.end(plan, EXECUTED, block)
        what = f"epoch {plan.settlement.epoch}" if plan.kind is Kind.SETTLEMENT else plan.batch.reason
        return f"{plan.kind} in block {block}: {what}"

    # EPOCHS

    async def _close(self, epoch: int) -> str:
        policy = self.keeper.policy
        vault = policy.vault
        call = Contract(vault.vault, "Vault").call("closeEpoch")
        order = Order(f"close/{vault.chain_id}/{vault.vault}/{epoch}", call, policy.limits.max_gas)
        await self.relayer.perform(order, policy)
        return f"closed epoch {epoch}"
