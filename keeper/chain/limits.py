"""What an endpoint says about how often it may be asked: 429, Retry-After and the ratelimit headers.

Sources: RFC 9110 section 10.2.3; draft-ietf-httpapi-ratelimit-headers, of which the providers use every
version, and the X-RateLimit names from before it.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_STRUCTURED: Final = re.compile(r"(?:^|[;,\s])(?:r|remaining)=(\d+).{0,99}?[;,\s](?:t|reset)=(\d+)")
_EPOCH: Final = 1_000_000_000
"""A reset beyond this is a moment, not a number of seconds."""
_MILLISECONDS: Final = 100 * _EPOCH
"""A moment beyond this is in milliseconds."""
LONGEST_REST: Final = 3_600.0
"""Seconds for which an endpoint is left alone at the most, whatever it says."""


def rest_seconds(status: int, headers: Mapping[str, str]) -> float | None:
    """How long the endpoint wants to be left alone; None when it does not say or does not mind.

    Header names in lower case. Dates are compared with the reply's own, so that no clock is needed.
    """
    if (asked := headers.get("retry-after")) and status in (429, 503):
        return _seconds(asked, headers)
    if found := _STRUCTURED.search(headers.get("ratelimit", "")):
        remaining, reset = found.group(1), found.group(2)
    else:
        remaining, reset = (
            headers.get(f"ratelimit-{name}") or headers.get(f"x-ratelimit-{name}") or ""
            for name in ("remaining", "reset")
        )
    if reset and (status == 429 or remaining == "0"):
        return _seconds(reset, headers)
    return None


def _seconds(text: str, headers: Mapping[str, str]) -> float | None:
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else _date(text)
        if value > _MILLISECONDS:
            value /= 1000
        rest = max(0.0, value - _date(headers["date"])) if value > _EPOCH else value
        return min(rest, LONGEST_REST)
    except (KeyError, TypeError, ValueError, OverflowError):
        # A pause that cannot be read is one of unknown length.
        return None


def _date(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()
