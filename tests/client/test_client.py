"""AsyncClient over every transport, against our own server half."""

import asyncio
import gc
import ssl
import warnings

import pytest

from mqttws import (
    AsyncClient,
    ConnectionLost,
    ConnectRefused,
    DeliveryUnknown,
    KeepAliveExpired,
    PacketTooLarge,
    ProtocolError,
    QueueFull,
    ReceivedMessage,
    RequestTimedOut,
    SubscribeRefused,
    TlsConfig,
    UnexpectedPacket,
    UsageError,
    Will,
)
from mqttws.client.engine import Engine
from mqttws.protocol import MessageReceived, SubscribeReceived
from mqttws.wire import Packet, PingReq, PubAck, Publish, encode

from ..net.rogue import Certificates, frame, listening, read_frame, silent, upgrade
from .broker import Broker, broker
from .test_reconnect import sent, until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

SCHEMES = ["wss", "mqtts", "ws", "mqtt"]
CONNACK = b"\x20\x02\x00\x00"


def carried_by(scheme: str, certificates: Certificates) -> dict[str, object]:
    tls: ssl.SSLContext | None = certificates.server() if scheme in ("wss", "mqtts") else None
    return {"websocket": scheme in ("wss", "ws"), "tls": tls}


def client_of(
    server: Broker, certificates: Certificates, scheme: str = "wss", **options: object
) -> AsyncClient:
    return AsyncClient(
        f"{scheme}://127.0.0.1:{server.port}/mqtt",
        client_id="c",
        tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
        **options,  # type: ignore[arg-type]
    )


def engine_of(client: AsyncClient) -> Engine:
    found = getattr(client, "client", None)
    return client._engine if found is None else found._client._engine  # type: ignore[no-any-return]


@pytest.mark.rule("MQTT-7.1.2-1")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_published_comes_to_the_subscriber(
    certificates: Certificates, scheme: str, qos: int
) -> None:
    async with (
        broker(**carried_by(scheme, certificates)) as server,  # type: ignore[arg-type]
        client_of(server, certificates, scheme) as client,
    ):
        assert await client.subscribe("a/#", qos=qos) == [qos]
        messages = client.messages()
        for number in range(20):
            await client.publish(f"a/{number}", b"x" * number, qos=qos)
        for number in range(20):
            message = await anext(messages)
            assert (message.topic, message.payload) == (f"a/{number}", b"x" * number)
            assert message.qos == qos
        await client.unsubscribe("a/#")
        await client.publish("a/late", b"", qos=1)
        await client.disconnect()
        assert [message async for message in messages] == []


async def test_a_large_message_crosses_frames_and_segments(certificates: Certificates) -> None:
    payload = bytes(range(256)) * 3000
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            await client.subscribe("big", qos=1)
            await client.publish("big", payload, qos=1)
            assert (await anext(client.messages())).payload == payload


@pytest.mark.only_async
@pytest.mark.rule("MQTT-6.0.0-2", "WS-4")
async def test_publishes_that_wait_together_go_in_one_message(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            before = len(server.last.chunks)
            await asyncio.gather(*(client.publish("t", b"x", qos=1) for _ in range(50)))
            assert len(server.last.chunks) == before + 1


@pytest.mark.only_async
async def test_a_loop_that_only_publishes_lets_others_run(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(other())
            for _ in range(5000):
                await client.publish("t", b"x" * 100)
            task.cancel()
            assert turns > 5


@pytest.mark.rule("MQTT-6.0.0-2", "WS-3", "WS-5", "WS-42", "WS-44", "WS-46", "WS-47", "WS-4")
async def test_packets_may_be_cut_over_frames_in_any_way(certificates: Certificates) -> None:
    message = encode(Publish("t", b"payload"))

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        for byte in CONNACK:
            writer.write(frame(bytes((byte,))) + frame(b""))
        writer.write(frame(message + message[:3]))
        # One message in fragments, a ping between them.
        writer.write(frame(message[3:5], final=False))
        writer.write(frame(b"?", opcode=9))
        writer.write(frame(message[5:] + message, opcode=0, final=False))
        writer.write(frame(b"", opcode=0))
        opcode, answer = await read_frame(reader)
        assert (opcode, answer) == (10, b"?")
        writer.write(frame(encode(Publish("t", b"ponged"))))
        await silent(reader, writer)

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/", tls=TlsConfig(ca=certificates.ca_file, only_ca=True)
        )
        async with client:
            messages = client.messages()
            payloads = [(await anext(messages)).payload for _ in range(4)]
    assert payloads == [b"payload"] * 3 + [b"ponged"]


async def test_the_largest_websocket_message_follows_the_largest_packet(
    certificates: Certificates,
) -> None:
    packet = encode(Publish("t", bytes(60_000)))
    message = packet * 30  # 1.8 MB
    too_long = 4 * 512 * 1024 + 1

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        writer.write(frame(CONNACK))
        writer.write(b"\x82\x7f" + len(message).to_bytes(8, "big") + message)
        writer.write(b"\x82\x7f" + too_long.to_bytes(8, "big"))
        await silent(reader, writer)

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/",
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            max_packet_size=512 * 1024,
            reconnect=None,
        )
        async with client:
            messages = client.messages()
            for _ in range(30):
                assert len((await anext(messages)).payload) == 60_000
            with pytest.raises(ProtocolError, match=r"too big|over size|exceeds|limit"):
                await anext(messages)


