"""How many requests LiFi still answers, by the headers of its answers.

One file for all that ask from this machine, so that a restart does not begin with a budget that is gone. It
holds a few numbers and is replaced as a whole, under a lock: a database would do no more.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from keeper import files
from keeper.errors import ConfigError
from keeper.swap.refusals import RateBudgetError

WINDOW: Final = 7_200
"""Seconds after which, as LiFi documents it, a budget has refilled; no answer can shut us out for longer."""
FIRST_REST: Final = 60
"""Seconds of rest after a refusal that does not say how long."""
SAME_WINDOW: Final = 60
"""Seconds between the refill times of two answers up to which they speak of one window: answers overtake each
other. A window that rolls has another refill time with each answer, and what is left in it grows again."""


class Budget(BaseModel):
    """What is left of one budget until it refills, in seconds since 1970."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    remaining: int
    refills_at: int
    limit: int | None = None


_FILE: Final = TypeAdapter(dict[str, Budget])


class RateBudget:
    """The budgets in one file, by name: without a key each endpoint has its own, with one they share it."""

    def __init__(self, path: Path) -> None:
        """Makes the file when there is something to remember. Raises ConfigError for a path without one."""
        if not path.name:
            raise ConfigError(
                "No file for the record of rate budgets", expected="a file's name", seen=str(path)
            )
        self._path = path

    def take(self, name: str, now: int) -> None:
        """Counts a request that is about to be made. Raises RateBudgetError when none is left."""
        with self._changed() as budgets:
            known = budgets.get(name)
            if known is None or now >= known.refills_at:
                budgets.pop(name, None)
                return
            if known.remaining <= 0:
                raise RateBudgetError(known.refills_at, limit=known.limit, where=name)
            budgets[name] = known.model_copy(update={"remaining": known.remaining - 1})

    def observe(self, name: str, now: int, headers: Mapping[str, str]) -> None:
        """Takes over what an answer says; within a window the least counts."""
        remaining, reset = _whole(headers, "ratelimit-remaining"), _whole(headers, "ratelimit-reset")
        if remaining is None or reset is None:
            return
        at = now + min(reset, WINDOW)
        with self._changed() as budgets:
            known = budgets.get(name)
            if known is not None and now < known.refills_at and at <= known.refills_at + SAME_WINDOW:
                remaining, at = min(remaining, known.remaining), known.refills_at
            budgets[name] = Budget(
                remaining=remaining, refills_at=at, limit=_whole(headers, "ratelimit-limit")
            )

    def exhaust(self, name: str, now: int, headers: Mapping[str, str]) -> RateBudgetError:
        """Takes over a refusal for too many requests, and says when the next is in order."""
        rest = _whole(headers, "ratelimit-reset") or _whole(headers, "retry-after") or FIRST_REST
        limit = _whole(headers, "ratelimit-limit")
        at = now + min(rest, WINDOW)
        with self._changed() as budgets:
            budgets[name] = Budget(remaining=0, refills_at=at, limit=limit)
        return RateBudgetError(at, limit=limit, where=name)

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Budget]]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_suffix(".lock").open("w")
        except OSError as error:
            what = "Cannot write the record of rate budgets"
            raise ConfigError(what, where=self._path, seen=error.strerror) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read()
            after = dict(before)
            yield after
            if after != before:
                text = json.dumps({name: each.model_dump() for name, each in after.items()})
                files.write(self._path, text.encode(), "record of rate budgets")

    def _read(self) -> dict[str, Budget]:
        try:
            return _FILE.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise ConfigError(
                "Not a record of rate budgets",
                where=self._path,
                hint="Remove the file; it is written anew",
            ) from error


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
