"""One turn of the keeper: snapshot, plan, approval, execution, reconciliation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from keeper import engine
from keeper.book import Book, open_book
from keeper.chain import snapshot
from keeper.chain.rpc import Source
from keeper.chain.snapshot import Snapshot
from keeper.clock import Clock
from keeper.errors import ConfigError, KeeperError, PlanError, RefusedError
from keeper.events import (
    EventStream,
    NotReplayed,
    PlanApproved,
    PlanBuilt,
    PlanRefused,
    PlanSigned,
    QuoteFailed,
    Reconciled,
    SignerEquivocated,
    SnapshotTaken,
    VaultValued,
)
from keeper.execution.inclusion import Done, Inclusion
from keeper.execution.look import Receipt
from keeper.execution.reconcile import Reconciliation
from keeper.execution.relay import Relayer
from keeper.execution.worker import Worker
from keeper.ledger.vault import pps_high, pps_low
from keeper.planning import quotes
from keeper.planning.build import NothingToDoError
from keeper.planning.evidence import Evidence
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval, TooFewSignaturesError, collect
from keeper.quorum.equivocation import Sightings
from keeper.quorum.requests import Proposer
from keeper.swap.client import LiFi

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Turn:
    """What one turn did."""

    plan: Plan
    approval: Approval
    receipt: Receipt
    reconciliation: Reconciliation
    book: Book


@dataclass(frozen=True)
class Keeper:
    """A proposer: plans, asks the signers, relays what they approve; without a relayer it only plans, and
    without a key of its own that the policy lists nobody signs. `sightings` find dishonest signers out;
    without an open `lifi` nothing is sold through it. Vaults of one process share a `worker`."""

    policy: Policy
    endpoint: Source
    clock: Clock
    signers: Sequence[str]
    events: EventStream
    relayer: Relayer | None = None
    proposer: Proposer | None = None
    sightings: Sightings | None = None
    lifi: LiFi | None = None
    worker: Worker = field(default_factory=Worker)

    async def snapshot(self) -> Snapshot:
        """The policy's call set at the chain's present."""
        taken = await snapshot.take(
            {self.policy.vault.chain_id: self.endpoint},
            engine.calls(self.policy),
            await self.reference_time(),
            self.policy.finality,
        )
        blocks = tuple((block.chain_id, block.number) for block in taken.blocks)
        self.events.emit(
            SnapshotTaken(snapshot=taken.hash, reference_time=taken.reference_time, blocks=blocks)
        )
        return taken

    async def reference_time(self) -> int:
        """When a plan made now would begin: the present; where blocks count only so many below the head, the
        time of the last that does. For a later time another block would be the last, and signers refuse this
        one, as soon as the head moves."""
        now, depth = await self.clock.now(), self.policy.finality[self.policy.vault.chain_id]
        if not depth:
            return now
        head = await self.endpoint.latest()
        return min(now, (await self.endpoint.get_block(max(0, head.number - depth))).timestamp)

    async def book(self, taken: Snapshot | None = None) -> Book:
        """The book of a snapshot, by default of the chain's present, checked against the contracts."""
        book = await self._computed(open_book, taken or await self.snapshot(), self.policy)
        name, nav, accounting = self.policy.vault, book.nav, book.accounting
        self.events.emit(
            VaultValued(
                chain_id=name.chain_id,
                vault=name.vault,
                nav_low=nav.low,
                nav_high=nav.high,
                price_low=pps_low(nav.low, accounting.total_supply),
                price_high=pps_high(nav.high, accounting.total_supply),
                queued_shares=accounting.queued_shares,
            )
        )
        return book

    async def propose(
        self, kind: Kind, evidence: tuple[Evidence, ...] = (), taken: Snapshot | None = None
    ) -> Plan:
        """The plan of that kind that follows from a snapshot, by default of the present, the evidence, and
        the quotes that it asks for. What the keeper harvests by itself goes on without LiFi where that fails.

        Raises NothingToDoError when there is none, and with evidence as `LiFi.quote`.
        """
        taken = taken or await self.snapshot()
        received = await self._quotes(taken, kind, evidence)
        try:
            plan = await self._computed(engine.derive, taken, self.policy, kind, (*evidence, *received))
        except PlanError as error:
            # That is no fault of a quote: an honest one may still bring less than its gas costs.
            if isinstance(error, NothingToDoError) or evidence or not received:
                raise
            self._tell_no_quote(error)
            plan = await self._computed(engine.derive, taken, self.policy, kind)
        calls = len(plan.batch.calls) if plan.kind is Kind.BATCH else 0
        self.events.emit(
            PlanBuilt(
                chain_id=plan.chain_id,
                vault=self.policy.vault.vault,
                plan=plan.plan_hash,
                snapshot=taken.hash,
                kind=plan.kind.value,
                calls=calls,
            )
        )
        return plan

    async def _quotes(
        self, taken: Snapshot, kind: Kind, evidence: tuple[Evidence, ...]
    ) -> tuple[Evidence, ...]:
        if kind is not Kind.BATCH or self.lifi is None:
            return ()
        asked = await self._computed(engine.quote_requests, taken, self.policy, evidence)
        try:
            return tuple([quotes.evidence(await self.lifi.quote(each)) for each in asked])
        except KeeperError as error:
            if evidence:
                raise
            self._tell_no_quote(error)
            return ()

    def _tell_no_quote(self, error: KeeperError) -> None:
        vault = self.policy.vault
        self.events.emit(QuoteFailed(chain_id=vault.chain_id, vault=vault.vault, reason=str(error)))

    async def approve(self, plan: Plan, *, ask_all: bool = False) -> Approval:
        """Asks the signers. Raises TooFewSignaturesError with what each said."""
        if self.proposer is None:
            raise ConfigError("No proposer's key is configured", expected="a key that the policy lists")
        try:
            approval = await collect(
                plan,
                self.policy,
                self.signers,
                proposer=self.proposer,
                patience=PATIENCE_SECONDS,
                ask_all=ask_all,
                sightings=self.sightings,
            )
        except TooFewSignaturesError as error:
            self._tell(plan, error.approval)
            raise
        self._tell(plan, approval)
        name = self.policy.vault
        self.events.emit(
            PlanApproved(chain_id=name.chain_id, vault=name.vault, plan=plan.plan_hash, kind=plan.kind.value)
        )
        return approval

    def _tell(self, plan: Plan, approval: Approval) -> None:
        name = self.policy.vault
        for signature in approval.signatures:
            self.events.emit(
                PlanSigned(
                    chain_id=name.chain_id, vault=name.vault, plan=plan.plan_hash, signer=signature.signer
                )
            )
        for found in (each.evidence for each in approval.outcomes if each.evidence is not None):
            first, second = found.first.plan_hash, found.second.plan_hash
            self.events.emit(SignerEquivocated(signer=found.signer, first=first, second=second))
        for refusal in approval.refusals:
            self.events.emit(
                PlanRefused(
                    chain_id=name.chain_id,
                    vault=name.vault,
                    plan=plan.plan_hash,
                    signer=refusal.url,
                    code=refusal.code,
                    reason=refusal.reason,
                )
            )

    async def turn(self, kind: Kind) -> Turn:
        """One turn, from the chain's present to a reconciled block.

        Raises RefusedError without a relayer, and whatever stops a stage; ReconciliationError when the
        outcome is not the predicted one.
        """
        plan = await self.propose(kind)
        return await self.execute(plan, await self.approve(plan))

    async def execute(self, plan: Plan, approval: Approval) -> Turn:
        """Relays an approved plan and reconciles its block."""
        if self.relayer is None:
            raise RefusedError(
                "Dry run: no relayer key is configured",
                seen=f"plan 0x{plan.plan_hash.hex()}, approved",
                hint="Configure a key to send it.",
            )
        receipt = await self.relayer.submit(plan, approval, self.policy)
        result, after = await self.reconcile((plan,), receipt)
        return Turn(plan, approval, receipt, result, after)

    async def reconcile(self, plans: Sequence[Plan], receipt: Receipt) -> tuple[Reconciliation, Book]:
        """What the block did beside what the plans, in the order they were carried out in it, do; and the
        book after it. Raises ReconciliationError when the outcome is not the predicted one."""
        done = Done(tuple(plans), receipt)
        inclusion = Inclusion(self.endpoint, self.policy, receipt.block, (done,), self.worker)
        result, after = await inclusion.reconciled()
        if result.not_replayed:
            block = receipt.block
            self.events.emit(
                NotReplayed(chain_id=block.chain_id, block=block.number, reason=result.not_replayed)
            )
        for plan in plans:
            self.events.emit(
                Reconciled(
                    plan=plan.plan_hash,
                    elapsed_yield=result.elapsed_yield,
                    third_party=result.third_party,
                    unexplained=result.unexplained,
                )
            )
        result.require_explained()
        return result, after

    async def _computed(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.worker.run(self.policy.vault.place, work, *args, **kwargs)
