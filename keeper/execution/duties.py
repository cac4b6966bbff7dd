"""What a vault needs of its keeper, in order: what is under way, settlement, risk, and the next epoch."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

from keeper.book import Book
from keeper.chain.snapshot import Snapshot
from keeper.contracts import Contract
from keeper.errors import (
    KeeperError,
    LeaseError,
    ReconciliationError,
)
from keeper.events import PlanEnded, Waited
from keeper.execution.breakers import BreakerLimits, Breakers
from keeper.execution.carried import carried_out_by
from keeper.execution.cycle import Keeper
from keeper.execution.fees import FeeCeilingError
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import JournalError, executed
from keeper.execution.journal.states import DIVERGED, ENDED, EXECUTED, EXPIRED, REFUSED
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.look import Receipt
from keeper.execution.relay import Relayer, key_of
from keeper.execution.sending import Order
from keeper.execution.treasury import GasLimits, Treasury
from keeper.ledger.vault import earliest_close, is_dust
from keeper.planning import defence, exits
from keeper.planning.bounds import DAY
from keeper.planning.build import NothingToDoError
from keeper.planning.evidence import Evidence
from keeper.planning.plan import Kind, Plan
from keeper.quorum.collect import Approval, TooFewSignaturesError
from keeper.risk import limits
from keeper.units import Address

SILENT = frozenset(
    {
        "unreachable",
        "timeout",
        "slow_answer",
        "bad_answer",
        "bad_signature",
        "equivocation",
        "key_unavailable",
    }
)
"""Outcomes of signers that may have signed, or promised the slot, all the same."""
PATIENT = frozenset({"slot_taken", "over_budget", "not_your_turn", "not_final"})
"""Codes of signers' refusals that time alone ends: an older plan expires, a day passes, blocks follow."""
LONGEST_EPOCH = 7 * DAY
"""Seconds after which an epoch ends for nobody's sake: a settlement is also what charges fees, and what the
prices rest on that holders are told (`SettlementLib.MAX_EPOCH_LENGTH`)."""


def only_waits(error: KeeperError) -> bool:
    """Whether nothing is wrong, and nothing but time has to pass: fees above the signed ceiling, or a quorum
    of which everyone who did not sign says so. It is told, and counts for no breaker."""
    if isinstance(error, TooFewSignaturesError):
        refusals = error.approval.refusals
        return bool(refusals) and all(each.code in PATIENT for each in refusals)
    return isinstance(error, FeeCeilingError)


def to_settle(book: Book) -> bool:
    """Whether an epoch is closed and may be settled now."""
    a = book.accounting
    return a.closed_epoch is not None and book.at > a.epoch_closed_at and book.at >= a.window_ends_at


def to_close(book: Book) -> bool:
    """Whether the open epoch has lasted long enough, and anybody waits for what its end brings; or whether it
    has lasted as long as one may, and there are holders."""
    a, p = book.accounting, book.params
    waits = a.open_deposits or a.closed_deposits or a.open_redeems or not is_dust(a, p)
    overlong = a.total_supply and book.at >= a.epoch_opened_at + LONGEST_EPOCH
    due = book.at >= earliest_close(a, p)
    return bool(waits or overlong) and a.closed_epoch is None and due


async def rehearsed(keeper: Keeper) -> tuple[str, ...]:
    """What a pass would begin with, had the keeper a key. Raises as `Keeper.propose`."""
    taken = await keeper.snapshot()
    book = await keeper.book(taken)
    found = []
    if to_settle(book):
        plan = await keeper.propose(Kind.SETTLEMENT, taken=taken)
        found.append(f"would settle epoch {plan.settlement.epoch}")
    try:
        plan = await keeper.propose(Kind.BATCH, taken=taken)
    except NothingToDoError:
        pass
    else:
        found += [f"would {call.explain()}" for call in plan.batch.calls]
    if to_close(book):
        found.append(f"would close epoch {book.accounting.current_epoch}")
    return tuple(found)


@dataclass
class Report:
    """What a pass did, what it put off, and what went wrong in it."""

    did: list[str] = field(default_factory=list)
    waits: list[KeeperError] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)


