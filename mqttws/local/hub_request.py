"""An authorized request to the hub's service API, and its refusals.

Knows HTTP through aiohttp, the extra ``admin``.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ..hub.service.codes import Code, Fault
from ..hub.service.records import Key, Record
from .hub_core import Hub
from .hub_http import web


class Refused(Exception):
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


def granted(found: Any) -> Any:
    """Return what was found, or refuse the request with the fault."""
    if isinstance(found, Fault):
        raise Refused(found)
    return found


def missing(key: Key) -> Fault:
    """Return the fault of a device or module that is not there."""
    code = Code.ModuleNotFound if key.module_id else Code.DeviceNotFound
    return Fault(code, "there is none of this name")


async def record_of(asked: Asked) -> Record:
    """Return the record of the device or module in a request's path."""
    found = await asked.hub.load(asked.key)
    if found is None:
        raise Refused(missing(asked.key))
    return found


async def all_records(hub: Hub) -> list[Record]:
    """Return every record of a hub."""
    records: list[Record] = []
    after = ("", "")
    while found := await hub.store.list(hub.name, after=after):
        records += found
        after = (found[-1].identity.device_id, found[-1].identity.module_id)
    return records
