"""The book: what a snapshot is worth, position by position, in exact integers.

Every position is valued from stored protocol state by our own mathematics and then compared with what the
contract reports at the same block. A difference is an error that names the position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keeper.chain.call import Call, CallFailure
from keeper.chain.snapshot import Snapshot
from keeper.connectors.base import Position, Report
from keeper.errors import ValuationError
from keeper.exposures import Exposure, doubtful, gross, room
from keeper.ledger.portfolio import Impaired
from keeper.ledger.vault import PPS_ONE, Accounting, Params, limited, overdue, pps_low, redeem_limit
from keeper.oracle.quote import Status
from keeper.permissions import check_parts, check_permissions
from keeper.planning.policy import Policy
from keeper.reads import VaultReads
from keeper.swap.market import Market, look
from keeper.units import WAD, Address, Value, mul_div_up
from keeper.valuation import Must, Valuer, policy_prices, require_equal


@dataclass(frozen=True)
class Book:
    """The vault at one block. Amounts are in the vault's asset, `at` is the hub block's timestamp.

    `positions` are sorted by venue; `marks` is what the portfolio last marked each at (low), by venue;
    `caps` is the most that each venue may hold if no other counts under its risk ids, less the interest until
    a plan expires, and 0 where risk may not rise; `reserve` is what the redemption queue will need at the
    next settlement; until `risk_paused_until` deposits roll. `isolated` are the connectors of which a batch
    reads no more positions than it names. `exposures` has every risk id, by name; `market` is what swaps are
    judged by, where the policy allows any. `defence_nonce` is the next of the policy's `health.nonce_key`.
    """

    at: int
    idle: int
    positions: tuple[Position, ...]
    marks: Mapping[str, int] = field(hash=False)
    caps: Mapping[str, int] = field(hash=False)
    reserve: int
    accounting: Accounting
    params: Params
    nonce: int
    signer_set_version: int
    healthy: bool
    risk_paused_until: int
    isolated: frozenset[Address] = frozenset()
    exposures: tuple[Exposure, ...] = ()
    market: Market | None = field(default=None, hash=False)
    defence_nonce: int = 0

    @property
    def nav(self) -> Value:
        """Idle assets and every position, as a range."""
        return self.nav_at(self.at)

    def nav_at(self, at: int) -> Value:
        """The same later on, when nothing but interest has happened since."""
        total = Value(self.idle, self.idle)
        for position in self.positions:
            total += position.report(at).value
        return total

    @property
    def total(self) -> int:
        """Low NAV."""
        return self.nav.low

    @property
    def reports(self) -> dict[str, Report]:
        """What each position reports, by venue."""
        return {position.ref.venue: position.report(self.at) for position in self.positions}

    @property
    def allocation(self) -> dict[str, int]:
        """Low value by venue."""
        return {venue: report.low for venue, report in self.reports.items()}

    @property
    def gross(self) -> int:
        """Idle assets and what positions own, debts not taken off. Less `debt` it is NAV at the high end."""
        return self.idle + sum(gross(report) for report in self.reports.values())

    @property
    def debt(self) -> int:
        """What positions owe, at the low end."""
        return sum(report.debt for report in self.reports.values())

    @property
    def impaired(self) -> dict[str, str]:
        """The positions that the portfolio cannot read, by venue, and why."""
        return {each.ref.venue: each.reason for each in self.positions if isinstance(each, Impaired)}


def open_book(snapshot: Snapshot, policy: Policy) -> Book:
    """The book of the policy's vault in `snapshot`.

    Raises ValuationError when the contracts value a position otherwise than we do, and PolicyError when the
    chain grants other permissions than the policy.
    """
    hub = policy.vault.chain_id
    reads = VaultReads(policy)
    at = snapshot.block(hub).timestamp

    def read(call: Call[Any]) -> Any:
        return snapshot.result(hub, call)

    def must(call: Call[Any]) -> Any:
        result = read(call)
        if isinstance(result, CallFailure):
            raise ValuationError(
                "A read of the vault failed",
                seen=result.data,
                where=call.label,
                hint="Check that the policy names this chain's contracts.",
            )
        return result

    check_parts(policy, reads, read)
    check_permissions(policy, reads, must)
    worth = policy_prices(policy, read, at)
    entries = sorted(policy.positions, key=lambda each: each.venue)
    valuer = Valuer(reads, read, must, worth, at)
    book = Book(
        at=at,
        idle=must(reads.idle),
        positions=tuple(valuer.value(each) for each in entries),
        marks={each.venue: must(reads.mark(each))[0] for each in entries},
        caps={},
        reserve=0,
        accounting=Accounting.from_abi(must(reads.accounting)),
        params=Params.from_abi(must(reads.params)),
        nonce=must(reads.nonce),
        signer_set_version=must(reads.signer_set_version) if reads.signer_set_version else 0,
        healthy=True,
        risk_paused_until=must(reads.paused_until),
        isolated=frozenset(each.address for each in entries if must(reads.isolated(each))),
        defence_nonce=must(reads.defence_nonce) if reads.defence_nonce else 0,
        market=None if policy.swap is None else look(policy.swap, read, worth, snapshot.block(hub).base_fee),
    )
    reports = book.reports
    healthy = all(report.status is Status.OK for report in reports.values())
    later = {each.ref.venue: each.report(at + policy.time.validity) for each in book.positions}
    exposures = _exposures(policy, reads, must, reports, later)
    closed = _closed(policy, reads, must, book)
    most = room(exposures, reports, later)
    caps = {each.venue: 0 if each.venue in closed else most[each.venue] for each in entries}
    book = replace(book, healthy=healthy, exposures=exposures, caps=caps)
    (low, high), their_health = must(reads.nav)
    require_equal("net asset value", book.nav, Value(low, high))
    if healthy != their_health:
        raise ValuationError(
            "Our verdict on the net asset value differs from the contract's",
            expected="healthy" if healthy else "in doubt",
            seen="healthy" if their_health else "in doubt",
        )
    return _exits_first(_with_reserve(book, policy), policy)


def _exposures(
    policy: Policy,
    reads: VaultReads,
    must: Must,
    reports: Mapping[str, Report],
    later: Mapping[str, Report],
) -> tuple[Exposure, ...]:
    """Every risk id; what the marks say must be what the portfolio counts."""
    marked = {
        each.venue: must(reads.mark(each))[1] + must(reads.marked_debt(each)) for each in policy.positions
    }
    found = []
    for name, allowed in sorted(policy.caps.items()):
        venues = policy.members(name)
        counted = sum(marked[venue] for venue in venues)
        seen = must(reads.exposure(name))
        if counted != seen:
            raise ValuationError(
                "The portfolio counts another exposure than its positions' marks",
                expected=f"{counted:,} from {', '.join(venues)}",
                seen=f"{seen:,}",
                where=f"risk id {name}",
            )
        live, grown = (sum(gross(each[venue]) for venue in venues) for each in (reports, later))
        found.append(Exposure(name, venues, counted, live, grown, allowed, must(reads.cap(name))))
    return tuple(found)


def _closed(policy: Policy, reads: VaultReads, must: Must, book: Book) -> frozenset[str]:
    """Venues that may not grow (`PostConditions._checkExposures`): all while risk is paused, those of
    exit-only connectors, and those in doubt. Of a connector with a split-off position none grows either."""
    if book.at < book.risk_paused_until:
        return frozenset(each.venue for each in policy.positions)
    in_doubt = doubtful(book.positions, book.isolated, book.at)
    split_off, since, _, _ = must(reads.pocket)
    return frozenset(
        each.venue
        for each in policy.positions
        if must(reads.exit_only(each)) or each.venue in in_doubt or (since and each.address == split_off)
    )


def _with_reserve(book: Book, policy: Policy) -> Book:
    """Sets aside what everyone who asked to leave is owed, at the price it may have grown to when the plan
    that frees it ends."""
    a, p = book.accounting, book.params
    until = book.at + policy.time.validity
    growth = WAD + p.max_rate * policy.time.validity
    grown = mul_div_up(pps_low(book.total, a.total_supply), growth, WAD)
    price = limited(grown, redeem_limit(a, p, book.total, until))
    reserve = mul_div_up(a.queued_shares + a.open_redeems, price, PPS_ONE)
    return replace(book, reserve=min(reserve, book.total))


def _exits_first(book: Book, policy: Policy) -> Book:
    """No venue may grow while the queue is too old, or will be before the plan ends: the portfolio would
    refuse it (`ExitsOverdue`)."""
    if not overdue(book.accounting, book.params, book.at + policy.time.validity):
        return book
    return replace(book, caps={venue: min(book.caps[venue], held) for venue, held in book.allocation.items()})