@dataclass(frozen=True)
class Duties:
    """One vault's duties, carried out by a keeper that has a relayer. Whatever ends a pass, the next one goes
    on where the journal is."""

    keeper: Keeper
    relayer: Relayer
    record: VaultRecord
    breakers: Breakers
    treasury: Treasury

    @classmethod
    def of(cls, keeper: Keeper, relayer: Relayer, breakers: BreakerLimits, gas: GasLimits) -> "Duties":
        """Of a keeper's vault, with what the relayer's journal has about it."""
        chain, vault, journal = keeper.policy.vault.chain_id, keeper.policy.vault.vault, relayer.journal
        record, payer = VaultRecord(journal, chain, vault), Address(relayer.account.address)
        treasury = Treasury(gas, relayer.endpoint, payer, GasRecord(journal, chain), keeper.events)
        return cls(keeper, relayer, record, Breakers(breakers, record, keeper.events), treasury)

    async def perform(self, report: Report) -> None:
        """One pass, noted in `report` as it goes. A duty that fails does not keep the next from being tried.

        Raises LeaseError and JournalError, which end everything, and what stops a pass before its duties.
        """
        policy = self.keeper.policy
        await self.treasury.look()
        await self.relayer.look_after(policy)
        lane = None if policy.health is None else policy.health.nonce_key
        if lane is not None:
            await self._try(report, self._defend(lane))
        for plan in self.record.open_plans():
            if plan.kind is Kind.SETTLEMENT or plan.slot[0] != lane:
                await self._try(report, self._resume(plan))
        taken: Snapshot | None = await self.keeper.snapshot()
        book = await self.keeper.book(taken)
        self.breakers.look(book)
        if to_settle(book):
            await self._try(report, self._begin(Kind.SETTLEMENT, taken=taken))
            # The vault is another one by now.
            taken = None
        await self._try(report, self._begin(Kind.BATCH, policy.nonce_key, taken))
        if to_close(book):
            await self._try(report, self._close(book.accounting.current_epoch))

    async def _try(self, report: Report, duty: Awaitable[str | None]) -> None:
        (ended,) = await asyncio.gather(duty, return_exceptions=True)
        if isinstance(ended, LeaseError | JournalError):
            raise ended
        if isinstance(ended, KeeperError) and only_waits(ended):
            report.waits.append(ended)
            chain, vault = self.record.chain_id, self.record.vault
            self.keeper.events.emit(Waited(chain_id=chain, vault=vault, reason=str(ended)))
        elif isinstance(ended, BaseException):
            # A defect, too, ours or a strategy's: it stops this duty, and not those by which people leave.
            self.breakers.judge(ended)
            report.errors.append(ended)
        elif ended is not None:
            report.did.append(ended)

    # PLANS

    async def _defend(self, nonce_key: int) -> str | None:
        """Debts whose health is below the policy's floor, before anything that could keep them waiting."""
        if (plan := self.record.open_plan(Kind.BATCH, nonce_key)) is not None:
            return await self._resume(plan)
        taken = await self.keeper.snapshot()
        if not defence.weak(await self.keeper.book(taken), self.keeper.policy):
            return None
        return await self._begin(Kind.BATCH, nonce_key, taken)

    async def _begin(
        self, kind: Kind, nonce_key: int | None = None, taken: Snapshot | None = None
    ) -> str | None:
        """Makes up its mind, by a snapshot or else the present, writes it down, and carries it out. Nothing
        while a plan of the kind, of batches one of the nonce key, is open, or the last one to be carried out
        is not as deep as a snapshot's blocks have to be."""
        if self.record.open_plan(kind, nonce_key) is not None:
            return None
        taken = taken or await self.keeper.snapshot()
        evidence: tuple[Evidence, ...] = ()
        if kind is Kind.BATCH and (stops := self._stops()):
            why = f"tripped: {', '.join(stops)}"
            evidence = (exits.evidence(why, taken.reference_time),)
        try:
            plan = await self.keeper.propose(kind, evidence, taken)
        except NothingToDoError:
            return None
        (pinned,) = [each.number for each in plan.blocks if each.chain_id == plan.chain_id]
        other = nonce_key is not None and plan.slot[0] != nonce_key
        if other or pinned < self.record.last_block() or self._stopped(plan):
            return None
        self.record.begin(plan)
        return await self._go_on(plan)

    async def _resume(self, plan: Plan) -> str | None:
        """Goes on with a plan of a former pass, unless somebody else, as anyone may, has relayed it."""
        rows = self.record.journal.transactions(key_of(plan))
        if not any(executed(row) for row in rows):
            source, policy = self.keeper.endpoint, self.keeper.policy
            receipt = await carried_out_by(source, policy, plan, await source.latest())
            if receipt is not None:
                late = await self.keeper.clock.now() > plan.valid_until
                return await self._conclude(plan, receipt, late=late)
        return await self._go_on(plan)

    async def _go_on(self, plan: Plan) -> str | None:
        """An open plan, from wherever it is to its end; None where only time can end it."""
        policy = self.keeper.policy
        rows = self.record.journal.transactions(key_of(plan))
        sent = any(row.at not in ENDED or executed(row) for row in rows)
        now = await self.keeper.clock.now()
        if now > plan.valid_until and not any(executed(row) for row in rows):
            # What is on its way is being cancelled, and the plan ends with that; and who has signed it signs
            # nothing in its place that could be carried out at the same moment.
            if sent or await self.keeper.reference_time() <= plan.valid_until:
                return None
            self._end(plan, EXPIRED)
            return f"gave up an expired {plan.kind}"
        if sent:
            receipt = await self.relayer.carry_on(plan, policy)
        elif self._stopped(plan) or now > plan.reference_time + policy.time.max_reference_age:
            # Nobody signs it any more, and who has signed it signs no other until it has expired.
            return None
        else:
            receipt = await self.relayer.submit(plan, await self._approved(plan), policy)
        return await self._conclude(plan, receipt, late=now > plan.valid_until)

    def _stopped(self, plan: Plan) -> bool:
        """Whether it adds risk, and that is forbidden."""
        return limits.raises_risk(plan) and bool(self._stops(plan))

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
                self._end(plan, REFUSED)
            raise

    async def _conclude(self, plan: Plan, receipt: Receipt, *, late: bool) -> str:
        """Reconciles a plan that was carried out, whoever has sent it, and ends it.

        Raises as `Keeper.reconcile`; ReconciliationError where that could not be read although it is `late`.
        """
        block = receipt.block.number
        try:
            await self.keeper.reconcile((plan,), receipt)
        except ReconciliationError as error:
            # First what stops risk: the plan that shows why is still there after a crash.
            self.breakers.judge(error)
            self._end(plan, DIVERGED, block)
            raise
        except (LeaseError, JournalError):
            raise
        except KeeperError as error:
            # An endpoint that lacks the block, or a policy by which that block cannot be read any more.
            if not late:
                raise
            unknown = ReconciliationError("A plan's outcome could not be read in time", seen=error)
            self.breakers.judge(unknown)
            self._end(plan, DIVERGED, block)
            raise unknown from error
        self._end(plan, EXECUTED, block)
        what = f"epoch {plan.settlement.epoch}" if plan.kind is Kind.SETTLEMENT else plan.batch.reason
        return f"{plan.kind} in block {block}: {what}"

    def _end(self, plan: Plan, how: str, block: int | None = None) -> None:
        self.record.end(plan, how, block)
        self.keeper.events.emit(
            PlanEnded(
                chain_id=plan.chain_id,
                vault=self.record.vault,
                plan=plan.plan_hash,
                kind=plan.kind.value,
                how=how,
            )
        )

    # EPOCHS

    async def _close(self, epoch: int) -> str:
        policy = self.keeper.policy
        vault = policy.vault
        call = Contract(vault.vault, "Vault").call("closeEpoch")
        order = Order(f"close/{vault.chain_id}/{vault.vault}/{epoch}", call, policy.limits.max_gas)
        await self.relayer.perform(order, policy)
        return f"closed epoch {epoch}"
