"""AsyncClient on bad links: what is lost, renewed, sent again, queued, and told."""

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mqttws import (
    AsyncClient,
    Backoff,
    CertificateRejected,
    ClientState,
    ConnectFailed,
    ConnectionLost,
    ConnectRefused,
    KeepAliveExpired,
    MemoryStore,
    QueueFull,
    RequestTimedOut,
    SqliteStore,
    TlsConfig,
    UsageError,
)
from mqttws.client import clock, connector
from mqttws.wire import Packet, PingReq, PubAck, Publish, Subscribe

from ..net.rogue import Certificates
from ..peers.brokers import server_pem
from .broker import broker
from .relay import DOWN, UP, relay
from .scripted import Peer, scripted
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients

AT_ONCE = Backoff(0.0, 0.0)


def client_of(port: int, **options: object) -> AsyncClient:
    options.setdefault("client_id", "c")
    options.setdefault("reconnect", AT_ONCE)
    return AsyncClient(f"ws://127.0.0.1:{port}/mqtt", **options)  # type: ignore[arg-type]


class States:
    """Records a client's states, and waits for one."""

    def __init__(self) -> None:
        self.seen: list[tuple[ClientState, object]] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, state: ClientState, reason: object) -> None:
        self.seen.append((state, reason))
        self._loop.call_soon_threadsafe(self._changed.set)  # the sync client's thread calls us

    async def wait_for(self, state: ClientState, times: int = 1) -> object:
        while [seen for seen, _ in self.seen].count(state) < times:
            self._changed.clear()
            await self._changed.wait()
        return [reason for seen, reason in self.seen if seen is state][times - 1]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def sent(packets: list[tuple[str, Packet]], packet_type: type) -> list[Packet]:
    return [packet for way, packet in packets if way == ">" and isinstance(packet, packet_type)]


async def test_every_change_of_state_is_told_with_its_reason() -> None:
    states = States()
    async with broker(websocket=True) as server:
        client = client_of(server.port, on_state=states)
        assert client.state is ClientState.NEW
        async with client:
            assert client.state is ClientState.CONNECTED
            server.cut()
            assert isinstance(await states.wait_for(ClientState.RECONNECTING), ConnectionLost)
            await states.wait_for(ClientState.CONNECTED, 2)
        assert client.state is ClientState.CLOSED
    assert [state.value for state, _ in states.seen] == [
        "connecting", "connected", "reconnecting", "connected", "closed",
    ]  # fmt: skip


async def test_a_first_connection_that_fails_is_an_error_and_may_be_tried_again() -> None:
    async with broker(websocket=True) as server:
        client = client_of(server.port)
        server.refuse_with = 5
        with pytest.raises(ConnectRefused):
            await client.connect()
        assert client.state is ClientState.NEW
        server.refuse_with = 0
        await client.connect()
        await client.disconnect()


@pytest.mark.rule("MQTT-3.1.2-4")
@pytest.mark.parametrize("clean_session", [True, False])
async def test_subscriptions_outlive_the_connection(clean_session: bool) -> None:
    states = States()
    packets: list[tuple[str, Packet]] = []
    async with broker(websocket=True) as server:
        client = client_of(
            server.port,
            clean_session=clean_session,
            on_state=states,
            on_packet=lambda *told: packets.append(told),
        )
        async with client:
            await client.subscribe([("a", 1), ("b", 2)])
            await client.subscribe("gone")
            await client.unsubscribe("gone")
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("a", b"1", qos=1)
            assert (await anext(client.messages())).payload == b"1"
            await until(lambda: sent(packets, Publish))  # the observer comes behind
            renewed = sent(packets, Subscribe)[2:]
            wishes = [w.topic_filter for p in renewed for w in p.subscriptions]  # type: ignore[attr-defined]
            assert wishes == (["a", "b"] if clean_session else [])


async def test_subscriptions_are_renewed_when_the_server_forgot_the_session() -> None:
    states = States()
    async with broker(websocket=True) as server:
        async with client_of(server.port, clean_session=False, on_state=states) as client:
            await client.subscribe("a", qos=1)
            server.forget()
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("a", b"1", qos=1)
            assert (await anext(client.messages())).payload == b"1"


