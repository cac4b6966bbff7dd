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
from keeper.connectors.base import Position, load
from keeper.contracts import Contract
from keeper.errors import DecodeError, PolicyError, ValuationError
from keeper.ledger.portfolio import SplitOff
from keeper.ledger.vault import PPS_ONE, Accounting, Params, overdue, pps_low, redeem_limit
from keeper.oracle.quote import Prices
from keeper.oracle.routes import prices
from keeper.planning.policy import Policy, PositionPolicy
from keeper.units import WAD, Address, Value, mul_div_up


@dataclass(frozen=True)
class Book:
    """The vault at one block. Amounts are in the vault's asset, `at` is the hub block's timestamp.

    `positions` are sorted by venue; `marks` is what the portfolio last marked each at (low), by venue;
    `caps` is the most that each venue may hold, and 0 where risk may not rise; `reserve` is what the
    redemption queue will need at the next settlement; until `risk_paused_until` deposits roll. `isolated` are
    the connectors of which a batch reads no more positions than it names.
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
    def allocation(self) -> dict[str, int]:
        """Low value by venue."""
        return {position.ref.venue: position.report(self.at).low for position in self.positions}


@dataclass(frozen=True)
class VaultReads:
    """Every read of our own contracts that a book rests on."""

    policy: Policy

    @property
    def parts(self) -> dict[str, Call[Any]]:
        """Where the vault itself says its parts are, by their names in the policy."""
        own = {name: self._vault.call(name) for name in ("portfolio", "escrow", "registry", "asset")}
        return {**own, "vault": self._quorum.call("vault")}

    @property
    def accounting(self) -> Call[Any]:
        return self._vault.call("accounting")

    @property
    def params(self) -> Call[Any]:
        return self._vault.call("params")

    @property
    def idle(self) -> Call[Any]:
        return self._portfolio.call("idle")

    @property
    def nav(self) -> Call[Any]:
        return self._portfolio.call("nav")

    @property
    def pocket(self) -> Call[Any]:
        return self._portfolio.call("pocket")

    @property
    def nonce(self) -> Call[Any]:
        return self._portfolio.call("nextNonce", self.policy.nonce_key)

    @property
    def positions(self) -> Call[Any]:
        return self._registry.call("positions", self.policy.vault.vault)

    @property
    def keeper(self) -> Call[Any]:
        return self._registry.call("keeper", self.policy.vault.vault)

    @property
    def paused_until(self) -> Call[Any]:
        return self._registry.call("riskPausedUntil", self.policy.vault.vault)

    @property
    def oracle(self) -> Call[Any]:
        return self._registry.call("oracle", self.policy.vault.vault)

    @property
    def signers(self) -> Call[Any]:
        return self._quorum.call("signers")

    @property
    def threshold(self) -> Call[Any]:
        return self._quorum.call("threshold")

    @property
    def signer_set_version(self) -> Call[Any]:
        return self._quorum.call("signerSetVersion")

    def position_value(self, position: PositionPolicy) -> Call[Any]:
        return self._portfolio.call("positionValue", position.address, position.key)

    def mark(self, position: PositionPolicy) -> Call[Any]:
        return self._portfolio.call("marks", position.address, position.key)

    def exit_only(self, position: PositionPolicy) -> Call[Any]:
        return self._registry.call("isExitOnly", self.policy.vault.vault, position.address)

    def isolated(self, position: PositionPolicy) -> Call[Any]:
        return self._registry.call("isIsolated", self.policy.vault.vault, position.address)

    def all(self) -> tuple[Call[Any], ...]:
        """All of them, for the snapshot's call set."""
        single = (
            self.accounting,
            self.params,
            self.idle,
            self.nav,
            self.pocket,
            self.nonce,
            self.positions,
            self.keeper,
            self.paused_until,
            self.oracle,
            self.signers,
            self.threshold,
            self.signer_set_version,
        )
        listed = self.policy.positions
        return (
            *self.parts.values(),
            *single,
            *(self.position_value(position) for position in listed),
            *(self.mark(position) for position in listed),
            *(self.exit_only(position) for position in listed),
            *(self.isolated(position) for position in listed),
        )

    @property
    def _vault(self) -> Contract:
        return Contract(self.policy.vault.vault, "Vault")

    @property
    def _portfolio(self) -> Contract:
        return Contract(self.policy.vault.portfolio, "Portfolio")

    @property
    def _registry(self) -> Contract:
        return Contract(self.policy.vault.registry, "Registry")

    @property
    def _quorum(self) -> Contract:
        return Contract(self.policy.vault.quorum, "KeeperQuorum")


