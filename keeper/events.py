"""One typed stream of what happens, to which logs, metrics and notifications listen.

An event holds facts for people and machines, never a secret. Amounts are smallest units.
"""

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, TextIO

import structlog

from keeper.errors import printable


class Severity(StrEnum):
    """INFO needs nobody, WARNING may pass by itself, CRITICAL waits for a person."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; the class name is the event's name in logs."""

    severity: ClassVar[Severity] = Severity.INFO


@dataclass(frozen=True, kw_only=True)
class VaultEvent(Event):
    """Base of those that concern one vault."""

    chain_id: int
    vault: str


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A stage of a longer job begins: progress for people."""

    step: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    step: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SnapshotTaken(Event):
    snapshot: bytes
    reference_time: int
    blocks: tuple[tuple[int, int], ...]
    """(chain id, block number)."""


@dataclass(frozen=True, kw_only=True)
class VaultValued(VaultEvent):
    """A vault's books, on which contracts and mirror agree. Net asset value in the asset's smallest units,
    price per share by 1e27, both low and high; the shares that wait to leave."""

    nav_low: int
    nav_high: int
    price_low: int
    price_high: int
    queued_shares: int


@dataclass(frozen=True, kw_only=True)
class PlanBuilt(VaultEvent):
    plan: bytes
    snapshot: bytes
    kind: str
    calls: int


@dataclass(frozen=True, kw_only=True)
class PlanSigned(VaultEvent):
    """By one signer."""

    plan: bytes
    signer: str


@dataclass(frozen=True, kw_only=True)
class PlanRefused(VaultEvent):
    """By one signer; the keeper names it by its URL. `code` is the signer's or the collector's."""

    severity = Severity.WARNING

    plan: bytes
    signer: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlanApproved(VaultEvent):
    """Enough have signed it."""

    plan: bytes
    kind: str


@dataclass(frozen=True, kw_only=True)
class PlanEnded(VaultEvent):
    """A plan is under way no more; `how` is executed, expired, refused or diverged."""

    plan: bytes
    kind: str
    how: str


@dataclass(frozen=True, kw_only=True)
class RequestRefused(Event):
    """A request that no listed proposer made, or not now, or not for the first time."""

    severity = Severity.WARNING

    signer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SignerEquivocated(Event):
    """One signer, two plans for one slot; `first` and `second` are their hashes."""

    severity = Severity.CRITICAL

    signer: str
    first: bytes
    second: bytes


@dataclass(frozen=True, kw_only=True)
class TransactionSent(Event):
    """For the first time; `attempt` counts those before it with the same nonce, `cancels` says that it is an
    empty transfer in their place."""

    chain_id: int
    account: str
    nonce: int
    attempt: int
    cancels: bool
    transaction: bytes
    purpose: str


@dataclass(frozen=True, kw_only=True)
class TransactionMined(Event):
    """Again after a reorganisation."""

    chain_id: int
    account: str
    transaction: bytes
    block: int
    gas_used: int
    succeeded: bool


@dataclass(frozen=True, kw_only=True)
class AccountSeen(Event):
    """What the journal holds of an account after a pass: its next nonce, and how many transactions that have
    not ended are in which state."""

    chain_id: int
    account: str
    next_nonce: int
    under_way: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Reconciled(Event):
    plan: bytes
    elapsed_yield: int
    third_party: int
    unexplained: int


@dataclass(frozen=True, kw_only=True)
class EndpointFailed(Event):
    """`endpoint` shows scheme and host only."""

    severity = Severity.WARNING

    chain_id: int
    endpoint: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PassEnded(VaultEvent):
    """Base of the two ends of one look at a vault by the keeper's loop: its heartbeat. `did` is what came of
    it, `breakers` are those that have tripped."""

    did: tuple[str, ...]
    seconds: float
    breakers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PassFinished(PassEnded):
    """Nothing went wrong."""


@dataclass(frozen=True, kw_only=True)
class PassFailed(PassEnded):
    """Something went wrong; the vault's next pass comes all the same."""

    severity = Severity.WARNING

    trouble: str


@dataclass(frozen=True, kw_only=True)
class BreakerTripped(VaultEvent):
    """New risk stops for a vault until somebody resumes it."""

    severity = Severity.CRITICAL

    breaker: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class GasLow(Event):
    """An account that pays for gas has fallen below `low`. Both amounts in wei."""

    severity = Severity.CRITICAL

    chain_id: int
    account: str
    wei: int
    low: int


@dataclass(frozen=True, kw_only=True)
class GasCapReached(Event):
    """What may add risk waits for the next day of the chain's time. In wei: of `cap`, `spent` is gone and
    `reserved` for what is under way; another batch may need as much as `needed`."""

    severity = Severity.WARNING

    chain_id: int
    account: str
    cap: int
    spent: int
    reserved: int
    needed: int


@dataclass(frozen=True, kw_only=True)
class QuoteFailed(VaultEvent):
    """LiFi gave no quote that may be used; the harvest went on without."""

    severity = Severity.WARNING

    reason: str


@dataclass(frozen=True, kw_only=True)
class Waited(VaultEvent):
    """A duty is put off until time, and nothing else, allows it."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotReplayed(Event):
    """What others did in the block of a plan is unknown."""

    severity = Severity.WARNING

    chain_id: int
    block: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class LeaseTaken(Event):
    """This keeper is the one that writes to the journal."""


@dataclass(frozen=True, kw_only=True)
class LeaseLost(Event):
    """Another keeper may write to the journal: this one ends."""

    severity = Severity.CRITICAL

    reason: str


@dataclass(frozen=True, kw_only=True)
class JournalFailed(Event):
    """The journal can be read or written no more: the keeper ends."""

    severity = Severity.CRITICAL

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotificationDelivered(Event):
    """`about` is the event's name, or "heartbeat"."""

    about: str


@dataclass(frozen=True, kw_only=True)
class NotificationLost(Event):
    """Nobody will be told of it."""

    severity = Severity.WARNING

    about: str
    reason: str


def kinds(root: type[Event] = Event) -> Iterator[type[Event]]:
    """Every event there is: the classes that are no other's base."""
    under = root.__subclasses__()
    if not under:
        yield root
    for each in under:
        yield from kinds(each)


LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.CRITICAL,
}

Listener = Callable[[Event], None]


class EventStream:
    """Delivers each event to every listener, in order of subscription, in the emitter's thread.

    A listener that raises stops the emitter: a fault in a listener is never swallowed.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener; the returned function removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)


def logger(*, json: bool, stream: TextIO | None = None, level: int = logging.INFO) -> structlog.BoundLogger:
    """A structured logger: one JSON object or readable line per entry, on stderr by default."""
    output = stream or sys.stderr
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if json
        else structlog.dev.ConsoleRenderer(colors=output.isatty())
    )
    bound: structlog.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(output),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if json else [_in_one_line]),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return bound


def _in_one_line(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: printable(each) if isinstance(each, str) else each for key, each in entry.items()}


def log_sink(log: structlog.BoundLogger) -> Listener:
    """A listener that writes every event as a log entry; at its severity's level. A log that cannot be
    written, as on a full disk or into a closed pipe, stops nobody."""

    def write(event: Event) -> None:
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        shown = {name: "0x" + v.hex() if isinstance(v, bytes) else v for name, v in fields.items()}
        with suppress(OSError):
            log.log(LEVELS[event.severity], type(event).__name__, **shown)

    return write
