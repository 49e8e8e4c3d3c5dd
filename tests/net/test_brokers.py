"""Both clients against real brokers: every QoS, sessions, restarts, and cuts in chosen places."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mqttws import Backoff, ClientState, MqttwsError, TlsConfig, Will

from .broker_programs import Mosquitto, Nginx, server_pem
from .relay import DOWN, UP, Relay, relay
from .rogue import Certificates
from .test_reconnect import States, until
from .threaded import BOTH

WAYS = ["mosquitto-ws", "mosquitto-mqtt", "mosquitto-mqtts", "nginx-wss"]


class Site:
    """A broker, how it is reached, and what restarts it."""

    def __init__(self, mosquitto: Mosquitto, nginx: Nginx | None, way: str, ca: Path) -> None:
        self.mosquitto = mosquitto
        self.scheme = way.split("-")[1]
        self.port = nginx.wss if nginx else getattr(mosquitto, self.scheme)
        self._tls = TlsConfig(ca=ca, only_ca=True)

    def client(self, kind: str, client_id: str, *, port: int = 0, **options: Any) -> Any:
        options.setdefault("reconnect", Backoff(0.0, 0.05))
        options.setdefault("tls", self._tls)
        url = f"{self.scheme}://127.0.0.1:{port or self.port}/mqtt"
        return BOTH[kind](url, client_id=client_id, **options)


@asynccontextmanager
async def site(way: str, folder: Path, certificates: Certificates) -> AsyncIterator[Site]:
    pem = server_pem(certificates)
    mosquitto = Mosquitto(folder, pem)
    nginx = Nginx(folder, pem, mosquitto.ws) if way.startswith("nginx") else None
    try:
        await mosquitto.start()
        if nginx is not None:
            await nginx.start()
        yield Site(mosquitto, nginx, way, certificates.ca_file)
    finally:
        for program in (nginx, mosquitto):
            if program is not None:
                program.kill()


@pytest.mark.parametrize("kind", list(BOTH))
@pytest.mark.parametrize("way", WAYS)
async def test_the_whole_of_mqtt(
    tmp_path: Path, certificates: Certificates, way: str, kind: str
) -> None:
    async with site(way, tmp_path, certificates) as place:
        will = Will("will/a", b"lost", 1)
        async with place.client(kind, "a", clean_session=False, will=will) as client:
            await client.publish("kept", b"retained", qos=1, retain=True)
            await client.subscribe([("kept", 1), ("t/#", 2)])
            messages = client.messages()
            message = await anext(messages)
            assert (message.payload, message.retain) == (b"retained", True)
            for qos in (0, 1, 2):
                for payload in (b"", b"x" * 100, bytes(range(256)) * 300):
                    await client.publish(f"t/{qos}", payload, qos=qos)
                    message = await anext(messages)
                    assert (message.topic, message.payload, message.qos) == (
                        f"t/{qos}", payload, qos,
                    )  # fmt: skip
            await client.publish("kept", b"", qos=1, retain=True)
            assert (await anext(messages)).payload == b""
        async with place.client(kind, "b") as other:
            await other.subscribe("will/#", qos=1)
            for n in range(10):
                await other.publish("t/away", b"%d" % n, qos=1 + n % 2)
            again = place.client(kind, "a", clean_session=False, will=will, reconnect=None)
            assert await again.connect(), "the session is present"
            messages = again.messages()
            seen = [(await anext(messages)).payload for _ in range(10)]
            assert sorted(seen) == [b"%d" % n for n in range(10)]
            # Somebody takes the identifier over: the server drops us and publishes the will.
            async with place.client(kind, "a"):
                assert (await anext(other.messages())).payload == b"lost"
            await again.disconnect()


@pytest.mark.parametrize("kind", list(BOTH))
@pytest.mark.parametrize("way", WAYS)
async def test_a_broker_that_is_restarted(
    tmp_path: Path, certificates: Certificates, way: str, kind: str
) -> None:
    states = States()
    async with site(way, tmp_path, certificates) as place:
        async with place.client(kind, "a", clean_session=False, on_state=states) as client:
            await client.subscribe("t", qos=2)
            await client.publish("t", b"0", qos=2)
            await place.mosquitto.stop()
            await states.wait_for(ClientState.RECONNECTING)
            receipts = [client.publish_nowait("t", b"%d" % n, qos=2) for n in range(1, 6)]
            await place.mosquitto.start()
            for receipt in receipts:
                await receipt.wait(20)
            messages = client.messages()
            seen = [(await anext(messages)).payload for _ in range(6)]
            assert seen == [b"%d" % n for n in range(6)]


async def session(place: Site, way: Relay, name: str, count: int = 3) -> None:
    """Publish to ourselves with QoS 1 and 2 through a relay that cuts; all must be accounted for.

    Only the first connection is cut.
    """
    client = place.client("async", name, port=way.port, clean_session=False, connect_timeout=10.0)
    while True:
        try:
            await client.connect()
            break
        except MqttwsError:  # cut while it was being opened
            way.cut_after = {UP: None, DOWN: None}
    way.cut_after = {UP: None, DOWN: None}
    try:
        await client.subscribe([(f"{name}/1", 1), (f"{name}/2", 2)])
        receipts = [
            client.publish_nowait(f"{name}/{1 + n % 2}", b"%d" % n, qos=1 + n % 2)
            for n in range(count)
        ]
        for receipt in receipts:
            await receipt.wait(20)
        seen: list[int] = []
        messages = client.messages()
        async with asyncio.timeout(20):
            while set(seen) != set(range(count)):
                seen.append(int((await anext(messages)).payload))
        twos = [n for n in seen if n % 2]
        assert len(twos) == len(set(twos)), "QoS 2 came twice"
    finally:
        await client.disconnect()


async def lengths_of(place: Site, name: str) -> dict[str, int]:
    """Return how many bytes a session needs in each direction."""
    async with relay(place.port) as way:
        await session(place, way, name)
        return dict(way.carried)


@pytest.mark.parametrize("way", WAYS)
async def test_cuts_at_a_dozen_seeded_offsets(
    tmp_path: Path, certificates: Certificates, way: str
) -> None:
    await cut_at_offsets(tmp_path, certificates, way, 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
async def test_cuts_at_100_seeded_offsets(
    tmp_path: Path, certificates: Certificates, way: str
) -> None:
    await cut_at_offsets(tmp_path, certificates, way, 100)


async def cut_at_offsets(folder: Path, certificates: Certificates, way: str, times: int) -> None:
    chance = random.Random(way)
    async with site(way, folder, certificates) as place:
        lengths = await lengths_of(place, "measure")
        for number in range(times):
            async with relay(place.port) as carrier:
                direction = chance.choice([UP, DOWN])
                carrier.cut_after[direction] = chance.randrange(1, lengths[direction])
                await session(place, carrier, f"cut{number}")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_1000_random_cuts_under_load(tmp_path: Path, certificates: Certificates) -> None:
    await cuts_under_load(tmp_path, certificates, 1000)


async def test_40_random_cuts_under_load(tmp_path: Path, certificates: Certificates) -> None:
    await cuts_under_load(tmp_path, certificates, 40)


async def cuts_under_load(folder: Path, certificates: Certificates, cuts: int) -> None:
    chance = random.Random(1000)
    async with site("mosquitto-mqtt", folder, certificates) as place, relay(place.port) as way:
        way.next_cut = lambda: {
            UP: chance.randrange(200, 4000) if way.connections < cuts else None,
            DOWN: chance.randrange(200, 4000) if way.connections < cuts else None,
        }
        seen: list[int] = []
        receipts = []
        client = place.client(
            "async", "load", port=way.port, clean_session=False, reconnect=Backoff(0, 0.001)
        )
        async with client:
            await client.subscribe([("t/1", 1), ("t/2", 2)])

            async def read() -> None:
                async for message in client.messages():
                    seen.append(int(message.payload))

            reading = asyncio.ensure_future(read())
            n = 0
            while way.connections < cuts or n % 50:
                receipts.append(client.publish_nowait(f"t/{1 + n % 2}", b"%d" % n, qos=1 + n % 2))
                n += 1
                if n % 10 == 0:
                    await receipts[-10].wait(20)
            for receipt in receipts:
                await receipt.wait(20)
            async with asyncio.timeout(20):
                await until(lambda: set(seen) == set(range(n)))
        await reading
        twos = [one for one in seen if one % 2]
        assert len(twos) == len(set(twos)), "QoS 2 came twice"
