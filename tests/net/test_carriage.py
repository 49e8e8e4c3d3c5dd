"""The WebSocket that carries MQTT, byte by byte: what both ends send, and what they refuse."""

import asyncio
import base64
import hashlib
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pytest

from mqttws.errors import (
    ConnectionLost,
    MqttwsError,
    PacketTooLarge,
    ProtocolError,
    SubprotocolRefused,
    UpgradeRefused,
)
from mqttws.net.stream import ByteStream
from mqttws.net.target import DEFAULT_PORTS, parse_url
from mqttws.net.upgrade import accept_websocket, open_websocket
from mqttws.net.websocket import WebSocketStream
from mqttws.protocol.events import ConnectionClosed, WillDue
from mqttws.protocol.server import ServerProtocol
from mqttws.wire import Connect, Disconnect, PingReq, Will, encode

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LIMIT = 1000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    "GET /mqtt?x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: other, mqtt\r\n\r\n"
)


class Line:
    """What is below a byte stream."""

    hung_up = False

    def close(self) -> None:
        self.hung_up = True


class Bytes:
    """A byte stream that is a list of what was written and what is to be read."""

    def __init__(self) -> None:
        self.incoming: list[bytes] = []
        self.sent = b""
        self.closed = False
        self.peer = "here"
        self.transport = Line()

    async def read(self) -> bytes:
        return self.incoming.pop(0) if self.incoming else b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def attach(self, receiver: object) -> None:
        self.receiver = receiver

    async def close(self, error: object = None, timeout: float = 0) -> None:
        self.closed = True


class Heard:
    """What a stream's receiver was told."""

    def __init__(self) -> None:
        self.data = b""
        self.cause: MqttwsError | None = None

    def data_received(self, data: bytes) -> None:
        self.data += data

    def stream_ended(self, cause: MqttwsError) -> None:
        assert self.cause is None
        self.cause = cause

    def writing_paused(self, paused: bool) -> None:
        raise AssertionError("nothing is slow here")


class Sent(NamedTuple):
    """A frame as it was sent."""

    opcode: int
    payload: bytes
    key: bytes
    header: int


def frame(
    opcode: int, payload: bytes = b"", *, masked: bool, fin: bool = True, rsv: int = 0
) -> bytes:
    """Return a frame."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask | size)
    else:
        head = struct.pack("!BBH", first, mask | 126, size)
    if not masked:
        return head + payload
    key = b"abcd"
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def frames(data: bytes) -> list[Sent]:
    """Return the frames in what was sent."""
    found = []
    while data:
        assert data[0] & 0xF0 == 0x80, "whole frames, and no extension"
        size, at = data[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        header = at
        key = b""
        if data[1] & 0x80:
            key, at = data[at : at + 4], at + 4
        payload = data[at : at + size]
        assert len(payload) == size
        if key:
            payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        found.append(Sent(data[0] & 15, payload, key, header))
        data = data[at + size :]
    return found


class End(NamedTuple):
    """One end of a WebSocket that is open, and what it hears and says."""

    wire: Bytes
    stream: WebSocketStream
    heard: Heard
    client: bool

    def hear(self, opcode: int, payload: bytes = b"", **more: Any) -> None:
        """Let a frame arrive that the peer made, masked as it should be unless told otherwise."""
        self.stream.data_received(frame(opcode, payload, **{"masked": not self.client, **more}))

    def said(self) -> list[Sent]:
        """Return the frames that were sent since the last call."""
        data, self.wire.sent = self.wire.sent, b""
        return frames(data)


def answer_to(request: bytes, *more: str) -> bytes:
    """Return the right answer to an opening request."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "upgrade: WebSocket",
        "CONNECTION: upgrade",
        f"sec-websocket-accept: {base64.b64encode(digest).decode()}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Answering(Bytes):
    """A server that answers the opening request rightly, in two segments."""

    def __init__(self, *more: str) -> None:
        super().__init__()
        self.more = more
        self.request = b""

    async def read(self) -> bytes:
        if not self.request:
            self.request, self.sent = self.sent, b""
            answer = answer_to(self.request, *self.more)
            self.incoming = [answer[:20], answer[20:]]
        return await super().read()


