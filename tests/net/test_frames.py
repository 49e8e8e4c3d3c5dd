"""Plain frames are taken out of a server's bytes, all others are left to the library, in order."""

import asyncio
import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.uri import parse_uri

from mqttws.net.frames import FrameSplitter
from mqttws.net.websocket import PIECE, WebSocketStream

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(["plain", "ping", "fragments", "empty"]),
        st.integers(0, 300) | st.sampled_from([125, 126, 127, 65535, 65536, 70_000]),
    ),
    max_size=12,
)


def written(frames: list[tuple[str, int]]) -> bytes:
    """Return what a server sends."""
    server = Protocol(SERVER, state=OPEN, max_size=None)
    for number, (kind, size) in enumerate(frames):
        payload = bytes([number]) * size
        if kind == "ping":
            server.send_ping(payload[:125])
        elif kind == "fragments":
            server.send_binary(payload, fin=False)
            server.send_ping(b"between")
            server.send_continuation(payload, fin=False)
            server.send_continuation(b"", fin=True)
        else:
            server.send_binary(payload if kind == "plain" else b"")
    return b"".join(server.data_to_send())


def by_library(data: bytes) -> bytes:
    client = ClientProtocol(parse_uri("ws://h/"), state=OPEN, max_size=None)
    client.receive_data(data)
    return payloads(client)


def payloads(client: ClientProtocol) -> bytes:
    return b"".join(
        event.data
        for event in client.events_received()
        if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT)
    )


@settings(deadline=None)  # cut byte by byte, a busy machine takes its time
@given(FRAMES, st.integers(0, 1 << 32), st.sampled_from([1, 7, 1000, 100_000]))
def test_payloads_and_pongs_are_those_of_the_library_however_the_bytes_are_cut(
    frames: list[tuple[str, int]], seed: int, longest: int
) -> None:
    data = written(frames)
    chance = random.Random(seed)
    client = ClientProtocol(parse_uri("ws://h/"), state=OPEN, max_size=None)
    splitter = FrameSplitter(100_000)
    parts: list[bytes] = []

    def pass_on(found: bytes) -> None:
        client.receive_data(found)
        parts.append(payloads(client))

    at = 0
    while at < len(data):
        size = chance.randint(1, longest) if len(data) < 5000 else longest * 50
        splitter.split(data[at : at + size], parts.append, pass_on)
        at += size
    assert b"".join(parts) == by_library(data)
    pings = sum(kind in ("ping", "fragments") for kind, _ in frames)
    assert sum(bool(pong) for pong in client.data_to_send()) == pings
    assert client.parser_exc is None


@pytest.mark.parametrize(
    "frame",
    [b"\x82\xfe\x00\x04abcdefgh", b"\xc2\x01x", b"\x81\x01x", b"\x80\x01x", b"\x83\x01x",
     b"\x82\x7f" + bytes(7) + b"\x05hello", b"\x82\x04long"],
    ids=["masked", "reserved bit", "text", "continuation", "unknown", "64 bits", "over the limit"],
)  # fmt: skip
def test_all_that_is_not_plain_goes_to_the_library_whole_and_in_its_place(frame: bytes) -> None:
    splitter = FrameSplitter(3)
    seen: list[tuple[str, bytes]] = []

    def note(what: str, data: bytes) -> None:
        seen.append((what, data))

    data = b"\x82\x02ab" + frame + b"\x82\x02cd\x82\x02ef"
    splitter.split(data, partial(note, "plain"), partial(note, "library"))
    assert seen == [("plain", b"ab"), ("library", frame), ("plain", b"cd"), ("plain", b"ef")]


@pytest.mark.parametrize("size", [PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 3])
def test_a_large_message_goes_out_as_one_masked_frame(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    written: list[bytes] = []

    class Below:
        write = staticmethod(written.append)

    async def send() -> None:
        client = ClientProtocol(parse_uri("ws://h/"), state=OPEN)
        WebSocketStream(Below(), client).write(payload)  # type: ignore[arg-type]

    asyncio.run(send())
    server = Protocol(SERVER, state=OPEN, max_size=None)
    server.receive_data(b"".join(written))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.BINARY, True, payload)
    assert server.parser_exc is None
    assert (len(written) > 2) is (size > PIECE)