@pytest.mark.rule("MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-4.6.0-1")
async def test_what_was_not_acknowledged_is_sent_again_in_order_before_what_is_newer() -> None:
    packets: list[tuple[str, Packet]] = []
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(
            way.port,
            clean_session=False,
            on_state=states,
            on_packet=lambda *told: packets.append(told),
        )
        async with client:
            way.stall()
            before = [client.publish_nowait("t", b"%d" % n, qos=1 + n % 2) for n in range(6)]
            await until(lambda: len(sent(packets, Publish)) == 6)
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            later = [client.publish_nowait("t", b"%d" % n, qos=n % 3) for n in range(6, 10)]
            way.resume()
            for receipt in before + later:
                await receipt.wait(20)
        again = sent(packets, Publish)[6:]
        assert [p.payload for p in again] == [b"%d" % n for n in range(10)]  # type: ignore[attr-defined]
        assert [p.dup for p in again] == [True] * 6 + [False] * 4  # type: ignore[attr-defined]
        assert [message.payload for message in server.heard] == [b"%d" % n for n in range(10)]


@pytest.mark.rule("MQTT-3.1.2-6")
async def test_a_clean_session_sends_what_is_left_as_new_messages() -> None:
    packets: list[tuple[str, Packet]] = []
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(way.port, on_state=states, on_packet=lambda *told: packets.append(told))
        async with client:
            way.stall()
            receipts = [client.publish_nowait("t", b"%d" % n, qos=1) for n in range(3)]
            await until(lambda: len(sent(packets, Publish)) == 3)
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            receipts.append(client.publish_nowait("t", b"3", qos=1))
            way.resume()
            for receipt in receipts:
                await receipt.wait(20)
        again = sent(packets, Publish)[3:]
        assert [(p.payload, p.dup) for p in again] == [(b"%d" % n, False) for n in range(4)]  # type: ignore[attr-defined]


@pytest.mark.rule("MQTT-4.3.3-2", "MQTT-4.3.3-1")
async def test_qos_2_is_exactly_once_over_cuts_in_every_place() -> None:
    chance = random.Random(20)
    async with broker(websocket=True) as server, relay(server.port, chance) as way:
        way.next_cut = lambda: {
            UP: 400 + chance.randrange(600) if way.connections < 30 else None,
            DOWN: 300 + chance.randrange(400) if way.connections < 30 else None,
        }
        async with client_of(way.port, clean_session=False, connect_timeout=5) as client:
            seen: list[bytes] = []

            async def read() -> None:
                async for message in client.messages():
                    seen.append(message.payload)
                    if len(seen) == 100:
                        return

            await client.subscribe("t", qos=2)
            reading = asyncio.ensure_future(read())
            receipts = [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(100)]
            for receipt in receipts:
                await receipt.wait(40)
            await reading
        assert way.connections >= 5
        assert sorted(map(int, seen)) == list(range(100))
        assert sorted(int(m.payload) for m in server.heard) == list(range(100))


async def test_qos_0_waits_in_the_queue_while_offline() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, on_state=states) as client:
            way.stall()
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            for n in range(5):
                await client.publish("t", b"%d" % n)
            way.resume()
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("t", b"5", qos=1)
        assert [message.payload for message in server.heard] == [b"%d" % n for n in range(6)]


async def test_the_bound_is_waited_for_or_told_at_once() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(way.port, on_state=states, max_outgoing=3, request_timeout=1.0)
        async with client:
            way.stall()
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            for n in range(3):
                client.publish_nowait("t", b"%d" % n)
            with pytest.raises(QueueFull):
                client.publish_nowait("t", b"too many", qos=1)
            with pytest.raises(RequestTimedOut, match="nothing was sent"):
                await client.publish("t", b"too many", qos=1)
            with pytest.raises(UsageError):
                await client.publish("t/#", b"bad", qos=1)
            waiting = asyncio.ensure_future(client.publish("t", b"3", qos=1))
            await asyncio.sleep(0)
            way.resume()
            await waiting
        assert [message.payload for message in server.heard] == [b"0", b"1", b"2", b"3"]


@pytest.mark.only_async
async def test_a_publish_whose_room_comes_as_the_client_ends_is_told() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(way.port, on_state=states, max_outgoing=1)
        async with client:
            way.stall()
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            receipt = client.publish_nowait("t", b"0", qos=1)
            waiting = asyncio.ensure_future(client.publish("t", b"1", qos=1))
            await asyncio.sleep(0)
            assert receipt.cancel()
            await client.disconnect()
        with pytest.raises(UsageError, match="disconnected"):
            await asyncio.wait_for(waiting, 5)