async def client_end(url: str = "wss://host/path") -> End:
    wire = Answering("Sec-WebSocket-Protocol: mqtt")
    stream = await open_websocket(cast(Any, wire), url, LIMIT)
    heard = Heard()
    stream.attach(heard)
    return End(wire, stream, heard, True)


async def server_end() -> End:
    wire = Bytes()
    wire.incoming = [REQUEST[:30].encode(), REQUEST[30:].encode()]
    stream = await accept_websocket(cast(Any, wire), lambda path: path == "/mqtt", LIMIT)
    wire.sent = b""
    heard = Heard()
    stream.attach(heard)
    return End(wire, stream, heard, False)


both_ends = pytest.mark.parametrize("end_of", [client_end, server_end])
EndOf = Callable[[], Any]


async def opening(url: str) -> dict[str, str]:
    """Return the lines of the opening request."""
    wire = Answering("Sec-WebSocket-Protocol: mqtt")
    await open_websocket(cast(Any, wire), url, LIMIT)
    first, *lines = wire.request.decode().split("\r\n")
    assert wire.sent == b""
    return {"": first, **dict(line.split(": ", 1) for line in lines if line)}


@pytest.mark.rule(
    "MQTT-6.0.0-3",
    "WS-6",
    "WS-8",
    "WS-15",
    "WS-16",
    "WS-18",
    "WS-19",
    "DPS-T13/device",
    "DPS-T24/device",
)
async def test_the_opening_request_asks_for_mqtt_and_for_nothing_else() -> None:
    lines = await opening("wss://host/a/b?c")
    assert lines[""] == "GET /a/b?c HTTP/1.1"
    assert lines["Host"] == "host"
    assert lines["Upgrade"].lower() == "websocket"
    assert lines["Connection"].lower() == "upgrade"
    assert lines["Sec-WebSocket-Version"] == "13"
    assert lines["Sec-WebSocket-Protocol"] == "mqtt"
    assert "Sec-WebSocket-Extensions" not in lines
    assert lines["Origin"] == "https://host"
    assert (await opening("ws://host:8080/"))["Origin"] == "http://host:8080"
    assert (await opening("wss://host:8443/"))["Host"] == "host:8443"
    assert (await opening("ws://host:80/"))["Host"] == "host"


@pytest.mark.rule("WS-17")
async def test_every_opening_request_has_a_key_of_its_own() -> None:
    keys = [(await opening("wss://host/"))["Sec-WebSocket-Key"] for _ in range(20)]
    assert len(set(keys)) == 20
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)


@pytest.mark.rule("WS-24", "WS-23", "MQTT-6.0.0-4", "DPS-T13/device")
async def test_a_client_wants_exactly_mqtt_back() -> None:
    for more in ((), ("Sec-WebSocket-Protocol: MQTT",), ("Sec-WebSocket-Protocol: mqttv3.1",)):
        with pytest.raises(SubprotocolRefused):
            await open_websocket(cast(Any, Answering(*more)), "wss://host/", LIMIT)


@pytest.mark.rule("WS-10", "WS-12")
def test_websocket_is_one_of_the_ways() -> None:
    assert parse_url("ws://h/").port == 80
    assert parse_url("wss://h/").port == 443
    assert DEFAULT_PORTS["mqtt"] == 1883
    assert DEFAULT_PORTS["mqtts"] == 8883


async def answered(request: str, path: str = "/mqtt") -> bytes:
    """Return what the server's end answers to a request."""
    wire = Bytes()
    wire.incoming = [request.encode()]
    try:
        await accept_websocket(cast(Any, wire), lambda asked: asked == path, LIMIT)
    except UpgradeRefused:
        assert b" 101 " not in wire.sent
    return wire.sent


@pytest.mark.rule("WS-30", "WS-26", "WS-7", "MQTT-6.0.0-4")
async def test_an_accepted_request_is_answered_by_101_and_the_name() -> None:
    status, *lines = (await answered(REQUEST)).decode().split("\r\n")
    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines if line}
    assert status.split(" ")[1] == "101"
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"].lower() == "upgrade"
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert headers["sec-websocket-protocol"] == "mqtt"
    assert "sec-websocket-extensions" not in headers


@pytest.mark.rule("WS-7", "WS-8")
async def test_the_name_is_returned_as_it_was_offered() -> None:
    # A departure from the letter, which the service makes too: see the notes.
    said = await answered(REQUEST.replace("other, mqtt", "MQTT"))
    assert b"Sec-WebSocket-Protocol: MQTT\r\n" in said
    assert b" 400 " in await answered(REQUEST.replace("other, mqtt", "mqttv3.1"))


