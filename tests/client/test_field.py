"""Both clients against habits of real brokers: windows, sessions, bits and answers."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mqttws import AsyncClient, Backoff, DeliveryUnknown
from mqttws.wire import ConnAck, Connect, Decoder, Packet, PubAck, Publish, PubRec, encode

from ..chaos import UP, Effect, Fate, relay
from ..net.rogue import Certificates
from ..peers.brokers import (
    Aedes,
    Mosquitto,
    Program,
    RabbitMq,
    node_modules,
    server_pem,
)
from .test_reconnect import until
from .threaded import BOTH

KINDS = list(BOTH)


@asynccontextmanager
async def running(broker: Program) -> AsyncIterator[Any]:
    try:
        await broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def mosquitto(tmp_path: Path, certificates: Certificates) -> Mosquitto:
    """With its default window: it drops QoS 2 messages above it, and acknowledges them."""
    return Mosquitto(tmp_path, server_pem(certificates), window=20)


@pytest.fixture
def aedes(tmp_path: Path, certificates: Certificates) -> Aedes:
    return Aedes(tmp_path, node_modules(), server_pem(certificates))


def client_of(kind: str, port: int, client_id: str, **options: Any) -> Any:
    options.setdefault("reconnect", Backoff(0.0, 0.05))
    return BOTH[kind](f"mqtt://127.0.0.1:{port}", client_id=client_id, **options)


@asynccontextmanager
async def watching(port: int, topic: str, qos: int) -> AsyncIterator[Counter[bytes]]:
    """Count what comes to a subscriber of its own."""
    seen: Counter[bytes] = Counter()
    async with AsyncClient(f"mqtt://127.0.0.1:{port}", client_id="watcher") as client:
        messages = client.messages()
        await client.subscribe(topic, qos=qos)

        async def count() -> None:
            async for message in messages:
                seen[message.payload] += 1

        task = asyncio.ensure_future(count())
        yield seen
    await task


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session", ["clean", "persistent"])
async def test_a_burst_of_qos_2_arrives_whole_at_a_broker_with_a_small_window(
    mosquitto: Mosquitto, kind: str, session: str
) -> None:
    count = 1000
    async with running(mosquitto), watching(mosquitto.mqtt, "t", 2) as seen:
        clean = session == "clean"
        async with client_of(kind, mosquitto.mqtt, "c", clean_session=clean) as client:
            if kind == "async":
                await asyncio.gather(*(client.publish("t", b"%d" % n, qos=2) for n in range(count)))
            else:
                for receipt in [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(count)]:
                    await receipt.wait(30)
        await until(lambda: len(seen) == count)
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_burst_of_every_qos_arrives_whole_at_a_broker_with_a_small_window(
    mosquitto: Mosquitto, kind: str
) -> None:
    count = 600  # it takes a QoS 1 message behind 20 of QoS 2 for one too many, and drops it
    async with running(mosquitto), watching(mosquitto.mqtt, "t", 2) as seen:
        async with client_of(kind, mosquitto.mqtt, "c", clean_session=False) as client:
            receipts = [client.publish_nowait("t", b"%d" % n, qos=n % 3) for n in range(count)]
            for receipt in receipts:
                await receipt.wait(30)
        await until(lambda: len(seen) == count)
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_burst_of_qos_2_over_cuts_and_from_a_queue_arrives_once(
    mosquitto: Mosquitto, kind: str
) -> None:
    count = 400
    async with running(mosquitto), watching(mosquitto.mqtt, "t", 2) as seen:
        async with relay(mosquitto.mqtt) as way:
            async with client_of(kind, way.port, "c", clean_session=False) as client:
                receipts = [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(count)]
                for _ in range(4):
                    had = len(seen)
                    await until(lambda had=had: len(seen) > had)  # type: ignore[misc]
                    way.cut()
                for receipt in receipts:
                    await receipt.wait(30)
        await until(lambda: len(seen) == count)
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", ["unknown", "republish", "persistent"])
async def test_a_cut_between_pubrec_and_pubrel_loses_nothing_in_silence(
    mosquitto: Mosquitto, kind: str, after: str
) -> None:
    persistent = after == "persistent"
    options = {} if persistent else {"after_pubrec": after}
    async with running(mosquitto), watching(mosquitto.mqtt, "t", 2) as seen:
        async with relay(mosquitto.mqtt) as way:
            fates = iter([Fate(Effect.RST, UP, packet="PUBREL", passed=False)])
            way.fates = lambda: next(fates, None)
            client = client_of(kind, way.port, "c", clean_session=not persistent, **options)
            async with client:
                if after == "unknown":
                    with pytest.raises(DeliveryUnknown) as caught:
                        await client.publish("t", b"x", qos=2)
                    assert caught.value.payload == b"x"
                else:
                    await client.publish("t", b"x", qos=2)
                await client.publish("t", b"end", qos=1)
        await until(lambda: seen[b"end"] == 1)
        assert seen[b"x"] == (0 if after == "unknown" else 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_waiting_messages_of_a_session_come_to_streams_of_any_time(
    mosquitto: Mosquitto, kind: str
) -> None:
    async with running(mosquitto):
        for early in (True, False):
            async with client_of(kind, mosquitto.mqtt, "c", clean_session=False) as client:
                await client.subscribe([("a/#", 1), ("b/#", 1)])
            async with client_of("async", mosquitto.mqtt, "other") as other:
                for n in range(10):
                    await other.publish(f"a/{n}", b"", qos=1)
                    await other.publish(f"b/{n}", b"", qos=1)
            client = client_of(kind, mosquitto.mqtt, "c", clean_session=False)
            first = client.messages("a/#") if early else None
            second = client.messages("b/#") if early else None
            async with client:
                if first is None:
                    first = client.messages("a/#")
                    await client.publish("x", b"", qos=1)
                    await asyncio.sleep(0.1)
                second = second or client.messages("b/#")
                assert [(await anext(first)).topic for _ in range(10)] == [
                    f"a/{n}" for n in range(10)
                ]
                assert [(await anext(second)).topic for _ in range(10)] == [
                    f"b/{n}" for n in range(10)
                ]
                assert client.unmatched == 0


def say(port: int, *packets: Packet, until: type | None = None, raw: bytes = b"") -> None:
    """Be a client of bytes: send, and leave without DISCONNECT once a packet has come."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        connection.sendall(encode(packets[0]))
        decoder = Decoder()
        wanted: list[type] = [ConnAck]
        if until is not None:
            wanted.append(until)
        while wanted:
            decoder.feed(connection.recv(1000))
            while (packet := decoder.next_packet()) is not None:
                if wanted and type(packet) is wanted[0] and wanted.pop(0) is ConnAck:
                    connection.sendall(b"".join(map(encode, packets[1:])) + raw)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_is_not_taken_for_the_repeat_of_an_earlier_lifes(
    aedes: Aedes, kind: str
) -> None:
    async with running(aedes), watching(aedes.mqtt, "t", 2) as seen:
        first = Publish("t", b"first life", 2, packet_id=1)
        connect = Connect("c", clean_session=False)
        await asyncio.to_thread(say, aedes.mqtt, connect, first, until=PubRec)
        async with client_of(kind, aedes.mqtt, "c", clean_session=False) as client:
            await client.publish("t", b"second life", qos=2)
        await until(lambda: seen[b"second life"] == 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_dup_that_a_broker_passes_on_with_qos_0_ends_nothing(aedes: Aedes, kind: str) -> None:
    connections: list[object] = []
    async with running(aedes):
        async with client_of(
            kind, aedes.mqtt, "c", on_state=lambda state, reason: connections.append(state)
        ) as client:
            messages = client.messages()
            await client.subscribe("t", qos=0)
            repeated = b"".join(
                encode(Publish("t", b"%d" % n, 1, dup=True, packet_id=n)) for n in range(1, 6)
            )
            await asyncio.to_thread(say, aedes.mqtt, Connect("d"), until=PubAck, raw=repeated)
            assert [(await anext(messages)).payload for _ in range(5)] == [
                b"%d" % n for n in range(1, 6)
            ]
        assert [state.value for state in connections].count("connected") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_burst_at_a_broker_that_closes_above_its_limit_takes_one_connection(
    aedes: Aedes, kind: str
) -> None:
    async with running(aedes), watching(aedes.mqtt, "t", 2) as seen, relay(aedes.mqtt) as way:
        async with client_of(kind, way.port, "c") as client:
            receipts = [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(1500)]
            for receipt in receipts:
                await receipt.wait(30)
        await until(lambda: len(seen) == 1500)
        assert way.connections == 1
    assert set(seen.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_rabbitmq_gets_a_qos_2_message_once(
    tmp_path: Path, certificates: Certificates
) -> None:
    rabbit = RabbitMq(tmp_path, server_pem(certificates))
    async with running(rabbit), watching(rabbit.mqtt, "t", 1) as seen, relay(rabbit.mqtt) as way:
        for kind in KINDS:
            async with client_of(kind, way.port, f"c{kind}") as client:
                for qos in (0, 1, 2):
                    await client.publish("t", f"{kind} {qos}", qos=qos)
                receipt = client.publish_nowait("t", f"{kind} receipt", qos=2)
                await receipt.wait(10)
                assert receipt.downgraded
        await until(lambda: len(seen) == 8)
        await asyncio.sleep(1)
        assert way.connections == 2
    assert set(seen.values()) == {1}