def open_book(snapshot: Snapshot, policy: Policy) -> Book:
    """The book of the policy's vault in `snapshot`.

    Raises ValuationError when a position cannot be valued or the contracts value it otherwise, and
    PolicyError when the chain grants other permissions than the policy.
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

    _check_parts(policy, reads, read)
    _check_permissions(policy, reads, must)
    worth = _prices(policy, read, at)
    accounting = Accounting.from_abi(must(reads.accounting))
    params = Params.from_abi(must(reads.params))
    split_off, since, split_key, _ = must(reads.pocket)
    positions = tuple(
        SplitOff(ref, must(reads.mark(policy.position(ref.venue)))[1])
        if since and (ref.address, ref.key) == (split_off, split_key)
        else load(ref.connector).position(ref, read, worth, at)
        for ref in policy.refs()
    )
    idle = must(reads.idle)
    healthy = True
    for position in positions:
        (low, high), position_healthy = must(reads.position_value(policy.position(position.ref.venue)))
        _must_agree(position.ref.venue, position.report(at).value, Value(low, high))
        healthy = healthy and position_healthy
    paused_until = must(reads.paused_until)
    paused = at < paused_until
    # Nothing may be pushed to a connector of which a position is split off.
    caps = {
        each.venue: 0
        if paused or must(reads.exit_only(each)) or (since and each.address == split_off)
        else each.cap
        for each in policy.positions
    }
    book = Book(
        at=at,
        idle=idle,
        positions=positions,
        marks={each.venue: must(reads.mark(each))[0] for each in policy.positions},
        caps=caps,
        reserve=0,
        accounting=accounting,
        params=params,
        nonce=must(reads.nonce),
        signer_set_version=must(reads.signer_set_version),
        healthy=healthy,
        risk_paused_until=paused_until,
        isolated=frozenset(each.address for each in policy.positions if must(reads.isolated(each))),
    )
    (low, high), _ = must(reads.nav)
    _must_agree("net asset value", book.nav, Value(low, high))
    return _exits_first(_with_reserve(book, policy), policy)


def _prices(policy: Policy, read: Any, at: int) -> Prices:
    """Without an oracle section there is only the vault's own asset."""
    if policy.oracle is None:
        return Prices(policy.vault.asset, {})
    return prices(policy.oracle, policy.vault.asset, read, at)


def _with_reserve(book: Book, policy: Policy) -> Book:
    """Sets aside what everyone who asked to leave is owed, at the price it may have grown to when the plan
    that frees it ends."""
    a, p = book.accounting, book.params
    until = book.at + policy.time.validity
    growth = WAD + p.max_rate * policy.time.validity
    price = min(mul_div_up(pps_low(book.total, a.total_supply), growth, WAD), redeem_limit(a, p, until))
    reserve = mul_div_up(a.queued_shares + a.open_redeems, price, PPS_ONE)
    return replace(book, reserve=min(reserve, book.total))


def _exits_first(book: Book, policy: Policy) -> Book:
    """No venue may grow while the queue is too old, or will be before the plan ends: the portfolio would
    refuse it (`ExitsOverdue`)."""
    if not overdue(book.accounting, book.params, book.at + policy.time.validity):
        return book
    return replace(book, caps={venue: min(book.caps[venue], held) for venue, held in book.allocation.items()})


def _must_agree(where: str, ours: Value, theirs: Value) -> None:
    if ours != theirs:
        raise ValuationError(
            "Our valuation differs from the contract's",
            expected=f"{ours.low:,} to {ours.high:,}",
            seen=f"{theirs.low:,} to {theirs.high:,}",
            where=where,
            hint="Do not rebalance; find out which of the two is wrong.",
        )


def _check_parts(policy: Policy, reads: VaultReads, read: Any) -> None:
    """That there is such a vault, and that it is made of the contracts the policy names."""
    for name, call in reads.parts.items():
        try:
            seen = read(call)
        except DecodeError:
            # An account without code answers with nothing at all.
            seen = CallFailure(b"", call.label)
        if isinstance(seen, CallFailure):
            raise PolicyError(
                "The policy names an unknown vault",
                expected=f"a contract that answers {call.label}",
                seen=f"none at {call.target}",
                where=f"chain {policy.vault.chain_id}",
                hint="Check the address and the chain.",
            )
        _same(name, getattr(policy.vault, name), seen)


def _check_permissions(policy: Policy, reads: VaultReads, must: Any) -> None:
    granted = [(connector, key) for connector, key, _ in must(reads.positions)]
    ours = [(each.address, each.key) for each in policy.positions]
    venues = {pair: each.venue for pair, each in zip(ours, policy.positions, strict=True)}
    _same("listed positions", _named(ours, venues), _named(granted, venues))
    if policy.oracle is not None:
        _same("oracle", policy.oracle.router, must(reads.oracle))
    _same("keeper role", policy.vault.quorum, must(reads.keeper))
    _same("signers", sorted(policy.signers.addresses), sorted(must(reads.signers)))
    _same("threshold", policy.signers.threshold, must(reads.threshold))


def _named(positions: list[tuple[Address, bytes]], venues: Mapping[tuple[Address, bytes], str]) -> str:
    """Positions for people: by venue where the policy has a name for them."""
    shown = (venues.get(each) or f"{each[0]} key 0x{each[1].hex()}" for each in positions)
    return ", ".join(sorted(shown)) or "none"


def _same(what: str, expected: object, seen: object) -> None:
    if expected != seen:
        raise PolicyError(
            f"The chain and the policy disagree on the {what}",
            expected=expected,
            seen=seen,
            hint="Bring the policy or the registry up to date; nothing is signed until they agree.",
        )