@pytest.mark.rule("WS-9", "WS-29")
async def test_an_unknown_path_is_404_and_its_query_means_nothing() -> None:
    assert b" 404 " in await answered(REQUEST, path="/elsewhere")
    assert b" 101 " in await answered(REQUEST.replace("?x=1", "?x=2&y"))


@both_ends
@pytest.mark.rule("MQTT-6.0.0-1", "WS-1")
async def test_packets_go_out_in_binary_frames(end_of: EndOf) -> None:
    end = await end_of()
    end.stream.write(encode(PingReq()))
    (sent,) = end.said()
    assert sent.opcode == BINARY
    assert sent.payload == b"\xc0\x00"


@both_ends
@pytest.mark.rule("MQTT-6.0.0-1", "WS-2", "WS-56")
@pytest.mark.parametrize("text", [b"\xc0\x00", b"hello", b""])
async def test_a_text_frame_ends_the_connection(end_of: EndOf, text: bytes) -> None:
    end = await end_of()
    end.hear(TEXT, text)
    assert isinstance(end.heard.cause, ProtocolError)
    assert end.heard.data == b""
    (sent,) = end.said()
    assert (sent.opcode, sent.payload[:2]) == (CLOSE, (1003).to_bytes(2, "big"))


@pytest.mark.rule("WS-34", "WS-41")
async def test_a_client_masks_every_frame_with_a_key_of_its_own() -> None:
    end = await client_end()
    for size in (0, 1, 200):
        end.stream.write(bytes(size))
    end.hear(PING, b"x")
    end.hear(CLOSE, b"\x03\xe8")
    sent = end.said()
    assert [each.opcode for each in sent] == [BINARY, BINARY, BINARY, PONG, CLOSE]
    assert all(len(each.key) == 4 for each in sent)
    assert len({each.key for each in sent}) == len(sent)


@pytest.mark.rule("WS-36")
async def test_a_server_masks_nothing() -> None:
    end = await server_end()
    end.stream.write(b"x")
    end.hear(PING, b"x")
    end.hear(CLOSE, b"\x03\xe8")
    assert [each.key for each in end.said()] == [b"", b"", b""]


@both_ends
@pytest.mark.rule("WS-35", "WS-37", "WS-38", "WS-39", "WS-43", "WS-48", "WS-49", "WS-57")
@pytest.mark.parametrize(
    "broken",
    [
        [(BINARY, b"\xc0\x00", {"wrong_mask": True})],
        [(BINARY, b"x", {"rsv": 4})],
        [(BINARY, b"x", {"rsv": 1})],
        *([(opcode, b"", {})] for opcode in (3, 7, 11, 15)),
        [(0, b"x", {})],
        [(BINARY, b"", {"fin": False}), (BINARY, b"y", {})],
        [(PING, b"x" * 126, {})],
        [(PING, b"x", {"fin": False})],
        [(CLOSE, b"\x03", {})],
        [(CLOSE, b"\x03\xe8\xff", {})],
        [(CLOSE, (1005).to_bytes(2, "big"), {})],
        [(CLOSE, (999).to_bytes(2, "big"), {})],
    ],
)
async def test_a_broken_frame_ends_the_connection(end_of: EndOf, broken: list[Any]) -> None:
    end = await end_of()
    for opcode, payload, more in broken:
        options = dict(more)
        if options.pop("wrong_mask", False):
            options["masked"] = end.client
        end.hear(opcode, payload, **options)
    assert isinstance(end.heard.cause, ProtocolError)
    (sent,) = end.said()
    assert sent.opcode == CLOSE
    assert int.from_bytes(sent.payload[:2], "big") in (1002, 1007)
    end.stream.data_received(frame(BINARY, b"more", masked=not end.client))
    assert end.heard.data == b""


@both_ends
@pytest.mark.rule("WS-40")
async def test_a_length_is_written_in_its_shortest_form(end_of: EndOf) -> None:
    end = await end_of()
    for size, header in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)]:
        end.stream.write(bytes(size))
        (sent,) = end.said()
        assert sent.header == header
        assert len(sent.payload) == size


