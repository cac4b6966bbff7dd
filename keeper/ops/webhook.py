"""Events as signed notes to one URL, and a sign of life to another.

A note is not a send of value: it may be given again, and arrive twice, under the same id. It never holds up
who emits the event: there is a bounded queue, and what does not fit in is lost and counted.

The body is JSON: `schema` (1), `id`, `event`, `severity`, `time`, and `facts`, the event's fields, in which
bytes are hex and integers that a double would round are strings. `Idempotency-Key` repeats the id; with a
secret `X-Keeper-Signature` is `sha256=` and the body's HMAC in hex.
"""

import asyncio
import hashlib
import hmac
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import aiohttp
from pydantic import Field, SecretStr, field_validator

from keeper.config import EndpointUrl, StrictModel
from keeper.errors import ConfigError
from keeper.events import Event, EventStream, NotificationDelivered, NotificationLost, Severity, kinds
from keeper.execution.loop import Seconds
from keeper.ops.output import plain

SCHEMA: Final = 1
SIGNATURE: Final = "X-Keeper-Signature"
ID: Final = "Idempotency-Key"
BACKOFF_SECONDS: Final = 0.5
"""Between the first two attempts; twice as long after each."""
FULL: Final = "the queue is full"
STOPPED: Final = "the keeper stopped"
_OWN: Final = (NotificationDelivered, NotificationLost)


class WebhookSettings(StrictModel):
    """`url_env` and `secret_env` name variables. `events` are names of events, or severities; `timeout` is
    for one attempt, `flush` for what is left when the keeper stops, in seconds; `queue` in notes."""

    url_env: str
    secret_env: str | None = None
    events: tuple[str, ...] = ("critical", "PlanRefused")
    timeout: Seconds = 5.0
    attempts: Annotated[int, Field(gt=0, le=10)] = 4
    queue: Annotated[int, Field(gt=0, le=100_000)] = 256
    flush: Seconds = 5.0

    @field_validator("events")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = {each.__name__ for each in kinds() if not issubclass(each, _OWN)} | set(Severity)
        if unknown := sorted(set(names) - known):
            raise ValueError(f"expected names of events or severities, saw {', '.join(unknown)}")
        return names


class HeartbeatSettings(StrictModel):
    """`url_env` names a variable; `interval` and `timeout` are in seconds."""

    url_env: str
    interval: Seconds = 60.0
    timeout: Seconds = 5.0


@dataclass(frozen=True)
class Post:
    """A URL that is a secret, and what is sent there."""

    session: aiohttp.ClientSession
    url: EndpointUrl

    async def deliver(self, body: bytes, headers: dict[str, str]) -> str:
        """Why the server did not take it; nothing when it did. Redirects are not followed, and of the answer
        nothing but the status is read."""
        try:
            async with self.session.post(
                self.url.secret(), data=body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its words may hold the URL.
            return type(error).__name__
        return "" if status // 100 == 2 else f"HTTP {status}"


@asynccontextmanager
async def _posting(variable: str, seconds: float) -> AsyncIterator[Post]:
    """Raises ConfigError for what is no URL."""
    url = EndpointUrl(_secret(variable).get_secret_value())
    limit = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Post(session, url)


def _secret(variable: str) -> SecretStr:
    value = os.environ.get(variable, "")
    if not value:
        raise ConfigError("The environment variable is not set", where=variable)
    return SecretStr(value)


@dataclass(frozen=True)
class Note:
    """An event on its way."""

    about: str
    id: str
    body: bytes


def note(event: Event) -> Note:
    """The event as a note with an id of its own."""
    name, number = type(event).__name__, str(uuid.uuid4())
    content = {
        "schema": SCHEMA,
        "id": number,
        "event": name,
        "severity": event.severity.value,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "facts": plain(event),
    }
    return Note(name, number, json.dumps(content, sort_keys=True).encode())


class Webhook:
    """Delivers notes one after the other, in the order of their events."""

    def __init__(
        self, settings: WebhookSettings, post: Post, secret: SecretStr | None, events: EventStream
    ) -> None:
        self._settings: Final = settings
        self._post: Final = post
        self._secret: Final = secret
        self._events: Final = events
        self._queue: Final = asyncio.Queue[Note](settings.queue)

    def hear(self, event: Event) -> None:
        """Takes an event that is wanted; never waits."""
        named = {type(event).__name__, event.severity}
        if isinstance(event, _OWN) or named.isdisjoint(self._settings.events):
            return
        made = note(event)
        try:
            self._queue.put_nowait(made)
        except asyncio.QueueFull:
            self._lose(made, FULL)

    async def work(self) -> None:
        """Delivers until it is cancelled."""
        while True:
            next_one = await self._queue.get()
            try:
                await self._deliver(next_one)
            except asyncio.CancelledError:
                self._lose(next_one, STOPPED)
                raise
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Waits until everything is delivered or lost."""
        await self._queue.join()

    def abandon(self) -> None:
        """Loses what is left."""
        while not self._queue.empty():
            self._lose(self._queue.get_nowait(), STOPPED)

    async def _deliver(self, made: Note) -> None:
        headers = {"Content-Type": "application/json", ID: made.id}
        if self._secret is not None:
            key = self._secret.get_secret_value().encode()
            headers[SIGNATURE] = f"sha256={hmac.new(key, made.body, hashlib.sha256).hexdigest()}"
        trouble = ""
        for attempt in range(self._settings.attempts):
            if attempt:
                await asyncio.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            trouble = await self._post.deliver(made.body, headers)
            if not trouble:
                self._events.emit(NotificationDelivered(about=made.about))
                return
        self._lose(made, trouble)

    def _lose(self, made: Note, reason: str) -> None:
        self._events.emit(NotificationLost(about=made.about, reason=reason))


@asynccontextmanager
async def notifying(settings: WebhookSettings, events: EventStream) -> AsyncIterator[None]:
    """Events are sent on until the block ends, and what is left then within `flush` seconds.

    Raises ConfigError for a variable that is not set, and for what is no URL.
    """
    secret = None if settings.secret_env is None else _secret(settings.secret_env)
    async with _posting(settings.url_env, settings.timeout) as post:
        hook = Webhook(settings, post, secret, events)
        leave, task = events.subscribe(hook.hear), asyncio.create_task(hook.work())
        try:
            yield
        finally:
            leave()
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.flush):
                    await hook.flush()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            hook.abandon()


@asynccontextmanager
async def beating(
    settings: HeartbeatSettings, alive: Callable[[], bool], events: EventStream
) -> AsyncIterator[None]:
    """While `alive`, an empty POST every `interval` seconds, until the block ends. Raises as `notifying`."""

    async def beat(post: Post) -> None:
        while True:
            if alive() and (trouble := await post.deliver(b"", {})):
                events.emit(NotificationLost(about="heartbeat", reason=trouble))
            await asyncio.sleep(settings.interval)

    async with _posting(settings.url_env, settings.timeout) as post:
        task = asyncio.create_task(beat(post))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