@pytest.mark.rule("WS-26")
async def test_frames_in_the_segment_of_the_upgrade_are_not_lost(
    certificates: Certificates,
) -> None:
    # Against the rules the server does not wait for CONNECT: its answer must be judged, not lost.
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        writer.write(frame(CONNACK))
        await silent(reader, writer)

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/", tls=TlsConfig(ca=certificates.ca_file, only_ca=True)
        )
        async with client:
            assert client.connected


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (frame(b"text", opcode=1), ProtocolError),
        (frame(b"\x00\x00"), ProtocolError),
        (frame(CONNACK), UnexpectedPacket),
        (frame(b"\x30\xff\xff\xff\x7f"), PacketTooLarge),
        (frame(b"", masked=True), ProtocolError),
        (frame((1011).to_bytes(2, "big") + b"oops", opcode=8), ConnectionLost),
        (b"", ConnectionLost),
    ],
    ids=["text", "type-0", "second-connack", "too-large", "masked", "close", "eof"],
)
async def test_what_breaks_a_connection_reaches_every_waiter(
    certificates: Certificates, sent: bytes, error: type[Exception]
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        writer.write(frame(CONNACK))
        await read_frame(reader)  # the publish
        writer.write(sent)
        if sent:
            await silent(reader, writer)

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/",
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            reconnect=None,
        )
        async with client:
            messages = asyncio.ensure_future(anext(client.messages()))
            with pytest.raises(DeliveryUnknown) as caught:
                await client.publish("t", b"x", qos=1)
            assert isinstance(caught.value.__cause__, error)
            with pytest.raises(error):
                await messages
            with pytest.raises(error):
                await client.publish("t", b"x")
            assert not client.connected
            if sent and error is ConnectionLost:
                assert isinstance(caught.value, ConnectionLost)
                assert (caught.value.close_code, caught.value.close_reason) == (1011, "oops")