async def test_a_time_limit_leaves_the_message_in_flight_and_says_so() -> None:
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, request_timeout=0.2) as client:
            way.stall()
            with pytest.raises(RequestTimedOut, match="stays in flight"):
                await client.publish("t", b"late", qos=1)
            receipt = client.publish_nowait("t", b"last", qos=1)
            with pytest.raises(RequestTimedOut, match="stays in flight"):
                await receipt.wait(0.05)
            way.resume()
            await receipt.wait(20)
            assert receipt.done
            await receipt
        assert [message.payload for message in server.heard] == [b"late", b"last"]


@pytest.mark.parametrize("code", [1, 2, 4, 5])
async def test_a_fatal_refusal_ends_the_client(code: int) -> None:
    states = States()
    async with broker(websocket=True) as server:
        async with client_of(server.port, on_state=states) as client:
            receipt = asyncio.ensure_future(anext(client.messages()))
            server.refuse_with = code
            server.cut()
            reason = await states.wait_for(ClientState.CLOSED)
            assert isinstance(reason, ConnectRefused)
            assert reason.return_code == code
            with pytest.raises(ConnectRefused):
                await receipt
            with pytest.raises(ConnectRefused):
                await client.publish("t")
            assert len(server.connects) == 2


async def test_a_certificate_that_is_trusted_no_more_ends_the_client(
    certificates: Certificates, tmp_path: Path
) -> None:
    states = States()
    context = certificates.server()
    context.num_tickets = 0  # a resumed session shows no certificate
    async with broker(websocket=True, tls=context) as server:
        client = AsyncClient(
            f"wss://127.0.0.1:{server.port}/mqtt",
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
            reconnect=AT_ONCE,
            on_state=states,
        )
        async with client:
            context.load_cert_chain(server_pem(Certificates(tmp_path)))  # of another CA
            server.cut()
            assert isinstance(await states.wait_for(ClientState.CLOSED), CertificateRejected)
            with pytest.raises(CertificateRejected):
                await client.publish("t", qos=1)
    assert [state for state, _ in states.seen].count(ClientState.RECONNECTING) == 1


@pytest.mark.rule("WS-59")
async def test_a_server_that_is_unavailable_is_tried_again() -> None:
    states = States()
    async with broker(websocket=True) as server:
        async with client_of(server.port, on_state=states) as client:
            server.refuse_with = 3
            server.cut()
            await states.wait_for(ClientState.RECONNECTING, 3)
            server.refuse_with = 0
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("t", qos=1)


async def test_a_credential_is_fetched_for_each_connection_and_once_more_when_refused() -> None:
    states = States()
    fetched = 0

    async def fetch() -> str:
        nonlocal fetched
        fetched += 1
        return f"token-{fetched}"

    async with broker(websocket=True) as server:
        client = client_of(server.port, username="u", password=fetch, on_state=states)
        async with client:
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
            server.refuse_with = 5
            server.cut()
            await states.wait_for(ClientState.CLOSED)
        secrets = [connect.password for connect in server.connects]
        assert secrets == [b"token-1", b"token-2", b"token-3", b"token-4"]
        assert "token" not in repr(client) + repr(states.seen)


async def test_a_credential_that_cannot_be_fetched_fails_the_attempt() -> None:
    async with broker(websocket=True) as server:
        client = client_of(server.port, username="u", password=lambda: 1 // 0)
        with pytest.raises(ConnectFailed, match="ZeroDivisionError") as caught:
            await client.connect()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        client = client_of(server.port, username="u", password=lambda: 5)
        with pytest.raises(UsageError, match="int"):
            await client.connect()


async def test_a_subscribe_waits_for_the_connection() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, on_state=states) as client:
            way.stall()
            asked = asyncio.ensure_future(client.subscribe("t", qos=1))
            await asyncio.sleep(0)
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            also = asyncio.ensure_future(client.subscribe("u", qos=2))
            with pytest.raises(UsageError):
                await client.subscribe("a/#/b")
            way.resume()
            assert (await asked, await also) == ([1], [2])


@pytest.mark.rule("U-15")
async def test_a_link_that_is_dead_without_a_word_is_noticed_and_renewed() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, on_state=states, keep_alive=1) as client:
            way.stall()
            async with asyncio.timeout(10):
                reason = await states.wait_for(ClientState.RECONNECTING)
            assert isinstance(reason, KeepAliveExpired)
            way.resume()
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("t", qos=1)


