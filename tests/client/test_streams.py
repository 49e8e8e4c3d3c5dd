"""Nothing that no reader has seen is thrown away: streams, and messages that fit none."""

import asyncio
import copy
import dataclasses
import pickle
import time
from pathlib import Path

import pytest

from mqttws import AsyncClient, ReceivedMessage, RequestTimedOut, SqliteStore, UsageError
from mqttws.client.filters import FilterIndex
from mqttws.client.inbox import Inbox
from mqttws.client.patience import Patience
from mqttws.protocol.arrivals import Arrivals
from mqttws.wire import Packet, PubAck, Publish, PubRec, Subscribe, matches

from .broker import broker
from .scripted import Peer, scripted
from .test_reconnect import until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients


def client_of(port: int, **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("clean_session", False)
    return AsyncClient(f"mqtt://127.0.0.1:{port}", **options)  # type: ignore[arg-type]


def messages_waiting(count: int, window: int = 20) -> tuple[object, list[int]]:
    """Return a script of a session with ``count`` messages to a/…, then as many to b/…."""
    acknowledged: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=True)
        left = [
            Publish(f"{topic}/{n}", b"%d" % n, 1, packet_id=number)
            for number, (topic, n) in enumerate(
                ((topic, n) for topic in "ab" for n in range(count)), 1
            )
        ]
        for packet in left[:window]:
            peer.send(packet)
        del left[:window]
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, PubAck):
                acknowledged.append(packet.packet_id)
                if left:
                    peer.send(left.pop(0))
            else:
                peer.answer(packet)

    return script, acknowledged


async def test_streams_opened_before_connect_get_what_a_session_brings() -> None:
    script, acknowledged = messages_waiting(10)
    async with scripted(script) as port:  # type: ignore[arg-type]
        client = client_of(port)
        first, second = client.messages("a/#"), client.messages("b/#")
        with pytest.raises(UsageError, match="not connected"):
            await anext(first)
        async with client:
            assert [(await anext(first)).topic for _ in range(10)] == [f"a/{n}" for n in range(10)]
            assert [(await anext(second)).topic for _ in range(10)] == [f"b/{n}" for n in range(10)]
            assert client.unmatched == 0
            await until(lambda: len(acknowledged) == 20)


async def test_a_stream_that_is_opened_later_gets_all_that_waited() -> None:
    script, acknowledged = messages_waiting(10)
    async with scripted(script) as port, client_of(port) as client:  # type: ignore[arg-type]
        first = client.messages("a/#")
        assert [(await anext(first)).payload for _ in range(10)] == [b"%d" % n for n in range(10)]
        await client.publish("t", b"", qos=1)
        assert len(acknowledged) == 10
        second = client.messages("b/#")
        assert [(await anext(second)).payload for _ in range(10)] == [b"%d" % n for n in range(10)]
        assert client.unmatched == 0


@pytest.mark.parametrize("wait", [0.3, None])
async def test_unmatched_messages_hold_others_up_no_longer_than_the_wait(
    caplog: pytest.LogCaptureFixture, wait: float | None
) -> None:
    script, acknowledged = messages_waiting(25)  # on a broker whose window is 20
    async with scripted(script) as port:  # type: ignore[arg-type]
        client = client_of(port, unmatched_wait=wait)
        second = client.messages("b/#")
        async with client:
            if wait is None:
                await asyncio.sleep(0.5)
                assert acknowledged == [], "never acknowledged unread"
                assert client.unmatched == 0
            else:
                for n in range(25):
                    assert (await anext(second)).payload == b"%d" % n
                assert client.unmatched == 25
                assert "fits no open stream" in caplog.text
            first = client.messages("a/#")
            for n in range(25):
                assert (await anext(first)).payload == b"%d" % n


async def test_no_more_than_max_queued_unmatched_messages_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script, _ = messages_waiting(25)
    async with scripted(script) as port:  # type: ignore[arg-type]
        client = client_of(port, unmatched_wait=0, max_queued=10)
        second = client.messages("b/#")
        async with client:
            for _ in range(25):
                await anext(second)
            assert client.unmatched == 25
            first = client.messages("a/#")
            assert [(await anext(first)).payload for _ in range(10)] == [
                b"%d" % n for n in range(15, 25)
            ], "the newest"
    assert "the oldest are dropped" in caplog.text


