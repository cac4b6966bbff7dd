"""From a policy and a snapshot to the plan: the pure middle, the same on the keeper and on every signer."""

from dataclasses import replace
from typing import Any

from keeper import ENGINE_VERSION
from keeper.book import Book, open_book
from keeper.chain import lens
from keeper.chain.call import Call
from keeper.chain.snapshot import Snapshot
from keeper.connectors.base import load
from keeper.errors import DecodeError, PlanError, PolicyError
from keeper.ledger.vault import settle
from keeper.oracle import routes
from keeper.planning import budgets, defence, harvest, quotes
from keeper.planning import strategy as strategies
from keeper.planning.build import (
    Basis,
    NothingToDoError,
    build_batch,
    build_defence,
    build_settlement,
    is_reached,
)
from keeper.planning.evidence import Evidence, check_ages, decide
from keeper.planning.intents import settled
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.planning.stamps import CodeStamp, PinnedBlock, StrategyStamp
from keeper.planning.strategy import Allocation, Strategy
from keeper.reads import VaultReads
from keeper.risk import limits
from keeper.swap import market
from keeper.swap.models import SwapRequest


def calls(policy: Policy) -> dict[int, tuple[Call[Any], ...]]:
    """Every read a plan for this policy rests on, by chain."""
    positions = (call for ref in policy.refs() for call in load(ref.connector).calls(ref))
    oracle = () if policy.oracle is None else routes.calls(policy.oracle)
    pools = () if policy.swap is None else market.calls(policy.swap)
    return {policy.vault.chain_id: (*VaultReads(policy).all(), *oracle, *positions, *pools)}


def require_call_set(snapshot: Snapshot, policy: Policy) -> None:
    """Raises DecodeError unless the snapshot holds exactly the reads that the policy asks for, and no
    history."""
    held = {
        (block.chain_id, result.target, result.data)
        for block, results in zip(snapshot.blocks, snapshot.results, strict=True)
        for result in results
    }
    wanted = {(chain, call.target, call.data) for chain, each in calls(policy).items() for call in each}
    if wanted != held or snapshot.history:
        raise DecodeError(
            "The snapshot is not of this policy",
            expected=f"{len(wanted)} calls",
            seen=f"{len(wanted - held)} of them missing, {len(held - wanted)} others, "
            f"{len(snapshot.history)} histories",
        )


def derive(
    snapshot: Snapshot,
    policy: Policy,
    kind: Kind,
    evidence: tuple[Evidence, ...] = (),
    parent: bytes | None = None,
) -> Plan:
    """The one plan of this kind that follows from the snapshot and the evidence, as a leg of `parent`.

    Evidence that asks for an allocation decides in the strategy's place. A defence rests on the book alone,
    and carries no evidence. What is harvested without anybody's asking gets a batch of its own, once nothing
    else is to be done. Raises NothingToDoError when there is nothing to do or that batch is refused,
    PlanError when no epoch waits for settlement or evidence does not hold, and whatever `open_book` refuses.
    """
    check_ages(evidence, snapshot.reference_time, policy)
    book = open_book(snapshot, policy)
    defended = defence.defend(book, policy) if kind is Kind.BATCH else None
    if defence.weak(book, policy):
        book = defence.closed(book)
    asked = None if defended else decide(evidence, book, policy)
    checked = quotes.of(evidence, book, policy)
    strategy = load_strategy(policy)
    basis = Basis(
        snapshot_hash=snapshot.hash,
        blocks=tuple(PinnedBlock(b.chain_id, b.number, b.hash, b.timestamp) for b in snapshot.blocks),
        reference_time=snapshot.reference_time,
        code=code_stamp(strategy),
        signer_set_version=book.signer_set_version,
        nonce=book.nonce,
        evidence=evidence,
        parent=parent,
    )
    if kind is Kind.SETTLEMENT:
        if asked is not None or checked:
            raise PlanError("Evidence asks for a batch, and this is a settlement")
        return _settlement(policy, book, basis)
    if defended is not None and policy.health is not None:
        # A quote would be one that nothing rests on.
        harvest.harvest(book, policy, (), checked)
        lane = policy.health.nonce_key
        # Nor is anything else: carried along unjudged, it would make many plans of one defence.
        basis = replace(basis, nonce=book.defence_nonce, evidence=())
        return build_defence(policy, book, defended.calls, defended.reason, lane, basis)
    allocation = asked or settled(strategies.decided(strategy, book), book)
    if not _harvests_by_itself(book, policy, asked, allocation):
        found = harvest.harvest(book, policy, allocation.harvests, checked)
        return _allowed(book, policy, build_batch(policy, book, allocation, basis, found))
    found = harvest.by_itself(book, policy, checked)
    try:
        return _allowed(book, policy, build_batch(policy, book, allocation, basis, found))
    except NothingToDoError:
        raise
    except (PlanError, PolicyError) as error:
        # Nobody asked for it, and so it is no failure.
        raise NothingToDoError(
            "The vault is already where the allocation wants it, and the harvest that is due is not allowed",
            hint=str(error),
        ) from error


