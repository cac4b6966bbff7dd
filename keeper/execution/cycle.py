"""One turn of the keeper: snapshot, plan, approval, execution, reconciliation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keeper import engine
from keeper.book import Book, open_book
from keeper.chain import snapshot
from keeper.chain.block import BlockRef
from keeper.chain.rpc import Source
from keeper.clock import Clock
from keeper.errors import ConfigError, RefusedError
from keeper.events import (
    EventStream,
    PlanBuilt,
    PlanRefused,
    PlanSigned,
    Reconciled,
    SignerEquivocated,
    SnapshotTaken,
)
from keeper.execution.fills import fills_of
from keeper.execution.look import Receipt
from keeper.execution.reconcile import Reconciliation, reconcile
from keeper.execution.relay import Relayer
from keeper.planning import quotes
from keeper.planning.evidence import Evidence
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval, TooFewSignaturesError, collect
from keeper.quorum.equivocation import Sightings
from keeper.quorum.requests import Proposer
from keeper.swap.client import LiFi

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
    without an open `lifi` nothing is sold through it."""

    policy: Policy
    endpoint: Source
    clock: Clock
    signers: Sequence[str]
    events: EventStream
    relayer: Relayer | None = None
    proposer: Proposer | None = None
    sightings: Sightings | None = None
    lifi: LiFi | None = None

    async def snapshot(self) -> snapshot.Snapshot:
        """The policy's call set at the chain's present."""
        taken = await snapshot.take(
            {self.policy.vault.chain_id: self.endpoint},
            engine.calls(self.policy),
            await self._reference_time(),
            self.policy.finality,
        )
        blocks = tuple((block.chain_id, block.number) for block in taken.blocks)
        self.events.emit(
            SnapshotTaken(snapshot=taken.hash, reference_time=taken.reference_time, blocks=blocks)
        )
        return taken

    async def _reference_time(self) -> int:
        """The present; where blocks count only so many below the head, the time of the last that does. For a
        later time another block would be the last, and signers refuse this one, as soon as the head moves."""
        now, depth = await self.clock.now(), self.policy.finality[self.policy.vault.chain_id]
        if not depth:
            return now
        head = await self.endpoint.latest()
        return min(now, (await self.endpoint.get_block(max(0, head.number - depth))).timestamp)

    async def book(self) -> Book:
        """The book of the chain's present, checked against the contracts."""
        return open_book(await self.snapshot(), self.policy)

    async def propose(self, kind: Kind, evidence: tuple[Evidence, ...] = ()) -> Plan:
        """The plan of that kind that follows from the present, the evidence, and the quotes that it asks for.

        Raises NothingToDoError when there is none, and as `LiFi.quote`.
        """
        taken = await self.snapshot()
        if kind is Kind.BATCH and self.lifi is not None:
            asked = engine.quote_requests(taken, self.policy, evidence)
            received = [await self.lifi.quote(each) for each in asked]
            evidence = (*evidence, *(quotes.evidence(each) for each in received))
        plan = engine.derive(taken, self.policy, kind, evidence)
        calls = len(plan.batch.calls) if plan.kind is Kind.BATCH else 0
        self.events.emit(
            PlanBuilt(plan=plan.plan_hash, snapshot=taken.hash, kind=plan.kind.value, calls=calls)
        )
        return plan

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
        return approval

    def _tell(self, plan: Plan, approval: Approval) -> None:
        for signature in approval.signatures:
            self.events.emit(PlanSigned(plan=plan.plan_hash, signer=signature.signer))
        for found in (each.evidence for each in approval.outcomes if each.evidence is not None):
            first, second = found.first.plan_hash, found.second.plan_hash
            self.events.emit(SignerEquivocated(signer=found.signer, first=first, second=second))
        for refusal in approval.refusals:
            self.events.emit(PlanRefused(plan=plan.plan_hash, signer=refusal.url, reason=refusal.reason))

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
        parent = await self._book_at(await self.endpoint.get_block(receipt.block.parent_hash))
        after = await self._book_at(receipt.block)
        others = await self._other_transactions(receipt.block)
        fills = () if self.policy.swap is None else fills_of(self.policy.swap, receipt.logs)
        result = reconcile(plans, parent, after, others=others, fills=fills)
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

    async def _book_at(self, block: BlockRef) -> Book:
        calls = engine.calls(self.policy)
        endpoints = {block.chain_id: self.endpoint}
        return open_book(await snapshot.take_at(endpoints, calls, [block], block.timestamp), self.policy)

    async def _other_transactions(self, block: BlockRef) -> int:
        raw = await self.endpoint.rpc("eth_getBlockByHash", ["0x" + block.hash.hex(), False])
        return len(raw["transactions"]) - 1
