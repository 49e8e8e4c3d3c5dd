"""What cannot get through is not tried for ever in the same form; errors carry the reason."""

import asyncio
import logging
from pathlib import Path

import pytest
import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed

from mqttws import (
    AsyncClient,
    Backoff,
    ClientState,
    DeliveryFailed,
    KeepAliveExpired,
    MqttwsError,
    RequestTimedOut,
    SqliteStore,
)
from mqttws.client import reading
from mqttws.net import transports
from mqttws.wire import ConnAck, Connect, Decoder, PubAck, Publish, Subscribe, encode

from .broker import broker
from .relay import UP, relay
from .scripted import Peer, scripted
from .test_reconnect import States, until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

AT_ONCE = Backoff(0.0, 0.02)


def client_of(port: int, scheme: str = "mqtt", **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("reconnect", AT_ONCE)
    return AsyncClient(f"{scheme}://127.0.0.1:{port}/", **options)  # type: ignore[arg-type]


# Life


@pytest.mark.only_async
@pytest.mark.timeout(40)
@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_an_upload_far_longer_than_the_keep_alive_arrives_whole(scheme: str) -> None:
    payload = bytes(range(256)) * 4000  # 1 MB at 250 kB/s: twice the keep-alive
    async with broker(websocket=scheme == "ws") as server, relay(server.port) as way:
        way.split = 5_000
        original = way._pass

        async def slowly(link: object, direction: str, writer: object, data: bytes) -> None:
            if direction == UP:
                await asyncio.sleep(len(data) / 250_000)
            await original(link, direction, writer, data)  # type: ignore[arg-type]

        way._pass = slowly  # type: ignore[assignment,method-assign]
        url = f"{scheme}://127.0.0.1:{way.port}/mqtt"
        async with AsyncClient(url, client_id="c", keep_alive=2, reconnect=AT_ONCE) as client:
            await client.publish("t", payload, qos=1)
            assert way.connections == 1
            assert server.heard[0].payload == payload


@pytest.mark.parametrize("hung", ["half-open", "stopped", "another system"])
async def test_a_dead_link_under_steady_publishing_is_noticed(
    hung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = States()
    keep_alive = 2
    if hung == "another system":  # whose kernel does not say what was acknowledged
        monkeypatch.setattr(transports, "LINUX", False)
        monkeypatch.setattr(transports, "SMALL_BUFFER", 4096)

    async def script(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1 and hung == "stopped":  # its TCP still takes what comes
            await asyncio.sleep(30)
        await peer.serve()

    async def publish_steadily(client: AsyncClient) -> None:
        while True:
            client.publish_nowait("t", b"x" * 100)
            await asyncio.sleep(0.05)

    async with scripted(script) as port, relay(port) as way:
        async with client_of(way.port, keep_alive=keep_alive, on_state=states) as client:
            await client.publish("t", b"x")
            if hung != "stopped":
                way.stall()
            publishing = asyncio.create_task(publish_steadily(client))
            try:
                # When is proven where time is a number (tests/protocol); here, that it is noticed.
                async with asyncio.timeout(10 * keep_alive):
                    # Told, not looked for: the next connection may stand a millisecond later.
                    reason = await states.wait_for(ClientState.RECONNECTING)
            finally:
                publishing.cancel()
                way.resume()
    assert isinstance(reason, KeepAliveExpired)


# Large, and many


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_what_is_sent_again_leaves_in_messages_of_the_usual_size(scheme: str) -> None:
    sizes: list[int] = []
    heard: set[bytes] = set()

    async def serve(socket: websockets.asyncio.server.ServerConnection) -> None:
        decoder = Decoder(10_000_000)
        count = 0
        first = not sizes
        try:
            async for message in socket:
                assert isinstance(message, bytes)
                sizes.append(len(message))
                decoder.feed(message)
                while (packet := decoder.next_packet()) is not None:
                    if isinstance(packet, Connect):
                        await socket.send(encode(ConnAck(bool(heard))))
                    elif isinstance(packet, Publish):
                        count += 1
                        if first:
                            heard.add(packet.payload)
                            if count == 60:
                                socket.transport.abort()
                                return
                        else:
                            heard.add(packet.payload)
                            await socket.send(encode(PubAck(packet.packet_id or 0)))
        except ConnectionClosed:
            pass

    serving = websockets.asyncio.server.serve(
        serve,
        "127.0.0.1",
        0,
        subprotocols=["mqtt"],
        max_size=2**20,  # type: ignore[list-item]
    )
    async with serving as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(port, "ws", clean_session=False) as client:
            receipts = [
                client.publish_nowait("t", b"%d" % n + bytes(30_000), qos=1) for n in range(60)
            ]
            for receipt in receipts:
                await receipt.wait(20)
    assert len(heard) == 60
    assert max(sizes) < 128 * 1024


async def test_many_subscriptions_are_renewed_while_the_client_is_used() -> None:
    renewed: list[Subscribe] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        waiting: list[Subscribe] = []
        while (packet := await peer.packet()) is not None:
            if peer.number == 1:
                peer.answer(packet)
                if isinstance(packet, Publish):
                    peer.reset()
                    return
            elif isinstance(packet, Subscribe):
                waiting.append(packet)
            else:
                peer.answer(packet)
                if isinstance(packet, Publish):  # all were sent without waiting for an answer
                    renewed.extend(waiting)
                    for one in waiting:
                        peer.answer(one)

    states = States()
    async with scripted(script) as port, client_of(port, on_state=states) as client:
        for start in range(0, 1000, 10):
            await client.subscribe([(f"f/{start + n}", 1) for n in range(10)])
        client.publish_nowait("cut", b"x")
        await states.wait_for(ClientState.CONNECTED, 2)
        await client.publish("used", b"x", qos=1)
        await until(lambda: len(renewed) == 100)
    assert max(len(one.subscriptions) for one in renewed) == 10


async def test_what_comes_before_the_answers_of_a_renewal_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, sent = 3000, 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if peer.number == 1 and isinstance(packet, Publish):
                peer.reset()
                return
            if peer.number == 2 and isinstance(packet, Subscribe):
                for _ in range(count):
                    peer.send(Publish("f", bytes(10_000)))
                    await peer.writer.drain()
                    sent += 1
            peer.answer(packet)

    async def stalled() -> None:
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)

    monkeypatch.setattr(reading, "MAX_UNREAD_BYTES_WAITING", 500_000)
    async with scripted(script) as port, client_of(port, max_queued=10) as client:
        await client.subscribe("f")
        messages = client.messages("f")
        client.publish_nowait("cut", b"x")
        await until(lambda: sent)
        await stalled()
        assert sent < count, "the rest waits at the server"
        for _ in range(count):
            await anext(messages)
        await client.publish("t", b"x", qos=1)


async def test_a_renewal_that_was_cut_goes_on_though_the_session_is_there_by_then() -> None:
    asked: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number == 3)
        count = 0
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe):
                count += 1
                if peer.number == 3:
                    asked.append(packet.subscriptions[0].topic_filter)
                if peer.number == 2 and count == 2:
                    peer.reset()
                    return
            peer.answer(packet)
            if isinstance(packet, Publish) and peer.number == 1:
                peer.reset()
                return

    async with scripted(script) as port, client_of(port, clean_session=False) as client:
        for name in ("a", "b", "c"):
            await client.subscribe(name, qos=1)
        client.publish_nowait("cut", b"x")
        await until(lambda: {"b", "c"} <= set(asked))


