"""Brokers and the ways to them, and a session that accounts for every message."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mqttws import Backoff, MqttwsError, RequestTimedOut, TlsConfig

from ..net.rogue import Certificates
from ..peers.brokers import Amqtt, Mosquitto, Nginx, amqtt_python, server_pem
from .relay import DOWN, UP, Relay, relay
from .threaded import BOTH

WAYS = [
    "mosquitto-ws", "mosquitto-mqtt", "mosquitto-mqtts", "nginx-wss", "amqtt-ws", "amqtt-mqtt",
]  # fmt: skip


class Site:
    """A broker, how it is reached, and what restarts it."""

    def __init__(self, broker: Mosquitto | Amqtt, nginx: Nginx | None, way: str, ca: Path) -> None:
        self.broker = broker
        self.forgets = broker.forgets
        self.scheme = way.split("-")[1]
        self.port = nginx.wss if nginx else getattr(broker, self.scheme)
        self.tls = TlsConfig(ca=ca, only_ca=True)

    def client(self, kind: str, client_id: str, *, port: int = 0, **options: Any) -> Any:
        options.setdefault("reconnect", Backoff(0.0, 0.05))
        options.setdefault("tls", self.tls)
        options.setdefault("username", "somebody")
        url = f"{self.scheme}://127.0.0.1:{port or self.port}/mqtt"
        return BOTH[kind](url, client_id=client_id, **options)


Sites = Callable[[str], AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Sites:
    """Start what a way needs: ``async with site("nginx-wss") as place``."""
    parameters = getattr(request.node, "callspec", None)
    python: Path | None = None
    if parameters is not None and parameters.params.get("way", "").startswith("amqtt"):
        # Here, and not within the test's time limit: it may have to be installed.
        base = tmp_path_factory.getbasetemp()
        python = amqtt_python(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)

    @asynccontextmanager
    async def start(way: str) -> AsyncIterator[Site]:
        pem = server_pem(certificates)
        nginx = None
        if python is not None:
            broker: Mosquitto | Amqtt = Amqtt(tmp_path, python, pem)
        else:
            broker = Mosquitto(tmp_path, pem)
            nginx = Nginx(tmp_path, pem, broker.ws) if way.startswith("nginx") else None
        try:
            await broker.start()
            if nginx is not None:
                await nginx.start()
            yield Site(broker, nginx, way, certificates.ca_file)
        finally:
            for program in (nginx, broker):
                if program is not None:
                    program.kill()

    return start


async def session(place: Site, way: Relay, name: str, count: int = 3) -> None:
    """Publish to ourselves through a relay that cuts; what QoS 1 and 2 promise must hold.

    Only the first connection is cut. A message of QoS 0 goes along; it may be lost.
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
        await client.subscribe([(f"{name}/{qos}", qos) for qos in (0, 1, 2)])
        client.publish_nowait(f"{name}/0", b"-1")
        receipts = [
            client.publish_nowait(f"{name}/{1 + n % 2}", b"%d" % n, qos=1 + n % 2)
            for n in range(count)
        ]
        if place.forgets:  # it owes us no more than that the client's waits end, and it goes on
            for receipt in receipts:
                with suppress(RequestTimedOut):
                    await receipt.wait(1)
            await client.publish(f"{name}/1", b"0", qos=1)
            return
        for receipt in receipts:
            await receipt.wait(20)
        seen: list[int] = []
        messages = client.messages()
        async with asyncio.timeout(20):
            while not set(range(count)) <= set(seen):
                seen.append(int((await anext(messages)).payload))
        once = [n for n in seen if n % 2]  # -1 among them
        assert len(once) == len(set(once)), "QoS 0 or 2 came twice"
    finally:
        await client.disconnect()


async def lengths_of(place: Site, name: str) -> dict[str, int]:
    """Return how many bytes a session needs in each direction."""
    async with relay(place.port) as way:
        await session(place, way, name)
        return dict(way.carried)