@both_ends
@pytest.mark.rule("WS-53", "WS-54", "WS-55", "WS-44")
async def test_a_ping_is_answered_and_is_no_packet(end_of: EndOf) -> None:
    end = await end_of()
    end.hear(BINARY, b"\xc0", fin=False)
    end.hear(PING, b"payload")
    end.hear(PONG, b"unasked")
    end.hear(0, b"\x00")
    (sent,) = end.said()
    assert (sent.opcode, sent.payload) == (PONG, b"payload")
    assert end.heard.data == b"\xc0\x00"
    assert end.heard.cause is None


@both_ends
@pytest.mark.rule("WS-50", "WS-51", "WS-52", "WS-60")
async def test_a_close_is_answered_by_a_close_and_nothing_follows(end_of: EndOf) -> None:
    end = await end_of()
    end.hear(CLOSE, b"\x03\xe9bye")
    (sent,) = end.said()
    assert (sent.opcode, sent.payload[:2]) == (CLOSE, b"\x03\xe9")
    assert isinstance(end.heard.cause, ConnectionLost)
    assert (end.heard.cause.close_code, end.heard.cause.close_reason) == (1001, "bye")
    assert end.wire.transport.hung_up is not end.client  # the server ends TCP at once
    end.stream.write(b"late")
    end.hear(BINARY, b"late")
    assert end.said() == []
    assert end.heard.data == b""
    await end.stream.close(timeout=0)
    assert end.wire.closed


@both_ends
@pytest.mark.rule("WS-50", "WS-60", "WS-61", "WS-62", "WS-65", "WS-67")
@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 1000), (ProtocolError("x"), 1008), (PacketTooLarge(5, 4), 1009), (MqttwsError(), 1008)],
)
async def test_leaving_says_why_in_a_close_after_the_last_packet(
    end_of: EndOf, error: MqttwsError | None, code: int
) -> None:
    end = await end_of()
    end.stream.write(encode(Disconnect()))
    await end.stream.close(error, timeout=0)
    end.stream.write(b"late")
    last, close = end.said()
    assert (last.opcode, last.payload) == (BINARY, b"\xe0\x00")
    assert (close.opcode, close.payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
    assert end.wire.closed


@both_ends
@pytest.mark.rule("WS-58")
async def test_bytes_that_end_without_a_close_are_a_network_failure(end_of: EndOf) -> None:
    end = await end_of()
    lost = ConnectionLost("gone")
    end.stream.stream_ended(lost)
    assert end.heard.cause is lost
    assert lost.close_code is None


@both_ends
@pytest.mark.rule("WS-63")
async def test_a_message_over_the_limit_is_closed_with_1009(end_of: EndOf) -> None:
    end = await end_of()
    end.hear(BINARY, bytes(LIMIT + 1))
    (sent,) = end.said()
    assert (sent.opcode, sent.payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
    assert isinstance(end.heard.cause, ProtocolError)


@pytest.mark.rule("WS-66", "WS-70", "MQTT-3.1.0-1")
async def test_mqtt_holds_from_the_first_binary_byte_to_the_close() -> None:
    server = ServerProtocol(0.0)
    server.receive_data(encode(Connect("c", will=Will("t"))), 0.0)
    server.next_event()
    server.accept(0.0)
    server.receive_eof(1.0, ConnectionLost("a Close frame, and no DISCONNECT", close_code=1000))
    assert server.next_event() == WillDue(Will("t"))
    early = ServerProtocol(0.0)
    early.receive_data(encode(PingReq()), 0.0)
    event = early.next_event()
    assert isinstance(event, ConnectionClosed)
    assert isinstance(event.error, ProtocolError)
    assert event.error.rule == "MQTT-3.1.0-1"


@pytest.mark.rule("MQTT-4.8.0-2")
async def test_a_failure_while_bytes_are_handled_closes_that_connection() -> None:
    class Failing(Heard):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a fault of ours")

    loop = asyncio.get_running_loop()
    told: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        _, stream = await loop.create_connection(ByteStream, sock=ours)
        heard = Failing()
        stream.attach(heard)
        await loop.sock_sendall(theirs, b"x")
        assert await loop.sock_recv(theirs, 1) == b""
    assert isinstance(heard.cause, ConnectionLost)
    assert [str(error) for error in told] == ["a fault of ours"]
