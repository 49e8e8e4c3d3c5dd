"""Twins, queries and direct methods in the hub's service API."""

from typing import Any

from ..hub.service.codes import Code, Fault
from ..hub.service.identity import credentials_view
from ..hub.service.identity import status_time as status_time_of
from ..hub.service.methods import read_invocation
from ..hub.service.query import parse_query
from ..hub.service.records import Record
from ..hub.service.twin import service_view
from .hub_core import Hub
from .hub_http import web
from .hub_registry_api import presence
from .hub_request import Answer, Asked, Refused, all_records, granted, record_of


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
        **presence(hub, identity, record),
        "authenticationType": identity.credentials.kind,
        "x509Thumbprint": credentials_view(identity.credentials)["x509Thumbprint"],
        **service_view(record.twin),
        "capabilities": {"iotEdge": identity.iot_edge},
    }


async def get_twin(asked: Asked) -> Answer:
    """Return a twin."""
    return 200, twin_json(asked.hub, await record_of(asked))


async def patch_twin(asked: Asked) -> Answer:
    """Merge a patch into tags and desired properties."""
    granted(await asked.hub.write_twin(asked.key, asked.body, etag=asked.etag))
    return 200, twin_json(asked.hub, await record_of(asked))


async def put_twin(asked: Asked) -> Answer:
    """Replace tags and desired properties."""
    written = asked.hub.write_twin(asked.key, asked.body, replace_all=True, etag=asked.etag)
    granted(await written)
    return 200, twin_json(asked.hub, await record_of(asked))


async def query(asked: Asked) -> Answer:
    """Return the twins that a query asks for, in pages."""
    text = asked.body.get("query") if isinstance(asked.body, dict) else None
    if not isinstance(text, str):
        raise Refused(Fault(Code.ArgumentInvalid, "expected an object with query"))
    parsed = granted(parse_query(text))
    records = await all_records(asked.hub)
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
    call = granted(read_invocation(asked.body))
    result = granted(await asked.hub.invoke(asked.key, call))
    return 200, {"status": result.status, "payload": result.payload}
