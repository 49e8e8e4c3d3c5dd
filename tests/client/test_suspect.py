"""A message that ends each connection is found, alone; a network that fails condemns nothing."""

import asyncio
import socket
from contextlib import suppress
from typing import Literal

import pytest

from mqttws import AsyncClient, Backoff, ClientState, DeliveryFailed
from mqttws.client import suspect as suspect_module
from mqttws.client.suspect import HOLD, Suspect
from mqttws.client.writing import Writing
from mqttws.wire import Publish, SubAck, Subscribe

from .scripted import Peer, scripted
from .test_reconnect import until
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients


def client_of(port: int, **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("reconnect", Backoff(0.0, 0.02))
    return AsyncClient(f"mqtt://127.0.0.1:{port}/", **options)  # type: ignore[arg-type]


def test_the_rule_of_the_suspect() -> None:
    suspect, thing, other = Suspect(), object(), object()
    for _ in range(2):
        assert not suspect.note_loss(thing, refused=0.1)
        assert not suspect.alone
    assert not suspect.note_loss(thing, refused=0.1)
    assert suspect.alone, "three losses"
    assert not suspect.note_loss(thing, refused=0.1)
    assert not suspect.note_loss(thing, refused=None)
    assert not suspect.hold
    assert not suspect.note_loss(thing, refused=0.1)
    assert suspect.hold == HOLD, "the last connection has to hold without it"
    assert suspect.note_loss(thing, refused=0.1), "three refusals, alone"
    assert not suspect.alone
    assert not suspect.hold
    for _ in range(3):
        suspect.note_loss(thing, refused=None)
    assert suspect.alone
    suspect.note_loss(other, refused=0.1)
    assert not suspect.alone, "the first was answered"


def test_a_suspect_is_given_up_only_where_a_connection_held_without_it_for_longer() -> None:
    suspect, thing = Suspect(), object()
    for lasted in (9.0, 9.0, 9.0, 2.0, 1.0):  # the first three were not alone
        assert not suspect.note_loss(thing, refused=lasted)
    assert suspect.hold == 4.0
    suspect.note_cut(7.9)
    assert not suspect.hold, "lost without it, too: the network"
    assert suspect.alone
    for lasted in (1.0, 1.0):
        assert not suspect.note_loss(thing, refused=lasted)
    assert suspect.hold == 4.0
    assert not suspect.note_loss(thing, refused=4.5), "longer than it had held without it"
    assert suspect.hold == 9.0
    assert suspect.note_loss(thing, refused=9.0)


def test_a_connection_that_was_lost_late_held_too() -> None:
    suspect, thing = Suspect(), object()
    for _ in range(5):
        assert not suspect.note_loss(thing, refused=0.1)
    suspect.note_cut(HOLD / 4 - 0.01)
    assert not suspect.note_loss(thing, refused=0.1), "begun anew"
    assert not suspect.note_loss(thing, refused=0.1)
    suspect.note_cut(0.4)
    assert not suspect.hold, "it goes at once"
    assert not suspect.note_loss(thing, refused=0.5), "longer than that one had held"
    assert suspect.hold == HOLD
    suspect.note_cut(2.0)
    assert suspect.note_loss(thing, refused=0.1)
    assert not suspect.alone


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_network_that_closes_each_connection_in_order_condemns_no_message(
    qos: Literal[1, 2], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a gateway does that lets each connection live for so long, and a server that is slow."""
    monkeypatch.setattr(suspect_module, "HOLD", 0.4)
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        ends = asyncio.get_running_loop().time() + 0.2
        while peer.number <= 14:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    if await peer.packet() is None:
                        return
                continue  # it is not answered in time
            return  # FIN
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish):
                heard.append(packet.payload)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port, clean_session=False) as client:
        receipts = [client.publish_nowait("t", b"%d" % n, qos=qos) for n in range(3)]
        for receipt in receipts:
            await receipt.wait(30)
    assert heard == [b"0", b"1", b"2"]


async def test_a_network_that_closes_each_connection_in_order_condemns_no_subscription(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suspect_module, "HOLD", 0.4)
    renewed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        ends = asyncio.get_running_loop().time() + 0.2
        while 1 < peer.number <= 14:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    if await peer.packet() is None:
                        return
                continue
            return  # FIN
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe) and peer.number > 1:
                renewed.set()
            peer.answer(packet)
            if isinstance(packet, Publish) and packet.payload == b"cut":
                peer.reset()
                return

    async with scripted(script) as port, client_of(port) as client:
        await client.subscribe("s", qos=1)
        client.publish_nowait("t", b"cut")
        await asyncio.wait_for(renewed.wait(), 30)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("culprit", ["message", "subscription", "both"])
@pytest.mark.parametrize("subscribed", ["bad first", "bad last", "in one request"])
async def test_what_is_sent_beside_the_culprit_is_not_given_up_for_it(
    clean: bool, culprit: str, subscribed: str
) -> None:
    """The server keeps no session, so that subscriptions are renewed on each connection."""
    heard: list[bytes] = []
    granted: set[str] = set()
    bad_message, bad_filter = culprit != "subscription", culprit != "message"
    first, last = ("bad", "good") if subscribed == "bad first" else ("good", "bad")

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe) and peer.number > 1:
                names = {one.topic_filter for one in packet.subscriptions}
                if bad_filter and "bad" in names:
                    return  # FIN
                granted.update(names)
            if isinstance(packet, Publish):
                if bad_message and packet.payload == b"bad":
                    return
                if packet.payload == b"cut":
                    peer.reset()
                    return
                heard.append(packet.payload)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port, clean_session=clean) as client:
        if subscribed == "in one request":
            await client.subscribe([(first, 1), (last, 1)])
        else:
            await client.subscribe(first, qos=1)
            await client.subscribe(last, qos=1)
        client.publish_nowait("t", b"cut")
        bad = client.publish_nowait("t", b"bad", qos=1)
        good = client.publish_nowait("t", b"good", qos=1)
        if bad_message:
            with pytest.raises(DeliveryFailed, match="given up"):
                await bad.wait(30)
        else:
            await bad.wait(30)
        await good.wait(30)
        await until(lambda: "good" in granted)
    assert ("bad" in granted) == (not bad_filter)
    assert b"good" in heard


async def test_a_short_lived_network_hides_no_message_for_which_the_server_leaves() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.8):  # less than a connection has to hold
                while (packet := await peer.packet()) is not None:
                    if isinstance(packet, Publish) and packet.payload == b"bad":
                        return
                    peer.answer(packet)

    async with scripted(script) as port, client_of(port, clean_session=False) as client:
        bad = client.publish_nowait("t", b"bad", qos=1)
        await client.publish("t", b"good", qos=1)
        with pytest.raises(DeliveryFailed, match="given up"):
            await bad.wait(10)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("which", [0, 2])
async def test_what_is_cancelled_while_it_is_held_back_is_not_sent_again(
    clean: bool, qos: Literal[1, 2], which: int
) -> None:
    heard: list[bytes] = []
    held = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=not clean and peer.number > 1)
        if peer.number == 6:
            held.set()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish):
                if peer.number <= 5:
                    return
                heard.append(packet.payload)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port, clean_session=clean) as client:
        receipts = [client.publish_nowait("t", b"%d" % n, qos=qos) for n in range(4)]
        await asyncio.wait_for(held.wait(), 30)
        await until(lambda: client.state is ClientState.CONNECTED)
        assert receipts[which].cancel()
        for n in {0, 1, 2, 3} - {which}:
            await receipts[n].wait(30)
        await client.publish("t", b"4", qos=qos)
    assert heard == [b"%d" % n for n in range(5) if n != which]


async def test_time_counts_from_when_the_server_has_a_long_message_whole() -> None:
    """It leaves for a message 0.2 s after it was taken, which took it 0.3 s; 0.4 are allowed."""
    size = 4_000_000

    async def script(peer: Peer) -> None:
        # What the kernel takes counts as taken: little, here.
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_000)
        await peer.greet(session_present=peer.number > 1)
        began, count = asyncio.get_running_loop().time(), 0
        while True:
            while (packet := peer._decoder.next_packet()) is None:
                data = await peer.reader.read(32_000)
                if not data:
                    return
                count += len(data)
                ahead = began + 0.3 * count / size - asyncio.get_running_loop().time()
                if count > 1000 and ahead > 0:
                    await asyncio.sleep(ahead)
                peer._decoder.feed(data)
            if isinstance(packet, Publish) and len(packet.payload) == size:
                await asyncio.sleep(0.2)
                return
            peer.answer(packet)

    options: dict[str, object] = {"hop_timeout": 0.4, "max_packet_size": 2 * size}
    async with scripted(script) as port:
        async with client_of(port, clean_session=False, **options) as client:
            bad = client.publish_nowait("t", bytes(size), qos=1)
            await client.publish("t", b"good", qos=1)
            with pytest.raises(DeliveryFailed, match="given up"):
                await bad.wait(10)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_message_that_is_never_answered_hides_none_for_which_the_server_leaves(
    clean: bool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(session_present=not clean and peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish) and packet.payload == b"mute":
                continue
            if isinstance(packet, Publish) and packet.payload == b"bad":
                return
            peer.answer(packet)

    options: dict[str, object] = {"clean_session": clean, "hop_timeout": 0.3}
    async with scripted(script) as port, client_of(port, **options) as client:
        mute, bad = (client.publish_nowait("t", each, qos=1) for each in (b"mute", b"bad"))
        await client.publish("t", b"good", qos=1)
        with pytest.raises(DeliveryFailed, match="given up"):
            await bad.wait(10)
        assert not mute.done
        await client.disconnect(0.1)


async def test_what_is_sent_beside_a_silent_suspect_does_not_hold_the_others_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a long way, where something that was sent is always under way."""
    monkeypatch.setattr(Writing, "sent_whole", property(lambda _: False))

    async def script(peer: Peer) -> None:
        await peer.greet(session_present=peer.number > 1)
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish) and packet.payload == b"mute":
                if peer.number <= 3:
                    peer.reset()
                    return
                continue
            peer.answer(packet)

    options: dict[str, object] = {"clean_session": False, "hop_timeout": 0.3}
    async with scripted(script) as port, client_of(port, **options) as client:
        client.publish_nowait("t", b"mute", qos=1)
        await client.publish("t", b"good", qos=1)
        await client.disconnect(0.1)


@pytest.mark.only_async  # the thread of the sync client leaves no such moment
@pytest.mark.parametrize("first", ["s", "x"])
async def test_leaving_a_connection_beside_a_suspected_subscription_loses_no_message(
    first: str,
) -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections = peer.number
        await peer.greet()
        asked: dict[str, int] = {}
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Publish) and packet.payload == b"cut":
                peer.reset()
                return
            if isinstance(packet, Subscribe) and 1 < peer.number <= 5:
                if peer.number < 5:
                    return
                asked[packet.subscriptions[0].topic_filter] = packet.packet_id
                if len(asked) == 2:  # both answers in one segment
                    names = sorted(asked, key=lambda name: name != first)
                    peer.send(*(SubAck(asked[name], [1]) for name in names))
                continue
            peer.answer(packet)

    async with scripted(script) as port, client_of(port) as client:
        await client.subscribe("s", qos=1)
        client.publish_nowait("t", b"cut")
        await until(lambda: connections == 5)

        async def leave() -> None:
            await client.subscribe("x", qos=1)
            await client.reconnect()

        leaving = asyncio.ensure_future(leave())
        receipts = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(3)]
        await leaving
        for n in range(20):
            await asyncio.sleep(0)
            receipts.append(client.publish_nowait("t", b"%d" % n, qos=1))
        for receipt in receipts:
            await receipt.wait(10)


async def test_a_subscription_that_is_never_answered_holds_the_messages_up_for_a_while_only() -> (
    None
):
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        while (packet := await peer.packet()) is not None:
            if isinstance(packet, Subscribe) and peer.number > 1:
                if peer.number <= 4:
                    peer.reset()
                    return
                continue  # it is not answered, pings are
            if isinstance(packet, Publish):
                if packet.payload == b"cut":
                    peer.reset()
                    return
                heard.append(packet.payload)
            peer.answer(packet)

    async with scripted(script) as port, client_of(port, hop_timeout=0.3, keep_alive=1) as client:
        await client.subscribe("s", qos=1)
        client.publish_nowait("t", b"cut")
        await client.publish("t", b"x", qos=1)
        assert set(heard) == {b"x"}
        await client.disconnect(0.1)
