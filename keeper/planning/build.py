"""From an allocation to the exact calls that reach it, and from a price to the terms of a settlement.

Pure: the same book, allocation, policy and basis give the same plan on every machine.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from keeper.connectors.base import EVERYTHING, Position
from keeper.errors import PlanError
from keeper.exposures import doubtful
from keeper.ledger.portfolio import touched
from keeper.planning.actions import SWAP
from keeper.planning.calls import PlannedCall
from keeper.planning.evidence import Evidence
from keeper.planning.harvest import NOTHING, Harvest
from keeper.planning.outcome import after_calls, least_nav, predict
from keeper.planning.plan import MAX_REASON, BatchTerms, Plan, SettlementTerms, Terms
from keeper.planning.policy import Policy
from keeper.planning.stamps import CodeStamp, PinnedBlock
from keeper.planning.strategy import Allocation
from keeper.units import BPS, Address, mul_div_down, mul_div_up


class NothingToDoError(PlanError):
    """The vault is already where the allocation wants it."""


class Holdings(Protocol):
    """What a batch is built from; `keeper.book.Book` is one. Amounts in the vault's asset."""

    @property
    def at(self) -> int:
        """Timestamp of the hub block."""
        ...

    @property
    def idle(self) -> int:
        """Assets at hand."""
        ...

    @property
    def reserve(self) -> int:
        """Assets that have to stay at hand for the redemption queue."""
        ...

    @property
    def positions(self) -> tuple[Position, ...]:
        """Every allow-listed position, sorted by venue."""
        ...

    @property
    def marks(self) -> Mapping[str, int]:
        """What the portfolio last marked each position at (low), by venue."""
        ...

    @property
    def isolated(self) -> Collection[Address]:
        """Connectors whose positions are independent of one another."""
        ...


@dataclass(frozen=True)
class Basis:
    """What a plan rests on, from the snapshot: pinned blocks, code, signer set, and the next nonce of the
    policy's nonce key (batches only); and from outside it the evidence, and the hash of the parent plan."""

    snapshot_hash: bytes
    blocks: tuple[PinnedBlock, ...]
    reference_time: int
    code: CodeStamp
    signer_set_version: int
    nonce: int
    evidence: tuple[Evidence, ...] = ()
    parent: bytes | None = None


_DRIFT: Final = 1_000
"""A part of what redemptions ask for that is too little to be fetched by itself: it waits for the next."""


@dataclass(frozen=True)
class _Move:
    """`leaves` says that it takes everything, which is worth about `assets`."""

    venue: str
    assets: int
    leaves: bool = False


def build_batch(
    policy: Policy, book: Holdings, allocation: Allocation, basis: Basis, harvest: Harvest = NOTHING
) -> Plan:
    """The batch that takes the vault to `allocation`: withdrawals first, then the harvest, then supplies.

    A venue whose target is 0 is left by a full exit. Moves below the policy's `min_move` are left out, but
    for exits and for what redemptions wait for; what such a withdrawal would have brought is taken off the
    supplies, the largest first, before they are judged, so that what should stay idle does. Where the policy
    allows fewer calls, the smallest moves wait for the next batch, supplies before withdrawals. A withdrawal
    that touches a position in doubt waits until there is nothing else to do, and is then the only one.
    `min_nav_after` is the least low NAV that the portfolio counts for these calls at any time until the plan
    ends, less `max_loss`, which allows the policy's rounding loss for every call. What swaps bring at the
    least is asked for as well, and what they lose at the most is allowed.

    Raises NothingToDoError when no move is left; PlanError when the allocation does not name every venue
    once, asks for more than a venue lets go or the vault has; PolicyError when the policy forbids the result.
    """
    room = policy.limits.max_calls - len(harvest.calls)
    withdrawals, supplies = _fitting(room, *_moves(policy, book, allocation))
    if not withdrawals and not supplies and not harvest.calls:
        raise NothingToDoError("The vault is already where the allocation wants it", hint=allocation.reason)
    out, into = (
        tuple(_call(policy, move, withdraw=withdraw) for move in moves)
        for moves, withdraw in ((withdrawals, True), (supplies, False))
    )
    calls = (*out, *harvest.calls, *into)
    _, idle = after_calls(book, calls, book.at)
    _check_reserve(book, idle, spends=bool(supplies))
    gain = _gain(book, harvest.calls)
    max_loss = policy.limits.rounding_loss_per_call * len(calls) + max(0, -gain)
    read = touched(((call.target, call.data) for call in calls), book.positions, book.isolated)
    nav_low = least_nav(book, book.marks, read, book.at, basis.reference_time + policy.time.validity)
    floor = max(nav_low + max(0, gain) - max_loss, 0)
    reason = " ".join(each for each in (allocation.reason, harvest.reason) if each)
    return _batch(policy, book, basis, calls, (policy.nonce_key, floor, max_loss), reason)


