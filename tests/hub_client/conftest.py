"""A scripted hub and a client of it, over either transport."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from mqttws import Backoff, TlsConfig
from mqttws.hub_client.client import AsyncHubClient

from ..net.rogue import Certificates
from .scripted_hub import ScriptedHub, scripted_hub

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.fixture(params=["wss", "mqtts"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


HubOf = Callable[
    ..., AbstractAsyncContextManager[tuple[ScriptedHub, Callable[..., AsyncHubClient]]]
]


@pytest.fixture
def hub_and_client(certificates: Certificates) -> HubOf:
    """Run a hub: ``async with hub_and_client() as (hub, client_of)``."""

    @asynccontextmanager
    async def start(
        transport: str = "mqtts",
    ) -> AsyncIterator[tuple[ScriptedHub, Callable[..., AsyncHubClient]]]:
        async with scripted_hub(certificates.server(), websocket=transport == "wss") as hub:

            def client_of(device_id: str = "d", **options: Any) -> AsyncHubClient:
                credential = options.pop("credential", KEY)
                options = {
                    "transport": transport,
                    "host": "127.0.0.1",
                    "port": hub.port,
                    "tls": TlsConfig(ca=certificates.ca_file, only_ca=True),
                    "reconnect": Backoff(0.0, 0.01),
                    "request_timeout": 10.0,
                } | options
                return AsyncHubClient("hub.example", device_id, credential, **options)

            yield hub, client_of

    return start
