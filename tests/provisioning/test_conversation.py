"""One connection to DPS, over a stream without a network."""

import asyncio

import pytest

from mqttws.dps.topics import RESPONSE_FILTER, Message
from mqttws.errors import ConnectionLost, SubscribeRefused
from mqttws.provisioning.conversation import Conversation
from mqttws.wire import (
    REFUSED,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
)

from .memory_stream import MemoryStream

CONNECT = Connect("dev", "name", b"password")
SUBSCRIBE = Subscribe(1, [Subscription(RESPONSE_FILTER, 1)])
REQUEST = Message("$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}")


async def opened(*, pipelined: bool = False, **seen: object) -> tuple[Conversation, MemoryStream]:
    """Return a conversation whose CONNECT was accepted."""
    conversation, stream = new(pipelined=pipelined, **seen), MemoryStream()
    opening = asyncio.create_task(conversation.open(stream))
    await asyncio.sleep(0)
    stream.say(ConnAck())
    await opening
    stream.said()
    return conversation, stream


def new(*, pipelined: bool = False, **seen: object) -> Conversation:
    return Conversation(
        CONNECT,
        answer_timeout=5.0,
        pipelined=pipelined,
        on_packet=seen.get("on_packet"),  # type: ignore[arg-type]
    )


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_subscribe_follows_connack_and_its_answer_is_awaited() -> None:
    conversation, stream = await opened()
    assert stream.said() == []
    subscribing = asyncio.create_task(conversation.subscribed())
    await turns()
    assert stream.said() == [SUBSCRIBE]
    stream.say(SubAck(1, [1]))
    assert await subscribing == 1


async def test_what_is_pipelined_leaves_in_one_flight_and_once() -> None:
    conversation, stream = new(pipelined=True), MemoryStream()
    opening = asyncio.create_task(conversation.open(stream, REQUEST))
    await turns()
    assert stream.said() == [
        CONNECT,
        SUBSCRIBE,
        Publish(REQUEST.topic, REQUEST.payload, 1, packet_id=2),
    ]
    stream.say(ConnAck(), SubAck(1, [0]))
    await opening
    assert await conversation.subscribed() == 0
    await turns()
    assert stream.said() == []


async def test_a_refused_subscription_names_its_filter() -> None:
    conversation, stream = await opened(pipelined=True)
    stream.say(SubAck(1, [REFUSED]))
    with pytest.raises(SubscribeRefused, match="refused topic filter") as caught:
        await conversation.subscribed()
    assert caught.value.topic_filter == RESPONSE_FILTER
    assert "not a DPS endpoint" in caught.value.hint


async def test_a_request_is_sent_with_qos_1() -> None:
    conversation, stream = await opened()
    conversation.send(REQUEST)
    await turns()
    assert stream.said() == [Publish(REQUEST.topic, REQUEST.payload, 1, packet_id=1)]


@pytest.mark.parametrize("qos", [0, 1])
async def test_an_answer_is_acknowledged_and_wakes_its_reader(qos: int) -> None:
    conversation, stream = await opened()
    reading = asyncio.create_task(conversation.next_message())
    await turns()
    stream.say(Publish("a", b"1", qos, packet_id=9 if qos else None))
    async with asyncio.timeout(10):
        assert await reading == Message("a", b"1")
    await turns()
    assert stream.said() == ([PubAck(9)] if qos else [])


async def test_messages_are_read_in_their_order_and_none_comes_in_time() -> None:
    conversation, stream = await opened()
    stream.say(Publish("a", b"1"), Publish("b", b"2"))
    async with asyncio.timeout(10):
        found = [await conversation.next_message() for _ in range(2)]
    assert found == [Message("a", b"1"), Message("b", b"2")]
    assert await conversation.next_message(0) is None


@pytest.mark.parametrize("waits", [False, True])
async def test_the_end_comes_after_the_last_message_with_its_reason(waits: bool) -> None:
    conversation, stream = await opened()
    reason = ConnectionLost("reset")
    reading = asyncio.create_task(conversation.next_message()) if waits else None
    await turns()
    assert stream.receiver is not None
    if reading is None:
        stream.say(Publish("a", b"1"))
        stream.receiver.stream_ended(reason)
        assert await conversation.next_message() == Message("a", b"1")
        reading = asyncio.create_task(conversation.next_message())
    else:
        stream.receiver.stream_ended(reason)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionLost, match=r"^reset") as caught:
            await reading
    assert caught.value is reason
    with pytest.raises(ConnectionLost) as caught:
        conversation.send(REQUEST)
    assert caught.value is reason


async def test_after_a_goodbye_the_end_has_a_sentence_of_its_own() -> None:
    conversation, stream = await opened()
    await conversation.leave(1.0)
    assert (stream.said(), stream.ended) == ([Disconnect()], ["finish"])
    with pytest.raises(ConnectionLost, match="the connection was closed"):
        await conversation.next_message()


async def test_leaving_a_connection_that_was_lost_does_not_wait_for_its_peer() -> None:
    conversation, stream = await opened()
    stream.slow = True
    assert stream.receiver is not None
    stream.receiver.stream_ended(ConnectionLost("reset"))
    closing = conversation._link.closing
    assert closing is not None
    async with asyncio.timeout(10):
        await conversation.leave(60.0)
    assert stream.ended == ["close"], "the goodbye was begun"
    assert closing.done()


async def test_each_packet_is_shown() -> None:
    seen: list[tuple[str, Packet]] = []
    await opened(on_packet=lambda arrow, packet: seen.append((arrow, packet)))
    assert [(arrow, type(packet)) for arrow, packet in seen] == [(">", Connect), ("<", ConnAck)]


async def test_connack_is_awaited_for_as_long_as_was_said() -> None:
    conversation, stream = new(), MemoryStream()
    opening = asyncio.create_task(conversation.open(stream))
    await turns()
    protocol = conversation._link.protocol
    assert protocol.deadline == pytest.approx(protocol._last_sent + 5.0)
    await conversation.leave(1.0)
    with pytest.raises(Exception, match="connect"):
        await opening