async def test_a_subscription_for_which_the_server_leaves_is_given_up_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    granted: set[str] = set()

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe) and peer.number > 1:
                if any(one.topic_filter == "forbidden" for one in packet.subscriptions):
                    return  # FIN
                granted.update(one.topic_filter for one in packet.subscriptions)
            peer.answer(packet)
            if isinstance(packet, Publish) and peer.number == 1:
                peer.reset()
                return

    async with scripted(script) as port, client_of(port) as client:
        await client.subscribe([("forbidden", 1), ("a", 1), ("b", 1)])
        client.publish_nowait("cut", b"x")
        await until(lambda: {"a", "b"} <= granted)
        await client.publish("t", b"x", qos=1)
    assert "the server ends each connection for forbidden" in caplog.text


# Poison


@pytest.mark.parametrize("clean", [True, False])
async def test_a_message_that_the_server_will_not_take_fails_alone(clean: bool) -> None:
    connections = 0
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections = peer.number
        await peer.greet(session_present=not clean and peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish):
                if len(packet.payload) > 128 * 1024:
                    return  # FIN, after it was taken whole
                heard.append(packet.payload)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port, clean_session=clean) as client:
        poison = client.publish_nowait("big", bytes(200_000), qos=1)
        small = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(3)]
        with pytest.raises(DeliveryFailed, match="given up"):
            await poison.wait(20)
        for receipt in small:
            await receipt.wait(20)
        assert connections <= 8
        assert sorted(set(heard)) == [b"0", b"1", b"2"]
        assert client.failed() == [], "a caller waited for it"


