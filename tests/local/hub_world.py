"""Devices of a local hub, by hand on AsyncClient: the hub's side is what is tested."""

import base64
import time
from typing import Any, Literal

from mqttws import AsyncClient, AsyncLocalHub, TlsConfig
from mqttws.dps.sas import sign_token
from mqttws.hub.topics import (
    DESIRED_FILTER,
    METHODS_FILTER,
    TWIN_RESPONSE_FILTER,
    build_username,
    devicebound_filter,
)

Transport = Literal["wss", "mqtts"]


def token(hub: AsyncLocalHub, device_id: str, key: str, seconds: float = 3600, at: str = "") -> str:
    resource = f"{at or hub.name}/devices/{device_id}"
    return sign_token(resource, base64.b64decode(key), int(time.time() + seconds), "")


def address(hub: AsyncLocalHub, transport: Transport = "wss") -> str:
    if transport == "wss":
        return f"wss://{hub.host}:{hub.wss_port}/$iothub/websocket"
    return f"mqtts://{hub.host}:{hub.mqtts_port}"


def client(
    hub: AsyncLocalHub,
    key: str = "",
    device_id: str = "dev",
    *,
    transport: Transport = "wss",
    tls: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncClient:
    options: dict[str, Any] = {
        "client_id": device_id,
        "username": build_username(hub.name, device_id),
        "password": token(hub, device_id, key) if key else None,
        "clean_session": False,
        "tls": TlsConfig(ca=hub.dps.ca_file, only_ca=True, **(tls or {})),
        "reconnect": None,
    }
    return AsyncClient(address(hub, transport), **options | changes)


async def subscribe_all(device: AsyncClient, device_id: str = "dev", qos: Any = 1) -> None:
    for topic_filter in (
        METHODS_FILTER,
        TWIN_RESPONSE_FILTER,
        DESIRED_FILTER,
        devicebound_filter(device_id),
    ):
        await device.subscribe(topic_filter, qos=qos)
