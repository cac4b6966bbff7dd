"""What LiFi says when it does not answer, and what is to be done about it.

Codes, and what they mean: docs.li.fi/api-reference/error-codes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from keeper.errors import EndpointError


class Action(StrEnum):
    """What follows an error."""

    RETRY = "retry"
    """The same request again, later."""
    REQUOTE = "requote"
    """Another request: a fresh price, another amount or other tools."""
    GIVE_UP = "give up"
    """Nothing like it will be answered: take another route, or none."""
    ALERT = "alert"
    """Somebody has to look: a request, key or answer that should not be."""


API_ERRORS: Final[Mapping[int, Action]] = MappingProxyType(
    {
        1000: Action.ALERT,  # DefaultError
        1001: Action.REQUOTE,  # FailedToBuildTransactionError
        1002: Action.GIVE_UP,  # NoQuoteError
        1003: Action.GIVE_UP,  # NotFoundError
        1004: Action.REQUOTE,  # NotProcessableError
        1005: Action.RETRY,  # RateLimitError
        1006: Action.RETRY,  # ServerError
        1007: Action.REQUOTE,  # SlippageError
        1008: Action.RETRY,  # ThirdPartyError
        1009: Action.RETRY,  # TimeoutError
        1010: Action.ALERT,  # UnauthorizedError
        1011: Action.ALERT,  # ValidationError
        1012: Action.RETRY,  # RpcFailure
        1013: Action.ALERT,  # MalformedSchema
    }
)
"""By the code of the answer."""

TOOL_ERRORS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        "NO_POSSIBLE_ROUTE": Action.GIVE_UP,
        "INSUFFICIENT_LIQUIDITY": Action.REQUOTE,
        "TOOL_TIMEOUT": Action.RETRY,
        "UNKNOWN_ERROR": Action.RETRY,
        "RPC_ERROR": Action.RETRY,
        "RATE_LIMIT_EXCEEDED": Action.RETRY,
        "AMOUNT_TOO_LOW": Action.GIVE_UP,
        "AMOUNT_TOO_HIGH": Action.REQUOTE,
        "FEES_HIGHER_THAN_AMOUNT": Action.GIVE_UP,
        "DIFFERENT_RECIPIENT_NOT_SUPPORTED": Action.GIVE_UP,
        "TOOL_SPECIFIC_ERROR": Action.REQUOTE,
        "CANNOT_GUARANTEE_MIN_AMOUNT": Action.REQUOTE,
    }
)
"""By the code that one bridge or exchange gave for having no quote."""

STATUSES: Final[Mapping[int, Action]] = MappingProxyType(
    {
        400: Action.ALERT,
        401: Action.ALERT,
        403: Action.ALERT,
        404: Action.GIVE_UP,
        429: Action.RETRY,
        500: Action.RETRY,
        502: Action.RETRY,
        503: Action.RETRY,
        504: Action.RETRY,
    }
)
"""By the HTTP status, where the answer has no code."""

_HOPE: Final = (Action.RETRY, Action.REQUOTE, Action.GIVE_UP)


def action(status: int, code: int | None, tools: Sequence[str]) -> Action:
    """What to do about an error. Of several tools the most hopeful counts: one that would quote is enough.

    A code that is not documented is one to look at.
    """
    found = {TOOL_ERRORS.get(tool, Action.ALERT) for tool in tools}
    if found and code in (None, 1002):
        return next((each for each in _HOPE if each in found), Action.ALERT)
    if code is not None:
        return API_ERRORS.get(code, Action.ALERT)
    return STATUSES.get(status, Action.ALERT)


class LiFiError(EndpointError):
    """LiFi answered with an error; `action` is what to do about it."""

    def __init__(
        self, message: str, *, status: int, code: int | None, tools: tuple[str, ...], where: object
    ) -> None:
        self.action = action(status, code, tools)
        self.status = status
        self.code = code
        self.tools = tools
        known = [f"HTTP {status}", *([] if code is None else [f"code {code}"]), *dict.fromkeys(tools)]
        super().__init__(message, seen=", ".join(known), where=where, hint=f"What to do: {self.action}")


class RateBudgetError(EndpointError):
    """No request is left until `refills_at`, in seconds since 1970."""

    action = Action.RETRY

    def __init__(self, refills_at: int, *, limit: int | None, where: object) -> None:
        time = datetime.fromtimestamp(refills_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        super().__init__(
            "The rate budget of LiFi's API is used up",
            expected="a request left" if limit is None else f"a request left of {limit}",
            seen="none",
            where=where,
            hint=f"It refills at {time}; a key of one's own has more",
        )
        self.refills_at = refills_at
