"""diagnose() and diagnose_async(): walk the way to a server, and find out why it is not open.

The way is walked by the clients' own dialer, so that what is diagnosed is what the clients do.
"""

import asyncio
import os
import platform
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..client.client import AsyncClient
from ..errors import ConnectRefused, MqttwsError, UsageError
from ..hops import Hop
from ..net.dial import dial
from ..net.hops import OnStep, Step, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice, choose_proxy, describe_environment
from ..net.target import Target, make_target
from ..net.tls import Tls
from ..options import DIAGNOSE, WEBSOCKET_PATH
from ..provisioning.credentials import Credential
from ..provisioning.provision import provision_async, run_to_the_end
from .advice import (
    MAX_SKEW,
    advise,
    clock_skew,
    describe_chain,
    describe_skew,
    expiry_warnings,
    hop_of,
)
from .report import WITHOUT_PROXY, Alternative, Report

ALTERNATIVE_TIMEOUT = 6.0
"""Seconds for all other ways together; they are tried at the same time."""

OTHER_PATHS = (WEBSOCKET_PATH, "/mqtt", "/")
"""Where services have their WebSocket: DPS and IoT Hub, most brokers, the rest."""

NO_CREDENTIALS_CODES = (2, 3, 4, 5)
"""CONNACK's refusals of a client that has not said who it is."""

MAX_MESSAGE_SIZE = 1024 * 1024


def diagnose(
    host: str,
    *,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Literal["wss", "mqtts"] = "wss",
    proxy: ProxyChoice = ENVIRONMENT,
    tls: Tls = None,
    id_scope: str | None = None,
    credential: Credential | None = None,
    timeout: float = 60.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    on_step: OnStep | None = None,
) -> Report:
    """Find out whether and why a server cannot be reached.

    For synchronous programs; arguments and result are those of ``diagnose_async``.

    Raises:
        UsageError: an argument cannot be right, or it is called inside a running event loop.
    """
    options = DIAGNOSE.check(locals())
    return run_to_the_end("diagnose", lambda: diagnose_async(**options))


async def diagnose_async(
    host: str,
    *,
    port: int | None = None,
    path: str = WEBSOCKET_PATH,
    transport: Literal["wss", "mqtts"] = "wss",
    proxy: ProxyChoice = ENVIRONMENT,
    tls: Tls = None,
    id_scope: str | None = None,
    credential: Credential | None = None,
    timeout: float = 60.0,
    hop_timeout: float = 15.0,
    request_timeout: float = 30.0,
    on_step: OnStep | None = None,
) -> Report:
    """Walk the hops to a server; at the first failure say which, whose, and what to try.

    With an id scope and a credential the device is registered with DPS, as ``provision`` does it.
    Without them the way ends at CONNACK, whose refusal of a nameless client is a good sign.

    Args:
        host: the server's name or address.
        port: None for the transport's own: 443 or 8883.
        path: of the WebSocket.
        transport: ``wss`` or ``mqtts``.
        proxy: which proxy to use, as for the clients.
        tls: whom to trust, as for the clients.
        id_scope: of the DPS instance.
        credential: who the device is.
        timeout: seconds for the walk; other ways after a failure add ``ALTERNATIVE_TIMEOUT``.
        hop_timeout: seconds for each hop of the way.
        request_timeout: seconds for each answer of a server that is connected.
        on_step: told of each hop of the walk when it begins and when it has ended.

    Raises:
        UsageError: an argument or a variable of the environment cannot be right.
    """
    DIAGNOSE.check(locals())
    if (id_scope is None) != (credential is None):
        raise UsageError("id scope and credential belong together: give both, or neither")
    target = make_target(transport, host, port, path)
    patient = _Patient(
        target, proxy, tls, id_scope, credential, timeout, hop_timeout, request_timeout
    )
    walked = _Walked(on_step, nameless=credential is None)
    settings = describe_settings(target, proxy)
    error = await patient.walk(walked)
    if error is not None and isinstance(error, UsageError):
        raise error
    hop = hop_of(error, walked.steps)
    now = time.time()
    skew = clock_skew(walked.steps, walked.date_seen or now)
    warnings = expiry_warnings(walked.steps, now)
    if skew is not None and abs(skew) > MAX_SKEW:
        warnings = (describe_skew(skew, now), *warnings)
    report = Report(target.url, settings, tuple(walked.steps), warnings=warnings, clock_skew=skew)
    if error is None:
        return report
    alternatives = await patient.try_alternatives(hop)
    party, advice = advise(error, walked.steps, alternatives, skew)
    return replace(
        report, error=error, hop=hop, party=party, advice=advice, alternatives=alternatives
    )


