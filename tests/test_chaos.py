"""The relay does to a connection what its fate says, and sees the packets that pass."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from mqttws import AsyncClient, Backoff, TlsConfig
from mqttws.wire import Connect, Disconnect, PingReq, PubAck, Publish, PubRel, encode

from .chaos import DOWN, UP, Connection, Drip, Effect, Fate, Relay, relay
from .chaos_tap import Seen, Tap
from .client.broker import broker
from .net.rogue import Certificates

STREAM = b"".join(
    map(encode, [Connect("name"), Publish("t", b"x" * 300, 2, packet_id=7), PubRel(7), PingReq()])
)
KINDS = ["CONNECT", "PUBLISH", "PUBREL", "PINGREQ"]


def framed(data: bytes, size: int) -> bytes:
    """Return the stream as a WebSocket client sends it, ``size`` bytes a frame."""
    mask = b"\x11\x22\x33\x44"
    out = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    for at in range(0, len(data), size):
        part = data[at : at + size]
        head = bytes([0x82, 0x80 | len(part)]) if len(part) < 126 else b"\x82\xfe"
        head += b"" if len(part) < 126 else len(part).to_bytes(2)
        out += head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(part))
        out += b"\x89\x80" + mask  # a ping between frames
    return out


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize("frame", [None, 3, 100, 1000])
def test_a_tap_sees_every_packet_however_the_bytes_come(frame: int | None, piece: int) -> None:
    stream = STREAM if frame is None else framed(STREAM, frame)
    tap = Tap()
    seen = [one for at in range(0, len(stream), piece) for one in tap.feed(stream[at : at + piece])]
    assert [one.kind for one in seen] == KINDS
    assert seen[0].client_id == "name"
    assert (seen[1].topic, seen[1].payload, seen[1].packet_id) == ("t", b"x" * 300, 7)
    assert seen[2].packet_id == 7
    assert seen[-1].end == len(stream) - (6 if frame else 0)


@asynccontextmanager
async def echo(way: str = "") -> AsyncIterator[tuple[Relay, list[object]]]:
    """Run a relay before a server that sends back what comes; yields how connections ended."""
    ends: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
            ends.append("eof")
        except OSError as error:
            ends.append(type(error))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with relay(server.sockets[0].getsockname()[1]) as carrier:
            yield carrier, ends
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while not ends:
                        await asyncio.sleep(0.01)
    finally:
        server.close()


async def came_back(port: int, data: bytes, wait: float = 0.3) -> tuple[bytes, str]:
    """Send bytes; return what comes back within ``wait`` seconds, and how the stream ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    found = b""
    how = "eof"
    try:
        async with asyncio.timeout(wait):
            while piece := await reader.read(65536):
                found += piece
    except TimeoutError:
        how = "open"
    except ConnectionResetError:
        how = "reset"
    writer.transport.abort()
    return found, how


@pytest.mark.parametrize(
    ("effect", "end"),
    [
        (Effect.RST, "reset"),
        (Effect.FIN, "eof"),
        (Effect.SILENCE, "open"),
        (Effect.HALF_OPEN, "open"),
    ],
)
async def test_an_effect_comes_at_its_byte(effect: Effect, end: str) -> None:
    async with echo() as (carrier, ends):
        carrier.fates = lambda: Fate(effect, after=50, hold=0.6)
        found, how = await came_back(carrier.port, b"x" * 80)
        assert how == end
        assert carrier.history[0].carried[UP] == 50
        assert len(found) <= 50
        if effect is Effect.HALF_OPEN:
            await asyncio.sleep(0)
            assert ends == [ConnectionResetError]
        assert carrier.history[0].ended == effect.value


async def test_a_pause_ends_and_all_arrives() -> None:
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.PAUSE, after=10, hold=0.15)
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
        writer.write(b"x" * 10)
        await asyncio.sleep(0.02)
        writer.write(b"y" * 10)
        assert await reader.readexactly(20) == b"x" * 10 + b"y" * 10
        assert asyncio.get_running_loop().time() - began > 0.14
        writer.close()


@pytest.mark.parametrize("frame", [1000, None])
@pytest.mark.parametrize("passed", [True, False])
async def test_packets_of_one_frame_pass_together(passed: bool, frame: int | None) -> None:
    sent = [Publish("t", b"x", 1, packet_id=number) for number in range(1, 6)]
    first, rest = encode(sent[0]), b"".join(map(encode, sent[1:]))
    stream = first + rest
    if frame is not None:
        stream = framed(first, frame) + framed(rest, frame).partition(b"\r\n\r\n")[2]
    seen: list[tuple[int, bool]] = []
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.RST, packet="PUBLISH", nth=3, passed=passed)
        carrier.watch = lambda link, way, one, passes: (
            seen.append((one.packet_id, passes)) if way == UP else None
        )
        await came_back(carrier.port, stream)
        tap = Tap()
        arrived = tap.feed(stream[: carrier.history[0].carried[UP]])
    assert [one.packet_id for one in arrived] == [ident for ident, passes in seen if passes]
    together = {True: [1, 2, 3, 4, 5], False: [1]} if frame else {True: [1, 2, 3], False: [1, 2]}
    assert [one.packet_id for one in arrived] == together[passed]


