import io
import json
from contextlib import suppress
from pathlib import Path

import pytest

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock, Clock, FixedClock, SystemClock
from keeper.events import Event, EventStream, PlanRefused, StepStarted, log_sink, logger


def test_listeners_hear_every_event_in_order_until_they_leave() -> None:
    stream, heard = EventStream(), []
    leave = stream.subscribe(heard.append)
    first, second = StepStarted(step="one"), StepStarted(step="two")
    stream.emit(first)
    stream.emit(second)
    leave()
    stream.emit(first)
    assert heard == [first, second]


def test_fault_of_a_listener_is_not_swallowed() -> None:
    def faulty(event: Event) -> None:
        raise LookupError(event)

    stream = EventStream()
    stream.subscribe(faulty)
    with pytest.raises(LookupError):
        stream.emit(StepStarted(step="one"))


def test_log_entry_is_one_json_object_with_the_events_fields() -> None:
    output = io.StringIO()
    stream = EventStream()
    stream.subscribe(log_sink(logger(json=True, stream=output)))
    stream.emit(
        PlanRefused(
            chain_id=1,
            vault="0xdef",
            plan=b"\x01",
            signer="0xabc",
            code="different_plan",
            reason="another plan hash",
        )
    )
    entry = json.loads(output.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "PlanRefused",
        "level": "warning",
        "chain_id": 1,
        "vault": "0xdef",
        "code": "different_plan",
        "plan": "0x01",
        "signer": "0xabc",
        "reason": "another plan hash",
    }


def test_what_others_say_only_shows_in_a_log_for_people() -> None:
    output = io.StringIO()
    log_sink(logger(json=False, stream=output))(StepStarted(step="\x1b[2J\x1b]0;x\x07ok", detail="a\nb"))
    assert output.getvalue().isascii()
    assert output.getvalue().count("\n") == 1
    assert "\x1b" not in output.getvalue()


def test_a_log_on_a_full_disk_stops_nobody() -> None:
    heard: list[Event] = []
    with Path("/dev/full").open("w", buffering=1) as full:
        stream = EventStream()
        stream.subscribe(log_sink(logger(json=True, stream=full)))
        stream.subscribe(heard.append)
        stream.emit(StepStarted(step="one"))
        with suppress(OSError):
            full.close()
    assert heard == [StepStarted(step="one")]


def test_log_for_people_is_one_line() -> None:
    output = io.StringIO()
    log_sink(logger(json=False, stream=output))(StepStarted(step="settle", detail="epoch 1"))
    assert output.getvalue().count("\n") == 1
    assert "step=settle" in output.getvalue()


async def test_on_a_local_chain_the_clock_is_the_chain(endpoint: Endpoint) -> None:
    clock: Clock = ChainClock(endpoint)
    before = await clock.now()
    await endpoint.rpc("evm_setNextBlockTimestamp", [before + 86_400])
    await endpoint.rpc("evm_mine")
    assert await clock.now() == before + 86_400


async def test_fixed_clock_stands_still_and_the_system_clock_is_later_than_this_test() -> None:
    assert await FixedClock(7).now() == 7
    assert await SystemClock().now() > 1_700_000_000
