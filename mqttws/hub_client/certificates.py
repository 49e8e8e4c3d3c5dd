"""Renewal of a device's certificate over its hub: asked for, stored, and connected with.

Knows request ids, the hub's answers and when to ask again. What is in a certificate, and where it
is kept, is the credential's matter.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..client.message import ReceivedMessage
from ..dps.issuance import read_chain
from ..errors import (
    CertificateNotIssued,
    HubRequestRejected,
    MalformedAnswer,
    MqttwsError,
    RequestTimedOut,
    UsageError,
)
from ..hops import Cause
from ..hub.credentials import (
    CREDENTIALS_FILTER,
    issue_body,
    issue_topic,
    parse_issue_answer_topic,
    read_object,
    retry_after,
)
from ..hub.device.requests import fault_from_json
from ..text import short_line, shown
from .access import CertificateRequest, RenewsCertificate
from .upkeep import REFUSALS, Upkeep, logger

ACCEPTED = 202
CONFLICT = 409

FIRST_WAITS = {429: 1.0, 503: 5.0, 500: 300.0}
"""Seconds before a refused request is made again, where the hub does not say: as the shipping SDKs
have it; doubled each time. Other errors of the server: as 503."""

LONGEST_WAIT = 3600.0
"""Seconds that are waited at most."""

ANSWER_TIMEOUT = 20.0
"""Seconds without any answer before the same request is sent again; the hub knows it by its id."""

LOSSES = 3
"""Connections that are lost in a row to a request before it is given up."""

LOOK = 5.0
"""Seconds after which the clock is looked at again."""

_TLS_REFUSALS = (Cause.CLIENT_CERTIFICATE_REFUSED, Cause.TLS_ALERT, Cause.CUT_OFF)
"""A TLS handshake that ends so may have ended for the certificate that was shown."""

Answer = tuple[int, dict[str, Any]]


class Sent(Protocol):
    """A request that was sent, or waits to be."""

    def cancel(self) -> bool:
        """Give it up, unless it has arrived."""


class CertificateRenewal:
    """Renews the certificate of one hub client.

    Args:
        upkeep: calls it when there is a connection.
        publish: sends a request with QoS 1, or queues it.
    """

    def __init__(self, upkeep: Upkeep, publish: Callable[[str, bytes], Sent]) -> None:
        self._upkeep = upkeep
        self._publish = publish
        self._waiting: dict[str, asyncio.Queue[Answer | None]] = {}
        self._renewing = asyncio.Lock()
        self._unproved = False  # whether no connection was made with the newest certificate yet
        upkeep.on_connected.append(self._on_connected)
        upkeep.before_judging = self._on_failed_attempt

    # For the application

    async def renew(self, timeout: float) -> None:
        """Have another certificate issued, and connect with it.

        Raises:
            UsageError: the credential cannot be renewed, or the client is not connected.
            CertificateNotIssued, HubRequestRejected, StoreFailed, RequestTimedOut: as
                ``AsyncHubClient.renew_certificate``.
        """
        credential = self._upkeep.access.certificate
        if credential is None:
            raise UsageError(
                "renew_certificate: this client's credential is no CertificateStore",
                hint="make the client with a CertificateStore, which provision(issue=...) fills",
            )
        if self._upkeep.access.identity.module_id:
            raise UsageError(
                "renew_certificate: only a device's certificate is issued, no module's"
            )
        self._upkeep.require_open()
        limit = asyncio.timeout(timeout)
        try:
            async with limit, self._renewing:
                await self._subscribe()
                await self._issue(credential, asyncio.get_running_loop().time() + timeout)
                await self._connect_anew()
        except TimeoutError as error:
            if isinstance(error, MqttwsError) or not limit.expired():
                raise
            raise RequestTimedOut(
                f"the certificate was not renewed within {timeout:g} s",
                hint="the present one stays in use",
            ) from None

    async def keep_fresh(self, timeout: float) -> None:
        """Renew the certificate whenever it is due, until the client ends."""
        credential = self._upkeep.access.certificate
        assert credential is not None, "the options say so"
        failures = 0
        chance = random.random()  # noqa: S311 - spread, not secrecy
        while True:
            due = await asyncio.to_thread(credential.renewal_time, chance)
            await _until(due or 0.0)
            try:
                await self.renew(timeout)
            except MqttwsError as error:
                failures += 1
                ends = await asyncio.to_thread(credential.expires_at)
                left = (ends or 0.0) - time.time()
                if left <= 0:
                    logger.error("the certificate has expired and was not renewed: %s", error)
                    return
                pause = min(LONGEST_WAIT, 10.0 * 2.0 ** min(failures, 10), max(1.0, left / 4))
                logger.warning("the certificate was not renewed, again in %.0f s: %s", pause, error)
                await asyncio.sleep(pause)
            else:
                failures = 0

    def on_message(self, message: ReceivedMessage) -> None:
        """Give an answer to the request that waits for it."""
        response = parse_issue_answer_topic(message.topic)
        answers = None if response is None else self._waiting.get(response.request_id)
        if response is not None and answers is not None:
            answers.put_nowait((response.status, read_object(message.payload)))

    # Asking

    async def _subscribe(self) -> None:
        """Subscribe; a hub that does not know the filter ends each connection for it."""
        upkeep = self._upkeep
        if CREDENTIALS_FILTER in upkeep.filters:
            return
        before = upkeep.number
        asked = asyncio.ensure_future(upkeep.client.subscribe(CREDENTIALS_FILTER, 1))
        try:
            while not asked.done():
                await asyncio.wait({asked}, timeout=0.2)
                if upkeep.number - before >= LOSSES:
                    raise _lost_each_time(upkeep)
            await asked
        finally:
            asked.cancel()
        upkeep.filters[CREDENTIALS_FILTER] = 1  # from now on with each connection

    async def _issue(self, credential: RenewsCertificate, deadline: float) -> None:
        """Ask until a certificate is stored."""
        request = await asyncio.to_thread(credential.begin_renewal)
        replaces, refusals, tried = "", 0, {""}
        while True:
            status, body = await self._ask(request, replaces)
            if status == CONFLICT and "*" not in tried:
                # The active one is an earlier process's of this device: nothing waits for it.
                replaces = "*"
                tried.add(replaces)
                continue
            if 200 <= status < 300:
                await _accept(request, body)
                return
            error = _rejection(status, body)
            if not error.retryable:
                raise error
            wait = _wait_after(status, body, refusals)
            refusals += 1
            if asyncio.get_running_loop().time() + wait >= deadline:
                error.hint = f"the hub wants to be asked again in {wait:.0f} s"
                raise error
            await asyncio.sleep(wait)

    async def _ask(self, request: CertificateRequest, replaces: str) -> Answer:
        """Send a request until its final answer; the same one again after a lost connection."""
        upkeep = self._upkeep
        import uuid  # here: certificates are seldom asked for

        request_id = str(uuid.uuid4())
        topic = issue_topic(request_id)
        body = issue_body(upkeep.access.identity.device_id, request.csr, replaces)
        answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._waiting[request_id] = answers
        connections, known, accepted = 0, False, False
        sent: list[Sent] = []
        try:
            await upkeep.ready()
            sent.append(self._publish(topic, body))
            while True:
                try:
                    async with asyncio.timeout(None if accepted else ANSWER_TIMEOUT):
                        answer = await answers.get()
                except TimeoutError:
                    sent.append(self._publish(topic, body))
                    continue
                if answer is None:
                    # Another connection: the client sends again what was not acknowledged, and the
                    # hub its answer; if it has forgotten, the request is due again after a while.
                    connections, accepted = connections + 1, False
                    if connections >= LOSSES and not known:
                        raise _lost_each_time(upkeep)
                    continue
                if answer[0] != ACCEPTED:
                    return answer
                known = accepted = True
        finally:
            del self._waiting[request_id]
            for one in sent:  # else a hub that ends the connection for it gets it again
                one.cancel()

    # Connecting with it

    async def _connect_anew(self) -> None:
        """Show the new certificate: it counts with the next connection."""
        await asyncio.to_thread(self._upkeep.access.show_certificate)
        self._lead()
        self._unproved = True
        logger.info("the certificate is renewed: connecting anew")
        await self._upkeep.client.reconnect()
        await self._upkeep.ready()
        if self._upkeep.access.reverted:
            raise CertificateNotIssued(
                "the hub refused the certificate that it has issued; the one before is in use",
                cause=Cause.ISSUED_CERTIFICATE_UNUSABLE,
            )

    def _lead(self) -> None:
        """Have the next connection use the access as it is now."""
        access, client = self._upkeep.access, self._upkeep.client
        client.redirect(access.targets, username=access.username, tls=access.tls)

    def _on_connected(self) -> None:
        """Note that the hub has accepted the certificate, and let what waits look."""
        for answers in self._waiting.values():
            answers.put_nowait(None)
        credential = self._upkeep.access.certificate
        if credential is not None:
            self._unproved = False
            credential.confirm()

    def _on_failed_attempt(self, error: MqttwsError) -> bool:
        """Go back to the certificate before this one, if the hub refuses it; return whether."""
        access = self._upkeep.access
        if access.certificate is None:
            return False
        refused = error.cause in REFUSALS or (self._unproved and error.cause in _TLS_REFUSALS)
        if not refused or not access.certificate.revert():
            return False
        access.show_certificate()
        access.reverted = True
        self._unproved = False
        self._lead()
        return True


async def _accept(request: CertificateRequest, body: dict[str, Any]) -> None:
    """Check and store the chain of an answer."""
    try:
        chain = read_chain(body, "certificates")
    except MalformedAnswer as error:
        raise CertificateNotIssued(
            f"the hub's answer: {error}", cause=Cause.ISSUED_CERTIFICATE_UNUSABLE
        ) from None
    await asyncio.to_thread(request.accept, chain)


async def _until(unix: float) -> None:
    while (left := unix - time.time()) > 0:  # noqa: ASYNC110 - time itself is awaited
        # In short steps: the clock may be set meanwhile, and the machine may be suspended.
        await asyncio.sleep(min(left, LOOK))


def _wait_after(status: int, body: dict[str, Any], refusals: int) -> float:
    """Return the seconds before the next request: the hub's word counts."""
    said = retry_after(body)
    first = FIRST_WAITS.get(status, FIRST_WAITS[503])
    grown = min(LONGEST_WAIT, first * 2.0 ** min(refusals, 20))
    wait = grown if said is None else max(said, grown / first if refusals else 0.0)
    return wait * (1.0 + 0.1 * random.random())  # noqa: S311 - spread, not secrecy


def _rejection(status: int, body: dict[str, Any]) -> HubRequestRejected:
    """Return the error of a refusal: by its status; its number and words are shown."""
    fault = fault_from_json(status, body)
    info = body.get("info")
    detail = info.get("credentialMessage") if isinstance(info, dict) else None
    told = ": ".join(
        short_line(text) for text in (fault.message, detail) if isinstance(text, str) and text
    )
    code = f", error {fault.error_code}" if fault.error_code is not None else ""
    return HubRequestRejected(
        f"certificate: the hub answered {status}{code}{f': {told}' if told else ''}",
        status=status,
        error_code=fault.error_code,
        tracking_id=fault.tracking_id,
        cause=Cause.CERTIFICATE_NOT_ISSUED if status in (400, 409, 412) else None,
    )


def _lost_each_time(upkeep: Upkeep) -> CertificateNotIssued:
    return CertificateNotIssued(
        f"a certificate was asked for, and {LOSSES} connections to"
        f" {shown(upkeep.access.identity.hub)} were lost in a row without an answer",
        hint="if connections hold where none is asked for, the hub does not know certificate"
        " requests, or not for this device: have another one issued by DPS, with"
        " provision(..., issue=..., force=True); if not, it is the network: mqttws doctor",
    )
