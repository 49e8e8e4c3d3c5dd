"""provision() and provision_async(): a device asks DPS where it belongs.

Knows the arguments and their errors. What is said to DPS is ``exchange``'s matter.
"""

import asyncio
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal, TypeVar

from ..client.client import AsyncClient
from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION, build_username
from ..dps.registration import MAX_RETRY_AFTER, Registration
from ..errors import (
    ConnectFailed,
    ConnectRefused,
    StoreFailed,
    UsageError,
)
from ..hops import Cause
from ..net.failures import is_cut_off
from ..net.hops import OnStep, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.target import make_target
from ..net.tls import Tls
from ..options import PROVISION, PROVISIONING_HOST, WEBSOCKET_PATH
from .assignment import Assignment
from .cache import AssignmentFile
from .credentials import Credential, TlsCredential
from .exchange import exchange

logger = logging.getLogger("mqttws.provisioning")

_T = TypeVar("_T")

KEEP_ALIVE = 60
"""Seconds; the longest wait between two polls is longer than a proxy's patience."""

_REFUSALS = {
    2: "the registration id is not one that DPS accepts",
    3: "wrong id scope, or the service is unavailable",
    4: "check the device's key",
    5: "check registration id and key; a certificate's common name must be the registration id",
}
"""What CONNACK's codes mean when DPS sends them."""

_SCOPE_OR_UNAVAILABLE = 3

_CERTIFICATE_HINT = (
    "the connection ended right after this device's certificate had been shown: the service does "
    "not know its issuer. Check that the whole chain is sent, and that one of its certificates is "
    "enrolled"
)

Transport = Literal["wss", "mqtts", "auto"]
"""MQTT over WebSocket on port 443, MQTT over TLS on port 8883, or whichever is open."""

AUTO: tuple[Transport, ...] = ("mqtts", "wss")
"""What ``auto`` tries, in this order; each has a short head start over the next."""

_worked: dict[str, str] = {}
"""By host: what ``auto`` found open in this process, to be tried first the next time."""


def provision(
    id_scope: str,
    credential: Credential,
    *,
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    payload: object = None,
    timeout: float = 120.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = 0.0,
    max_retry_after: float = MAX_RETRY_AFTER,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_step: OnStep | None = None,
    on_packet: OnPacket | None = None,
) -> Assignment:
    """Register a device with DPS and wait until it is assigned to a hub.

    For synchronous programs; arguments, result and errors are those of ``provision_async``.

    Raises:
        UsageError: called inside a running event loop.
    """
    options = PROVISION.check(locals())
    return run_to_the_end("provision", lambda: provision_async(**options))


def run_to_the_end(name: str, make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run what ``make`` returns in an event loop of its own: the synchronous twin of a function.

    Raises:
        UsageError: called inside a running event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    raise UsageError(
        f"{name}() would block the event loop that is running here",
        hint=f"use `await mqttws.{name}_async(...)` instead",
    )


async def provision_async(
    id_scope: str,
    credential: Credential,
    *,
    host: str = PROVISIONING_HOST,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Transport = "wss",
    tls: Tls = None,
    proxy: ProxyChoice = ENVIRONMENT,
    payload: object = None,
    timeout: float = 120.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    api_version: str = DEFAULT_API_VERSION,
    jitter: float = 0.0,
    max_retry_after: float = MAX_RETRY_AFTER,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_step: OnStep | None = None,
    on_packet: OnPacket | None = None,
) -> Assignment:
    """Register a device with DPS and wait until it is assigned to a hub.

    A connection lost once the service has been asked is made anew, with longer and longer
    pauses, and the same operation is asked about again, until ``timeout``; so are 429 and 5xx.
    However this ends, cancelling included, nothing of it is left behind.

    Args:
        id_scope: of the DPS instance, such as ``0ne00ABCDEF``.
        credential: who the device is and how it proves it: a ``SymmetricKey`` or an
            ``X509Certificate``.
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
        hop_timeout: seconds for each hop of the way to the service.
        request_timeout: seconds for each answer of the service.
        api_version: of the service API, ``2019-03-31`` or later.
        jitter: seconds; up to so much is added to each wait, at random: for fleets.
        max_retry_after: the longest wait in seconds that is obeyed, jitter not counted.
        cache: a file that keeps the assignment, mode 0600, without the key: it is returned as long
            as host, id scope, registration id and credential are the same. Register again, with
            ``force``, when the hub refuses the device. Should the file fail when all is done, a
            warning in the log says so.
        force: register even though there is a stored assignment.
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
    PROVISION.check(locals())
    if transport == "auto" and port is not None:
        raise UsageError("transport 'auto' tries ports 8883 and 443; give no port with it")
    file = None if cache is None else AssignmentFile(cache, host, id_scope, credential)
    if file is not None:
        stored = None if force else file.load()
        if stored is not None:
            return stored
        file.check()
    registration = Registration(
        credential.registration_id,
        payload=payload,
        request_ids=_request_ids(),
        jitter=lambda: random.uniform(0, jitter),  # noqa: S311 - no secret comes of it
        max_retry_after=max_retry_after,
        answer_timeout=request_timeout,
    )
    walk = Walk(timeout=timeout, hop_timeout=hop_timeout, on_step=on_step)
    certified = isinstance(credential, TlsCredential)
    context: Tls = credential.context(tls) if isinstance(credential, TlsCredential) else tls

    clients: list[AsyncClient] = []

    def new_client() -> AsyncClient:
        schemes: tuple[str, ...] = (transport,)
        if transport == "auto":
            schemes = tuple(sorted(AUTO, key=lambda scheme: scheme != _worked.get(host)))
        client = AsyncClient(
            [make_target(scheme, host, port, path) for scheme in schemes],
            client_id=credential.registration_id,
            username=build_username(id_scope, credential.registration_id, api_version),
            password=credential.password(id_scope, time.time()),
            keep_alive=KEEP_ALIVE,
            request_timeout=request_timeout,
            reconnect=None,  # a lost connection ends the walk, which says so
            tls=context,
            proxy=proxy,
            on_packet=on_packet,
        )
        clients[:] = [client]
        return client

    try:
        assignment = await exchange(new_client, registration, walk)
        if transport == "auto":
            _worked[host] = clients[0].url.partition(":")[0]
    except ConnectFailed as error:
        _explain(error, certified=certified)
        raise
    if file is not None:
        try:
            file.store(assignment)
        except StoreFailed as error:  # the device is assigned, and must learn where to
            logger.warning("%s", error)
    return assignment


def _request_ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())


def _explain(error: ConnectFailed, *, certified: bool) -> None:
    """Say what a refused or cut connection means when the server is DPS."""
    if isinstance(error, ConnectRefused):
        error.hint = _REFUSALS.get(error.return_code, error.hint)
        if error.return_code == _SCOPE_OR_UNAVAILABLE:
            error.cause, error.retryable = Cause.SCOPE_UNKNOWN, True  # which of both is unknown
    elif certified and is_cut_off(error):
        error.cause, error.hint = Cause.CLIENT_CERTIFICATE_REFUSED, _CERTIFICATE_HINT
