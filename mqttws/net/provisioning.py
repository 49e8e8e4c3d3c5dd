"""provision() and provision_async(): a device asks DPS where it belongs.

Joins the MQTT client to the device's side of DPS (``dps.registration``), and gives both the clock.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Literal, Protocol, TypedDict, Unpack

from ..dps.names import build_username
from ..dps.registration import Assignment, Registration
from ..dps.topics import RESPONSE_FILTER, Message
from ..errors import ConnectionLost, ConnectRefused, Hop, MqttwsError, UsageError
from .client import AsyncClient, ReceivedMessage
from .dial import make_target
from .hops import OnStep, Step, Walk
from .proxy import ENVIRONMENT, ProxyChoice
from .stream import CLOSE_TIMEOUT
from .tls import Tls
from .trace import OnPacket

GLOBAL_HOST = "global.azure-devices-provisioning.net"
"""The endpoint of every DPS instance (iot-dps-mqtt-support.md)."""

WEBSOCKET_PATH = "/$iothub/websocket"
"""Where DPS takes MQTT over WebSocket; the official Python, Node and C SDKs ask for it too."""

KEEP_ALIVE = 60
"""Seconds; the longest wait between two polls is longer than a proxy's patience."""

_REFUSALS = {
    2: "the registration id is not one that DPS accepts",
    3: "wrong id scope, or the service is unavailable",
    4: "check the device's key",
    5: "check registration id and key; a certificate's common name must be the registration id",
}
"""What CONNACK's codes mean when DPS sends them."""

Transport = Literal["wss", "mqtts", "auto"]
"""MQTT over WebSocket on port 443, MQTT over TLS on port 8883, or whichever is open."""

AUTO: tuple[Transport, ...] = ("mqtts", "wss")
"""What ``auto`` tries, in this order; each has a short head start over the next."""

_worked: dict[str, str] = {}
"""By host: what ``auto`` found open in this process, to be tried first the next time."""


class Credential(Protocol):
    """What a device proves itself with."""

    @property
    def registration_id(self) -> str:
        """The device's name at DPS."""

    def password(self, id_scope: str, unix_now: float) -> str:
        """Return the password for CONNECT."""


class ProvisionOptions(TypedDict, total=False):
    """The keyword arguments of ``provision_async``, described there."""

    host: str
    port: int | None
    path: str
    transport: Transport
    tls: Tls
    proxy: ProxyChoice
    payload: object
    timeout: float
    hop_timeout: float
    on_step: OnStep | None
    on_packet: OnPacket | None


def provision(
    id_scope: str, credential: Credential, **options: Unpack[ProvisionOptions]
) -> Assignment:
    """Register a device with DPS and wait until it is assigned to a hub.

    For synchronous programs; arguments, result and errors are those of ``provision_async``.

    Raises:
        UsageError: called inside a running event loop.
    """
    if _loop_is_running():
        raise UsageError(
            "provision() would block the event loop that is running here",
            hint="use `await mqttws.provision_async(...)` instead",
        )
    return asyncio.run(provision_async(id_scope, credential, **options))


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def provision_async(
    id_scope: str,
    credential: Credential,
    *,
    host: str = GLOBAL_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    payload: object = None,
    timeout: float = 120.0,
    hop_timeout: float = 30.0,
    on_step: OnStep | None = None,
    on_packet: OnPacket | None = None,
) -> Assignment:
    """Register a device with DPS and wait until it is assigned to a hub.

    Args:
        id_scope: of the DPS instance, such as ``0ne00ABCDEF``.
        credential: who the device is and how it proves it, such as a ``SymmetricKey``.
        host: the DPS endpoint; the instance's own name is needed with private endpoints.
        port: None for the transport's own: 443 or 8883.
        path: of the WebSocket.
        transport: ``wss`` for MQTT over WebSocket, ``mqtts`` for MQTT over TLS, never plain;
            ``auto`` tries 8883 and 443 with a short head start, and remembers which one worked.
        tls: whom to trust: a ``TlsConfig``, or an ``ssl.SSLContext`` that is used as it is.
        proxy: a URL, a ``ProxyConfig``, ``environment`` for what the environment's variables say,
            ``none`` or None for no proxy.
        payload: handed to the enrollment's custom allocation; any value that JSON has.
        timeout: seconds for all of it.
        hop_timeout: seconds for each hop and for each answer of the service.
        on_step: told of each step when it begins and when it has ended.
        on_packet: told of each packet sent (``>``) and received (``<``), secrets included.

    Raises:
        ConnectFailed: no connection came about; ``hop`` says how far it went.
        RegistrationRejected: the service answered with an error status.
        RegistrationFailed: the operation ended, but not with an assignment.
        RequestTimedOut: it was not done within ``timeout``, or an answer did not come.
        ConnectionLost, ProtocolError, MalformedAnswer: the connection or an answer was broken.
        UsageError: an argument cannot be right; nothing was sent.
    """
    if transport not in ("wss", "mqtts", "auto"):
        raise UsageError(
            f"transport {transport!r}; allowed: 'wss', 'mqtts' or 'auto'; DPS has no other"
        )
    if transport == "auto" and port is not None:
        raise UsageError("transport 'auto' tries ports 8883 and 443; give no port with it")
    if not isinstance(id_scope, str) or not re.fullmatch(r"[!-.0-~]+", id_scope):
        raise UsageError(f"id scope {id_scope!r}; allowed: what the portal shows, like 0ne00ABCDEF")
    registration = Registration(
        credential.registration_id,
        payload=payload,
        request_ids=_request_ids(),
        answer_timeout=hop_timeout,
    )
    walk = Walk(timeout=timeout, hop_timeout=hop_timeout, on_step=on_step)
    schemes: tuple[str, ...] = (transport,)
    if transport == "auto":
        schemes = tuple(sorted(AUTO, key=lambda scheme: scheme != _worked.get(host)))
    client = AsyncClient(
        [make_target(scheme, host, port, path) for scheme in schemes],
        client_id=credential.registration_id,
        username=build_username(id_scope, credential.registration_id),
        password=credential.password(id_scope, time.time()),
        keep_alive=KEEP_ALIVE,
        request_timeout=hop_timeout,
        tls=tls,
        proxy=proxy,
        on_packet=on_packet,
    )
    try:
        await client.connect_along(walk)
        if transport == "auto":
            _worked[host] = client.url.partition(":")[0]
        async with walk.hop(Hop.SUBSCRIBE, RESPONSE_FILTER) as step:
            granted = await client.subscribe(RESPONSE_FILTER, qos=1)
            step.detail = f"SUBACK, QoS {granted[0]} for {RESPONSE_FILTER}"
        return await _register(client, registration, walk)
    except ConnectRefused as error:
        error.hint = _REFUSALS.get(error.return_code, error.hint)
        raise
    finally:
        await client.disconnect(min(CLOSE_TIMEOUT, walk.remaining))


