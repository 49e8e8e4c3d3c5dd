"""Streams of events are bounded, in all and for each device; readers see what is missing."""

import asyncio
import tracemalloc

import pytest

from mqttws.hub.service.queue import Feedback
from mqttws.hub.service.telemetry import Telemetry
from mqttws.local.dps_events import DpsEvents
from mqttws.local.hub_events import MAX_FEEDBACK, EventStream, FeedbackBox


def numbers(stream: EventStream, after: int = 0, limit: int = 1000) -> list[int]:
    return [event.sequence for event in stream.after(after, limit)]


def test_the_oldest_goes_first_where_there_are_too_many() -> None:
    stream = EventStream(max_events=3)
    for name in "abcde":
        stream.add("deviceConnected", name)
    assert numbers(stream) == [3, 4, 5]
    assert numbers(stream, after=3) == [4, 5]
    assert numbers(stream, after=5) == []
    assert numbers(stream, limit=2) == [3, 4]


def test_a_loud_device_pushes_out_its_own_events_and_no_other_ones() -> None:
    stream = EventStream(max_events=1000, max_of_device=10)
    stream.add("deviceConnected", "quiet")
    for _ in range(5000):
        stream.add_telemetry(Telemetry("loud", b"x"))
    assert numbers(stream) == [1, *range(4992, 5002)]
    assert numbers(stream, after=1, limit=2) == [4992, 4993]
    stream.add("deviceDisconnected", "quiet")
    assert numbers(stream, after=5000) == [5001, 5002]


def test_what_is_large_takes_the_place_of_more_than_one() -> None:
    stream = EventStream(max_bytes=100_000)
    for _ in range(20):
        stream.add_telemetry(Telemetry("dev", bytes(1000)))
    stream.add("twinChanged", "dev", reported={"x": list(range(2500))})
    assert numbers(stream)[0] > 10
    assert numbers(stream)[-1] == 21


def test_one_that_is_larger_than_all_room_is_not_kept() -> None:
    stream = EventStream(max_bytes=1000)
    stream.add_telemetry(Telemetry("dev", bytes(2000)))
    assert numbers(stream) == []
    stream.add("deviceConnected", "dev")
    assert numbers(stream) == [2]


@pytest.mark.parametrize(("devices", "size", "properties"), [(4, 50, 1), (700, 500, 8)])
def test_the_bytes_that_are_counted_are_those_of_the_memory(
    devices: int, size: int, properties: int
) -> None:
    stream = EventStream(max_bytes=1_000_000)
    tracemalloc.start()
    try:
        for number in range(3000):
            own: dict[str, str | None] = {f"p{at}": f"{number} {at}" for at in range(properties)}
            system: dict[str, str | None] = {"iothub-enqueuedtime": f"time {number}"}
            stream.add_telemetry(Telemetry(f"dev-{number % devices}", bytes(size), own, system))
            stream.add("twinChanged", f"dev-{number % devices}", reported={"n": {"m": [number]}})
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 1_400_000


async def test_a_reader_that_falls_behind_goes_on_at_the_oldest_that_is_left() -> None:
    stream = EventStream(max_events=5)
    reading = stream.read(after=0)
    stream.add("deviceConnected", "dev")
    assert (await anext(reading)).sequence == 1
    for _ in range(20):
        stream.add("deviceConnected", "dev")
    async with asyncio.timeout(5):
        assert [(await anext(reading)).sequence for _ in range(5)] == [17, 18, 19, 20, 21]
    await reading.aclose()


def test_connections_without_a_name_push_out_no_device() -> None:
    events = DpsEvents(max_events=1000, max_of_device=10)
    events.add("assigned", "dev", deviceId="dev")
    for number in range(500):
        events.add("refused", "", f"#{number}", hop="tls", reason="no TLS")
    assert [event.kind for event in events.find(device="dev")] == ["assigned"]
    assert len(events.find("refused")) == 10


def test_feedback_that_nothing_takes_is_bounded() -> None:
    box = FeedbackBox()
    for number in range(MAX_FEEDBACK + 5):
        box.add(Feedback(f"m{number}", "Success", 0.0, "dev", "1"))
    assert box.lock("token", 0.0)[0].message_id == "m5"
