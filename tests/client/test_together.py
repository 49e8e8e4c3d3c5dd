"""What makes the client fast over WebSocket, as facts: what goes and comes together.

No times are measured here (``benchmarks/`` does that); each test counts frames, writes or turns of
the event loop.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mqttws import AsyncClient, Backoff, Client
from mqttws.client import sync
from mqttws.client.options import ClientState
from mqttws.client.sync import MAX_JOBS
from mqttws.errors import ConnectionLost, ProtocolError, QueueFull, UsageError
from mqttws.loop_thread import thread
from mqttws.net.stream import ByteStream
from mqttws.wire import Decoder, Packet, Publish

from ..net.test_carriage import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    End,
    EndOf,
    Heard,
    both_ends,
    frame,
    frames,
)
from .broker import broker


def packets(data: bytes) -> list[Packet]:
    """Return the packets in what one frame carried."""
    decoder = Decoder()
    decoder.feed(data)
    found = []
    while (packet := decoder.next_packet()) is not None:
        found.append(packet)
    assert decoder.buffered == 0
    return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What clients hand to their sockets, a piece for each time."""
    pieces: list[bytes] = []
    write = ByteStream.write

    def note(stream: ByteStream, data: bytes) -> None:
        if data[1] & 0x80:  # masked: a client's
            pieces.append(data)
        write(stream, data)

    monkeypatch.setattr(ByteStream, "write", note)
    return pieces


@pytest.mark.rule("MQTT-6.0.0-2", "WS-4")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publishes_that_wait_at_the_same_moment_go_out_in_one_frame(
    written: list[bytes], qos: int
) -> None:
    async with broker(websocket=True) as server:
        async with AsyncClient(f"ws://127.0.0.1:{server.port}/mqtt") as client:
            written.clear()
            await asyncio.gather(*(client.publish("t", b"%d" % n, qos=qos) for n in range(50)))
            await asyncio.sleep(0)
            (first, *_) = frames(written[0])
            sent = packets(first.payload)
            together = 20 if qos == 2 else 50  # max_in_flight_qos2
            assert [packet.payload for packet in sent if isinstance(packet, Publish)] == [
                b"%d" % n for n in range(together)
            ]
            assert len(sent) == together


async def test_publishes_without_waiting_go_out_in_one_frame_too(written: list[bytes]) -> None:
    async with broker(websocket=True) as server:
        async with AsyncClient(f"ws://127.0.0.1:{server.port}/mqtt") as client:
            written.clear()
            receipts = [client.publish_nowait("t", b"", qos=1) for _ in range(50)]
            await asyncio.sleep(0)
            (piece,) = written
            (only,) = frames(piece)
            assert len(packets(only.payload)) == 50
            for receipt in receipts:
                await receipt.wait(10)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_lone_publish_goes_out_in_the_turn_of_the_loop_it_was_made_in(
    written: list[bytes], qos: int
) -> None:
    async with broker(websocket=True) as server:
        async with AsyncClient(f"ws://127.0.0.1:{server.port}/mqtt") as client:
            written.clear()
            call = asyncio.ensure_future(client.publish("t", b"alone", qos=qos))
            await asyncio.sleep(0)  # the call has its turn ...
            await asyncio.sleep(0)  # ... and what it put behind itself
            (piece,) = written
            (only,) = frames(piece)
            (packet,) = packets(only.payload)
            assert isinstance(packet, Publish)
            await call


async def test_threads_hand_qos_0_to_the_loop_without_waiting_up_to_a_bound(
    written: list[bytes],
) -> None:
    async with broker(websocket=True) as server:
        client = await asyncio.to_thread(open_client, server.port)
        try:
            held, let_go = threading.Event(), threading.Event()

            def hold() -> None:
                held.set()
                assert let_go.wait(20)

            def publish(count: int) -> None:
                for number in range(count):
                    client.publish("t", b"%d" % number)

            assert client._thread.post(hold)
            assert await asyncio.to_thread(held.wait, 20)
            written.clear()
            await asyncio.to_thread(publish, MAX_JOBS)  # though the client's loop does nothing
            one_more = asyncio.ensure_future(asyncio.to_thread(publish, 1))
            await asyncio.wait([one_more], timeout=0.1)
            assert not one_more.done()
            assert written == []
            let_go.set()
            await one_more
            (first, *_) = frames(written[0])
            payloads = [packet.payload for packet in packets(first.payload)]  # type: ignore[union-attr]
            assert payloads == [b"%d" % number for number in range(MAX_JOBS)]
            with pytest.raises(UsageError, match="wildcard"):
                client.publish("t/#")
        finally:
            await asyncio.to_thread(client.disconnect)


