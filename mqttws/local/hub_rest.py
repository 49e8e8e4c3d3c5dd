"""The hub's service API over HTTPS, on the port that carries MQTT over WebSocket.

Knows HTTP, through aiohttp (extra ``admin``), the paths and the JSON of the hub's service API as
azure-iot-hub for Python speaks it, and shared access signatures. What a request means is ``Hub``'s
matter. Two substitutes stand in for what the cloud offers by AMQP only: a message to a device is
posted to ``/devices/{id}/messages/devicebound``, and telemetry is read from ``/messages/events``.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..dps.json_text import parse_json
from ..errors import StoreFailed, UsageError
from ..hub.service.access import service_fault
from ..hub.service.codes import Code, Fault, timestamp
from ..hub.service.identity import Identity, credentials_view, identity_view, read_identity
from ..hub.service.identity import status_time as status_time_of
from ..hub.service.methods import read_invocation
from ..hub.service.query import parse_query
from ..hub.service.queue import CloudMessage
from ..hub.service.records import Key, Record
from ..hub.service.twin import service_view
from ..net.stream import ByteStream
from ..text import short_line
from .hub_core import Hub, tracking_id
from .hub_events import EventStream, json_line
from .x509 import read_certificate

try:
    from aiohttp import web
except ImportError:
    raise UsageError(
        "the hub's service API needs aiohttp, which is not installed",
        hint="pip install 'mqttws[admin]'",
    ) from None

logger = logging.getLogger("mqttws.local.hub")

MAX_BODY = 1024 * 1024
"""Bytes of a request's body that are read."""

KEEP_ALIVE_SECONDS = 15.0
"""Seconds after which an event stream without events sends a comment."""

EVENT_STREAM = "text/event-stream"

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Asked(NamedTuple):
    """A request that has been let in.

    Attributes:
        hub: that it is for.
        key: the device or module in its path; empty names where there is none.
        request: as it came.
        body: parsed JSON; None for an empty body.
        rest: the last part of the path.
    """

    hub: Hub
    key: Key
    request: web.Request
    body: Any
    rest: str

    @property
    def etag(self) -> str | None:
        """The etag of ``If-Match``, without quotes; None for none."""
        given = self.request.headers.get("If-Match")
        return None if given is None else given.removeprefix("W/").strip('"')


Answer = tuple[int, Any] | web.StreamResponse
Handler = Callable[[Asked], Awaitable[Answer]]


class HubRest:
    """Serves the service API of the hubs behind one pair of ports.

    Args:
        hubs: returns the hubs.
    """

    def __init__(self, hubs: Callable[[], list[Hub]]) -> None:
        self._hubs = hubs
        self._runner: web.AppRunner | None = None
        self._sockets: dict[asyncio.Transport, Any] = {}

    async def start(self) -> None:
        """Get ready for connections."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0, logger=_http_logger()
        )
        await self._runner.setup()

    async def stop(self) -> None:
        """End every connection; bounded in time."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        # TLS waits for the peer's close_notify: whoever has not sent it by now is cut.
        for transport, socket in self._sockets.items():
            if socket.fileno() >= 0:
                transport.abort()
        self._sockets.clear()
        for _ in range(2):  # the turns in which asyncio closes the sockets
            await asyncio.sleep(0)

    async def take(self, stream: ByteStream, label: str) -> None:
        """Take a connection whose first bytes are an HTTP request."""
        if self._runner is None or self._runner.server is None:
            stream.abort()
            return
        protocol = self._runner.server()
        transport, data = stream.transport, await stream.read()
        self._sockets = {of: at for of, at in self._sockets.items() if at.fileno() >= 0}
        self._sockets[transport] = transport.get_extra_info("socket")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        transport.resume_reading()

    # Inside

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            found = await self._answer(request)
        except _Refused as refused:
            return self._refuse(request, refused.fault)
        except StoreFailed as error:
            return self._refuse(request, Fault(Code.ServiceUnavailable, str(error)))
        if isinstance(found, web.StreamResponse):
            return found
        status, body = found
        if body is None:
            return web.Response(status=status)
        headers = {}
        if isinstance(body, dict) and isinstance(body.get("etag"), str):
            headers["ETag"] = f'"{body["etag"]}"'
        return web.json_response(body, status=status, headers=headers)

    def _refuse(self, request: web.Request, fault: Fault) -> web.Response:
        logger.info("%s %s: %d: %s", request.method, request.path, fault.code.status, fault.message)
        body = {
            "Message": f"ErrorCode:{fault.code.name};{fault.message}",
            "ExceptionMessage": f"Tracking ID:{tracking_id()}",
            "errorCode": fault.code.value,
        }
        headers = {"iothub-errorcode": fault.code.name}
        return web.json_response(body, status=fault.code.status, headers=headers)

    async def _answer(self, request: web.Request) -> Answer:
        method = request.method
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        route, device_id, module_id, rest = _route(method, parts)
        hub = self._admit(request, route.right)
        body = None
        if request.can_read_body and not route.raw:
            try:
                data = await request.read()
                body = parse_json(data) if data.strip() else None
            except web.HTTPRequestEntityTooLarge:
                raise _Refused(Fault(Code.MessageTooLarge, "the body is too large")) from None
            except ValueError as error:
                raise _Refused(Fault(Code.IotHubFormatError, f"the body: {error}")) from None
        asked = Asked(hub, hub.key(device_id, module_id), request, body, rest)
        return await route.handler(asked)

    def _admit(self, request: web.Request, right: str) -> Hub:
        """Return the hub that a request is for, if its signature grants it."""
        authorization = request.headers.get("Authorization", "")
        host = request.headers.get("Host", "").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        hubs = self._hubs()
        named = [hub for hub in hubs if hub.name.lower() == name]
        reason = "there is no such hub here"
        for hub in named or hubs:  # under this machine's name, the signature says which
            for resource in dict.fromkeys((host, name, hub.name.lower())):
                fault = service_fault(authorization, resource, right, hub.policies, time.time())
                if fault is None:
                    return hub
                reason = fault
        raise _Refused(Fault(Code.IotHubUnauthorizedAccess, f"Unauthorized: {reason}"))


