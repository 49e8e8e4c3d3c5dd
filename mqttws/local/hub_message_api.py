"""Messages in the hub's service API: to devices, feedback, and the stream of events.

Two substitutes stand in for what the cloud offers by AMQP only: a message to a device is posted to
``/devices/{id}/messages/devicebound``, and telemetry is read from ``/messages/events``.
"""

import secrets
import time
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from ..hub.service.codes import Code, Fault
from ..hub.service.queue import CloudMessage
from .hub_http import web
from .hub_request import Answer, Asked, Refused, granted
from .numbered import send_events


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
    queued = granted(await asked.hub.send(asked.key, message))
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
    raise Refused(Fault(Code.ArgumentInvalid, "iothub-expiry: expected ISO 8601"))


def _http_date(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


async def purge(asked: Asked) -> Answer:
    """Empty a device's queue."""
    number = granted(await asked.hub.purge(asked.key))
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
        raise Refused(Fault(Code.DeviceMessageLockLost, "the batch is not locked"))
    return 204, None


async def events(asked: Asked) -> Answer:
    """Stream the hub's events; see ``send_events``."""
    return await send_events(asked.request, asked.hub.events)
