"""The registry in the hub's service API: devices, modules, bulk changes and statistics.

The JSON is that of azure-iot-hub for Python, ``models/device.py``.
"""

from dataclasses import replace
from typing import Any

from ..errors import UsageError
from ..hub.service.codes import Code, Fault, timestamp
from ..hub.service.identity import Identity, identity_view, read_identity
from ..hub.service.records import Record
from .hub_core import Hub
from .hub_request import Answer, Asked, Refused, all_records, granted, record_of
from .x509 import read_certificate


def device_json(hub: Hub, record: Record) -> dict[str, Any]:
    """Return an identity with what the hub knows of its connection."""
    identity = record.identity
    return identity_view(identity) | presence(hub, identity, record)


def presence(hub: Hub, identity: Identity, record: Record) -> dict[str, Any]:
    """Return what the hub knows of a device's connection and queue."""
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
    return 200, device_json(asked.hub, await record_of(asked))


async def put_device(asked: Asked) -> Answer:
    """Create an identity, or change the one whose etag is given.

    ``authentication.x509Certificate``, PEM, is an addition: TLS here lets only such certificates
    through as it knows, or as a CA that it knows has signed.
    """
    new = granted(read_identity(asked.body, asked.key.device_id, asked.key.module_id))
    authentication = asked.body.get("authentication") or {}
    if isinstance(authentication.get("x509Certificate"), str):
        try:
            der = read_certificate(authentication["x509Certificate"])
        except UsageError as error:
            raise Refused(Fault(Code.ArgumentInvalid, str(error))) from None
        new = replace(new, credentials=replace(new.credentials, certificates=(der,)))
    granted(await asked.hub.register(new, etag=asked.etag))
    return 200, device_json(asked.hub, await record_of(asked))


async def delete_device(asked: Asked) -> Answer:
    """Delete an identity; If-Match is demanded, as in the cloud."""
    granted(await asked.hub.delete(*asked.key[1:], etag=asked.etag))
    return 204, None


async def list_devices(asked: Asked) -> Answer:
    """Return identities of devices, at most ``top``."""
    top = asked.request.query.get("top", "1000")
    limit = int(top) if top.isascii() and top.isdigit() and len(top) < 6 else 1000
    records = [of for of in await all_records(asked.hub) if not of.identity.module_id]
    return 200, [device_json(asked.hub, record) for record in records[:limit]]


async def list_modules(asked: Asked) -> Answer:
    """Return the identities of a device's modules."""
    await record_of(asked)
    found = await asked.hub.modules(asked.key.device_id)
    return 200, [device_json(asked.hub, record) for record in found]


async def bulk(asked: Asked) -> Answer:
    """Create, change or delete several devices; each by itself."""
    if not isinstance(asked.body, list) or len(asked.body) > 100:
        raise Refused(Fault(Code.ArgumentInvalid, "expected a list of at most 100 devices"))
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
    records = [of for of in await all_records(asked.hub) if not of.identity.module_id]
    enabled = sum(record.identity.enabled for record in records)
    return 200, {
        "totalDeviceCount": len(records),
        "enabledDeviceCount": enabled,
        "disabledDeviceCount": len(records) - enabled,
    }


async def service_statistics(asked: Asked) -> Answer:
    """Return how many devices are connected."""
    return 200, {"connectedDeviceCount": sum(not key[1] for key in asked.hub.connections)}
