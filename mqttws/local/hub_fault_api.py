"""Faults on order and throttles in the hub's service API; no cloud has these.

Knows HTTP through aiohttp. What an order means is ``hub.service``'s matter.
"""

from dataclasses import asdict

from ..errors import UsageError
from ..hub.service.codes import Code, Fault
from ..hub.service.faults import parse_hub_fault
from ..hub.service.throttles import parse_limits
from .hub_request import Answer, Asked, Refused


async def list_faults(asked: Asked) -> Answer:
    """Return the orders that stand."""
    orders = asked.hub.faults.orders
    return 200, [fault.to_json() | {"id": number} for number, fault in orders.items()]


async def order_fault(asked: Asked) -> Answer:
    """Let something go wrong from now on."""
    try:
        fault = parse_hub_fault(asked.body)
    except UsageError as error:
        raise Refused(Fault(Code.ArgumentInvalid, str(error))) from None
    return 200, {"id": asked.hub.faults.order(fault)}


async def cancel_faults(asked: Asked) -> Answer:
    """Take one order back, or all."""
    known = asked.rest.isascii() and asked.rest.isdecimal() and len(asked.rest) < 10
    if not asked.rest:
        asked.hub.faults.cancel()
    elif not (known and asked.hub.faults.cancel(int(asked.rest))):
        raise Refused(Fault(Code.DeviceNotFound, "there is no such order"))
    return 204, None


async def get_throttles(asked: Asked) -> Answer:
    """Return the throttles."""
    return 200, asdict(asked.hub.settings.limits)


async def put_throttles(asked: Asked) -> Answer:
    """Let other throttles hold."""
    try:
        asked.hub.throttle(parse_limits(asked.body))
    except UsageError as error:
        raise Refused(Fault(Code.ArgumentInvalid, str(error))) from None
    return 200, asdict(asked.hub.settings.limits)
