"""Notes to a webhook, in this process: what arrives, and what a bad server can do."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import pytest
from inbox import SECRET, SECRET_PATH, Inbox, inbox
from specimens import HASH, specimen

from keeper.config import parse
from keeper.errors import ConfigError
from keeper.events import (
    BreakerTripped,
    EndpointFailed,
    Event,
    EventStream,
    LeaseLost,
    NotificationDelivered,
    NotificationLost,
    PassFinished,
    PlanRefused,
    Severity,
    SignerEquivocated,
    kinds,
)
from keeper.ops.webhook import (
    FULL,
    ID,
    SCHEMA,
    SIGNATURE,
    STOPPED,
    HeartbeatSettings,
    WebhookSettings,
    beating,
    note,
    notifying,
)

URL, KEY = "HOOK_URL", "HOOK_SECRET"


@pytest.fixture
def events() -> EventStream:
    return EventStream()


@pytest.fixture
def told(events: EventStream) -> asyncio.Queue[Event]:
    """What became of notes."""
    said: asyncio.Queue[Event] = asyncio.Queue()

    def listen(event: Event) -> None:
        if isinstance(event, NotificationDelivered | NotificationLost):
            said.put_nowait(event)

    events.subscribe(listen)
    return said


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)


def settings(hook: Inbox, monkeypatch: pytest.MonkeyPatch, **more: Any) -> WebhookSettings:
    monkeypatch.setenv(URL, hook.url)
    return WebhookSettings(url_env=URL, **more)


def tripped(number: int) -> BreakerTripped:
    return BreakerTripped(chain_id=1, vault="0x1", breaker="loss", reason=f"for the {number}th time")


async def test_notes_arrive_in_order_each_signed_and_with_an_id_of_its_own(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox() as hook:
        # Of what becomes of notes there are none, though their severities are wanted.
        rules = settings(hook, monkeypatch, secret_env=KEY, events=tuple(Severity))
        async with notifying(rules, events):
            events.emit(tripped(0))
            assert await told.get() == NotificationDelivered(about="BreakerTripped")
            for number in range(1, 5):
                events.emit(tripped(number))
        assert [told.get_nowait() for _ in range(4)] == [NotificationDelivered(about="BreakerTripped")] * 4
    notes = [json.loads(body) for _, _, body in hook.got]
    assert [each["facts"]["reason"] for each in notes] == [f"for the {n}th time" for n in range(5)]
    assert len({each["id"] for each in notes}) == 5
    for path, headers, body in hook.got:
        assert path == SECRET_PATH
        assert headers[ID] == json.loads(body)["id"]
        assert headers[SIGNATURE] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for name in ("id", "time"):
        assert notes[0].pop(name)
    assert notes[0] == {
        "schema": SCHEMA,
        "event": "BreakerTripped",
        "severity": "critical",
        "facts": {"chain_id": 1, "vault": "0x1", "breaker": "loss", "reason": "for the 0th time"},
    }


async def test_what_is_sent_by_default_is_what_somebody_has_to_see(
    events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox() as hook, notifying(settings(hook, monkeypatch), events):
        for kind in (PassFinished, EndpointFailed, PlanRefused, SignerEquivocated, LeaseLost):
            events.emit(specimen(kind))
        heard = [json.loads(await hook.arrived.get())["event"] for _ in range(3)]
        assert SIGNATURE not in hook.got[0][1]
    assert heard == ["PlanRefused", "SignerEquivocated", "LeaseLost"]
    assert hook.arrived.empty()


async def test_another_attempt_has_the_same_id_and_what_is_delivered_at_last_counts_once(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox() as hook, notifying(settings(hook, monkeypatch), events):
        hook.manner = "fails"
        events.emit(tripped(1))
        await hook.arrived.get()
        hook.manner = "takes"
        assert await told.get() == NotificationDelivered(about="BreakerTripped")
    (_, first, body), (_, second, again) = hook.got
    assert (first[ID], body) == (second[ID], again)
    assert told.empty()


@pytest.mark.parametrize(
    ("manner", "trouble"), [("fails", "HTTP 500"), ("redirects", "HTTP 307"), ("hangs", "TimeoutError")]
)
async def test_a_bad_server_loses_no_more_than_was_tried_and_what_the_queue_could_not_hold(
    manner: str,
    trouble: str,
    events: EventStream,
    told: asyncio.Queue[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with inbox() as hook:
        rules = settings(hook, monkeypatch, queue=2, attempts=2, timeout=0.3)
        async with notifying(rules, events):
            hook.manner = manner
            events.emit(tripped(0))
            await hook.arrived.get()
            for number in range(1, 6):
                events.emit(tripped(number))
            # At once, and before anything else could happen.
            assert [told.get_nowait() for _ in range(3)] == [
                NotificationLost(about="BreakerTripped", reason=FULL)
            ] * 3
            lost = await told.get()
            assert isinstance(lost, NotificationLost)
            assert trouble in lost.reason
            hook.manner = "takes"
            while isinstance(await told.get(), NotificationLost):
                pass
            events.emit(tripped(6))
            await told.get()
    reasons = [json.loads(body)["facts"]["reason"] for _, _, body in hook.got]
    assert reasons[-1] == "for the 6th time"
    assert reasons[:2] == ["for the 0th time"] * 2
    assert not any(f"for the {number}th time" in reasons for number in (3, 4, 5))
    assert {path for path, _, _ in hook.got} == {SECRET_PATH}


async def test_an_answer_without_an_end_is_not_read(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox() as hook, notifying(settings(hook, monkeypatch), events):
        hook.manner = "talks"
        events.emit(tripped(1))
        assert await told.get() == NotificationDelivered(about="BreakerTripped")
        await hook.cut_off.wait()


async def test_what_a_server_that_hangs_has_not_taken_is_lost_when_the_time_to_flush_is_over(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox() as hook:
        hook.manner = "hangs"
        async with asyncio.timeout(30):
            async with notifying(settings(hook, monkeypatch, flush=0.2, timeout=100), events):
                for number in range(3):
                    events.emit(tripped(number))
                await hook.arrived.get()
        assert [told.get_nowait() for _ in range(3)] == [
            NotificationLost(about="BreakerTripped", reason=STOPPED)
        ] * 3
    assert told.empty()


async def test_no_trouble_of_delivery_names_the_place(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://127.0.0.1:9/topsecret", "http://topsecret.invalid/", "https://127.0.0.1:9/topsecret"):
        monkeypatch.setenv(URL, url)
        async with notifying(WebhookSettings(url_env=URL, attempts=1), events):
            events.emit(tripped(1))
        lost = told.get_nowait()
        assert isinstance(lost, NotificationLost)
        assert "topsecret" not in repr(lost)


@pytest.mark.parametrize("url", ["", "ftp://topsecret", "topsecret", "http://[topsecret"])
async def test_a_place_that_is_none_is_refused_without_naming_it(
    url: str, events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, url)
    with pytest.raises(ConfigError) as refused:
        async with notifying(WebhookSettings(url_env=URL), events):
            pass
    assert "topsecret" not in str(refused.value)


@pytest.mark.parametrize("name", ["BreakerTriped", "NotificationLost", "Event", "severe"])
def test_an_event_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        parse({"url_env": URL, "events": [name]}, WebhookSettings)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_event_can_be_a_note(kind: type[Event]) -> None:
    content = json.loads(note(specimen(kind)).body)
    assert content["event"] == kind.__name__
    assert content["severity"] == kind.severity
    for value in content["facts"].values():
        assert value in (str(2**200), "word", "0x" + HASH.hex(), True, 1.5) or isinstance(value, list | dict)


async def test_a_heart_beats_while_it_lives(
    events: EventStream, told: asyncio.Queue[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, asked = False, asyncio.Event()

    def lives() -> bool:
        asked.set()
        return alive

    async with inbox() as hook:
        monkeypatch.setenv(URL, hook.url)
        async with beating(HeartbeatSettings(url_env=URL, interval=0.05), lives, events):
            await asked.wait()
            assert hook.got == []
            alive = True
            for _ in range(2):
                assert await hook.arrived.get() == b""
            hook.manner = "fails"
            assert await told.get() == NotificationLost(about="heartbeat", reason="HTTP 500")