def open_client(port: int) -> Client:
    client = Client(f"ws://127.0.0.1:{port}/mqtt")
    client.connect()
    return client


class Pieces(Heard):
    """What a receiver was told, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)


async def listening(end_of: EndOf) -> tuple[End, Pieces]:
    end = await end_of()
    heard = Pieces()
    end.stream.attach(heard)
    return end, heard


@both_ends
@pytest.mark.rule("MQTT-6.0.0-2", "WS-4")
async def test_frames_that_one_read_brings_are_handed_over_together(end_of: EndOf) -> None:
    end, heard = await listening(end_of)
    masked = not end.client
    parts = [(BINARY, b"one", False), (0, b"", False), (0, b"two", True), (BINARY, b"three", True)]
    read = b"".join(frame(opcode, data, fin=fin, masked=masked) for opcode, data, fin in parts)
    end.stream.data_received(read + frame(BINARY, b"rest", masked=masked)[:-1])
    assert heard.pieces == [b"onetwothree"]
    end.stream.data_received(frame(BINARY, b"rest", masked=masked)[-1:])
    assert heard.pieces == [b"onetwothree", b"rest"]


@both_ends
async def test_what_came_before_the_end_in_the_same_read_is_not_lost(end_of: EndOf) -> None:
    for opcode, payload, rsv, cause in (
        (CLOSE, b"\x03\xe8", 0, ConnectionLost),
        (TEXT, b"x", 0, ProtocolError),
        (BINARY, b"x", 1, ProtocolError),
    ):
        end, heard = await listening(end_of)
        masked = not end.client
        before = [frame(kind, b"in time", masked=masked) for kind in (BINARY, PING, BINARY)]
        last = frame(opcode, payload, rsv=rsv, masked=masked)
        end.stream.data_received(b"".join(before) + last)
        assert b"".join(heard.pieces) == b"in timein time"
        assert isinstance(heard.cause, cause)


@pytest.mark.parametrize("topic_filter", [None, "t"])
async def test_what_a_thread_took_over_ahead_is_in_every_iterator_of_the_stream(
    topic_filter: str | None,
) -> None:
    def one_by_one(port: int) -> list[bytes]:
        with Client(f"ws://127.0.0.1:{port}/mqtt") as client:
            client.subscribe("t", qos=1)
            receipts = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(50)]
            for receipt in receipts:
                receipt.wait(5)
            return [client.messages(topic_filter).next(5).payload for _ in receipts]

    async with broker(websocket=True) as server:
        found = await asyncio.to_thread(one_by_one, server.port)
    assert found == [b"%d" % n for n in range(50)]


async def test_what_a_thread_took_over_ahead_goes_to_another_stream_at_close() -> None:
    def close_after_the_first(port: int) -> list[bytes]:
        with Client(f"ws://127.0.0.1:{port}/mqtt") as client:
            client.subscribe("t", qos=1)
            rest = client.messages()
            with client.messages("t") as stream:
                receipts = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(50)]
                for receipt in receipts:
                    receipt.wait(5)
                found = [stream.next(5).payload]
            return found + [rest.next(5).payload for _ in receipts[1:]]

    async with broker(websocket=True) as server:
        found = await asyncio.to_thread(close_after_the_first, server.port)
    assert found == [b"%d" % n for n in range(50)]


async def test_a_callback_may_disconnect() -> None:
    states: list[ClientState] = []

    def on_state(state: ClientState, reason: object) -> None:
        states.append(state)
        if state is ClientState.CONNECTED:
            client.disconnect()

    def use() -> None:
        with client, pytest.raises(UsageError, match="has been disconnected"):
            client.publish("t", b"x", qos=1)

    async with broker(websocket=True) as server:
        client = Client(f"ws://127.0.0.1:{server.port}/mqtt", on_state=on_state)
        await asyncio.to_thread(use)
    assert states == [ClientState.CONNECTING, ClientState.CONNECTED, ClientState.CLOSED]
    assert client.state is ClientState.CLOSED


async def test_many_threads_may_disconnect_at_the_same_time() -> None:
    async with broker(websocket=True) as server:
        for _ in range(10):
            client = Client(f"ws://127.0.0.1:{server.port}/mqtt")
            await asyncio.to_thread(client.connect)
            await asyncio.gather(*(asyncio.to_thread(client.disconnect) for _ in range(4)))
            assert client.state is ClientState.CLOSED


@pytest.mark.parametrize("qos", [1, 2])
async def test_many_threads_that_wait_lose_nothing_and_keep_their_order(qos: int) -> None:
    async with broker(websocket=True) as server:
        client = Client(
            f"ws://127.0.0.1:{server.port}/mqtt",
            client_id="many",
            clean_session=False,
            reconnect=Backoff(0.0, 0.01),
            max_outgoing=4,  # fewer than threads: some wait for room
        )
        stream = client.messages()

        def publish(name: int) -> None:
            for number in range(30):
                client.publish(f"t/{name}", b"%d" % number, qos=qos)

        def work() -> dict[str, list[int]]:
            came: dict[str, list[int]] = {}
            with client:
                client.subscribe("t/#", qos=qos)
                threads = [threading.Thread(target=publish, args=(name,)) for name in range(8)]
                for one in threads:
                    one.start()
                while sum(len(set(numbers)) for numbers in came.values()) < 8 * 30:
                    message = stream.next(30)
                    came.setdefault(message.topic, []).append(int(message.payload))
                for one in threads:
                    one.join(30)
            return came

        working = asyncio.create_task(asyncio.to_thread(work))
        for cut in range(1, 6):
            while len(server.heard) < 40 * cut:
                await asyncio.sleep(0.001)
            server.cut()
        came = await working
    assert len(came) == 8
    for numbers in came.values():
        assert list(dict.fromkeys(numbers)) == list(range(30))
        if qos == 2:
            assert len(numbers) == 30


@pytest.mark.parametrize("cut_off", [False, True], ids=["not begun", "cut off"])
async def test_a_stream_ends_though_another_thread_leaves_as_its_wait_begins(
    monkeypatch: pytest.MonkeyPatch, cut_off: bool
) -> None:
    async with broker(websocket=False) as server:
        client = Client(f"mqtt://127.0.0.1:{server.port}")
        await asyncio.to_thread(client.connect)
        stream = client.messages()
        call = client._thread.call

        def after_the_end(work: Any) -> Any:
            monkeypatch.setattr(client._thread, "call", call)
            client.disconnect()
            if cut_off:
                raise ConnectionLost("the client was disconnected while this waited")
            return call(work)

        monkeypatch.setattr(client._thread, "call", after_the_end)
        assert await asyncio.to_thread(list, stream) == []


async def test_a_thread_that_publishes_without_waiting_is_told_when_the_outbox_is_full() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK; and then not a byte is read
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await ended.wait()
        writer.transport.abort()

    def flood(port: int) -> int:
        client = Client(f"mqtt://127.0.0.1:{port}", reconnect=None)
        client.connect()
        sent = 0
        try:
            while sent < 9000:
                client.publish_nowait("t", bytes(20_000)).wait(5)
                sent += 1
        except QueueFull:
            pass
        finally:
            client.disconnect(0.1)
        return sent

    ended = asyncio.Event()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        assert await asyncio.to_thread(flood, server.sockets[0].getsockname()[1]) < 5000
        ended.set()


async def test_a_message_that_comes_too_late_for_the_loop_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker(websocket=True) as server:
        client = Client(f"ws://127.0.0.1:{server.port}/mqtt")
        await asyncio.to_thread(client.connect)
        hand_over = client._soon

        def after_the_end(job: Callable[[], None]) -> None:
            client.disconnect()
            hand_over(job)

        monkeypatch.setattr(client, "_soon", after_the_end)
        receipt = await asyncio.to_thread(client.publish_nowait, "t", b"x", qos=1)
        with pytest.raises(UsageError):
            await asyncio.to_thread(receipt.wait, 5)


async def test_ctrl_c_as_a_call_is_handed_over_leaves_nothing_behind() -> None:
    def interrupt_at(client: Client, moment: int) -> bool:
        """Call with an interruption as the n-th function of ours begins; tell if there was one."""
        seen = 0

        def trace(frame: Any, event: str, argument: object) -> None:
            nonlocal seen
            if frame.f_code.co_filename in (sync.__file__, thread.__file__):
                seen += 1
                if seen == moment:
                    raise KeyboardInterrupt

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            client.publish("t", b"x", qos=1)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    def use() -> int:
        moment = 0
        with Client(f"ws://127.0.0.1:{server.port}/mqtt") as client:
            while interrupt_at(client, moment := moment + 1):
                gc.collect()  # a coroutine that nobody awaits is told here, and fails the test
            client.publish("t", b"last", qos=1)
        return moment

    async with broker(websocket=True) as server:
        assert await asyncio.to_thread(use) > 3
        assert server.heard[-1].payload == b"last"
