"""Following a transfer until nothing more will happen to it."""

import asyncio
from enum import StrEnum
from typing import Final

from keeper.clock import Clock
from keeper.errors import CheckFailedError, DecodeError, EndpointError
from keeper.swap.client import LiFi
from keeper.swap.models import Status
from keeper.swap.refusals import Action, LiFiError

POLL_SECONDS: Final = 10
_NOT_FOUND: Final = 404


class Outcome(StrEnum):
    """How a transfer ended."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    """Another token than was asked for arrived, or less of it: what `receiving` says."""
    REFUNDED = "refunded"
    """The token that was sent came back."""
    FAILED = "failed"


class UnfinishedTransferError(CheckFailedError):
    """A transfer has not ended in the time it was given."""


_DONE: Final = {
    None: Outcome.COMPLETED,
    "COMPLETED": Outcome.COMPLETED,
    "PARTIAL": Outcome.PARTIAL,
    "REFUNDED": Outcome.REFUNDED,
}
_OPEN: Final = frozenset({"NOT_FOUND", "PENDING"})
_FAILED: Final = frozenset({"FAILED", "INVALID"})


def outcome(status: Status) -> Outcome | None:
    """How it ended, or None while something is still to come; a refund under way is.

    Raises DecodeError for a state that is not documented.
    """
    if status.status in _OPEN or status.substatus == "REFUND_IN_PROGRESS":
        return None
    if status.status in _FAILED:
        return Outcome.REFUNDED if status.substatus == "REFUNDED" else Outcome.FAILED
    if status.status == "DONE" and status.substatus in _DONE:
        return _DONE[status.substatus]
    raise DecodeError(
        "A transfer is in a state that is not documented",
        seen=f"{status.status} {status.substatus}"[:200],
        where="status",
    )


async def follow(
    lifi: LiFi, tx_hash: str, clock: Clock, *, until: int, pause: float = POLL_SECONDS
) -> tuple[Outcome, Status]:
    """Asks until the transfer has ended, every `pause` seconds.

    While LiFi does not answer, or no request is left, there is nothing new. Raises UnfinishedTransferError
    after `until` (seconds since 1970), LiFiError where asking again is of no use, and DecodeError.
    """
    seen = "nothing"
    while True:
        try:
            status = await lifi.status(tx_hash)
        except EndpointError as error:
            if isinstance(error, LiFiError) and not _may_come(error):
                raise
            seen = str(error)
        else:
            ended = outcome(status)
            if ended is not None:
                return ended, status
            seen = f"{status.status} {status.substatus or ''}".strip()
        if await clock.now() >= until:
            raise UnfinishedTransferError(
                "The transfer has not ended in time", expected=f"an end by {until}", seen=seen, where=tx_hash
            )
        await asyncio.sleep(pause)


def _may_come(error: LiFiError) -> bool:
    # A transaction that LiFi's indexer has not met yet is answered as an error by some of its nodes.
    return error.status == _NOT_FOUND or error.action is Action.RETRY