def quote_requests(
    snapshot: Snapshot, policy: Policy, evidence: tuple[Evidence, ...] = ()
) -> tuple[SwapRequest, ...]:
    """The quotes that a batch from this snapshot and evidence needs; none where nothing is to be sold, or the
    policy knows no LiFi. Raises as `derive`."""
    if policy.swap is None or policy.swap.lifi is None:
        return ()
    check_ages(evidence, snapshot.reference_time, policy)
    book = open_book(snapshot, policy)
    if defence.weak(book, policy):
        return ()
    asked = decide(evidence, book, policy)
    allocation = asked or settled(strategies.decided(load_strategy(policy), book), book)
    if _harvests_by_itself(book, policy, asked, allocation):
        _, sales = harvest.due(book, policy)
    elif allocation.harvests:
        _, sales = harvest.wanted(book, policy, allocation.harvests)
    else:
        sales = ()
    return harvest.quote_requests(policy, sales)


def _harvests_by_itself(book: Book, policy: Policy, asked: Allocation | None, allocation: Allocation) -> bool:
    """Whether nobody has said what is to be harvested, and nothing else is to be done. A harvest keeps what
    it does not sell and rests on prices and routes: a batch with one may be refused, by limits or on chain,
    where its moves alone would pass. While a debt is in danger nothing is harvested."""
    return (
        asked is None
        and not allocation.harvests
        and not defence.weak(book, policy)
        and is_reached(policy, book, allocation)
    )


def _allowed(book: Book, policy: Policy, plan: Plan) -> Plan:
    limits.allowed(book, policy, plan)
    # What exceeds a budget by itself nobody would ever sign.
    budgets.check(policy, plan, ())
    return plan


def _settlement(policy: Policy, book: Book, basis: Basis) -> Plan:
    epoch = book.accounting.closed_epoch
    if epoch is None:
        raise PlanError(
            "No epoch waits for settlement",
            expected=f"epoch {book.accounting.current_epoch} closed",
            seen="still open",
            hint="Close the epoch first; anyone may.",
        )
    if book.at <= book.accounting.epoch_closed_at:
        raise PlanError(
            "The snapshot is not later than the close of the epoch",
            expected=f"> {book.accounting.epoch_closed_at}",
            seen=book.at,
        )
    if book.at < book.accounting.window_ends_at:
        raise PlanError(
            "A loss window is open: queued redemptions may be cancelled, and nothing settles",
            expected=f"a snapshot from {book.accounting.window_ends_at} on",
            seen=book.at,
            hint="Settle when the window has ended.",
        )
    predicted = settle(
        book.accounting,
        book.params,
        idle=book.idle,
        nav=book.nav,
        healthy=book.healthy,
        at=book.at,
        risk_paused_until=book.risk_paused_until,
    )
    return build_settlement(policy, epoch, predicted.redeem_pps, basis)


def load_strategy(policy: Policy) -> Strategy:
    """The policy's strategy with its parameters. Raises ConfigError when either does not fit."""
    return strategies.load(policy.strategy.name, policy.strategy.params)


def code_stamp(strategy: Strategy) -> CodeStamp:
    """Which code this machine runs: where two stamps differ, results are not comparable."""
    return CodeStamp(
        engine_version=ENGINE_VERSION,
        lens_code_hash=lens.code_hash(),
        strategy=StrategyStamp(
            name=strategy.name,
            version=strategy.version,
            params=strategy.params.model_dump(mode="json"),
            source_digest=strategies.source_digest(strategy),
        ),
    )
