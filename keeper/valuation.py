"""Every position valued twice: by our own mathematics and by the contracts. A difference is an error that
names the position; what the contracts cannot read is impaired, and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import Position, PositionRef, Read, Report, load
from keeper.contracts.revert import decode_revert
from keeper.errors import DecodeError, PlanError, ValuationError
from keeper.ledger.portfolio import Impaired, SplitOff
from keeper.oracle.quote import Prices, Status
from keeper.oracle.routes import prices
from keeper.planning.policy import Policy, PositionPolicy
from keeper.reads import VaultReads
from keeper.units import Value

Must = Callable[[Call[Any]], Any]
"""As `Read`, but raises where the call failed."""

MAX_REPORT: Final = 2**112 - 1
"""`ReadingLib.MAX_REPORT`: what a position may report."""
_DEBT_BITS: Final = 112
_HEALTH_BITS: Final = 128
_WORDS: Final = 96
_TOO_MUCH_GAS: Final = "its report takes more gas than the portfolio gives it"


def policy_prices(policy: Policy, read: Read, at: int) -> Prices:
    """What the policy's oracle says; without one there is only the vault's own asset."""
    if policy.oracle is None:
        return Prices(policy.vault.asset, {})
    return prices(policy.oracle, policy.vault.asset, read, at)


@dataclass(frozen=True)
class Valuer:
    """Values positions at `at`, the time of the block that everything was read at."""

    reads: VaultReads
    read: Read
    must: Must
    prices: Prices
    at: int

    def value(self, entry: PositionPolicy) -> Position:
        """The position, equal to what the portfolio and its connector say of it to the wei.

        Raises ValuationError naming the venue when it is not, or when we cannot value what the contracts can.
        """
        ref = entry.ref()
        (low, high), healthy = self.must(self.reads.position_value(entry))
        theirs = Value(low, high)
        if self._is_split_off(ref):
            position: Position = SplitOff(ref, self._last_good(entry))
            _must_agree(ref, position.report(self.at), theirs, healthy)
            return position
        told = parse_report(self.read(self.reads.report(entry)))
        last_good = self._last_good(entry)
        if not healthy and theirs == Value(0, last_good) and _unreadable(told, theirs):
            return Impaired(ref, last_good, told if isinstance(told, str) else _TOO_MUCH_GAS)
        position, report = self._own(ref, theirs)
        _must_agree(ref, report, theirs, healthy)
        if report != told:
            raise ValuationError(
                "Our report differs from the connector's",
                expected=_shown(report),
                seen=told if isinstance(told, str) else _shown(told),
                where=ref.venue,
                hint="Do not rebalance; find out which of the two is wrong.",
            )
        return position

    def _own(self, ref: PositionRef, theirs: Value) -> tuple[Position, Report]:
        try:
            position = load(ref.connector).position(ref, self.read, self.prices, self.at)
            return position, position.report(self.at)
        except (ValuationError, DecodeError, PlanError) as error:
            raise ValuationError(
                "We cannot value a position that the contract values",
                expected=f"{theirs.low:,} to {theirs.high:,}",
                seen=error,
                where=ref.venue,
                hint="Do not rebalance; find out which of the two is wrong.",
            ) from error

    def _is_split_off(self, ref: PositionRef) -> bool:
        connector, since, key, _ = self.must(self.reads.pocket)
        return bool(since) and (connector, key) == (ref.address, ref.key)

    def _last_good(self, entry: PositionPolicy) -> int:
        _, high = self.must(self.reads.mark(entry))
        return int(high)


def parse_report(answer: bytes | CallFailure) -> Report | str:
    """A connector's answer as `ReadingLib.report` takes it, or why it is none."""
    if isinstance(answer, CallFailure):
        return f"its report reverts with {decode_revert(answer.data, 'Connector')}"
    if len(answer) != _WORDS:
        return f"its report has {len(answer)} bytes, not {_WORDS}"
    low, high, state = (int.from_bytes(answer[start : start + 32]) for start in range(0, _WORDS, 32))
    status, debt, health = state & 0xFF, state >> 8 & 2**_DEBT_BITS - 1, state >> 8 + _DEBT_BITS
    if low > high:
        return f"its report has a low end of {low:,} above a high end of {high:,}"
    if high > MAX_REPORT:
        return f"its report of {high:,} is more than a position may be worth"
    if status > max(Status) or health >> _HEALTH_BITS:
        return f"its report has an unknown state 0x{state:x}"
    return Report(low, high, Status(status), debt, health)


def _unreadable(told: Report | str, theirs: Value) -> bool:
    """Whether the portfolio's doubt is not the connector's own, told with a status."""
    return isinstance(told, str) or told.status is Status.OK or told.value != theirs


def _must_agree(ref: PositionRef, report: Report, theirs: Value, healthy: bool) -> None:
    require_equal(ref.venue, report.value, theirs)
    if healthy != (report.status is Status.OK):
        raise ValuationError(
            "Our status differs from the contract's",
            expected=report.status.name,
            seen="healthy" if healthy else "in doubt",
            where=ref.venue,
        )


def require_equal(where: str, ours: Value, theirs: Value) -> None:
    """Raises ValuationError, naming `where`, unless both are the same to the wei."""
    if ours != theirs:
        raise ValuationError(
            "Our valuation differs from the contract's",
            expected=f"{ours.low:,} to {ours.high:,}",
            seen=f"{theirs.low:,} to {theirs.high:,}",
            where=where,
            hint="Do not rebalance; find out which of the two is wrong.",
        )


def _shown(report: Report) -> str:
    return (
        f"{report.low:,} to {report.high:,}, status {report.status.name}, debt {report.debt:,}, "
        f"health {report.health:,}"
    )
