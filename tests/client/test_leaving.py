"""Leaving is orderly: what was accepted arrives, DISCONNECT too, and no will is published."""

import asyncio
import contextlib
import ssl

import pytest

from mqttws import (
    AsyncClient,
    Backoff,
    ConnectionLost,
    DeliveryUnknown,
    SqliteStore,
    TlsConfig,
    UsageError,
    Will,
)
from mqttws.wire import Disconnect, Packet, Publish

from ..net.rogue import Certificates, listening, upgrade
from .broker import broker
from .scripted import Peer, scripted
from .sites import Sites, site  # noqa: F401 - a fixture
from .test_reconnect import States, until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

SCHEMES = ["mqtt", "mqtts", "ws", "wss"]


def secured(certificates: Certificates, scheme: str) -> ssl.SSLContext | None:
    return certificates.server() if scheme in ("mqtts", "wss") else None


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_was_accepted_is_acknowledged_and_disconnect_arrives(
    certificates: Certificates, scheme: str
) -> None:
    tls = secured(certificates, scheme)
    async with broker(websocket=scheme in ("ws", "wss"), tls=tls) as server:
        client = AsyncClient(
            f"{scheme}://127.0.0.1:{server.port}/mqtt",
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            will=Will("will", b"lost"),
        )
        async with client:
            receipts = [client.publish_nowait("t", b"%d" % n, qos=n % 3) for n in range(500)]
        for receipt in receipts:
            await receipt.wait(0)
        assert [message.payload for message in server.heard] == [b"%d" % n for n in range(500)]
        await until(lambda: server.closed)


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
async def test_the_sending_half_is_shut_and_the_other_is_read_to_its_end(
    certificates: Certificates, scheme: str
) -> None:
    ended: list[object] = []
    message = b"\x30\xe6\x07\x00\x01t" + bytes(995)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")
        try:
            writer.write(message * 20)
            data = b""
            while chunk := await reader.read(65536):  # until the client's half has ended
                data += chunk
                writer.write(message * 200)
            for _ in range(20 if scheme == "mqtt" else 0):  # asyncio's TLS answers with its own end
                writer.write(message * 20)
                await writer.drain()
                await asyncio.sleep(0.005)
            ended.append(data)
        except (ConnectionError, ssl.SSLError) as error:
            ended.append(error)

    async with listening(handler, secured(certificates, scheme)) as port:
        client = AsyncClient(
            f"{scheme}://127.0.0.1:{port}/",
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
        )
        await client.connect()
        await client.disconnect(5)
        await until(lambda: ended)
    assert ended == [b"\xe0\x00"], "DISCONNECT, and then the end"


async def test_what_could_not_be_delivered_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while await peer.packet() is not None:
            pass

    async with scripted(script) as port:
        client = AsyncClient(f"mqtt://127.0.0.1:{port}", max_in_flight=1)
        async with client:
            sent = client.publish_nowait("sent", b"x", qos=1)
            waits = client.publish_nowait("waits", b"x", qos=1)
            await client.disconnect(0.3)
        with pytest.raises(DeliveryUnknown, match="'sent'"):
            await sent
        with pytest.raises(ConnectionLost, match="'waits': not sent") as caught:
            await waits
        assert not isinstance(caught.value, DeliveryUnknown)
    assert "1 messages not sent and 1 not acknowledged" in caplog.text


async def test_nothing_is_accepted_while_the_client_leaves() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        packet = await peer.publish()
        await asyncio.sleep(0.3)
        peer.answer(packet)
        await peer.serve()

    async with scripted(script) as port:
        client = AsyncClient(f"mqtt://127.0.0.1:{port}")
        async with client:
            receipt = client.publish_nowait("t", b"x", qos=1)
            await asyncio.sleep(0.05)
            leaving = asyncio.ensure_future(client.disconnect())
            await asyncio.sleep(0.1)
            with pytest.raises(UsageError, match="disconnected"):
                await client.publish("t", b"y", qos=1)
            await leaving
        await receipt.wait(0)


@pytest.mark.only_async
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("late", "patience"), [(0.1, 0.05), (0.3, 0.15), (0.3, 0.8), (0.8, 0.4)])
async def test_leaving_a_slow_peer_raises_nothing_and_frees_the_store(
    certificates: Certificates, tmp_path: object, scheme: str, late: float, patience: float
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        websocket = scheme in ("ws", "wss")
        if websocket:
            await upgrade(reader, writer)
        await reader.read(1000)
        writer.write(b"\x82\x04\x20\x02\x00\x00" if websocket else b"\x20\x02\x00\x00")
        await asyncio.sleep(late)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    path = f"{tmp_path}/s"
    async with listening(handler, secured(certificates, scheme)) as port:
        for _ in range(2):
            client = AsyncClient(
                f"{scheme}://127.0.0.1:{port}/",
                client_id="c",
                store=SqliteStore(path),
                tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            )
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the application's own
                async with client:
                    for _ in range(200):
                        client.publish_nowait("t", bytes(20_000), qos=1)
                    await client.disconnect(patience)
                    raise ZeroDivisionError


async def test_a_connection_lost_while_leaving_may_be_renewed_in_time() -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        if peer.number == 1:
            await peer.publish()
            await asyncio.sleep(0.1)
            peer.reset()
            return
        await peer.serve(heard)

    async with scripted(script) as port:
        states = States()
        options = {"client_id": "c", "clean_session": False, "reconnect": Backoff(0, 0)}
        client = AsyncClient(f"mqtt://127.0.0.1:{port}", on_state=states, **options)  # type: ignore[arg-type]
        async with client:
            receipt = client.publish_nowait("t", b"x", qos=1)
            await asyncio.sleep(0.05)
        await receipt.wait(0)
    assert isinstance(heard[0], Publish)
    assert isinstance(heard[-1], Disconnect)


@pytest.mark.parametrize("way", ["mosquitto-mqtt", "mosquitto-mqtts", "mosquitto-ws", "amqtt-mqtt"])
async def test_a_real_broker_gets_all_of_it_and_sends_no_will(
    site: Sites,  # noqa: F811 - the fixture
    way: str,
    kind: str,  # noqa: F811 - the fixture
) -> None:
    async with site(way) as place:
        async with place.client("async", "watcher") as watcher:
            messages = watcher.messages()
            await watcher.subscribe([("t/#", 1), ("will", 1)])
            for number in range(5):
                will = Will("will", b"lost", 1)
                async with place.client(kind, f"c{number}", will=will) as client:
                    for n in range(100):
                        client.publish_nowait(f"t/{number}", b"%d" % n, qos=1)
            await watcher.publish("t/end", b"", qos=1)
            seen: list[str] = []
            async for message in messages:
                if message.topic == "t/end" and len(seen) >= 500:
                    break
                seen.append(message.topic)
            assert len(seen) == 500
            assert "will" not in seen
