"""What an error says of its likely cause, and misuse that is told at once."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from mqttws import (
    AsyncClient,
    Backoff,
    Client,
    ClientState,
    MqttwsError,
    UpgradeRefused,
    UsageError,
)

from ..net.rogue import listening
from ..peers.brokers import Mosquitto
from .broker import broker
from .test_field import mosquitto, running  # noqa: F401 - a fixture
from .test_reconnect import States
from .threaded import BOTH


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("301 Moved Permanently\r\nLocation: wss://new.test/mqtt", "wss://new.test/mqtt"),
        ("302 Found\r\nLocation: http://portal.test/", "http://portal.test/"),
        ("429 Too Many Requests\r\nRetry-After: 7", "throttles (429)"),
        ("429 Too Many Requests\r\nRetry-After: 7", "7 s (Retry-After)"),
    ],
)
async def test_an_answer_to_the_upgrade_is_explained(answer: str, says: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())

    async with listening(handler) as port:
        with pytest.raises(UpgradeRefused) as caught:
            await AsyncClient(f"ws://127.0.0.1:{port}/mqtt").connect()
    assert says in f"{caught.value} {caught.value.hint}"


async def test_a_client_that_another_one_pushes_out_is_led_to_that_cause(
    mosquitto: Mosquitto,  # noqa: F811 - the fixture
) -> None:
    states = States()
    async with running(mosquitto):
        url = f"mqtt://127.0.0.1:{mosquitto.mqtt}"
        waits = Backoff(0.5, 0.5)
        async with AsyncClient(url, client_id="c", on_state=states, reconnect=waits):
            async with AsyncClient(url, client_id="c", reconnect=None):
                reason = await states.wait_for(ClientState.RECONNECTING)
    assert "another client may use the same ClientId" in reason.hint


async def test_a_wait_for_a_receipt_in_the_client_s_own_thread_is_refused() -> None:
    errors: list[MqttwsError] = []
    waited = threading.Event()

    def use(port: int) -> None:
        with Client(f"mqtt://127.0.0.1:{port}") as client:

            def wait() -> None:
                try:
                    client.publish_nowait("t", b"x", qos=1).wait()
                except MqttwsError as error:
                    errors.append(error)
                waited.set()

            assert client._thread.post(wait)
            assert waited.wait(5)
            client.publish("t", b"y", qos=1)

    async with broker(websocket=False) as server:
        await asyncio.to_thread(use, server.port)
    assert isinstance(errors[0], UsageError)


async def test_a_callback_may_wait_for_a_receipt() -> None:
    done: list[bool] = []

    def use(port: int) -> None:
        def on_state(state: ClientState, reason: object) -> None:
            if state is ClientState.CONNECTED:
                receipt = client.publish_nowait("t", b"x", qos=1)
                receipt.wait(5)
                done.append(receipt.done)

        client = Client(f"mqtt://127.0.0.1:{port}", on_state=on_state, request_timeout=5)
        with client:
            client.publish("t", b"y", qos=1)

    async with broker(websocket=False) as server:
        await asyncio.to_thread(use, server.port)
    assert done == [True]


@pytest.mark.parametrize("kind", list(BOTH))
async def test_callbacks_that_raise_harm_nothing(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    called: set[str] = set()

    def failing(name: str) -> Any:
        def callback(*_: object) -> None:
            called.add(name)
            raise ZeroDivisionError(name)

        return callback

    names = ("on_state", "on_step", "on_packet")
    async with broker(websocket=True) as server:
        url = f"ws://127.0.0.1:{server.port}/mqtt"
        async with BOTH[kind](url, **{name: failing(name) for name in names}) as client:
            messages = client.messages()
            await client.subscribe("t", qos=1)
            await client.publish("t", b"x", qos=2)
            assert (await anext(messages)).payload == b"x"
    assert called == set(names)
    assert "ZeroDivisionError" in caplog.text


def test_a_path_that_mqtt_does_not_have_is_said_to_be_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    for url in ("mqtt://h.test", "mqtts://h.test/", "ws://h.test/mqtt", "wss://h.test/a?b"):
        AsyncClient(url)
    assert not caplog.text
    AsyncClient("mqtts://h.test/a?secret")
    assert "the path /a is left out: over mqtts:// there is none" in caplog.text
    assert "secret" not in caplog.text
