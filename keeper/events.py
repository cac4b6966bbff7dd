"""One typed stream of what happens: logs listen to it now, metrics and alerts later.

An event holds facts for people and machines, never a secret. Amounts are smallest units.
"""

import dataclasses
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

import structlog


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; the class name is the event's name in logs."""


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
class PlanBuilt(Event):
    plan: bytes
    snapshot: bytes
    kind: str
    calls: int


@dataclass(frozen=True, kw_only=True)
class PlanSigned(Event):
    plan: bytes
    signer: str


@dataclass(frozen=True, kw_only=True)
class PlanRefused(Event):
    plan: bytes
    signer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RequestRefused(Event):
    """A request that no listed proposer made, or not now, or not for the first time."""

    signer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SignerEquivocated(Event):
    """One signer, two plans for one slot; `first` and `second` are their hashes."""

    signer: str
    first: bytes
    second: bytes


@dataclass(frozen=True, kw_only=True)
class TransactionSent(Event):
    chain_id: int
    transaction: bytes
    purpose: str


@dataclass(frozen=True, kw_only=True)
class TransactionMined(Event):
    chain_id: int
    transaction: bytes
    block: int
    gas_used: int
    succeeded: bool


@dataclass(frozen=True, kw_only=True)
class PositionValued(Event):
    venue: str
    contract_low: int
    book_low: int


@dataclass(frozen=True, kw_only=True)
class Reconciled(Event):
    plan: bytes
    elapsed_yield: int
    third_party: int
    unexplained: int


@dataclass(frozen=True, kw_only=True)
class EndpointFailed(Event):
    """`endpoint` shows scheme and host only."""

    chain_id: int
    endpoint: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PassFinished(Event):
    """One look at a vault by the keeper's loop. `did` is what came of it."""

    chain_id: int
    vault: str
    did: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PassFailed(Event):
    """A pass in which something went wrong; the vault's next pass comes all the same."""

    chain_id: int
    vault: str
    did: tuple[str, ...]
    trouble: str


@dataclass(frozen=True, kw_only=True)
class BreakerTripped(Event):
    """New risk stops for a vault until somebody resumes it."""

    chain_id: int
    vault: str
    breaker: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class GasLow(Event):
    """An account that pays for gas has fallen below `low`. Both amounts in wei."""

    chain_id: int
    account: str
    wei: int
    low: int


@dataclass(frozen=True, kw_only=True)
class GasCapReached(Event):
    """What may add risk waits for the next day of the chain's time. In wei: of `cap`, `spent` is gone and
    `reserved` for what is under way; another batch may need as much as `needed`."""

    chain_id: int
    account: str
    cap: int
    spent: int
    reserved: int
    needed: int


WARNINGS: Final = (
    PassFailed,
    BreakerTripped,
    PlanRefused,
    RequestRefused,
    SignerEquivocated,
    EndpointFailed,
    GasLow,
    GasCapReached,
)

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
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return bound


def log_sink(log: structlog.BoundLogger) -> Listener:
    """A listener that writes every event as a log entry; refusals and failures are warnings."""

    def write(event: Event) -> None:
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        shown = {name: "0x" + v.hex() if isinstance(v, bytes) else v for name, v in fields.items()}
        say = log.warning if isinstance(event, WARNINGS) else log.info
        say(type(event).__name__, **shown)

    return write