@pytest.mark.parametrize("moment", [{"after": 12}, {"packet": "PUBLISH", "nth": 2}])
async def test_a_pause_at_a_packet_loses_nothing(moment: dict[str, object]) -> None:
    stream = b"".join(encode(Publish("t", b"x", 1, packet_id=number)) for number in range(1, 6))
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.PAUSE, hold=0.05, **moment)  # type: ignore[arg-type]
        found, how = await came_back(carrier.port, stream)
        assert (found, how) == (stream, "open")


@pytest.mark.parametrize(("drip", "size"), [(Drip.SINGLE, 300), (Drip.SLOW, 3000)])
async def test_a_drip_passes_everything(drip: Drip, size: int) -> None:
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.RST, drip=drip, drip_bytes=size, patience=60)
        reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
        began = asyncio.get_running_loop().time()
        writer.write(bytes(range(100)) * 40)
        assert await reader.readexactly(4000) == bytes(range(100)) * 40
        if drip is Drip.SLOW:
            assert asyncio.get_running_loop().time() - began > 0.14
        writer.close()


async def test_a_moment_that_never_comes_is_not_waited_for_for_ever() -> None:
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.RST, packet="PUBREL", patience=0.05)
        assert (await came_back(carrier.port, b"x"))[1] == "reset"
        assert carrier.history[0].missed


async def test_a_calm_relay_spares_what_is_open() -> None:
    async with echo() as (carrier, _):
        carrier.fates = lambda: Fate(Effect.RST, after=2, patience=0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port)
        writer.write(b"x")
        await reader.readexactly(1)
        carrier.calm()
        writer.write(b"xyz")
        assert await reader.readexactly(3) == b"xyz"
        writer.close()
        assert (await came_back(carrier.port, b"x", 0.1))[1] == "open"


@pytest.mark.parametrize("secure", [True, False])
async def test_a_client_that_leaves_a_slow_link_has_left(
    certificates: Certificates, secure: bool
) -> None:
    """Its DISCONNECT and its end come while bytes of both directions drip."""
    server_takes: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes([0x30, 0xFF, 0xFF, 0x03]) + bytes(60_000))
        with suppress(OSError):
            while data := await reader.read(65536):
                server_takes.append(data)
        writer.close()

    tls = certificates.server() if secure else None
    trust = ssl.create_default_context(cafile=str(certificates.ca_file)) if secure else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with relay(server.sockets[0].getsockname()[1], tls=tls) as carrier:
        carrier.fates = lambda: Fate(
            Effect.RST, after=10**6, drip=Drip.SLOW, drip_bytes=20_000, patience=60
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", carrier.port, ssl=trust)
        writer.write(encode(Connect("name")))
        await reader.read(100)
        writer.write(encode(PubAck(7)))
        while carrier.history[0].carried[UP] < len(encode(Connect("name"))) + 4:
            await asyncio.sleep(0)
        writer.write(encode(Disconnect()))  # the relay still waits behind PUBACK's bytes
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while not carrier.history[0].ended:
                await asyncio.sleep(0.01)
    server.close()
    assert carrier.history[0].ended == "left"
    assert b"".join(server_takes).endswith(encode(Disconnect()))


SERVER_SAYS = ["CONNACK", "PUBREC", "PUBCOMP"]
CLIENT_SAYS = ["CONNECT", "PUBLISH", "PUBREL"]


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("scheme", ["ws", "mqtt", "wss", "mqtts"])
@pytest.mark.parametrize(
    ("direction", "kind"),
    [(UP, kind) for kind in CLIENT_SAYS] + [(DOWN, kind) for kind in SERVER_SAYS],
)
async def test_a_cut_at_any_packet_of_any_scheme(
    certificates: Certificates, direction: str, kind: str, scheme: str, passed: bool
) -> None:
    seen: list[tuple[str, str, bool]] = []

    def watch(link: Connection, way: str, packet: Seen, through: bool) -> None:
        if link.number == 1:
            seen.append((way, packet.kind, through))

    tls = certificates.server() if scheme in ("wss", "mqtts") else None
    async with broker(websocket=scheme.startswith("ws")) as server:
        async with relay(server.port, tls=tls) as way:
            way.watch = watch
            fates = iter([Fate(Effect.RST, direction, packet=kind, passed=passed)])
            way.fates = lambda: next(fates, None)
            client = AsyncClient(
                f"{scheme}://127.0.0.1:{way.port}/mqtt",
                client_id="c",
                clean_session=False,
                reconnect=Backoff(0, 0),
                tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            )
            while True:
                try:
                    await client.connect()
                    break
                except Exception:
                    assert kind in ("CONNECT", "CONNACK")
            await client.publish("t", b"x", qos=2)
            await client.disconnect()
    assert seen[-1] == (direction, kind, passed)
    first = way.history[0]
    assert first.ended == "RST"
    assert not first.missed
    open_then = kind in ("PUBLISH", "PUBREC", "PUBREL") or (kind == "PUBCOMP" and not passed)
    assert bool(first.hit) == open_then
    assert [message.payload for message in server.heard] == [b"x"]