async def test_a_refused_filter_is_told(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        server.forbidden = {"secret/#"}
        async with client_of(server, certificates) as client:
            with pytest.raises(SubscribeRefused, match="secret/#") as caught:
                await client.subscribe([("a", 0), ("secret/#", 1)])
            assert caught.value.topic_filter == "secret/#"
            assert client.connected


async def test_several_filters_share_a_qos_and_a_pair_has_its_own(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            assert await client.subscribe(["a", ("b", 2), "c/#"], 1) == [1, 2, 1]


@pytest.mark.parametrize("what", ["publish", "subscribe"])
async def test_a_silent_server_ends_a_request_at_its_time_limit(
    certificates: Certificates, what: str
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        server.mute = MessageReceived if what == "publish" else SubscribeReceived
        async with client_of(server, certificates, request_timeout=0.2) as client:
            with pytest.raises(RequestTimedOut) as caught:
                await (client.publish("t", qos=1) if what == "publish" else client.subscribe("t"))
            assert caught.value.hint


async def test_misuse_is_told_at_the_call_and_harms_nothing(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        client = client_of(server, certificates)
        with pytest.raises(UsageError, match="connect"):
            await client.publish("t")
        with pytest.raises(UsageError, match="connect"):
            await anext(client.messages())
        async with client:
            for call in (
                client.publish("a/+"),
                client.publish(""),
                client.publish("t" * 65536),
                client.publish("t", qos=3),
                client.publish("t", 5),  # type: ignore[arg-type]
                client.publish("t", "\ud800"),
                client.subscribe([("a",)]),  # type: ignore[list-item]
                client.subscribe("a/#/b"),
                client.subscribe([]),
                client.unsubscribe(),
                client.connect(),
            ):
                with pytest.raises(UsageError):
                    await call
            await client.publish("t", b"still fine", qos=1)
        with pytest.raises(UsageError, match="disconnected"):
            await client.publish("t")
        await client.disconnect()  # twice does no harm


def test_bad_connect_arguments_are_told_when_the_client_is_made() -> None:
    for options in (
        {"client_id": "", "clean_session": False},
        {"password": "x"},
        {"keep_alive": 65536},
        {"will": Will("a/#")},
        {"client_id": "a\0b"},
    ):
        with pytest.raises(UsageError):
            AsyncClient("wss://h/", **options)  # type: ignore[arg-type]


def test_a_password_that_has_no_utf_8_is_told_without_showing_it() -> None:
    with pytest.raises(UsageError, match="surrogate") as caught:
        AsyncClient("wss://localhost/mqtt", username="u", password="secret\udc80")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_password_in_the_clear_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="in the clear") as told:
        AsyncClient("ws://h/", username="u", password="p")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsyncClient("wss://h/", username="u", password="p")
        AsyncClient("ws://127.0.0.1/", username="u", password="p")  # it does not leave this machine


@pytest.mark.parametrize(
    ("login", "hint"),
    [
        ({}, "no login was sent: give a user name and a password"),
        ({"username": "u"}, "no password was sent: give one"),
        ({"username": "u", "password": "p"}, "check user name and password"),
    ],
)
async def test_a_refused_login_says_what_was_sent(
    login: dict[str, str], hint: str, certificates: Certificates
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        server.refuse_with = 5
        with pytest.raises(ConnectRefused) as refused:
            await client_of(server, certificates, **login).connect()
        assert refused.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("tcp://h", "write mqtt:// in place of tcp://"),
        ("ssl://h", "write mqtts:// in place of ssl://"),
        ("https://h", "write wss:// in place of https://"),
        ("localhost", "begin with one, such as mqtts://HOST or wss://HOST/mqtt"),
    ],
)
def test_the_scheme_of_another_client_is_translated(url: str, hint: str) -> None:
    with pytest.raises(UsageError, match="URL scheme") as caught:
        AsyncClient(url)
    assert caught.value.hint == hint


@pytest.mark.rule("MQTT-3.1.2-23")
async def test_an_idle_client_pings_and_a_dead_link_is_noticed(certificates: Certificates) -> None:
    seen: list[tuple[str, Packet]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        writer.write(frame(CONNACK))
        await read_frame(reader)
        writer.write(frame(b"\xd0\x00"))  # the first ping is answered, the next is not
        await silent(reader, writer)

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/",
            keep_alive=2,
            reconnect=None,
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            on_packet=lambda direction, packet: seen.append((direction, packet)),
        )
        async with client:
            with pytest.raises(KeepAliveExpired):
                async with asyncio.timeout(20):
                    await anext(client.messages())
    assert [packet for direction, packet in seen if direction == ">"].count(PingReq()) == 2


async def test_a_slow_consumer_holds_the_server_back_and_loses_nothing(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates, max_queued=10) as client:
            await client.subscribe("t", qos=0)
            link = server.last
            for number in range(2000):
                link.protocol.publish("t", number.to_bytes(2, "big") + bytes(1000), 0)
            link.pump()
            messages = client.messages()
            for number in range(2000):
                message = await anext(messages)
                assert message.payload[:2] == number.to_bytes(2, "big")
                if number % 100 == 0:
                    # A call of its own is answered though the queue is full.
                    await client.publish("other", b"", qos=1)


async def test_a_consumer_that_publishes_in_its_loop_never_deadlocks(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates, max_queued=1) as client:
            await client.subscribe("t", qos=1)
            await asyncio.gather(*(client.publish("t", b"%d" % n, qos=1) for n in range(100)))
            seen = []
            async for message in client.messages():
                seen.append(int(message.payload))
                await client.publish("answer", message.payload, qos=1)
                if len(seen) == 100:
                    break
            assert sorted(seen) == list(range(100))  # threads publish in any order


async def test_an_answer_that_comes_while_the_request_is_being_sent_is_not_missed(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates, request_timeout=20) as client:
            await asyncio.gather(*(client.publish("t", bytes(300_000), qos=1) for _ in range(30)))


@pytest.mark.only_async
async def test_a_reader_that_is_woken_and_cancelled_wakes_the_next(
    certificates: Certificates,
) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            await client.subscribe("t", qos=1)
            first = asyncio.ensure_future(anext(client.messages()))
            second = asyncio.ensure_future(anext(client.messages()))
            await asyncio.sleep(0)
            link = server.last
            link.protocol.publish("t", b"x", 0)
            link.pump()
            while not client._engine.inbox.count:
                await asyncio.sleep(0)
            first.cancel()
            async with asyncio.timeout(10):
                assert (await second).payload == b"x"
            assert first.cancelled()


@pytest.mark.parametrize("while_waiting", [False, True])
async def test_a_server_that_floods_is_bounded_in_bytes(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, while_waiting: bool
) -> None:
    monkeypatch.setattr("mqttws.client.reading.MAX_UNREAD_BYTES", 100_000)
    monkeypatch.setattr("mqttws.client.engine.MAX_UNREAD_BYTES", 100_000)
    monkeypatch.setattr("mqttws.client.reading.MAX_UNREAD_BYTES_WAITING", 1_000_000)
    flood = frame(encode(Publish("t" * 60_000)))

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await read_frame(reader)
        writer.write(frame(CONNACK))
        while True:
            writer.write(flood)
            await writer.drain()
            await asyncio.sleep(0)  # drain alone does not see that the client has left

    async with listening(handler, certificates.server()) as port:
        client = AsyncClient(
            f"wss://127.0.0.1:{port}/", tls=TlsConfig(ca=certificates.ca_file, only_ca=True)
        )
        async with client:
            if while_waiting:
                with pytest.raises(QueueFull, match="unread"):
                    await client.subscribe("t")
                assert client.connected, "the socket is left unread again"
            else:
                messages = client.messages()
                for _ in range(20):
                    await anext(messages)
                    assert client.connected
                    assert engine_of(client).inbox.size < 2_000_000


@pytest.mark.rule("MQTT-3.3.4-1")
async def test_a_message_that_was_not_handed_out_is_not_acknowledged(
    certificates: Certificates,
) -> None:
    seen: list[tuple[str, Packet]] = []
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        client = client_of(
            server,
            certificates,
            on_packet=lambda direction, packet: seen.append((direction, packet)),
        )
        async with client:
            await client.subscribe("t", qos=1)
            await client.publish("t", b"1", qos=1)
            await client.publish("t", b"2", qos=1)
            await client.publish("fence", b"", qos=1)
            await until(lambda: len(sent(seen, Publish)) == 3)  # the observer comes behind
            assert sent(seen, PubAck) == []
            await anext(client.messages())
            await client.publish("fence", b"", qos=1)
            await until(lambda: len(sent(seen, Publish)) == 4)
            assert len(sent(seen, PubAck)) == 1


@pytest.mark.only_async
async def test_cancelling_a_wait_loses_no_message(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            await client.subscribe("t", qos=1)
            messages = client.messages()
            for number in range(20):
                waiting = asyncio.ensure_future(anext(messages))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await client.publish("t", b"%d" % number, qos=1)
                assert (await anext(messages)).payload == b"%d" % number


@pytest.mark.only_async
async def test_a_cancelled_publish_leaves_the_client_usable(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        async with client_of(server, certificates) as client:
            for turns in range(10):
                task = asyncio.ensure_future(client.publish("t", b"x", qos=1))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await client.publish("t", b"last", qos=1)


async def test_the_password_is_in_no_repr_and_no_trace(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        client = client_of(server, certificates, username="user", password="hunter2")
        async with client:
            await client.publish("t", b"payload-hunter2", qos=1)
        assert "hunter2" not in repr(client)
    assert "user" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_will_is_due_when_the_client_is_lost_and_not_when_it_leaves(
    certificates: Certificates,
) -> None:
    from mqttws.protocol import WillDue

    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        client = client_of(server, certificates, will=Will("gone", b"lost"))
        await client.connect()
        await client.disconnect()
        events = []
        while (event := server.last.protocol.next_event()) is not None:
            events.append(event)
        assert not any(isinstance(event, WillDue) for event in events)


def test_a_received_message_is_a_value() -> None:
    message = ReceivedMessage("t", b"x", 0, False, False)
    assert message == ReceivedMessage("t", b"x", 0, False, False)
    assert "payload=b'x'" in repr(message)


async def test_a_closed_client_leaves_no_socket_and_no_timer(certificates: Certificates) -> None:
    async with broker(**carried_by("wss", certificates)) as server:  # type: ignore[arg-type]
        for _ in range(5):
            client = client_of(server, certificates, keep_alive=1)
            async with client:
                await client.publish("t", qos=1)
        await asyncio.sleep(0)
    gc.collect()  # a socket that was left open would warn here, and warnings are errors