class _Walked:
    """Collects the steps of the walk and passes them on.

    Args:
        on_step: told of each.
        nameless: whether CONNECT goes without credentials, so that a refusal is what it should be.
    """

    def __init__(self, on_step: OnStep | None, *, nameless: bool) -> None:
        self.steps: list[Step] = []
        self.date_seen: float | None = None
        self._on_step = on_step
        self._nameless = nameless

    def on_step(self, step: Step) -> None:
        """Take a step that begins or has ended."""
        if step.ended is None:
            self.steps.append(step)
        elif "date" in step.facts:
            self.date_seen = time.time()
        if step.ended is not None:
            step.facts.update(describe_chain(step.certificates))
        if self._nameless and is_expected(step.error):
            step.detail = f"{step.error}; as it should be without credentials"
            step.error = None
        if self._on_step is not None:
            self._on_step(step)


def is_expected(error: MqttwsError | None) -> bool:
    """Whether an error says that MQTT is spoken here, and that we should have said who we are."""
    return isinstance(error, ConnectRefused) and error.return_code in NO_CREDENTIALS_CODES


@dataclass(frozen=True, slots=True)
class _Patient:
    """The way that is examined."""

    target: Target
    proxy: ProxyChoice = field(repr=False)
    tls: Tls
    id_scope: str | None
    credential: Credential | None
    timeout: float
    hop_timeout: float
    request_timeout: float

    async def walk(self, walked: _Walked) -> MqttwsError | None:
        """Walk the way; return what ended it, or None."""
        try:
            if self.id_scope is not None and self.credential is not None:
                await provision_async(
                    self.id_scope,
                    self.credential,
                    host=self.target.host,
                    port=self.target.port,
                    path=self.target.path,
                    transport="wss" if self.target.websocket else "mqtts",
                    tls=self.tls,
                    proxy=self.proxy,
                    timeout=self.timeout,
                    hop_timeout=self.hop_timeout,
                    request_timeout=self.request_timeout,
                    on_step=walked.on_step,
                )
            else:
                await self._connect(walked)
        except MqttwsError as error:
            return None if self.credential is None and is_expected(error) else error
        return None

    async def _connect(self, walked: _Walked) -> None:
        client = AsyncClient(
            self.target,
            client_id="mqttws-doctor",
            tls=self.tls,
            proxy=self.proxy,
            connect_timeout=self.timeout,
            hop_timeout=self.hop_timeout,
            request_timeout=self.request_timeout,
            reconnect=None,
            on_step=walked.on_step,
        )
        try:
            await client.connect()
        finally:
            await client.disconnect()

    async def try_alternatives(self, hop: Hop | None) -> tuple[Alternative, ...]:
        """Try other ways, all at once; they tell "blocked" from "down"."""
        if hop in (Hop.CONNECT, Hop.SUBSCRIBE, Hop.REGISTER, Hop.POLL):
            return ()  # MQTT is reached: another way leads to the same refusal
        target = self.target
        ways: list[tuple[str, Target, ProxyChoice]] = []
        if choose_proxy(self.proxy, target.scheme, target.host, target.port) is not None:
            ways.append((WITHOUT_PROXY, target, None))
        if hop is Hop.UPGRADE:
            ways += [
                (f"path {path}", Target("wss", target.host, target.port, path), self.proxy)
                for path in OTHER_PATHS
                if path != target.path
            ]
        if target.websocket:
            other = Target("mqtts", target.host, 8883)
            ways.append(("MQTT over TLS on port 8883 (transport mqtts)", other, self.proxy))
        else:
            other = Target("wss", target.host, 443, WEBSOCKET_PATH)
            ways.append(("WebSocket on port 443 (transport wss)", other, self.proxy))
        return tuple(await asyncio.gather(*(self._try(*way) for way in ways)))

    async def _try(self, name: str, target: Target, proxy: ProxyChoice) -> Alternative:
        walk = Walk(
            timeout=ALTERNATIVE_TIMEOUT, hop_timeout=min(self.hop_timeout, ALTERNATIVE_TIMEOUT)
        )
        try:
            stream = await dial(
                target, walk, tls=self.tls, proxy=proxy, max_message_size=MAX_MESSAGE_SIZE
            )
        except MqttwsError as error:
            return Alternative(name, False, str(error))
        stream.abort()
        return Alternative(name, True, f"open after {walk.elapsed * 1000:.0f} ms")


def describe_settings(
    target: Target, proxy: ProxyChoice, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return what counts on this host, one thing a line, without secrets."""
    environ = os.environ if environ is None else environ
    chosen = choose_proxy(proxy, target.scheme, target.host, target.port, environ)
    found = list(describe_environment(target.scheme, target.host, target.port, environ))
    if chosen is None:
        found.append("proxy: none")
    else:
        login = "with a login" if chosen.login is not None else "without a login"
        found.append(f"proxy: {chosen.url} ({chosen.source}, {login})")
    found += [
        f"{name}={environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in environ
    ]
    found.append(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    return tuple(found)
