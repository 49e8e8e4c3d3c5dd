"""The queue of messages to a device: order, limits, ends and feedback."""

from dataclasses import replace

import pytest

from mqttws.hub.service.codes import Code, Fault
from mqttws.hub.service.queue import (
    MAX_DELIVERIES,
    MAX_MESSAGES,
    MAX_SIZE,
    CloudMessage,
    Queue,
    complete,
    enqueue,
    expire,
    feedback_wanted,
    purge,
    redeliver,
)

from .world import NOW


def filled(*messages: CloudMessage) -> Queue:
    queue = Queue()
    for message in messages:
        found = enqueue(queue, message, NOW)
        assert isinstance(found, Queue)
        queue = found
    return queue


def test_messages_are_numbered_and_keep_their_order() -> None:
    queue = filled(CloudMessage(b"1"), CloudMessage(b"2"))
    queue = complete(queue, 1).queue
    found = enqueue(queue, CloudMessage(b"3"), NOW)
    assert isinstance(found, Queue)
    assert [(m.sequence, m.payload) for m in found.messages] == [(2, b"2"), (3, b"3")]


def test_the_51st_message_is_refused() -> None:
    queue = filled(*[CloudMessage(b"x")] * MAX_MESSAGES)
    refused = enqueue(queue, CloudMessage(b"x"), NOW)
    assert isinstance(refused, Fault)
    assert refused.code is Code.DeviceMaximumQueueDepthExceeded


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (CloudMessage(b"x" * (MAX_SIZE + 1)), Code.MessageTooLarge),
        (CloudMessage(b"", {"a": "x" * MAX_SIZE}), Code.MessageTooLarge),
        (CloudMessage(b"", expires_at=NOW), Code.ArgumentInvalid),
        (CloudMessage(b"", expires_at=NOW + 3 * 86400), Code.ArgumentInvalid),
        (CloudMessage(b"", ack="perhaps"), Code.ArgumentInvalid),
    ],
)
def test_a_wrong_message_is_refused(message: CloudMessage, code: Code) -> None:
    refused = enqueue(Queue(), message, NOW)
    assert isinstance(refused, Fault)
    assert refused.code is code


def test_the_largest_message_counts_payload_and_properties_as_they_are_sent() -> None:
    filled(CloudMessage(b"x" * MAX_SIZE))
    filled(CloudMessage(b"x", {"a": "x" * (MAX_SIZE - 3), "n": None}))
    filled(CloudMessage(b"x", {}, {"$.mid": "x" * (MAX_SIZE - 6)}))
    lone = "\ud800"  # half a character, which JSON can carry: one byte, a question mark
    filled(CloudMessage(b"", {"a": lone * (MAX_SIZE - 1)}))
    refused = enqueue(Queue(), CloudMessage(b"", {"a": lone * MAX_SIZE}), NOW)
    assert isinstance(refused, Fault)
    assert refused.code is Code.MessageTooLarge


@pytest.mark.rule("HUB-26")
def test_a_message_lives_for_an_hour_unless_it_says_otherwise() -> None:
    queue = filled(CloudMessage(b"1"), CloudMessage(b"2", expires_at=NOW + 60))
    assert [m.expires_at - NOW for m in queue.messages] == [3600, 60]
    ended = expire(queue, NOW + 60)
    assert [(m.payload, how) for m, how in ended.ended] == [(b"2", "Expired")]
    assert [m.payload for m in ended.queue.messages] == [b"1"]


def test_each_end_has_its_name() -> None:
    queue = filled(CloudMessage(b"1"), CloudMessage(b"2"))
    assert [how for _, how in complete(queue, 2).ended] == ["Success"]
    assert [how for _, how in purge(queue).ended] == ["Purged", "Purged"]
    assert complete(queue, 99).ended == ()


def test_deliveries_count_only_where_they_are_told_to() -> None:
    queue = filled(CloudMessage(b"1"))
    assert redeliver(queue, 1, counted=False).queue == queue
    for _ in range(MAX_DELIVERIES - 1):
        ended = redeliver(queue, 1, counted=True)
        assert not ended.ended
        queue = ended.queue
    assert [how for _, how in redeliver(queue, 1, counted=True).ended] == ["DeliveryCountExceeded"]


@pytest.mark.rule("HUB-29")
@pytest.mark.parametrize(
    ("ack", "status", "wanted"),
    [
        ("none", "Success", False),
        ("positive", "Success", True),
        ("positive", "Expired", False),
        ("negative", "Success", False),
        ("negative", "Purged", True),
        ("full", "Success", True),
        ("full", "Expired", True),
    ],
)
def test_feedback_is_given_as_asked(ack: str, status: str, wanted: bool) -> None:
    assert feedback_wanted(CloudMessage(b"", ack=ack), status) is wanted


def test_a_topic_is_as_the_hub_writes_it() -> None:
    """iotedge ``doc/edgehub-api.md``; everything is encoded, since SDKs read one segment."""
    message = CloudMessage(b"", {"a/b": "c=d", "none": None, "empty": ""}, {"$.mid": "m 1"})
    assert message.topic("dev") == (
        "devices/dev/messages/devicebound/%24.mid=m%201"
        "&%24.to=%2Fdevices%2Fdev%2Fmessages%2FdeviceBound&a%2Fb=c%3Dd&empty=&none"
    )
    acked = replace(message, ack="full").topic("dev")
    assert "iothub-ack=full" in acked
