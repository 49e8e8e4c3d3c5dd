"""Twin requests over connections, and the desired properties as a stream.

Knows request ids, time limits and when to ask again; the versions are ``DesiredTracker``'s matter.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from ..client.message import ReceivedMessage
from ..dps.json_text import build_json, parse_json
from ..errors import HubRequestRejected, MqttwsError, RequestTimedOut, UsageError
from ..hops import Cause
from ..hub.device.requests import HubFault, RequestIds, fault_from_json, wait_before
from ..hub.device.twin import DesiredChange, DesiredTracker, Twin, twin_from_json
from ..hub.topics import (
    DESIRED_FILTER,
    TWIN_RESPONSE_FILTER,
    TwinResponse,
    parse_desired_topic,
    parse_twin_response_topic,
    twin_get_topic,
    twin_report_topic,
)
from ..options import WAIT
from ..text import shown
from .upkeep import Upkeep, ended, logger

ANSWER_TIMEOUT = 10.0
"""Seconds, at most, without an answer before a request is sent again on the same connection."""

READ_RETRY = 5.0
"""Seconds before the twin is read again for the stream of desired changes when that failed."""

Answer = tuple[TwinResponse, bytes]


class Publish(Protocol):
    """Sends a request with QoS 0, or queues it."""

    def __call__(self, topic: str, payload: bytes) -> object:
        """Send it; what it returns does not matter."""


class TwinRequests:
    """Asks the hub about the twin; each request ends in its answer or in an error.

    Reports are sent one after the other: a report that must be sent again may not overtake a newer
    one.

    Args:
        upkeep: calls it when there is a connection.
        publish: sends a request.
        timeout: seconds for a request as a whole.
    """

    def __init__(self, upkeep: Upkeep, publish: Publish, timeout: float) -> None:
        self._upkeep = upkeep
        self._publish = publish
        self._timeout = timeout
        self._ids = RequestIds(secrets.token_hex(4))
        self._waiting: dict[str, asyncio.Future[Answer | None]] = {}
        self._reporting = asyncio.Lock()
        upkeep.on_lost.append(self._on_lost)

    async def get(self) -> Twin:
        """Read the twin.

        Raises:
            HubRequestRejected: the hub answered with an error, or not with a twin.
            RequestTimedOut: there was no answer in time.
        """
        _, body = await self._ask("the twin was not read", twin_get_topic, b"")
        try:
            found = twin_from_json(parse_json(body))
        except ValueError as error:
            found = f"a body that is no JSON: {shown(str(error))}"
        if isinstance(found, str):
            raise HubRequestRejected(
                f"twin: the hub answered with {found}", status=200, cause=Cause.ANSWER_MALFORMED
            )
        return found

    async def report(self, patch: dict[str, Any]) -> int | None:
        """Change the reported properties; return their new version, None if the hub gave none.

        Raises:
            UsageError: the patch has no JSON form; nothing was sent.
            HubRequestRejected, RequestTimedOut: as for ``get``.
        """
        try:
            body = build_json(patch)
        except ValueError as error:
            raise UsageError(f"reported: patch: {error}") from None
        response, _ = await self._ask(
            "the reported properties were not confirmed", twin_report_topic, body, self._reporting
        )
        return response.version

    def on_message(self, message: ReceivedMessage) -> None:
        """Give an answer to the request that waits for it."""
        response = parse_twin_response_topic(message.topic)
        future = None if response is None else self._waiting.get(response.request_id)
        if response is not None and future is not None and not future.done():
            future.set_result((response, message.payload))

    def _on_lost(self) -> None:
        """Let every request that waits be sent again on the next connection."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def _ask(
        self,
        late: str,
        topic: Callable[[str], str],
        body: bytes,
        lock: asyncio.Lock | None = None,
    ) -> Answer:
        self._upkeep.require_open()
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await self._upkeep.want(TWIN_RESPONSE_FILTER)
                if lock is None:
                    return await self._until_answered(topic, body)
                async with lock:
                    return await self._until_answered(topic, body)
        except TimeoutError as error:
            if isinstance(error, MqttwsError) or not limit.expired():
                raise
            raise RequestTimedOut(f"twin: {late} within {self._timeout:g} s") from None

    async def _until_answered(self, topic: Callable[[str], str], body: bytes) -> Answer:
        refusals = 0
        while True:
            answer = await self._send_once(topic, body)
            if answer is None:
                continue  # lost with its connection, or with nothing at all
            status = answer[0].status
            if 200 <= status < 300:
                return answer
            fault = fault_from_json(status, _json_or_none(answer[1]))
            if not fault.passes:
                raise _rejection(fault)
            refusals += 1
            await asyncio.sleep(wait_before(refusals, random.random()))  # noqa: S311 - spread

    async def _send_once(self, topic: Callable[[str], str], body: bytes) -> Answer | None:
        await self._upkeep.ready()
        request_id = self._ids.next()
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        limit = asyncio.timeout(min(ANSWER_TIMEOUT, self._timeout / 2))
        try:
            self._publish(topic(request_id), body)
            async with limit:
                return await future
        except TimeoutError:
            if not limit.expired():
                raise
            return None
        finally:
            del self._waiting[request_id]


