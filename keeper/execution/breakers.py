"""When the keeper stops taking new risk by itself: it knows less than it has to, or loses."""

from collections import deque
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from keeper.book import Book
from keeper.config import StrictModel
from keeper.errors import DisagreementError, ReconciliationError
from keeper.events import BreakerTripped, EventStream
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.ledger.vault import pps_low
from keeper.units import BPS


class BreakerLimits(StrictModel):
    """`loss_bps`: fall of the price per share since the last settlement that is too much. `failures` of the
    last `passes` are too many."""

    loss_bps: Annotated[int, Field(gt=0, lt=BPS)] = 100
    failures: Annotated[int, Field(gt=0)] = 10
    passes: Annotated[int, Field(gt=0)] = 20


@dataclass(frozen=True)
class Breakers:
    """The circuit breakers of one vault. What has tripped stays so, over restarts, until it is resumed."""

    limits: BreakerLimits
    record: VaultRecord
    events: EventStream
    _failed: deque[bool] = field(default_factory=deque)

    @property
    def open(self) -> tuple[Breaker, ...]:
        """Those that stop risk now."""
        return tuple(sorted(self.record.tripped()))

    def look(self, book: Book) -> None:
        """Trips on a loss. Once resumed, a loss is measured from where it tripped until the next
        settlement."""
        a = book.accounting
        if not a.total_supply:
            return
        seen, base, last = pps_low(book.total, a.total_supply), a.last_pps_low, self.record.last_loss()
        if last is not None and last.price is not None and last.epoch == a.settled_epoch:
            base = min(base, last.price)
        if seen * BPS < base * (BPS - self.limits.loss_bps):
            lost = (base - seen) * BPS // base
            self._trip(
                Breaker.LOSS,
                f"the price per share has fallen by {lost} bps, and {self.limits.loss_bps} are allowed",
                price=seen,
                epoch=a.settled_epoch,
            )

    def judge(self, error: BaseException) -> None:
        """Trips on an error that by itself says that the keeper does not know where it stands."""
        if isinstance(error, ReconciliationError):
            self._trip(Breaker.DIVERGENCE, str(error))
        elif isinstance(error, DisagreementError):
            self._trip(Breaker.DISAGREEMENT, str(error))

    def count(self, *, failed: bool) -> None:
        """Trips when too many of the last passes have failed. Counts afresh in a new process, and once it has
        tripped."""
        self._failed.append(failed)
        while len(self._failed) > self.limits.passes:
            self._failed.popleft()
        if (failures := sum(self._failed)) >= self.limits.failures:
            self._trip(Breaker.ERRORS, f"{failures} of the last {len(self._failed)} passes have failed")
            self._failed.clear()

    def _trip(
        self, breaker: Breaker, reason: str, *, price: int | None = None, epoch: int | None = None
    ) -> None:
        if self.record.trip(breaker, reason, price=price, epoch=epoch):
            self.events.emit(
                BreakerTripped(
                    chain_id=self.record.chain_id,
                    vault=self.record.vault,
                    breaker=breaker.value,
                    reason=reason,
                )
            )
