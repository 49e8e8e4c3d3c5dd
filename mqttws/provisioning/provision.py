"""provision() and provision_async(): a device asks DPS where it belongs.

Knows the arguments and the file that keeps an assignment. What is said to DPS is ``exchange``'s
matter.
"""

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

from ..client.trace import OnPacket
from ..dps.names import DEFAULT_API_VERSION
from ..dps.registration import MAX_RETRY_AFTER, Registration
from ..errors import StoreFailed, UsageError
from ..loop_thread import run_to_the_end
from ..net.hops import OnStep, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice
from ..net.tls import Tls
from ..options import PROVISION, PROVISIONING_HOST, WEBSOCKET_PATH
from .assignment import Assignment
from .cache import AssignmentFile
from .credentials import Credential
from .exchange import Exchange
from .issued import CertificateStore
from .issuing import issue_version, register_with_certificate
from .pending import PendingCertificate
from .plan import Pipelined, Plan, Transport

logger: logging.Logger = logging.getLogger("mqttws.provisioning")

_T = TypeVar("_T")


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
    pipelined: Pipelined = None,
    wait_for_network: bool = False,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    issue: CertificateStore | None = None,
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
    pipelined: Pipelined = None,
    wait_for_network: bool = False,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    issue: CertificateStore | None = None,
    on_step: OnStep | None = None,
    on_packet: OnPacket | None = None,
) -> Assignment:
    """Register a device with DPS and wait until it is assigned to a hub.

    Until ``timeout`` it goes on whenever a failure can pass (``error.retryable``): a connection
    that was lost, or fell silent on any hop, is renewed after longer and longer pauses, to
    another address or by another transport where there is one, and the same operation is asked
    about again; 429 and 5xx are asked again after waits that grow to an hour; an operation that the
    service has forgotten is registered again. What cannot pass, such as a wrong key or a proxy
    login that was refused, ends it at once. The assignment is returned as soon as the goodbye has
    been sent; however this ends, cancelling included, nothing of it is left behind.

    Args:
        id_scope: of the DPS instance, such as ``0ne00ABCDEF``.
        credential: who the device is and how it proves it: a ``SymmetricKey``, an
            ``X509Certificate``, or an ``ExternalKey`` in a TLS context of one's own.
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
        hop_timeout: seconds for each hop of the way to the service, and
        request_timeout: seconds for each answer of the service; then the connection is given up and
            another one made.
        api_version: of the service API, ``2019-03-31`` or later.
        jitter: seconds; up to so much is added to each wait, at random: for fleets.
        max_retry_after: the longest Retry-After in seconds that is kept, jitter not counted; at
            most 3600.
        pipelined: ``subscribe`` sends SUBSCRIBE right behind CONNECT, ``register`` the register
            request too, without waiting for CONNACK: one and two round trips less. Where that
            fails, the next connection goes without. None waits for CONNACK.
        wait_for_network: whether a name that does not resolve and a port that nothing listens on
            are tried again until ``timeout``, from the start: for devices that boot before their
            network.
        cache: a file that keeps the assignment, mode 0600, without the key: it is returned as long
            as host, id scope, registration id and credential are the same. Register again, with
            ``force``, when the hub refuses the device. Should the file fail when all is done, a
            warning in the log says so.
        force: register even though there is a stored assignment.
        issue: where to keep a certificate for the hub, which DPS issues by the enrollment's
            credential policy: its key is made here, and its chain checked. The assignment then
            holds the store as its credential. What is stored is used again until it is due; the
            api-version is 2026-11-01 unless another one is given.
        on_step: called with each step when it begins and when it has ended.
        on_packet: called with each packet sent (``>``) and received (``<``), secrets included.

    Raises:
        ConnectFailed: no connection came about; ``hop`` says how far it went.
        RegistrationRejected: the service answered with an error status.
        RegistrationFailed: the operation ended, but not with an assignment.
        RequestTimedOut: it was not done within ``timeout``; says what was answered.
        ConnectionLost, ProtocolError, MalformedAnswer: the connection or an answer was broken.
        CertificateNotIssued: the device is assigned, and no certificate that it can use came.
        StoreFailed: the certificate cannot be stored.
        UsageError: an argument is invalid; nothing was sent.
    """
    PROVISION.check(locals())
    if issue is not None:
        if cache is not None:
            raise UsageError("cache and issue: the certificate store keeps the assignment already")
        api_version = issue_version(api_version)
    plan = Plan(
        id_scope,
        credential,
        host=host,
        port=port,
        path=path,
        transport=transport,
        tls=tls,
        proxy=proxy,
        api_version=api_version,
        pipelined=pipelined,
        wait_for_network=wait_for_network,
        on_packet=on_packet,
    )
    ask = partial(
        register,
        plan,
        payload=payload,
        timeout=timeout,
        hop_timeout=hop_timeout,
        request_timeout=request_timeout,
        jitter=jitter,
        max_retry_after=max_retry_after,
        on_step=on_step,
    )
    if issue is not None:
        return await register_with_certificate(
            issue,
            lambda pending: ask(pending=pending),
            host=host,
            id_scope=id_scope,
            registration_id=credential.registration_id,
            force=force,
            sends_payload=payload is not None,
        )
    file = None if cache is None else AssignmentFile(cache, host, id_scope, credential)
    if file is not None:
        stored = None if force else file.load()
        if stored is not None:
            return stored._holding(credential)
        file.check()
    assignment = await ask()
    if file is not None:
        try:
            file.store(assignment)
        except StoreFailed as error:  # the device is assigned: its program needs the hub
            logger.warning("%s", error)
    return assignment._holding(credential)


async def register(
    plan: Plan,
    *,
    payload: object = None,
    timeout: float,
    hop_timeout: float,
    request_timeout: float,
    jitter: float = 0.0,
    max_retry_after: float = MAX_RETRY_AFTER,
    on_step: OnStep | None = None,
    pending: PendingCertificate | None = None,
) -> Assignment:
    """Register by a plan; arguments, result and errors are those of ``provision_async``.

    Args:
        pending: asks for a certificate, and stores it; None for none.
    """
    registration = Registration(
        plan.credential.registration_id,
        payload=payload,
        csr=None if pending is None else pending.csr,
        request_ids=_request_ids(),
        jitter=lambda: random.uniform(0, jitter),  # noqa: S311 - spread, not secrecy
        spread=random.random,
        max_retry_after=max_retry_after,
        answer_timeout=request_timeout,
    )
    walk = Walk(
        timeout=timeout,
        hop_timeout=hop_timeout,
        request_timeout=request_timeout,
        on_step=on_step,
    )
    assignment = await Exchange(plan, registration, walk).run()
    if pending is not None:
        await asyncio.to_thread(pending.accept, registration.issued_chain, assignment)
    return assignment


def _request_ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())