async def test_a_message_that_is_given_up_unawaited_is_in_the_list_of_the_store(
    tmp_path: Path,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish) and packet.topic == "big":
                return
            peer.answer(packet)

    options: dict[str, object] = {"clean_session": False}
    async with scripted(script) as port:
        async with client_of(port, store=SqliteStore(tmp_path / "s"), **options) as client:
            client.publish_nowait("big", b"poison", qos=1)
            await client.publish("t", b"x", qos=1)
            ((packet, reason),) = client.failed()
            assert (packet.topic, packet.payload) == ("big", b"poison")
            assert "closed by the peer" in reason
        async with client_of(port, store=SqliteStore(tmp_path / "s"), **options) as again:
            assert [packet.payload for packet, _ in again.failed(forget=True)] == [b"poison"]
            assert again.failed() == []
            await again.publish("t", b"x", qos=1)
        async with client_of(port, store=SqliteStore(tmp_path / "s"), **options) as third:
            assert third.failed() == []


async def test_a_network_that_fails_condemns_no_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        packet = await peer.publish()
        if peer.number <= 12:
            peer.reset()
            return
        peer.answer(packet)
        await peer.serve()

    async with scripted(script) as port, client_of(port, clean_session=False) as client:
        await client.publish("t", b"x", qos=1)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_message_that_is_never_answered_holds_the_others_up_for_a_while_only(
    clean: bool,
) -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=not clean and peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish):
                if packet.payload == b"bad":
                    if peer.number <= 3:
                        peer.reset()
                        return
                    continue  # it is not answered, pings are
                heard.append(packet.payload)
            peer.answer(packet)

    options: dict[str, object] = {"clean_session": clean, "hop_timeout": 0.3, "keep_alive": 1}
    async with scripted(script) as port, client_of(port, **options) as client:
        bad = client.publish_nowait("t", b"bad", qos=2)
        small = [client.publish_nowait("t", b"%d" % n, qos=1 + n % 2) for n in range(6)]
        for receipt in small:
            await receipt.wait(10)
        await client.publish("t", b"6", qos=1)
        assert not bad.done
        assert sorted(set(heard)) == [b"%d" % n for n in range(7)]
        await client.disconnect(0.1)


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_a_message_that_is_too_large_for_us_does_not_lock_a_session(
    caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    async with broker(websocket=scheme == "ws") as server:
        url = f"{scheme}://127.0.0.1:{server.port}/mqtt"
        options: dict[str, object] = {"client_id": "c", "reconnect": AT_ONCE}
        async with AsyncClient(url, clean_session=False, **options) as client:  # type: ignore[arg-type]
            await client.subscribe("t", qos=1)
        async with AsyncClient(url) as other:
            await other.publish("t", bytes(500_000), qos=1)
            await other.publish("t", b"small", qos=1)
        again = AsyncClient(url, clean_session=False, max_packet_size=50_000, **options)  # type: ignore[arg-type]
        messages = again.messages()
        async with again:
            assert (await anext(messages)).payload == b"small"
    assert "acknowledged unread: a message of 5000" in caplog.text


# Reasons


async def test_the_reason_of_the_losses_is_in_the_error_of_a_call_that_times_out() -> None:
    states = States()

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish | Subscribe):
                return
            peer.answer(packet)

    async with scripted(script) as port:
        calmly = Backoff(0.3, 0.3)
        client = client_of(port, request_timeout=0.4, on_state=states, reconnect=calmly)
        async with client:
            with pytest.raises(RequestTimedOut, match="closed by the peer") as caught:
                await client.subscribe("t")
            assert isinstance(caught.value.__cause__, MqttwsError)
            with pytest.raises(RequestTimedOut, match="after PUBLISH to 't' of 3 bytes") as caught:
                await client.publish("t", b"abc", qos=1)
            assert isinstance(caught.value.__cause__, MqttwsError)
            await client.disconnect(0.1)
    reasons = [str(reason) for state, reason in states.seen if state is ClientState.RECONNECTING]
    assert any("after PUBLISH to 't' of 3 bytes" in reason for reason in reasons)


async def test_a_loop_of_failed_attempts_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with broker(websocket=False) as server:
        port = server.port
        client = client_of(port)
        await client.connect()
    await until(lambda: "attempts to reconnect have failed" in caplog.text)
    await client.disconnect()