async def test_unread_messages_of_a_session_are_not_lost_by_leaving() -> None:
    async with broker(websocket=False) as server:
        async with client_of(server.port) as client:
            await client.subscribe("t", qos=1)
        async with AsyncClient(f"mqtt://127.0.0.1:{server.port}") as other:
            for n in range(5):
                await other.publish("t", b"%d" % n, qos=1)
        async with client_of(server.port) as client:
            client.messages("other")
            await client.publish("x", b"", qos=1)
        again = client_of(server.port)
        messages = again.messages()
        async with again:
            assert [(await anext(messages)).payload for _ in range(5)] == [
                b"%d" % n for n in range(5)
            ]


# Messages are values


@pytest.mark.parametrize("manual", [True, False])
async def test_a_message_can_be_pickled_copied_printed_and_kept(manual: bool) -> None:
    async with broker(websocket=False) as server, client_of(server.port, manual_ack=manual) as one:
        await one.subscribe("t", qos=1)
        messages = one.messages()
        await one.publish("t", b"x", qos=1)
        message = await anext(messages)
        copies = (
            pickle.loads(pickle.dumps(message)),
            copy.copy(message),
            copy.deepcopy(message),
            dataclasses.replace(message),
        )
        for made in copies:
            assert made == message
            assert type(made) is ReceivedMessage
            made.ack()  # a copy acknowledges nothing
        assert dataclasses.asdict(message) == {
            "topic": "t", "payload": b"x", "qos": 1, "retain": False, "dup": False,
        }  # fmt: skip
        assert repr(message) == (
            "ReceivedMessage(topic='t', payload=b'x', qos=1, retain=False, dup=False)"
        )
        message.ack()
    kept = {name for name in ReceivedMessage.__slots__ if name not in ("_acknowledge",)}
    assert not any(type(getattr(message, name)).__module__ for name in kept) or all(
        type(getattr(message, name)).__module__ == "builtins" for name in kept
    )


# Costs


