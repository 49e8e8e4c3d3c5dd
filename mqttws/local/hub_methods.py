"""Direct methods of one hub: calls that wait for a device, and then for its answer."""

import asyncio

from ..dps.json_text import build_json
from ..hub.service.codes import Fault
from ..hub.service.decisions import Send
from ..hub.service.methods import Invocation, offline, unanswered
from ..hub.service.records import Key
from ..hub.topics import METHODS_FILTER, method_topic
from .hub_base import Connection, HubBase, MethodResult, not_found


class MethodWork(HubBase):
    """Calls of direct methods."""

    # Methods

    async def invoke(self, key: Key, invocation: Invocation) -> MethodResult | Fault:
        """Call a method of a device and return its answer."""
        if await self.load(key) is None:
            return not_found(key.module_id)
        connection = await self._listening(key, invocation.connect_timeout)
        if connection is None:
            return offline(invocation)
        request_id = f"{next(self._call_ids):x}"
        future: asyncio.Future[MethodResult | Fault] = asyncio.get_running_loop().create_future()
        self._calls[request_id] = future
        self._call_of[request_id] = (key.device_id, key.module_id)
        try:
            connection.send(_call(invocation, request_id))
            async with asyncio.timeout(invocation.response_timeout):
                return await future
        except TimeoutError:
            return unanswered()
        finally:
            del self._calls[request_id], self._call_of[request_id]

    async def _listening(self, key: Key, seconds: float) -> Connection | None:
        """Return the connection of a device that listens for methods, once there is one."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            connection = self.connections.get((key.device_id, key.module_id))
            if connection is not None and connection.listens(METHODS_FILTER):
                return connection
            arrival = asyncio.get_running_loop().create_future()
            self._arrivals.add(arrival)
            try:
                async with asyncio.timeout_at(deadline):
                    await arrival
            except TimeoutError:
                return None
            finally:
                self._arrivals.discard(arrival)

    def answered(self, key: tuple[str, str], request_id: str, result: MethodResult | Fault) -> bool:
        """Hand a device's answer to the waiting call; return whether one waits."""
        future = self._calls.get(request_id)
        if future is None or future.done() or self._call_of[request_id] != key:
            return False
        future.set_result(result)
        return True

    def note_subscriptions(self) -> None:
        """Let those look again who wait for a device to listen for methods."""
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(None)


def _call(invocation: Invocation, request_id: str) -> Send:
    topic = method_topic(invocation.name, request_id)
    payload = build_json(invocation.payload)
    return Send(topic, payload, 0, f"method {invocation.name}, request {request_id}")
