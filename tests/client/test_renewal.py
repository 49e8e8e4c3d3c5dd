"""A connection that is renewed on request, led elsewhere, and kept up by the application's word."""

import asyncio

import pytest

from mqttws import AsyncClient, Backoff, ClientState, ConnectRefused, UsageError
from mqttws.wire import Disconnect, Packet

from .broker import broker
from .test_reconnect import States, sent
from .threaded import kind, pytest_generate_tests  # noqa: F401 - each test runs with both clients


def client_of(port: int, **options: object) -> AsyncClient:
    options = {"client_id": "c", "reconnect": Backoff(0.0, 0.0)} | options
    return AsyncClient(f"ws://127.0.0.1:{port}/mqtt", **options)  # type: ignore[arg-type]


async def test_a_connection_is_renewed_with_a_fresh_password_and_loses_nothing() -> None:
    states = States()
    packets: list[tuple[str, Packet]] = []
    passwords = iter("abc")
    async with broker(websocket=True) as server:
        client = client_of(
            server.port,
            username="me",
            password=lambda: next(passwords),
            clean_session=False,
            on_state=states,
            on_packet=lambda *told: packets.append(told),
        )
        async with client:
            await client.subscribe("a", 1)
            for number in range(20):
                if number in (5, 10):
                    await client.reconnect()
                await client.publish("a", b"%d" % number, qos=1)
            await states.wait_for(ClientState.CONNECTED, 3)
            got: set[bytes] = set()  # what waited unread comes again on the next connection
            while len(got) < 20:
                got.add((await anext(client.messages())).payload)
        assert [connect.password for connect in server.connects] == [b"a", b"b", b"c"]
    assert got == {b"%d" % number for number in range(20)}
    assert states.seen.count((ClientState.RECONNECTING, None)) == 2
    assert len(sent(packets, Disconnect)) == 3  # each connection was left in order


async def test_a_client_without_a_connection_has_nothing_to_renew() -> None:
    states = States()
    async with broker(websocket=True) as server:
        client = client_of(server.port, on_state=states)
        with pytest.raises(UsageError):
            await client.reconnect()
        async with client:
            await client.reconnect()
            await client.reconnect()  # it is on its way
            await states.wait_for(ClientState.CONNECTED, 2)
            assert len(server.connects) == 2
        with pytest.raises(UsageError):
            await client.reconnect()


async def test_a_client_that_is_led_elsewhere_takes_its_queue_along() -> None:
    states = States()
    async with broker(websocket=True) as first, broker(websocket=True) as second:
        client = client_of(
            first.port, username="a", password="p", clean_session=False, on_state=states
        )
        async with client:
            first.mute = object  # it takes messages and answers no more
            receipt = client.publish_nowait("a", b"kept", qos=1)
            client.redirect(f"ws://127.0.0.1:{second.port}/mqtt", username="b")
            first.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
            await receipt.wait(5)
        assert [message.payload for message in second.heard] == [b"kept"]
        assert [connect.username for connect in second.connects] == ["b"]


@pytest.mark.parametrize("plain", [True, False])
async def test_a_refused_client_goes_on_as_long_as_the_application_says(plain: bool) -> None:
    states = States()
    asked: list[object] = []

    def judge(error: object) -> bool | None:
        asked.append(error)
        if len(asked) == 3:
            server.refuse_with = 0
        return True

    async def judge_later(error: object) -> bool | None:
        await asyncio.sleep(0)
        return judge(error)

    async with broker(websocket=True) as server:
        client = client_of(
            server.port, on_state=states, on_attempt_failed=judge if plain else judge_later
        )
        async with client:
            server.refuse_with = 5
            server.cut()
            await states.wait_for(ClientState.CONNECTED, 2)
        assert [type(error) for error in asked] == [ConnectRefused] * 3


async def test_the_application_may_end_what_the_client_would_try_again() -> None:
    states = States()
    async with broker(websocket=True) as server:
        client = client_of(server.port, on_state=states, on_attempt_failed=lambda error: False)
        async with client:
            server.refuse_with = 3
            server.cut()
            error = await states.wait_for(ClientState.CLOSED)
            assert isinstance(error, ConnectRefused)


async def test_a_function_that_fails_leaves_the_decision_to_the_client() -> None:
    states = States()

    def broken(error: object) -> bool:
        raise ValueError("a fault of the application")

    async with broker(websocket=True) as server:
        client = client_of(server.port, on_state=states, on_attempt_failed=broken)
        async with client:
            server.refuse_with = 4
            server.cut()
            assert isinstance(await states.wait_for(ClientState.CLOSED), ConnectRefused)
