"""The hub's service API over HTTPS, on the port that carries MQTT over WebSocket.

Knows HTTP, through aiohttp (extra ``admin``), the paths and the JSON of the hub's service API as
azure-iot-hub for Python speaks it, and shared access signatures. What a request means is ``Hub``'s
matter.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from ..dps.json_text import parse_json
from ..errors import StoreFailed
from ..hub.service.access import service_fault
from ..hub.service.codes import Code, Fault
from .http_answers import host_names
from .http_door import Connection
from .hub_base import tracking_id
from .hub_core import Hub
from .hub_fault_api import (
    cancel_faults,
    get_throttles,
    list_faults,
    order_fault,
    put_throttles,
)
from .hub_http import web
from .hub_message_api import complete_feedback, events, feedback, purge, send
from .hub_registry_api import (
    bulk,
    delete_device,
    get_device,
    list_devices,
    list_modules,
    put_device,
    service_statistics,
    statistics,
)
from .hub_request import Answer, Asked, Handler, Refused
from .hub_twin_api import get_twin, invoke, patch_twin, put_twin, query

logger: logging.Logger = logging.getLogger("mqttws.local.hub")


class HubRest:
    """Serves the service API of the hubs behind one pair of ports.

    Args:
        hubs: returns the hubs.
    """

    def __init__(self, hubs: Callable[[], list[Hub]]) -> None:
        self._hubs = hubs

    def serves(self, parts: list[str]) -> bool:
        """Return True: what is no path of the DPS is the hubs', or refused in their words."""
        return True

    async def answer(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Return the answer to a request; every failure is the service API's JSON."""
        try:
            found = await self._answer(request)
        except Refused as refused:
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

    # Inside

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
                raise Refused(Fault(Code.MessageTooLarge, "the body is too large")) from None
            except ValueError as error:
                raise Refused(Fault(Code.IotHubFormatError, f"the body: {error}")) from None
        asked = Asked(hub, hub.key(device_id, module_id), request, body, rest)
        return await route.handler(asked)

    def _admit(self, request: web.Request, right: str) -> Hub:
        """Return the hub that a request is for, if its signature grants it."""
        authorization = request.headers.get("Authorization", "")
        host, name = host_names(request)
        hubs = self._hubs()
        named = [hub for hub in hubs if hub.name.lower() == name]
        reason = "there is no such hub here"
        for hub in named or hubs:  # under this machine's name, the signature says which
            resources = (host, name, hub.name.lower())
            fault = service_fault(authorization, resources, right, hub.policies, time.time())
            if fault is None:
                return hub
            reason = fault
        raise Refused(Fault(Code.IotHubUnauthorizedAccess, f"Unauthorized: {reason}"))


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
    elif pattern[0] == "faults" and len(parts) == 2:
        rest, pattern[1] = parts[1], "{number}"
    route = ROUTES.get((method, "/".join(pattern)))
    if route is None:
        raise Refused(Fault(Code.DeviceNotFound, f"{method} of this path is not served"))
    return route, device_id, module_id, rest


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
    ("GET", "faults"): Route(list_faults, "service"),
    ("POST", "faults"): Route(order_fault, "service"),
    ("DELETE", "faults"): Route(cancel_faults, "service"),
    ("DELETE", "faults/{number}"): Route(cancel_faults, "service"),
    ("GET", "throttles"): Route(get_throttles, "service"),
    ("PUT", "throttles"): Route(put_throttles, "service"),
    ("GET", "statistics/devices"): Route(statistics, "registry-read"),
    ("GET", "statistics/service"): Route(service_statistics, "service"),
}
"""The service API: what a request does, and the right that its policy must have."""