def _json_or_none(body: bytes) -> object:
    try:
        return parse_json(body)
    except ValueError:
        return None


def _rejection(fault: HubFault) -> HubRequestRejected:
    detail = f", error {fault.error_code}" if fault.error_code is not None else ""
    message = f": {fault.message}" if fault.message else ""
    return HubRequestRejected(
        f"twin: the hub answered {fault.status}{detail}{message}",
        status=fault.status,
        error_code=fault.error_code,
        tracking_id=fault.tracking_id,
    )


class DesiredChanges(AsyncIterator[DesiredChange]):
    """The changes of the desired properties: ``async for change in client.desired_changes()``.

    The first one is the whole section. After each reconnect, and when a notification was missed,
    the twin is read again, and the difference to what was handed out is a change. So a reader that
    applies each ``patch`` always ends with the hub's state. Several readers share the changes.

    Args:
        upkeep: calls it when there is a connection.
        requests: reads the twin.
    """

    def __init__(self, upkeep: Upkeep, requests: TwinRequests) -> None:
        self._upkeep = upkeep
        self._requests = requests
        self._tracker = DesiredTracker()
        self._readers: list[asyncio.Future[None]] = []
        self._look = asyncio.Event()
        self._begun = False
        self._reading: asyncio.Task[None] | None = None
        upkeep.on_lost.append(self._wake)

    def _begin(self) -> None:
        """Subscribe to the changes, now or with the first connection; once."""
        if self._begun:
            return
        self._begun = True
        upkeep = self._upkeep
        upkeep.want_soon(DESIRED_FILTER)
        upkeep.want_soon(TWIN_RESPONSE_FILTER)
        upkeep.on_ready.append(self._on_ready)
        if upkeep.number:
            self._reading = upkeep.start(self._read())

    async def _read(self) -> None:
        """Read the twin whenever it must be read, until the client ends."""
        await self._upkeep.want(DESIRED_FILTER)  # before the read, so that nothing falls between
        self._look.set()
        while True:
            await self._look.wait()
            self._look.clear()
            while self._tracker.wants_twin:
                try:
                    twin = await self._requests.get()  # asked on the newest connection
                except (RequestTimedOut, HubRequestRejected) as error:
                    logger.warning("desired properties: %s", error)
                    await asyncio.sleep(READ_RETRY)
                    continue
                except MqttwsError:
                    return  # the client has ended
                self._tracker.on_twin(twin)
                self._wake()

    def _on_message(self, message: ReceivedMessage) -> None:
        """Take a change in that the hub has sent."""
        if not self._begun:
            return  # the hub has kept the subscription of an earlier process
        version = parse_desired_topic(message.topic)
        patch = _json_or_none(message.payload)
        if version is None or not isinstance(patch, dict):
            logger.warning(
                "a change of desired properties cannot be read: %s", shown(message.topic)
            )
            return
        self._tracker.on_notification(version, patch)
        if self._tracker.wants_twin:
            self._look.set()
        self._wake()

    async def __anext__(self) -> DesiredChange:
        """Wait for the next change.

        Raises:
            MqttwsError: why the client ended, if it was not asked to.
        """
        while (change := self._tracker.next_change()) is None:
            if ended(self._upkeep):
                raise StopAsyncIteration
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            finally:
                if reader in self._readers:
                    self._readers.remove(reader)
        return change

    async def next(self, timeout: float | None = None) -> DesiredChange:
        """Wait for the next change, ``timeout`` seconds at most.

        Raises:
            RequestTimedOut: there was none in time.
            StopAsyncIteration: the client was disconnected.
        """
        WAIT.check(locals())
        try:
            async with asyncio.timeout(timeout):
                return await anext(self)
        except TimeoutError:
            raise RequestTimedOut(f"no change of desired properties within {timeout:g} s") from None

    def _on_ready(self, number: int) -> None:
        self._tracker.on_connected()
        self._look.set()
        if self._reading is None:
            self._reading = self._upkeep.start(self._read())

    def _wake(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)