def test_the_index_of_filters_agrees_with_the_rule() -> None:
    filters = ["#", "+/+", "a/#", "a/+", "a/b", "+/b", "a/b/#", "$SYS/#", "+", "a", "/", "+/", "/+"]
    topics = ["a", "a/b", "a/c", "b/b", "$SYS/x", "$SYS", "a/b/c", "/", "x/", "/x", "", "$a/b"]
    for first in range(len(filters)):
        order = filters[first:] + filters[:first]
        index: FilterIndex[str] = FilterIndex()
        for one in order:
            index.add(one, one)
        while order:
            for topic in topics:
                expected = next((one for one in order if matches(one, topic)), None)
                assert index.match(topic) == expected, (topic, order)
            gone = order.pop(len(order) // 2)
            assert index.pop(gone) == gone
            assert index.get(gone) is None
        assert not len(index)
        assert not index._top.below, "nothing is left behind"


def cost(work: object) -> float:
    best = float("inf")
    for _ in range(3):
        before = time.process_time()
        work()  # type: ignore[operator]
        best = min(best, time.process_time() - before)
    return best


@pytest.mark.only_async
def test_a_message_costs_the_same_past_one_stream_and_past_thousands() -> None:
    def work(streams: int) -> object:
        inbox = Inbox(lambda message: None, lambda message: None, 10_000, 10.0)
        for n in range(streams):
            inbox.open(f"f/{n}/+")
        last = inbox.open("last")

        def put() -> None:
            for _ in range(3000):
                inbox.put(ReceivedMessage("last", b"x", 0, False, False))
                inbox.take(last)

        return put

    assert cost(work(4000)) < 5 * cost(work(4))


@pytest.mark.only_async
def test_acknowledging_costs_the_same_whatever_waits() -> None:
    def work(count: int) -> object:
        def run() -> None:
            for _ in range(8000 // count):
                arrivals = Arrivals()
                for packet_id in range(1, count + 1):
                    arrivals.add(packet_id, 2)
                for packet_id in range(count, 0, -1):
                    arrivals.acknowledge(packet_id)
                assert len(list(arrivals.due())) == count

        return run

    assert cost(work(8000)) < 5 * cost(work(100))


async def test_short_waits_for_a_receipt_leave_nothing_behind() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while await peer.packet() is not None:
            pass

    async with scripted(script) as port:
        client = client_of(port)
        async with client:
            receipt = client.publish_nowait("t", b"x", qos=1)
            for _ in range(20):
                with pytest.raises(TimeoutError):
                    await receipt.wait(0.001)
            inner = getattr(receipt, "_receipt", receipt)
            assert not inner._waiters
            assert not getattr(inner, "_events", ())
            await client.disconnect(0.1)


# Hand-overs with a store


async def test_a_qos_2_message_that_fitted_no_stream_is_handed_out_once(tmp_path: Path) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=True)
        peer.send(Publish("a", b"x", 2, packet_id=7, dup=peer.number > 1))
        while (packet := await peer.packet()) is not None:
            heard.append(packet)
            if not isinstance(packet, PubRec):
                peer.answer(packet)
            elif peer.number == 1:
                peer.reset()
                return

    async with scripted(script) as port:
        client = client_of(port, unmatched_wait=0.05, store=SqliteStore(tmp_path / "s"))
        other = client.messages("other")
        async with client:
            await until(lambda: heard.count(PubRec(7)) == 2)
            stream = client.messages("a")
            assert (await anext(stream)).payload == b"x"
            await client.publish("t", b"", qos=1)
            other.close()
            assert client.unmatched == 1


async def test_what_comes_while_a_subscription_is_unanswered_waits_for_its_stream() -> None:
    """The program opens its stream when ``subscribe`` has returned, however long that takes."""
    acknowledged: list[int] = []
    answers = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=True)
        peer.send(*[Publish("a", b"%d" % n, 1, packet_id=n) for n in range(1, 4)])
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, PubAck):
                acknowledged.append(packet.packet_id)
            if isinstance(packet, Subscribe):
                await answers.wait()
            peer.answer(packet)

    wait = 0.2
    async with scripted(script) as port, client_of(port, unmatched_wait=wait) as client:
        subscribing = asyncio.ensure_future(client.subscribe("a", 1))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: loop.time() - began > 2 * wait)
        assert acknowledged == [], "no reader could have seen them"
        answers.set()
        await subscribing
        messages = client.messages("a")
        assert [(await anext(messages)).payload for _ in range(3)] == [b"1", b"2", b"3"]
        assert client.unmatched == 0


async def test_an_unanswered_subscription_holds_messages_no_longer_than_its_own_limit() -> None:
    acknowledged: list[tuple[int, float]] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=True)
        peer.send(Publish("b", b"", 1, packet_id=7))
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, PubAck):
                acknowledged.append((packet.packet_id, time.monotonic()))

    async with scripted(script) as port:
        async with client_of(port, unmatched_wait=0.1, request_timeout=0.3) as client:
            began = time.monotonic()
            with pytest.raises(RequestTimedOut):
                await client.subscribe("a", 1)
            await until(lambda: acknowledged)
            [(packet_id, when)] = acknowledged
            assert (packet_id, when - began > 0.3) == (7, True)
            assert client.unmatched == 1


async def test_the_time_for_a_stream_stands_still_over_connections_and_ends_once() -> None:
    ended: list[bool] = []
    loop = asyncio.get_running_loop()
    patience = Patience(0.05, lambda: ended.append(True))
    with patience.subscribing(), patience.subscribing():
        patience.begin(loop)
        patience.stop()
        patience.begin(loop)
        await asyncio.sleep(0.1)
        assert patience.lasts
    await until(lambda: ended)
    with patience.subscribing():
        assert not patience.lasts
    await asyncio.sleep(0.1)
    assert ended == [True]
    patience.begin(loop)
    assert patience.lasts
    patience.stop()
    with patience.subscribing():
        pass
    await asyncio.sleep(0.1)
    assert ended == [True], "there is no connection"