def is_reached(policy: Policy, book: Holdings, allocation: Allocation) -> bool:
    """Whether no move is left. Raises as `build_batch`."""
    return _moves(policy, book, allocation) == ((), ())


def build_defence(
    policy: Policy, book: Holdings, calls: tuple[PlannedCall, ...], reason: str, nonce_key: int, basis: Basis
) -> Plan:
    """The batch that makes these calls for the sake of a debt, under a nonce key of its own.

    No value is asked for: whatever prices do until it is included, repaying is right, and what the batch
    itself loses is bounded by `max_loss`. Raises as `build_batch`.
    """
    sells = any(call.venue == SWAP for call in calls)
    lost = max(0, -_gain(book, calls)) if sells else 0
    max_loss = policy.limits.rounding_loss_per_call * len(calls) + lost
    return _batch(policy, book, basis, calls, (nonce_key, 0, max_loss), reason)


def _batch(
    policy: Policy,
    book: Holdings,
    basis: Basis,
    calls: tuple[PlannedCall, ...],
    bounds: tuple[int, int, int],
    reason: str,
) -> Plan:
    """`bounds` are the nonce key, the least NAV afterwards, and the most that may be lost."""
    ends = basis.reference_time, basis.reference_time + policy.time.validity
    first, last = (tuple(sorted(predict(book, calls, at).items())) for at in ends)
    nonce_key, floor, max_loss = bounds
    return _finish(
        policy,
        basis,
        BatchTerms(
            nonce_key=nonce_key,
            nonce=basis.nonce,
            executor=policy.executor,
            calls=calls,
            predicted=first,
            predicted_until=last,
            min_nav_after=floor,
            max_loss=max_loss,
            reason=reason[:MAX_REASON],
        ),
    )


def build_settlement(policy: Policy, epoch: int, pps: int, basis: Basis) -> Plan:
    """Permission to settle `epoch` at the policy's tolerance around `pps`, the redemption price predicted at
    the snapshot (assets per share scaled by 1e27).

    Raises PlanError for a price of 0, PolicyError when the policy forbids the result.
    """
    if pps <= 0:
        raise PlanError("A settlement needs a price per share above 0", seen=pps)
    tolerance = policy.limits.pps_tolerance_bps
    terms = SettlementTerms(
        epoch=epoch,
        min_pps=mul_div_down(pps, BPS - tolerance, BPS),
        max_pps=mul_div_up(pps, BPS + tolerance, BPS),
    )
    return _finish(policy, basis, terms)


def _gain(book: Holdings, calls: tuple[PlannedCall, ...]) -> int:
    """What calls add to low NAV if their swaps bring no more than is signed; negative where they lose."""
    if not calls:
        return 0
    positions, idle = after_calls(book, calls, book.at)
    before, after = (sum(each.report(book.at).low for each in held) for held in (book.positions, positions))
    return idle + after - book.idle - before


def _finish(policy: Policy, basis: Basis, terms: Terms) -> Plan:
    plan = Plan(
        vault=policy.vault.vault,
        chain_id=policy.vault.chain_id,
        snapshot_hash=basis.snapshot_hash,
        blocks=basis.blocks,
        reference_time=basis.reference_time,
        policy_hash=policy.hash,
        code=basis.code,
        signer_set_version=basis.signer_set_version,
        valid_after=basis.reference_time,
        valid_until=basis.reference_time + policy.time.validity,
        terms=terms,
        evidence=basis.evidence,
        parent=basis.parent,
    )
    policy.check(plan)
    return plan


def _moves(
    policy: Policy, book: Holdings, allocation: Allocation
) -> tuple[tuple[_Move, ...], tuple[_Move, ...]]:
    held = [position.ref.venue for position in book.positions]
    wanted = [venue for venue, _ in allocation.targets]
    if held != wanted:
        raise PlanError("The allocation does not name every venue once", expected=held, seen=wanted)
    targets = dict(allocation.targets)
    possible = _withdrawals(policy, book, targets)
    # With a position in doubt beside others the portfolio refuses the batch (`ImpairedNotAlone`).
    alone = doubtful(book.positions, book.isolated, book.at)
    withdrawals = tuple(move for move in possible if move.venue not in alone)
    supplies = tuple(_supplies(policy, book, targets))
    affordable = tuple(_affordable(policy, supplies, _left_out(book, targets, withdrawals)))
    if withdrawals or affordable:
        return withdrawals, affordable
    return possible[:1], ()