async def test_a_suspended_machine_finds_out_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock jumps, as it does over a suspension; asyncio's own does not.
    states = States()
    packets: list[tuple[str, Packet]] = []
    jump = 0.0
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + jump)
    monkeypatch.setattr(clock, "MAX_TIMER", 0.05)
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(
            way.port,
            on_state=states,
            keep_alive=600,
            on_packet=lambda *told: packets.append(told),
        ):
            way.stall()
            jump = 600.0
            await until(lambda: sent(packets, PingReq))
            noticed = asyncio.ensure_future(states.wait_for(ClientState.RECONNECTING))
            while not noticed.done():  # each time until the clock has been looked at
                jump += 600.0
                await asyncio.wait([noticed], timeout=0.2)
            assert isinstance(await noticed, KeepAliveExpired)
            way.resume()
            way.cut()
            await states.wait_for(ClientState.CONNECTED, 2)


@pytest.mark.rule("MQTT-3.1.2-23")
async def test_while_nobody_reads_a_missing_answer_is_no_dead_link() -> None:
    packets: list[tuple[str, Packet]] = []
    states = States()
    async with broker(websocket=True) as server:
        client = client_of(
            server.port,
            keep_alive=1,
            max_queued=1,
            on_state=states,
            on_packet=lambda *told: packets.append(told),
        )
        async with client:
            await client.subscribe("t")
            for n in range(10):
                server.last.protocol.publish("t", b"%d" % n)
            server.pump()
            await until(lambda: len(sent(packets, PingReq)) >= 3)
            assert [state for state, _ in states.seen][-1] is ClientState.CONNECTED
            messages = client.messages()
            assert [(await anext(messages)).payload for _ in range(10)] == [
                b"%d" % n for n in range(10)
            ]


async def test_messages_of_a_lost_connection_are_acknowledged_as_far_as_that_can_be() -> None:
    packets: list[tuple[str, Packet]] = []
    states = States()
    async with broker(websocket=True) as server:
        client = client_of(
            server.port,
            clean_session=False,
            on_state=states,
            on_packet=lambda *told: packets.append(told),
        )
        async with client:
            await client.subscribe("t", qos=2)
            server.last.protocol.publish("t", b"two", 2)
            server.pump()
            await client.publish("fence", qos=1)
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
            await client.publish("fence", qos=1)
            messages = client.messages()
            assert (await anext(messages)).payload == b"two"
            await client.publish("t", b"after", qos=1)
            assert (await anext(messages)).payload == b"after", "nothing comes twice"
            await client.publish("fence", qos=1)
            await until(lambda: not server.sessions["c"].outgoing)


@pytest.mark.rule("MQTT-4.6.0-2")
async def test_a_manual_acknowledgement_is_sent_when_it_is_given() -> None:
    packets: list[tuple[str, Packet]] = []
    async with broker(websocket=True) as server:
        client = client_of(
            server.port, manual_ack=True, on_packet=lambda *told: packets.append(told)
        )
        async with client:
            await client.subscribe("t", qos=1)
            for n in range(3):
                await client.publish("t", b"%d" % n, qos=1)
            messages = client.messages()
            one, two, three = [await anext(messages) for _ in range(3)]
            two.ack()
            await client.publish("fence", qos=1)
            await until(lambda: len(sent(packets, Publish)) == 4)  # the observer comes behind
            assert sent(packets, PubAck) == [], "answers go out in the order of arrival"
            one.ack()
            one.ack()
            three.ack()
            await client.publish("fence", qos=1)
            await until(lambda: len(sent(packets, Publish)) == 5)
            assert len(sent(packets, PubAck)) == 3


@pytest.mark.rule("MQTT-4.5.0-2")
async def test_each_message_goes_to_one_stream() -> None:
    async with broker(websocket=True) as server:
        async with client_of(server.port, unmatched_wait=0) as client:
            await client.subscribe("#", qos=1)
            first, second = client.messages("a/#"), client.messages("a/b")
            with pytest.raises(UsageError):
                client.messages("a/#/b")
            for topic in ("a/b", "c", "a/c"):
                await client.publish(topic, qos=1)
            assert [(await anext(first)).topic for _ in range(2)] == ["a/b", "a/c"]
            assert client.unmatched == 1
            with second, client.messages() as rest:
                first.close()
                for topic in ("a/b", "c"):
                    await client.publish(topic, qos=1)
                assert (await anext(second)).topic == "a/b"
                assert (await anext(rest)).topic == "c"
            with pytest.raises(StopAsyncIteration):
                await anext(first)
            assert client.unmatched == 1


