"""diagnose() and diagnose_async(): walk the way to a server, and find out why it is not open.

The way is walked by the clients' own dialer, so that what is diagnosed is what the clients do.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from ..client.client import AsyncClient
from ..errors import ConnectRefused, MqttwsError, UsageError
from ..hops import Hop, Party
from ..loop_thread import run_to_the_end
from ..net.certificate import describe_chain
from ..net.hops import OnStep, Step, Walk
from ..net.proxy import ENVIRONMENT, ProxyChoice, choose_proxy_unasked
from ..net.target import Target, make_target
from ..net.tls import Tls
from ..options import DIAGNOSE, WEBSOCKET_PATH
from ..provisioning.credentials import Credential
from ..provisioning.plan import Plan
from ..provisioning.provision import register
from ..provisioning.symmetric_key import SymmetricKey
from .advice import advise, hop_of, telling
from .clock import MAX_SKEW, clock_skew, describe_skew, expiry_warnings, is_proxys_clock
from .evidence import Evidence
from .judge import judge
from .name_servers import ASK_TIMEOUT, Answered, ask_all, name_servers
from .report import Report
from .requests import requests_of
from .settings import describe_settings
from .sighting import addresses_of, origin, sighting
from .ways import other_ways, try_ways

ALTERNATIVE_TIMEOUT = 6.0
"""Seconds at most for all other ways together; they are tried at the same time."""

ALTERNATIVE_SHARE = 0.3
"""The part of the whole time that is kept for them, where it is short."""

SLOW = 3.0
"""Seconds after which a step that passed is worth a warning."""

NO_CREDENTIALS_CODES = (2, 3, 4, 5)
"""CONNACK's refusals of a client that has not said who it is."""


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
        UsageError: an argument is invalid, or it is called inside a running event loop.
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
    """Walk the hops to a server; at the first failure report the hop, the party and what to try.

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
        timeout: seconds for all of it, other ways after a failure included.
        hop_timeout: seconds for each hop.
        on_step: called with each hop of the walk when it begins and when it has ended.

    Raises:
        UsageError: an argument or a variable of the environment is invalid.
        UnusableFile: a certificate, key or CA file cannot be read or used.
        CertificateNotValid: the credential's certificate has expired, or begins in the future.
    """
    DIAGNOSE.check(locals())
    if (id_scope is None) != (credential is None):
        raise UsageError("id scope and credential belong together: give both, or neither")
    target = make_target(transport, host, port, path)
    began = time.monotonic()
    kept = min(ALTERNATIVE_TIMEOUT, timeout * ALTERNATIVE_SHARE)
    patient = _Patient(
        target,
        proxy,
        tls,
        id_scope,
        credential,
        timeout=timeout - kept,
        hop_timeout=hop_timeout,
        request_timeout=request_timeout,
    )
    walked = _Walked(on_step, nameless=credential is None)
    settings = describe_settings(target, proxy)
    error = await patient.walk(walked)
    if error is not None and _is_before_the_way(error):
        raise error
    now = time.time()
    skew = clock_skew(walked.steps, walked.date_seen or now)
    warnings = (*slow_steps(walked.steps), *expiry_warnings(walked.steps, now))
    if skew is not None and abs(skew) > MAX_SKEW:
        proxys = is_proxys_clock(walked.steps)
        warnings = (describe_skew(skew, now, proxys=proxys), *warnings)
    report = Report(
        target.url,
        settings,
        tuple(walked.steps),
        warnings=warnings,
        clock_skew=skew,
        when=datetime.fromtimestamp(now, UTC),
        origin=origin(addresses_of(walked.steps) or name_servers()),
    )
    if error is None:
        return report
    left = min(ALTERNATIVE_TIMEOUT, timeout - (time.monotonic() - began))
    return await patient.explain(error, report, left)


def _is_before_the_way(error: MqttwsError) -> bool:
    """Whether an error is one of an argument or of a file here: there is no way to judge."""
    return error.hop is None and error.party in (Party.CALLER, Party.HOST)


def _judged(error: MqttwsError, report: Report, seen: Evidence) -> Report:
    """Return a report with the verdict about a failure, and advice."""
    hop = hop_of(error, report.steps)
    verdict = judge(error, hop, seen)
    target = report.target
    return replace(
        report,
        error=error,
        hop=hop,
        cause=verdict.cause,
        party=verdict.party,
        also=verdict.also,
        because=verdict.because,
        telling=telling(verdict),
        advice=advise(error, verdict, seen),
        requests=requests_of(error, hop, verdict, target, seen),
        sighting=sighting(
            error,
            report.steps,
            seen.alternatives,
            where=target.partition("://")[2].partition("/")[0],
            proxy=seen.proxy,
            when=report.when,
            origin=report.origin,
        ),
        alternatives=tuple(seen.alternatives),
    )


def slow_steps(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return a sentence for each step that passed and took long."""
    return tuple(
        f"{step.name}: passed, but took {step.seconds:.1f} s"
        + ("; the name server is slow" if step.hop in (Hop.NAME, Hop.PROXY_NAME) else "")
        for step in steps
        if step.error is None and step.seconds > SLOW and step.hop not in (Hop.REGISTER, Hop.POLL)
    )


class _Walked:
    """Collects the steps of the walk and passes them on.

    Args:
        on_step: called with each.
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
                plan = Plan(
                    self.id_scope,
                    self.credential,
                    host=self.target.host,
                    port=self.target.port,
                    path=self.target.path,
                    transport="wss" if self.target.websocket else "mqtts",
                    tls=self.tls,
                    proxy=self.proxy,
                    persistent=False,  # the first failure is what is looked for
                    resume=False,  # a resumed session skips the certificate check
                )
                await register(
                    plan,
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
        )
        # A walk of its own makes a full handshake: a resumed one skips the certificate check.
        walk = Walk(timeout=self.timeout, hop_timeout=self.hop_timeout, on_step=walked.on_step)
        try:
            await client._connect_along(walk)
        finally:
            await client.disconnect()

    async def explain(self, error: MqttwsError, report: Report, timeout: float) -> Report:
        """Try other ways and ask the name servers, within ``timeout`` seconds; then judge."""
        hop = hop_of(error, report.steps)
        ways = other_ways(hop, error.cause, self.target, self.proxy, self.tls)
        alternatives, answered = await asyncio.gather(
            try_ways(ways, timeout), self.ask_name_servers(hop, timeout)
        )
        certified = self.credential is not None and not isinstance(self.credential, SymmetricKey)
        seen = Evidence(
            self.target.host,
            report.steps,
            alternatives,
            report.clock_skew,
            answered,
            certified=certified,
            proxy=self.chosen_proxy,
        )
        return _judged(error, report, seen)

    @property
    def chosen_proxy(self) -> str:
        """The URL of the proxy that the way leads through, without its login; empty for none."""
        target = self.target
        chosen = choose_proxy_unasked(self.proxy, target.scheme, target.host, target.port)
        return "" if chosen is None else chosen.url

    async def ask_name_servers(self, hop: Hop | None, timeout: float) -> list[Answered]:
        """Ask this host's name servers one by one, where a name could not be resolved."""
        if hop not in (Hop.NAME, Hop.PROXY_NAME):
            return []
        host = self.target.host
        if hop is Hop.PROXY_NAME:
            chosen = choose_proxy_unasked(self.proxy, self.target.scheme, host, self.target.port)
            host = chosen.host if chosen is not None else host
        return await ask_all(host, name_servers(), max(0.1, min(ASK_TIMEOUT, timeout)))
