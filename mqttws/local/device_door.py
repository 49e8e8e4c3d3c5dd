"""DPS over HTTPS, for devices: the decisions of MQTT behind the paths of the device API.

Knows HTTP, through aiohttp, and the paths of azure-rest-api-specs ``device/routes.tsp``: register,
operation status, and the status lookup, which MQTT does not have. IoT Edge and the SDKs' HTTP
transports use them. A device proves itself by the signature in ``Authorization``, or by its
certificate in the TLS handshake.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import unquote

from ..dps.codes import IDENTIFIER_REJECTED
from ..dps.decisions import api_version_note
from ..dps.effects import AllocationRequested, Answer, Device, Refusal
from ..dps.faults import Fault
from ..dps.names import Username
from ..dps.topics import Lookup, Poll, Register, Request
from ..text import shown
from .device import Served
from .dps import AsyncLocalDps
from .dps_events import note_answer
from .http_answers import Refused, refuse, web
from .http_door import Connection
from .sabotage import spoiled

logger: logging.Logger = logging.getLogger("mqttws.local")

MAX_BODY = 96 * 1024
"""Bytes of a request's body: the documented size of a message (iot-dps-limits.md)."""

SILENCE = 60.0
"""Seconds for which a request without an answer is kept waiting, unless its client leaves."""

_LOOK = 0.05  # seconds between two looks at whether a client has left


class DeviceDoor:
    """Serves devices that speak HTTPS.

    Args:
        dps: running.
    """

    def __init__(self, dps: AsyncLocalDps) -> None:
        self._dps = dps

    def serves(self, parts: list[str]) -> bool:
        """Return whether a path is the device API's: ``{idScope}/registrations/{id}...``."""
        return len(parts) > 2 and parts[1].lower() == "registrations"

    async def answer(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Return the answer to a request; each is one line in the log."""
        label = connection.label
        try:
            asked, names = _read_path(request)
            label = f"{label} {names.registration_id}"
            device = self._admit(names, request, connection)
            body = await _read_body(request)
        except Refused as refused:
            place = f"{request.method} {shown(request.path)}"
            logger.info("%s: %s: %d: %s", label, place, refused.error_code, refused.reason)
            facts = {"hop": "https", "reason": refused.reason, "errorCode": refused.error_code}
            self._dps.front.events.add("refused", "", label, **facts)
            return refuse(refused)
        if note := api_version_note(names.api_version):
            logger.info("%s: %s", label, note)
        served = await self._dps.front.serve(device, asked, body)
        return await self._carry_out(request, served, label, names.registration_id, asked)

    def _admit(self, names: Username, request: web.Request, connection: Connection) -> Device:
        token = request.headers.get("Authorization")
        verdict = self._dps.front.admit_names(names, token, connection.chain)
        if not isinstance(verdict, Refusal):
            return verdict
        if verdict.return_code == IDENTIFIER_REJECTED:
            raise Refused(400004, f"Invalid request. {verdict.reason}.", verdict.reason)
        # The real service's answer to an unknown id scope is not published; it is not to be
        # asked again.
        raise Refused(404000, "ID scope not found.", verdict.reason)

    async def _carry_out(
        self, request: web.Request, served: Served, label: str, name: str, asked: Request
    ) -> web.StreamResponse:
        answer = None
        for effect in served.effects:
            if isinstance(effect, AllocationRequested):
                logger.info("%s: %s", label, effect.reason)
                self._dps.front.request_allocation(effect)
            elif isinstance(effect, Answer):
                answer = effect
        fault = served.fault
        if answer is None:
            assert fault is not None
            if fault.kind == "restart":
                self._dps.restart(fault.seconds)
            return _cut(request)
        if fault is None or fault.kind != "silence":
            logger.info("%s: %s", label, answer.reason)
            note_answer(self._dps.front.events, name, label, answer)
        if fault is None:
            return _response(request, answer, asked)
        return await _disturbed(request, spoiled(answer, fault), fault, asked)


def _read_path(request: web.Request) -> tuple[Request, Username]:
    """Return what a request asks for, and whose it says it is."""
    parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
    action = [part.lower() for part in parts[3:4]]
    asked: Request
    match (request.method, len(parts), *action):
        case ("PUT", 4, "register"):
            asked = Register("")
        case ("GET", 5, "operations"):
            asked = Poll("", parts[4])
        case ("POST", 3):
            asked = Lookup()
        case _:
            allowed = (
                "PUT .../register, GET .../operations/{operationId} or POST .../registrations/{id}"
            )
            raise Refused(404000, f"Not Found. The device API has: {allowed}.", "no such operation")
    version = request.query.get("api-version", "")
    if not version:
        raise Refused(400004, "Invalid request. The query has no api-version.")
    return asked, Username(parts[0], parts[2], version)


async def _read_body(request: web.Request) -> bytes:
    body = b""
    async for data in request.content.iter_any():
        body += data
        if len(body) > MAX_BODY:
            raise Refused(413000, f"Content Too Large. At most {MAX_BODY} bytes are taken.")
    return body


def _headers(request: web.Request, answer: Answer, asked: Request) -> dict[str, str]:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    if answer.error_code:
        headers["x-ms-error-code"] = str(answer.error_code)
    if answer.status == 202 and isinstance(asked, Register):
        headers["Location"] = str(request.url.with_query(None))
    return headers


def _response(request: web.Request, answer: Answer, asked: Request) -> web.Response:
    headers = _headers(request, answer, asked)
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """Cut the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _disturbed(
    request: web.Request, answer: Answer, fault: Fault, asked: Request
) -> web.StreamResponse:
    """Answer as a fault lets it be."""
    if fault.kind == "delay":
        await asyncio.sleep(fault.seconds)
    elif fault.kind == "silence":
        for _ in range(round(SILENCE / _LOOK)):
            if request.transport is None or request.transport.is_closing():
                break
            await asyncio.sleep(_LOOK)
        return _cut(request)
    elif fault.kind in ("trickle", "slow", "cut", "drop-after"):
        headers = _headers(request, answer, asked) | {"Content-Length": str(len(answer.body))}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        await _write(response, answer.body, fault)
        if fault.kind in ("cut", "drop-after") and request.transport is not None:
            request.transport.abort()
        return response
    return _response(request, answer, asked)


async def _write(response: web.StreamResponse, body: bytes, fault: Fault) -> None:
    pauses: dict[str, Any] = {
        "trickle": fault.seconds,
        "slow": 1 / fault.bytes_per_second,
    }
    if fault.kind not in pauses:
        size = fault.bytes if fault.kind == "cut" else len(body)
        await response.write(body[:size])
        return
    for at in range(len(body)):
        await response.write(body[at : at + 1])
        await asyncio.sleep(pauses[fault.kind])