@pytest.mark.only_async  # threads have no "same breath" in which to open two streams
async def test_what_came_before_any_stream_is_sorted_into_those_that_are_opened() -> None:
    async with broker(websocket=True) as server:
        async with client_of(server.port, unmatched_wait=0) as client:
            await client.subscribe("#", qos=1)
            for topic in ("a", "b", "c"):
                await client.publish(topic, qos=1)
            first, second = client.messages("a"), client.messages("b")
            assert (await anext(second)).topic == "b"
            assert (await anext(first)).topic == "a"
            await until(lambda: client.unmatched == 3)


async def test_unread_messages_in_front_of_an_answer_end_the_wait_with_a_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mqttws.client.reading.MAX_UNREAD_BYTES_WAITING", 200_000)
    async with broker(websocket=True) as server:
        async with client_of(server.port, max_queued=5) as client:
            await client.subscribe("t")
            for n in range(500):
                server.last.protocol.publish("t", n.to_bytes(2, "big") * 500)
            server.last.pump()
            with pytest.raises(QueueFull, match="unread"):
                await client.publish("t", qos=1)
            assert client.connected
            messages = client.messages()
            for n in range(500):
                assert (await anext(messages)).payload[:2] == n.to_bytes(2, "big")


async def test_a_memory_store_hands_the_session_on() -> None:
    store = MemoryStore()
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        async with client_of(way.port, clean_session=False, store=store, on_state=states) as one:
            way.stall()
            in_flight = one.publish_nowait("t", b"1", qos=2)
            await asyncio.sleep(0)
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            one.publish_nowait("t", b"2", qos=1)
        with pytest.raises(ConnectionLost):
            await in_flight
        way.resume()
        async with client_of(way.port, clean_session=False, store=store) as other:
            await other.publish("t", b"3", qos=1)
            await until(lambda: len(server.heard) == 3)
        assert [message.payload for message in server.heard] == [b"1", b"2", b"3"]


@pytest.mark.only_async
async def test_cancelling_any_call_leaves_a_client_that_works() -> None:
    chance = random.Random(4)
    async with broker(websocket=True) as server:
        async with client_of(server.port, clean_session=False) as client:
            await client.subscribe("t", qos=2)
            for turn in range(60):
                calls = (
                    client.publish("t", b"x", qos=turn % 3),
                    client.subscribe("u"),
                    client.unsubscribe("u"),
                )
                task = asyncio.ensure_future(calls[turn % 3])
                for other in calls:
                    if other is not calls[turn % 3]:
                        other.close()
                for _ in range(chance.randrange(8)):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if turn % 20 == 10:
                    server.cut()
            await client.publish("fence", qos=2)