def _left_out(book: Holdings, targets: dict[str, int], withdrawals: tuple[_Move, ...]) -> int:
    """What the allocation counts on and no withdrawal brings, because the move is too small."""
    made = {move.venue for move in withdrawals}
    left = {each.ref.venue: each.report(book.at).low for each in book.positions if each.ref.venue not in made}
    return sum(max(0, value - targets[venue]) for venue, value in left.items())


def _affordable(policy: Policy, supplies: tuple[_Move, ...], missing: int) -> Iterator[_Move]:
    """The supplies less what is missing, taken from the largest first, the first of equals."""
    left: dict[str, int] = {}
    for move in sorted(supplies, key=_size):
        assets = max(0, move.assets - missing)
        left[move.venue] = assets if assets >= policy.limits.min_move else 0
        missing = max(0, missing - move.assets + left[move.venue])
    for move in supplies:
        if left[move.venue]:
            yield _Move(move.venue, left[move.venue])


def _fitting(
    room: int, withdrawals: tuple[_Move, ...], supplies: tuple[_Move, ...]
) -> tuple[tuple[_Move, ...], tuple[_Move, ...]]:
    """The largest of them, as many as calls are allowed; who leaves comes first. The rest is for the next
    batch."""
    out = set(sorted(withdrawals, key=_size)[: max(0, room)])
    into = set(sorted(supplies, key=_size)[: max(0, room - len(out))])
    return tuple(m for m in withdrawals if m in out), tuple(m for m in supplies if m in into)


def _size(move: _Move) -> tuple[int, str]:
    """To sort the largest first."""
    return -move.assets, move.venue


def _withdrawals(policy: Policy, book: Holdings, targets: dict[str, int]) -> tuple[_Move, ...]:
    """Those that are worth a call; of the others, the largest first, as many as redemptions need beside."""
    wanted = tuple(_excesses(book, targets))
    made = {move for move in wanted if move.leaves or move.assets >= policy.limits.min_move}
    missing = book.reserve - book.idle - sum(move.assets for move in made)
    # What is asked for grows by the yield of what was taken out for it.
    least = max(1, min(policy.limits.min_move, book.reserve // _DRIFT))
    for move in sorted(wanted, key=_size):
        if move not in made and missing >= least:
            made.add(move)
            missing -= move.assets
    return tuple(move for move in wanted if move in made)


def _excesses(book: Holdings, targets: dict[str, int]) -> Iterator[_Move]:
    for position in book.positions:
        venue = position.ref.venue
        value = position.report(book.at).low
        excess = value - targets[venue]
        if excess <= 0:
            continue
        available = position.max_withdraw(book.at)
        if excess > available:
            raise PlanError(
                "The allocation takes out more than the venue lets go",
                expected=f"at most {available:,}",
                seen=f"{excess:,}",
                where=venue,
            )
        yield _Move(venue, excess, leaves=targets[venue] == 0)


def _supplies(policy: Policy, book: Holdings, targets: dict[str, int]) -> Iterator[_Move]:
    for position in book.positions:
        venue = position.ref.venue
        missing = targets[venue] - position.report(book.at).low
        if missing > 0 and missing >= policy.limits.min_move:
            yield _Move(venue, missing)


def _check_reserve(book: Holdings, idle: int, *, spends: bool) -> None:
    """Withdrawals alone may leave the queue short; supplies may not."""
    if idle < 0 or (spends and idle < book.reserve):
        raise PlanError(
            "The allocation supplies what the vault does not have at hand",
            expected=f"at least {book.reserve:,} idle afterwards",
            seen=f"{idle:,}",
        )


def _call(policy: Policy, move: _Move, *, withdraw: bool) -> PlannedCall:
    position = policy.position(move.venue)
    make = PlannedCall.withdraw if withdraw else PlannedCall.supply
    return make(
        target=position.address,
        token=policy.vault.asset,
        venue=move.venue,
        key=position.key,
        assets=EVERYTHING if move.leaves else move.assets,
    )
