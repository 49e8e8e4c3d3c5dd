"""A publish says done only when it is: ends of exchanges, windows, identifiers, odd answers."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from mqttws import (
    AsyncClient,
    Backoff,
    DeliveryFailed,
    DeliveryUnknown,
    MemoryStore,
    QueueFull,
    RequestTimedOut,
    SqliteStore,
)
from mqttws.wire import (
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    encode,
)

from .scripted import Peer, scripted
from .test_reconnect import until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

AT_ONCE = Backoff(0.0, 0.0)


def client_of(port: int, **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("reconnect", AT_ONCE)
    return AsyncClient(f"mqtt://127.0.0.1:{port}", **options)  # type: ignore[arg-type]


# Windows


@pytest.mark.parametrize(
    ("options", "qos", "window"),
    [({}, 2, 20), ({}, 1, 100), ({"max_in_flight_qos2": 3}, 2, 3), ({"max_in_flight": 7}, 2, 7),
     ({"max_in_flight": 7}, 1, 7)],
)  # fmt: skip
async def test_no_more_than_a_window_waits_for_its_acknowledgement(
    options: dict[str, object], qos: int, window: int
) -> None:
    most = 0
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        nonlocal most
        await peer.greet()
        waiting: list[Packet] = []
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    packet = await peer.packet()
                    if packet is None:
                        return
                    if isinstance(packet, Publish):
                        heard.append(packet.payload)
                        waiting.append(packet)
                        most = max(most, len(waiting))
                    else:
                        peer.answer(packet)
                    continue
            for packet in waiting:  # nothing more comes: answer all
                peer.answer(packet)
            waiting.clear()

    async with scripted(script) as port, client_of(port, **options) as client:
        receipts = [client.publish_nowait("t", b"%d" % n, qos=qos) for n in range(3 * window)]
        for receipt in receipts:
            await receipt.wait(20)
        assert heard == [b"%d" % n for n in range(3 * window)]
        assert most == window


async def test_the_order_of_the_calls_holds_over_all_qos_behind_a_full_window() -> None:
    heard: list[Packet] = []
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        heard.append(await peer.publish())
        await release.wait()
        peer.answer(heard[0])
        await peer.serve(heard)

    async with scripted(script) as port, client_of(port, max_in_flight_qos2=1) as client:
        receipts = [
            client.publish_nowait("t", b"%d" % n, qos=qos)
            for n, qos in enumerate((2, 2, 0, 1, 0, 2, 0))
        ]
        release.set()
        for receipt in receipts:
            await receipt.wait(10)
        await client.publish("t", b"7", qos=1)
        found = [packet.payload for packet in heard if isinstance(packet, Publish)]
        assert found == [b"%d" % n for n in range(8)]


async def test_what_waits_is_bounded_in_bytes_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while await peer.packet() is not None:
            pass

    async with scripted(script) as port:
        client = client_of(port, max_outgoing_bytes=100_000, max_in_flight=1)
        async with client:
            for _ in range(2):
                client.publish_nowait("t", bytes(60_000), qos=1)
            await asyncio.sleep(0.1)  # the sync client's loop has its turn
            with pytest.raises(QueueFull, match="take 121"):
                client.publish_nowait("t", b"x", qos=1)
            await client.disconnect(0.1)


# Ends


@pytest.mark.parametrize("after", ["unknown", "republish"])
async def test_a_clean_session_that_is_cut_after_pubrec_never_says_done(after: str) -> None:
    heard: list[Publish] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            packet = await peer.publish()
            heard.append(packet)
            peer.answer(packet)
            assert isinstance(await peer.packet(), PubRel)
            peer.reset()
            return
        packets: list[Packet] = []
        await peer.serve(packets)
        heard.extend(packet for packet in packets if isinstance(packet, Publish))

    async with scripted(script) as port:
        async with client_of(port, after_pubrec=after) as client:
            if after == "republish":
                await client.publish("t", b"x", qos=2, retain=True)
            else:
                with pytest.raises(DeliveryUnknown, match="'t'") as caught:
                    await client.publish("t", b"x", qos=2, retain=True)
                error = caught.value
                assert (error.topic, error.payload, error.qos, error.retain) == ("t", b"x", 2, True)
                await client.publish("t", b"again", qos=1)
    assert [one.payload for one in heard] == [b"x", b"x" if after == "republish" else b"again"]
    assert not heard[1].dup


@pytest.mark.parametrize("store", ["none", "memory", "sqlite"])
async def test_a_persistent_session_that_the_server_lost_is_published_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, store: str
) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=False)
        if peer.number == 1:
            peer.answer(await peer.publish())
            assert isinstance(await peer.packet(), PubRel)
            await peer.publish()  # no PUBREC for this one
            peer.reset()
        else:
            await peer.serve(heard)

    kept = {"none": None, "memory": MemoryStore(), "sqlite": SqliteStore(tmp_path / "s")}[store]
    async with scripted(script) as port:
        async with client_of(port, clean_session=False, store=kept) as client:
            first = client.publish_nowait("t", b"1", qos=2)
            await asyncio.sleep(0.05)
            second = client.publish_nowait("t", b"2", qos=2)
            await first.wait(10)
            await second.wait(10)
    found = {packet.payload: packet.dup for packet in heard if isinstance(packet, Publish)}
    assert found == {b"1": False, b"2": False}
    assert "published anew after PUBREC" in caplog.text


async def test_a_message_after_pubrec_survives_in_the_file_too(tmp_path: Path) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            peer.answer(await peer.publish())
            await peer.packet()
            while await peer.packet() is not None:
                pass
        else:
            await peer.serve(heard)

    options: dict[str, object] = {"clean_session": False, "reconnect": None}
    async with scripted(script) as port:
        async with client_of(port, store=SqliteStore(tmp_path / "s"), **options) as one:
            with pytest.raises(RequestTimedOut):
                await one.publish_nowait("t", b"kept", qos=2).wait(0.2)
            await one.disconnect(0.1)
        async with client_of(port, store=SqliteStore(tmp_path / "s"), **options) as two:
            await until(lambda: any(isinstance(packet, PubRel) for packet in heard))
            await two.publish("t", b"last", qos=1)
    payloads = [packet.payload for packet in heard if isinstance(packet, Publish)]
    assert payloads == [b"kept", b"last"]


async def test_a_server_that_ends_qos_2_with_puback_gets_each_message_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            heard.append(packet)
            if isinstance(packet, Publish) and packet.packet_id is not None:
                peer.send(PubAck(packet.packet_id))

    async with scripted(script) as port, client_of(port) as client:
        for n in range(3):
            receipt = client.publish_nowait("t", b"%d" % n, qos=2)
            await receipt.wait(10)
            assert receipt.downgraded
    assert [one.payload for one in heard if isinstance(one, Publish)] == [b"0", b"1", b"2"]
    assert caplog.text.count("PUBACK") == 1


# Answers that fit nothing


@pytest.mark.parametrize("stale", [PubRec(999), PubAck(999), PubComp(999)], ids=repr)
async def test_a_stale_acknowledgement_after_connack_ends_nothing(
    caplog: pytest.LogCaptureFixture, stale: Packet
) -> None:
    heard: list[Packet] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=True)
        peer.send(stale)
        await peer.serve(heard)

    async with scripted(script) as port:
        async with client_of(port, clean_session=False) as client:
            for _ in range(3):
                await client.publish("t", b"x", qos=1)
            ignored = client.ignored
    assert ignored == (0 if isinstance(stale, PubComp) else 1)
    released = [packet for packet in heard if isinstance(packet, PubRel)]  # before a PUBLISH or not
    assert released == ([PubRel(999)] if isinstance(stale, PubRec) else [])
    assert ("999" in caplog.text) == bool(ignored)


async def test_answers_that_come_twice_end_nothing() -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections = peer.number
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            peer.answer(packet)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port) as client:
        await client.subscribe("a", qos=1)
        for qos in (1, 2) * 5:
            await client.publish("t", b"x", qos=qos)
        await client.unsubscribe("a")
    assert connections == 1


async def test_strict_is_the_old_way() -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections = peer.number
        await peer.greet()
        await peer.publish()
        peer.send(PubAck(7))
        await peer.serve()

    async with scripted(script) as port:
        async with client_of(port, strict=True) as client:
            with pytest.raises(RequestTimedOut):
                await client.publish_nowait("t", b"x", qos=1).wait(0.5)
            assert connections > 2
            await client.disconnect(0.1)


async def test_dup_with_qos_0_is_a_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        peer.answer(await peer.packet())  # type: ignore[arg-type]
        raw = bytearray(encode(Publish("t", b"x")))
        raw[0] |= 8
        peer.writer.write(bytes(raw) * 5)
        await peer.serve()

    async with scripted(script) as port, client_of(port) as client:
        messages = client.messages()
        await client.subscribe("t")
        for _ in range(5):
            message = await anext(messages)
            assert (message.payload, message.dup) == (b"x", False)


async def test_the_first_packet_identifier_is_random() -> None:
    seen: list[int | None] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        packet = await peer.publish()
        seen.append(packet.packet_id)
        peer.answer(packet)
        await peer.serve()

    async with scripted(script) as port:
        for _ in range(4):
            async with client_of(port) as client:
                await client.publish("t", b"x", qos=1)
    assert len(set(seen)) > 1


async def test_a_suback_that_fits_no_request_fails_it_with_the_reason() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe) and len(packet.subscriptions) > 1:
                peer.send(type(SUBACK)(packet.packet_id, [0]))
            else:
                peer.answer(packet)

    from mqttws.wire import SubAck

    SUBACK = SubAck(1, [0])
    async with scripted(script) as port, client_of(port) as client:
        from mqttws import UnexpectedPacket

        with pytest.raises(UnexpectedPacket, match="1 codes for 2 filters"):
            await client.subscribe([("a", 0), ("b", 0)])
        assert await client.subscribe("a") == [0]


# Giving up


@pytest.mark.parametrize("state", ["queued", "in flight", "offline"])
async def test_a_receipt_can_be_cancelled(state: str) -> None:
    heard: list[Packet] = []
    calm = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        if not calm.is_set():
            while (packet := await peer.packet()) is not None:
                heard.append(packet)
                if calm.is_set():
                    break
            peer.reset()
            return
        await peer.serve(heard)

    async with scripted(script) as port:
        options: dict[str, object] = {"max_in_flight": 1} if state == "queued" else {}
        async with client_of(port, clean_session=False, **options) as client:
            if state == "queued":
                client.publish_nowait("t", b"first", qos=1)
            receipt = client.publish_nowait("t", b"bad", qos=2)
            if state != "queued":
                await until(lambda: len(heard) == 1)
            if state != "offline":
                assert receipt.cancel()
            calm.set()
            client.publish_nowait("t", b"next", qos=0)
            if state == "offline":
                await until(lambda: not client.connected or len(heard) > 1)
                receipt.cancel()
            with pytest.raises(DeliveryFailed, match="cancelled"):
                await receipt
            assert not receipt.cancel()
            heard.clear()
            await client.publish("t", b"last", qos=1)
    if state != "offline":
        assert b"bad" not in [one.payload for one in heard if isinstance(one, Publish)]