def _http_logger() -> logging.Logger:
    """Return aiohttp's logger: one line for each request that cannot be read, no traceback."""
    quiet = logging.getLogger("mqttws.local.hub.http")

    def in_one_line(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"a request failed: {short_line(str(record.exc_info[1]))}"
            record.args, record.exc_info = (), None
        return True

    if not quiet.filters:
        quiet.addFilter(in_one_line)
    return quiet


class Route(NamedTuple):
    """A method and path of the API.

    Attributes:
        handler: serves it.
        right: that the policy must have.
        raw: whether the body is no JSON.
    """

    handler: Handler
    right: str
    raw: bool = False


def _route(method: str, parts: list[str]) -> tuple[Route, str, str, str]:
    """Return the route of a path, and the names in it."""
    device_id = module_id = rest = ""
    pattern = [part.lower() for part in parts]
    if pattern[0] in ("devices", "twins") and len(parts) > 1 and parts[1:] != ["query"]:
        device_id, pattern[1] = parts[1], "{id}"
        if len(parts) > 3 and pattern[2] == "modules":
            module_id, pattern[3] = parts[3], "{module}"
    elif pattern[:3] == ["messages", "servicebound", "feedback"] and len(parts) == 4:
        rest, pattern[3] = parts[3], "{token}"
    route = ROUTES.get((method, "/".join(pattern)))
    if route is None:
        raise _Refused(Fault(Code.DeviceNotFound, f"{method} of this path is not served"))
    return route, device_id, module_id, rest


def _granted(found: Any) -> Any:
    if isinstance(found, Fault):
        raise _Refused(found)
    return found


def _missing(key: Key) -> Fault:
    code = Code.ModuleNotFound if key.module_id else Code.DeviceNotFound
    return Fault(code, "there is none of this name")


async def _record(asked: Asked) -> Record:
    found = await asked.hub.load(asked.key)
    if found is None:
        raise _Refused(_missing(asked.key))
    return found


async def _all_records(hub: Hub) -> list[Record]:
    records: list[Record] = []
    after = ("", "")
    while found := await hub.store.list(hub.name, after=after):
        records += found
        after = (found[-1].identity.device_id, found[-1].identity.module_id)
    return records


# The registry


def device_json(hub: Hub, record: Record) -> dict[str, Any]:
    """Return an identity with what the hub knows of its connection."""
    identity = record.identity
    return identity_view(identity) | _presence(hub, identity, record)


def _presence(hub: Hub, identity: Identity, record: Record) -> dict[str, Any]:
    key = (identity.device_id, identity.module_id)
    seen = hub.seen.get(key)
    moment = timestamp(seen) if seen else "0001-01-01T00:00:00Z"
    return {
        "connectionState": "Connected" if key in hub.connections else "Disconnected",
        "connectionStateUpdatedTime": moment,
        "lastActivityTime": moment,
        "cloudToDeviceMessageCount": len(record.queue.messages),
    }


async def get_device(asked: Asked) -> Answer:
    """Return an identity, with its keys."""
    return 200, device_json(asked.hub, await _record(asked))


async def put_device(asked: Asked) -> Answer:
    """Create an identity, or change the one whose etag is given.

    ``authentication.x509Certificate``, PEM, is an addition: TLS here lets only such certificates
    through as it knows, or as a CA that it knows has signed.
    """
    new = _granted(read_identity(asked.body, asked.key.device_id, asked.key.module_id))
    authentication = asked.body.get("authentication") or {}
    if isinstance(authentication.get("x509Certificate"), str):
        try:
            der = read_certificate(authentication["x509Certificate"])
        except UsageError as error:
            raise _Refused(Fault(Code.ArgumentInvalid, str(error))) from None
        new = replace(new, credentials=replace(new.credentials, certificates=(der,)))
    _granted(await asked.hub.register(new, etag=asked.etag))
    return 200, device_json(asked.hub, await _record(asked))


async def delete_device(asked: Asked) -> Answer:
    """Delete an identity; If-Match is demanded, as in the cloud."""
    _granted(await asked.hub.delete(*asked.key[1:], etag=asked.etag))
    return 204, None


async def list_devices(asked: Asked) -> Answer:
    """Return identities of devices, at most ``top``."""
    top = asked.request.query.get("top", "1000")
    limit = int(top) if top.isascii() and top.isdigit() and len(top) < 6 else 1000
    records = [of for of in await _all_records(asked.hub) if not of.identity.module_id]
    return 200, [device_json(asked.hub, record) for record in records[:limit]]


async def list_modules(asked: Asked) -> Answer:
    """Return the identities of a device's modules."""
    await _record(asked)
    found = await asked.hub.modules(asked.key.device_id)
    return 200, [device_json(asked.hub, record) for record in found]


async def bulk(asked: Asked) -> Answer:
    """Create, change or delete several devices; each by itself."""
    if not isinstance(asked.body, list) or len(asked.body) > 100:
        raise _Refused(Fault(Code.ArgumentInvalid, "expected a list of at most 100 devices"))
    errors = []
    for item in asked.body:
        fault = await _one_of_bulk(asked.hub, item)
        if fault is not None:
            device_id = item.get("id") if isinstance(item, dict) else None
            errors.append(
                {"deviceId": device_id, "errorCode": fault.code.name, "errorStatus": fault.message}
            )
    return 200, {"isSuccessful": not errors, "errors": errors, "warnings": []}


async def _one_of_bulk(hub: Hub, item: Any) -> Fault | None:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return Fault(Code.ArgumentInvalid, "expected an object with id")
    mode = str(item.get("importMode") or "create").lower()
    etag = str(item.get("eTag") or "*").strip('"') if mode.endswith("ifmatchetag") else "*"
    if mode.startswith("delete"):
        return await hub.delete(item["id"], etag=etag)
    new = read_identity({**item, "deviceId": item["id"]}, item["id"])
    if isinstance(new, Fault):
        return new
    found = await hub.register(
        new,
        etag=None if mode == "create" else etag,
        replace_any=mode == "createorupdate",
    )
    return found if isinstance(found, Fault) else None


async def statistics(asked: Asked) -> Answer:
    """Return how many devices there are."""
    records = [of for of in await _all_records(asked.hub) if not of.identity.module_id]
    enabled = sum(record.identity.enabled for record in records)
    return 200, {
        "totalDeviceCount": len(records),
        "enabledDeviceCount": enabled,
        "disabledDeviceCount": len(records) - enabled,
    }


async def service_statistics(asked: Asked) -> Answer:
    """Return how many devices are connected."""
    return 200, {"connectedDeviceCount": sum(not key[1] for key in asked.hub.connections)}


# Twins, queries, methods


def twin_json(hub: Hub, record: Record) -> dict[str, Any]:
    """Return a twin as a service reads it."""
    identity = record.identity
    view: dict[str, Any] = {"deviceId": identity.device_id}
    if identity.module_id:
        view["moduleId"] = identity.module_id
    return {
        **view,
        "etag": record.twin.etag,
        "deviceEtag": identity.etag,
        "status": "enabled" if identity.enabled else "disabled",
        "statusReason": identity.status_reason or None,
        "statusUpdateTime": status_time_of(identity),
        **_presence(hub, identity, record),
        "authenticationType": identity.credentials.kind,
        "x509Thumbprint": credentials_view(identity.credentials)["x509Thumbprint"],
        **service_view(record.twin),
        "capabilities": {"iotEdge": identity.iot_edge},
    }


async def get_twin(asked: Asked) -> Answer:
    """Return a twin."""
    return 200, twin_json(asked.hub, await _record(asked))


async def patch_twin(asked: Asked) -> Answer:
    """Merge a patch into tags and desired properties."""
    _granted(await asked.hub.write_twin(asked.key, asked.body, etag=asked.etag))
    return 200, twin_json(asked.hub, await _record(asked))


async def put_twin(asked: Asked) -> Answer:
    """Replace tags and desired properties."""
    written = asked.hub.write_twin(asked.key, asked.body, replace_all=True, etag=asked.etag)
    _granted(await written)
    return 200, twin_json(asked.hub, await _record(asked))


async def query(asked: Asked) -> Answer:
    """Return the twins that a query asks for, in pages."""
    text = asked.body.get("query") if isinstance(asked.body, dict) else None
    if not isinstance(text, str):
        raise _Refused(Fault(Code.ArgumentInvalid, "expected an object with query"))
    parsed = _granted(parse_query(text))
    records = await _all_records(asked.hub)
    chosen = [of for of in records if bool(of.identity.module_id) == parsed.modules]
    rows = parsed.rows([twin_json(asked.hub, record) for record in chosen])
    headers = asked.request.headers
    size = _number(headers.get("x-ms-max-item-count"), 100)
    start = _number(headers.get("x-ms-continuation"), 0)
    answer = web.json_response(rows[start : start + size])
    answer.headers["x-ms-item-type"] = "Twin" if not (parsed.fields or parsed.count) else "Raw"
    if start + size < len(rows):
        answer.headers["x-ms-continuation"] = str(start + size)
    return answer


def _number(text: str | None, default: int) -> int:
    if text and text.isascii() and text.isdigit() and len(text) < 9:
        return int(text) or default
    return default


async def invoke(asked: Asked) -> Answer:
    """Call a direct method and return the device's answer."""
    call = _granted(read_invocation(asked.body))
    result = _granted(await asked.hub.invoke(asked.key, call))
    return 200, {"status": result.status, "payload": result.payload}


# Messages


async def send(asked: Asked) -> Answer:
    """Queue a message to a device: the body, and headers as the device's HTTPS API has them."""
    headers = asked.request.headers
    data = await asked.request.read()
    system = {wire: headers[name] for name, wire in SYSTEM_HEADERS.items() if headers.get(name)}
    properties: dict[str, str | None] = {
        unquote(name[len("iothub-app-") :]): unquote(value)
        for name, value in headers.items()
        if name.lower().startswith("iothub-app-")
    }
    expires_at = _expiry(headers.get("iothub-expiry"))
    ack = headers.get("iothub-ack") or "none"
    message = CloudMessage(data, properties, system, ack.lower(), expires_at)
    queued = _granted(await asked.hub.send(asked.key, message))
    return 200, {"sequenceNumber": queued.sequence, "messageId": queued.message_id or None}


SYSTEM_HEADERS = {
    "iothub-messageid": "$.mid",
    "iothub-correlationid": "$.cid",
    "iothub-userid": "$.uid",
    "iothub-contenttype": "$.ct",
    "iothub-contentencoding": "$.ce",
}


def _expiry(text: str | None) -> float:
    """Return Unix time from seconds, ISO 8601 or an HTTP date; 0 for none."""
    from datetime import datetime

    if not text:
        return 0.0
    for read in (float, lambda of: datetime.fromisoformat(of).timestamp(), _http_date):
        try:
            return float(read(text))
        except (ValueError, TypeError):
            continue
    raise _Refused(Fault(Code.ArgumentInvalid, "iothub-expiry: expected ISO 8601"))


def _http_date(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


async def purge(asked: Asked) -> Answer:
    """Empty a device's queue."""
    number = _granted(await asked.hub.purge(asked.key))
    return 200, {
        "totalMessagesPurged": number,
        "deviceId": asked.key.device_id,
        "moduleId": asked.key.module_id or None,
    }


async def feedback(asked: Asked) -> Answer:
    """Return a batch of feedback, locked for a minute; 204 where there is none."""
    token = secrets.token_hex(16)
    batch = asked.hub.feedback.lock(token, time.time())
    if not batch:
        return 204, None
    answer = web.json_response([record.to_json() for record in batch])
    answer.headers["ETag"] = f'"{token}"'
    answer.headers["iothub-locktoken"] = token
    return answer


async def complete_feedback(asked: Asked) -> Answer:
    """Complete a batch of feedback."""
    if not asked.hub.feedback.complete(asked.rest):
        raise _Refused(Fault(Code.DeviceMessageLockLost, "the batch is not locked"))
    return 204, None


async def events(asked: Asked) -> Answer:
    """Stream what happens: server-sent events, or JSON Lines.

    From now on, or behind the number in ``Last-Event-ID`` or ``after``.
    """
    request, stream = asked.request, asked.hub.events
    given = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    sequence = (
        int(given) if given.isascii() and given.isdigit() and len(given) < 16 else stream.last
    )
    as_lines = EVENT_STREAM not in request.headers.get("Accept", "")
    kind = "application/x-ndjson" if as_lines else EVENT_STREAM
    response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
    await response.prepare(request)
    with suppress(ConnectionResetError):  # the reader has gone
        await _stream(response, stream, sequence, as_lines=as_lines)
    return response


async def _stream(
    response: web.StreamResponse, stream: EventStream, sequence: int, *, as_lines: bool
) -> None:
    """Write events as they come, until the reader goes."""
    await response.write(b"\n" if as_lines else b": ready\n\n")
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                await stream.wait(sequence)
        except TimeoutError:
            await response.write(b"\n" if as_lines else b": \n\n")
            continue
        parts = []
        for event in stream.after(sequence):
            sequence = event.sequence
            line = json_line(event)
            parts.append(line if as_lines else f"id: {sequence}\ndata: {line}\n")
        await response.write(("\n".join(parts) + "\n").encode())


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "devices"): Route(list_devices, "registry-read"),
    ("POST", "devices"): Route(bulk, "registry-write"),
    ("POST", "devices/query"): Route(query, "registry-read"),
    ("GET", "devices/{id}"): Route(get_device, "registry-read"),
    ("PUT", "devices/{id}"): Route(put_device, "registry-write"),
    ("DELETE", "devices/{id}"): Route(delete_device, "registry-write"),
    ("GET", "devices/{id}/modules"): Route(list_modules, "registry-read"),
    ("GET", "devices/{id}/modules/{module}"): Route(get_device, "registry-read"),
    ("PUT", "devices/{id}/modules/{module}"): Route(put_device, "registry-write"),
    ("DELETE", "devices/{id}/modules/{module}"): Route(delete_device, "registry-write"),
    ("DELETE", "devices/{id}/commands"): Route(purge, "service"),
    ("POST", "devices/{id}/messages/devicebound"): Route(send, "service", raw=True),
    ("GET", "twins/{id}"): Route(get_twin, "service"),
    ("PATCH", "twins/{id}"): Route(patch_twin, "service"),
    ("PUT", "twins/{id}"): Route(put_twin, "service"),
    ("POST", "twins/{id}/methods"): Route(invoke, "service"),
    ("GET", "twins/{id}/modules/{module}"): Route(get_twin, "service"),
    ("PATCH", "twins/{id}/modules/{module}"): Route(patch_twin, "service"),
    ("PUT", "twins/{id}/modules/{module}"): Route(put_twin, "service"),
    ("POST", "twins/{id}/modules/{module}/methods"): Route(invoke, "service"),
    ("GET", "messages/servicebound/feedback"): Route(feedback, "service"),
    ("DELETE", "messages/servicebound/feedback/{token}"): Route(complete_feedback, "service"),
    ("GET", "messages/events"): Route(events, "service"),
    ("GET", "statistics/devices"): Route(statistics, "registry-read"),
    ("GET", "statistics/service"): Route(service_statistics, "service"),
}
"""The service API: what a request does, and the right that its policy must have."""