async def cancelled_after(call: Coroutine[Any, Any, object], turns: int) -> bool:
    """Cancel a call after so many turns of the loop; return whether it had ended before."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return ended


@pytest.mark.only_async
@pytest.mark.parametrize("what", ["publish", "subscribe", "unsubscribe", "next", "flush"])
async def test_a_call_cancelled_at_any_await_leaves_a_client_that_works(
    tmp_path: Path, what: str
) -> None:
    async with broker(websocket=True) as server:
        async with client_of(
            server.port, clean_session=False, store=SqliteStore(tmp_path / "s")
        ) as client:
            await client.subscribe("t", qos=2)
            messages = client.messages()

            async def consume(number: int) -> None:
                while (await anext(messages)).payload != b"%d" % number:
                    pass

            turns, ended = 0, False
            while not ended:  # from the first await to the last
                calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                    "publish": lambda: client.publish("t", b"x", qos=2),
                    "subscribe": lambda: client.subscribe("u"),
                    "unsubscribe": lambda: client.unsubscribe("u"),
                    "next": lambda: consume(-1),
                    "flush": client.flush,
                }
                ended = await cancelled_after(calls[what](), turns) or turns == 60
                turns += 1
                await client.publish("t", b"%d" % turns, qos=2)
                await consume(turns)
            assert client.connected


@pytest.mark.only_async
async def test_connecting_and_leaving_can_be_cancelled_at_any_await() -> None:
    turns, ended = 0, False
    async with broker(websocket=True) as server:
        while not ended:
            client = client_of(server.port)
            ended = await cancelled_after(client.connect(), turns)
            if client.state is ClientState.NEW:
                await client.connect()
            await client.publish("t", qos=1)
            await cancelled_after(client.disconnect(), turns)
            assert client.state in (ClientState.CLOSED, ClientState.CONNECTED)
            await client.disconnect()
            turns += 1
            assert turns < 500


async def test_leaving_ends_by_its_deadline_though_the_peer_is_stuck() -> None:
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(way.port)
        await client.connect()
        way.stall()
        waiting = asyncio.ensure_future(client.publish("t", b"x" * 4_000_000, qos=1))
        await asyncio.sleep(0.05)
        began = clock.now()
        await client.disconnect()
        assert clock.now() - began < 10, "3 s, and some patience"
        with pytest.raises(ConnectionLost):
            await waiting
        way.resume()


async def test_leaving_while_offline_is_quick_and_tells_who_waits() -> None:
    states = States()
    async with broker(websocket=True) as server, relay(server.port) as way:
        client = client_of(way.port, on_state=states, reconnect=Backoff(60, 60))
        async with client:
            way.stall()
            way.cut()
            await states.wait_for(ClientState.RECONNECTING)
            publish = asyncio.ensure_future(client.publish("t", qos=1))
            subscribe = asyncio.ensure_future(client.subscribe("t"))
            message = asyncio.ensure_future(anext(client.messages()))
            await asyncio.sleep(0)
            began = clock.now()
        assert clock.now() - began < 2.5, "not the 3 s for leaving"
        with pytest.raises(ConnectionLost):
            await publish
        with pytest.raises((ConnectionLost, UsageError)):
            await subscribe
        with pytest.raises(StopAsyncIteration):
            await message


@pytest.mark.rule("WS-59")
def test_the_back_off_doubles_up_to_its_limit_with_full_jitter() -> None:
    backoff = Backoff(1.0, 10.0)
    assert [backoff.ceiling(n) for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.ceiling(10_000) == 10
    waits = [backoff.wait(3, spread / 1000) for spread in range(1000)]
    assert min(waits) < 1
    assert 7 < max(waits) <= 8
    for bad in ((-1, 5), (5, 1)):
        with pytest.raises(UsageError):
            Backoff(*bad)


def test_the_limits_of_a_client_are_checked() -> None:
    for bad in (0, 60_001, "5"):
        with pytest.raises(UsageError):
            client_of(1, max_outgoing=bad)


@pytest.mark.only_async
async def test_leaving_does_not_wait_for_a_password_function_that_will_not_end() -> None:
    first: list[bool] = []
    asked = asyncio.Event()
    ended = asyncio.Event()

    async def fetch() -> str:
        if not first:
            first.append(True)
            return "first"
        asked.set()
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()
        return "late"

    async with broker(websocket=True) as server:
        states = States()
        client = client_of(server.port, username="u", password=fetch, on_state=states)
        await client.connect()
        link = client._engine.link
        assert link is not None
        link.give_up(ConnectionLost("cut"))
        await asyncio.wait_for(asked.wait(), 5)
        started = asyncio.get_running_loop().time()
        await client.disconnect(0.2)
        assert asyncio.get_running_loop().time() - started < 2
        ended.set()
        await asyncio.sleep(0.3)
        assert states.seen[-1] == (ClientState.CLOSED, None)
        assert client._engine._reconnecting is not None
        assert client._engine._reconnecting.done()


async def test_a_server_that_ends_each_connection_at_once_is_asked_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where two clients with one identifier push each other out."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        await peer.greet()

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(connector, "_chance", lambda: 1.0)
    async with scripted(script) as port:
        client = AsyncClient(f"mqtt://127.0.0.1:{port}", client_id="c")
        async with client:
            await until(lambda: len(waits) >= 10)
    expected = [Backoff().ceiling(attempts) for attempts in range(10)]
    assert waits[:10] == expected
    assert expected[-1] == expected[-2] >= 30 * expected[0], "and never gives up"


async def test_a_name_without_an_address_for_a_while_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def look_up(host: str, port: int, *rest: object, **more: object) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += 1
        if asked in (2, 3, 4):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    reasons: list[str] = []
    async with broker(websocket=False) as server, relay(server.port) as way:
        way.watch = lambda *packet: None
        client = AsyncClient(
            f"mqtt://broker.example:{way.port}",
            client_id="c",
            proxy=None,
            reconnect=AT_ONCE,
            on_state=lambda state, reason: reasons.append(type(reason).__name__),
        )
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        async with client:
            way.cut()
            await client.publish("t", b"x", qos=1)
            await until(lambda: client.state is ClientState.CONNECTED)
    assert "NameNotResolved" in reasons