async def _register(client: AsyncClient, registration: Registration, walk: Walk) -> Assignment:
    """Ask, wait as long as the service wishes, and ask again, until the operation has ended."""
    answers = client.messages()
    request: Message | None = registration.start(time.monotonic())
    while request is not None:
        hop = Hop(registration.waiting_for)
        async with walk.hop(hop, registration.operation_id) as step:
            await client.publish(request.topic, request.payload, qos=1)
            await _receive_answer(answers, registration)
            _describe(step, registration)
            if registration.error is not None:
                raise registration.error
        if registration.result is not None:
            return registration.result
        request = await _wait_for_turn(answers, registration, walk, hop)
    raise registration.error or walk.out_of_time(Hop(registration.waiting_for))


async def _receive_answer(
    answers: AsyncIterator[ReceivedMessage], registration: Registration
) -> None:
    """Hand messages in until one of them was the answer; the hop's time limit bounds it."""
    asked = registration.last_response
    while registration.last_response is asked:
        try:
            message = await anext(answers)
        except StopAsyncIteration:
            raise ConnectionLost("the connection was closed while an answer was awaited") from None
        registration.receive(Message(message.topic, message.payload), time.monotonic())


async def _wait_for_turn(
    answers: AsyncIterator[ReceivedMessage], registration: Registration, walk: Walk, hop: Hop
) -> Message | None:
    """Wait until the service wants to be asked again; notice at once if the connection goes."""
    wait = registration.retry_after or 0.0
    if wait > walk.remaining:
        error: MqttwsError = walk.out_of_time(hop)
        error.hint = f"DPS wants to be asked again in {wait:g} s: give it more time"
        raise error
    try:
        async with asyncio.timeout(wait):
            while True:
                message = await anext(answers)  # nothing is expected: late answers are passed over
                registration.receive(Message(message.topic, message.payload), time.monotonic())
    except TimeoutError as error:
        if isinstance(error, MqttwsError):
            raise
    except StopAsyncIteration:
        raise ConnectionLost("the connection was closed between two polls") from None
    # The timer may ring a hair early; the registration's time has come all the same.
    return registration.tick(max(time.monotonic(), registration.deadline or 0.0))


def _describe(step: Step, registration: Registration) -> None:
    response = registration.last_response
    status = response.status if response is not None else 0
    state = f" {registration.status}" if 200 <= status < 300 else ""
    step.detail = f"{status}{state}"
    if registration.retry_after is not None:
        step.detail += f", ask again in {registration.retry_after:g} s"


def _request_ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())
